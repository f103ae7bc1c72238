/* L3Worker.Heartbeat, Status and Drain: liveness, readiness with all that it is made of, and the
 * end of both. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "node/fabric_ports.h"
#include "node/lane.h"
#include "os/events.h"
#include "simpler/version.h"

void node_heartbeat(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct node *node = node_of(call);
	struct msg_health health = { .ok = true };
	struct rpc_buffer buffer;
	char text[160];

	(void)data;
	(void)size;
	(void)snprintf(text, sizeof(text),
	               "alive, which is liveness and not readiness; node %s; engine %s%s", node->id,
	               engine_state_name(engine_client_state(node->engine)),
	               atomic_load(&node->draining) ? "; draining" : "");
	health.message = text;
	reply(call, msg_health_encode(&health, &buffer), &buffer);
}

/* --- status --- */

/* What the message points to. */
struct parts {
	struct readiness_report readiness;
	struct engine_report engine;
	struct msg_status message;
};

static uint64_t unix_ms_of(int64_t time)
{
	int64_t ago = (clock_now() - time) / CLOCK_MS;

	return clock_unix_ms() - (uint64_t)(ago > 0 ? ago : 0);
}

static void tell_reason(const struct readiness_reason *reason, struct msg_reason *out)
{
	static const struct {
		unsigned bit;
		const char *name;
	} services[] = {
		{ READINESS_WORKER, "L3Worker" },
		{ READINESS_CATALOG, "Catalog" },
		{ READINESS_POOL, "TensorPool" },
	};

	*out = (struct msg_reason){ .what = readiness_name(reason->what),
		                    .why = reason->why,
		                    .since_unix_ms = unix_ms_of(reason->since) };
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		if (reason->services & services[i].bit)
			out->services[out->service_count++] = services[i].name;
	}
}

static void tell_readiness(struct node *node, struct parts *parts)
{
	struct msg_status *out = &parts->message;

	readiness_report(node, &parts->readiness);
	out->ready = parts->readiness.count == 0;
	out->reason_count = parts->readiness.count;
	for (unsigned i = 0; i < parts->readiness.count; i++)
		tell_reason(&parts->readiness.reasons[i], &out->reasons[i]);
}

static struct msg_workers_status workers_of(const char *kind, const struct vitals_workers *workers)
{
	return (struct msg_workers_status){
		.kind = kind,
		.count = workers->count,
		.idle = workers->idle,
		.busy = workers->busy,
		.restarting = workers->restarting,
		.dead = workers->dead,
		.queued = workers->queued,
		.deaths = workers->deaths,
	};
}

static void tell_workers(const struct node *node, const struct vitals *vitals,
                         struct msg_status *out)
{
	if (vitals->subs.count > 0)
		out->workers[out->worker_count++] = workers_of("sub worker", &vitals->subs);
	if (vitals->chips.count == 0)
		return;
	out->workers[out->worker_count++] = workers_of("chip", &vitals->chips);
	out->devices[out->device_count++] =
		(struct msg_device_status){ .name = node->options->device,
		                            .count = vitals->chips.count,
		                            .failed = vitals->chips_shut,
		                            .error = vitals->device_error };
}

static void tell_engine(struct node *node, struct parts *parts)
{
	const struct engine_report *engine = &parts->engine;
	struct msg_status *out = &parts->message;

	engine_client_report(node->engine, &parts->engine);
	out->engine = (struct msg_engine_status){
		.state = engine_state_name(engine->state),
		.since_unix_ms = unix_ms_of(engine->since),
		.answering = engine->answering,
		.pid = (uint32_t)engine->pid,
		.restarts = engine->restarts,
		.last_end = engine->last_end,
		.runs = engine->has_vitals ? engine->vitals.runs : 0,
	};
	out->queue.in_flight = engine->in_flight;
	out->queue.limit = node->options->max_tasks;
	out->queue.session_limit = node->options->max_session_tasks;
	if (engine->has_vitals)
		tell_workers(node, &engine->vitals, out);
}

static void tell_pool(const struct pool_stats *stats, struct msg_pool_status *out)
{
	*out = (struct msg_pool_status){
		.capacity = stats->capacity,
		.used = stats->used,
		.largest_free = stats->largest_free,
		.committed = stats->committed,
		.handles = stats->handles,
		.max_handles = stats->max_handles,
		.max_session_handles = stats->max_session_handles,
		.grants = stats->grants,
		.max_grants = POOL_MAX_GRANTS,
		.max_session_grants = stats->max_session_grants,
	};
}

