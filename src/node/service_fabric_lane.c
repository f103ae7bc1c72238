/*
 * L3Worker.OpenFabricLane: a lane that messages of libfabric carry, by a line (fabric/line.h). The
 * client says hello by it once it knows this end, and only then something is sent to it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fabric/line.h"
#include "node/fabric_ports.h"
#include "node/lane.h"
#include "rpc/lane_record.h"

struct fabric_lane {
	struct node_lane lane;
	struct fabric_line line;
	uint8_t hello[32];
};

static struct fabric_lane *lane_of(struct fabric_line *line)
{
	return (struct fabric_lane *)((char *)line - offsetof(struct fabric_lane, line));
}

/* --- what carries --- */

static bool fabric_send(struct node_lane *lane, const uint8_t *bytes, size_t size)
{
	fabric_line_send(&((struct fabric_lane *)lane)->line, bytes, size);
	return false;
}

static void fabric_close_lane(struct node_lane *lane, enum rpc_code code, const char *why)
{
	(void)code;
	fabric_line_close(&((struct fabric_lane *)lane)->line, why);
}

static void fabric_release(struct node_lane *lane)
{
	fabric_line_destroy(&((struct fabric_lane *)lane)->line);
	node_lane_destroy(lane);
	free(lane);
}

static const struct node_lane_carrier fabric_carrier = {
	.kind = SIMPLER_LANE_FABRIC,
	.batch_bytes = FABRIC_LINE_QUICK_BYTES,
	.record_bytes = FABRIC_LINE_BYTES,
	.send = fabric_send,
	.close = fabric_close_lane,
	.release = fabric_release,
};

/* --- the line; by the fabric's loop --- */

static void hold(struct fabric_line *line)
{
	node_lane_hold(&lane_of(line)->lane);
}

static void drop(struct fabric_line *line)
{
	node_lane_drop(&lane_of(line)->lane);
}

/* Nothing was sent before, and what has come up is when this is. */
static void on_joined(struct fabric_line *line)
{
	struct fabric_lane *lane = lane_of(line);
	const struct lane_hello hello = { node_lane_credits(lane->lane.node) };

	lane_hello_encode(&hello, lane->hello);
	fabric_line_send(line, lane->hello, lane_hello_bytes());
}

static void on_received(struct fabric_line *line, const uint8_t *bytes, size_t size)
{
	node_lane_take(&lane_of(line)->lane, bytes, size);
}

static void on_sent(struct fabric_line *line)
{
	node_lane_continue(&lane_of(line)->lane);
}

static void on_ended(struct fabric_line *line, const char *why)
{
	node_lane_close(&lane_of(line)->lane, RPC_UNAVAILABLE, why);
}

static const struct fabric_line_events line_events = { hold,        drop,    on_joined,
	                                               on_received, on_sent, on_ended };

/* --- opening --- */

static simpler_status make_lane(struct node *node, uint64_t session, struct fabric_lane **out)
{
	struct fabric_lane *lane = calloc(1, sizeof(*lane));
	simpler_status status;

	if (!lane)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a lane");
	lane->lane.sending = true; /* the hello */
	fabric_line_init(&lane->line, &line_events);
	status = node_lane_open(&lane->lane, &fabric_carrier, node, session);
	if (status == SIMPLER_OK) {
		*out = lane;
	} else {
		fabric_line_destroy(&lane->line);
		free(lane);
	}
	return status;
}

static simpler_status join(struct fabric_lane *lane, const struct msg_fabric_end *end)
{
	struct node *node = lane->lane.node;
	struct fabric_address address = { .size = (uint8_t)end->address.size };
	simpler_status status;

	memcpy(address.bytes, end->address.data, end->address.size);
	status = fabric_line_open(&lane->line, fabric_ports_fabric(node->fabric));
	if (status == SIMPLER_OK)
		status = fabric_line_join(&lane->line, &address, end->line, false);
	if (status != SIMPLER_OK)
		node_lane_close(&lane->lane, RPC_INVALID_ARGUMENT, simpler_last_error_step(0));
	return status;
}

static void answer(struct rpc_call *call, struct fabric_lane *lane)
{
	struct node *node = node_of(call);
	struct msg_fabric_end end = { .line = lane->line.id };
	struct fabric_address address;
	struct rpc_buffer buffer;

	fabric_line_address(&lane->line, &address);
	end.address = (simpler_bytes){ address.bytes, address.size };
	(void)snprintf(end.provider, sizeof(end.provider), "%s",
	               fabric_provider_name(fabric_ports_provider(node->fabric)));
	reply(call, msg_fabric_end_encode(&end, &buffer), &buffer);
}

void node_open_fabric_lane(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct node *node = node_of(call);
	struct fabric_lane *lane = NULL;
	struct msg_fabric_end end;
	simpler_status status;
	uint64_t session;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_fabric_end_decode(data, size, &bump, &end);
	if (status == SIMPLER_OK)
		status = node_need_session(call, &session);
	if (status == SIMPLER_OK)
		status = node_check_fabric(node, end.provider);
	if (status == SIMPLER_OK)
		status = make_lane(node, session, &lane);
	if (status == SIMPLER_OK)
		status = join(lane, &end);
	if (status == SIMPLER_OK)
		answer(call, lane);
	else
		reply_error(call);
	if (lane)
		node_lane_drop(&lane->lane);
	bump_release(&bump);
}
