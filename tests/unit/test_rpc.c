/* Calls between a server and a client of ours, and of the C core itself where ours would not do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc_test.h"

/* --- the service --- */

/* What the server's side of a test saw. */
struct seen {
	pthread_mutex_t lock; /* guards all of it */
	pthread_cond_t changed;
	unsigned held, cancels, ends, cancelled_ends;
	struct rpc_call *calls[64]; /* of Hold, unanswered */
};

static struct seen seen = { .lock = PTHREAD_MUTEX_INITIALIZER,
	                    .changed = PTHREAD_COND_INITIALIZER };

static int forget_seen(void **state)
{
	(void)state;
	pthread_mutex_lock(&seen.lock);
	seen.held = seen.cancels = seen.ends = seen.cancelled_ends = 0;
	pthread_mutex_unlock(&seen.lock);
	return 0;
}

static void wait_seen(const unsigned *counter, unsigned count)
{
	pthread_mutex_lock(&seen.lock);
	while (*counter < count)
		pthread_cond_wait(&seen.changed, &seen.lock);
	pthread_mutex_unlock(&seen.lock);
}

static void echo(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_buffer answer = bytes_buffer(data, size);

	rpc_finish(call, RPC_OK, NULL, &answer);
}

/* "13 text" fails with code 13 and the text. */
static void refuse(struct rpc_call *call, const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1), *rest;
	long code;

	memcpy(text, data, size);
	code = strtol(text, &rest, 10);
	rpc_finish(call, (enum rpc_code)code, *rest ? rest + 1 : rest, NULL);
	free(text);
}

/* Unanswered until the test does or the client is gone. */
static void hold(struct rpc_call *call, const uint8_t *data, size_t size)
{
	(void)data;
	(void)size;
	pthread_mutex_lock(&seen.lock);
	seen.calls[seen.held++] = call;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
}

static void hold_cancelled(struct rpc_call *call)
{
	bool ours = false;

	pthread_mutex_lock(&seen.lock);
	for (unsigned i = 0; i < seen.held; i++) {
		ours = ours || seen.calls[i] == call;
		if (seen.calls[i] == call)
			seen.calls[i] = NULL;
	}
	seen.cancels++;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
	if (ours)
		rpc_finish(call, RPC_CANCELLED, NULL, NULL);
}

static void answer_held(void)
{
	for (unsigned i = 0; i < sizeof(seen.calls) / sizeof(seen.calls[0]); i++) {
		struct rpc_buffer answer;
		struct rpc_call *call;

		pthread_mutex_lock(&seen.lock);
		call = i < seen.held ? seen.calls[i] : NULL;
		seen.calls[i] = NULL;
		pthread_mutex_unlock(&seen.lock);
		if (!call)
			continue;
		answer = text_buffer("held");
		rpc_finish(call, RPC_OK, NULL, &answer);
	}
}

static void count_end(struct rpc_call *call, bool cancelled)
{
	free(rpc_call_state(call));
	pthread_mutex_lock(&seen.lock);
	seen.ends++;
	seen.cancelled_ends += cancelled;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
}

/* Chat: each message comes back, then the next is read. A second callback of the same call at the
 * same time would be seen in `inside`. */
struct chat {
	atomic_bool inside;
	unsigned messages;
};

static void enter(struct rpc_call *call)
{
	struct chat *chat = rpc_call_state(call);

	assert_false(atomic_exchange(&chat->inside, true));
}

static void leave(struct rpc_call *call)
{
	struct chat *chat = rpc_call_state(call);

	atomic_store(&chat->inside, false);
}

static void chat_open(struct rpc_call *call)
{
	rpc_call_set_state(call, calloc(1, sizeof(struct chat)));
	enter(call);
	rpc_receive(call);
	leave(call);
}

/* Sending and receiving at once makes their events race with each other. */
static void chat_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct chat *chat = rpc_call_state(call);
	struct rpc_buffer answer = bytes_buffer(data, size);

	enter(call);
	chat->messages++;
	rpc_send(call, &answer);
	leave(call);
}

static void chat_sent(struct rpc_call *call)
{
	enter(call);
	rpc_receive(call);
	leave(call);
}

static void chat_half_close(struct rpc_call *call)
{
	struct chat *chat = rpc_call_state(call);
	char text[32];

	snprintf(text, sizeof(text), "%u messages", chat->messages);
	rpc_finish(call, chat->messages == 13 ? RPC_OUT_OF_RANGE : RPC_OK, text, NULL);
}

