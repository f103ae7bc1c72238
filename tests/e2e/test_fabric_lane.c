/*
 * Dispatches by the fabric lane, by the provider tcp on loopback addresses: what goes by it, what
 * it falls back to, and what becomes of it when the other side dies, stops, or is cut off.
 *
 * With the argument "cut", in a network namespace of its own (tests/e2e/cut_fabric), the tests that
 * take the fabric's link away and leave that of gRPC alone.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cut.h"
#include "daemon.h"
#include "fabric/fabric.h"
#include "os/process.h"
#include "simpler/simpler.h"
#include "statuses.h"
#include "test_modules.h"

#define NODE_FABRIC "127.0.0.78"
#define PATIENT_MS  60000u

struct fixture {
	struct daemon node;
	simpler_worker *worker;
	simpler_orch_fn shift;
};

/* --- a node, and a worker with it --- */

static void start_node(struct fixture *fixture, const char *provider, const char *listen)
{
	const char *const options[] = { "--sub-workers",
		                        "2",
		                        "--pool-bytes",
		                        "64M",
		                        "--shm",
		                        "off",
		                        "--fabric",
		                        provider,
		                        "--fabric-address",
		                        NODE_FABRIC,
		                        "--listen",
		                        listen,
		                        NULL };

	daemon_start(&fixture->node, options);
}

static simpler_status connect(struct fixture *fixture, simpler_fabric fabric, simpler_lane lane)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_node_options node = SIMPLER_NODE_OPTIONS_INIT;
	simpler_module *module;

	options.fabric = fabric;
	options.heartbeat_interval_ms = 200;
	/* Else the node would be lost before the lane is. */
	options.heartbeat_failures = 100;
	options.connect_timeout_ms = 20000;
	node.lane = lane;
	assert_ok(simpler_worker_create(&options, &fixture->worker));
	assert_ok(simpler_worker_add_remote_with(fixture->worker, fixture->node.address, &node,
	                                         NULL));
	assert_ok(
		simpler_module_load(fixture->worker, TEST_MODULES_DIR "/remote_cases.so", &module));
	assert_ok(simpler_module_orch_fn(module, "shift", simpler_no_state(), &fixture->shift));
	return simpler_worker_init(fixture->worker);
}

static int set_up_with(void **state, const char *provider, simpler_fabric fabric)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	start_node(fixture, provider, "127.0.0.1:0");
	assert_ok(connect(fixture, fabric, SIMPLER_LANE_AUTO));
	*state = fixture;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, "tcp", SIMPLER_FABRIC_TCP);
}

static int set_up_node_without(void **state)
{
	return set_up_with(state, "off", SIMPLER_FABRIC_TCP);
}

