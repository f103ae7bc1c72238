#include "node/shm_server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "os/descriptor.h"
#include "os/random.h"
#include "os/socket.h"
#include "wire/shm.h"

struct peer {
	int socket;       /* -1: none */
	int64_t patience; /* until when it may be silent, or waits for what it asked for */
	uint64_t session; /* that it asked for, while there is none to be had yet; else 0 */
};

struct shm_server {
	struct shm_server_owner owner;
	char address[SOCKET_NAME_MAX + 2];
	int listener;
	int64_t accepts_at; /* nobody before, for lack of descriptors; 0: at once */
	struct peer peers[SHM_SERVER_PEERS];
};

simpler_status shm_server_create(const struct shm_server_owner *owner, struct shm_server **out)
{
	struct shm_server *server = calloc(1, sizeof(*server));
	simpler_status status;

	if (!server)
		return error_raise(SIMPLER_ENOMEM, "out of memory for the server of shared memory");
	server->owner = *owner;
	for (uint32_t i = 0; i < SHM_SERVER_PEERS; i++)
		server->peers[i].socket = -1;
	(void)snprintf(server->address, sizeof(server->address), "@simpler-%016" PRIx64,
	               random_u64());
	status = socket_listen(&server->address[1], &server->listener);
	if (status == SIMPLER_OK)
		*out = server;
	else
		free(server);
	return status;
}

static void drop(struct peer *peer)
{
	(void)close(peer->socket);
	peer->socket = -1;
}

void shm_server_destroy(struct shm_server *server)
{
	if (!server)
		return;
	for (uint32_t i = 0; i < SHM_SERVER_PEERS; i++) {
		if (server->peers[i].socket >= 0)
			drop(&server->peers[i]);
	}
	(void)close(server->listener);
	free(server);
}

const char *shm_server_address(const struct shm_server *server)
{
	return server->address;
}

void shm_server_fds(const struct shm_server *server, struct pollfd fds[SHM_SERVER_FDS])
{
	for (uint32_t i = 0; i < SHM_SERVER_FDS; i++)
		fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
	if (!server)
		return;
	if (server->accepts_at == 0)
		fds[0].fd = server->listener;
	for (uint32_t i = 0; i < SHM_SERVER_PEERS; i++)
		fds[1 + i].fd = server->peers[i].socket;
}

/* --- answering --- */

static void answer(const struct peer *peer, const struct shm_answer *said, int fd)
{
	uint8_t bytes[SHM_ANSWER_MAX];
	size_t size = shm_answer_encode(said, bytes, sizeof(bytes));

	/* Nobody has written to it before, so there is room; one that is gone is gone. */
	if (socket_send(peer->socket, bytes, size, &fd, fd >= 0 ? 1 : 0) != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_DEBUG, "shared memory: %s", simpler_last_error());
}

static void answer_error(const struct peer *peer, simpler_status status)
{
	struct shm_answer said = { .status = status };
	const char *why = simpler_last_error_step(0);

	(void)snprintf(said.text, sizeof(said.text), "%s", why ? why : "");
	answer(peer, &said, -1);
}

/* `*bells` is -1 when no descriptor came. */
static simpler_status receive(const struct peer *peer, struct shm_ask *out, int *bells)
{
	uint8_t bytes[SHM_ASK_MAX];
	size_t size, fd_count = 0;
	simpler_status status =
		socket_receive(peer->socket, bytes, sizeof(bytes), &size, bells, 1, &fd_count);

	if (status != SIMPLER_OK || fd_count == 0)
		*bells = -1;
	return status == SIMPLER_OK ? shm_ask_decode(bytes, size, out) : status;
}

/* Answers what it asked for, unless there is time left to wait for it. */
static void serve(struct shm_server *server, struct peer *peer, uint64_t session, int64_t now)
{
	struct segment_view segment;
	simpler_status status = server->owner.open(server->owner.context, session, &segment);

	if (status == SIMPLER_OK) {
		const struct shm_answer said = { .segment = segment.id, .bytes = segment.bytes };

		answer(peer, &said, segment.memfd);
	} else if (status == SIMPLER_EUNAVAILABLE && now < peer->patience) {
		peer->session = session;
		return;
	} else {
		answer_error(peer, status);
	}
	drop(peer);
}