static void chat_cancelled(struct rpc_call *call)
{
	enter(call);
	pthread_mutex_lock(&seen.lock);
	seen.cancels++;
	pthread_mutex_unlock(&seen.lock);
	rpc_finish(call, RPC_CANCELLED, NULL, NULL);
	leave(call);
}

/* Flood: sends as many messages as the request says, numbered. */
struct flood {
	uint32_t next, count;
};

static void flood_next(struct rpc_call *call)
{
	struct flood *flood = rpc_call_state(call);
	struct rpc_buffer message;

	if (flood->next == flood->count) {
		rpc_finish(call, RPC_OK, NULL, NULL);
		return;
	}
	message = bytes_buffer(&flood->next, sizeof(flood->next));
	flood->next++;
	rpc_send(call, &message);
}

static void flood_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct flood *flood = calloc(1, sizeof(*flood));

	memcpy(&flood->count, data, size < 4 ? size : 4);
	rpc_call_set_state(call, flood);
	flood_next(call);
}

static void finish_cancelled(struct rpc_call *call)
{
	rpc_finish(call, RPC_CANCELLED, NULL, NULL);
}

static const struct rpc_method methods[] = {
	{ .path = "/test.T/Echo", .on_message = echo },
	{ .path = "/test.T/Fail", .on_message = refuse },
	{ .path = "/test.T/Hold",
	  .on_message = hold,
	  .on_cancel = hold_cancelled,
	  .on_end = count_end },
	{ .path = "/test.T/HoldQuietly", .on_message = hold, .on_end = count_end },
	{ .path = "/test.T/Chat",
	  .streaming = true,
	  .on_open = chat_open,
	  .on_message = chat_message,
	  .on_half_close = chat_half_close,
	  .on_sent = chat_sent,
	  .on_cancel = chat_cancelled,
	  .on_end = count_end },
	{ .path = "/test.T/Flood",
	  .streaming = true,
	  .on_open = rpc_receive,
	  .on_message = flood_message,
	  .on_sent = flood_next,
	  .on_cancel = finish_cancelled,
	  .on_end = count_end },
};

static struct rpc_server_options options_for(const char *address)
{
	return (struct rpc_server_options){ .address = address,
		                            .methods = methods,
		                            .method_count = sizeof(methods) / sizeof(methods[0]),
		                            .threads = 2 };
}

static void start_on(struct pair *pair, const char *address)
{
	struct rpc_server_options options = options_for(address);

	pair_start(pair, &options);
}

static char socket_path[64], socket_address[80];

static int make_socket_path(void **state)
{
	(void)state;
	snprintf(socket_path, sizeof(socket_path), "/tmp/test_rpc.%ld", (long)getpid());
	snprintf(socket_address, sizeof(socket_address), "unix:%s", socket_path);
	return 0;
}

/* A call that is expected to end within ten seconds. */
static void call(struct rpc_channel *channel, const char *path, const char *message,
                 struct outcome *out)
{
	struct rpc_buffer buffer = text_buffer(message);

	outcome_init(out);
	rpc_unary(channel, path, clock_after_ms(10000), false, &buffer, outcome_done, out);
	outcome_wait(out, &out->ended, 1);
}

static void assert_answers(struct rpc_channel *channel)
{
	struct outcome out;

	call(channel, "/test.T/Echo", "hello", &out);
	assert_int_equal(out.code, RPC_OK);
	assert_int_equal(out.size, 5);
	assert_memory_equal(out.data, "hello", 5);
	outcome_destroy(&out);
}

/* --- unary --- */

static void echoes_on_every_kind_of_address(void **state)
{
	const char *addresses[] = { "127.0.0.1:0", "[::1]:0", "localhost:0", socket_address };

	(void)state;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct pair pair;

		start_on(&pair, addresses[i]);
		if (addresses[i] == socket_address)
			assert_string_equal(rpc_server_address(pair.server), socket_address);
		else
			assert_null(strstr(rpc_server_address(pair.server), ":0"));
		assert_answers(pair.channel);
		pair_stop(&pair);
	}
	assert_int_not_equal(access(socket_path, F_OK), 0);
}

