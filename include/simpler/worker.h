/*
 * A worker: one level's engine, with the children below it.
 *
 *     create -> add remotes, load modules -> init -> run, run, ... -> close
 *
 * Thread-safety: several threads may run on one worker at once, and take handles from its modules.
 * Adding, loading, init and close are called by one thread, and close only when nothing else is in
 * progress.
 */
#ifndef SIMPLER_WORKER_H
#define SIMPLER_WORKER_H

#include "simpler/orch.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct simpler_worker simpler_worker;
typedef struct simpler_module simpler_module;

typedef struct simpler_worker_options {
	size_t struct_size;          /**< set by SIMPLER_WORKER_OPTIONS_INIT */
	unsigned level;              /**< 4 for a parent of nodes; 4 to 6 */
	uint64_t connect_timeout_ms; /**< how long init waits for the remote nodes */
	uint32_t node_tasks;         /**< tasks in progress on one node at once; 1 to 1024 */
} simpler_worker_options;

#define SIMPLER_WORKER_OPTIONS_INIT                                                                \
	{                                                                                          \
		sizeof(simpler_worker_options), 4, 10000, 64                                       \
	}

/**
 * @param options  NULL means SIMPLER_WORKER_OPTIONS_INIT.
 * @param[out] out Set on SIMPLER_OK; release with simpler_worker_close().
 * @return SIMPLER_EINVAL for an option out of its range, which the message names; SIMPLER_ENOMEM.
 */
SIMPLER_API simpler_status simpler_worker_create(const simpler_worker_options *options,
                                                 simpler_worker **out);

/**
 * Add the node behind a daemon at `address`: "host:port" or "unix:/path". Before init; does not
 * connect yet.
 *
 * @param[out] out  Its id as a child of this worker; may be NULL.
 * @return SIMPLER_EINVAL for what is no address, SIMPLER_ESTATE after init, SIMPLER_ENOSPACE past
 *         512 nodes.
 */
SIMPLER_API simpler_status simpler_worker_add_remote(simpler_worker *worker, const char *address,
                                                     simpler_worker_id *out);

/**
 * Read a module: a shared object built from a file that includes simpler/module.h. Its code is not
 * run here; it travels to the nodes that need it. Before or after init. The module belongs to the
 * worker and lives until it closes. The file may change or go afterwards.
 *
 * @return SIMPLER_ESYSTEM when it cannot be read; SIMPLER_EINVAL when it is no module, with what
 *         is wrong with it.
 */
SIMPLER_API simpler_status simpler_module_load(simpler_worker *worker, const char *path,
                                               simpler_module **out);

/**
 * Register a callable of a module, with captured state: at most SIMPLER_STATE_MAX bytes, copied.
 * The same module, name and state give the same handle. After init this ships it to the nodes and
 * returns when they have all acknowledged it; before, init does.
 *
 * @return SIMPLER_ENOTFOUND when the module declares no such name (the message lists what it
 *         declares); SIMPLER_EKIND when it is of another kind; after init also what a node
 *         answered, with its name.
 */
SIMPLER_API simpler_status simpler_module_orch_fn(simpler_module *module, const char *name,
                                                  simpler_bytes state, simpler_orch_fn *out);
SIMPLER_API simpler_status simpler_module_sub(simpler_module *module, const char *name,
                                              simpler_bytes state, simpler_sub *out);
SIMPLER_API simpler_status simpler_module_chip(simpler_module *module, const char *name,
                                               simpler_bytes state, simpler_chip *out);

/**
 * Start the children: connect to the remote nodes, ship what was registered.
 * Blocks until all are up or one failed; a worker whose init failed can only be closed.
 *
 * @return SIMPLER_EUNAVAILABLE when a node does not answer within connect_timeout_ms.
 */
SIMPLER_API simpler_status simpler_worker_init(simpler_worker *worker);

/**
 * Run an orchestration function in the calling thread and wait for all it submitted. `args`,
 * `config` and `state` are handed to it as they are and may be NULL or empty.
 *
 * @return SIMPLER_OK, or the first root failure: what `fn` returned, or what failed below it.
 *         simpler_last_error() has the chain. The worker stays usable.
 */
SIMPLER_API simpler_status simpler_run(simpler_worker *worker, simpler_orch_function *fn,
                                       const simpler_args *args, const simpler_config *config,
                                       simpler_bytes state);

/** Stop the children and release everything, modules included. NULL is allowed. */
SIMPLER_API void simpler_worker_close(simpler_worker *worker);

#ifdef __cplusplus
}
#endif

#endif
