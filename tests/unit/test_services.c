/* Health and reflection, as a client sees them. Their few messages are written here byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "rpc/health.h"
#include "rpc/reflection.h"
#include "rpc_test.h"

#define CHECK   "/grpc.health.v1.Health/Check"
#define WATCH   "/grpc.health.v1.Health/Watch"
#define REFLECT "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

/* HealthCheckResponse.status */
enum { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

static atomic_bool ready, known;

/* "" and "a" serve while `ready`; "b" is only there while `known`. */
static enum rpc_health_state ask(void *context, const char *service)
{
	assert_ptr_equal(context, &ready);
	if (strcmp(service, "b") == 0)
		return atomic_load(&known) ? RPC_HEALTH_SERVING : RPC_HEALTH_UNKNOWN;
	if (strcmp(service, "a") != 0 && strcmp(service, "") != 0)
		return RPC_HEALTH_UNKNOWN;
	return atomic_load(&ready) ? RPC_HEALTH_SERVING : RPC_HEALTH_NOT_SERVING;
}

struct fixture {
	struct rpc_health *health;
	struct rpc_service services[2];
	struct pair pair;
};

static int start(void **state)
{
	static struct fixture fixture;
	struct rpc_server_options options = { .address = "127.0.0.1:0",
		                              .services = fixture.services,
		                              .service_count = 2,
		                              .threads = 2 };

	atomic_store(&ready, true);
	atomic_store(&known, false);
	assert_int_equal(rpc_health_create(ask, &ready, &fixture.health), SIMPLER_OK);
	fixture.services[0] = rpc_health_service(fixture.health);
	fixture.services[1] = rpc_reflection_service();
	pair_start(&fixture.pair, &options);
	*state = &fixture;
	return 0;
}

static int stop(void **state)
{
	struct fixture *fixture = *state;

	pair_stop(&fixture->pair);
	rpc_health_destroy(fixture->health);
	return 0;
}

/* A message with `text` as its string field `number`. */
static struct rpc_buffer string_field(unsigned number, const char *text)
{
	size_t size = strlen(text);
	struct rpc_buffer buffer;

	assert_true(size < 128);
	assert_int_equal(rpc_buffer_alloc(&buffer, size + 2), SIMPLER_OK);
	buffer.data[0] = (uint8_t)(number << 3 | 2);
	buffer.data[1] = (uint8_t)size;
	for (size_t i = 0; i < size; i++)
		buffer.data[i + 2] = (uint8_t)text[i];
	return buffer;
}

/* --- health --- */

static void call(struct fixture *fixture, const char *path, struct rpc_buffer message,
                 struct outcome *out)
{
	outcome_init(out);
	rpc_unary(fixture->pair.channel, path, clock_after_ms(10000), false, &message, outcome_done,
	          out);
	outcome_wait(out, &out->ended, 1);
}

static void assert_status(struct outcome *out, uint8_t status)
{
	const uint8_t expected[] = { 0x08, status };

	pthread_mutex_lock(&out->lock);
	assert_int_equal(out->size, sizeof(expected));
	assert_memory_equal(out->data, expected, sizeof(expected));
	pthread_mutex_unlock(&out->lock);
}

static void check_tells_the_state(void **state)
{
	static const struct {
		const char *service;
		bool ready;
		enum rpc_code code;
		uint8_t status;
	} cases[] = {
		{ "", true, RPC_OK, SERVING },
		{ "a", true, RPC_OK, SERVING },
		{ "a", false, RPC_OK, NOT_SERVING },
		{ "nobody", true, RPC_NOT_FOUND, 0 },
	};
	struct outcome out;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		atomic_store(&ready, cases[i].ready);
		call(*state, CHECK, string_field(1, cases[i].service), &out);
		assert_int_equal(out.code, cases[i].code);
		if (out.code == RPC_OK)
			assert_status(&out, cases[i].status);
		outcome_destroy(&out);
	}
	call(*state, CHECK, bytes_buffer("\x0a\x7f", 2), &out);
	assert_int_equal(out.code, RPC_INVALID_ARGUMENT);
	outcome_destroy(&out);
}

