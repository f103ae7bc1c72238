/* TensorPool.JoinFabric: an endpoint for a session, by which its tensors are reached. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "node/fabric_ports.h"
#include "node/node.h"

simpler_status node_check_fabric(const struct node *node, const char *wanted)
{
	const char *here;

	if (!node->fabric)
		return error_raise(SIMPLER_ESTATE, "node '%s' has no fabric: %s", node->id,
		                   node->fabric_why);
	here = fabric_provider_name(fabric_ports_provider(node->fabric));
	if (strcmp(here, wanted) == 0)
		return SIMPLER_OK;
	return error_raise(SIMPLER_ESTATE,
	                   "the fabric of node '%s' has the provider %s, and the client has %s; "
	                   "start both with the same",
	                   node->id, here, wanted);
}

static simpler_status join(struct node *node, uint64_t session, const struct msg_fabric *request,
                           struct fabric_address *out)
{
	struct segment_view segment;
	simpler_status status = node_check_fabric(node, request->provider);

	if (status == SIMPLER_OK)
		status = node_open_segment(node, session, &segment);
	return status == SIMPLER_OK ? fabric_ports_join(node->fabric, session, out) : status;
}

static void join_fabric(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct node *node = node_of(call);
	struct msg_fabric_joined joined;
	struct fabric_address address;
	struct msg_fabric request;
	struct rpc_buffer buffer;
	simpler_status status;
	uint64_t session;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_fabric_decode(data, size, &bump, &request);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = node_need_session(call, &session);
	if (status == SIMPLER_OK)
		status = node_enter(call, &session);
	if (status != SIMPLER_OK) {
		reply_error(call);
		return;
	}
	status = join(node, session, &request, &address);
	if (status == SIMPLER_OK) {
		joined.address = (simpler_bytes){ address.bytes, address.size };
		status = msg_fabric_joined_encode(&joined, &buffer);
	}
	reply(call, status, &buffer);
	node_leave(node, session);
}

const struct rpc_method node_fabric_methods[NODE_FABRIC_METHODS] = {
	{ .path = MSG_JOIN_FABRIC, .on_message = join_fabric },
};
