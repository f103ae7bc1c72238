/*
 * A lane of records through somebody in the middle: a thread between the client's end
 * (exec/lane_batch.h) and a stream to a real node, that delays what passes, hands on outcomes in
 * another order, gives other credits than the node did, and does wrong where it is told to.
 */
#ifndef TESTS_NODE_FAKE_LANE_H
#define TESTS_NODE_FAKE_LANE_H

#include "exec/lane.h"

/* Done to the so-many-th outcome, or to the hello; the lane does not survive it. */
enum fake_lie {
	FAKE_LANE_HONEST,
	FAKE_LANE_DROPS,       /* a batch to the node, and dies */
	FAKE_LANE_DIES,        /* before the outcome is told */
	FAKE_LANE_TWICE,       /* the outcome comes twice */
	FAKE_LANE_UNKNOWN,     /* with a tag that is none */
	FAKE_LANE_GARBAGE,     /* instead of it bytes that are no record */
	FAKE_LANE_CUT,         /* the first half of it */
	FAKE_LANE_DISPATCHES,  /* a dispatch comes */
	FAKE_LANE_HELLO_AGAIN, /* a second one */
	FAKE_LANE_NO_HELLO,    /* an outcome comes first */
	FAKE_LANE_BAD_VERSION,
	FAKE_LANE_NO_CREDITS,
	FAKE_LANE_MANY_CREDITS,
	FAKE_LANE_LIES
};

struct fake_mischief {
	unsigned delay_us; /* of each batch, each way */
	bool reorders;     /* outcomes that come together: the last one first, each by itself */
	uint32_t credits;  /* 0: what the node said */
	enum fake_lie lie;
	unsigned lie_at; /* counts outcomes, or, with FAKE_LANE_DROPS, batches to the node, from 1
	                  */
};

simpler_status fake_lane_open(struct rpc_channel *channel, const struct fake_mischief *mischief,
                              const struct lane_owner *owner, struct lane **out);
/* While it is shut, nothing goes to the node, and no batch is taken after the one that waits. */
void fake_lane_shut(struct lane *lane, bool shut);
/* Batches that went to the node, and what time the last dispatch of them was given. */
void fake_lane_facts(struct lane *lane, unsigned *batches, uint64_t *timeout_us);
/* Wait until none is left of those that were opened. */
void fake_lane_await_none(void);

#endif
