/*
 * One level's engine: the graph, the scheduler and the children, the same at every level.
 *
 * Threads: whoever has something to do does it: a submit adds to the graph in the caller's thread
 * and starts what became ready; a child's `done` finishes the task in the child's thread and does
 * the same. A scheduler thread of its own would cost a wake-up on each of these, and wake-ups are
 * what a dispatch is made of. `lock` makes one of them the graph's owner at a time; it is never
 * held over a wait, a call into a child, or user code. A timer thread sees to deadlines, from the
 * first one on.
 *
 * A task:  WAITING --graph--> READY --placed--> STARTED --every member done--> gone
 *             `------poisoned or cancelled-----------------------------------> gone
 *
 *   STARTED --refused, or lost and may run twice--> RESTING --after a while--> READY
 *
 * It ends in end_task(), wherever it was; a run ends when its orchestration function has returned
 * and none of its tasks is live.
 */
#ifndef WORKER_CORE_H
#define WORKER_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "dag/dag.h"
#include "exec/exec.h"
#include "ipc/segments.h"
#include "simpler/orch.h"
#include "tensor/heap.h"
#include "wire/args.h"
#include "worker/callables.h"
#include "worker/timers.h"

#define WORKER_MAX_CHILDREN 512u
/* Its own heap and those of the workers above it. */
#define WORKER_MAX_SEGMENTS 6u
/* Entries of what there is for each simpler_kind. */
#define CORE_KINDS (SIMPLER_KIND_CHIP + 1)

struct run;
struct task;

/* A task has a member for each worker that it runs on: one, unless it is a group. */
struct member {
	struct exec_task exec; /* first: a child hands it back */
	struct task *task;
	uint32_t target;          /* a child's index, or SIMPLER_ANY_WORKER */
	struct exec_child *child; /* once STARTED */
};

enum task_state { TASK_WAITING, TASK_READY, TASK_STARTED, TASK_RESTING };

/* In a queue, or in a list of things to do, through `next`; which is known from what holds it. */
struct task_queue {
	struct task *first, *last;
	uint32_t count;
};

struct task {
	struct run *run;
	dag_task_id node;
	uint64_t ordinal; /* within its run, from 1 */
	/* Under the core's lock: */
	enum task_state state;
	simpler_status stopped; /* SIMPLER_ECANCELLED or SIMPLER_EDEADLINE: it has failed with it */
	bool failed;            /* a member has; the run was told */
	uint32_t references;    /* the graph's, until the task has ended, and those of chores */
	uint32_t members_left;
	struct task_queue *queue;                 /* of ready tasks, that it is in */
	struct task *next, *previous;             /* there */
	struct task *next_of_run, *before_of_run; /* live tasks of the run */
	struct task *next_chore;
	struct timer timer;
	struct timer again; /* while it is RESTING */
	uint32_t refusals;  /* how often it came back without having run */
	uint32_t losses;    /* and how often it was lost */
	uint64_t timeout_ms;
	/* Fixed: */
	simpler_kind kind;
	bool has_storage;             /* of nodes, among its tensors */
	bool local_only, remote_only; /* what its tensors' places leave to choose from */
	uint64_t shared_bytes;        /* of its tensors, that lie in shared memory */
	uint32_t member_count;
	struct member members[];
	/* Behind them, for each: its tensors, their dimensions, its scalars. Then the ids of what
	 * it was to come after. */
};

struct child_state {
	struct exec_child *child;
	struct task_queue directed; /* ready, and bound to it */
	bool reserved;              /* for a group that waits for it; set anew by each placement */
};

/* Ready tasks of one kind, and the children that run them. */
struct crew {
	uint32_t children[WORKER_MAX_CHILDREN]; /* indexes; fixed from init on */
	uint32_t child_count;
	struct task_queue any, groups; /* in the order they became ready */
	uint32_t directed;             /* tasks in the children's own queues */
	uint32_t away;                 /* children that take nothing, and are in none of these: */
	uint32_t free;                 /* tasks that the children could still take */
	uint32_t idle;                 /* children that have a free hand */
	uint32_t overfull;             /* children that have more than they run at once */
	bool any_reserved;
};