/* The descriptor is the lane's, or the caller's still when this fails. The peer is gone then. */
static simpler_status serve_lane(struct shm_server *server, struct peer *peer,
                                 const struct shm_ask *ask, int bells)
{
	const struct shm_server_owner *owner = &server->owner;
	simpler_status status;

	if (!owner->open_lane)
		status = error_raise(SIMPLER_EUNAVAILABLE,
		                     "this node has no lanes by shared memory");
	else if (bells < 0)
		status = error_raise(SIMPLER_EPROTOCOL, "no memory of bells came with the ask");
	else
		status = owner->open_lane(owner->context, ask, peer->socket, bells);
	if (status == SIMPLER_OK) {
		peer->socket = -1;
		return SIMPLER_OK;
	}
	answer_error(peer, status);
	drop(peer);
	return status;
}

/* It has said something, or hung up. Who asks once more while it waits is done with. */
static void hear(struct shm_server *server, struct peer *peer, int64_t now)
{
	struct shm_ask ask;
	int bells;
	simpler_status status = receive(peer, &ask, &bells);

	if (status == SIMPLER_OK && peer->session == 0) {
		if (ask.wish == SHM_SEGMENT)
			serve(server, peer, ask.session, now);
		else if (serve_lane(server, peer, &ask, bells) == SIMPLER_OK)
			bells = -1;
	} else {
		if (status != SIMPLER_OK && status != SIMPLER_EUNAVAILABLE)
			answer_error(peer, status);
		drop(peer);
	}
	if (bells >= 0)
		(void)close(bells);
}

/* --- peers --- */

/* A free place, or that of whoever has been here longest. */
static struct peer *make_place(struct shm_server *server)
{
	struct peer *longest = &server->peers[0];

	for (uint32_t i = 0; i < SHM_SERVER_PEERS; i++) {
		struct peer *peer = &server->peers[i];

		if (peer->socket < 0)
			return peer;
		if (peer->patience < longest->patience)
			longest = peer;
	}
	drop(longest);
	return longest;
}

/* As many as there are places at most, so that the others have their turn. */
static void accept_some(struct shm_server *server, int64_t now)
{
	if (now < server->accepts_at)
		return;
	server->accepts_at = 0;
	for (uint32_t i = 0; i < SHM_SERVER_PEERS; i++) {
		struct peer *place;
		int socket;
		simpler_status status = socket_accept(server->listener, &socket);

		if (status == SIMPLER_ESYSTEM) {
			simpler_log(SIMPLER_LOG_WARN, "shared memory: %s", simpler_last_error());
			server->accepts_at = now + SHM_SERVER_PEER_MS * CLOCK_MS;
		}
		if (status != SIMPLER_OK)
			return;
		if (!socket_peer_is_ours(socket)) {
			(void)close(socket);
			continue;
		}
		place = make_place(server);
		*place = (struct peer){ .socket = socket,
			                .patience = now + SHM_SERVER_PEER_MS * CLOCK_MS };
	}
}

/* Returns when it is to be looked at again. */
static int64_t attend(struct shm_server *server, struct peer *peer, int64_t now)
{
	int64_t again = now + SHM_SERVER_RETRY_MS * CLOCK_MS;

	if (peer->socket >= 0 && descriptor_wait_readable(peer->socket, 0))
		hear(server, peer, now);
	else if (peer->socket >= 0 && peer->session != 0)
		serve(server, peer, peer->session, now);
	else if (peer->socket >= 0 && peer->patience <= now)
		drop(peer);
	if (peer->socket < 0)
		return CLOCK_NEVER;
	return peer->session != 0 && again < peer->patience ? again : peer->patience;
}

int64_t shm_server_step(struct shm_server *server)
{
	int64_t now = clock_now(), next = CLOCK_NEVER;

	if (!server)
		return CLOCK_NEVER;
	accept_some(server, now);
	if (server->accepts_at != 0)
		next = server->accepts_at;
	for (uint32_t i = 0; i < SHM_SERVER_PEERS; i++) {
		int64_t again = attend(server, &server->peers[i], now);

		next = again < next ? again : next;
	}
	return next;
}
