/*
 * What an orchestration function does: submit tasks to the level below.
 *
 * A submit never runs the task itself. It adds it to the run's graph, whose edges follow from how
 * tasks use their tensors, and returns; what is ready starts at once. The run ends when the
 * orchestration function has returned and all it submitted has ended, so the function need not
 * wait for anything.
 *
 * `orch` is valid until the orchestration function returns. Its functions may be called from any
 * thread; scopes are the run's, not a thread's.
 */
#ifndef SIMPLER_ORCH_H
#define SIMPLER_ORCH_H

#include "simpler/callable.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A child of a worker: they count from 0 in the order they were added. Stable as long as the
 * worker lives, whatever process serves it. */
typedef uint32_t simpler_worker_id;
#define SIMPLER_ANY_WORKER UINT32_MAX

/** A submitted task. Copy it freely; neither field is ever 0, and once the task has ended it names
 *  nothing. */
typedef struct simpler_task {
	uint64_t id;
	uint64_t run; /**< which submitted it; of all runs of the process */
} simpler_task;

/** No deadline. */
#define SIMPLER_FOREVER UINT64_MAX

typedef struct simpler_submit_options {
	size_t struct_size;           /**< set by SIMPLER_SUBMIT_OPTIONS_INIT */
	simpler_worker_id worker;     /**< run it there, or on any that can */
	const simpler_config *config; /**< NULL means the orchestration function's own */
	/** Tasks of this run to wait for besides those that the tensors say; one that has ended is
	 * as good as any. What this run's submits did not return is refused with SIMPLER_EINVAL. */
	const simpler_task *after;
	size_t after_count;
	/** From the submit on; then the task fails with SIMPLER_EDEADLINE, wherever it is. */
	uint64_t timeout_ms;
	/** How long the submit itself waits for room in the graph or the heap. When nothing in
	 *  progress could make room, it fails at once. */
	uint64_t room_timeout_ms;
	/** For a group: as many distinct workers as it has members; NULL means any. */
	const simpler_worker_id *group_workers;
	/** Bring tensors that the task only reads to its node, if they are on others, for as long
	 * as it runs; see simpler_tensor_bring(). Without it they are refused. With any worker the
	 * task goes to the node that has most of their bytes. */
	bool auto_import;
} simpler_submit_options;

#define SIMPLER_SUBMIT_OPTIONS_INIT                                                                \
	{                                                                                          \
		sizeof(simpler_submit_options), SIMPLER_ANY_WORKER, NULL, NULL, 0,                 \
			SIMPLER_FOREVER, SIMPLER_FOREVER, NULL, false                              \
	}

/**
 * Submit an orchestration function to a worker of the next level down: a process of this machine or
 * a remote node.
 *
 * Copies `args`; does not wait for the task. Blocks while the graph or the heap is full, at most
 * room_timeout_ms and until the run's deadline.
 *
 * With SIMPLER_ANY_WORKER it goes to a worker with a free hand before any other, among those to the
 * one that holds most of the task's bytes already, and among those to the least loaded.
 *
 * @param options  NULL means the defaults.
 * @param[out] out Set on SIMPLER_OK; may be NULL.
 * @return the builder's first error if `args` has one; SIMPLER_ESTALE for a callable's handle that
 *         this worker did not give out, or that was unregistered, and for a tensor's that it did
 *         not give out, or that was freed; SIMPLER_EKIND for a callable of another kind;
 *         SIMPLER_EPERM for a tensor on a node that is for reading only, and a tag that writes;
 *         SIMPLER_EINVAL for a target that cannot take the task, with the reason, such as a tensor
 *         outside the memory that it needs; SIMPLER_ENOSPACE, naming the limit, what is used and
 *         what was asked, when there was no room in time; SIMPLER_ESTATE when the orchestration
 *         function has returned, SIMPLER_EPOISONED when the run has failed already,
 *         SIMPLER_ECANCELLED or SIMPLER_EDEADLINE when it was stopped; SIMPLER_ENOMEM.
 */
SIMPLER_API simpler_status simpler_submit_next_level(simpler_orch *orch, simpler_orch_fn callable,
                                                     const simpler_args *args,
                                                     const simpler_submit_options *options,
                                                     simpler_task *out);

