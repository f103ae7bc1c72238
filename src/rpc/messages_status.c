/* What a node says of itself: StatusResp and its parts. A part that is missing is one of zeros. And
 * how it is told to end. */
#include <string.h>

#include "base/error.h"
#include "rpc/codec.h"
#include "rpc/messages_tensor.h"

#define PB(name)           Simpler__Distributed__V1__##name
#define PB_TYPE(name)      (&simpler__distributed__v1__##name##__descriptor)
#define PB_INIT(name, out) simpler__distributed__v1__##name##__init(out)

/* --- decoding --- */

static simpler_status check_count(size_t count, size_t most, const char *field)
{
	if (count <= most)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL, "%s has %zu entries; at most %zu are allowed", field,
	                   count, most);
}

static simpler_status take_line(const char *text, const char *field, const char **out)
{
	*out = text;
	return take_text(text, MSG_TEXT_MAX, field);
}

static simpler_status take_reason(const PB(NotReady) * message, struct msg_reason *out)
{
	simpler_status status =
		check_count(message->n_services, MSG_SERVICES_MAX, "a reason's services");

	if (status == SIMPLER_OK)
		status = take_line(message->what, "a reason's what", &out->what);
	if (status == SIMPLER_OK)
		status = take_line(message->why, "a reason's why", &out->why);
	out->since_unix_ms = message->since_unix_ms;
	out->service_count = (uint32_t)message->n_services;
	for (size_t i = 0; i < message->n_services && status == SIMPLER_OK; i++)
		status = take_line(message->services[i], "a reason's service", &out->services[i]);
	return status;
}

static simpler_status take_engine(const PB(EngineStatus) * message, struct msg_engine_status *out)
{
	simpler_status status = take_line(message->state, "the engine's state", &out->state);

	if (status == SIMPLER_OK)
		status = take_line(message->last_end, "the engine's last_end", &out->last_end);
	out->since_unix_ms = message->since_unix_ms;
	out->answering = message->answering != 0;
	out->pid = message->pid;
	out->restarts = message->restarts;
	out->runs = message->runs;
	return status;
}

static simpler_status take_workers(const PB(WorkersStatus) * message,
                                   struct msg_workers_status *out)
{
	*out = (struct msg_workers_status){
		.count = message->count,
		.idle = message->idle,
		.busy = message->busy,
		.restarting = message->restarting,
		.dead = message->dead,
		.queued = message->queued,
		.deaths = message->deaths,
	};
	return take_line(message->kind, "the workers' kind", &out->kind);
}

static simpler_status take_device(const PB(DeviceStatus) * message, struct msg_device_status *out)
{
	simpler_status status = take_line(message->name, "a device's name", &out->name);

	out->count = message->count;
	out->failed = message->failed;
	return status == SIMPLER_OK ? take_line(message->error, "a device's error", &out->error)
	                            : status;
}

static simpler_status take_transport(const PB(TransportStatus) * message,
                                     struct msg_transport_status *out)
{
	simpler_status status = take_line(message->name, "a transport's name", &out->name);

	out->available = message->available != 0;
	out->sessions = message->sessions;
	return status == SIMPLER_OK
	               ? take_line(message->why_not, "a transport's why_not", &out->why_not)
	               : status;
}

static simpler_status take_lane(const PB(LaneStatus) * message, struct msg_lane_status *out)
{
	simpler_status status = take_line(message->name, "a lane's name", &out->name);

	out->available = message->available != 0;
	out->open = message->open;
	return status == SIMPLER_OK ? take_line(message->why_not, "a lane's why_not", &out->why_not)
	                            : status;
}

static void take_pool(const PB(PoolStatus) * message, struct msg_pool_status *out)
{
	*out = (struct msg_pool_status){
		.capacity = message->capacity,
		.used = message->used,
		.largest_free = message->largest_free,
		.committed = message->committed,
		.handles = message->handles,
		.max_handles = message->max_handles,
		.max_session_handles = message->max_session_handles,
		.grants = message->grants,
		.max_grants = message->max_grants,
		.max_session_grants = message->max_session_grants,
	};
}

