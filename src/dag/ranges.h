/*
 * Who uses which bytes of which store: the memory behind the dependencies of the graph.
 *
 * A range is an extent of one store (dag/extent.h) that a live task named, with its last writers
 * and the readers since. Tasks that name the same bytes, which is nearly always, share one range.
 * Ranges that differ may overlap and are found through an interval tree per store, by their
 * bounding ranges, so nothing is ever split into pieces and memory stays proportional to the uses
 * of live tasks: one node for each use, at most one range for each.
 *
 * A WRITE takes over its bytes: the ranges that it covers are emptied, and where both it and the
 * range are contiguous, one that reaches over one of its ends is cut back to what is outside. All
 * others are left alone: those that reach over both ends, and those that are partly covered
 * where either is strided. Their users then gain edges they do not need, but never a wait: the
 * writer waited for them already.
 *
 * Whoever waits for the writer thereby waits for those it took the bytes from, as the writer's uses
 * are not forgotten before theirs. A poisoned writer is no exception: it keeps its place although
 * it never runs.
 */
#ifndef DAG_RANGES_H
#define DAG_RANGES_H

#include <stdint.h>

#include "base/slab.h"
#include "dag/dag.h"

struct dag_task;
struct ranges_store;

/* One use of one task. A task's uses are a list through `next`, whose head the task keeps. */
struct ranges_use;

struct ranges {
	struct ranges_store **buckets; /* a hash table of chains; a power of two */
	size_t bucket_count, store_count;
	uint32_t random;
	struct slab stores, ranges, uses;
};

/* False when memory is out. */
bool ranges_init(struct ranges *ranges);
void ranges_release(struct ranges *ranges);

/* Hand each task that `use` has to wait for to `visit`, some perhaps more than once. */
typedef void (*ranges_visit)(void *context, struct dag_task *task);
void ranges_conflicts(const struct ranges *ranges, const struct dag_use *use, ranges_visit visit,
                      void *context);

/* Make sure of the memory to record `count` uses more. */
bool ranges_reserve(struct ranges *ranges, size_t count);
/* Note that `task` uses these bytes, and put that at the head of its `list`. Reserve first. */
void ranges_record(struct ranges *ranges, const struct dag_use *use, struct dag_task *task,
                   struct ranges_use **list);
/* Forget all uses of a list. */
void ranges_forget(struct ranges *ranges, struct ranges_use **list);

#endif
