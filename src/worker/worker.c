/* The public worker: a core with its children, those of this machine (children.c) and remote nodes,
 * from its birth to its end. What its callables are is handles.c's. */
#include "simpler/worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "exec/lane_shm.h"
#include "exec/node_session.h"
#include "exec/remote.h"
#include "fabric/fabric.h"
#include "rpc/rpc.h"
#include "wire/lane.h"
#include "wire/tensor.h"
#include "worker/registration.h"
#include "worker/storage.h"
#include "worker/worker.h"

#define LOWEST_LEVEL  3u
#define HIGHEST_LEVEL 6u
/* What a daemon takes at once, from all its parents. */
#define HIGHEST_NODE_TASKS 1024u
#define HIGHEST_MAX_TASKS  (1u << 20)
/* What a node takes as it is. */
#define LOWEST_SESSION_TTL_MS  100u
#define HIGHEST_SESSION_TTL_MS 86400000u

#define HIGHEST_HEARTBEAT_MS       3600000u
#define HIGHEST_HEARTBEAT_FAILURES 1000u

/* --- nodes that go and come back --- */

/* In this order, so that no registration waits for it that begins because a task failed. */
static void on_lost(void *context, struct exec_child *child)
{
	simpler_worker *worker = context;

	registration_lost(worker->registration, child);
	core_presence_changed(worker->core, child);
}

static void on_changed(void *context, struct exec_child *child)
{
	simpler_worker *worker = context;

	core_presence_changed(worker->core, child);
}

static void on_returned(void *context, struct exec_child *child)
{
	simpler_worker *worker = context;

	registration_returned(worker->registration, child);
}

/* --- threads that wait for runs of nodes --- */

static struct collector *lanes_of(void *context)
{
	simpler_worker *worker = context;

	return lane_shm_hub_collector(worker->lanes);
}

static bool announce_nodes(void *context)
{
	simpler_worker *worker = context;

	return lane_shm_hub_is_used(worker->lanes) && collector_announce(lanes_of(context));
}

static void poll_nodes(void *context)
{
	struct collector *lanes = lanes_of(context);

	lanes->collect(lanes->context, false);
}

/* One of the ways that outcomes come by; what comes by others, other threads take. Who attends the
 * RPC client is not woken by them, so where a fabric ends some, nobody does. */
static bool attend_nodes(void *context, bool announced, const _Atomic bool *finished)
{
	simpler_worker *worker = context;

	if (announced || lane_shm_hub_is_used(worker->lanes))
		return collector_attend(lanes_of(context), announced, finished);
	return !worker->fabric && rpc_client_attend(worker->client, finished);
}

static void wake_nodes(void *context)
{
	collector_wake(lanes_of(context));
}

static simpler_status check_heartbeat(const simpler_worker_options *options)
{
	const struct {
		const char *name;
		uint64_t value, most;
	} numbers[] = {
		{ "heartbeat_interval_ms", options->heartbeat_interval_ms, HIGHEST_HEARTBEAT_MS },
		{ "heartbeat_timeout_ms", options->heartbeat_timeout_ms, HIGHEST_HEARTBEAT_MS },
		{ "heartbeat_failures", options->heartbeat_failures, HIGHEST_HEARTBEAT_FAILURES },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (numbers[i].value < 1 || numbers[i].value > numbers[i].most)
			return error_raise(SIMPLER_EINVAL, "%s is %llu; it is 1 to %llu",
			                   numbers[i].name, (unsigned long long)numbers[i].value,
			                   (unsigned long long)numbers[i].most);
	}
	return SIMPLER_OK;
}

static simpler_status check_options(const simpler_worker_options *options)
{
	simpler_status status;

	if (options->struct_size != sizeof(*options))
		return error_raise(SIMPLER_EINVAL,
		                   "worker options have size %zu instead of %zu; begin them with "
		                   "SIMPLER_WORKER_OPTIONS_INIT",
		                   options->struct_size, sizeof(*options));
	if (options->level < LOWEST_LEVEL || options->level > HIGHEST_LEVEL)
		return error_raise(
			SIMPLER_EINVAL,
			"level is %u; a worker has level %u to %u: 3 for sub workers and "
			"chips, 4 for nodes, and 5 and 6 above that",
			options->level, LOWEST_LEVEL, HIGHEST_LEVEL);
	if (options->node_tasks < 1 || options->node_tasks > HIGHEST_NODE_TASKS)
		return error_raise(SIMPLER_EINVAL, "node_tasks is %u; it is 1 to %u",
		                   options->node_tasks, HIGHEST_NODE_TASKS);
	if (options->session_ttl_ms < LOWEST_SESSION_TTL_MS ||
	    options->session_ttl_ms > HIGHEST_SESSION_TTL_MS)
		return error_raise(SIMPLER_EINVAL, "session_ttl_ms is %llu; it is %u to %u",
		                   (unsigned long long)options->session_ttl_ms,
		                   LOWEST_SESSION_TTL_MS, HIGHEST_SESSION_TTL_MS);
	status = check_heartbeat(options);
	if (status != SIMPLER_OK)
		return status;
	if (options->max_tasks < 1 || options->max_tasks > HIGHEST_MAX_TASKS)
		return error_raise(SIMPLER_EINVAL, "max_tasks is %u; it is 1 to %u",
		                   options->max_tasks, HIGHEST_MAX_TASKS);
	return SIMPLER_OK;
}

