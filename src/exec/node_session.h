/*
 * A program's session with its nodes: one number for all of them, chosen at random. What is
 * registered and allocated on a node in its name goes when the session ends there: when it is
 * detached, or when the node has not heard of it for its time to live, because this process died,
 * stopped, or was cut off.
 *
 * A thread renews it on every node in the background. These heartbeats tell whether a node is
 * there, drains, or has lost what it had, by being started anew for one; who attached it is told.
 *
 * Thread-safety: attaching, stopping and releasing are for one thread; the others for any. Channels
 * stay open until the stop.
 */
#ifndef EXEC_NODE_SESSION_H
#define EXEC_NODE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "simpler/status.h"

#define NODE_SESSION_SHM_MAX 107

struct node_session;
struct node_attachment; /* of one node */
struct rpc_channel;

struct node_heartbeat {
	uint64_t interval_ms; /* of two; more often if the time to live asks for it */
	uint64_t timeout_ms;  /* for one to be answered */
	uint32_t failures;    /* of so many in a row the node is lost; at least 1 */
};

simpler_status node_session_create(uint64_t ttl_ms, const struct node_heartbeat *heartbeat,
                                   struct node_session **out);
/* For rpc_channel_set_session(). */
uint64_t node_session_id(const struct node_session *session);

#define NODE_WHY_BYTES (ERROR_STEP_BYTES / 2)

/* Called without locks, one at a time for each node but for changed(). They do not block. */
struct node_events {
	/* What is in progress there is to be given up. */
	void (*lost)(void *context, const char *why);
	/* It answers again. What it is to know is to be told it, then node_session_admit(). */
	void (*returned)(void *context);
	/* What node_session_is_away() says may be something else now. */
	void (*changed)(void *context);
	/* It has answered, as it does about once in an interval. */
	void (*beat)(void *context);
};

struct node_attach_options {
	struct rpc_channel *channel;
	const char *name; /* in messages */
	int64_t deadline;
	const struct node_events *events;
	void *context;
	uint32_t *lanes; /* gets those that the node has: 1 << simpler_lane */
};

/*
 * Attach to the node, and keep that renewed. Blocks until it answers, at most until the deadline,
 * and asks again while it is not available. All that the options point to is borrowed.
 *
 * @return SIMPLER_EUNAVAILABLE or SIMPLER_EDEADLINE when it was not available all the time; what
 * else it said.
 */
simpler_status node_session_attach(struct node_session *session,
                                   const struct node_attach_options *options,
                                   struct node_attachment **out);
/* In this life it has been told all, or why not, which is tried again by another returned(). */
void node_session_admit(struct node_attachment *node, uint64_t life, const struct error *error);
/* Whether it takes no tasks, and why. */
bool node_session_is_away(struct node_attachment *node, char *why, size_t size);
/* Whether it has said so itself: what was not sent yet has no use there. Takes no lock. */
bool node_session_is_draining(const struct node_attachment *node);
/* It has, for as long as it lives, elsewhere than in an answer to a heartbeat. */
void node_session_note_end(struct node_attachment *node);
/* Whether what begins there is to be given up, and why it was lost. */
bool node_session_is_lost(struct node_attachment *node, char why[NODE_WHY_BYTES]);
/* Which life the session has there; see msg_attached. */
uint64_t node_session_life(struct node_attachment *node);
/* Where the node gives away memory, or "". */
void node_session_shm_address(struct node_attachment *node, char out[NODE_SESSION_SHM_MAX + 1]);
/* node_session_stop() has begun. */
bool node_session_is_ending(struct node_session *session);
/* Ask all nodes now: there is reason to believe that something has changed. */
void node_session_hurry(struct node_session *session);

/* Detach from all nodes at once, waiting at most NODE_SESSION_DETACH_MS for those that do not
 * answer. Nothing is told afterwards. Before channels are closed. NULL is allowed. */
#define NODE_SESSION_DETACH_MS 1000u
void node_session_stop(struct node_session *session);
/* When nobody names an attachment any more. NULL is allowed. */
void node_session_release(struct node_session *session);

#endif
