/*
 * Tensors over a fabric, by the provider tcp on loopback addresses: what goes by it, who may, and
 * what becomes of it when the other side dies, stops, or is cut off.
 *
 * With the argument "cut", in a network namespace of its own (tests/e2e/cut_fabric), the tests that
 * take the fabric's link away and leave that of gRPC alone, or count its connections. With "none",
 * where libfabric has neither of the providers (tests/e2e/no_fabric), those of doing without. With
 * "short", where no memory can be registered any more (src/base/inject.h), those of tensors that a
 * fabric does not reach.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cut.h"
#include "daemon.h"
#include "fabric/fabric.h"
#include "log_lines.h"
#include "simpler/simpler.h"
#include "statuses.h"
#include "test_modules.h"

#define MIB         ((size_t)1 << 20)
#define NODE_FABRIC "127.0.0.77"

struct fixture {
	struct daemon node;
	simpler_worker *worker;
	simpler_orch_fn shift;
};

static void connect(struct fixture *fixture, simpler_fabric fabric, unsigned heartbeat_failures)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_module *module;

	options.fabric = fabric;
	options.heartbeat_failures = heartbeat_failures;
	assert_ok(simpler_worker_create(&options, &fixture->worker));
	assert_ok(simpler_worker_add_remote(fixture->worker, fixture->node.address, NULL));
	assert_ok(
		simpler_module_load(fixture->worker, TEST_MODULES_DIR "/remote_cases.so", &module));
	assert_ok(simpler_worker_init(fixture->worker));
	assert_ok(simpler_module_orch_fn(module, "shift", simpler_no_state(), &fixture->shift));
}

static void start_node(struct fixture *fixture, const char *provider, const char *listen)
{
	const char *const options[] = { "--listen", listen,   "--sub-workers",    "2",
		                        "--shm",    "off",    "--pool-bytes",     "512M",
		                        "--fabric", provider, "--fabric-address", NODE_FABRIC,
		                        NULL };

	daemon_start(&fixture->node, options);
}

static int set_up_with(void **state, const char *provider, simpler_fabric fabric,
                       unsigned heartbeat_failures)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	start_node(fixture, provider, "127.0.0.1:0");
	connect(fixture, fabric, heartbeat_failures);
	*state = fixture;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, "tcp", SIMPLER_FABRIC_TCP, 3);
}

/* The node is not lost before a fabric gives up. */
static int set_up_patient(void **state)
{
	return set_up_with(state, "tcp", SIMPLER_FABRIC_TCP, 1000);
}

static int set_up_node_without(void **state)
{
	return set_up_with(state, "off", SIMPLER_FABRIC_TCP, 3);
}

static int set_up_program_without(void **state)
{
	return set_up_with(state, "tcp", SIMPLER_FABRIC_OFF, 3);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	simpler_worker_close(fixture->worker);
	(void)daemon_stop(&fixture->node);
	free(fixture);
	return 0;
}

static simpler_traffic traffic_of(const struct fixture *fixture)
{
	simpler_traffic traffic = SIMPLER_TRAFFIC_INIT;

	assert_ok(simpler_worker_traffic(fixture->worker, 0, &traffic));
	return traffic;
}

/* --- a task with one staged tensor --- */

struct one_task {
	simpler_orch_fn fn;
	const simpler_args *args;
	uint64_t timeout_ms;
};

static simpler_status submit_one(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct one_task *task = state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

	(void)args;
	(void)config;
	options.timeout_ms = task->timeout_ms;
	return simpler_submit_next_level(orch, task->fn, task->args, &options, NULL);
}

static simpler_status shift(struct fixture *fixture, int64_t *values, size_t count, simpler_tag tag,
                            simpler_transport transport, uint64_t timeout_ms)
{
	struct one_task task = { .fn = fixture->shift, .timeout_ms = timeout_ms };
	simpler_bytes state = { &task, sizeof(task) };
	simpler_args *args = simpler_args_create();
	simpler_tensor tensor;
	simpler_status status;

	assert_ok(simpler_tensor_init_1d(&tensor, values, SIMPLER_INT64, (int64_t)count));
	assert_ok(simpler_args_add_staged(args, &tensor, tag, transport));
	assert_ok(simpler_args_add_scalar(args, 7));
	task.args = args;
	status = simpler_run(fixture->worker, submit_one, NULL, NULL, state);
	simpler_args_destroy(args);
	return status;
}

/* Counts of int64 around the sizes that matter: pages, pieces, and one of 256 MiB. */
static const size_t counts[] = { 0,           1,       511,         512,         513,
	                         MIB / 8 - 1, MIB / 8, MIB / 8 + 1, 3 * MIB / 8, 32 * MIB };

