/*
 * Scopes, the storages in them, and the tasks that hold these: when memory that the graph's owner
 * keeps for its tasks is no longer used by any. See dag/dag.h for what they are to the owner.
 *
 *   A storage:  OPEN --its scope closes, or it is released--> UNNAMED --no holder left--> unused
 *
 * An unnamed storage keeps its slot, but its id finds nothing any more, and no task can come to
 * hold it. An unused one is in a queue until its event is taken.
 */
#ifndef DAG_STORAGE_H
#define DAG_STORAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slab.h"
#include "dag/dag.h"
#include "dag/slots.h"

/* That a task holds a storage. A task's holds are a list whose head the task keeps. */
struct storage_hold;

struct storages {
	struct slots scopes, storages;
	struct slab holds;
	struct slot_queue unused;
};

void storages_init(struct storages *all);
void storages_release(struct storages *all);

/* What dag_scope_open(), dag_scope_close(), dag_storage_add() and dag_storage_release() do. */
simpler_status storages_open_scope(struct storages *all, dag_scope_id *out);
simpler_status storages_close_scope(struct storages *all, dag_scope_id id);
simpler_status storages_add(struct storages *all, dag_scope_id scope_id, void *payload,
                            dag_storage_id *out);
simpler_status storages_end(struct storages *all, dag_storage_id id);

/* SIMPLER_ESTALE if one of these is not open. */
simpler_status storages_check(const struct storages *all, const dag_storage_id *ids, size_t count);
/* Make sure of the memory for `count` holds more. */
bool storages_reserve(struct storages *all, size_t count);
/* Hold storages that were checked, and put that at the head of a task's `list`. Reserve first. */
void storages_hold(struct storages *all, const dag_storage_id *ids, size_t count,
                   struct storage_hold **list);
/* Let go of all of a list. */
void storages_let_go(struct storages *all, struct storage_hold **list);

/* The first that is unused, which is then forgotten. False when there is none. */
bool storages_next_unused(struct storages *all, dag_storage_id *id, void **payload);

#endif
