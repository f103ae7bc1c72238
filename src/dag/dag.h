/*
 * The graph of one worker: tasks, the bytes they use, who is ready, and whose storage is free
 * again.
 *
 * A state machine and nothing else: no I/O, no threads, no clock, no user code. Calls change the
 * state and say what became possible; the owner carries it out. One owner at a time: the caller
 * holds whatever lock makes that true.
 *
 * A task:   WAITING --dependencies done--> READY --dag_start--> RUNNING --dag_finish--> (gone)
 *               |                            |
 *               |                        dag_cancel
 *               `--a dependency failed,------+--> poisoned: reported once; gone when that is
 *                  or dag_cancel                  done and all it waited for is out of the way
 *
 * Dependencies are by the bytes used within a store (a backing memory, named by a number). For each
 * byte a store remembers its last writers and the readers since. Two readers are never ordered.
 *
 *   access        waits for                                  becomes
 *   READ          last writers of any overlapping byte       a reader of it
 *   WRITE         readers and writers of any such byte       the last writer, alone
 *   VOUCHED       nothing                                    the last writer, with those before
 *   (no access)   nothing                                    nothing
 *
 * A use is contiguous, or strided: rows of bytes at an equal distance, the pitch. One with a single
 * row, or rows without gaps, counts as contiguous. Two uses overlap
 *
 *   both contiguous, one strided     exactly when they have a byte in common
 *   both strided, of the same pitch  exactly when they have a byte in common, wherever their rows
 *                                    begin: columns of one matrix are told apart, and so are its
 *                                    rows
 *   strided, of different pitches    when each has a byte between the first and the last of the
 *                                    other, and their bytes meet modulo the pitches' greatest
 *                                    common divisor. So it may be said of uses that are disjoint,
 *                                    and never fails to be said of those that are not
 *
 * Storage is memory that the owner keeps for the tasks, of which the graph knows a payload only. It
 * belongs to a scope, and tasks hold it. It is unused once its scope is closed, or it was released
 * by itself, and no live task holds it; that is told once. A scope knows nothing of other scopes:
 * an inner one has nothing that an outer one could hold back, as what a task needs beyond the end
 * of a scope the task holds itself. So nesting is the owner's affair.
 *
 * Ids are of slots that are recycled, and not confused: they carry the slot's generation.
 *
 * Each task is of a domain, such as a run of the owner's. Order crosses domains and poison does
 * not: a failure poisons the tasks of its own domain that wait for the one that failed, directly or
 * through others, of whatever domain these are. Tasks of other domains wait as they would have, and
 * start when what they wait for is out of the way.
 *
 * A poisoned task keeps its place: what waits for it, or is submitted later and would have to,
 * waits until all that it waited for itself has ended or is poisoned and out of the way likewise.
 * Who took over its bytes thus never overtakes those it had taken them over from.
 *
 * Poison reaches those that were submitted before the failure was told. A task submitted later
 * that uses the same bytes is not poisoned by it and runs in its turn, so an owner who wants the
 * rest of a failed run not to start has to refuse the submit.
 *
 * Cost: all calls are O(log n) in the ranges of a store and linear in the edges and holds they add
 * or remove, and a failure in the edges behind it; a use also looks at each strided range that it
 * meets by first and last byte alone, so n tasks on columns of one matrix look at n ranges each. No
 * call allocates once the graph has seen its peak. Memory is about 420 bytes for a task with two
 * uses, two edges and two holds, and grows by a few dozen bytes with each more; it is never given
 * back before dag_destroy(). Edges are not reduced: n readers of what m tasks vouched for are n
 * times m edges.
 */
#ifndef DAG_DAG_H
#define DAG_DAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/status.h"

struct dag;

typedef uint64_t dag_task_id;                  /* slot | generation << 32; never 0 */
typedef uint64_t dag_scope_id, dag_storage_id; /* likewise */

enum dag_access { DAG_READ, DAG_WRITE, DAG_VOUCHED };

/*
 * Bytes of `store` from [offset, offset + nbytes). With pitch 0 it is all of them, and an empty
 * range orders nothing. Otherwise it is the first `width` bytes of every `pitch` from offset on:
 * 0 < width <= pitch, and nbytes = (rows - 1) * pitch + width.
 */
struct dag_use {
	uint64_t store;
	uint64_t offset, nbytes;
	uint64_t pitch, width;
	enum dag_access access;
};