static int set_up_program_without(void **state)
{
	return set_up_with(state, "tcp", SIMPLER_FABRIC_OFF);
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

static void await_lane(const struct fixture *fixture, simpler_lane lane)
{
	const struct timespec moment = { .tv_nsec = CLOCK_MS };
	int64_t until = clock_after_ms(PATIENT_MS);

	while (traffic_of(fixture).lane != lane && clock_now() < until)
		(void)nanosleep(&moment, NULL);
	assert_int_equal(traffic_of(fixture).lane, lane);
}

/* --- runs --- */

struct work {
	simpler_orch_fn fn;
	const simpler_args *args;
	unsigned tasks;
	uint64_t timeout_ms;
	void (*midst)(struct fixture *fixture); /* when all are submitted */
	struct fixture *fixture;
};

static simpler_status submit_all(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct work *work = state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_status status = SIMPLER_OK;

	(void)args;
	(void)config;
	options.timeout_ms = work->timeout_ms;
	for (unsigned i = 0; i < work->tasks && status == SIMPLER_OK; i++)
		status = simpler_submit_next_level(orch, work->fn, work->args, &options, NULL);
	if (work->midst)
		work->midst(work->fixture);
	return status;
}

static simpler_status run(const struct work *work)
{
	simpler_bytes state = { work, sizeof(*work) };

	return simpler_run(work->fixture->worker, submit_all, NULL, NULL, state);
}

/* `tasks` that add 1 to each of `count` values, inline. */
static simpler_status shift_as(struct fixture *fixture, simpler_tag tag, unsigned tasks,
                               int64_t *values, size_t count, uint64_t timeout_ms,
                               void (*midst)(struct fixture *fixture))
{
	struct work work = { .fn = fixture->shift,
		             .tasks = tasks,
		             .timeout_ms = timeout_ms,
		             .midst = midst,
		             .fixture = fixture };
	simpler_args *args = simpler_args_create();
	simpler_tensor tensor;
	simpler_status status;

	assert_ok(simpler_tensor_init_1d(&tensor, values, SIMPLER_INT64, (int64_t)count));
	assert_ok(simpler_args_add_tensor(args, &tensor, tag, SIMPLER_INLINE));
	assert_ok(simpler_args_add_scalar(args, 1));
	work.args = args;
	status = run(&work);
	simpler_args_destroy(args);
	return status;
}

/* One after the other. */
static simpler_status shift(struct fixture *fixture, unsigned tasks, int64_t *values, size_t count,
                            uint64_t timeout_ms, void (*midst)(struct fixture *fixture))
{
	return shift_as(fixture, SIMPLER_INOUT, tasks, values, count, timeout_ms, midst);
}

/* --- what goes by it --- */

static void auto_takes_it_where_both_have_one(void **state)
{
	struct fixture *fixture = *state;
	int64_t value = 0;

	assert_int_equal(traffic_of(fixture).lane, SIMPLER_LANE_FABRIC);
	assert_ok(shift(fixture, 20, &value, 1, PATIENT_MS, NULL));
	assert_int_equal(value, 20);
	assert_int_equal(traffic_of(fixture).lane_dispatches, 20);
	assert_int_equal(traffic_of(fixture).dispatches, 20);
	assert_int_equal(traffic_of(fixture).lane_losses, 0);
}

/* Of tasks that wait for nobody, more than one message holds, and than there are credits. */
static void many_go_in_batches(void **state)
{
	struct fixture *fixture = *state;
	int64_t value = 0;

	assert_ok(shift_as(fixture, SIMPLER_INPUT, 5000, &value, 1, PATIENT_MS, NULL));
	assert_int_equal(traffic_of(fixture).lane_dispatches, 5000);
	assert_true(traffic_of(fixture).lane_batches < 5000);
	assert_int_equal(traffic_of(fixture).lane_losses, 0);
}

/* What a message has no room for goes by a call: the dispatch, or its outcome alone. */
static void what_is_too_large_for_a_message_goes_by_a_call(void **state)
{
	static const struct {
		size_t count;
		uint64_t by_lane;
	} cases[] = { { 1000, 1 }, { 7500, 1 }, { 8190, 0 }, { 20000, 0 }, { 100000, 0 } };
	struct fixture *fixture = *state;
	int64_t *values = calloc(100000, 8);

	assert_non_null(values);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t before = traffic_of(fixture).lane_dispatches;

		memset(values, 0, 100000 * 8);
		assert_ok(shift(fixture, 1, values, cases[i].count, PATIENT_MS, NULL));
		assert_int_equal(values[cases[i].count - 1], 1);
		assert_int_equal(traffic_of(fixture).lane_dispatches - before, cases[i].by_lane);
	}
	assert_int_equal(traffic_of(fixture).lane_losses, 0);
	free(values);
}

/* --- where it is not there --- */

static void auto_takes_the_stream_without_a_fabric(void **state)
{
	struct fixture *fixture = *state;
	int64_t value = 0;

	assert_int_equal(traffic_of(fixture).lane, SIMPLER_LANE_STREAM);
	assert_ok(shift(fixture, 5, &value, 1, PATIENT_MS, NULL));
	assert_int_equal(value, 5);
	assert_int_equal(traffic_of(fixture).lane_losses, 0);
}