static void R13_R14_each_tag_moves_by_a_fabric_what_it_should(void **state)
{
	static const struct {
		simpler_tag tag;
		bool goes, comes;
	} tags[] = { { SIMPLER_INPUT, true, false },
		     { SIMPLER_OUTPUT, false, true },
		     { SIMPLER_INOUT, true, true },
		     { SIMPLER_OUTPUT_EXISTING, false, true },
		     { SIMPLER_NO_DEP, true, false } };
	struct fixture *fixture = *state;
	int64_t *values = malloc(counts[9] * 8);

	assert_non_null(values);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (size_t t = 0; t < sizeof(tags) / sizeof(tags[0]); t++) {
			const bool goes = tags[t].goes, comes = tags[t].comes;
			simpler_traffic before = traffic_of(fixture), after;

			for (size_t k = 0; k < counts[i]; k++)
				values[k] = (int64_t)k;
			assert_ok(shift(fixture, values, counts[i], tags[t].tag,
			                SIMPLER_TRANSPORT_FABRIC, 60000));
			for (size_t k = 0; k < counts[i]; k++)
				assert_true(values[k] == (goes ? (int64_t)k : 0) * (goes || comes) +
				                                 (comes ? 7 : 0));
			after = traffic_of(fixture);
			assert_int_equal(after.fabric.sent - before.fabric.sent,
			                 goes ? counts[i] * 8 : 0);
			assert_int_equal(after.fabric.received - before.fabric.received,
			                 comes ? counts[i] * 8 : 0);
			assert_int_equal(after.stream.sent, before.stream.sent);
			assert_int_equal(after.stream.received, before.stream.received);
		}
	}
	free(values);
}

static void auto_takes_it_where_no_memory_is_shared(void **state)
{
	struct fixture *fixture = *state;
	int64_t values[100] = { 0 };
	simpler_status status = SIMPLER_OK;
	struct log_lines log;

	log_lines_begin(&log);
	simpler_log_set_level(SIMPLER_LOG_INFO);
	for (int i = 0; i < 3 && status == SIMPLER_OK; i++)
		status = shift(fixture, values, 100, SIMPLER_INOUT, SIMPLER_TRANSPORT_AUTO, 60000);
	simpler_log_set_level(SIMPLER_LOG_WARN);
	log_lines_end(&log);
	assert_ok(status);
	assert_int_equal(values[99], 21);
	assert_int_equal(traffic_of(fixture).fabric.sent, 3 * sizeof(values));
	assert_int_equal(traffic_of(fixture).fabric.received, 3 * sizeof(values));
	assert_int_equal(traffic_of(fixture).fabric_fallbacks, 0);
	assert_int_equal(log_lines_count(&log, "by the transport 'fabric', which 'auto' chose: it "
	                                       "shares no memory with this process"),
	                 1);
	log_lines_release(&log);
}

static void one_that_is_named_and_not_there_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	int64_t values[10] = { 0 };

	assert_fails(shift(fixture, values, 10, SIMPLER_INOUT, SIMPLER_TRANSPORT_FABRIC, 60000),
	             SIMPLER_EUNAVAILABLE, "'fabric' was named");
	assert_ok(shift(fixture, values, 10, SIMPLER_INOUT, SIMPLER_TRANSPORT_AUTO, 60000));
	assert_int_equal(values[9], 7);
	assert_int_equal(traffic_of(fixture).fabric.sent, 0);
}

static void an_address_that_is_not_here_is_told(void **state)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_worker *worker;

	(void)state;
	options.fabric = SIMPLER_FABRIC_TCP;
	options.fabric_address = "203.0.113.7";
	assert_fails(simpler_worker_create(&options, &worker), SIMPLER_EUNAVAILABLE,
	             "cannot be bound to 203.0.113.7");
	options.fabric_address = "0.0.0.0";
	assert_fails(simpler_worker_create(&options, &worker), SIMPLER_EINVAL, "0.0.0.0");
	options.fabric = (simpler_fabric)9;
	assert_fails(simpler_worker_create(&options, &worker), SIMPLER_EINVAL, "simpler_fabric");
}

/* --- where there is no provider --- */

static int set_up_unprovided(void **state)
{
	return set_up_with(state, "auto", SIMPLER_FABRIC_AUTO, 3);
}