static void messages_of_any_size_come_back(void **state)
{
	const size_t sizes[] = { 0, 1, 23, 24, 8191, 8192, 1 << 20, 40 << 20, RPC_MAX_MESSAGE };
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *data = malloc(sizes[i] + 1), *answer;
		struct rpc_buffer buffer;
		size_t size;

		memset(data, (int)i + 1, sizes[i] + 1);
		buffer = bytes_buffer(data, sizes[i]);
		assert_int_equal(rpc_unary_wait(pair.channel, "/test.T/Echo", CLOCK_NEVER, false,
		                                &buffer, &answer, &size),
		                 SIMPLER_OK);
		assert_int_equal(size, sizes[i]);
		assert_memory_equal(answer, data, size);
		free(answer);
		free(data);
	}
	pair_stop(&pair);
}

static void statuses_and_texts_arrive(void **state)
{
	char longest[4096 + 4] = "3 ";
	static const struct {
		const char *message;
		enum rpc_code code;
		const char *text;
	} cases[] = {
		{ "3 what was wrong", RPC_INVALID_ARGUMENT, "what was wrong" },
		{ "16 100% of it", RPC_UNAUTHENTICATED, "100% of it" },
		{ "5 na\xc3\xafve \xe2\x82\xac", RPC_NOT_FOUND, "na\xc3\xafve \xe2\x82\xac" },
		{ "5 cut \xe2\x82", RPC_NOT_FOUND, "cut ??" },
		{ "14 two\nlines\x01", RPC_UNAVAILABLE, "two\nlines " },
		{ "13", RPC_INTERNAL, "" },
	};
	struct outcome out;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		call(pair.channel, "/test.T/Fail", cases[i].message, &out);
		assert_int_equal(out.code, cases[i].code);
		assert_string_equal(out.text, cases[i].text);
		outcome_destroy(&out);
	}
	memset(longest + 2, 'x', 4096);
	call(pair.channel, "/test.T/Fail", longest, &out);
	assert_int_equal(out.code, RPC_INVALID_ARGUMENT);
	assert_int_equal(strlen(out.text), 3072);
	outcome_destroy(&out);
	pair_stop(&pair);
}

static void waiting_raises_what_the_server_says(void **state)
{
	struct rpc_buffer buffer = text_buffer("8 the pool has no room");
	struct pair pair;
	uint8_t *answer;
	size_t size;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	assert_int_equal(rpc_unary_wait(pair.channel, "/test.T/Fail", CLOCK_NEVER, false, &buffer,
	                                &answer, &size),
	                 SIMPLER_ENOSPACE);
	assert_string_equal(simpler_last_error_step(0), "the pool has no room");
	assert_non_null(strstr(simpler_last_error_step(1), "RESOURCE_EXHAUSTED"));
	assert_non_null(strstr(simpler_last_error_step(1), rpc_server_address(pair.server)));
	pair_stop(&pair);
}

static void unknown_methods_are_unimplemented_by_name(void **state)
{
	struct outcome out;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	for (int i = 0; i < 10; i++) {
		call(pair.channel, "/test.T/Nothing", "", &out);
		assert_int_equal(out.code, RPC_UNIMPLEMENTED);
		assert_non_null(strstr(out.text, "/test.T/Nothing"));
		outcome_destroy(&out);
	}
	assert_answers(pair.channel);
	pair_stop(&pair);
}

static void a_deadline_reaches_both_ends(void **state)
{
	struct rpc_buffer buffer = text_buffer("");
	int64_t deadline = clock_after_ms(200);
	struct outcome out;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	outcome_init(&out);
	rpc_unary(pair.channel, "/test.T/Hold", deadline, true, &buffer, outcome_done, &out);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_DEADLINE_EXCEEDED);
	assert_true(clock_now() >= deadline);
	wait_seen(&seen.ends, 1);
	assert_int_equal(seen.cancels, 1);
	assert_int_equal(seen.cancelled_ends, 1);
	outcome_destroy(&out);
	pair_stop(&pair);
}

static void a_passed_deadline_fails_at_once(void **state)
{
	struct rpc_buffer buffer = text_buffer("");
	struct outcome out;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	outcome_init(&out);
	rpc_unary(pair.channel, "/test.T/Echo", 0, false, &buffer, outcome_done, &out);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_DEADLINE_EXCEEDED);
	outcome_destroy(&out);
	pair_stop(&pair);
}

static void closing_a_channel_cancels_its_calls(void **state)
{
	struct rpc_channel *other;
	struct outcome out;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	assert_int_equal(rpc_channel_open(pair.client, rpc_server_address(pair.server), &other),
	                 SIMPLER_OK);
	outcome_init(&out);
	for (int i = 0; i < 8; i++) {
		struct rpc_buffer buffer = text_buffer("");

		rpc_unary(other, "/test.T/Hold", CLOCK_NEVER, false, &buffer, outcome_done, &out);
	}
	wait_seen(&seen.held, 8);
	rpc_channel_close(other);
	outcome_wait(&out, &out.ended, 8);
	assert_int_equal(out.code, RPC_CANCELLED);
	wait_seen(&seen.cancelled_ends, 8);
	assert_answers(pair.channel);
	outcome_destroy(&out);
	pair_stop(&pair);
}

