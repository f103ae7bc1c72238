/*
 * The fabric lane: a line of messages by libfabric (fabric/line.h). A batch is a message.
 *
 * The node is asked for its end of the line by a call, has a reference to the lane until that has
 * ended, and says hello by the line when it hears of this end there, so that the lane opens only
 * when messages go both ways.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "exec/lane_batch.h"
#include "fabric/line.h"

/* For the node to answer the call. */
#define OPEN_MS 5000

struct fabric_lane {
	struct lane_batch batch;
	struct fabric_line line;
};

static struct fabric_lane *lane_of(struct fabric_line *line)
{
	return (struct fabric_lane *)((char *)line - offsetof(struct fabric_lane, line));
}

/* --- what carries --- */

static bool fabric_send(struct lane_batch *lane, const uint8_t *bytes, size_t size)
{
	fabric_line_send(&((struct fabric_lane *)lane)->line, bytes, size);
	return false;
}

static void fabric_check(struct lane_batch *lane)
{
	fabric_line_check(&((struct fabric_lane *)lane)->line);
}

static void fabric_close_lane(struct lane_batch *lane)
{
	fabric_line_close(&((struct fabric_lane *)lane)->line, "the client has closed the lane");
}

static void fabric_release(struct lane_batch *lane)
{
	fabric_line_destroy(&((struct fabric_lane *)lane)->line);
	lane_batch_destroy(lane);
	free(lane);
}

static const struct lane_carrier fabric_carrier = {
	.name = "fabric",
	.batch_bytes = FABRIC_LINE_QUICK_BYTES,
	.record_bytes = FABRIC_LINE_BYTES,
	.send = fabric_send,
	.check = fabric_check,
	.close = fabric_close_lane,
	.release = fabric_release,
};

/* --- the line --- */

static void hold(struct fabric_line *line)
{
	lane_hold(&lane_of(line)->batch.lane);
}

static void drop(struct fabric_line *line)
{
	lane_drop(&lane_of(line)->batch.lane);
}

/* It is this end that joins. */
static void on_joined(struct fabric_line *line)
{
	(void)line;
}

static void on_received(struct fabric_line *line, const uint8_t *bytes, size_t size)
{
	lane_batch_take(&lane_of(line)->batch, bytes, size);
}

static void on_sent(struct fabric_line *line)
{
	lane_batch_sent(&lane_of(line)->batch);
}

static void on_ended(struct fabric_line *line, const char *why)
{
	lane_batch_lost(&lane_of(line)->batch, why);
}

static const struct fabric_line_events line_events = { hold,        drop,    on_joined,
	                                               on_received, on_sent, on_ended };

/* --- opening --- */

static simpler_status join(struct fabric_lane *lane, const uint8_t *data, size_t size)
{
	struct fabric_address address;
	struct msg_fabric_end end;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_fabric_end_decode(data, size, &bump, &end);
	if (status == SIMPLER_OK) {
		address.size = (uint8_t)end.address.size;
		memcpy(address.bytes, end.address.data, end.address.size);
		status = fabric_line_join(&lane->line, &address, end.line, true);
	}
	bump_release(&bump);
	return status;
}

static void on_answer(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                      size_t size)
{
	struct fabric_lane *lane = context;

	if (code != RPC_OK)
		lane_batch_lost(&lane->batch, text && text[0] != '\0' ? text : rpc_code_name(code));
	else if (join(lane, data, size) != SIMPLER_OK)
		lane_batch_lost(&lane->batch, simpler_last_error_step(0));
	lane_drop(&lane->batch.lane);
}

static simpler_status make_end(struct fabric_lane *lane, struct fabric *fabric,
                               struct rpc_buffer *out)
{
	struct fabric_address address;
	struct msg_fabric_end end = { .line = lane->line.id };
	simpler_status status = fabric_line_open(&lane->line, fabric);

	if (status != SIMPLER_OK)
		return status;
	fabric_line_address(&lane->line, &address);
	end.address = (simpler_bytes){ address.bytes, address.size };
	(void)snprintf(end.provider, sizeof(end.provider), "%s",
	               fabric_provider_name(fabric_provider(fabric)));
	return msg_fabric_end_encode(&end, out);
}

simpler_status lane_fabric_open(struct fabric *fabric, struct rpc_channel *channel,
                                const struct lane_owner *owner, struct lane **out)
{
	struct fabric_lane *lane = calloc(1, sizeof(*lane));
	struct rpc_buffer message;
	simpler_status status;

	if (!lane)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a lane");
	lane_batch_init(&lane->batch, &fabric_carrier, owner);
	fabric_line_init(&lane->line, &line_events);
	status = make_end(lane, fabric, &message);
	if (status != SIMPLER_OK) {
		fabric_line_close(&lane->line, "");
		lane_drop(&lane->batch.lane);
		return status;
	}
	lane_hold(&lane->batch.lane);
	*out = &lane->batch.lane;
	rpc_unary(channel, MSG_FABRIC_LANE, clock_after_ms(OPEN_MS), false, &message, on_answer,
	          lane);
	return SIMPLER_OK;
}