static void one_that_is_named_and_not_there_is_an_error(void **state)
{
	struct fixture *with = *state, other = { .node = with->node };

	/* This side has none; or the other. */
	assert_fails(connect(&other, SIMPLER_FABRIC_OFF, SIMPLER_LANE_FABRIC), SIMPLER_EUNAVAILABLE,
	             "this worker has no fabric");
	simpler_worker_close(other.worker);
	start_node(&other, "off", "127.0.0.1:0");
	assert_fails(connect(&other, SIMPLER_FABRIC_TCP, SIMPLER_LANE_FABRIC), SIMPLER_EUNAVAILABLE,
	             "does not offer it");
	simpler_worker_close(other.worker);
	(void)daemon_stop(&other.node);
	/* Named, and there. */
	other.node = with->node;
	assert_ok(connect(&other, SIMPLER_FABRIC_TCP, SIMPLER_LANE_FABRIC));
	assert_int_equal(traffic_of(&other).lane, SIMPLER_LANE_FABRIC);
	simpler_worker_close(other.worker);
}

/* --- ends --- */

static void kill_node(struct fixture *fixture)
{
	int wait_status;

	process_signal(fixture->node.pidfd, SIGKILL);
	assert_true(process_wait(fixture->node.pidfd, CLOCK_NEVER, &wait_status));
	(void)close(fixture->node.pidfd);
	(void)close(fixture->node.output);
}

/* Of a session that is gone with its node, nothing is sent again. */
static void a_node_that_is_killed_ends_the_run_and_comes_back_with_a_lane(void **state)
{
	struct fixture *fixture = *state;
	char address[sizeof(fixture->node.address)];
	int64_t value = 0, begun = clock_now();

	memcpy(address, fixture->node.address, sizeof(address));
	assert_ok(shift(fixture, 1, &value, 1, PATIENT_MS, NULL));
	assert_int_not_equal(shift(fixture, 3000, &value, 1, 8000, kill_node), SIMPLER_OK);
	assert_true(clock_now() - begun < 20000 * CLOCK_MS);
	start_node(fixture, "tcp", address);
	await_lane(fixture, SIMPLER_LANE_FABRIC);
	/* What it is to run is told it a moment later. */
	begun = clock_now();
	do
		value = 0;
	while (shift(fixture, 10, &value, 1, PATIENT_MS, NULL) != SIMPLER_OK &&
	       clock_now() - begun < PATIENT_MS * CLOCK_MS);
	assert_int_equal(value, 10);
}

static void stop_node(struct fixture *fixture)
{
	process_signal(fixture->node.pidfd, SIGSTOP);
}

static void a_node_that_stops_ends_the_run_at_its_deadline(void **state)
{
	struct fixture *fixture = *state;
	int64_t value = 0, begun = clock_now();

	assert_int_not_equal(shift(fixture, 200, &value, 1, 1500, stop_node), SIMPLER_OK);
	assert_true(clock_now() - begun < 15000 * CLOCK_MS);
	process_signal(fixture->node.pidfd, SIGCONT);
	value = 0;
	assert_ok(shift(fixture, 10, &value, 1, PATIENT_MS, NULL));
	assert_int_equal(value, 10);
}

/* The session goes on, and so do its tasks, by calls. */
static void a_worker_closes_beside_a_node_that_has_stopped(void **state)
{
	struct fixture *fixture = *state, other = { .node = fixture->node };
	int64_t begun;

	assert_ok(connect(&other, SIMPLER_FABRIC_TCP, SIMPLER_LANE_FABRIC));
	stop_node(fixture);
	begun = clock_now();
	simpler_worker_close(other.worker);
	assert_true(clock_now() - begun < 10000 * CLOCK_MS);
	process_signal(fixture->node.pidfd, SIGCONT);
}

/* --- the link --- */