struct dag_options {
	uint32_t max_tasks; /* live at once, at least 1; a slot is allocated when first needed */
};

/* NULL when memory is out. */
struct dag *dag_create(const struct dag_options *options);
/* Drops whatever is live. NULL is allowed. */
void dag_destroy(struct dag *dag);

/* What a call made possible, in the order to carry it out. `payload` is what was submitted or
 * added. */
enum dag_event_kind {
	DAG_TASK_READY,     /* start it; it will be told to dag_start() */
	DAG_TASK_POISONED,  /* `cause` failed: complete it as failed, never start it */
	DAG_STORAGE_UNUSED, /* it is gone: return its memory */
};
struct dag_event {
	enum dag_event_kind kind;
	dag_task_id task; /* 0 for DAG_STORAGE_UNUSED */
	void *payload;
	/* For DAG_TASK_POISONED the id of the root failure, which may be gone already, or of the
	 * task that was cancelled: its own id, if it is this one. */
	dag_task_id cause;
	dag_storage_id storage; /* for DAG_STORAGE_UNUSED */
};
/*
 * The next event, false when there is none. Events are queued by the calls below, in order: tasks
 * that wait for one and the same task follow in the order they were submitted. Those of storages
 * come after all that there are of tasks.
 *
 * A poisoned task holds its storages until its event is taken. It counts as live until then and
 * until it has left its place in the order. A submit may name it in `after`, to wait until it has
 * done so; to all other calls it is gone.
 */
bool dag_next_event(struct dag *dag, struct dag_event *out);

struct dag_submission {
	void *payload;
	uint64_t domain;            /* poison stays within it; order does not */
	const struct dag_use *uses; /* they never wait for one another */
	size_t use_count;
	const dag_task_id *after; /* to wait for as well; ids that are gone count as done */
	size_t after_count;
	const dag_storage_id *holds; /* let go of when the task is gone */
	size_t hold_count;
};

/*
 * Add a task that waits for what its uses and `after` say.
 *
 * @return SIMPLER_EINVAL for a use that wraps around or whose pitch, width and nbytes do not agree,
 *         SIMPLER_ESTALE for a storage whose scope was closed or that was released, even if another
 *         task holds it still, SIMPLER_ENOSPACE when max_tasks are live, SIMPLER_ENOMEM; nothing
 * has changed then.
 */
simpler_status dag_submit(struct dag *dag, const struct dag_submission *submission,
                          dag_task_id *out);

/* READY to RUNNING, once its event was taken. */
void dag_start(struct dag *dag, dag_task_id task);
/* RUNNING to gone. Not `ok`: all of its domain that wait for it, directly or not, are poisoned. */
void dag_finish(struct dag *dag, dag_task_id task, bool ok);

/*
 * Poison a task that was not started, and all of its domain that wait for it. No DAG_TASK_READY is
 * told of it from then on; if one was told already, the caller has dropped the task before.
 *
 * @return SIMPLER_ESTATE when it runs, SIMPLER_ENOTFOUND when it is gone or poisoned.
 */
simpler_status dag_cancel(struct dag *dag, dag_task_id task);

/* What it was submitted with; NULL when it is gone or poisoned. */
void *dag_payload(const struct dag *dag, dag_task_id task);

/* @return SIMPLER_ENOMEM; nothing has changed then. */
simpler_status dag_scope_open(struct dag *dag, dag_scope_id *out);
/*
 * End a scope: none of its storages can be held any more, and those that no task holds are unused.
 *
 * @return SIMPLER_ESTALE when it was closed already.
 */
simpler_status dag_scope_close(struct dag *dag, dag_scope_id scope);

/* @return SIMPLER_ESTALE when the scope was closed, SIMPLER_ENOMEM; nothing has changed then. */
simpler_status dag_storage_add(struct dag *dag, dag_scope_id scope, void *payload,
                               dag_storage_id *out);
/*
 * Do for one storage what its scope's end would do.
 *
 * @return SIMPLER_ESTALE when it was released or its scope closed already, even if a task holds it
 *         still: so a second release is told apart whenever it comes.
 */
simpler_status dag_storage_release(struct dag *dag, dag_storage_id storage);

/* Live tasks of any state, and how many there can be. A poisoned one is live until its event is
 * taken and all that it waited for is out of the way, whichever comes last. */
uint32_t dag_live(const struct dag *dag);
uint32_t dag_capacity(const struct dag *dag);

#endif