static void a_provider_that_is_named_and_not_there_is_an_error(void **state)
{
	static const simpler_fabric named[] = { SIMPLER_FABRIC_TCP, SIMPLER_FABRIC_VERBS };
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_worker *worker;

	(void)state;
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		options.fabric = named[i];
		assert_fails(simpler_worker_create(&options, &worker), SIMPLER_EUNAVAILABLE,
		             "libfabric has no provider");
	}
}

/* --- where no memory can be registered --- */

static void a_tensor_that_cannot_be_registered_goes_by_the_stream(void **state)
{
	struct fixture *fixture = *state;
	int64_t values[1000] = { 0 };

	assert_ok(shift(fixture, values, 1000, SIMPLER_INOUT, SIMPLER_TRANSPORT_AUTO, 60000));
	assert_int_equal(values[999], 7);
	assert_int_equal(traffic_of(fixture).fabric.sent, 0);
	assert_int_equal(traffic_of(fixture).stream.sent, sizeof(values));
	assert_int_equal(traffic_of(fixture).stream.received, sizeof(values));
	/* Nothing had failed: it was not tried. */
	assert_int_equal(traffic_of(fixture).fabric_fallbacks, 0);
	assert_fails(shift(fixture, values, 1000, SIMPLER_INOUT, SIMPLER_TRANSPORT_FABRIC, 60000),
	             SIMPLER_EUNAVAILABLE, "has not registered the tensor");
	assert_int_equal(values[999], 7);
}

/* The second cannot be fetched by the transport that it names. */
static void a_result_that_cannot_be_fetched_tells_which_buffers_are_spoilt(void **state)
{
	struct fixture *fixture = *state;
	struct one_task task = { .fn = fixture->shift, .timeout_ms = 60000 };
	const simpler_bytes bytes = { &task, sizeof(task) };
	simpler_args *args = simpler_args_create();
	int64_t values[3][100];
	simpler_tensor tensor;
	simpler_status status;

	for (size_t i = 0; i < 3; i++) {
		for (size_t k = 0; k < 100; k++)
			values[i][k] = 5;
		assert_ok(simpler_tensor_init_1d(&tensor, values[i], SIMPLER_INT64, 100));
		assert_ok(i == 0 ? simpler_args_add_tensor(args, &tensor, SIMPLER_INOUT,
		                                           SIMPLER_INLINE)
		                 : simpler_args_add_staged(args, &tensor, SIMPLER_OUTPUT,
		                                           i == 1 ? SIMPLER_TRANSPORT_STREAM
		                                                  : SIMPLER_TRANSPORT_FABRIC));
	}
	assert_ok(simpler_args_add_scalar(args, 7));
	task.args = args;
	status = simpler_run(fixture->worker, submit_one, NULL, NULL, bytes);
	assert_fails(status, SIMPLER_EUNAVAILABLE, "has not registered the tensor");
	assert_fails(status, SIMPLER_EUNAVAILABLE,
	             "1 of 3 output buffers may be half-written: tensor 1");
	for (size_t k = 0; k < 100; k++) {
		assert_int_equal(values[0][k], 5);
		assert_int_equal(values[1][k], 0);
		assert_int_equal(values[2][k], 5);
	}
	simpler_args_destroy(args);
}

/* --- failure --- */

#define LARGE (64 * MIB)

struct writing {
	struct fixture *fixture;
	simpler_tensor_handle handle;
	uint8_t *bytes;
	simpler_tensor local;
};

static void begin_writing(struct writing *writing, struct fixture *fixture)
{
	const int64_t size = (int64_t)LARGE;

	writing->fixture = fixture;
	writing->bytes = calloc(1, LARGE);
	assert_non_null(writing->bytes);
	assert_ok(simpler_tensor_init_1d(&writing->local, writing->bytes, SIMPLER_UINT8, size));
	assert_ok(simpler_tensor_alloc(fixture->worker, 0, SIMPLER_UINT8, 1, &size, NULL,
	                               &writing->handle));
}

static simpler_status write_until_it_fails(struct writing *writing, int signal_number,
                                           uint64_t timeout_ms, int64_t *took)
{
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_status status = SIMPLER_OK;
	int64_t begun = 0;

	options.transport = SIMPLER_TRANSPORT_FABRIC;
	options.timeout_ms = timeout_ms;
	for (int i = 0; i < 1000 && status == SIMPLER_OK; i++) {
		if (i == 2) {
			(void)kill(writing->fixture->node.pid, signal_number);
			begun = clock_now();
		}
		status = simpler_tensor_write(writing->fixture->worker, writing->handle, NULL,
		                              &writing->local, &options);
	}
	*took = clock_now() - begun;
	return status;
}