static simpler_status make_core(simpler_worker *worker, const simpler_worker_options *options)
{
	const struct core_options core = {
		.level = options->level,
		.max_tasks = options->max_tasks,
		.heap_bytes = options->heap_bytes,
		.grace_ms = options->stop_grace_ms,
	};
	simpler_status status = core_create(&core, &worker->core);

	if (status != SIMPLER_OK)
		return error_context("making a worker");
	worker->registration = registration_create(worker->core);
	if (!worker->registration)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a worker");
	callables_on_gone(worker->core->callables, registration_gone, worker->registration);
	return SIMPLER_OK;
}

static simpler_status take_library_dir(simpler_worker *worker, const char *path)
{
	if (!path)
		return SIMPLER_OK;
	worker->library_dir = strdup(path);
	return worker->library_dir
	               ? SIMPLER_OK
	               : error_raise(SIMPLER_ENOMEM, "out of memory for the path of a directory");
}

static simpler_status open_fabric(simpler_worker *worker, const simpler_worker_options *options)
{
	static const unsigned providers[] = { [SIMPLER_FABRIC_AUTO] = FABRIC_ANY,
		                              [SIMPLER_FABRIC_VERBS] = FABRIC_VERBS,
		                              [SIMPLER_FABRIC_TCP] = FABRIC_TCP };
	struct fabric_options fabric = { .address = options->fabric_address };
	simpler_status status;

	if (options->fabric == SIMPLER_FABRIC_OFF)
		return SIMPLER_OK;
	if ((unsigned)options->fabric > SIMPLER_FABRIC_TCP)
		return error_raise(SIMPLER_EINVAL, "fabric is %d, and no simpler_fabric",
		                   (int)options->fabric);
	if (!fabric.address)
		return error_raise(SIMPLER_EINVAL, "fabric_address is needed, not NULL");
	fabric.provider = providers[options->fabric];
	status = fabric_open(&fabric, &worker->fabric);
	if (status != SIMPLER_EUNAVAILABLE || options->fabric != SIMPLER_FABRIC_AUTO)
		return status;
	simpler_log(SIMPLER_LOG_WARN, "there is no fabric: %s", simpler_last_error_step(0));
	return SIMPLER_OK;
}

simpler_status simpler_worker_create(const simpler_worker_options *options, simpler_worker **out)
{
	static const simpler_worker_options defaults = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_worker *worker;
	simpler_status status;

	if (!out)
		return error_raise(SIMPLER_EINVAL, "a place for the worker is needed, not NULL");
	if (!options)
		options = &defaults;
	status = check_options(options);
	if (status != SIMPLER_OK)
		return status;
	worker = calloc(1, sizeof(*worker));
	if (!worker)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a worker");
	worker->node_tasks = options->node_tasks;
	worker->max_tasks = options->max_tasks;
	worker->connect_timeout_ms = options->connect_timeout_ms;
	worker->session_ttl_ms = options->session_ttl_ms;
	worker->heartbeat = (struct node_heartbeat){ options->heartbeat_interval_ms,
		                                     options->heartbeat_timeout_ms,
		                                     options->heartbeat_failures };
	worker->listener = (struct exec_listener){ worker, on_lost, on_changed, on_returned };
	status = open_fabric(worker, options);
	if (status == SIMPLER_OK)
		status = take_library_dir(worker, options->library_dir);
	if (status == SIMPLER_OK)
		status = make_core(worker, options);
	if (status != SIMPLER_OK) {
		simpler_worker_close(worker);
		return status;
	}
	*out = worker;
	return SIMPLER_OK;
}

simpler_status worker_check_new(const simpler_worker *worker, const char *what)
{
	if (!worker)
		return error_raise(SIMPLER_EINVAL, "the worker is NULL; create it first");
	if (worker->state != WORKER_NEW)
		return error_raise(SIMPLER_ESTATE, "%s are added before init; make another worker",
		                   what);
	return SIMPLER_OK;
}

