/* The public worker: a core with its children, those of this machine (children.c) and remote nodes,
 * and the modules shipped to the nodes. */
#include "simpler/worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "catalog/module_read.h"
#include "exec/node_session.h"
#include "exec/remote.h"
#include "rpc/rpc.h"
#include "wire/tensor.h"
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

struct simpler_module {
	simpler_worker *worker;
	struct module *module;
	simpler_module *next;
};

static bool attend_nodes(void *client, bool announced, const _Atomic bool *finished)
{
	(void)announced;
	return rpc_client_attend(client, finished);
}

static simpler_status check_options(const simpler_worker_options *options)
{
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

	return status == SIMPLER_OK ? SIMPLER_OK : error_context("making a worker");
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
	(void)pthread_mutex_init(&worker->ship_lock, NULL);
	worker->node_tasks = options->node_tasks;
	worker->max_tasks = options->max_tasks;
	worker->connect_timeout_ms = options->connect_timeout_ms;
	worker->session_ttl_ms = options->session_ttl_ms;
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
		status = node_session_create(worker->session_ttl_ms, &worker->session);
	if (status == SIMPLER_OK && !worker->client)
		status = rpc_client_create(&worker->client);
	return status;
}

simpler_status simpler_worker_add_remote(simpler_worker *worker, const char *address,
                                         simpler_worker_id *out)
{
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
	status = prepare_for_nodes(worker);
	if (status == SIMPLER_OK)
		status = remote_create(worker->client, worker->session, address, worker->node_tasks,
		                       &child);
	if (status != SIMPLER_OK)
		return status;
	status = core_add_child(worker->core, child, &index);
	if (status != SIMPLER_OK) {
		child->ops->close(child);
		return status;
	}
	if (out)
		*out = index;
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

/* --- modules --- */

/* The module at `path`, and the signature beside it if there is one. */
static simpler_status add_module(struct worker_core *core, const char *path, simpler_bytes bytes,
                                 struct module **out)
{
	struct signature signature;
	struct digest digest;
	bool is_signed;
	simpler_status status = digest_compute(bytes.data, bytes.size, &digest);

	if (status != SIMPLER_OK)
		return status;
	status = module_read_signature(path, &digest, &signature);
	is_signed = status == SIMPLER_OK;
	if (!is_signed && status != SIMPLER_ENOTFOUND)
		return status;
	return callables_add_module(core->callables, &digest, bytes, is_signed ? &signature : NULL,
	                            out);
}

simpler_status simpler_module_load(simpler_worker *worker, const char *path, simpler_module **out)
{
	uint8_t *bytes;
	size_t size;
	simpler_module *module;
	simpler_status status;

	if (!worker || !path || !out)
		return error_raise(SIMPLER_EINVAL,
		                   "a worker, a path and a result are needed, not NULL");
	module = calloc(1, sizeof(*module));
	if (!module)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a module");
	status = module_read(path, &bytes, &size);
	if (status == SIMPLER_OK) {
		status = add_module(worker->core, path, (simpler_bytes){ bytes, size },
		                    &module->module);
		free(bytes);
	}
	if (status != SIMPLER_OK) {
		free(module);
		return error_context("loading module '%s'", path);
	}
	module->worker = worker;
	module->next = worker->modules;
	worker->modules = module;
	*out = module;
	return SIMPLER_OK;
}

/* Nodes run orchestration functions; the callables below those are found on the node itself. A
 * child of this machine is sent what a task names with the task. */
static simpler_status install_everywhere(struct worker_core *core,
                                         const struct exec_callable *callable)
{
	simpler_status status = SIMPLER_OK;

	for (uint32_t i = 0; i < core->child_count && status == SIMPLER_OK; i++) {
		struct exec_child *child = core->children[i].child;

		/* A function of this program is for children of its machine. */
		if (child->runs == callable->kind &&
		    (child->local || callable->source == RECORD_FROM_MODULE))
			status = child->ops->install(child, callable);
	}
	return status;
}

/* What failed is tried again by the next call for the same callable; others are none the worse. */
static simpler_status ship(simpler_worker *worker, const struct exec_callable *callable)
{
	bool *shipped = &worker->shipped[callable->key - 1];
	simpler_status status = SIMPLER_OK;

	pthread_mutex_lock(&worker->ship_lock);
	if (!*shipped)
		status = install_everywhere(worker->core, callable);
	*shipped = status == SIMPLER_OK;
	pthread_mutex_unlock(&worker->ship_lock);
	return status;
}

static simpler_status ship_all(simpler_worker *worker)
{
	const struct exec_callable *callable;
	simpler_status status = SIMPLER_OK;

	for (size_t i = 0; status == SIMPLER_OK; i++) {
		callable = callables_at(worker->core->callables, i);
		if (!callable)
			break;
		status = ship(worker, callable);
	}
	return status;
}

simpler_status worker_publish(simpler_worker *worker, const struct exec_callable *callable,
                              uint64_t *out)
{
	simpler_status status = SIMPLER_OK;

	if (worker->state == WORKER_READY)
		status = ship(worker, callable);
	if (status == SIMPLER_OK)
		*out = callable->key;
	return status;
}

static simpler_status take_handle(simpler_module *module, const char *name, simpler_kind kind,
                                  simpler_bytes state, uint64_t *out)
{
	const struct exec_callable *callable;
	simpler_status status;

	if (!module || !out)
		return error_raise(SIMPLER_EINVAL,
		                   "a module and a place for the handle are needed, "
		                   "not NULL");
	status = callables_add(module->worker->core->callables, module->module, name, kind, state,
	                       &callable);
	return status == SIMPLER_OK ? worker_publish(module->worker, callable, out) : status;
}

simpler_status simpler_module_orch_fn(simpler_module *module, const char *name, simpler_bytes state,
                                      simpler_orch_fn *out)
{
	return take_handle(module, name, SIMPLER_KIND_ORCH, state, out ? &out->id : NULL);
}

simpler_status simpler_module_sub(simpler_module *module, const char *name, simpler_bytes state,
                                  simpler_sub *out)
{
	return take_handle(module, name, SIMPLER_KIND_SUB, state, out ? &out->id : NULL);
}

simpler_status simpler_module_chip(simpler_module *module, const char *name, simpler_bytes state,
                                   simpler_chip *out)
{
	return take_handle(module, name, SIMPLER_KIND_CHIP, state, out ? &out->id : NULL);
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
 * are woken by the RPC client's thread for the others. */
static void choose_progress(simpler_worker *worker)
{
	if (worker->group)
		worker->core->progress = local_progress(worker->group);
	else if (worker->client)
		worker->core->progress =
			(struct exec_progress){ .context = worker->client, .attend = attend_nodes };
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
		status = ship_all(worker);
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

void simpler_worker_close(simpler_worker *worker)
{
	if (!worker)
		return;
	while (worker->modules) {
		simpler_module *module = worker->modules;

		worker->modules = module->next;
		free(module);
	}
	node_session_end(worker->session);
	if (worker->core)
		core_close_children(worker->core);
	if (worker->client)
		rpc_client_destroy(worker->client);
	if (worker->group)
		local_group_destroy(worker->group);
	if (worker->core)
		core_destroy(worker->core);
	(void)pthread_mutex_destroy(&worker->ship_lock);
	free(worker);
}