/* --- streams --- */

static struct rpc_client_call *open_stream(struct rpc_channel *channel, const char *path,
                                           struct outcome *out)
{
	struct rpc_client_call *stream;

	outcome_init(out);
	stream = stream_open(channel, path, clock_after_ms(20000), &outcome_handlers, out);
	return stream;
}

static void a_stream_echoes_until_half_closed(void **state)
{
	struct rpc_client_call *stream;
	struct outcome out;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	stream = open_stream(pair.channel, "/test.T/Chat", &out);
	for (unsigned i = 0; i < 100; i++) {
		struct rpc_buffer buffer = bytes_buffer(&i, sizeof(i));

		rpc_stream_send(stream, &buffer);
		outcome_wait(&out, &out.sent, i + 1);
		outcome_wait(&out, &out.messages, i + 1);
		assert_int_equal(out.size, sizeof(i));
		assert_memory_equal(out.data, &i, sizeof(i));
	}
	rpc_stream_close_send(stream);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_OK);
	assert_string_equal(out.text, "100 messages");
	outcome_destroy(&out);
	pair_stop(&pair);
}

static void a_stream_may_be_empty(void **state)
{
	struct rpc_client_call *stream;
	struct outcome out;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	stream = open_stream(pair.channel, "/test.T/Chat", &out);
	rpc_stream_close_send(stream);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_OK);
	assert_int_equal(out.messages, 0);
	outcome_destroy(&out);
	pair_stop(&pair);
}

/* Fails when a message is missing, doubled or out of order. */
struct ordered {
	struct outcome outcome;
	uint32_t next;
};

static void ordered_message(void *context, struct rpc_client_call *stream, const uint8_t *data,
                            size_t size)
{
	struct ordered *ordered = context;

	(void)stream;
	assert_int_equal(size, sizeof(ordered->next));
	assert_memory_equal(data, &ordered->next, size);
	ordered->next++;
}

static void a_flood_comes_whole_and_in_order(void **state)
{
	static const struct rpc_stream_handlers handlers = { ordered_message, NULL, outcome_end };
	const uint32_t count = 5000;
	struct rpc_buffer buffer = bytes_buffer(&count, sizeof(count));
	struct rpc_client_call *stream;
	struct ordered ordered = { .next = 0 };
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	outcome_init(&ordered.outcome);
	stream = stream_open(pair.channel, "/test.T/Flood", CLOCK_NEVER, &handlers, &ordered);
	rpc_stream_send(stream, &buffer);
	outcome_wait(&ordered.outcome, &ordered.outcome.ended, 1);
	assert_int_equal(ordered.outcome.code, RPC_OK);
	assert_int_equal(ordered.next, count);
	outcome_destroy(&ordered.outcome);
	pair_stop(&pair);
}

static void a_cancelled_stream_ends_at_both_ends(void **state)
{
	struct rpc_buffer buffer = text_buffer("x");
	struct rpc_client_call *stream;
	struct outcome out;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	stream = open_stream(pair.channel, "/test.T/Chat", &out);
	rpc_stream_send(stream, &buffer);
	outcome_wait(&out, &out.messages, 1);
	rpc_client_call_cancel(stream);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_CANCELLED);
	wait_seen(&seen.ends, 1);
	assert_int_equal(seen.cancels, 1);
	assert_int_equal(seen.cancelled_ends, 1);
	outcome_destroy(&out);
	pair_stop(&pair);
}

static void a_stream_to_nobody_is_unavailable(void **state)
{
	struct rpc_client *client;
	struct rpc_channel *channel;
	struct outcome out;

	(void)state;
	assert_int_equal(rpc_client_create(&client), SIMPLER_OK);
	assert_int_equal(rpc_channel_open(client, socket_address, &channel), SIMPLER_OK);
	open_stream(channel, "/test.T/Chat", &out);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_UNAVAILABLE);
	outcome_destroy(&out);
	rpc_channel_close(channel);
	rpc_client_destroy(client);
}

/* --- limits, with a client that has none --- */

struct raw {
	const char *path;
	size_t size;
	bool send; /* a message at all */
	int compression;
	grpc_status_code code;
};