static simpler_status take_catalog(const PB(CatalogStatus) * message,
                                   struct msg_catalog_status *out)
{
	*out = (struct msg_catalog_status){
		.callables = message->callables,
		.prepared = message->prepared,
		.max_callables = message->max_callables,
		.modules = message->modules,
		.modules_in_use = message->modules_in_use,
		.max_modules = message->max_modules,
		.module_bytes = message->module_bytes,
		.max_module_bytes = message->max_module_bytes,
	};
	return take_line(message->store, "the catalog's store", &out->store);
}

static simpler_status check_counts(const PB(StatusResp) * message)
{
	simpler_status status = check_count(message->n_not_ready, MSG_REASONS_MAX, "not_ready");

	if (status == SIMPLER_OK)
		status = check_count(message->n_workers, MSG_PARTS_MAX, "workers");
	if (status == SIMPLER_OK)
		status = check_count(message->n_devices, MSG_PARTS_MAX, "devices");
	if (status == SIMPLER_OK)
		status = check_count(message->n_transports, MSG_PARTS_MAX, "transports");
	if (status == SIMPLER_OK)
		status = check_count(message->n_lanes, MSG_PARTS_MAX, "lanes");
	return status;
}

static simpler_status take_lists(const PB(StatusResp) * message, struct msg_status *out)
{
	simpler_status status = check_counts(message);

	if (status != SIMPLER_OK)
		return status;
	out->reason_count = (uint32_t)message->n_not_ready;
	out->worker_count = (uint32_t)message->n_workers;
	out->device_count = (uint32_t)message->n_devices;
	out->transport_count = (uint32_t)message->n_transports;
	for (size_t i = 0; i < message->n_not_ready && status == SIMPLER_OK; i++)
		status = take_reason(message->not_ready[i], &out->reasons[i]);
	for (size_t i = 0; i < message->n_workers && status == SIMPLER_OK; i++)
		status = take_workers(message->workers[i], &out->workers[i]);
	for (size_t i = 0; i < message->n_devices && status == SIMPLER_OK; i++)
		status = take_device(message->devices[i], &out->devices[i]);
	for (size_t i = 0; i < message->n_transports && status == SIMPLER_OK; i++)
		status = take_transport(message->transports[i], &out->transports[i]);
	out->lane_count = (uint32_t)message->n_lanes;
	for (size_t i = 0; i < message->n_lanes && status == SIMPLER_OK; i++)
		status = take_lane(message->lanes[i], &out->lanes[i]);
	return status;
}

static simpler_status take_parts(const PB(StatusResp) * message, struct msg_status *out)
{
	simpler_status status = SIMPLER_OK;

	out->engine = (struct msg_engine_status){ .state = "", .last_end = "" };
	out->catalog = (struct msg_catalog_status){ .store = "" };
	if (message->engine)
		status = take_engine(message->engine, &out->engine);
	if (message->catalog && status == SIMPLER_OK)
		status = take_catalog(message->catalog, &out->catalog);
	if (message->pool)
		take_pool(message->pool, &out->pool);
	if (message->queue) {
		out->queue.in_flight = message->queue->in_flight;
		out->queue.limit = message->queue->limit;
		out->queue.session_limit = message->queue->session_limit;
	}
	if (message->sessions) {
		out->sessions.attached = message->sessions->attached;
		out->sessions.limit = message->sessions->limit;
	}
	return status;
}

simpler_status msg_status_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                 struct msg_status *out)
{
	PB(StatusResp) *message = codec_unpack(PB_TYPE(status_resp), bytes, size, bump);
	simpler_status status;

	if (!message)
		return SIMPLER_EINVAL;
	*out = (struct msg_status){
		.ready = message->ready != 0,
		.draining = message->draining != 0,
		.boot_id = message->boot_id,
		.uptime_ms = message->uptime_ms,
		.wire_version = message->wire_version,
		.callable_abi = message->callable_abi,
	};
	status = take_text(message->node_id, MSG_NODE_ID_MAX, "node_id");
	if (status == SIMPLER_OK)
		status = take_line(message->version, "version", &out->version);
	if (status != SIMPLER_OK)
		return status;
	memcpy(out->node_id, message->node_id, strlen(message->node_id) + 1);
	status = take_lists(message, out);
	return status == SIMPLER_OK ? take_parts(message, out) : status;
}

/* --- encoding --- */

