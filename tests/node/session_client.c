#include "session_client.h"

#include <stdlib.h>

struct rpc_channel *session_connect(struct front_end *front_end, uint64_t session)
{
	struct rpc_channel *channel;

	assert_int_equal(rpc_channel_open(front_end->client, front_end->daemon.address, &channel),
	                 SIMPLER_OK);
	rpc_channel_set_session(channel, session);
	return channel;
}

struct msg_attached session_attach(struct rpc_channel *channel)
{
	const struct msg_attach message = { 60000 };
	struct msg_attached attached;
	struct rpc_buffer buffer;
	struct bump bump;
	uint8_t *bytes;
	size_t size;

	assert_int_equal(msg_attach_encode(&message, &buffer), SIMPLER_OK);
	assert_int_equal(
		rpc_unary_wait(channel, MSG_ATTACH, CLOCK_NEVER, true, &buffer, &bytes, &size),
		SIMPLER_OK);
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_attached_decode(bytes, size, &bump, &attached), SIMPLER_OK);
	bump_release(&bump);
	free(bytes);
	return attached;
}

void session_detach(struct rpc_channel *channel)
{
	struct rpc_buffer buffer;
	uint8_t *bytes;
	size_t size;

	assert_int_equal(msg_empty_encode(&buffer), SIMPLER_OK);
	assert_int_equal(
		rpc_unary_wait(channel, MSG_DETACH, CLOCK_NEVER, true, &buffer, &bytes, &size),
		SIMPLER_OK);
	free(bytes);
}

void session_stop_task(struct rpc_channel *channel, uint64_t task)
{
	const struct msg_stop_task message = { task };
	struct rpc_buffer buffer;
	uint8_t *bytes;
	size_t size;

	assert_int_equal(msg_stop_task_encode(&message, &buffer), SIMPLER_OK);
	assert_int_equal(
		rpc_unary_wait(channel, MSG_STOP_TASK, CLOCK_NEVER, true, &buffer, &bytes, &size),
		SIMPLER_OK);
	free(bytes);
}

struct msg_handle counter_make(struct rpc_channel *channel)
{
	const struct msg_alloc message = { .nbytes = 8,
		                           .shape = { 1, { 1 }, SIMPLER_INT64, SIMPLER_INOUT } };
	struct msg_handle handle;
	struct rpc_buffer buffer;
	struct bump bump;
	uint8_t *bytes;
	size_t size;

	assert_int_equal(msg_alloc_encode(&message, &buffer), SIMPLER_OK);
	assert_int_equal(rpc_unary_wait(channel, MSG_ALLOC_TENSOR, CLOCK_NEVER, true, &buffer,
	                                &bytes, &size),
	                 SIMPLER_OK);
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_handle_decode(bytes, size, &bump, &handle), SIMPLER_OK);
	bump_release(&bump);
	free(bytes);
	handle.transport_desc.size = 0;
	return handle;
}

int64_t counter_read(struct rpc_channel *channel, const struct msg_handle *counter)
{
	struct rpc_buffer buffer;
	struct outcome outcome;
	struct msg_chunk chunk;
	struct bump bump;
	int64_t value;

	outcome_init(&outcome);
	assert_int_equal(msg_handle_encode(counter, &buffer), SIMPLER_OK);
	rpc_stream_begin(rpc_client_call_create(channel, MSG_PULL_TENSOR, CLOCK_NEVER), &buffer,
	                 &(const struct rpc_stream_handlers){ .on_message = outcome_message,
	                                                      .on_sent = outcome_sent,
	                                                      .on_end = outcome_end },
	                 &outcome);
	outcome_wait(&outcome, &outcome.ended, 1);
	assert_int_equal(outcome.code, RPC_OK);
	bump_init(&bump, MSG_BUMP_LIMIT(outcome.size));
	assert_int_equal(msg_chunk_decode(outcome.data, outcome.size, &bump, &chunk), SIMPLER_OK);
	assert_int_equal(chunk.data.size, sizeof(value));
	memcpy(&value, chunk.data.data, sizeof(value));
	bump_release(&bump);
	outcome_destroy(&outcome);
	return value;
}

void release_held(struct front_end *front_end)
{
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1000, FAKE_RELEASE, 0);
	struct outcome outcome;

	dispatch(front_end, &request, &outcome);
	outcome_destroy(&outcome);
}