/* What all nodes of the worker share, made for the first. */
static simpler_status prepare_for_nodes(simpler_worker *worker)
{
	simpler_status status = SIMPLER_OK;

	if (!worker->session)
		status = node_session_create(worker->session_ttl_ms, &worker->heartbeat,
		                             &worker->session);
	if (status == SIMPLER_OK && !worker->lanes)
		status = lane_shm_hub_create(&worker->lanes);
	if (status == SIMPLER_OK && !worker->client)
		status = rpc_client_create(&worker->client);
	return status;
}

static simpler_status check_node_options(const simpler_node_options *options)
{
	if (options->struct_size != sizeof(*options))
		return error_raise(SIMPLER_EINVAL,
		                   "the options of a node have size %zu instead of %zu; begin them "
		                   "with SIMPLER_NODE_OPTIONS_INIT",
		                   options->struct_size, sizeof(*options));
	if ((unsigned)options->lane >= SIMPLER_LANES)
		return error_raise(SIMPLER_EINVAL, "%d is no lane (simpler_lane)",
		                   (int)options->lane);
	return SIMPLER_OK;
}

simpler_status simpler_worker_add_remote(simpler_worker *worker, const char *address,
                                         simpler_worker_id *out)
{
	return simpler_worker_add_remote_with(worker, address, NULL, out);
}

simpler_status simpler_worker_add_remote_with(simpler_worker *worker, const char *address,
                                              const simpler_node_options *options,
                                              simpler_worker_id *out)
{
	static const simpler_node_options defaults = SIMPLER_NODE_OPTIONS_INIT;
	struct exec_child *child;
	uint32_t index;
	simpler_status status = worker_check_new(worker, "nodes");

	if (status != SIMPLER_OK)
		return status;
	if (!address)
		return error_raise(SIMPLER_EINVAL, "the address of a node is needed, not NULL");
	if (worker->core->level == LOWEST_LEVEL)
		return error_raise(
			SIMPLER_EINVAL,
			"a node is a worker of level 3 and so no child of one; make this "
			"worker level 4");
	options = options ? options : &defaults;
	status = check_node_options(options);
	if (status == SIMPLER_OK)
		status = prepare_for_nodes(worker);
	if (status == SIMPLER_OK) {
		const struct remote_options remote = { .client = worker->client,
			                               .session = worker->session,
			                               .address = address,
			                               .capacity = worker->node_tasks,
			                               .lane = options->lane,
			                               .lanes = worker->lanes };

		status = remote_create(&remote, &child);
	}
	if (status != SIMPLER_OK)
		return status;
	child->listener = &worker->listener;
	remote_use_fabric(child, worker->fabric);
	status = core_add_child(worker->core, child, &index);
	if (status != SIMPLER_OK) {
		child->ops->close(child);
		child->ops->release(child);
		return status;
	}
	if (out)
		*out = index;
	return SIMPLER_OK;
}

static simpler_tensor_traffic of_bytes(struct remote_bytes bytes)
{
	return (simpler_tensor_traffic){ bytes.sent, bytes.received };
}

static void count_remote(struct exec_child *child, simpler_traffic *out)
{
	struct remote_traffic traffic = { .auto_moves = 0 };

	if (!child->local)
		remote_count(child, &traffic);
	out->inlined = of_bytes(traffic.inlined);
	out->stream = of_bytes(traffic.stream);
	out->shm = of_bytes(traffic.shm);
	out->fabric = of_bytes(traffic.fabric);
	out->fabric_fallbacks = traffic.fabric_fallbacks;
	out->auto_moves = traffic.auto_moves;
	out->staging_reused = traffic.staging_reused;
	out->lane = traffic.lane;
	out->lane_losses = traffic.lane_losses;
	out->dispatches = traffic.dispatches;
	out->lane_dispatches = traffic.lane_dispatches;
	out->lane_batches = traffic.lane_batches;
}

simpler_status simpler_worker_traffic(const simpler_worker *worker, simpler_worker_id child,
                                      simpler_traffic *out)
{
	const struct exec_traffic *traffic;

	if (!worker || !out)
		return error_raise(SIMPLER_EINVAL,
		                   "a worker and a place for its traffic are needed, not NULL");
	if (out->struct_size != sizeof(*out))
		return error_raise(SIMPLER_EINVAL,
		                   "traffic has size %zu instead of %zu; begin it with "
		                   "SIMPLER_TRAFFIC_INIT",
		                   out->struct_size, sizeof(*out));
	if (child >= worker->core->child_count)
		return error_raise(SIMPLER_EINVAL, "worker %u is not a child here; there are %u",
		                   child, worker->core->child_count);
	traffic = &worker->core->children[child].child->traffic;
	out->module_bytes_sent = atomic_load(&traffic->module_bytes);
	count_remote(worker->core->children[child].child, out);
	return SIMPLER_OK;
}

