/*
 * One level's engine: the graph, the scheduler and the children, the same at every level.
 *
 * Threads: whoever has something to do does it: a submit adds to the graph in the caller's thread
 * and starts what became ready; a child's `done` finishes the task in the child's thread and does
 * the same. A scheduler thread of its own would cost a wake-up on each of these, and wake-ups are
 * what a dispatch is made of. `lock` makes one of them the graph's owner at a time; it is never
 * held over a wait, a call into a child, or user code.
 *
 * A task ends in task_done() or, poisoned, in schedule(); a run ends in run_wait() when its
 * orchestration function has returned and none of its tasks is live.
 */
#ifndef WORKER_CORE_H
#define WORKER_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "dag/dag.h"
#include "exec/exec.h"
#include "simpler/orch.h"
#include "wire/args.h"
#include "worker/callables.h"

#define WORKER_MAX_CHILDREN 512u
#define WORKER_MAX_TASKS    65536u /* live in one worker at once */

struct run;

struct task {
	struct exec_task exec; /* first: a child hands it back */
	struct worker_core *core;
	struct run *run;
	dag_task_id node;
	uint64_t ordinal; /* within its run, from 1 */
	uint32_t target;  /* a child's index, or SIMPLER_ANY_WORKER */
	struct exec_child *child;
	struct task *next; /* in a queue of ready tasks, or in a list to start */
	struct record_config config;
	/* The tensors lie behind it, then the scalars. */
	struct exec_tensor tensors[];
};

struct task_queue {
	struct task *first, *last;
};

struct worker_core {
	unsigned level;
	struct callables *callables;
	/* Shared with the children, for SIMPLER_SHARED tensors; no bytes when there is none. */
	struct memory_segment memory;

	/* Fixed from init on. */
	struct exec_child *children[WORKER_MAX_CHILDREN];
	uint32_t child_count;
	struct exec_progress progress;

	pthread_mutex_t lock; /* guards all below, the runs, and exec_child.in_progress */
	pthread_cond_t room;  /* a live task went, while submits wait for room */
	uint32_t waiting_for_room;
	struct dag *graph;
	/* Ready and not yet placed, in the order they became so; and the tasks that the children of
	 * that kind could still take. */
	struct task_queue ready_subs, ready_next_level;
	uint32_t idle_subs, idle_next_level;
	uint64_t next_task;
};

/* One call of an orchestration function; `struct simpler_orch` of the public interface is this. */
struct run {
	struct worker_core *core;
	const struct module *module; /* the function's own; NULL if from the running program */
	/* Under the core's lock: */
	uint64_t submitted;
	uint32_t live; /* submitted and not ended */
	bool returned; /* the orchestration function has */
	bool failed;
	struct error error; /* the first root failure */
	pthread_cond_t ended;
	_Atomic bool finished; /* returned, and nothing live */
	bool announced;        /* the calling thread's own; see struct exec_progress */
};

simpler_status core_create(unsigned level, struct worker_core **out);
/*
 * To end a worker: close its children, end the threads that call `done`, destroy the core. In this
 * order: the thread that finished a run's last task is still on its way out of task_done() when the
 * run's own thread has returned. No run is in progress.
 */
void core_close_children(struct worker_core *core);
void core_destroy(struct worker_core *core);
/* Takes ownership of the child on success. */
simpler_status core_add_child(struct worker_core *core, struct exec_child *child, uint32_t *index);

/*
 * Run `fn` in the calling thread and wait for all it submitted. `module` is where it comes from,
 * or NULL. Returns the first root failure, as the thread's last error.
 */
simpler_status core_run(struct worker_core *core, simpler_orch_function *fn, const char *name,
                        const struct module *module, const simpler_args *args,
                        const simpler_config *config, simpler_bytes state);

/* Add a task that was made ready for it to the graph, and start what became ready. Takes the task,
 * also on failure. Blocks while the graph is full. */
simpler_status schedule_submit(struct task *task, simpler_task *out);
/* The orchestration function has returned `status`. Waits until the run has ended. */
simpler_status schedule_wait(struct run *run, const char *name, simpler_status status);

#endif
