/*
 * Storage on a node, and what is done to it outside tasks.
 *
 * An operation is the caller's. It fills in what is marked so and begins it; from then on until
 * `done` is called it stays as it is. `done` is called once, on the RPC client's thread or in here;
 * after it nothing looks at the operation any more. remote_op_cancel() may be called by any thread
 * from remote_op_init() on until `done` is called, which the caller sees to.
 */
#ifndef EXEC_REMOTE_STORAGE_H
#define EXEC_REMOTE_STORAGE_H

#include "exec/remote_node.h"
#include "rpc/rpc.h"

struct remote_storage {
	struct exec_storage storage;
	/* Set once the node has it: by the operation that allocates it, or by the task that does.
	 */
	_Atomic bool stored;
	struct transport_storage place; /* fixed from then on, */
	uint64_t life;   /* and so is in which one the node had it; see remote_life() */
	uint64_t ttl_ms; /* of its lease; 0: the node's choice */
};

/* For exec_child.make_storage. */
simpler_status remote_make_storage(struct exec_child *child, uint64_t nbytes,
                                   struct exec_storage **out);
static inline struct remote_storage *remote_storage_of(struct exec_storage *storage)
{
	return (struct remote_storage *)storage;
}

/* The node has it. */
void remote_storage_store(struct remote_storage *storage, const struct msg_handle *handle);
struct remote_op {
	/* The caller's: */
	void (*done)(struct remote_op *op, const struct error *error);
	struct remote_storage *storage;
	int64_t deadline;
	bool attended; /* remote_attend() comes next, unless it has ended by then */
	/* Private: */
	struct remote_child *node;
	bool by_fabric;                      /* a move is; of the thread that begins it */
	struct staging_mark mark;            /* when storage was asked for */
	void (*again)(struct remote_op *op); /* to ask for it once more */
	pthread_mutex_t lock;                /* guards what a cancel looks at */
	bool cancelled;
	struct rpc_client_call *call;
	struct transport *moving;
	struct transport_move move;
	/* Of exports and imports: the node that has the tensor, and what it granted. */
	struct remote_child *source;
	struct msg_import import;
};

/* Before one of those below is begun, and when it is over and nobody cancels it any more. */
void remote_op_init(struct remote_op *op);
void remote_op_release(struct remote_op *op);
void remote_op_cancel(struct remote_op *op);

void remote_begin_alloc(struct remote_op *op);
void remote_begin_refresh(struct remote_op *op, uint64_t ttl_ms);
/* The caller has the last reference, and drops it afterwards. */
void remote_begin_free(struct remote_op *op);
/* `span` lies within the storage and has the bytes of `local`. */
void remote_begin_move(struct remote_op *op, bool write, const struct span *span,
                       const simpler_tensor *local, simpler_transport choice);

/* --- from node to node (remote_grants.c) --- */

/* Leaves the grant and the node's address in `op->import`. */
void remote_begin_export(struct remote_op *op, bool writable, uint64_t ttl_ms);
/* Of what is in `op->import`, into the operation's storage, which is not there yet. */
void remote_begin_import(struct remote_op *op);
/* End the grant in `op->import`, which the node of the operation's storage gave. */
void remote_begin_release(struct remote_op *op);
/* Into the operation's storage what `from` has, which the caller holds. */
void remote_begin_bring(struct remote_op *op, struct exec_storage *from);

/* --- what operations are made of --- */

simpler_status remote_storage_check(const struct remote_storage *storage);
/* One call, at `op->node`, which a cancel ends; and then, as an error of this thread, how it went.
 */
void remote_op_call(struct remote_op *op, const char *path, struct rpc_buffer *message,
                    rpc_done *done);
simpler_status remote_op_answer(struct remote_op *op, enum rpc_code code, const char *text);
/* Ask for storage by `ask`, which ends in a remote_op_call(). When the node has no room, and frees
 * something that was kept there for staged tensors, it is done again: then the second one, called
 * with the answer before all else, is true. */
void remote_op_ask_storage(struct remote_op *op, void (*ask)(struct remote_op *op));
bool remote_op_asks_again(struct remote_op *op, enum rpc_code code);
/* The answer is a handle of the storage. */
simpler_status remote_op_take_handle(struct remote_op *op, const uint8_t *data, size_t size);
/* Done, with this thread's error. */
void remote_op_fail(struct remote_op *op);
/* For calls whose answer is the end of it, and is a handle of the storage, or nothing. The context
 * is the operation, as that of remote_op_call() is. */
void remote_op_end_with_handle(void *context, enum rpc_code code, const char *text,
                               const uint8_t *data, size_t size);
void remote_op_end_empty(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                         size_t size);

/* Where it is in this process. SIMPLER_EUNAVAILABLE when it is not. */
simpler_status remote_map(const struct exec_storage *storage, void **out);

/* Wait, in the thread that has begun it, for `*ended`, which `done` sets, doing meanwhile what the
 * RPC client's or the fabric's thread does. False at once when another thread does that already. */
bool remote_attend(struct remote_op *op, const _Atomic bool *ended);

#endif