static void raw_call(const char *address, struct raw *raw)
{
	grpc_arg arguments[] = {
		{ .type = GRPC_ARG_INTEGER,
		  .key = (char *)GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
		  .value.integer = raw->compression },
	};
	grpc_channel_args all = { 1, arguments };
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	grpc_channel *channel = grpc_channel_create(address, credentials, &all);
	grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
	gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
	grpc_call *one = grpc_channel_create_call(channel, NULL, 0, queue,
	                                          grpc_slice_from_static_string(raw->path), NULL,
	                                          never, NULL);
	grpc_metadata_array initial, trailing;
	grpc_slice details = grpc_empty_slice(), slice = grpc_slice_malloc(raw->size);
	grpc_byte_buffer *message, *answer = NULL;
	grpc_op ops[6] = { { .op = GRPC_OP_SEND_INITIAL_METADATA } };
	size_t count = 1;

	memset(GRPC_SLICE_START_PTR(slice), 0, raw->size);
	message = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	grpc_metadata_array_init(&initial);
	grpc_metadata_array_init(&trailing);
	ops[count++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[count].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[count++].data.recv_initial_metadata.recv_initial_metadata = &initial;
	ops[count].op = GRPC_OP_RECV_MESSAGE;
	ops[count++].data.recv_message.recv_message = &answer;
	ops[count].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	ops[count].data.recv_status_on_client.trailing_metadata = &trailing;
	ops[count].data.recv_status_on_client.status = &raw->code;
	ops[count++].data.recv_status_on_client.status_details = &details;
	if (raw->send) {
		ops[count].op = GRPC_OP_SEND_MESSAGE;
		ops[count++].data.send_message.send_message = message;
	}
	assert_int_equal(grpc_call_start_batch(one, ops, count, &raw, NULL), GRPC_CALL_OK);
	grpc_completion_queue_next(queue, never, NULL);
	grpc_byte_buffer_destroy(message);
	grpc_byte_buffer_destroy(answer);
	grpc_metadata_array_destroy(&initial);
	grpc_metadata_array_destroy(&trailing);
	grpc_slice_unref(details);
	grpc_call_unref(one);
	grpc_channel_destroy(channel);
	grpc_channel_credentials_release(credentials);
	grpc_completion_queue_shutdown(queue);
	while (grpc_completion_queue_next(queue, never, NULL).type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(queue);
}

static void the_server_refuses_what_is_too_much(void **state)
{
	struct raw cases[] = {
		{ "/test.T/Echo", 200, true, GRPC_COMPRESS_NONE, GRPC_STATUS_OK },
		{ "/test.T/Echo", (size_t)65 << 20, true, GRPC_COMPRESS_NONE,
		  GRPC_STATUS_RESOURCE_EXHAUSTED },
		{ "/test.T/Chat", (size_t)65 << 20, true, GRPC_COMPRESS_NONE,
		  GRPC_STATUS_RESOURCE_EXHAUSTED },
		{ "/test.T/Nothing", (size_t)65 << 20, true, GRPC_COMPRESS_NONE,
		  GRPC_STATUS_UNIMPLEMENTED },
		{ "/test.T/Echo", (size_t)1 << 20, true, GRPC_COMPRESS_GZIP,
		  GRPC_STATUS_UNIMPLEMENTED },
		{ "/test.T/Chat", (size_t)1 << 20, true, GRPC_COMPRESS_GZIP,
		  GRPC_STATUS_UNIMPLEMENTED },
		{ "/test.T/Echo", 0, false, GRPC_COMPRESS_NONE, GRPC_STATUS_INVALID_ARGUMENT },
		{ "/test.T/Chat", 0, false, GRPC_COMPRESS_NONE, GRPC_STATUS_OK },
	};
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		grpc_status_code expected = cases[i].code;

		raw_call(rpc_server_address(pair.server), &cases[i]);
		if (cases[i].code != expected)
			print_message("case %zu\n", i);
		assert_int_equal(cases[i].code, expected);
	}
	assert_answers(pair.channel);
	pair_stop(&pair);
}

static void the_client_does_not_send_too_much(void **state)
{
	struct outcome out;
	struct rpc_buffer buffer;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	outcome_init(&out);
	assert_int_equal(rpc_buffer_alloc(&buffer, RPC_MAX_MESSAGE + 1), SIMPLER_OK);
	memset(buffer.data, 0, buffer.size);
	rpc_unary(pair.channel, "/test.T/Echo", CLOCK_NEVER, false, &buffer, outcome_done, &out);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_RESOURCE_EXHAUSTED);
	assert_answers(pair.channel);
	outcome_destroy(&out);
	pair_stop(&pair);
}

