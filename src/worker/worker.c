/* The public worker: a core whose children are remote nodes, and the modules shipped to them. */
#include "simpler/worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "catalog/module_read.h"
#include "exec/remote.h"
#include "rpc/rpc.h"
#include "worker/core.h"

#define LOWEST_LEVEL  4u
#define HIGHEST_LEVEL 6u
/* What a daemon takes at once, from all its parents. */
#define HIGHEST_NODE_TASKS 1024u

enum worker_state { WORKER_NEW, WORKER_READY, WORKER_FAILED };

struct simpler_module {
	simpler_worker *worker;
	struct module *module;
	simpler_module *next;
};

/* Fields without a lock are changed by the one thread that sets the worker up. */
struct simpler_worker {
	struct worker_core *core;
	struct rpc_client *client;
	enum worker_state state;
	uint64_t connect_timeout_ms;
	uint32_t node_tasks;
	simpler_module *modules;
	pthread_mutex_t ship_lock;   /* guards `shipped`, and lets one ship at a time */
	bool shipped[CALLABLES_MAX]; /* by key - 1: every node has acknowledged it */
};

static bool attend_nodes(void *client, bool announced, const _Atomic bool *finished)
{
	(void)announced;
	return rpc_client_attend(client, finished);
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
	if (options->struct_size != sizeof(*options))
		return error_raise(SIMPLER_EINVAL,
		                   "worker options have size %zu instead of %zu; begin them with "
		                   "SIMPLER_WORKER_OPTIONS_INIT",
		                   options->struct_size, sizeof(*options));
	if (options->level < LOWEST_LEVEL || options->level > HIGHEST_LEVEL)
		return error_raise(
			SIMPLER_EINVAL,
			"level %u: a worker that drives remote nodes has level %u to %u; "
			"level 3 runs inside simpler-l3d",
			options->level, LOWEST_LEVEL, HIGHEST_LEVEL);
	if (options->node_tasks < 1 || options->node_tasks > HIGHEST_NODE_TASKS)
		return error_raise(SIMPLER_EINVAL, "node_tasks is %u; it is 1 to %u",
		                   options->node_tasks, HIGHEST_NODE_TASKS);
	worker = calloc(1, sizeof(*worker));
	if (!worker)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a worker");
	(void)pthread_mutex_init(&worker->ship_lock, NULL);
	worker->node_tasks = options->node_tasks;
	worker->connect_timeout_ms = options->connect_timeout_ms;
	status = core_create(options->level, &worker->core);
	if (status == SIMPLER_OK)
		status = rpc_client_create(&worker->client);
	if (status == SIMPLER_OK)
		worker->core->progress =
			(struct exec_progress){ .context = worker->client, .attend = attend_nodes };
	if (status != SIMPLER_OK) {
		simpler_worker_close(worker);
		return status;
	}
	*out = worker;
	return SIMPLER_OK;
}

simpler_status simpler_worker_add_remote(simpler_worker *worker, const char *address,
                                         simpler_worker_id *out)
{
	struct exec_child *child;
	uint32_t index;
	simpler_status status;

	if (!worker || !address)
		return error_raise(SIMPLER_EINVAL, "a worker and an address are needed, not NULL");
	if (worker->state != WORKER_NEW)
		return error_raise(SIMPLER_ESTATE,
		                   "nodes are added before init; make another worker "
		                   "for node %s",
		                   address);
	status = remote_create(worker->client, address, worker->node_tasks, &child);
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

/* --- modules --- */

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
		status =
			callables_add_module(worker->core->callables, bytes, size, &module->module);
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

/* Nodes run orchestration functions; the callables below those are found on the node itself. */
static simpler_status install_everywhere(struct worker_core *core,
                                         const struct exec_callable *callable)
{
	simpler_status status = SIMPLER_OK;

	if (callable->kind != SIMPLER_KIND_ORCH)
		return SIMPLER_OK;
	for (uint32_t i = 0; i < core->child_count && status == SIMPLER_OK; i++)
		status = core->children[i]->ops->install(core->children[i], callable);
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
	if (status == SIMPLER_OK && module->worker->state == WORKER_READY)
		status = ship(module->worker, callable);
	if (status == SIMPLER_OK)
		*out = callable->key;
	return status;
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

	for (uint32_t i = 0; i < worker->core->child_count && status == SIMPLER_OK; i++)
		status = remote_connect(worker->core->children[i], deadline);
	return status;
}

simpler_status simpler_worker_init(simpler_worker *worker)
{
	simpler_status status;

	if (!worker)
		return error_raise(SIMPLER_EINVAL, "the worker is NULL; create it first");
	if (worker->state != WORKER_NEW)
		return error_raise(SIMPLER_ESTATE, "this worker was initialized already; a worker "
		                                   "whose init failed can only be closed");
	status = connect_all(worker);
	if (status == SIMPLER_OK)
		status = ship_all(worker);
	worker->state = status == SIMPLER_OK ? WORKER_READY : WORKER_FAILED;
	return status;
}

simpler_status simpler_run(simpler_worker *worker, simpler_orch_function *fn,
                           const simpler_args *args, const simpler_config *config,
                           simpler_bytes state)
{
	simpler_status status;

	if (!worker || !fn)
		return error_raise(SIMPLER_EINVAL, "a worker and a function are needed, not NULL");
	if (worker->state != WORKER_READY)
		return error_raise(SIMPLER_ESTATE,
		                   "this worker is not initialized; call "
		                   "simpler_worker_init() and check what it returns");
	status =
		core_run(worker->core, fn, "the orchestration function", NULL, args, config, state);
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
	if (worker->core)
		core_close_children(worker->core);
	if (worker->client)
		rpc_client_destroy(worker->client);
	if (worker->core)
		core_destroy(worker->core);
	(void)pthread_mutex_destroy(&worker->ship_lock);
	free(worker);
}
