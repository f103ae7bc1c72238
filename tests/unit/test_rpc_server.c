/* What a server refuses, where it listens, how it comes and goes: with a client of ours, and with
 * the C core itself where ours would not do. */
#include "rpc_service.h"

#include "rpc/core.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

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

static void a_peer_of_this_machine_is_told_from_others(void **state)
{
	static const struct {
		const char *peer;
		bool local;
	} cases[] = {
		{ "unix:", true },
		{ "unix:/run/node.sock", true },
		{ "ipv4:127.0.0.1:40000", true },
		{ "ipv4:127.255.1.2:1", true },
		{ "ipv6:%5B::1%5D:40000", true },
		{ "ipv6:[::1]:40000", true },
		{ "ipv6:%5B::ffff:127.0.0.1%5D:40000", true },
		{ "ipv4:192.0.2.7:40000", false },
		{ "ipv4:1.127.0.1:40000", false },
		{ "ipv6:%5B2001:db8::1%5D:40000", false },
		{ "ipv6:%5B::1234%5D:40000", false },
		{ "ipv6:%5B::ffff:192.0.2.7%5D:40000", false },
		{ "unknown", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (core_peer_is_local(cases[i].peer) != cases[i].local)
			fail_msg("%s", cases[i].peer);
	}
}

/* --- slow methods --- */

static atomic_bool slow_inside;

/* The thread stays until the test lets it go. */
static void stay(struct rpc_call *call, const uint8_t *data, size_t size)
{
	assert_false(atomic_exchange(&slow_inside, true));
	hold(call, data, size);
	pthread_mutex_lock(&seen.lock);
	while (seen.cancels == 0) /* here: how often the test has let go */
		pthread_cond_wait(&seen.changed, &seen.lock);
	seen.cancels--;
	pthread_mutex_unlock(&seen.lock);
	atomic_store(&slow_inside, false);
	echo(call, data, size);
}

static void let_go(void)
{
	pthread_mutex_lock(&seen.lock);
	seen.cancels++;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
}

static const struct rpc_method slow_methods[] = {
	{ .path = "/test.T/Echo", .on_message = echo },
	{ .path = "/test.T/Slow", .slow = true, .on_message = stay, .on_end = count_end },
	{ .path = "/test.T/SlowChat",
	  .streaming = true,
	  .slow = true,
	  .on_open = chat_open,
	  .on_message = chat_message,
	  .on_half_close = chat_half_close,
	  .on_sent = chat_sent,
	  .on_cancel = chat_cancelled,
	  .on_end = count_end },
};

/* With one thread for all others. */
static void slow_methods_hold_up_each_other_and_nobody_else(void **state)
{
	const struct rpc_server_options options = {
		.address = "127.0.0.1:0", .methods = slow_methods, .method_count = 3, .threads = 1
	};
	struct rpc_buffer message = text_buffer("hello");
	struct rpc_client_call *chat;
	struct outcome slow[2], chats;
	struct pair pair;

	(void)state;
	pair_start(&pair, &options);
	for (size_t i = 0; i < 2; i++) {
		struct rpc_buffer buffer = text_buffer("slow");

		outcome_init(&slow[i]);
		rpc_unary(pair.channel, "/test.T/Slow", CLOCK_NEVER, false, &buffer, outcome_done,
		          &slow[i]);
	}
	wait_seen(&seen.held, 1);
	chat = open_stream(pair.channel, "/test.T/SlowChat", &chats);
	rpc_stream_send(chat, &message);
	for (size_t i = 0; i < 20; i++)
		assert_answers(pair.channel);
	assert_int_equal(outcome_ended(&slow[0]) + outcome_ended(&slow[1]), 0);
	let_go();
	wait_seen(&seen.held, 2);
	for (size_t i = 0; i < 20; i++)
		assert_answers(pair.channel);
	assert_int_equal(outcome_ended(&chats), 0);
	let_go();
	for (size_t i = 0; i < 2; i++) {
		outcome_wait(&slow[i], &slow[i].ended, 1);
		assert_int_equal(slow[i].code, RPC_OK);
		outcome_destroy(&slow[i]);
	}
	outcome_wait(&chats, &chats.messages, 1);
	rpc_stream_close_send(chat);
	outcome_wait(&chats, &chats.ended, 1);
	assert_int_equal(chats.code, RPC_OK);
	outcome_destroy(&chats);
	pair_stop(&pair);
}

/* What is on its way to a slow method is answered, or ended, before the server is gone. */
static void stopping_waits_for_slow_methods(void **state)
{
	const struct rpc_server_options options = {
		.address = "127.0.0.1:0", .methods = slow_methods, .method_count = 3, .threads = 1
	};
	struct rpc_buffer buffer = text_buffer("slow");
	struct outcome slow;
	struct pair pair;

	(void)state;
	pair_start(&pair, &options);
	outcome_init(&slow);
	rpc_unary(pair.channel, "/test.T/Slow", CLOCK_NEVER, false, &buffer, outcome_done, &slow);
	wait_seen(&seen.held, 1);
	let_go();
	rpc_server_stop(pair.server, clock_after_ms(10000));
	outcome_wait(&slow, &slow.ended, 1);
	assert_int_equal(slow.code, RPC_OK);
	outcome_destroy(&slow);
	rpc_channel_close(pair.channel);
	rpc_client_destroy(pair.client);
}

/* --- streams that are answered while they send, and lasting ones --- */

#define LARGE ((size_t)40 << 20)

static void send_large(struct rpc_call *call)
{
	struct rpc_buffer message;

	if (rpc_buffer_alloc(&message, LARGE) != SIMPLER_OK)
		abort();
	memset(message.data, 'x', LARGE);
	rpc_send(call, &message);
}

/* While the message is on its way. */
static void send_and_finish(struct rpc_call *call)
{
	send_large(call);
	rpc_finish(call, RPC_ABORTED, "behind what was sent", NULL);
}

static void count_cancelled(struct rpc_call *call)
{
	pthread_mutex_lock(&seen.lock);
	seen.cancels++;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
	rpc_finish(call, RPC_CANCELLED, "gone", NULL);
}

static void send_text(struct rpc_call *call)
{
	struct rpc_buffer message = text_buffer("open");

	rpc_send(call, &message);
	rpc_receive(call);
}

static const struct rpc_method streams[] = {
	{ .path = "/test.S/SendAndFinish",
	  .streaming = true,
	  .on_open = send_and_finish,
	  .on_cancel = count_cancelled },
	{ .path = "/test.S/Lasting",
	  .streaming = true,
	  .lasting = true,
	  .idle_ms = 200,
	  .on_open = send_text,
	  .on_cancel = count_cancelled },
	{ .path = "/test.S/LastingLarge",
	  .streaming = true,
	  .lasting = true,
	  .idle_ms = 200,
	  .on_open = send_large,
	  .on_cancel = count_cancelled },
	{ .path = "/test.S/Counted",
	  .streaming = true,
	  .on_open = send_text,
	  .on_cancel = count_cancelled },
};

static void serve_streams(struct pair *pair)
{
	const struct rpc_server_options options = { .address = "127.0.0.1:0",
		                                    .methods = streams,
		                                    .method_count = 4,
		                                    .threads = 2,
		                                    .max_streams = 1 };

	pair_start(pair, &options);
}

static struct rpc_client_call *begin_stream(struct pair *pair, const char *path,
                                            struct outcome *outcome)
{
	outcome_init(outcome);
	return stream_open(pair->channel, path, CLOCK_NEVER, &outcome_handlers, outcome);
}

static void what_is_being_sent_comes_before_the_answer(void **state)
{
	struct outcome outcome;
	struct pair pair;

	(void)state;
	serve_streams(&pair);
	for (unsigned i = 0; i < 10; i++) {
		(void)begin_stream(&pair, "/test.S/SendAndFinish", &outcome);
		outcome_wait(&outcome, &outcome.ended, 1);
		assert_int_equal(outcome.code, RPC_ABORTED);
		assert_string_equal(outcome.text, "behind what was sent");
		assert_int_equal(outcome.messages, 1);
		assert_int_equal(outcome.size, LARGE);
		outcome_destroy(&outcome);
	}
	pair_stop(&pair);
}

static void lasting_streams_are_not_counted_and_may_be_silent(void **state)
{
	const struct timespec longer = { 0, 500 * CLOCK_MS };
	struct rpc_client_call *calls[4];
	struct outcome outcomes[4], refused;
	struct pair pair;

	(void)state;
	serve_streams(&pair);
	for (size_t i = 0; i < 4; i++) {
		calls[i] = begin_stream(&pair, i < 3 ? "/test.S/Lasting" : "/test.S/Counted",
		                        &outcomes[i]);
		outcome_wait(&outcomes[i], &outcomes[i].messages, 1);
	}
	(void)begin_stream(&pair, "/test.S/Counted", &refused);
	outcome_wait(&refused, &refused.ended, 1);
	assert_int_equal(refused.code, RPC_RESOURCE_EXHAUSTED);
	outcome_destroy(&refused);
	(void)nanosleep(&longer, NULL);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(outcome_ended(&outcomes[i]), 0);
		rpc_client_call_cancel(calls[i]);
		outcome_wait(&outcomes[i], &outcomes[i].ended, 1);
		outcome_destroy(&outcomes[i]);
	}
	pair_stop(&pair);
}

