/*
 * Moving the bytes of a tensor between this process and its storage on a node: one contract for
 * whoever does it. A node has a transport of each kind that works towards it; what names one gets
 * that or an error, and transport_set.h chooses for who leaves it open.
 *
 * A move is the caller's. It fills in what is marked so and calls transport_move_init(), then
 * start(); from then on until `done` has been called it stays as it is, and so does the memory that
 * it describes. `done` is called once, by any thread, possibly before start() has returned; after
 * that nothing looks at it or its memory any more, the network's buffers included. No lock of the
 * transport is held then, so `done` may start the next one.
 *
 * start() never waits for the other side; it may take as long as a copy of the bytes does. cancel()
 * never blocks. It may be called by any thread from transport_move_init() on until `done` is
 * called, which the caller sees to with a lock of its own, and brings the end about early; `done`
 * comes as ever.
 *
 * A write that fails may have written any part of its span on the node, and a read any part of its
 * memory here: `done` gets an error, and the caller says which bytes are spoilt by it.
 *
 * close() comes when no move is in progress.
 */
#ifndef TRANSPORT_TRANSPORT_H
#define TRANSPORT_TRANSPORT_H

#include <pthread.h>
#include <stdatomic.h>

#include "device/layout.h"
#include "fabric/fabric.h"
#include "rpc/messages.h"
#include "wire/span.h"

struct transport;
struct rpc_channel;
struct rpc_client_call;

/* Storage on a node, and what its handle says for transports, which outlives the message. */
#define TRANSPORT_DESC_MAX 128
struct transport_storage {
	struct msg_handle handle; /* id 0: there is none yet */
	uint8_t desc[TRANSPORT_DESC_MAX], also[TRANSPORT_DESC_MAX];
	/* How many writes that carry its landing number were made to it, modulo 2^32; see
	 * transport_move.lands. */
	uint32_t landed;
};
/* What a node answered. A description that is longer than that is none of ours, and left out. */
void transport_storage_take(struct transport_storage *storage, const struct msg_handle *answer);
void transport_storage_copy(struct transport_storage *to, const struct transport_storage *from);
/* What the handle says for this transport; empty when it says nothing. */
simpler_bytes transport_storage_desc(const struct transport_storage *storage,
                                     const char *transport);

struct transport_move {
	/* The caller's: */
	bool write; /* towards the node */
	/* With handle id 0 and a size, in a write of all of it, it asks a transport that
	 * `allocates` to make it and fill in the handle. */
	struct transport_storage *storage;
	struct span span; /* within it; of as many bytes as `local` */
	/* Of a write: it may be over before the bytes are in the node's memory, if
	 * `storage->landed` then says for how many writes the node has to wait. One move at a time
	 * to such storage, and none any more after one that failed. */
	bool lands;
	bool attended;       /* by a fabric: as fabric_op.attended */
	struct layout local; /* which elements of this process, in the order of the span's bytes */
	int64_t deadline;    /* base/clock.h */
	void (*done)(struct transport_move *move,
	             const struct error *error); /* NULL: all is well */
	/* The transport's: */
	struct transport *transport;
	uint64_t moved;
	struct layout_walk walk; /* over `local`, which is at `run`, of which `run_left` are left */
	uint8_t *run;
	uint64_t run_left;
	bool makes;  /* storage, which is known when the node has answered */
	bool closed; /* all has been written; guarded by the transport's lock */
	bool failed;
	_Atomic bool cancelled;
	struct rpc_client_call *call;   /* guarded by the transport's lock, */
	struct fabric_passage *passage; /* and so is this */
	struct error error;
};

struct transport_ops {
	const char *name;
	/* Whether it can move the bytes of this storage, which is on the node already. */
	bool (*reaches)(struct transport *transport, const struct transport_storage *storage);
	void (*start)(struct transport *transport, struct transport_move *move);
	/* Storage that the node may have made already is waited for unless it is `lost`: else it
	 * would be there, and nobody know its handle. May be called again. */
	void (*cancel)(struct transport *transport, struct transport_move *move, bool lost);
	void (*close)(struct transport *transport);
};

struct transport {
	const struct transport_ops *ops;
	bool allocates;
	/* Payload, as it is moved. */
	_Atomic uint64_t sent, received;
};

/* Before start(), once the caller's part is filled in. */
void transport_move_init(struct transport_move *move);
static inline void transport_start(struct transport *transport, struct transport_move *move)
{
	transport->ops->start(transport, move);
}
static inline void transport_cancel(struct transport *transport, struct transport_move *move,
                                    bool lost)
{
	transport->ops->cancel(transport, move, lost);
}

/* --- for implementations: the local side, in order (move.c) --- */

/* The next bytes that lie in one piece, `most` of them at the most; NULL behind the last. */
uint8_t *transport_next(struct transport_move *move, uint64_t most, uint64_t *size);
/* Copy the next `size` bytes out of it, or into it. */
void transport_gather(struct transport_move *move, uint8_t *to, uint64_t size);
void transport_scatter(struct transport_move *move, const uint8_t *from, uint64_t size);

/* --- implementations --- */

/* gRPC's PushTensor, PullTensor and ReadTensor, in chunks. `channel` is borrowed. */
simpler_status stream_transport_create(struct rpc_channel *channel, struct transport **out);

/* One-sided writes and reads by a port of `fabric`, which is borrowed and outlives the transport,
 * of what the node reaches by its endpoint for this session. Never blocks. */
simpler_status fabric_transport_create(struct fabric *fabric, const struct fabric_address *node,
                                       struct transport **out);
/* The session has another endpoint from now on. Moves to the one before fail, or have ended. */
void fabric_transport_turn(struct transport *transport, const struct fabric_address *node);

/* The memory that the node keeps the session's tensors in, if both are on one machine. `address` is
 * the node's, as it answered to Attach; what the session allocates from now on lies there. Blocks
 * for a moment. SIMPLER_EUNAVAILABLE when it cannot be had here. */
simpler_status shm_transport_create(const char *address, uint64_t session, struct transport **out);
/* The session has other memory from now on. That which it had becomes memory of this process alone.
 * One at a time; blocks, and fails, as above. */
simpler_status shm_transport_turn(struct transport *transport, const char *address,
                                  uint64_t session);
/* Where storage that it reaches is in this process; NULL, with the reason raised, when the node
 * says what makes no sense. */
uint8_t *shm_transport_address(struct transport *transport,
                               const struct transport_storage *storage);

#endif
