/*
 * What the parts of exec/remote.h share: the node.
 *
 *   remote_child.c    the node as a child
 *   remote.c          a task, step by step (remote_task.h)
 *   remote_dispatch.c the step that has it run
 *   remote_lanes.c    the lane that dispatches go by
 *   remote_catalog.c  connecting, and what it is asked about callables
 *   remote_storage.c  storage, and what is done to it outside tasks
 *   remote_grants.c   from node to node
 *   remote_staging.c  storage that is kept from one task to the next
 *   remote_bytes.c    the transports, and which one moves bytes
 */
#ifndef EXEC_REMOTE_NODE_H
#define EXEC_REMOTE_NODE_H

#include <pthread.h>

#include "exec/lane.h"
#include "exec/node_session.h"
#include "exec/remote.h"
#include "exec/staging_cache.h"
#include "simpler/handle.h"
#include "transport/transport.h"

/* By simpler_transport; 0 is `auto`, which is none. */
#define REMOTE_TRANSPORTS 4

struct rpc_channel;
struct remote_task;

enum remote_lane_state {
	REMOTE_LANE_NONE,
	REMOTE_LANE_OPENING,
	REMOTE_LANE_OPEN,
	REMOTE_LANE_CLOSED
};

/* Under the node's lock, but for what says otherwise. */
struct remote_lanes {
	struct lane *unary;       /* fixed */
	struct lane_shm_hub *shm; /* fixed; may be NULL */
	simpler_lane wanted;      /* fixed */
	uint32_t offered;         /* by the node, when it was attached; fixed then */
	enum remote_lane_state state;
	simpler_lane is;   /* which one is open, or being opened */
	uint32_t attempt;  /* counts those that were begun to be opened */
	struct lane *fast; /* the present one, if it is known; has a reference */
	uint32_t failed;   /* to open, lately: 1 << simpler_lane */
	uint32_t told_failure;
	bool told_loss;
	char why[NODE_WHY_BYTES]; /* the last one that failed did */
	uint64_t losses;
	uint64_t dispatches, batches; /* of those that are gone */
};

struct remote_child {
	struct exec_child child;
	struct rpc_client *client; /* borrowed */
	struct rpc_channel *channel;
	struct node_session *session;       /* borrowed */
	struct node_attachment *attachment; /* to it; NULL until connected */
	char address[104];
	/* Towards the node; NULL where there is none. Fixed once it is connected. */
	struct transport *transports[REMOTE_TRANSPORTS];
	struct fabric *fabric;             /* borrowed; NULL: there is none here */
	char fabric_why[256];              /* it does not lead to the node */
	_Atomic int64_t fabric_again;      /* `auto` leaves it alone until then (base/clock.h) */
	_Atomic uint64_t fabric_fallbacks; /* of moves that `auto` chose it for */
	_Atomic uint64_t fabric_life;      /* in which the node has an endpoint of the session */
	_Atomic uint64_t
		shm_life; /* in which the memory is the node's that is shared; see remote_life() */
	atomic_bool told_auto;       /* which one `auto` is */
	_Atomic uint64_t auto_moves; /* how often it was left open */
	_Atomic uint64_t inline_sent, inline_received;
	_Atomic uint64_t staging_reused; /* storage of one task by the next */
	struct staging_cache staging;    /* storage that tasks leave to others */
	pthread_mutex_t lock;            /* guards: */
	struct remote_lanes lanes;
	pthread_cond_t lane_changed; /* its state has */
	/* All tasks in progress, `capacity` at most. Only a stop or a loss looks for some. */
	struct remote_task *running;
	char lost_why[NODE_WHY_BYTES]; /* the last time */
	uint32_t asked;                /* requests that are open */
	bool turning, closing;         /* transports to another life; none begins any more */
	pthread_cond_t answered;       /* one less, or it is not turning any more */
};

/* --- remote.c --- */

void remote_start(struct exec_child *child, struct exec_task *task);
void remote_stop(struct exec_child *child, uint64_t task, int64_t kill_at);
struct exec_task *remote_retract(struct exec_child *child, uint64_t task_or_0);
/* End all tasks that are in progress. */
void remote_lose(struct remote_child *node, const char *why);

/* --- remote_lanes.c --- */

/* Of a node that is attached: open the lane that was asked for, or the best. Blocks. */
simpler_status remote_open_lane(struct remote_child *node, int64_t deadline);
/* From time to time: a lane that is wanted and not there is tried again. */
void remote_look_for_lane(struct remote_child *node);
/* Has the one that is open see whether the node is there, and ends. */
void remote_check_lane(struct remote_child *node);
/* The node was lost: a lane to it is none, even where it does not know by itself. */
void remote_lose_lane(struct remote_child *node, const char *why);
/* The present one, with a reference for the caller. */
struct lane *remote_hold_lane(struct remote_child *node);
void remote_count_lanes(struct remote_child *node, struct remote_traffic *out);
/* No heartbeat comes any more. */
void remote_close_lanes(struct remote_child *node);

/* --- remote_bytes.c --- */

/* What the two below that are for another life do is done between these. False: the node is being
 * closed. */
bool remote_begin_turn(struct remote_child *node);
void remote_end_turn(struct remote_child *node);
/* Wait for it, and have none begin. */
void remote_stop_turns(struct remote_child *node);

/* Have a transport by shared memory, if the address that the node told leads to some from here. */
void remote_share_memory(struct remote_child *node);
/* The same in another life of the session there. A node that shared none is left at that. */
void remote_share_memory_again(struct remote_child *node, uint64_t life);

/* Have one by the fabric, if there is one here and the node has the same. */
void remote_join_fabric(struct remote_child *node);
/* The same in a later life. Blocks for a second or two. */
void remote_rejoin_fabric(struct remote_child *node, uint64_t life);
/* A move by this transport has failed like this, and `auto` may take another for it: whether it was
 * the fabric, which is then left alone for a while. */
bool remote_fell_back(struct remote_child *node, simpler_transport choice,
                      const struct transport *transport, const struct error *error);

/* Of the choice a program made, for storage on the node, or NULL for some that is to be allocated.
 * SIMPLER_EUNAVAILABLE for a transport that is named and not there: nothing goes another way behind
 * the program's back. */
simpler_status remote_choose(struct remote_child *node, simpler_transport choice,
                             const struct transport_storage *storage, struct transport **out);

/* --- remote_catalog.c --- */

bool remote_is_away(struct exec_child *child, char *why, size_t size);
uint64_t remote_life(struct exec_child *child);
void remote_admit(struct exec_child *child, uint64_t life, const struct error *error);
void remote_ask(struct exec_child *child, struct exec_request *request);
/* Something is asked that the closing waits for, and now it has ended. */
void remote_asks(struct remote_child *node);
void remote_answered(struct remote_child *node);
/* Once the channel is closed: until nothing that was asked is open. */
void remote_await_answers(struct remote_child *node);

#endif
