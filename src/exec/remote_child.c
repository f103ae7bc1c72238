/* A node as a child of a worker: made, closed, let go of. What it does is in the files beside. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec/remote_node.h"
#include "exec/remote_storage.h"
#include "rpc/rpc.h"

static void remote_close(struct exec_child *child)
{
	struct remote_child *node = (struct remote_child *)child;

	for (unsigned i = 0; i < REMOTE_TRANSPORTS; i++) {
		if (node->transports[i])
			node->transports[i]->ops->close(node->transports[i]);
	}
	rpc_channel_close(node->channel);
	remote_await_answers(node);
}

static void remote_release(struct exec_child *child)
{
	struct remote_child *node = (struct remote_child *)child;

	(void)pthread_cond_destroy(&node->answered);
	(void)pthread_mutex_destroy(&node->lock);
	staging_cache_release(&node->staging);
	free(node);
}

static const struct exec_child_ops remote_ops = {
	.ask = remote_ask,
	.start = remote_start,
	.stop = remote_stop,
	.retract = remote_retract,
	.is_away = remote_is_away,
	.life = remote_life,
	.admit = remote_admit,
	.close = remote_close,
	.release = remote_release,
};

simpler_status remote_create(struct rpc_client *client, struct node_session *session,
                             const char *address, uint32_t capacity, struct exec_child **out)
{
	struct remote_child *node;

	if (address[0] == '\0' || strlen(address) >= sizeof(node->address))
		return error_raise(SIMPLER_EINVAL,
		                   "'%.120s' is no address of a node; give HOST:PORT or unix:/PATH",
		                   address);
	node = calloc(1, sizeof(*node));
	if (!node)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a remote node");
	node->child.ops = &remote_ops;
	node->child.runs = SIMPLER_KIND_ORCH;
	node->child.make_storage = remote_make_storage;
	node->child.capacity = node->child.width = capacity;
	(void)snprintf(node->address, sizeof(node->address), "%s", address);
	(void)snprintf(node->child.name, sizeof(node->child.name), "node %s", address);
	if (rpc_channel_open(client, address, &node->channel) != SIMPLER_OK) {
		free(node);
		return error_context("adding node %s", address);
	}
	node->client = client;
	node->session = session;
	rpc_channel_set_session(node->channel, node_session_id(session));
	staging_cache_init(&node->staging);
	(void)pthread_mutex_init(&node->lock, NULL);
	(void)pthread_cond_init(&node->answered, NULL);
	if (stream_transport_create(node->channel, &node->transports[SIMPLER_TRANSPORT_STREAM]) !=
	    SIMPLER_OK) {
		remote_close(&node->child);
		return error_context("adding node %s", address);
	}
	*out = &node->child;
	return SIMPLER_OK;
}
