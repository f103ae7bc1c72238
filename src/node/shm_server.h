/*
 * Where parents of this machine get memory: an abstract unix socket. A peer says which session it
 * is (wire/shm.h), and is handed the session's segment, or the memory of a lane.
 *
 * Nobody can hold it up: whoever is not of this user, or of root, is turned away unheard; one that
 * says nothing is dropped after SHM_SERVER_PEER_MS; and when all places are taken, the one who has
 * had his longest goes. One whose memory is not to be had yet, as the engine is too busy to hear of
 * it, waits for it as long. Without descriptors for more of them, nobody is accepted for as long.
 *
 * Driven by one thread, which polls the descriptors and calls shm_server_step() when one is ready
 * or the time that it returned has come. Never blocks.
 */
#ifndef NODE_SHM_SERVER_H
#define NODE_SHM_SERVER_H

#include <poll.h>
#include <stdint.h>

#include "tensor/store.h"
#include "wire/shm.h"

#define SHM_SERVER_PEERS    8u
#define SHM_SERVER_FDS      (1 + SHM_SERVER_PEERS)
#define SHM_SERVER_PEER_MS  1000
#define SHM_SERVER_RETRY_MS 10

struct shm_server;

/* The segment of a session, or why it has none; SIMPLER_EUNAVAILABLE for not yet. Called by
 * shm_server_step(). */
typedef simpler_status shm_open(void *context, uint64_t session, struct segment_view *out);
/* A lane for a session, whose client is at `socket` and gave `bells`: both are the lane's from now
 * on, unless this fails. It answers the client itself. NULL for a server without lanes. */
typedef simpler_status shm_open_lane(void *context, const struct shm_ask *ask, int socket,
                                     int bells);

struct shm_server_owner {
	shm_open *open;
	shm_open_lane *open_lane;
	void *context;
};

/* `owner` is copied. */
simpler_status shm_server_create(const struct shm_server_owner *owner, struct shm_server **out);
/* NULL is allowed. */
void shm_server_destroy(struct shm_server *server);

/* "@" and its name; valid as long as the server. */
const char *shm_server_address(const struct shm_server *server);

/* Unused ones are -1. */
void shm_server_fds(const struct shm_server *server, struct pollfd fds[SHM_SERVER_FDS]);
/* Returns when to call again at the latest (base/clock.h). */
int64_t shm_server_step(struct shm_server *server);

#endif
