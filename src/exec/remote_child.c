/* A node as a child of a worker: made, closed, let go of. What it does is in the files beside. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/condition.h"
#include "exec/remote_node.h"
#include "exec/remote_storage.h"
#include "rpc/rpc.h"

void remote_leave(struct exec_child *child)
{
	remote_close_lanes((struct remote_child *)child);
}

static void remote_close(struct exec_child *child)
{
	struct remote_child *node = (struct remote_child *)child;

	remote_stop_turns(node);
	for (unsigned i = 0; i < REMOTE_TRANSPORTS; i++) {
		if (node->transports[i])
			node->transports[i]->ops->close(node->transports[i]);
	}
	remote_close_lanes(node);
	rpc_channel_close(node->channel);
	remote_await_answers(node);
}

static void remote_release(struct exec_child *child)
{
	struct remote_child *node = (struct remote_child *)child;

	lane_drop(node->lanes.unary);
	(void)pthread_cond_destroy(&node->lane_changed);
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

static void init_conditions(struct remote_child *node)
{
	condition_init(&node->lane_changed);
	(void)pthread_cond_init(&node->answered, NULL);
}

/* What needs the channel, which is closed by the caller when this fails. */
static simpler_status build(struct remote_child *node)
{
	simpler_status status = lane_unary_create(node->channel, &node->lanes.unary);

	if (status != SIMPLER_OK)
		return status;
	status =
		stream_transport_create(node->channel, &node->transports[SIMPLER_TRANSPORT_STREAM]);
	if (status != SIMPLER_OK)
		lane_drop(node->lanes.unary);
	return status;
}

simpler_status remote_create(const struct remote_options *options, struct exec_child **out)
{
	const char *address = options->address;
	struct remote_child *node;
	simpler_status status;

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
	node->child.capacity = node->child.width = options->capacity;
	node->client = options->client;
	node->session = options->session;
	node->lanes.wanted = options->lane;
	node->lanes.shm = options->lanes;
	(void)snprintf(node->address, sizeof(node->address), "%s", address);
	(void)snprintf(node->child.name, sizeof(node->child.name), "node %s", address);
	status = rpc_channel_open(node->client, address, &node->channel);
	if (status == SIMPLER_OK) {
		rpc_channel_set_session(node->channel, node_session_id(node->session));
		status = build(node);
		if (status != SIMPLER_OK)
			rpc_channel_close(node->channel);
	}
	if (status != SIMPLER_OK) {
		free(node);
		return error_context("adding node %s", address);
	}
	staging_cache_init(&node->staging);
	(void)pthread_mutex_init(&node->lock, NULL);
	init_conditions(node);
	*out = &node->child;
	return SIMPLER_OK;
}
