/* Calls that end before they are answered: cancelled, out of time, or with their channel. */
#include <time.h>

#include "rpc_service.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

/* --- deadlines, and channels that are closed --- */

static void a_deadline_reaches_both_ends(void **state)
{
	struct rpc_buffer buffer = text_buffer("");
	struct outcome out;
	struct pair pair;
	int64_t deadline;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	assert_answers(pair.channel); /* connected: the time is for the call alone */
	outcome_init(&out);
	deadline = clock_after_ms(1000);
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

/* --- cancelling --- */

static void begin_text(struct rpc_client_call *call, const char *text, struct outcome *out)
{
	struct rpc_buffer buffer = text_buffer(text);

	rpc_unary_begin(call, false, &buffer, outcome_done, out);
}

static struct rpc_client_call *create(struct pair *pair, const char *path)
{
	struct rpc_client_call *call =
		rpc_client_call_create(pair->channel, path, clock_after_ms(20000));

	assert_non_null(call);
	return call;
}

static void a_cancelled_call_ends_at_both_ends(void **state)
{
	struct rpc_client_call *held;
	struct outcome out;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	outcome_init(&out);
	held = create(&pair, "/test.T/Hold");
	begin_text(held, "", &out);
	wait_seen(&seen.held, 1);
	rpc_client_call_cancel(held);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_CANCELLED);
	wait_seen(&seen.ends, 1);
	assert_int_equal(seen.cancels, 1);
	assert_int_equal(seen.cancelled_ends, 1);
	outcome_destroy(&out);
	pair_stop(&pair);
}

static void a_call_cancelled_before_it_is_begun_does_not_reach_the_server(void **state)
{
	struct rpc_buffer first = text_buffer("x");
	struct rpc_client_call *unary, *stream;
	struct outcome out, chat;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	outcome_init(&out);
	outcome_init(&chat);
	assert_answers(pair.channel); /* connected */
	unary = create(&pair, "/test.T/Hold");
	stream = create(&pair, "/test.T/Chat");
	rpc_client_call_cancel(unary);
	rpc_client_call_cancel(stream);
	begin_text(unary, "", &out);
	rpc_stream_begin(stream, &first, &outcome_handlers, &chat);
	outcome_wait(&out, &out.ended, 1);
	outcome_wait(&chat, &chat.ended, 1);
	assert_int_equal(out.code, RPC_CANCELLED);
	assert_int_equal(chat.code, RPC_CANCELLED);
	assert_int_equal(chat.messages, 0);
	assert_answers(pair.channel);
	assert_int_equal(seen.held, 0);
	assert_int_equal(seen.ends, 0);
	outcome_destroy(&out);
	outcome_destroy(&chat);
	pair_stop(&pair);
}

static void a_stream_may_begin_with_its_first_message(void **state)
{
	struct rpc_buffer first = text_buffer("first");
	struct rpc_client_call *stream;
	struct outcome chat;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	outcome_init(&chat);
	stream = create(&pair, "/test.T/Chat");
	rpc_stream_begin(stream, &first, &outcome_handlers, &chat);
	outcome_wait(&chat, &chat.sent, 1);
	outcome_wait(&chat, &chat.messages, 1);
	assert_int_equal(chat.size, 5);
	assert_memory_equal(chat.data, "first", 5);
	rpc_stream_close_send(stream);
	outcome_wait(&chat, &chat.ended, 1);
	assert_int_equal(chat.code, RPC_OK);
	outcome_destroy(&chat);
	pair_stop(&pair);
}

/* A call that one thread begins and another cancels, as exec/remote.c has them. */
struct race {
	pthread_mutex_t lock; /* guards the next two */
	struct rpc_client_call *call;
	unsigned ended;
	struct outcome outcome;
};

static void race_over(struct race *race, enum rpc_code code, const char *text)
{
	pthread_mutex_lock(&race->lock);
	race->call = NULL;
	race->ended++;
	pthread_mutex_unlock(&race->lock);
	outcome_end(&race->outcome, code, text);
}

static void race_done(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                      size_t size)
{
	(void)data;
	(void)size;
	race_over(context, code, text);
}

static void race_message(void *context, struct rpc_client_call *call, const uint8_t *data,
                         size_t size)
{
	(void)context;
	(void)data;
	(void)size;
	rpc_stream_close_send(call);
}

