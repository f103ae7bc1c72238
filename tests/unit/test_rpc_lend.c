/* Messages whose bytes stay where they are: lent to a stream, and looked at in parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/clock.h"
#include "rpc_test.h"

#define BLOCK ((size_t)1 << 20)

static const char path_sink[] = "/test.T/Sink", path_stall[] = "/test.T/Stall";

/* --- a server that adds up what it gets --- */

struct sums {
	uint64_t bytes, sum;
	size_t most_parts;
};

static void sink_open(struct rpc_call *call)
{
	rpc_call_set_state(call, calloc(1, sizeof(struct sums)));
	rpc_receive(call);
}

static void sink_parts(struct rpc_call *call, const struct rpc_part *parts, size_t count)
{
	struct sums *sums = rpc_call_state(call);

	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < parts[i].size; k++)
			sums->sum = sums->sum * 31 + parts[i].data[k];
		sums->bytes += parts[i].size;
	}
	if (count > sums->most_parts)
		sums->most_parts = count;
	rpc_receive(call);
}

static void sink_half_close(struct rpc_call *call)
{
	struct rpc_buffer answer = bytes_buffer(rpc_call_state(call), sizeof(struct sums));

	rpc_finish(call, RPC_OK, NULL, &answer);
}

/* Reads nothing, so that what is sent stays with gRPC at the client. */
static void stall_open(struct rpc_call *call)
{
	(void)call;
}

static void give_up(struct rpc_call *call)
{
	rpc_finish(call, RPC_CANCELLED, NULL, NULL);
}

static void drop_state(struct rpc_call *call, bool cancelled)
{
	(void)cancelled;
	free(rpc_call_state(call));
}

static const struct rpc_method methods[] = {
	{ .path = path_sink,
	  .streaming = true,
	  .on_open = sink_open,
	  .on_parts = sink_parts,
	  .on_half_close = sink_half_close,
	  .on_cancel = give_up,
	  .on_end = drop_state },
	{ .path = path_stall, .streaming = true, .on_open = stall_open, .on_cancel = give_up },
};

static void start(struct pair *pair)
{
	const struct rpc_server_options options = {
		.address = "127.0.0.1:0",
		.methods = methods,
		.method_count = sizeof(methods) / sizeof(methods[0]),
		.threads = 2,
	};

	pair_start(pair, &options);
}

/* --- a client that lends one block again and again --- */

struct lending {
	struct outcome outcome;
	uint8_t *block; /* freed by the end of the call, as its owner may */
	unsigned left;
	struct sums sums;
};

static void lend_next(void *context, struct rpc_client_call *call)
{
	struct lending *lending = context;
	struct rpc_buffer buffer;

	if (lending->left == 0) {
		rpc_stream_close_send(call);
		return;
	}
	lending->left--;
	buffer = text_buffer("head");
	rpc_stream_lend(call, &buffer, lending->block, BLOCK);
	rpc_stream_send(call, &buffer);
}

static void on_sent(void *context, struct rpc_client_call *call)
{
	struct lending *lending = context;

	lend_next(context, call);
	pthread_mutex_lock(&lending->outcome.lock);
	lending->outcome.sent++;
	pthread_cond_broadcast(&lending->outcome.changed);
	pthread_mutex_unlock(&lending->outcome.lock);
}

static void on_parts(void *context, struct rpc_client_call *call, const struct rpc_part *parts,
                     size_t count)
{
	struct lending *lending = context;
	uint8_t *to = (uint8_t *)&lending->sums;

	(void)call;
	for (size_t i = 0; i < count; i++) {
		memcpy(to, parts[i].data, parts[i].size);
		to += parts[i].size;
	}
}

static void on_end(void *context, enum rpc_code code, const char *text)
{
	struct lending *lending = context;

	memset(lending->block, 0xee, BLOCK);
	free(lending->block);
	outcome_end(&lending->outcome, code, text);
}