struct core_options {
	unsigned level;
	uint32_t max_tasks;
	uint64_t heap_bytes;
	uint64_t grace_ms;
	/* The heaps of the workers above, mapped here; ids below that of its own. */
	struct memory_segment above[WORKER_MAX_SEGMENTS];
	uint32_t above_count;
};

struct worker_core {
	unsigned level;
	uint64_t grace_ms;
	uint64_t heap_bytes;
	struct modules *modules;
	struct callables *callables;
	struct tensor_table *tensors; /* on nodes */
	struct heap *heap;            /* segment `segments[segment_count - 1]` */
	/* Shared with the children of this machine. */
	struct memory_segment segments[WORKER_MAX_SEGMENTS];
	uint32_t segment_count;
	struct segments later; /* that came after the children were forked */

	/* Fixed from init on. */
	struct child_state children[WORKER_MAX_CHILDREN];
	uint32_t child_count;
	struct exec_progress progress;

	pthread_mutex_t lock; /* guards all below, tasks, runs, and exec_child.in_progress */
	pthread_cond_t room;  /* a task or storage went, while somebody waits for room */
	uint32_t waiting_for_room, runs_waiting; /* threads, and the runs that they are of */
	uint32_t waiting_for_slot;               /* of the threads, those for one in the graph */
	struct timer slot_timer; /* set while they are yet to be told of free ones */
	uint32_t executing_runs;
	uint32_t being_freed; /* blocks of the heap that somebody is about to give back */
	uint64_t room_made;   /* counts */
	struct dag *graph;
	dag_scope_id worker_scope;     /* of what simpler_alloc() gave */
	struct crew crews[CORE_KINDS]; /* by simpler_kind */
	uint64_t next_task;
	struct timers timers;
	struct timer_thread {
		pthread_t thread;
		pthread_cond_t changed;
		bool started, stopping;
	} timer;
};

/* --- a worker --- */

simpler_status core_create(const struct core_options *options, struct worker_core **out);
/*
 * To end a worker: close its children, end the threads that call `done`, destroy the core, which
 * releases the children. In this order: the thread that finished a run's last task is still on its
 * way out of `done`, and may be walking the members of a group, when the run's own thread has
 * returned. No run is in progress.
 */
void core_close_children(struct worker_core *core);
void core_destroy(struct worker_core *core);
/* SIMPLER_ENOSPACE when so many more children cannot be added. */
simpler_status core_check_places(const struct worker_core *core, uint32_t count);
/* What a child's is_away() says may be something else now. */
void core_presence_changed(struct worker_core *core, struct exec_child *child);
/* Takes ownership of the child on success. */
simpler_status core_add_child(struct worker_core *core, struct exec_child *child, uint32_t *index);

/* Tasks of this kind that are ready and have no child yet. */
uint64_t core_queued(struct worker_core *core, simpler_kind kind);

/* --- a run (run.c) --- */

/* What an orchestration function is called with. All is borrowed until run_execute() returns. */
struct run_call {
	simpler_orch_function *fn;
	const char *name;            /* for messages */
	const struct module *module; /* where it comes from; NULL if from the running program */
	const simpler_args *args;
	const simpler_config *config; /* NULL: the defaults */
	simpler_bytes state;
	uint64_t timeout_ms; /* SIMPLER_FOREVER: none */
	bool auto_import;    /* for all its submits */
};

/* SIMPLER_EINVAL for a config that cannot be. */
simpler_status run_create(struct worker_core *core, const struct run_call *call, struct run **out);
/*
 * Call the function in this thread and wait for all it submitted. Once for each run. Returns the
 * first root failure, as the thread's last error; the deadline counts from run_create().
 */
simpler_status run_execute(struct run *run);
/* From any thread, before, during or after: it fails with `why`, which is SIMPLER_ECANCELLED or
 * SIMPLER_EDEADLINE, unless it has ended or failed already. */
void run_stop(struct run *run, simpler_status why);
/* After run_execute(), or instead of it. */
void run_destroy(struct run *run);

/* All three at once. */
simpler_status core_run(struct worker_core *core, const struct run_call *call);

#endif