static void a_node_that_is_killed_ends_a_write(void **state)
{
	struct writing writing;
	simpler_status status;
	int64_t took;

	begin_writing(&writing, *state);
	status = write_until_it_fails(&writing, SIGKILL, 8000, &took);
	assert_int_equal(status, SIMPLER_EUNAVAILABLE);
	assert_true(took < 8000 * CLOCK_MS);
	free(writing.bytes);
}

static void a_node_that_is_started_anew_is_reached_by_the_fabric_again(void **state)
{
	struct fixture *fixture = *state;
	char address[sizeof(fixture->node.address)];
	int64_t values[1000] = { 0 }, until = clock_after_ms(60000);
	simpler_status status;
	uint64_t before;

	assert_ok(shift(fixture, values, 1000, SIMPLER_INOUT, SIMPLER_TRANSPORT_FABRIC, 60000));
	before = traffic_of(fixture).fabric.sent;
	memcpy(address, fixture->node.address, sizeof(address));
	assert_int_equal(daemon_stop(&fixture->node), 0);
	start_node(fixture, "tcp", address);
	do { /* until the node has been told the function */
		memset(values, 0, sizeof(values));
		status = shift(fixture, values, 1000, SIMPLER_INOUT, SIMPLER_TRANSPORT_FABRIC,
		               60000);
	} while (status == SIMPLER_EUNAVAILABLE && clock_now() < until);
	assert_ok(status);
	assert_int_equal(values[999], 7);
	assert_ok(shift(fixture, values, 1000, SIMPLER_INOUT, SIMPLER_TRANSPORT_AUTO, 60000));
	assert_int_equal(values[999], 14);
	assert_int_equal(traffic_of(fixture).fabric.sent, before + 2 * sizeof(values));
	assert_int_equal(traffic_of(fixture).stream.sent, 0);
}

static void a_node_that_stops_ends_a_write_at_its_deadline(void **state)
{
	struct fixture *fixture = *state;
	struct writing writing;
	int64_t took;

	begin_writing(&writing, fixture);
	assert_int_equal(write_until_it_fails(&writing, SIGSTOP, 1000, &took), SIMPLER_EDEADLINE);
	assert_true(took < 2000 * CLOCK_MS);
	/* It has let go of the program's memory. */
	memset(writing.bytes, 1, LARGE);
	(void)kill(fixture->node.pid, SIGCONT);
	/* And is used again, by another connection. */
	assert_ok(
		simpler_tensor_write(fixture->worker, writing.handle, NULL, &writing.local, NULL));
	assert_true(traffic_of(fixture).fabric.sent >= 2 * LARGE);
	free(writing.bytes);
}

/* --- the link --- */

/* To the node's fabric, from either side, closed ones among them; of this namespace alone. */
static unsigned count_connections(void)
{
	FILE *file = fopen("/proc/self/net/tcp", "r");
	char line[256];
	unsigned count = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		char *ends = strchr(line, ':'); /* "  sl: LOCAL:PORT REMOTE:PORT STATE ..." */

		count += ends && strstr(ends, "4D00007F:") != NULL; /* NODE_FABRIC */
	}
	(void)fclose(file);
	return count;
}

static void tensors_share_the_connection_that_is_there(void **state)
{
	struct fixture *fixture = *state;
	int64_t values[1000] = { 0 };
	unsigned before;

	assert_ok(shift(fixture, values, 1000, SIMPLER_INOUT, SIMPLER_TRANSPORT_FABRIC, 60000));
	before = count_connections();
	assert_true(before > 0);
	for (size_t i = 0; i < 50; i++)
		assert_ok(shift(fixture, values, 20 * i + 1, SIMPLER_INOUT,
		                SIMPLER_TRANSPORT_FABRIC, 60000));
	assert_int_equal(count_connections(), before);
}

static void a_link_that_is_down_ends_what_named_it_at_the_deadline(void **state)
{
	struct fixture *fixture = *state;
	int64_t values[1000] = { 0 }, begun;

	assert_ok(shift(fixture, values, 1000, SIMPLER_INOUT, SIMPLER_TRANSPORT_FABRIC, 60000));
	cut_link(NODE_FABRIC);
	begun = clock_now();
	assert_fails(shift(fixture, values, 1000, SIMPLER_INOUT, SIMPLER_TRANSPORT_FABRIC, 1500),
	             SIMPLER_EDEADLINE, "");
	assert_true(clock_now() - begun < 3000 * CLOCK_MS);
	/* Without a deadline, when nothing has been heard for a while. */
	begun = clock_now();
	assert_fails(shift(fixture, values, 1000, SIMPLER_INOUT, SIMPLER_TRANSPORT_FABRIC, 600000),
	             SIMPLER_EUNAVAILABLE, "fabric");
	assert_true(clock_now() - begun < 4 * FABRIC_STALL_MS * CLOCK_MS);
	cut_mend();
	assert_ok(shift(fixture, values, 1000, SIMPLER_INOUT, SIMPLER_TRANSPORT_FABRIC, 60000));
	assert_int_equal(values[0], 14);
}