static struct rpc_client_call *begin(struct pair *pair, const char *path, unsigned blocks,
                                     struct lending *lending)
{
	static const struct rpc_stream_handlers handlers = { .on_sent = on_sent,
		                                             .on_end = on_end,
		                                             .on_parts = on_parts };
	struct rpc_client_call *call =
		rpc_client_call_create(pair->channel, path, clock_after_ms(60000));
	struct rpc_buffer first = text_buffer("head");

	assert_non_null(call);
	outcome_init(&lending->outcome);
	lending->left = blocks - 1;
	lending->block = malloc(BLOCK);
	for (size_t i = 0; i < BLOCK; i++)
		lending->block[i] = (uint8_t)(i * 7);
	rpc_stream_lend(call, &first, lending->block, BLOCK);
	rpc_stream_begin(call, &first, &handlers, lending);
	return call;
}

static void lent_bytes_arrive_behind_their_message_as_they_are(void **state)
{
	uint64_t expected = 0;
	struct lending lending;
	struct pair pair;

	(void)state;
	start(&pair);
	for (unsigned i = 0; i < 8; i++) {
		for (const char *head = "head"; *head; head++)
			expected = expected * 31 + (uint8_t)*head;
		for (size_t k = 0; k < BLOCK; k++)
			expected = expected * 31 + (uint8_t)(k * 7);
	}
	(void)begin(&pair, path_sink, 8, &lending);
	outcome_wait(&lending.outcome, &lending.outcome.ended, 1);
	assert_int_equal(lending.outcome.code, RPC_OK);
	assert_int_equal(lending.sums.bytes, 8 * (BLOCK + 4));
	assert_true(lending.sums.sum == expected);
	assert_true(lending.sums.most_parts > 1);
	outcome_destroy(&lending.outcome);
	pair_stop(&pair);
}

/* Under AddressSanitizer gRPC is caught if it reads them afterwards. */
static void a_cancelled_stream_ends_when_its_lent_bytes_are_free(void **state)
{
	struct pair pair;

	(void)state;
	start(&pair);
	for (unsigned i = 0; i < 50; i++) {
		struct lending lending;
		struct rpc_client_call *call =
			begin(&pair, i % 2 ? path_stall : path_sink, 1000, &lending);

		if (i % 2 == 0 && i % 3) /* what stalls is never sent */
			outcome_wait(&lending.outcome, &lending.outcome.sent, 1);
		rpc_client_call_cancel(call);
		outcome_wait(&lending.outcome, &lending.outcome.ended, 1);
		assert_int_equal(lending.outcome.code, RPC_CANCELLED);
		outcome_destroy(&lending.outcome);
	}
	pair_stop(&pair);
}

static void a_stream_to_nobody_gives_back_what_it_was_lent(void **state)
{
	struct lending lending;
	struct pair pair;

	(void)state;
	start(&pair);
	rpc_server_stop(pair.server, 0);
	(void)begin(&pair, path_sink, 3, &lending);
	outcome_wait(&lending.outcome, &lending.outcome.ended, 1);
	assert_int_equal(lending.outcome.code, RPC_UNAVAILABLE);
	outcome_destroy(&lending.outcome);
	rpc_channel_close(pair.channel);
	rpc_client_destroy(pair.client);
}

static void note(void *context)
{
	++*(unsigned *)context;
}

static void attached_bytes_are_let_go_of_once_when_a_message_is_not_sent(void **state)
{
	struct rpc_buffer buffer = text_buffer("head");
	unsigned count = 0;

	(void)state;
	rpc_buffer_attach(&buffer, "tail", 4, note, &count);
	assert_int_equal(count, 0);
	rpc_buffer_release(&buffer);
	assert_int_equal(count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lent_bytes_arrive_behind_their_message_as_they_are),
		cmocka_unit_test(a_cancelled_stream_ends_when_its_lent_bytes_are_free),
		cmocka_unit_test(a_stream_to_nobody_gives_back_what_it_was_lent),
		cmocka_unit_test(attached_bytes_are_let_go_of_once_when_a_message_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
