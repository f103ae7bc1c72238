/*
 * The node's end of lanes, whatever carries them: batches of records come in (rpc/lane_record.h),
 * each dispatch of which goes the way of all dispatches; outcomes go out, as many in a batch as are
 * there when the carrier can take one.
 *
 *   open --lost, displaced by another lane of its session, or that is over--> closed
 *     `--the node ends--> ENDING --all outcomes and a GOODBYE have gone out, and the client has
 *                                  closed it, or takes too long for that--> closed
 *
 * What a closed lane waited for is held for its client to ask again (node/task_log.h). A session
 * has one lane: opening another closes the one before, which its client has lost.
 *
 * At a node that ends nobody can ask again. But it has answered for all that it took, and takes
 * nothing more, so that what its client then has no outcome of has not run, as the GOODBYE says.
 *
 * Thread-safe. A lane is counted: its carrier has a reference, the list of open ones, and each
 * dispatch whose outcome it waits for.
 */
#ifndef NODE_LANE_H
#define NODE_LANE_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/node.h"
#include "rpc/lane_bytes.h"
#include "wire/lane.h"

/* Of outcomes that nobody has taken. What finds no room among them is to be asked for elsewhere,
 * which takes a few bytes; when those find none either, the lane is closed. */
#define NODE_LANE_MOST_UNSENT ((size_t)16 << 20)
#define NODE_LANE_MOST_ASKED  ((size_t)4 << 20) /* above it */

struct node_lane;

struct node_lane_carrier {
	simpler_lane kind;
	/* Of one batch, which has more only if it is a single record; and of one record. */
	size_t batch_bytes, record_bytes;
	/* As in exec/lane_batch.h. */
	bool (*send)(struct node_lane *lane, const uint8_t *bytes, size_t size);
	/* What was sent reaches the client even if this end is closed at once, so that nobody has
	 * to wait for it to close the lane when it has taken a GOODBYE. */
	bool keeps_what_was_sent;
	/* Have the client know that it is closed, and why. Once; send() may be on the way. */
	void (*close)(struct node_lane *lane, enum rpc_code code, const char *why);
	void (*release)(struct node_lane *lane); /* frees it */
};

struct node_lane {
	const struct node_lane_carrier *carrier;
	struct node *node;
	uint64_t session;
	_Atomic uint32_t references;
	struct node_lane *prev, *next; /* under the lock of all lanes */
	pthread_mutex_t lock;          /* guards: */
	_Atomic bool closed;           /* looked at without the lock as well */
	bool sending;
	_Atomic bool ending;   /* it says goodbye when nothing is to be sent; likewise */
	bool said_goodbye;     /* nothing is to be sent after that */
	struct lane_bytes out; /* to be sent */
	/* The sender's: whoever set `sending`. */
	struct lane_bytes under_way;
	size_t sent; /* of those */
};

struct node_lanes;
/* NULL when memory is out. */
struct node_lanes *node_lanes_create(void);
/* None is open. NULL is allowed. */
void node_lanes_destroy(struct node_lanes *lanes);
/* Those of the session. */
void node_lanes_close(struct node *node, uint64_t session, const char *why);
/* Have all say goodbye, each as soon as it has sent its outcomes, and none opened any more. The
 * node has taken the last dispatch, and answered for it. Blocks until they are closed, which they
 * are at the deadline at the latest. */
void node_lanes_end(struct node *node, int64_t deadline);
/* How many are open of a kind. */
uint32_t node_lanes_count(struct node_lanes *lanes, simpler_lane kind);

/*
 * Open a lane of a session that is attached, `lane` being all zero. The carrier has a reference and
 * sends the hello, node_lane_credits(). SIMPLER_ESTATE without such a session, SIMPLER_EUNAVAILABLE
 * when the node is ending; then nothing was done.
 */
simpler_status node_lane_open(struct node_lane *lane, const struct node_lane_carrier *carrier,
                              struct node *node, uint64_t session);
/* How many dispatches of a session can be in flight at once. */
uint32_t node_lane_credits(const struct node *node);
void node_lane_hold(struct node_lane *lane);
void node_lane_drop(struct node_lane *lane);
/* For the carrier's release(). */
void node_lane_destroy(struct node_lane *lane);

/* --- by the carrier, without locks --- */

/* A batch has come, one at a time. The thread may stay for the outcome of the last one. */
void node_lane_take(struct node_lane *lane, const uint8_t *bytes, size_t size);
/* It can take the next batch. */
void node_lane_continue(struct node_lane *lane);
/* It carries nothing any more, or is to. */
void node_lane_close(struct node_lane *lane, enum rpc_code code, const char *why);

/* What became of a dispatch, by node/waiter.c; a reference goes with it. */
void node_lane_answer(struct node_lane *lane, uint64_t tag, const struct task_answer *answer);

/* --- the fabric: L3Worker.OpenFabricLane; node/service_fabric_lane.c --- */

void node_open_fabric_lane(struct rpc_call *call, const uint8_t *data, size_t size);

/* --- the stream: L3Worker.Lane; node/service_lane.c --- */

void node_lane_opened(struct rpc_call *call);
void node_lane_message(struct rpc_call *call, const uint8_t *data, size_t size);
void node_lane_half_closed(struct rpc_call *call);
void node_lane_sent(struct rpc_call *call);
void node_lane_cancelled(struct rpc_call *call);
void node_lane_ended(struct rpc_call *call, bool cancelled);

#endif