static void tell_transports(struct node *node, const struct pool_stats *stats,
                            struct msg_status *out)
{
	out->transports[out->transport_count++] =
		(struct msg_transport_status){ .name = "grpc", .available = true };
	out->transports[out->transport_count++] = (struct msg_transport_status){
		.name = "shm",
		.available = node->shm_address[0] != '\0',
		.why_not = node->shm_address[0] ? "" : "the daemon was started with --shm off",
		.sessions = stats->shared,
	};
	out->transports[out->transport_count++] = (struct msg_transport_status){
		.name = FABRIC_TRANSPORT,
		.available = node->fabric != NULL,
		.why_not = node->fabric ? "" : node->fabric_why,
		.sessions = fabric_ports_sessions(node->fabric),
	};
}

static void tell_catalog(struct node *node, struct msg_catalog_status *out)
{
	const struct catalog_options *limits = catalog_limits(node->catalog);
	struct catalog_stats stats;

	catalog_stats(node->catalog, &stats);
	*out = (struct msg_catalog_status){
		.callables = stats.callables,
		.prepared = stats.prepared,
		.max_callables = limits->callables,
		.modules = stats.modules.modules,
		.modules_in_use = stats.modules.in_use,
		.max_modules = limits->modules.modules,
		.module_bytes = stats.modules.bytes,
		.max_module_bytes = limits->modules.bytes,
		.store = limits->modules.directory ? limits->modules.directory : "",
	};
}

static const char *why_no_lane(const struct node *node, simpler_lane lane)
{
	if ((node->options->lanes >> lane & 1) == 0)
		return "the daemon's --lane leaves it out";
	if ((node->offered_lanes >> lane & 1) != 0)
		return "";
	return lane == SIMPLER_LANE_FABRIC ? node->fabric_why
	                                   : "the daemon was started with --shm off";
}

static void tell_lanes(struct node *node, struct msg_status *out)
{
	for (int i = SIMPLER_LANE_UNARY; i < SIMPLER_LANES; i++) {
		simpler_lane lane = (simpler_lane)i;
		out->lanes[out->lane_count++] = (struct msg_lane_status){
			.name = simpler_lane_name(lane),
			.available = (node->offered_lanes >> lane & 1) != 0,
			.why_not = why_no_lane(node, lane),
			.open = lane == SIMPLER_LANE_UNARY ? 0
			                                   : node_lanes_count(node->lanes, lane),
		};
	}
}

static void tell_node(struct node *node, struct msg_status *out)
{
	out->draining = atomic_load(&node->draining);
	(void)snprintf(out->node_id, sizeof(out->node_id), "%s", node->id);
	out->boot_id = node->boot_id;
	out->uptime_ms = (uint64_t)((clock_now() - node->started) / CLOCK_MS);
	out->version = simpler_version();
	out->wire_version = SIMPLER_WIRE_VERSION;
	out->callable_abi = SIMPLER_CALLABLE_ABI;
	out->sessions.attached = sessions_count(node->sessions);
	out->sessions.limit = node->options->max_sessions;
}

void node_status(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct parts *parts = calloc(1, sizeof(*parts));
	struct node *node = node_of(call);
	struct rpc_buffer buffer;
	struct pool_stats stats;

	(void)data;
	(void)size;
	if (!parts) {
		(void)error_raise(SIMPLER_ENOMEM, "out of memory for the node's status");
		reply_error(call);
		return;
	}
	tell_readiness(node, parts);
	tell_engine(node, parts);
	pool_stats(node->pool, &stats);
	tell_pool(&stats, &parts->message.pool);
	tell_transports(node, &stats, &parts->message);
	tell_catalog(node, &parts->message.catalog);
	tell_node(node, &parts->message);
	tell_lanes(node, &parts->message);
	reply(call, msg_status_encode(&parts->message, &buffer), &buffer);
	free(parts);
}

/* --- drain --- */

/* Who can run programs on a machine may end its node, and nobody else: clients are not
 * authenticated, and a port that many can reach is no switch for all of them. */
static simpler_status check_drainer(const struct rpc_call *call)
{
	if (rpc_call_is_local(call))
		return SIMPLER_OK;
	return error_raise(SIMPLER_EPERM,
	                   "only clients on the node's own machine may drain it; there, use "
	                   "simpler drain, or send SIGTERM to simpler-l3d");
}

static void ask_for_drain(struct node *node, const struct msg_drain *drain)
{
	uint64_t grace = drain->grace_ms > 0 ? drain->grace_ms : node->drain_grace_ms;
	int64_t until = clock_after_ms(grace), before = atomic_load(&node->drain_until);

	while (until < before && !atomic_compare_exchange_weak(&node->drain_until, &before, until))
		continue;
	/* Before the answer, so that nobody is told of a drain and has a dispatch taken. */
	atomic_store(&node->draining, true);
	events_wake(node->wakeup);
}

void node_drain(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_buffer buffer;
	struct msg_drain drain;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_drain_decode(data, size, &bump, &drain);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = check_drainer(call);
	if (status == SIMPLER_OK) {
		ask_for_drain(node_of(call), &drain);
		status = msg_empty_encode(&buffer);
	}
	reply(call, status, &buffer);
}
