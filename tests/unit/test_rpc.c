/* Calls between a server and a client of ours. */
#include "rpc_service.h"

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

static void a_session_is_told_with_every_call_of_its_channel(void **state)
{
	static const struct {
		uint64_t session;
		const char *told;
	} cases[] = { { 0, "0" }, { 1, "1" }, { UINT64_MAX, "ffffffffffffffff" } };
	struct outcome out;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pair pair;

		start_on(&pair, "127.0.0.1:0");
		if (cases[i].session != 0)
			rpc_channel_set_session(pair.channel, cases[i].session);
		for (int j = 0; j < 3; j++) {
			call(pair.channel, "/test.T/Session", "", &out);
			assert_int_equal(out.size, strlen(cases[i].told));
			assert_memory_equal(out.data, cases[i].told, out.size);
			outcome_destroy(&out);
		}
		pair_stop(&pair);
	}
}

/* --- streams --- */

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
	static const struct rpc_stream_handlers handlers = { .on_message = ordered_message,
		                                             .on_end = outcome_end };
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
	static const struct rpc_stream_handlers handlers = { .on_message = lively_message,
		                                             .on_sent = lively_sent,
		                                             .on_end = lively_end };
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
		SIMPLER_EUNSUPPORTED, SIMPLER_EPROTOCOL, SIMPLER_EUSER,     SIMPLER_ESYSTEM,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(survive) / sizeof(survive[0]); i++)
		assert_int_equal(rpc_status_of(rpc_code_of(survive[i])), survive[i]);
	/* What is called a bug is one of this process. */
	assert_int_equal(rpc_status_of(rpc_code_of(SIMPLER_EINTERNAL)), SIMPLER_ESYSTEM);
	for (int status = 1; status <= SIMPLER_EINTERNAL; status++)
		assert_int_not_equal(rpc_code_of((simpler_status)status), RPC_OK);
	assert_int_equal(rpc_code_of(SIMPLER_USER_STATUS), RPC_UNKNOWN);
	assert_int_equal(rpc_status_of((enum rpc_code)99), SIMPLER_EPROTOCOL);
	assert_string_equal(rpc_code_name(RPC_NOT_FOUND), "NOT_FOUND");
	assert_string_equal(rpc_code_name(RPC_UNAUTHENTICATED), "UNAUTHENTICATED");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(echoes_on_every_kind_of_address),
		TEST(messages_of_any_size_come_back),
		TEST(statuses_and_texts_arrive),
		TEST(waiting_raises_what_the_server_says),
		TEST(a_session_is_told_with_every_call_of_its_channel),
		TEST(unknown_methods_are_unimplemented_by_name),
		TEST(a_stream_echoes_until_half_closed),
		TEST(a_stream_may_be_empty),
		TEST(a_flood_comes_whole_and_in_order),
		TEST(a_stream_to_nobody_is_unavailable),
		TEST(many_calls_at_once),
		TEST(statuses_survive_the_trip),
	};

	return cmocka_run_group_tests(tests, make_socket_path, NULL);
}
