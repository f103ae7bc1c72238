/*
 * The node's end of lanes, whatever carries them: batches of records come in (rpc/lane_record.h),
 * each dispatch of which goes the way of all dispatches; outcomes go out, as many in a batch as are
 * there when the carrier can take one.
 *
 *   open --lost, displaced by another lane of its session, the session's end, or the node's-->
 * closed
 *
 * What a closed lane waited for is held for its client to ask again (node/task_log.h). A session
 * has one lane: opening another closes the one before, which its client has lost.
 *
 * Thread-safe. A lane is counted: its carrier has a reference, the list of open ones, and each
 * dispatch whose outcome it waits for.
 */
#ifndef NODE_LANE_H
#define NODE_LANE_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/node.h"
#include "wire/lane.h"

/* Outcomes that nobody takes: then the lane is closed. */
#define NODE_LANE_MAX_UNSENT ((size_t)64 << 20)

struct node_lane;

struct node_lane_carrier {
	simpler_lane kind;
	size_t record_bytes; /* the most of one record */
	/* As in exec/lane_batch.h: takes the bytes with it; true when it can take more at once. */
	bool (*send)(struct node_lane *lane, const uint8_t *bytes, size_t size);
	/* Have the client know that it is closed, and why. Once; send() may be on the way. */
	void (*close)(struct node_lane *lane, enum rpc_code code, const char *why);
	void (*release)(struct node_lane *lane); /* frees it */
};

struct node_lane_bytes {
	uint8_t *bytes;
	size_t size, capacity;
};

struct node_lane {
	const struct node_lane_carrier *carrier;
	struct node *node;
	uint64_t session;
	_Atomic uint32_t references;
	struct node_lane *prev, *next; /* under the lock of all lanes */
	pthread_mutex_t lock;          /* guards: */
	bool closed, sending;
	struct node_lane_bytes out;       /* to be sent */
	struct node_lane_bytes under_way; /* the sender's: whoever set `sending` */
};

struct node_lanes;
/* NULL when memory is out. */
struct node_lanes *node_lanes_create(void);
/* None is open. NULL is allowed. */
void node_lanes_destroy(struct node_lanes *lanes);
/* Those of the session, or, with 0, all. */
void node_lanes_close(struct node *node, uint64_t session, const char *why);
/* How many are open of a kind. */
uint32_t node_lanes_count(struct node_lanes *lanes, simpler_lane kind);

/*
 * Open a lane of a session that is attached, `lane` being all zero. The carrier has a reference and
 * sends the hello. SIMPLER_ESTATE without such a session; then nothing was done.
 */
simpler_status node_lane_open(struct node_lane *lane, const struct node_lane_carrier *carrier,
                              struct node *node, uint64_t session);
void node_lane_drop(struct node_lane *lane);
/* For the carrier's release(). */
void node_lane_destroy(struct node_lane *lane);

/* --- by the carrier, without locks --- */

/* A batch has come, one at a time. */
void node_lane_take(struct node_lane *lane, const uint8_t *bytes, size_t size);
/* It can take the next batch. */
void node_lane_continue(struct node_lane *lane);
/* It carries nothing any more, or is to. */
void node_lane_close(struct node_lane *lane, enum rpc_code code, const char *why);

/* What became of a dispatch, by node/waiter.c; a reference goes with it. */
void node_lane_answer(struct node_lane *lane, uint64_t tag, const struct task_answer *answer);

/* --- the stream: L3Worker.Lane; node/service_lane.c --- */

void node_lane_opened(struct rpc_call *call);
void node_lane_message(struct rpc_call *call, const uint8_t *data, size_t size);
void node_lane_half_closed(struct rpc_call *call);
void node_lane_sent(struct rpc_call *call);
void node_lane_cancelled(struct rpc_call *call);
void node_lane_ended(struct rpc_call *call, bool cancelled);

#endif
