/*
 * Lanes that shared memory carries (ipc/lane_memory.h), each with a thread that takes what comes by
 * it. So no client waits for another one's dispatches, and the memory that a thread sleeps at is
 * written by its own client alone.
 *
 *   RUNNING --closed by anybody, or the client has gone--> ENDING --its thread is through--> gone
 *
 * The thread that made struct shm_lanes opens lanes and sees to their ends: it polls
 * shm_lanes_fd(), which tells of clients that have gone, and calls shm_lanes_step(). What closes a
 * lane wakes that thread.
 *
 * A lane has its memory, of which all pages are there, and whose size nobody can change, so that no
 * access of either side raises SIGBUS; the client's bells, which are refused unless they are like
 * that; the socket by which they came, which tells either side when the other is gone; and no name
 * anywhere. The kernel lets go of all of it with the processes.
 */
#ifndef NODE_SHM_LANE_H
#define NODE_SHM_LANE_H

#include "node/node.h"

struct shm_lanes;

simpler_status shm_lanes_create(struct node *node, struct shm_lanes **out);
/* All lanes are closed: waits for their threads. NULL is allowed. */
void shm_lanes_destroy(struct shm_lanes *lanes);

/*
 * Open one for who asks for it at `socket`, giving `bells`, and answer it. Both descriptors are the
 * lane's unless this fails.
 *
 * @return SIMPLER_ESTATE without such a session; SIMPLER_EPROTOCOL for bells that are none; what
 * the system says when it has no room.
 */
simpler_status shm_lanes_open(struct shm_lanes *lanes, const struct shm_ask *ask, int socket,
                              int bells);

/* -1 for NULL. */
int shm_lanes_fd(const struct shm_lanes *lanes);
void shm_lanes_step(struct shm_lanes *lanes);

#endif
