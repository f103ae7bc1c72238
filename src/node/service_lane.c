/* L3Worker.Lane: a lane that a stream carries. */
#include <stdlib.h>

#include "base/error.h"
#include "node/lane.h"
#include "rpc/lane_record.h"

/*
 * The call has a reference to the lane until it has ended. It is used by whoever sends, and by
 * whoever closes the lane, under a lock that rpc_finish() is called under, after which it is used
 * no more.
 */
struct stream_lane {
	struct node_lane lane;
	pthread_mutex_t lock;  /* guards: */
	struct rpc_call *call; /* NULL: it is finished */
};

static bool stream_send(struct node_lane *lane, const uint8_t *bytes, size_t size)
{
	struct stream_lane *stream = (struct stream_lane *)lane;
	struct rpc_buffer buffer;
	bool sent = false;

	if (msg_lane_batch_encode(bytes, size, &buffer) != SIMPLER_OK) {
		node_lane_close(lane, RPC_RESOURCE_EXHAUSTED, simpler_last_error_step(0));
		return false;
	}
	pthread_mutex_lock(&stream->lock);
	sent = stream->call != NULL;
	if (sent)
		rpc_send(stream->call, &buffer);
	pthread_mutex_unlock(&stream->lock);
	if (!sent)
		rpc_buffer_release(&buffer);
	return false;
}

static void stream_close(struct node_lane *lane, enum rpc_code code, const char *why)
{
	struct stream_lane *stream = (struct stream_lane *)lane;

	pthread_mutex_lock(&stream->lock);
	if (stream->call)
		rpc_finish(stream->call, code, why, NULL);
	stream->call = NULL;
	pthread_mutex_unlock(&stream->lock);
}

static void stream_release(struct node_lane *lane)
{
	struct stream_lane *stream = (struct stream_lane *)lane;

	node_lane_destroy(lane);
	(void)pthread_mutex_destroy(&stream->lock);
	free(stream);
}

static const struct node_lane_carrier stream_carrier = {
	.kind = SIMPLER_LANE_STREAM,
	.batch_bytes = (size_t)1 << 20,
	.record_bytes = RPC_MAX_MESSAGE - 4096,
	.send = stream_send,
	.close = stream_close,
	.release = stream_release,
};

/* The first thing that is sent; on_sent goes on with what has come up. */
static void send_hello(struct stream_lane *stream)
{
	const struct lane_hello hello = { node_lane_credits(stream->lane.node) };
	uint8_t bytes[64];

	lane_hello_encode(&hello, bytes);
	(void)stream_send(&stream->lane, bytes, lane_hello_bytes());
}

/* Unless it is finished. */
static void receive(struct stream_lane *stream)
{
	pthread_mutex_lock(&stream->lock);
	if (stream->call)
		rpc_receive(stream->call);
	pthread_mutex_unlock(&stream->lock);
}

void node_lane_opened(struct rpc_call *call)
{
	struct stream_lane *stream = calloc(1, sizeof(*stream));
	uint64_t session;
	simpler_status status = node_need_session(call, &session);

	if (!stream)
		status = error_raise(SIMPLER_ENOMEM, "out of memory for a lane");
	if (stream) {
		stream->call = call;
		stream->lane.sending = true; /* the hello */
		(void)pthread_mutex_init(&stream->lock, NULL);
	}
	if (status == SIMPLER_OK)
		status = node_lane_open(&stream->lane, &stream_carrier, node_of(call), session);
	if (status != SIMPLER_OK) {
		if (stream)
			(void)pthread_mutex_destroy(&stream->lock);
		free(stream);
		reply_error(call);
		return;
	}
	rpc_call_set_state(call, stream);
	send_hello(stream);
	receive(stream);
}

void node_lane_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct stream_lane *stream = rpc_call_state(call);
	const uint8_t *records;
	struct bump bump;
	size_t count;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_lane_batch_decode(data, size, &bump, &records, &count) == SIMPLER_OK)
		node_lane_take(&stream->lane, records, count);
	else
		node_lane_close(&stream->lane, RPC_INVALID_ARGUMENT, simpler_last_error_step(0));
	bump_release(&bump);
	receive(stream);
}

void node_lane_half_closed(struct rpc_call *call)
{
	struct stream_lane *stream = rpc_call_state(call);

	node_lane_close(&stream->lane, RPC_OK, "");
}

void node_lane_sent(struct rpc_call *call)
{
	struct stream_lane *stream = rpc_call_state(call);

	node_lane_continue(&stream->lane);
}

void node_lane_cancelled(struct rpc_call *call)
{
	struct stream_lane *stream = rpc_call_state(call);

	if (stream)
		node_lane_close(&stream->lane, RPC_CANCELLED, "the client has gone");
}

void node_lane_ended(struct rpc_call *call, bool cancelled)
{
	struct stream_lane *stream = rpc_call_state(call);

	(void)cancelled;
	if (stream)
		node_lane_drop(&stream->lane);
}