static void race_end(void *context, enum rpc_code code, const char *text)
{
	race_over(context, code, text);
}

static void *race_cancel(void *context)
{
	struct race *race = context;

	pthread_mutex_lock(&race->lock);
	if (race->call)
		rpc_client_call_cancel(race->call);
	pthread_mutex_unlock(&race->lock);
	return NULL;
}

static void race_once(struct pair *pair, bool streaming, struct race *race)
{
	static const struct rpc_stream_handlers handlers = { .on_message = race_message,
		                                             .on_end = race_end };
	struct rpc_buffer buffer = text_buffer("x");
	pthread_t canceller;

	outcome_init(&race->outcome);
	pthread_mutex_init(&race->lock, NULL);
	race->call = create(pair, streaming ? "/test.T/Chat" : "/test.T/Echo");
	race->ended = 0;
	assert_int_equal(pthread_create(&canceller, NULL, race_cancel, race), 0);
	if (streaming)
		rpc_stream_begin(race->call, &buffer, &handlers, race);
	else
		rpc_unary_begin(race->call, false, &buffer, race_done, race);
	outcome_wait(&race->outcome, &race->outcome.ended, 1);
	pthread_join(canceller, NULL);
	assert_true(race->outcome.code == RPC_OK || race->outcome.code == RPC_CANCELLED);
	assert_int_equal(race->ended, 1);
	pthread_mutex_destroy(&race->lock);
	outcome_destroy(&race->outcome);
}

static void cancelling_races_with_beginning_and_ending(void **state)
{
	struct race race;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	for (int i = 0; i < 400; i++)
		race_once(&pair, i % 2 == 0, &race);
	assert_answers(pair.channel);
	pair_stop(&pair);
}

/* --- a server that is late --- */

static atomic_uint shown;

/* Keeps the server's only thread until the test has looked. */
static void block(struct rpc_call *call, const uint8_t *data, size_t size)
{
	(void)data;
	(void)size;
	pthread_mutex_lock(&seen.lock);
	seen.held++;
	pthread_cond_broadcast(&seen.changed);
	while (seen.held < 2)
		pthread_cond_wait(&seen.changed, &seen.lock);
	pthread_mutex_unlock(&seen.lock);
	rpc_finish(call, RPC_UNKNOWN, NULL, NULL);
}

static void show(struct rpc_call *call, const uint8_t *data, size_t size)
{
	atomic_fetch_add(&shown, 1);
	echo(call, data, size);
}

static void ignore_cancel(struct rpc_call *call)
{
	(void)call;
}

static void a_call_whose_deadline_passes_before_its_turn_is_not_shown(void **state)
{
	static const struct rpc_method slow[] = {
		{ .path = "/test.T/Block", .on_message = block },
		{ .path = "/test.T/Echo", .on_message = show, .on_cancel = ignore_cancel },
	};
	const struct rpc_server_options options = {
		.address = "127.0.0.1:0", .methods = slow, .method_count = 2, .threads = 1
	};
	struct rpc_buffer first = text_buffer(""), second = text_buffer("");
	struct outcome blocked, late;
	struct pair pair;

	(void)state;
	pair_start(&pair, &options);
	assert_answers(pair.channel);
	outcome_init(&blocked);
	outcome_init(&late);
	rpc_unary(pair.channel, "/test.T/Block", CLOCK_NEVER, false, &first, outcome_done,
	          &blocked);
	wait_seen(&seen.held, 1);
	rpc_unary(pair.channel, "/test.T/Echo", clock_after_ms(100), false, &second, outcome_done,
	          &late);
	outcome_wait(&late, &late.ended, 1);
	assert_int_equal(late.code, RPC_DEADLINE_EXCEEDED);
	/* The server's deadline is later by as long as the call took to arrive, and it tells nobody
	 * when it has passed. */
	(void)nanosleep(&(struct timespec){ 0, 500000000 }, NULL);
	pthread_mutex_lock(&seen.lock);
	seen.held++;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
	outcome_wait(&blocked, &blocked.ended, 1);
	assert_answers(pair.channel); /* behind the late one */
	assert_int_equal(atomic_load(&shown), 2);
	outcome_destroy(&blocked);
	outcome_destroy(&late);
	pair_stop(&pair);
}

/* --- clients that fall silent --- */

