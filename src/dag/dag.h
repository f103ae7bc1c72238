/*
 * The graph of one worker: tasks, the byte ranges they use, and who is ready.
 *
 * A state machine and nothing else: no I/O, no threads, no clock, no user code. Calls change the
 * state and say what became possible; the owner carries it out. One owner at a time: the caller
 * holds whatever lock makes that true.
 *
 * A task:   WAITING --dependencies done--> READY --dag_start--> RUNNING --dag_finish--> (gone)
 *               `------a dependency failed---> poisoned: reported once, then gone
 *
 * Dependencies are by byte range within a store (a backing memory, named by a number). For each
 * range a store remembers its last writers and the readers since. Two readers are never ordered.
 *
 *   access        waits for                                  becomes
 *   READ          last writers of any overlapping byte       a reader of it
 *   WRITE         readers and writers of any such byte       the last writer, alone
 *   VOUCHED       nothing                                    the last writer, with those before
 *   (no access)   nothing                                    nothing
 *
 * Slots are recycled, ids are not confused: an id carries the slot's generation.
 *
 * Poison reaches those that were submitted before the failure was told: a failure is over once the
 * task is gone. A task submitted later that uses the same bytes finds nobody to wait for and runs,
 * so an owner who wants the rest of a failed run not to start has to refuse the submit.
 *
 * Cost: all calls are O(log n) in the ranges of a store and linear in the edges they add or remove.
 * No call allocates once the graph has seen its peak. Memory stays below 1 KiB for a task with a
 * few uses and edges; it is never given back before dag_destroy(). Edges are not reduced: n readers
 * of what m tasks vouched for are n times m edges.
 */
#ifndef DAG_DAG_H
#define DAG_DAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/status.h"

struct dag;

typedef uint64_t dag_task_id; /* slot | generation << 32; never 0 */

enum dag_access { DAG_READ, DAG_WRITE, DAG_VOUCHED };

/* Bytes [offset, offset + nbytes) of `store`. An empty range orders nothing. */
struct dag_use {
	uint64_t store;
	uint64_t offset, nbytes;
	enum dag_access access;
};

struct dag_options {
	uint32_t max_tasks; /* live at once, at least 1; a slot is allocated when first needed */
};

/* NULL when memory is out. */
struct dag *dag_create(const struct dag_options *options);
/* Drops whatever is live. NULL is allowed. */
void dag_destroy(struct dag *dag);

/* What a call made possible, in the order to carry it out. `payload` is what was submitted. */
enum dag_event_kind {
	DAG_TASK_READY,    /* start it; it will be told to dag_start() */
	DAG_TASK_POISONED, /* `cause` failed; it is gone: complete it as failed, never start it */
};
struct dag_event {
	enum dag_event_kind kind;
	dag_task_id task;
	void *payload;
	dag_task_id
		cause; /* the root failure's id, for DAG_TASK_POISONED; it may be gone already */
};
/* The next event, false when there is none. Events are queued by the calls below, in order: tasks
 * that wait for one and the same task follow in the order they were submitted. A poisoned task
 * keeps its slot, and counts as live, until its event is taken; to dag_submit() it is gone. */
bool dag_next_event(struct dag *dag, struct dag_event *out);

/*
 * Add a task that waits for what its uses say and for `after` (ids that are gone count as done).
 * The uses of one task never wait for one another.
 *
 * @return SIMPLER_ENOSPACE when max_tasks are live, SIMPLER_ENOMEM, SIMPLER_EINVAL for a range
 *         that wraps; nothing has changed then.
 */
simpler_status dag_submit(struct dag *dag, void *payload, const struct dag_use *uses,
                          size_t use_count, const dag_task_id *after, size_t after_count,
                          dag_task_id *out);

/* READY to RUNNING, once its event was taken. */
void dag_start(struct dag *dag, dag_task_id task);
/* RUNNING to gone. Not `ok`: all that depend on it, directly or not, are poisoned. */
void dag_finish(struct dag *dag, dag_task_id task, bool ok);

/* Live tasks of any state, and how many there can be. */
uint32_t dag_live(const struct dag *dag);
uint32_t dag_capacity(const struct dag *dag);

#endif
