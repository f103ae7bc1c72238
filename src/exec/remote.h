/*
 * A remote node: a child behind a daemon's gRPC services.
 *
 * Threads: start() runs in the caller's thread up to the first call it begins; all else, `done`
 * included, runs on the RPC client's thread.
 */
#ifndef EXEC_REMOTE_H
#define EXEC_REMOTE_H

#include "exec/exec.h"

struct node_session;
struct rpc_client;

/* Opens a channel to `address`; does not wait for a connection. `client` outlives the child, which
 * takes `capacity` tasks at once and makes all its calls in `session`. */
simpler_status remote_create(struct rpc_client *client, struct node_session *session,
                             const char *address, uint32_t capacity, struct exec_child **out);
/* Attach the session to the node. Blocks until it answers or until `deadline`; see
 * node_session_attach(). */
simpler_status remote_connect(struct exec_child *child, int64_t deadline);

/* Payload of tensors that went to a node and came from it, by what carried it. */
struct remote_bytes {
	uint64_t sent, received;
};
struct remote_traffic {
	struct remote_bytes inlined, stream, shm;
	uint64_t auto_moves;     /* that named no transport */
	uint64_t staging_reused; /* storage for staged tensors that an earlier task left */
};
void remote_count(const struct exec_child *child, struct remote_traffic *out);

#endif
