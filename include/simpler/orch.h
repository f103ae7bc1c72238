/*
 * What an orchestration function does: submit tasks to the level below.
 *
 * A submit never runs the task itself. It adds it to the run's graph, whose edges follow from how
 * tasks use their tensors, and returns; what is ready starts at once. The run ends when the
 * orchestration function has returned and all it submitted has ended, so the function need not
 * wait for anything.
 *
 * `orch` is valid until the orchestration function returns, in the thread that runs it.
 */
#ifndef SIMPLER_ORCH_H
#define SIMPLER_ORCH_H

#include "simpler/callable.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A child of a worker. Stable as long as the worker lives. */
typedef uint32_t simpler_worker_id;
#define SIMPLER_ANY_WORKER UINT32_MAX

/** A submitted task; counts from 1 within its run. */
typedef struct simpler_task {
	uint64_t id;
} simpler_task;

typedef struct simpler_submit_options {
	size_t struct_size;           /**< set by SIMPLER_SUBMIT_OPTIONS_INIT */
	simpler_worker_id worker;     /**< run it there, or on any that can */
	const simpler_config *config; /**< for next-level tasks; NULL means the defaults */
} simpler_submit_options;

#define SIMPLER_SUBMIT_OPTIONS_INIT                                                                \
	{                                                                                          \
		sizeof(simpler_submit_options), SIMPLER_ANY_WORKER, NULL                           \
	}

/**
 * Submit an orchestration function to a worker of the next level down, such as a remote node.
 *
 * Copies `args`; does not wait for the task. Blocks while the graph is full.
 *
 * @param options  NULL means the defaults.
 * @param[out] out Set on SIMPLER_OK; may be NULL.
 * @return the builder's first error if `args` has one; SIMPLER_ESTALE for a handle this worker did
 *         not give out; SIMPLER_EKIND for one of another kind; SIMPLER_EINVAL for a target that
 *         cannot take the task, with the reason, or a shared tensor outside shared memory.
 */
SIMPLER_API simpler_status simpler_submit_next_level(simpler_orch *orch, simpler_orch_fn callable,
                                                     const simpler_args *args,
                                                     const simpler_submit_options *options,
                                                     simpler_task *out);

/** Submit a sub task to an idle sub worker of this level. As simpler_submit_next_level(). */
SIMPLER_API simpler_status simpler_submit_sub(simpler_orch *orch, simpler_sub callable,
                                              const simpler_args *args,
                                              const simpler_submit_options *options,
                                              simpler_task *out);

/**
 * Callables of the module that this orchestration function came from, by name. Asking again with
 * the same name and state gives the same handle, cheaply.
 *
 * @param state  Captured state, at most SIMPLER_STATE_MAX; copied.
 * @return SIMPLER_ENOTFOUND when the module declares no such name (the message lists what it
 *         declares), SIMPLER_EKIND when it is of another kind, SIMPLER_ESTATE when the
 *         orchestration function came from no module.
 */
SIMPLER_API simpler_status simpler_orch_sub(simpler_orch *orch, const char *name,
                                            simpler_bytes state, simpler_sub *out);
SIMPLER_API simpler_status simpler_orch_orch_fn(simpler_orch *orch, const char *name,
                                                simpler_bytes state, simpler_orch_fn *out);

#ifdef __cplusplus
}
#endif

#endif