/* --- addresses --- */

static void bad_addresses_are_refused(void **state)
{
	static const char *const bad[] = {
		"",         "5050",  "host",    "host:", ":5050",   "host:port", "host:70000",
		"::1:5050", "[::1]", "[::1:50", "unix:", "host:-1", "[]:1",      "host:5050/path"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rpc_server_options options = options_for(bad[i]);
		struct rpc_server *server;

		assert_int_equal(rpc_server_start(&options, &server), SIMPLER_EINVAL);
		assert_non_null(strstr(simpler_last_error(), bad[i]));
	}
}

static void an_unbindable_address_says_why(void **state)
{
	static const struct {
		const char *address;
		simpler_status status;
	} cases[] = {
		{ "192.0.2.1:0", SIMPLER_ESYSTEM },
		{ "unix:/nowhere/at/all", SIMPLER_ESYSTEM },
		{ "no-such-host.invalid:0", SIMPLER_EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rpc_server_options options = options_for(cases[i].address);
		struct rpc_server *server;

		assert_int_equal(rpc_server_start(&options, &server), cases[i].status);
		assert_non_null(strstr(simpler_last_error(), cases[i].address));
	}
}

static void a_busy_address_is_never_shared(void **state)
{
	const char *addresses[] = { "127.0.0.1:0", socket_address };

	(void)state;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct rpc_server_options options;
		struct rpc_server *second;
		struct pair pair;

		start_on(&pair, addresses[i]);
		options = options_for(rpc_server_address(pair.server));
		assert_int_equal(rpc_server_start(&options, &second), SIMPLER_EEXIST);
		assert_non_null(strstr(simpler_last_error(), rpc_server_address(pair.server)));
		assert_answers(pair.channel);
		pair_stop(&pair);
	}
}

static void a_dead_socket_is_replaced(void **state)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct pair pair;

	(void)state;
	memcpy(name.sun_path, socket_path, strlen(socket_path) + 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(listen(fd, 1), 0);
	close(fd);
	assert_int_equal(access(socket_path, F_OK), 0);
	start_on(&pair, socket_address);
	assert_answers(pair.channel);
	pair_stop(&pair);
}

static void a_file_that_is_no_socket_stays(void **state)
{
	struct rpc_server_options options = options_for(socket_address);
	struct rpc_server *server;
	FILE *file = fopen(socket_path, "w");

	(void)state;
	assert_non_null(file);
	fclose(file);
	assert_int_equal(rpc_server_start(&options, &server), SIMPLER_EEXIST);
	assert_int_equal(access(socket_path, F_OK), 0);
	unlink(socket_path);
}

/* --- coming and going --- */

static void a_call_may_wait_for_the_server(void **state)
{
	struct rpc_server_options options = options_for(socket_address);
	struct rpc_buffer impatient = text_buffer("x"), patient = text_buffer("x");
	struct outcome first, second;
	struct pair pair;

	(void)state;
	outcome_init(&first);
	outcome_init(&second);
	assert_int_equal(rpc_client_create(&pair.client), SIMPLER_OK);
	assert_int_equal(rpc_channel_open(pair.client, socket_address, &pair.channel), SIMPLER_OK);
	rpc_unary(pair.channel, "/test.T/Echo", CLOCK_NEVER, true, &patient, outcome_done, &second);
	rpc_unary(pair.channel, "/test.T/Echo", CLOCK_NEVER, false, &impatient, outcome_done,
	          &first);
	outcome_wait(&first, &first.ended, 1);
	assert_int_equal(first.code, RPC_UNAVAILABLE);
	assert_int_equal(outcome_ended(&second), 0);
	assert_int_equal(rpc_server_start(&options, &pair.server), SIMPLER_OK);
	outcome_wait(&second, &second.ended, 1);
	assert_int_equal(second.code, RPC_OK);
	outcome_destroy(&first);
	outcome_destroy(&second);
	pair_stop(&pair);
}