static void a_stream_whose_client_says_nothing_more_ends(void **state)
{
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	for (unsigned messages = 0; messages < 2; messages++) {
		struct rpc_client_call *stream = rpc_client_call_create(
			pair.channel, "/test.T/ImpatientChat", clock_after_ms(20000));
		struct rpc_buffer buffer = { 0 };
		struct outcome out;

		assert_non_null(stream);
		outcome_init(&out);
		if (messages > 0)
			buffer = text_buffer("x");
		/* Once it has begun it may be over. */
		rpc_stream_begin(stream, messages > 0 ? &buffer : NULL, &outcome_handlers, &out);
		outcome_wait(&out, &out.ended, 1);
		assert_int_equal(out.code, RPC_DEADLINE_EXCEEDED);
		assert_non_null(strstr(out.text, "nothing has come of this stream for 0.05 s"));
		wait_seen(&seen.cancelled_ends, messages + 1);
		outcome_destroy(&out);
	}
	assert_answers(pair.channel);
	pair_stop(&pair);
}

/* Its client is never asked for anything until the other stream, which began later, is over. */
static void a_stream_that_the_server_keeps_waiting_goes_on(void **state)
{
	struct rpc_buffer buffer = text_buffer("x");
	struct rpc_client_call *stream;
	struct outcome patient, silent;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	stream = open_stream(pair.channel, "/test.T/ImpatientHold", &patient);
	rpc_stream_send(stream, &buffer);
	wait_seen(&seen.held, 1);
	(void)open_stream(pair.channel, "/test.T/ImpatientHold", &silent);
	outcome_wait(&silent, &silent.ended, 1);
	assert_int_equal(silent.code, RPC_DEADLINE_EXCEEDED);
	assert_int_equal(outcome_ended(&patient), 0);
	answer_held();
	outcome_wait(&patient, &patient.ended, 1);
	assert_int_equal(patient.code, RPC_OK);
	outcome_destroy(&patient);
	outcome_destroy(&silent);
	pair_stop(&pair);
}

/* Reads nothing, so that messages stay with the server once the stream's window is full. */
static grpc_call *open_unread(grpc_channel *channel, grpc_completion_queue *queue)
{
	const uint32_t endless = UINT32_MAX;
	grpc_slice slice = grpc_slice_from_copied_buffer((const char *)&endless, sizeof(endless));
	grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_op ops[] = {
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message },
	};
	gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
	grpc_call *call = grpc_channel_create_call(
		channel, NULL, 0, queue, grpc_slice_from_static_string("/test.T/ImpatientFlood"),
		NULL, never, NULL);

	assert_int_equal(grpc_call_start_batch(call, ops, 2, NULL, NULL), GRPC_CALL_OK);
	(void)grpc_completion_queue_next(queue, never, NULL);
	grpc_byte_buffer_destroy(message);
	grpc_slice_unref(slice);
	return call;
}

static void a_stream_whose_client_reads_nothing_more_ends(void **state)
{
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
	gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
	grpc_channel *channel;
	grpc_call *unread;
	struct pair pair;

	(void)state;
	start_on(&pair, "127.0.0.1:0");
	channel = grpc_channel_create(rpc_server_address(pair.server), credentials, NULL);
	unread = open_unread(channel, queue);
	wait_seen(&seen.cancelled_ends, 1);
	grpc_call_unref(unread);
	grpc_channel_destroy(channel);
	grpc_channel_credentials_release(credentials);
	grpc_completion_queue_shutdown(queue);
	while (grpc_completion_queue_next(queue, never, NULL).type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(queue);
	assert_answers(pair.channel);
	pair_stop(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_deadline_reaches_both_ends),
		TEST(a_passed_deadline_fails_at_once),
		TEST(closing_a_channel_cancels_its_calls),
		TEST(a_cancelled_stream_ends_at_both_ends),
		TEST(a_cancelled_call_ends_at_both_ends),
		TEST(a_call_cancelled_before_it_is_begun_does_not_reach_the_server),
		TEST(a_stream_may_begin_with_its_first_message),
		TEST(cancelling_races_with_beginning_and_ending),
		TEST(a_call_whose_deadline_passes_before_its_turn_is_not_shown),
		TEST(a_stream_whose_client_says_nothing_more_ends),
		TEST(a_stream_that_the_server_keeps_waiting_goes_on),
		TEST(a_stream_whose_client_reads_nothing_more_ends),
	};

	return cmocka_run_group_tests(tests, make_socket_path, NULL);
}
