/* The public worker as its own files see it. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "exec/local.h"
#include "simpler/worker.h"
#include "worker/run.h"

#define WORKER_MAX_ASYNC_RUNS 256u

struct node_session;
struct rpc_client;

enum worker_state { WORKER_NEW, WORKER_READY, WORKER_FAILED };

/* Fields without a lock are changed by the one thread that sets the worker up. */
struct simpler_worker {
	struct worker_core *core;
	struct rpc_client *client;    /* of remote nodes; NULL while there are none */
	struct node_session *session; /* with them; there if `client` is */
	struct local_group *group;    /* of children of this machine; NULL while there are none */
	enum worker_state state;
	uint64_t connect_timeout_ms, session_ttl_ms;
	uint32_t node_tasks, max_tasks;
	simpler_module *modules;
	_Atomic uint32_t async_runs;
	pthread_mutex_t ship_lock;   /* guards `shipped`, and lets one ship at a time */
	bool shipped[CALLABLES_MAX]; /* by key - 1: every node has acknowledged it */
};

/* SIMPLER_ESTATE after init, naming `what`. */
simpler_status worker_check_new(const simpler_worker *worker, const char *what);
/* Ship a new callable to the nodes, once there are any; its handle. */
simpler_status worker_publish(simpler_worker *worker, const struct exec_callable *callable,
                              uint64_t *out);
simpler_status worker_check_run(const simpler_worker *worker, simpler_orch_function *fn);

#endif