/* Room for what a message points to. */
struct parts {
	struct bump bump; /* texts */
	PB(NotReady) reasons[MSG_REASONS_MAX], *reason_list[MSG_REASONS_MAX];
	PB(WorkersStatus) workers[MSG_PARTS_MAX], *worker_list[MSG_PARTS_MAX];
	PB(DeviceStatus) devices[MSG_PARTS_MAX], *device_list[MSG_PARTS_MAX];
	PB(TransportStatus) transports[MSG_PARTS_MAX], *transport_list[MSG_PARTS_MAX];
	PB(LaneStatus) lanes[MSG_PARTS_MAX], *lane_list[MSG_PARTS_MAX];
	PB(EngineStatus) engine;
	PB(PoolStatus) pool;
	PB(CatalogStatus) catalog;
	PB(QueueStatus) queue;
	PB(SessionsStatus) sessions;
};

/* Most texts there can be. */
#define TEXTS ((size_t)MSG_REASONS_MAX * (2 + MSG_SERVICES_MAX) + (size_t)MSG_PARTS_MAX * 7 + 4)

static void put_reasons(const struct msg_status *status, struct parts *parts, PB(StatusResp) * out)
{
	for (uint32_t i = 0; i < status->reason_count; i++) {
		const struct msg_reason *reason = &status->reasons[i];
		PB(NotReady) *to = &parts->reasons[i];

		PB_INIT(not_ready, to);
		to->what = put_text(reason->what, &parts->bump);
		to->why = put_text(reason->why, &parts->bump);
		to->since_unix_ms = reason->since_unix_ms;
		to->n_services = reason->service_count;
		to->services = (char **)(uintptr_t)reason->services;
		parts->reason_list[i] = to;
	}
	out->n_not_ready = status->reason_count;
	out->not_ready = parts->reason_list;
}

static void put_workers(const struct msg_status *status, struct parts *parts, PB(StatusResp) * out)
{
	for (uint32_t i = 0; i < status->worker_count; i++) {
		const struct msg_workers_status *workers = &status->workers[i];
		PB(WorkersStatus) *to = &parts->workers[i];

		PB_INIT(workers_status, to);
		to->kind = put_text(workers->kind, &parts->bump);
		to->count = workers->count;
		to->idle = workers->idle;
		to->busy = workers->busy;
		to->restarting = workers->restarting;
		to->dead = workers->dead;
		to->queued = workers->queued;
		to->deaths = workers->deaths;
		parts->worker_list[i] = to;
	}
	out->n_workers = status->worker_count;
	out->workers = parts->worker_list;
}

static void put_devices(const struct msg_status *status, struct parts *parts, PB(StatusResp) * out)
{
	for (uint32_t i = 0; i < status->device_count; i++) {
		PB(DeviceStatus) *to = &parts->devices[i];

		PB_INIT(device_status, to);
		to->name = put_text(status->devices[i].name, &parts->bump);
		to->error = put_text(status->devices[i].error, &parts->bump);
		to->count = status->devices[i].count;
		to->failed = status->devices[i].failed;
		parts->device_list[i] = to;
	}
	out->n_devices = status->device_count;
	out->devices = parts->device_list;
}

static void put_transports(const struct msg_status *status, struct parts *parts,
                           PB(StatusResp) * out)
{
	for (uint32_t i = 0; i < status->transport_count; i++) {
		PB(TransportStatus) *to = &parts->transports[i];

		PB_INIT(transport_status, to);
		to->name = put_text(status->transports[i].name, &parts->bump);
		to->why_not = put_text(status->transports[i].why_not, &parts->bump);
		to->available = status->transports[i].available;
		to->sessions = status->transports[i].sessions;
		parts->transport_list[i] = to;
	}
	out->n_transports = status->transport_count;
	out->transports = parts->transport_list;
}

static void put_lanes(const struct msg_status *status, struct parts *parts, PB(StatusResp) * out)
{
	for (uint32_t i = 0; i < status->lane_count; i++) {
		PB(LaneStatus) *to = &parts->lanes[i];

		PB_INIT(lane_status, to);
		to->name = put_text(status->lanes[i].name, &parts->bump);
		to->why_not = put_text(status->lanes[i].why_not, &parts->bump);
		to->available = status->lanes[i].available;
		to->open = status->lanes[i].open;
		parts->lane_list[i] = to;
	}
	out->n_lanes = status->lane_count;
	out->lanes = parts->lane_list;
}