static void a_channel_reconnects(void **state)
{
	struct rpc_server_options options;
	char address[64];
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	assert_answers(pair.channel);
	snprintf(address, sizeof(address), "%s", rpc_server_address(pair.server));
	for (int i = 0; i < 2; i++) {
		struct rpc_buffer buffer = text_buffer("x");
		uint8_t *answer;
		size_t size;

		rpc_server_stop(pair.server, clock_after_ms(10000));
		options = options_for(address);
		assert_int_equal(rpc_server_start(&options, &pair.server), SIMPLER_OK);
		assert_int_equal(rpc_unary_wait(pair.channel, "/test.T/Echo", clock_after_ms(10000),
		                                true, &buffer, &answer, &size),
		                 SIMPLER_OK);
		free(answer);
	}
	pair_stop(&pair);
}

static void *stop_patiently(void *server)
{
	rpc_server_stop(server, clock_after_ms(20000));
	return NULL;
}

static void stopping_waits_for_calls_in_progress(void **state)
{
	struct rpc_buffer buffer = text_buffer("");
	struct outcome out;
	pthread_t stopper;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	outcome_init(&out);
	rpc_unary(pair.channel, "/test.T/Hold", CLOCK_NEVER, false, &buffer, outcome_done, &out);
	wait_seen(&seen.held, 1);
	assert_int_equal(pthread_create(&stopper, NULL, stop_patiently, pair.server), 0);
	/* New calls are refused from some moment on, while the old one is still there. */
	for (bool refused = false; !refused;) {
		struct outcome other;

		call(pair.channel, "/test.T/Echo", "", &other);
		refused = other.code == RPC_UNAVAILABLE;
		outcome_destroy(&other);
	}
	assert_int_equal(outcome_ended(&out), 0);
	answer_held();
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_OK);
	pthread_join(stopper, NULL);
	rpc_channel_close(pair.channel);
	rpc_client_destroy(pair.client);
	outcome_destroy(&out);
}

static void *answer_when_ended(void *outcome)
{
	struct outcome *out = outcome;

	outcome_wait(out, &out->ended, 3);
	answer_held();
	return NULL;
}

static void stopping_cancels_at_its_deadline(void **state)
{
	static const char *const paths[] = { "/test.T/Hold", "/test.T/HoldQuietly" };
	struct outcome out, chat;
	pthread_t answerer;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	open_stream(pair.channel, "/test.T/Chat", &chat);
	outcome_init(&out);
	for (int i = 0; i < 3; i++) {
		struct rpc_buffer buffer = text_buffer("");

		rpc_unary(pair.channel, paths[i > 0], CLOCK_NEVER, false, &buffer, outcome_done,
		          &out);
	}
	wait_seen(&seen.held, 3);
	assert_int_equal(pthread_create(&answerer, NULL, answer_when_ended, &out), 0);
	rpc_server_stop(pair.server, clock_after_ms(50));
	assert_int_equal(seen.ends, 4);
	pthread_join(answerer, NULL);
	outcome_wait(&chat, &chat.ended, 1);
	assert_int_not_equal(chat.code, RPC_OK);
	assert_int_equal(outcome_ended(&out), 3);
	assert_int_not_equal(out.code, RPC_OK);
	rpc_channel_close(pair.channel);
	rpc_client_destroy(pair.client);
	outcome_destroy(&out);
	outcome_destroy(&chat);
}

/* --- load --- */

/* Calls that start the next one when they end. */
struct chain {
	struct outcome outcome;
	struct rpc_channel *channel;
	unsigned left, steps;
};

static void chain_next(struct chain *chain);

static void chain_done(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                       size_t size)
{
	struct chain *chain = context;

	assert_int_equal(code, RPC_OK);
	assert_int_equal(size, sizeof(chain->left));
	assert_memory_equal(data, &chain->left, size);
	if (--chain->left > 0)
		chain_next(chain);
	else
		outcome_end(&chain->outcome, code, text);
}

static void chain_next(struct chain *chain)
{
	struct rpc_buffer buffer = bytes_buffer(&chain->left, sizeof(chain->left));

	rpc_unary(chain->channel, "/test.T/Echo", CLOCK_NEVER, false, &buffer, chain_done, chain);
}

/* A chat that sends the next message when the last was sent and has come back. */
static void lively_step(struct chain *chain, struct rpc_client_call *stream)
{
	struct rpc_buffer buffer;

	if (++chain->steps % 2 != 0)
		return;
	if (--chain->left == 0) {
		rpc_stream_close_send(stream);
		return;
	}
	buffer = bytes_buffer(&chain->left, sizeof(chain->left));
	rpc_stream_send(stream, &buffer);
}

static void lively_sent(void *context, struct rpc_client_call *stream)
{
	lively_step(context, stream);
}

