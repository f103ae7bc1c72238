/* The public worker as its own files see it. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "exec/local.h"
#include "exec/node_session.h"
#include "simpler/worker.h"
#include "worker/run.h"

#define WORKER_MAX_ASYNC_RUNS 256u

struct lane_shm_hub;
struct registration;
struct lane_shm_hub;
struct rpc_client;
struct fabric;

enum worker_state { WORKER_NEW, WORKER_READY, WORKER_FAILED };

/* Fields without a lock are changed by the one thread that sets the worker up. */
struct simpler_worker {
	struct worker_core *core;
	struct rpc_client *client;    /* of remote nodes; NULL while there are none */
	struct lane_shm_hub *lanes;   /* by shared memory, to the nodes of this machine */
	struct node_session *session; /* with them; there if `client` is */
	struct local_group *group;    /* of children of this machine; NULL while there are none */
	enum worker_state state;
	uint64_t connect_timeout_ms, session_ttl_ms;
	struct node_heartbeat heartbeat;
	struct exec_listener listener; /* of its nodes */
	uint32_t node_tasks, max_tasks;
	simpler_module *modules;
	_Atomic uint32_t async_runs;
	char *library_dir;     /* NULL: libraries are on nodes only */
	struct fabric *fabric; /* towards nodes; NULL: there is none */
	struct registration *registration;
};

/* SIMPLER_ESTATE after init, naming `what`. */
simpler_status worker_check_new(const simpler_worker *worker, const char *what);
simpler_status worker_check_run(const simpler_worker *worker, simpler_orch_function *fn);

/* --- handles.c --- */

/* Register a callable: its handle, once all nodes have it if there are any yet. */
simpler_status worker_register(simpler_worker *worker, const struct callable_spec *spec,
                               uint64_t *handle);
/* What was registered before there were nodes. */
simpler_status worker_ship_all(simpler_worker *worker);
void worker_release_modules(simpler_worker *worker);

#endif
