/*
 * The lanes of a worker that shared memory carries (ipc/lane_memory.h), to whichever nodes.
 *
 * What they have in common, the hub, has two threads for all of them: the collector, which takes
 * outcomes while no thread that waits for a run does (exec/collector.h), and the watcher, which
 * hears answers, and of nodes that are gone, and sleeps else. They are started with the first lane.
 */
#ifndef EXEC_LANE_SHM_H
#define EXEC_LANE_SHM_H

#include "exec/collector.h"
#include "exec/lane.h"

struct lane_shm_hub;

simpler_status lane_shm_hub_create(struct lane_shm_hub **out);
/* All lanes are closed. Ends the threads; who ended a run may be on the way out before. NULL is
 * allowed. */
void lane_shm_hub_destroy(struct lane_shm_hub *hub);

/* Begins to open a lane at the address where a node shares memory; one that fails here tells its
 * owner nothing. `owner` is copied. */
simpler_status lane_shm_open(struct lane_shm_hub *hub, const char *address, uint64_t session,
                             const struct lane_owner *owner, struct lane **out);

/* Whether outcomes may come by it. */
bool lane_shm_hub_is_used(struct lane_shm_hub *hub);
/* For threads that wait for runs. */
struct collector *lane_shm_hub_collector(struct lane_shm_hub *hub);

#endif