/* Each task runs once, whatever of it was on its way. */
static void a_link_that_is_down_has_dispatches_go_by_the_stream(void **state)
{
	struct fixture *fixture = *state;
	int64_t value = 0;

	assert_ok(shift(fixture, 10, &value, 1, PATIENT_MS, NULL));
	cut_link(NODE_FABRIC);
	assert_ok(shift(fixture, 50, &value, 1, PATIENT_MS, NULL));
	assert_int_equal(value, 60);
	assert_int_equal(traffic_of(fixture).lane_losses, 1);
	await_lane(fixture, SIMPLER_LANE_STREAM);
	assert_ok(shift(fixture, 10, &value, 1, PATIENT_MS, NULL));
	assert_int_equal(value, 70);
	cut_mend();
}

static void one_that_is_named_comes_back_with_its_link(void **state)
{
	struct fixture *fixture = *state, other = { .node = fixture->node };
	int64_t value = 0;

	assert_ok(connect(&other, SIMPLER_FABRIC_TCP, SIMPLER_LANE_FABRIC));
	cut_link(NODE_FABRIC);
	assert_ok(shift(&other, 50, &value, 1, PATIENT_MS, NULL));
	assert_int_equal(value, 50);
	assert_int_equal(traffic_of(&other).lane, SIMPLER_LANE_UNARY);
	cut_mend();
	await_lane(&other, SIMPLER_LANE_FABRIC);
	assert_ok(shift(&other, 10, &value, 1, PATIENT_MS, NULL));
	assert_int_equal(value, 60);
	simpler_worker_close(other.worker);
}

static void a_link_that_is_down_from_the_start_fails_what_named_it(void **state)
{
	struct fixture *fixture = *state, other = { .node = fixture->node };

	cut_link(NODE_FABRIC);
	assert_fails(connect(&other, SIMPLER_FABRIC_TCP, SIMPLER_LANE_FABRIC), SIMPLER_EUNAVAILABLE,
	             "cannot be opened");
	simpler_worker_close(other.worker);
	assert_ok(connect(&other, SIMPLER_FABRIC_TCP, SIMPLER_LANE_AUTO));
	assert_int_equal(traffic_of(&other).lane, SIMPLER_LANE_STREAM);
	simpler_worker_close(other.worker);
	cut_mend();
}

int main(int argc, char **argv)
{
#define WITH(test, how) cmocka_unit_test_setup_teardown(test, how, tear_down)
	const struct CMUnitTest whole[] = {
		WITH(auto_takes_it_where_both_have_one, set_up),
		WITH(many_go_in_batches, set_up),
		WITH(what_is_too_large_for_a_message_goes_by_a_call, set_up),
		WITH(auto_takes_the_stream_without_a_fabric, set_up_node_without),
		WITH(auto_takes_the_stream_without_a_fabric, set_up_program_without),
		WITH(one_that_is_named_and_not_there_is_an_error, set_up),
		WITH(a_node_that_is_killed_ends_the_run_and_comes_back_with_a_lane, set_up),
		WITH(a_node_that_stops_ends_the_run_at_its_deadline, set_up),
		WITH(a_worker_closes_beside_a_node_that_has_stopped, set_up),
	};
	const struct CMUnitTest with_cuts[] = {
		WITH(a_link_that_is_down_has_dispatches_go_by_the_stream, set_up),
		WITH(one_that_is_named_comes_back_with_its_link, set_up),
		WITH(a_link_that_is_down_from_the_start_fails_what_named_it, set_up),
	};
	const struct fabric_options options = { FABRIC_TCP, NODE_FABRIC };
	struct fabric *fabric;

	if (fabric_open(&options, &fabric) != SIMPLER_OK) {
		(void)fprintf(stderr, "skipped: %s\n", simpler_last_error());
		return 77;
	}
	fabric_close(fabric);
	if (argc > 1 && strcmp(argv[1], "cut") == 0)
		return cmocka_run_group_tests(with_cuts, NULL, NULL);
	return cmocka_run_group_tests(whole, NULL, NULL);
}
