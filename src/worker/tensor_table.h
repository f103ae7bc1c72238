/*
 * The handles of a worker: what a program calls storage on nodes by. A slot is used again under
 * another generation, so a handle that was freed names nothing, for ever.
 *
 * Thread-safe; the lock is held for a few loads and stores, and never with another.
 */
#ifndef WORKER_TENSOR_TABLE_H
#define WORKER_TENSOR_TABLE_H

#include "exec/exec.h"
#include "simpler/handle.h"
#include "simpler/orch.h"

struct tensor_table;

/* NULL when memory is out. */
struct tensor_table *tensor_table_create(void);
/* At the end of the worker. What is left in it goes with the session. */
void tensor_table_destroy(struct tensor_table *table);

/* Takes the caller's reference on success. SIMPLER_ENOSPACE past 2^20 handles, SIMPLER_ENOMEM. */
simpler_status tensor_table_add(struct tensor_table *table, struct exec_storage *storage,
                                simpler_worker_id node, simpler_tensor_handle *out);
/* With a reference for the caller. SIMPLER_ESTALE. */
simpler_status tensor_table_find(struct tensor_table *table, simpler_tensor_handle handle,
                                 struct exec_storage **out);
/* From now on it names nothing; the caller gets the table's reference. SIMPLER_ESTALE. */
simpler_status tensor_table_remove(struct tensor_table *table, simpler_tensor_handle handle,
                                   struct exec_storage **out);

/* The child that the storage is on. */
static inline simpler_worker_id tensor_handle_child(simpler_tensor_handle handle)
{
	return (simpler_worker_id)(uint32_t)handle.node;
}

/* What the graph calls the storage: apart from all segments, and no other handle's ever. */
static inline uint64_t tensor_handle_store(simpler_tensor_handle handle)
{
	return (uint64_t)1 << 63 | (uint64_t)handle.slot << 32 | handle.generation;
}

#endif