/** Submit a sub task to a sub worker of this level. As simpler_submit_next_level(). */
SIMPLER_API simpler_status simpler_submit_sub(simpler_orch *orch, simpler_sub callable,
                                              const simpler_args *args,
                                              const simpler_submit_options *options,
                                              simpler_task *out);

/** Submit a kernel to a chip of this level. As simpler_submit_next_level(); tensors are moved to
 *  the device and back as their tags say. */
SIMPLER_API simpler_status simpler_submit_chip(simpler_orch *orch, simpler_chip callable,
                                               const simpler_args *args,
                                               const simpler_submit_options *options,
                                               simpler_task *out);

/** Most members of a group. */
#define SIMPLER_MAX_GROUP 256

/**
 * Submit a group: one task of the graph that `count` distinct workers run at once, member i with
 * `args[i]`. It waits for what any member's tensors wait for; members never wait for each other.
 * They start together, when there are enough free workers; the task is done when all are, and when
 * one fails the others are stopped. `options->worker` is not used.
 *
 * @return besides what simpler_submit_next_level() returns, SIMPLER_EINVAL for no member, more
 *         than can run at once, or a worker named twice.
 */
SIMPLER_API simpler_status simpler_submit_next_level_group(
	simpler_orch *orch, simpler_orch_fn callable, const simpler_args *const *args, size_t count,
	const simpler_submit_options *options, simpler_task *out);
SIMPLER_API simpler_status simpler_submit_sub_group(simpler_orch *orch, simpler_sub callable,
                                                    const simpler_args *const *args, size_t count,
                                                    const simpler_submit_options *options,
                                                    simpler_task *out);
SIMPLER_API simpler_status simpler_submit_chip_group(simpler_orch *orch, simpler_chip callable,
                                                     const simpler_args *const *args, size_t count,
                                                     const simpler_submit_options *options,
                                                     simpler_task *out);

/**
 * Cancel a task that this run submitted: if it has not begun it never will, if it runs its
 * simpler_should_stop() turns true and after the worker's grace period its process is killed. It
 * fails with SIMPLER_ECANCELLED, and so do the run and all that waits for it. Does not wait.
 *
 * @return SIMPLER_ENOTFOUND when the task has ended or is none of this run.
 */
SIMPLER_API simpler_status simpler_cancel(simpler_orch *orch, simpler_task task);

/** Most scopes that are open at once, the run itself apart. */
#define SIMPLER_MAX_SCOPES 64

/**
 * Open a scope. Scopes bound the life of tensors that a run allocates. The run itself is the
 * outermost one; they nest. A tensor belongs to the scope that was the innermost open one when it
 * was allocated. Its storage is returned as soon as that scope has ended and no task that was
 * submitted with it is left; an outer scope holds nothing of an inner one back.
 *
 * @return SIMPLER_ENOSPACE past SIMPLER_MAX_SCOPES; SIMPLER_ENOMEM.
 */
SIMPLER_API simpler_status simpler_scope_begin(simpler_orch *orch);
/** End the innermost scope. Does not wait for tasks. SIMPLER_ESTALE when none is open. */
SIMPLER_API simpler_status simpler_scope_end(simpler_orch *orch);

/**
 * Allocate a tensor in the worker's shared heap, in the innermost open scope. Its bytes are
 * undefined. Use it as SIMPLER_SHARED argument of tasks on this machine while the scope is open,
 * or from the orchestration function itself. Blocks while the heap is full, as a submit does with
 * its default options.
 *
 * @return SIMPLER_EINVAL for what simpler_tensor_init() refuses; SIMPLER_ENOSPACE naming the heap's
 *         capacity, what is used and what was asked.
 */
SIMPLER_API simpler_status simpler_orch_alloc(simpler_orch *orch, simpler_dtype dtype,
                                              uint32_t ndim, const int64_t *shape,
                                              simpler_tensor *out);

/**
 * Callables of the module that this orchestration function came from, by name. Asking again with
 * the same name and state gives the same handle, cheaply. The handle is this run's: it is good
 * until the run has ended, and is not to be kept for another one.
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
SIMPLER_API simpler_status simpler_orch_chip(simpler_orch *orch, const char *name,
                                             simpler_bytes state, simpler_chip *out);

#ifdef __cplusplus
}
#endif

#endif
