/*
 * A program's session with its nodes: one number for all of them, chosen at random. What is
 * registered and allocated on a node in its name goes when the session ends there: when it is
 * detached, or when the node has not heard of it for its time to live, because this process died,
 * stopped, or was cut off.
 *
 * A thread renews it on every node in the background, three times in that time, and hears whether a
 * node was started anew meanwhile.
 *
 * Thread-safety: attaching and ending are for one thread; channels stay open until the end.
 */
#ifndef EXEC_NODE_SESSION_H
#define EXEC_NODE_SESSION_H

#include <stdint.h>

#include "simpler/status.h"

#define NODE_SESSION_SHM_MAX 107

struct node_session;
struct rpc_channel;

simpler_status node_session_create(uint64_t ttl_ms, struct node_session **out);
/* For rpc_channel_set_session(). */
uint64_t node_session_id(const struct node_session *session);

/*
 * Attach to the node behind `channel`, called `name` in messages, and keep that renewed. Blocks
 * until it answers, at most until `deadline`, and asks again while it is not available. Both are
 * borrowed. `shm_address` gets where the node gives away the session's memory, or "".
 *
 * @return SIMPLER_EUNAVAILABLE or SIMPLER_EDEADLINE when it was not available all the time; what
 * else it said.
 */
simpler_status node_session_attach(struct node_session *session, struct rpc_channel *channel,
                                   const char *name, int64_t deadline,
                                   char shm_address[NODE_SESSION_SHM_MAX + 1]);

/* Detach from all nodes at once, waiting at most NODE_SESSION_DETACH_MS for those that do not
 * answer, and release. Before channels are closed. NULL is allowed. */
#define NODE_SESSION_DETACH_MS 1000u
void node_session_end(struct node_session *session);

#endif