static struct rpc_client_call *watch(struct fixture *fixture, const char *service,
                                     struct outcome *out)
{
	struct rpc_buffer message = string_field(1, service);
	struct rpc_client_call *stream;

	outcome_init(out);
	stream = stream_open(fixture->pair.channel, WATCH, CLOCK_NEVER, &outcome_handlers, out);
	rpc_stream_send(stream, &message);
	return stream;
}

static void watch_tells_every_change(void **state)
{
	struct fixture *fixture = *state;
	struct rpc_client_call *stream;
	struct outcome out;

	stream = watch(fixture, "a", &out);
	outcome_wait(&out, &out.messages, 1);
	assert_status(&out, SERVING);
	for (unsigned i = 2; i < 20; i++) {
		atomic_store(&ready, i % 2 != 0);
		rpc_health_changed(fixture->health);
		rpc_health_changed(fixture->health);
		outcome_wait(&out, &out.messages, i);
		assert_status(&out, i % 2 != 0 ? SERVING : NOT_SERVING);
	}
	rpc_client_call_cancel(stream);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_CANCELLED);
	assert_int_equal(out.messages, 19);
	outcome_destroy(&out);
}

static void a_watched_service_may_appear(void **state)
{
	struct fixture *fixture = *state;
	struct outcome out;

	watch(fixture, "b", &out);
	outcome_wait(&out, &out.messages, 1);
	assert_status(&out, SERVICE_UNKNOWN);
	atomic_store(&known, true);
	rpc_health_changed(fixture->health);
	outcome_wait(&out, &out.messages, 2);
	assert_status(&out, SERVING);
	rpc_health_close(fixture->health);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_UNAVAILABLE);
	outcome_destroy(&out);
}

static void closing_ends_watchers_and_takes_no_more(void **state)
{
	struct fixture *fixture = *state;
	enum { WATCHERS = 20 };
	struct outcome out[WATCHERS], late;
	struct rpc_client_call *streams[WATCHERS];

	for (unsigned i = 0; i < WATCHERS; i++)
		streams[i] = watch(fixture, i % 2 ? "a" : "b", &out[i]);
	for (unsigned i = 0; i < WATCHERS; i++)
		outcome_wait(&out[i], &out[i].messages, 1);
	/* Cancelling and closing at once: each call is answered once. */
	for (unsigned i = 0; i < WATCHERS; i += 3)
		rpc_client_call_cancel(streams[i]);
	rpc_health_close(fixture->health);
	for (unsigned i = 0; i < WATCHERS; i++) {
		outcome_wait(&out[i], &out[i].ended, 1);
		outcome_destroy(&out[i]);
	}
	watch(fixture, "a", &late);
	outcome_wait(&late, &late.ended, 1);
	assert_int_equal(late.code, RPC_UNAVAILABLE);
	outcome_destroy(&late);
}

static void a_watch_of_nonsense_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct rpc_buffer message = bytes_buffer("\x0a\x7f", 2);
	struct rpc_client_call *stream;
	struct outcome out;

	outcome_init(&out);
	stream = stream_open(fixture->pair.channel, WATCH, CLOCK_NEVER, &outcome_handlers, &out);
	rpc_stream_send(stream, &message);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_INVALID_ARGUMENT);
	outcome_destroy(&out);
}

/* --- reflection --- */

static bool holds(const struct outcome *out, const char *text)
{
	size_t size = strlen(text);

	for (size_t i = 0; i + size <= out->size; i++) {
		if (memcmp(out->data + i, text, size) == 0)
			return true;
	}
	return false;
}

/* ServerReflectionRequest's and ServerReflectionResponse's fields. */
enum { BY_FILENAME = 3, BY_SYMBOL = 4, EXTENSION_NUMBERS = 6, LIST = 7 };
enum { FILE_ANSWER = 4 << 3 | 2, LIST_ANSWER = 6 << 3 | 2, ERROR_ANSWER = 7 << 3 | 2 };

/* The field of the answer that comes behind the copy of the request. */
static uint8_t kind_of(const struct outcome *out)
{
	assert_true(out->size > 2);
	assert_int_equal(out->data[0], 2 << 3 | 2); /* original_request */
	assert_true(out->data[1] < 0x80);
	assert_true(out->size > 2u + out->data[1]);
	return out->data[2 + out->data[1]];
}