static void a_link_that_is_down_has_auto_go_by_the_stream(void **state)
{
	struct fixture *fixture = *state;
	int64_t *values = calloc(MIB, 8), expected = 14;
	struct log_lines log;
	simpler_traffic after;
	simpler_status status;

	assert_non_null(values);
	assert_ok(shift(fixture, values, MIB, SIMPLER_INOUT, SIMPLER_TRANSPORT_AUTO, 60000));
	assert_int_equal(traffic_of(fixture).stream.sent, 0);
	cut_link(NODE_FABRIC);
	log_lines_begin(&log);
	status = shift(fixture, values, MIB, SIMPLER_INOUT, SIMPLER_TRANSPORT_AUTO, 60000);
	after = traffic_of(fixture);
	/* It is tried again after a while, and told no more. */
	while (status == SIMPLER_OK && traffic_of(fixture).fabric_fallbacks < 2) {
		status = shift(fixture, values, MIB, SIMPLER_INOUT, SIMPLER_TRANSPORT_AUTO, 60000);
		expected += 7;
	}
	log_lines_end(&log);
	assert_ok(status);
	assert_int_equal(after.stream.sent, MIB * 8);
	/* Of the write, and of the fetch if that came more than the while later. */
	assert_in_range(after.fabric_fallbacks, 1, 2);
	cut_mend();
	for (size_t i = 0; i < MIB; i++)
		assert_int_equal(values[i], expected);
	assert_int_equal(log_lines_count(&log, "and 'auto' goes on by a stream: "), 1);
	log_lines_release(&log);
	free(values);
}

int main(int argc, char **argv)
{
#define WITH(test, how) cmocka_unit_test_setup_teardown(test, how, tear_down)
	const struct CMUnitTest whole[] = {
		WITH(R13_R14_each_tag_moves_by_a_fabric_what_it_should, set_up),
		WITH(auto_takes_it_where_no_memory_is_shared, set_up),
		WITH(one_that_is_named_and_not_there_is_an_error, set_up_node_without),
		WITH(one_that_is_named_and_not_there_is_an_error, set_up_program_without),
		cmocka_unit_test(an_address_that_is_not_here_is_told),
		WITH(a_node_that_is_killed_ends_a_write, set_up),
		WITH(a_node_that_is_started_anew_is_reached_by_the_fabric_again, set_up),
		WITH(a_node_that_stops_ends_a_write_at_its_deadline, set_up_patient),
	};
	const struct CMUnitTest with_cuts[] = {
		WITH(tensors_share_the_connection_that_is_there, set_up),
		WITH(a_link_that_is_down_ends_what_named_it_at_the_deadline, set_up),
		WITH(a_link_that_is_down_has_auto_go_by_the_stream, set_up),
	};
	const struct CMUnitTest without[] = {
		cmocka_unit_test(a_provider_that_is_named_and_not_there_is_an_error),
		WITH(one_that_is_named_and_not_there_is_an_error, set_up_unprovided),
	};
	const struct CMUnitTest shorts[] = {
		WITH(a_tensor_that_cannot_be_registered_goes_by_the_stream, set_up),
		WITH(a_result_that_cannot_be_fetched_tells_which_buffers_are_spoilt, set_up),
	};
	const struct fabric_options options = { FABRIC_TCP, NODE_FABRIC };
	struct fabric *fabric;

	if (argc > 1 && strcmp(argv[1], "none") == 0)
		return cmocka_run_group_tests(without, NULL, NULL);
	if (fabric_open(&options, &fabric) != SIMPLER_OK) {
		(void)fprintf(stderr, "skipped: %s\n", simpler_last_error());
		return 77;
	}
	fabric_close(fabric);
	if (argc > 1 && strcmp(argv[1], "cut") == 0)
		return cmocka_run_group_tests(with_cuts, NULL, NULL);
	if (argc > 1 && strcmp(argv[1], "short") == 0)
		return cmocka_run_group_tests(shorts, NULL, NULL);
	return cmocka_run_group_tests(whole, NULL, NULL);
}
