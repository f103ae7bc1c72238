/*
 * Scheduling: from the graph's events to children and back.
 *
 * Each entry (a submit, a task that is done, a deadline, a cancellation) takes the lock, changes
 * the graph, places what can be placed, and carries the result out of the lock: tasks to start, to
 * stop, to release. Starting may finish a task at once and so enter here again; that is why no lock
 * is held then.
 */
#ifndef WORKER_SCHEDULE_H
#define WORKER_SCHEDULE_H

#include "worker/core.h"
#include "worker/run.h"

#define CHORES_UNUSED 16

/* What one entry leaves to do once the lock is released. */
struct chores {
	struct task_queue start, release; /* through task.next */
	struct task *stop;                /* through task.next_chore, each with a reference */
	/* By simpler_kind: take a waiting task from it, for one that is idle. */
	struct exec_child *relieve[CORE_KINDS];
	void *unused[CHORES_UNUSED]; /* storage of the heap */
	size_t unused_count;
	bool run_ended;
};

void task_queue_append(struct task_queue *queue, struct task *task);
void task_queue_prepend(struct task_queue *queue, struct task *task);
void task_queue_remove(struct task_queue *queue, struct task *task);

/* --- schedule.c, under the lock --- */

/* Take in what the graph says, and place what is ready. */
void schedule_react(struct worker_core *core, struct chores *chores);
/* Have a ready task fail with the thread's last error; it is in no queue. */
void schedule_fail(struct task *task, struct chores *chores);
/* Have a task fail with `why`. */
void schedule_stop(struct task *task, simpler_status why, struct chores *chores);
/* --- without the lock --- */
void schedule_do(struct worker_core *core, struct chores *chores);

/* Add a task that was made ready for it to the graph, and start what became ready. Takes the task,
 * also on failure. Blocks while the graph is full, until `give_up`. */
struct submission {
	const struct dag_use *uses;
	const dag_task_id *after;
	const dag_storage_id *holds;
	size_t use_count, after_count, hold_count;
	int64_t give_up;
};
simpler_status schedule_submit(struct task *task, const struct submission *submission,
                               simpler_task *out);

/* Release a task that is in no graph, with what it holds on nodes. */
void schedule_discard(struct task *task);

/* Wait for room, of which there was none when core->room_made was `seen`. False when none was made
 * and there is no hope or no time left. Under the lock, which is given up meanwhile. */
bool schedule_wait_for_room(struct run *run, uint64_t seen, int64_t give_up);

/* There may be room for those that wait for it: in the graph, or in the heap. Under the lock. */
void schedule_note_room(struct worker_core *core);

/* --- place.c, under the lock --- */

void place_ready(struct task *task);
/* Take a ready task out of its queue. */
void place_forget(struct task *task);
/* Give ready tasks of this kind to children that have room. */
void place_all(struct worker_core *core, simpler_kind kind, struct chores *chores);
/* A member's child has begun one task more, which it is, or ended it. */
void place_count(struct worker_core *core, const struct member *member, int change);
/* A child takes no tasks any more, or does again. */
void place_set_away(struct worker_core *core, struct exec_child *child, bool away);
/* SIMPLER_EUNAVAILABLE when those that could run the task, which is ready, are away. */
simpler_status place_check_hope(const struct task *task);
/* The next child, from the `*at`th of its crew on, that may have a task waiting in it which another
 * could take; NULL when there is none. */
struct exec_child *place_next_overfull(const struct worker_core *core, simpler_kind kind,
                                       uint32_t *at);
/* Whether a child could ever take a task that needs what this one does. */
bool place_is_eligible(const struct task *task, const struct exec_child *child);

/* --- deadlines.c, under the lock --- */

/* SIMPLER_ENOMEM, or SIMPLER_ESYSTEM when the timer thread cannot be started. */
simpler_status deadlines_set(struct worker_core *core, struct timer *timer, int64_t at);
/* Without the lock: at the worker's end. */
void deadlines_stop(struct worker_core *core);

#endif
