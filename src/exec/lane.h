/*
 * A lane: how dispatches get to a node, and what became of them comes back.
 *
 *   unary    a call for each; always there, and what every daemon knows (lane_unary.c)
 *   stream   records in the messages of one gRPC stream, as many in each as are ready when it can
 *            take one (lane_stream.c)
 *   shm      the same records in memory that a node of this machine shares (lane_shm.c)
 *   fabric   the same in messages of libfabric (lane_fabric.c)
 *
 * All follow one contract, and one test holds all of them to it. The node does the same for each: a
 * task runs at most once, whichever lanes its dispatch comes by, so what was sent by one that has
 * died is sent again by another.
 *
 * A dispatch is the caller's. It fills in what is marked so and calls lane_dispatch_init(), then
 * lane_submit(); when that has returned SIMPLER_OK, `done` is called once, by any thread, possibly
 * before. No lock of the lane is held then, so `done` may submit the next one; what it is given is
 * valid until it returns. Nothing here blocks.
 *
 * lane_cancel() may be called from lane_dispatch_init() until `done` is called, which the caller
 * sees to with a lock of its own, under which it may call it. Of a task that has to end, StopTask
 * tells the node.
 */
#ifndef EXEC_LANE_H
#define EXEC_LANE_H

#include <pthread.h>
#include <stdatomic.h>

#include "rpc/messages.h"
#include "rpc/rpc.h"

struct fabric;
struct lane;
struct rpc_client_call;

struct lane_answer {
	enum rpc_code code; /* as of a call. RPC_UNAVAILABLE with RPC_NOTE_NONE: nobody answered */
	/* Not run: by this dispatch, as of the ones before it that the lane cannot know. */
	enum rpc_note note;
	/* The outcome did not fit, and is to be asked for by the unary lane. Nobody answered. */
	bool ask_elsewhere;
	const char *text; /* of a failure */
	const uint8_t
		*data; /* a DispatchResp; of no bytes when the task succeeded and wrote nothing */
	size_t size;
};

struct lane_dispatch {
	/* The caller's: */
	int64_t deadline; /* base/clock.h; the node is told */
	bool waits;       /* for a connection while there is none, where the lane can */
	void (*done)(struct lane_dispatch *dispatch, const struct lane_answer *answer);
	/* The lane's, under its lock: */
	struct lane *lane;
	bool cancelled;
	struct rpc_client_call *call; /* unary */
	uint32_t slot;                /* in a table; see exec/lane_batch.h */
	uint8_t *record;              /* that waits for one; freed with it */
	struct lane_dispatch *prev, *next;
};

struct lane_ops {
	simpler_status (*submit)(struct lane *lane, struct lane_dispatch *dispatch,
	                         const struct msg_dispatch *message);
	bool (*cancel)(struct lane *lane, struct lane_dispatch *dispatch);
	/* From time to time: one that cannot tell otherwise asks whether the other side is there.
	 */
	void (*check)(struct lane *lane);
	/* It is lost, as its owner knows. */
	void (*lose)(struct lane *lane, const char *why);
	/* No submit follows. What is in flight ends before the last reference is dropped. */
	void (*close)(struct lane *lane);
	void (*release)(struct lane *lane);
};

struct lane {
	const struct lane_ops *ops;
	const char *name;
	_Atomic uint32_t references;
	pthread_mutex_t lock;
	_Atomic uint64_t dispatches; /* that were sent */
	_Atomic uint64_t batches;    /* in so many messages, where there are such */
};

#define LANE_NO_SLOT UINT32_MAX

static inline void lane_dispatch_init(struct lane_dispatch *dispatch, struct lane *lane)
{
	dispatch->lane = lane;
	dispatch->slot = LANE_NO_SLOT;
	dispatch->cancelled = false;
	dispatch->call = NULL;
	dispatch->record = NULL;
}

/*
 * @return SIMPLER_OK; else `done` is not called: SIMPLER_EUNAVAILABLE of a lane that has died, and
 *         SIMPLER_EINVAL of one that has no room for a message as large, for which another lane is
 *         to be used; SIMPLER_ECANCELLED of one that was cancelled before; SIMPLER_ENOMEM.
 */
static inline simpler_status lane_submit(struct lane_dispatch *dispatch,
                                         const struct msg_dispatch *message)
{
	return dispatch->lane->ops->submit(dispatch->lane, dispatch, message);
}

/* It is to end early. True when it is the caller's again: then `done` is not called. Else it is
 * soon, if it was submitted. */
static inline bool lane_cancel(struct lane_dispatch *dispatch)
{
	return dispatch->lane->ops->cancel(dispatch->lane, dispatch);
}

static inline void lane_hold(struct lane *lane)
{
	atomic_fetch_add(&lane->references, 1);
}

static inline void lane_drop(struct lane *lane)
{
	if (atomic_fetch_sub(&lane->references, 1) == 1)
		lane->ops->release(lane);
}

/* What who opens a lane hears of it, without locks. */
struct lane_owner {
	void *context;
	/* Dispatches may be submitted. */
	void (*opened)(void *context, struct lane *lane);
	/* It has died, or was refused, and what is in flight is about to end. Once; nothing
	 * follows. Not after close() has begun. */
	void (*lost)(void *context, struct lane *lane, const char *why);
	/* Before that: the node ends, as it says, and takes no dispatch any more, whichever way.
	 * Not after close(), either. May be NULL. */
	void (*ending)(void *context);
};

/* Open from the start, and never lost. `channel` is borrowed, and closed before the last reference
 * is dropped. */
simpler_status lane_unary_create(struct rpc_channel *channel, struct lane **out);
/* Begins to open; one that fails here tells its owner nothing. `owner` is copied. */
simpler_status lane_stream_open(struct rpc_channel *channel, const struct lane_owner *owner,
                                struct lane **out);
/* Likewise. `fabric` is borrowed, and waits for the lane when it is closed. */
simpler_status lane_fabric_open(struct fabric *fabric, struct rpc_channel *channel,
                                const struct lane_owner *owner, struct lane **out);

#endif
