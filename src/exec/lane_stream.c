/*
 * The stream lane: one call of L3Worker.Lane for all dispatches to a node. A batch is a message.
 *
 * The call has a reference to the lane until it ends. Whoever sends or cancels does so under a
 * lock, which the call's end takes before the call goes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "exec/lane_batch.h"

#define BATCH_BYTES  ((size_t)1 << 20)
#define RECORD_BYTES (RPC_MAX_MESSAGE - 4096)

struct stream {
	struct lane_batch batch;
	pthread_mutex_t lock;         /* guards: */
	struct rpc_client_call *call; /* NULL once it has ended */
	bool corked;                  /* the call's callbacks' */
};

static void lock_and_cancel(struct stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	if (stream->call)
		rpc_client_call_cancel(stream->call);
	pthread_mutex_unlock(&stream->lock);
}

static bool stream_send(struct lane_batch *lane, const uint8_t *bytes, size_t size)
{
	struct stream *stream = (struct stream *)lane;
	struct rpc_buffer buffer;

	if (msg_lane_batch_encode(bytes, size, &buffer) != SIMPLER_OK) {
		lane_batch_lost(lane, simpler_last_error_step(0));
		return false;
	}
	pthread_mutex_lock(&stream->lock);
	if (stream->call)
		rpc_stream_send(stream->call, &buffer);
	else
		rpc_buffer_release(&buffer);
	pthread_mutex_unlock(&stream->lock);
	return false;
}

static void stream_await(struct lane_batch *lane, bool awaited)
{
	struct stream *stream = (struct stream *)lane;

	pthread_mutex_lock(&stream->lock);
	if (stream->call)
		rpc_stream_await(stream->call, awaited);
	pthread_mutex_unlock(&stream->lock);
}

/* A goodbye comes when nothing is awaited, and what is not read keeps the end of the call back. */
static void stream_check(struct lane_batch *lane)
{
	struct stream *stream = (struct stream *)lane;

	pthread_mutex_lock(&stream->lock);
	if (stream->call)
		rpc_stream_look(stream->call);
	pthread_mutex_unlock(&stream->lock);
}

static void stream_close(struct lane_batch *lane)
{
	lock_and_cancel((struct stream *)lane);
}

static void stream_release(struct lane_batch *lane)
{
	struct stream *stream = (struct stream *)lane;

	lane_batch_destroy(lane);
	(void)pthread_mutex_destroy(&stream->lock);
	free(stream);
}

static const struct lane_carrier stream_carrier = {
	.name = "stream",
	.batch_bytes = BATCH_BYTES,
	.record_bytes = RECORD_BYTES,
	.send = stream_send,
	.await = stream_await,
	.check = stream_check,
	.close = stream_close,
	.release = stream_release,
};

/* --- the call --- */

static void on_message(void *context, struct rpc_client_call *call, const uint8_t *data,
                       size_t size)
{
	struct stream *stream = context;
	const uint8_t *records;
	struct bump bump;
	size_t count;

	(void)call;
	if (!stream->corked)
		lane_batch_cork(&stream->batch);
	stream->corked = true;
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_lane_batch_decode(data, size, &bump, &records, &count) == SIMPLER_OK)
		lane_batch_take(&stream->batch, records, count);
	else
		lane_batch_lost(&stream->batch, simpler_last_error_step(0));
	bump_release(&bump);
}

static void on_settled(void *context)
{
	struct stream *stream = context;

	stream->corked = false;
	lane_batch_uncork(&stream->batch);
}

static void on_sent(void *context, struct rpc_client_call *call)
{
	struct stream *stream = context;

	(void)call;
	lane_batch_sent(&stream->batch);
}

static void on_end(void *context, enum rpc_code code, const char *text)
{
	struct stream *stream = context;
	char why[MSG_TEXT_MAX];

	pthread_mutex_lock(&stream->lock);
	stream->call = NULL;
	pthread_mutex_unlock(&stream->lock);
	(void)snprintf(why, sizeof(why), "%s",
	               text && text[0] != '\0' ? text : rpc_code_name(code));
	lane_batch_lost(&stream->batch, why);
	lane_drop(&stream->batch.lane);
}

simpler_status lane_stream_open(struct rpc_channel *channel, const struct lane_owner *owner,
                                struct lane **out)
{
	static const struct rpc_stream_handlers handlers = { .on_message = on_message,
		                                             .on_settled = on_settled,
		                                             .on_sent = on_sent,
		                                             .on_end = on_end };
	struct stream *stream = calloc(1, sizeof(*stream));
	struct rpc_client_call *call = NULL;

	if (stream)
		call = rpc_client_call_create(channel, MSG_LANE, CLOCK_NEVER);
	if (!call) {
		free(stream);
		return error_raise(SIMPLER_ENOMEM, "out of memory for a lane");
	}
	lane_batch_init(&stream->batch, &stream_carrier, owner);
	(void)pthread_mutex_init(&stream->lock, NULL);
	stream->call = call;
	lane_hold(&stream->batch.lane);
	*out = &stream->batch.lane;
	rpc_stream_begin(call, NULL, &handlers, stream);
	return SIMPLER_OK;
}