static void lively_message(void *context, struct rpc_client_call *stream, const uint8_t *data,
                           size_t size)
{
	struct chain *chain = context;

	assert_memory_equal(data, &chain->left, size);
	lively_step(chain, stream);
}

static void lively_end(void *context, enum rpc_code code, const char *text)
{
	struct chain *chain = context;

	assert_int_equal(code, RPC_OK);
	outcome_end(&chain->outcome, code, text);
}

static void many_calls_at_once(void **state)
{
	static const struct rpc_stream_handlers handlers = { lively_message, lively_sent,
		                                             lively_end };
	enum { CHAINS = 100, LENGTH = 20 };
	static struct chain chains[CHAINS];
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	for (unsigned i = 0; i < CHAINS; i++) {
		struct rpc_client_call *stream;
		struct rpc_buffer buffer;

		outcome_init(&chains[i].outcome);
		chains[i].channel = pair.channel;
		chains[i].left = LENGTH;
		if (i % 2 == 0) {
			chain_next(&chains[i]);
			continue;
		}
		stream = stream_open(pair.channel, "/test.T/Chat", CLOCK_NEVER, &handlers,
		                     &chains[i]);
		buffer = bytes_buffer(&chains[i].left, sizeof(chains[i].left));
		rpc_stream_send(stream, &buffer);
	}
	for (unsigned i = 0; i < CHAINS; i++) {
		outcome_wait(&chains[i].outcome, &chains[i].outcome.ended, 1);
		outcome_destroy(&chains[i].outcome);
	}
	pair_stop(&pair);
}

/* --- codes --- */

static void statuses_survive_the_trip(void **state)
{
	static const simpler_status survive[] = {
		SIMPLER_OK,           SIMPLER_EINVAL,    SIMPLER_ENOTFOUND, SIMPLER_EEXIST,
		SIMPLER_ESTALE,       SIMPLER_ENOSPACE,  SIMPLER_EDEADLINE, SIMPLER_ECANCELLED,
		SIMPLER_EPERM,        SIMPLER_EAUTH,     SIMPLER_EPOISONED, SIMPLER_EUNAVAILABLE,
		SIMPLER_EUNSUPPORTED, SIMPLER_EPROTOCOL, SIMPLER_EUSER,     SIMPLER_EINTERNAL,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(survive) / sizeof(survive[0]); i++)
		assert_int_equal(rpc_status_of(rpc_code_of(survive[i])), survive[i]);
	for (int status = 1; status <= SIMPLER_EINTERNAL; status++)
		assert_int_not_equal(rpc_code_of((simpler_status)status), RPC_OK);
	assert_int_equal(rpc_code_of(SIMPLER_USER_STATUS), RPC_UNKNOWN);
	assert_int_equal(rpc_status_of((enum rpc_code)99), SIMPLER_EPROTOCOL);
	assert_string_equal(rpc_code_name(RPC_NOT_FOUND), "NOT_FOUND");
	assert_string_equal(rpc_code_name(RPC_UNAUTHENTICATED), "UNAUTHENTICATED");
}

#define TEST(name) cmocka_unit_test_setup(name, forget_seen)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(echoes_on_every_kind_of_address),
		TEST(messages_of_any_size_come_back),
		TEST(statuses_and_texts_arrive),
		TEST(waiting_raises_what_the_server_says),
		TEST(unknown_methods_are_unimplemented_by_name),
		TEST(a_deadline_reaches_both_ends),
		TEST(a_passed_deadline_fails_at_once),
		TEST(closing_a_channel_cancels_its_calls),
		TEST(a_stream_echoes_until_half_closed),
		TEST(a_stream_may_be_empty),
		TEST(a_flood_comes_whole_and_in_order),
		TEST(a_cancelled_stream_ends_at_both_ends),
		TEST(a_stream_to_nobody_is_unavailable),
		TEST(the_server_refuses_what_is_too_much),
		TEST(the_client_does_not_send_too_much),
		TEST(bad_addresses_are_refused),
		TEST(an_unbindable_address_says_why),
		TEST(a_busy_address_is_never_shared),
		TEST(a_dead_socket_is_replaced),
		TEST(a_file_that_is_no_socket_stays),
		TEST(a_call_may_wait_for_the_server),
		TEST(a_channel_reconnects),
		TEST(stopping_waits_for_calls_in_progress),
		TEST(stopping_cancels_at_its_deadline),
		TEST(many_calls_at_once),
		TEST(statuses_survive_the_trip),
	};

	return cmocka_run_group_tests(tests, make_socket_path, NULL);
}
