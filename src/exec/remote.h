/*
 * A remote node: a child behind a daemon's gRPC services.
 *
 * Threads: start() runs in the caller's thread up to the first call it begins; all else, `done`
 * included, runs on the RPC client's thread.
 */
#ifndef EXEC_REMOTE_H
#define EXEC_REMOTE_H

#include "exec/exec.h"
#include "simpler/lane.h"

struct fabric;
struct lane_shm_hub;
struct node_session;
struct rpc_client;

struct remote_options {
	struct rpc_client *client;    /* borrowed; outlives the child */
	struct node_session *session; /* borrowed, likewise: all calls are made in it */
	const char *address;
	uint32_t capacity;          /* tasks at once */
	simpler_lane lane;          /* for dispatches */
	struct lane_shm_hub *lanes; /* borrowed, likewise; NULL: it has none by shared memory */
};

/* Opens a channel to the address; does not wait for a connection. */
simpler_status remote_create(const struct remote_options *options, struct exec_child **out);
/* Before it is connected: tensors and dispatches may go by this fabric, which outlives the child.
 * NULL: there is none. */
void remote_use_fabric(struct exec_child *child, struct fabric *fabric);
/* Attach the session to the node, and open a lane to it. Blocks until it answers or until
 * `deadline`; see node_session_attach(). SIMPLER_EUNAVAILABLE also when the lane was named, and is
 * not to be had. */
simpler_status remote_connect(struct exec_child *child, int64_t deadline);

/* Nothing is dispatched any more, and the session is about to end. */
void remote_leave(struct exec_child *child);

/* Payload of tensors that went to a node and came from it, by what carried it. */
struct remote_bytes {
	uint64_t sent, received;
};
struct remote_traffic {
	struct remote_bytes inlined, stream, shm, fabric;
	uint64_t fabric_fallbacks; /* from a fabric to a stream, in the midst of it */
	uint64_t auto_moves;       /* that named no transport */
	uint64_t staging_reused;   /* storage for staged tensors that an earlier task left */
	simpler_lane lane;         /* the present one */
	uint64_t lane_losses;      /* of faster ones, while the session went on */
	/* Sent, the ones that were sent again among them; those that went by another lane than
	 * `unary`; and in so many messages. */
	uint64_t dispatches, lane_dispatches, lane_batches;
};
void remote_count(struct exec_child *child, struct remote_traffic *out);

#endif