/* --- the shared heap --- */

simpler_status simpler_alloc(simpler_worker *worker, simpler_dtype dtype, uint32_t ndim,
                             const int64_t *shape, simpler_tensor *out)
{
	simpler_tensor made;
	uint64_t bytes;
	simpler_status status;

	if (!worker || !out)
		return error_raise(SIMPLER_EINVAL,
		                   "a worker and a place for the tensor are needed, not NULL");
	status = tensor_describe(&made, dtype, ndim, shape, &bytes);
	if (status == SIMPLER_OK)
		status = storage_alloc_lasting(worker->core, bytes, &made.data);
	if (status == SIMPLER_OK)
		*out = made;
	return status;
}

simpler_status simpler_free(simpler_worker *worker, void *data)
{
	if (!worker)
		return error_raise(SIMPLER_EINVAL, "the worker is NULL");
	return storage_free(worker->core, data);
}

/* --- life --- */

static simpler_status connect_all(simpler_worker *worker)
{
	int64_t deadline = clock_after_ms(worker->connect_timeout_ms);
	simpler_status status = SIMPLER_OK;

	for (uint32_t i = 0; i < worker->core->child_count && status == SIMPLER_OK; i++) {
		struct exec_child *child = worker->core->children[i].child;

		if (!child->local)
			status = remote_connect(child, deadline);
	}
	return status;
}

/* How threads that wait for runs help. With children of both sorts they collect local outcomes, and
 * are woken by the threads that take the others. */
static void choose_progress(simpler_worker *worker)
{
	if (worker->group)
		worker->core->progress = local_progress(worker->group);
	else if (worker->client)
		worker->core->progress = (struct exec_progress){ worker, announce_nodes, poll_nodes,
			                                         attend_nodes, wake_nodes };
}

simpler_status simpler_worker_init(simpler_worker *worker)
{
	simpler_status status = SIMPLER_OK;

	if (!worker)
		return error_raise(SIMPLER_EINVAL, "the worker is NULL; create it first");
	if (worker->state != WORKER_NEW)
		return error_raise(SIMPLER_ESTATE, "this worker was initialized already; a worker "
		                                   "whose init failed can only be closed");
	if (worker->group)
		status = local_group_start(worker->group);
	if (status == SIMPLER_OK)
		status = connect_all(worker);
	if (status == SIMPLER_OK)
		status = worker_ship_all(worker);
	choose_progress(worker);
	worker->state = status == SIMPLER_OK ? WORKER_READY : WORKER_FAILED;
	return status;
}

simpler_status worker_check_run(const simpler_worker *worker, simpler_orch_function *fn)
{
	if (!worker || !fn)
		return error_raise(SIMPLER_EINVAL, "a worker and a function are needed, not NULL");
	if (worker->state != WORKER_READY)
		return error_raise(SIMPLER_ESTATE,
		                   "this worker is not initialized; call "
		                   "simpler_worker_init() and check what it returns");
	return SIMPLER_OK;
}

simpler_status simpler_run(simpler_worker *worker, simpler_orch_function *fn,
                           const simpler_args *args, const simpler_config *config,
                           simpler_bytes state)
{
	const struct run_call call = {
		.fn = fn,
		.name = "the orchestration function",
		.args = args,
		.config = config,
		.state = state,
		.timeout_ms = SIMPLER_FOREVER,
	};
	simpler_status status = worker_check_run(worker, fn);

	if (status != SIMPLER_OK)
		return status;
	status = core_run(worker->core, &call);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("the run failed");
}

/* Before the session ends there, which would be the loss of a lane. */
static void leave_nodes(simpler_worker *worker)
{
	for (uint32_t i = 0; worker->core && i < worker->core->child_count; i++) {
		if (!worker->core->children[i].child->local)
			remote_leave(worker->core->children[i].child);
	}
}

void simpler_worker_close(simpler_worker *worker)
{
	if (!worker)
		return;
	if (worker->registration)
		registration_close(worker->registration);
	leave_nodes(worker);
	node_session_stop(worker->session);
	if (worker->core)
		core_close_children(worker->core);
	if (worker->fabric)
		fabric_close(worker->fabric);
	if (worker->registration)
		registration_join(worker->registration);
	if (worker->client)
		rpc_client_destroy(worker->client);
	lane_shm_hub_destroy(worker->lanes);
	if (worker->group)
		local_group_stop(worker->group);
	if (worker->core)
		core_destroy(worker->core);
	node_session_release(worker->session);
	local_group_destroy(worker->group);
	if (worker->registration)
		registration_destroy(worker->registration);
	worker_release_modules(worker);
	free(worker->library_dir);
	free(worker);
}