static void reflection_answers(void **state)
{
	static const struct {
		unsigned field;
		const char *text;
		uint8_t kind;
		const char *holds;
	} cases[] = {
		{ LIST, "", LIST_ANSWER, "simpler.distributed.v1.L3Worker" },
		{ LIST, "", LIST_ANSWER, "simpler.distributed.v1.Catalog" },
		{ LIST, "", LIST_ANSWER, "simpler.distributed.v1.TensorPool" },
		{ LIST, "", LIST_ANSWER, "grpc.health.v1.Health" },
		{ LIST, "*", LIST_ANSWER, "grpc.reflection.v1alpha.ServerReflection" },
		{ BY_FILENAME, "simpler_distributed_v1.proto", FILE_ANSWER, "DispatchReq" },
		{ BY_FILENAME, "grpc/health/v1/health.proto", FILE_ANSWER, "HealthCheckRequest" },
		{ BY_FILENAME, "nothing.proto", ERROR_ANSWER, "nothing of that name" },
		{ BY_SYMBOL, "simpler.distributed.v1.L3Worker", FILE_ANSWER, "DispatchReq" },
		{ BY_SYMBOL, "simpler.distributed.v1.L3Worker.Dispatch", FILE_ANSWER, "Heartbeat" },
		{ BY_SYMBOL, "simpler.distributed.v1.TensorHandle", FILE_ANSWER, "remote_addr" },
		{ BY_SYMBOL, "grpc.health.v1.HealthCheckResponse.ServingStatus", FILE_ANSWER,
		  "NOT_SERVING" },
		{ BY_SYMBOL, "grpc.reflection.v1alpha.ErrorResponse", FILE_ANSWER, "error_code" },
		{ BY_SYMBOL, "simpler.distributed.v1.L3Worker.Nothing", ERROR_ANSWER, "nothing" },
		{ BY_SYMBOL, "simpler.distributed.v1.TensorHandl", ERROR_ANSWER, "nothing" },
		{ BY_SYMBOL, "simpler.distributed.v1.TensorHandles", ERROR_ANSWER, "nothing" },
		{ BY_SYMBOL, "simpler.distributed.v1", ERROR_ANSWER, "nothing" },
		{ BY_SYMBOL, "", ERROR_ANSWER, "nothing" },
		{ EXTENSION_NUMBERS, "simpler.distributed.v1.Empty", ERROR_ANSWER, "extensions" },
	};
	const unsigned count = sizeof(cases) / sizeof(cases[0]);
	struct fixture *fixture = *state;
	struct rpc_client_call *stream;
	struct outcome out;

	outcome_init(&out);
	stream = stream_open(fixture->pair.channel, REFLECT, CLOCK_NEVER, &outcome_handlers, &out);
	for (unsigned i = 0; i < count; i++) {
		struct rpc_buffer message = string_field(cases[i].field, cases[i].text);

		rpc_stream_send(stream, &message);
		outcome_wait(&out, &out.messages, i + 1);
		outcome_wait(&out, &out.sent, i + 1);
		assert_int_equal(kind_of(&out), cases[i].kind);
		assert_true(holds(&out, cases[i].holds));
	}
	rpc_stream_close_send(stream);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_OK);
	outcome_destroy(&out);
}

static void nonsense_ends_a_reflection(void **state)
{
	struct fixture *fixture = *state;
	struct rpc_buffer message = bytes_buffer("\x1a\x7f", 2);
	struct rpc_client_call *stream;
	struct outcome out;

	outcome_init(&out);
	stream = stream_open(fixture->pair.channel, REFLECT, CLOCK_NEVER, &outcome_handlers, &out);
	rpc_stream_send(stream, &message);
	outcome_wait(&out, &out.ended, 1);
	assert_int_equal(out.code, RPC_INVALID_ARGUMENT);
	outcome_destroy(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(check_tells_the_state),          TEST(watch_tells_every_change),
		TEST(a_watched_service_may_appear),   TEST(closing_ends_watchers_and_takes_no_more),
		TEST(a_watch_of_nonsense_is_refused), TEST(reflection_answers),
		TEST(nonsense_ends_a_reflection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