static void put_engine(const struct msg_engine_status *engine, struct parts *parts,
                       PB(StatusResp) * out)
{
	PB_INIT(engine_status, &parts->engine);
	parts->engine.state = put_text(engine->state, &parts->bump);
	parts->engine.last_end = put_text(engine->last_end, &parts->bump);
	parts->engine.since_unix_ms = engine->since_unix_ms;
	parts->engine.answering = engine->answering;
	parts->engine.pid = engine->pid;
	parts->engine.restarts = engine->restarts;
	parts->engine.runs = engine->runs;
	out->engine = &parts->engine;
}

static void put_pool(const struct msg_pool_status *pool, struct parts *parts, PB(StatusResp) * out)
{
	PB_INIT(pool_status, &parts->pool);
	parts->pool.capacity = pool->capacity;
	parts->pool.used = pool->used;
	parts->pool.largest_free = pool->largest_free;
	parts->pool.committed = pool->committed;
	parts->pool.handles = pool->handles;
	parts->pool.max_handles = pool->max_handles;
	parts->pool.max_session_handles = pool->max_session_handles;
	parts->pool.grants = pool->grants;
	parts->pool.max_grants = pool->max_grants;
	parts->pool.max_session_grants = pool->max_session_grants;
	out->pool = &parts->pool;
}

static void put_catalog(const struct msg_catalog_status *catalog, struct parts *parts,
                        PB(StatusResp) * out)
{
	PB_INIT(catalog_status, &parts->catalog);
	parts->catalog.callables = catalog->callables;
	parts->catalog.prepared = catalog->prepared;
	parts->catalog.max_callables = catalog->max_callables;
	parts->catalog.modules = catalog->modules;
	parts->catalog.modules_in_use = catalog->modules_in_use;
	parts->catalog.max_modules = catalog->max_modules;
	parts->catalog.module_bytes = catalog->module_bytes;
	parts->catalog.max_module_bytes = catalog->max_module_bytes;
	parts->catalog.store = put_text(catalog->store, &parts->bump);
	out->catalog = &parts->catalog;
}

static void put_counters(const struct msg_status *status, struct parts *parts, PB(StatusResp) * out)
{
	PB_INIT(queue_status, &parts->queue);
	PB_INIT(sessions_status, &parts->sessions);
	parts->queue.in_flight = status->queue.in_flight;
	parts->queue.limit = status->queue.limit;
	parts->queue.session_limit = status->queue.session_limit;
	parts->sessions.attached = status->sessions.attached;
	parts->sessions.limit = status->sessions.limit;
	out->queue = &parts->queue;
	out->sessions = &parts->sessions;
}

simpler_status msg_status_encode(const struct msg_status *status, struct rpc_buffer *out)
{
	PB(StatusResp) message;
	struct parts parts;
	simpler_status packed;

	bump_init(&parts.bump, (size_t)TEXTS * (MSG_TEXT_MAX + 1));
	PB_INIT(status_resp, &message);
	message.ready = status->ready;
	message.draining = status->draining;
	message.node_id = (char *)status->node_id;
	message.boot_id = status->boot_id;
	message.uptime_ms = status->uptime_ms;
	message.version = put_text(status->version, &parts.bump);
	message.wire_version = status->wire_version;
	message.callable_abi = status->callable_abi;
	put_reasons(status, &parts, &message);
	put_workers(status, &parts, &message);
	put_devices(status, &parts, &message);
	put_transports(status, &parts, &message);
	put_lanes(status, &parts, &message);
	put_engine(&status->engine, &parts, &message);
	put_pool(&status->pool, &parts, &message);
	put_catalog(&status->catalog, &parts, &message);
	put_counters(status, &parts, &message);
	packed = codec_pack(&message.base, out);
	bump_release(&parts.bump);
	return packed;
}

/* --- draining --- */

simpler_status msg_drain_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                struct msg_drain *out)
{
	PB(DrainReq) *message = codec_unpack(PB_TYPE(drain_req), bytes, size, bump);

	if (!message)
		return SIMPLER_EINVAL;
	out->grace_ms = message->grace_ms;
	return SIMPLER_OK;
}

simpler_status msg_drain_encode(const struct msg_drain *drain, struct rpc_buffer *out)
{
	PB(DrainReq) message;

	PB_INIT(drain_req, &message);
	message.grace_ms = drain->grace_ms;
	return codec_pack(&message.base, out);
}
