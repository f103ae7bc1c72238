/* What the streams of a node's services share: each has a state of its own, from when it opens to
 * its end, and has entered its session meanwhile. */
#ifndef NODE_STREAM_H
#define NODE_STREAM_H

#include "node/node.h"

/* How long a client may be silent in the middle of one (rpc/rpc.h). It holds room, pinned tensors
 * and its session, which cannot end before it does. */
#define STREAM_IDLE_MS 60000

/* What a stream's state begins with. */
struct stream {
	uint64_t session;
	bool entered;
};

/* For on_open: make a state of `size` bytes, zeroes but for its beginning, and ask for the first
 * message; or answer with what is wrong. */
void stream_open(struct rpc_call *call, size_t size);
/* For on_end: leave the session and free the state, which may be NULL. */
void stream_close(struct rpc_call *call);
/* For on_cancel: the other side is gone, and whatever is answered goes nowhere. */
void stream_give_up(struct rpc_call *call);

#endif
