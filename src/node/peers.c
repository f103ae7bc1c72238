#include "node/peers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "rpc/messages.h"

struct peer {
	char address[MSG_ADDRESS_MAX + 1];
	struct rpc_channel *channel; /* NULL: this place is free */
	uint32_t users;
	uint64_t used; /* when it was last taken: counts */
};

struct peers {
	enum address_reach reach;
	pthread_mutex_t lock; /* guards the rest */
	struct rpc_client *client;
	uint64_t takes;
	struct peer all[PEERS_MAX];
};

struct peers *peers_create(enum address_reach reach)
{
	struct peers *peers = calloc(1, sizeof(*peers));

	if (!peers)
		return NULL;
	peers->reach = reach;
	(void)pthread_mutex_init(&peers->lock, NULL);
	return peers;
}

void peers_destroy(struct peers *peers)
{
	if (!peers)
		return;
	for (uint32_t i = 0; i < PEERS_MAX; i++) {
		if (peers->all[i].channel)
			rpc_channel_close(peers->all[i].channel);
	}
	if (peers->client)
		rpc_client_destroy(peers->client);
	(void)pthread_mutex_destroy(&peers->lock);
	free(peers);
}

static simpler_status check_address(const struct peers *peers, const char *address)
{
	enum address_reach reach = address_classify(address);

	if (reach == ADDRESS_INVALID)
		return error_raise(SIMPLER_EINVAL,
		                   "address '%s' is none: give host:port, [IPv6]:port or "
		                   "unix:/path",
		                   address);
	if (reach == ADDRESS_LOCAL || peers->reach == ADDRESS_OTHERS)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EPERM,
	                   "address '%s' is of another machine, and this node serves its own "
	                   "machine only: it connects no farther than it can be reached from",
	                   address);
}

/* --- under the lock --- */

static struct peer *find(struct peers *peers, const char *address)
{
	for (uint32_t i = 0; i < PEERS_MAX; i++) {
		if (peers->all[i].channel && strcmp(peers->all[i].address, address) == 0)
			return &peers->all[i];
	}
	return NULL;
}

/* A free place, or that of the one which nobody has used for longest. */
static struct peer *make_place(struct peers *peers)
{
	struct peer *oldest = NULL;

	for (uint32_t i = 0; i < PEERS_MAX; i++) {
		struct peer *peer = &peers->all[i];

		if (!peer->channel)
			return peer;
		if (peer->users == 0 && (!oldest || peer->used < oldest->used))
			oldest = peer;
	}
	if (!oldest) {
		error_raise(SIMPLER_ENOSPACE,
		            "imports from %u nodes are in progress, which is the limit; wait for "
		            "some of them",
		            PEERS_MAX);
		return NULL;
	}
	rpc_channel_close(oldest->channel);
	oldest->channel = NULL;
	return oldest;
}

static simpler_status open_peer(struct peers *peers, const char *address, struct peer **out)
{
	simpler_status status = SIMPLER_OK;
	struct peer *peer;

	if (!peers->client)
		status = rpc_client_create(&peers->client);
	if (status != SIMPLER_OK)
		return status;
	peer = make_place(peers);
	if (!peer)
		return SIMPLER_ENOSPACE;
	status = rpc_channel_open(peers->client, address, &peer->channel);
	if (status != SIMPLER_OK) {
		peer->channel = NULL;
		return status;
	}
	(void)snprintf(peer->address, sizeof(peer->address), "%s", address);
	peer->users = 0;
	*out = peer;
	return SIMPLER_OK;
}

/* --- all --- */

simpler_status peers_take(struct peers *peers, const char *address, struct peer **out)
{
	simpler_status status = check_address(peers, address);

	if (status != SIMPLER_OK)
		return status;
	pthread_mutex_lock(&peers->lock);
	*out = find(peers, address);
	if (!*out)
		status = open_peer(peers, address, out);
	if (status == SIMPLER_OK) {
		(*out)->users++;
		(*out)->used = ++peers->takes;
	}
	pthread_mutex_unlock(&peers->lock);
	return status;
}

void peers_give(struct peers *peers, struct peer *peer)
{
	pthread_mutex_lock(&peers->lock);
	peer->users--;
	pthread_mutex_unlock(&peers->lock);
}

struct rpc_channel *peer_channel(const struct peer *peer)
{
	return peer->channel;
}