static void a_lasting_stream_that_nobody_reads_ends(void **state)
{
	struct rpc_client_call *call;
	struct outcome outcome;
	struct pair pair;

	(void)state;
	serve_streams(&pair);
	outcome_init(&outcome);
	call = rpc_client_call_create(pair.channel, "/test.S/LastingLarge", CLOCK_NEVER);
	rpc_stream_await(call, false); /* so it is not read */
	rpc_stream_begin(call, NULL, &outcome_handlers, &outcome);
	wait_seen(&seen.cancels, 1);
	/* It hears of that behind what it does not read. */
	rpc_client_call_cancel(call);
	outcome_wait(&outcome, &outcome.ended, 1);
	assert_int_equal(outcome.messages, 0);
	outcome_destroy(&outcome);
	pair_stop(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_server_refuses_what_is_too_much),
		TEST(a_peer_of_this_machine_is_told_from_others),
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
		TEST(slow_methods_hold_up_each_other_and_nobody_else),
		TEST(stopping_waits_for_slow_methods),
		TEST(what_is_being_sent_comes_before_the_answer),
		TEST(lasting_streams_are_not_counted_and_may_be_silent),
		TEST(a_lasting_stream_that_nobody_reads_ends),
	};

	return cmocka_run_group_tests(tests, make_socket_path, NULL);
}
