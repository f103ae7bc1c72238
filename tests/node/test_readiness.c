/*
 * R17: liveness and readiness are two calls. An engine that does what the test says shows each
 * reason why a node is not ready, which services it stops, and that it goes when its cause does.
 */
#include "session_client.h"

#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "os/process.h"
#include "simpler/version.h"

static int start(void **state)
{
	*state = front_end_start(NULL);
	return 0;
}

static int stop(void **state)
{
	front_end_stop(*state);
	return 0;
}

static void publish(struct front_end *front_end, enum fake_vitals vitals)
{
	struct msg_dispatch request = make_dispatch(&front_end->orch, 5, FAKE_VITALS, vitals);
	struct outcome outcome;

	dispatch(front_end, &request, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
}

static bool is_alive(struct front_end *front_end)
{
	struct msg_health health;
	struct rpc_buffer empty;
	struct outcome outcome;
	struct bump bump;

	assert_int_equal(msg_empty_encode(&empty), SIMPLER_OK);
	call(front_end, MSG_HEARTBEAT, &empty, &outcome);
	expect(&outcome, RPC_OK, "");
	bump_init(&bump, MSG_BUMP_LIMIT(outcome.size));
	assert_int_equal(msg_health_decode(outcome.data, outcome.size, &bump, &health), SIMPLER_OK);
	bump_release(&bump);
	outcome_destroy(&outcome);
	return health.ok;
}

/* Until the engine's vitals are in the status. */
static void wait_workers(struct front_end *front_end, struct bump *bump, struct msg_status *status)
{
	for (;;) {
		ask_status(front_end, bump, status);
		if (status->worker_count > 0)
			return;
		bump_release(bump);
	}
}

static const struct msg_lane_status *lane_of(const struct msg_status *status, const char *name)
{
	for (uint32_t i = 0; i < status->lane_count; i++) {
		if (strcmp(status->lanes[i].name, name) == 0)
			return &status->lanes[i];
	}
	fail_msg("no lane is called %s", name);
	return NULL;
}

static void R17_status_tells_which_lanes_there_are_and_how_many_are_open(void **state)
{
	static const char *const options[] = { "--lane", "stream", NULL };
	struct front_end *front_end = front_end_start(options);
	struct rpc_channel *channel = session_connect(front_end, 77);
	struct rpc_client_call *call;
	struct outcome outcome;
	struct msg_status status;
	struct bump bump;

	(void)state;
	(void)session_attach(channel);
	outcome_init(&outcome);
	call = stream_open(channel, MSG_LANE, clock_after_ms(30000), &outcome_handlers, &outcome);
	outcome_wait(&outcome, &outcome.messages, 1); /* the hello */
	ask_status(front_end, &bump, &status);
	assert_true(lane_of(&status, "unary")->available);
	assert_true(lane_of(&status, "stream")->available);
	assert_int_equal(lane_of(&status, "stream")->open, 1);
	assert_false(lane_of(&status, "shm")->available);
	assert_string_equal(lane_of(&status, "shm")->why_not, "the daemon's --lane leaves it out");
	bump_release(&bump);
	rpc_client_call_cancel(call);
	outcome_wait(&outcome, &outcome.ended, 1);
	outcome_destroy(&outcome);
	rpc_channel_close(channel);
	front_end_stop(front_end);
}

static void R17_status_tells_all_that_readiness_is_made_of(void **state)
{
	static const char *const options[] = { "--shm", "off", NULL };
	struct front_end *front_end = front_end_start(options);
	const pid_t engine = ask_engine(front_end).pid;
	const struct msg_handle stored = alloc_tensor(front_end, 100);
	struct msg_status status;
	struct bump bump;

	(void)state;
	wait_workers(front_end, &bump, &status);
	assert_true(status.ready);
	assert_false(status.draining);
	assert_int_equal(status.reason_count, 0);
	assert_string_equal(status.node_id, NODE_ID);
	assert_true(status.boot_id != 0);
	assert_string_equal(status.version, SIMPLER_VERSION);
	assert_int_equal(status.wire_version, SIMPLER_WIRE_VERSION);
	assert_int_equal(status.callable_abi, SIMPLER_CALLABLE_ABI);
	assert_string_equal(status.engine.state, "ready");
	assert_true(status.engine.answering);
	assert_int_equal(status.engine.pid, engine);
	assert_int_equal(status.engine.restarts, 0);
	assert_string_equal(status.engine.last_end, "");
	assert_int_equal(status.engine.runs, 7);
	assert_true(status.engine.since_unix_ms <= clock_unix_ms());
	assert_int_equal(status.worker_count, 2);
	assert_string_equal(status.workers[0].kind, "sub worker");
	assert_string_equal(status.workers[1].kind, "chip");
	assert_int_equal(status.workers[0].idle, 2);
	assert_int_equal(status.workers[0].queued, 3);
	assert_int_equal(status.workers[0].deaths, 5);
	assert_int_equal(status.device_count, 1);
	assert_string_equal(status.devices[0].name, "sim");
	assert_int_equal(status.devices[0].failed, 0);
	assert_int_equal(status.pool.capacity, 64 << 20);
	assert_int_equal(status.pool.used, (stored.nbytes + 63) / 64 * 64);
	assert_int_equal(status.pool.handles, 1);
	assert_int_equal(status.pool.max_handles, 65536);
	assert_true(status.pool.largest_free < status.pool.capacity);
	assert_int_equal(status.transport_count, 3);
	assert_string_equal(status.transports[2].name, "fabric");
	assert_false(status.transports[2].available);
	assert_string_equal(status.transports[2].why_not,
	                    "the daemon was started without --fabric");
	assert_string_equal(status.transports[1].name, "shm");
	assert_false(status.transports[1].available);
	assert_string_equal(status.transports[1].why_not, "the daemon was started with --shm off");
	assert_string_equal(status.transports[0].name, "grpc");
	assert_true(status.transports[0].available);
	assert_true(lane_of(&status, "unary")->available);
	assert_true(lane_of(&status, "stream")->available);
	assert_int_equal(lane_of(&status, "stream")->open, 0);
	assert_false(lane_of(&status, "shm")->available);
	assert_string_equal(lane_of(&status, "shm")->why_not,
	                    "the daemon was started with --shm off");
	assert_int_equal(status.catalog.callables, 2);
	assert_int_equal(status.catalog.modules, 1);
	assert_int_equal(status.catalog.modules_in_use, 1);
	assert_true(status.catalog.module_bytes > 0);
	assert_int_equal(status.catalog.max_callables, 4096);
	assert_int_equal(status.queue.in_flight, 0);
	assert_int_equal(status.queue.limit, 1024);
	assert_int_equal(status.sessions.attached, 0);
	assert_int_equal(status.sessions.limit, 4096);
	bump_release(&bump);
	front_end_stop(front_end);
}

static const struct {
	const char *name;
	enum fake_vitals vitals;
	const char *what, *why;
} reasons[] = {
	{ "no sub worker is there yet", FAKE_SUBS_RESTARTING, "workers", "none of 2 sub workers" },
	{ "all chips died young", FAKE_CHIPS_DEAD, "workers", "none of 2 chips" },
	{ "the spawn helper is stopped", FAKE_HELPER_STOPPED, "workers",
	  "spawn helper is stopped" },
	{ "no device could be opened", FAKE_DEVICES_SHUT, "devices", "no such device" },
};

static void R17_a_worker_tree_that_runs_nothing_stops_its_service(void **state)
{
	struct front_end *front_end = *state;

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		const uint64_t before = clock_unix_ms();
		const struct msg_reason *reason;
		struct msg_status status;
		struct bump bump;

		publish(front_end, reasons[i].vitals);
		wait_reason(front_end, reasons[i].what, true);
		ask_status(front_end, &bump, &status);
		assert_false(status.ready);
		reason = reason_of(&status, reasons[i].what);
		assert_non_null(reason);
		assert_non_null(strstr(reason->why, reasons[i].why));
		assert_true(reason->since_unix_ms + 1 >= before);
		assert_true(reason->since_unix_ms <= clock_unix_ms());
		assert_int_equal(reason->service_count, 1);
		assert_string_equal(reason->services[0], "L3Worker");
		assert_false(serves(front_end, "L3Worker"));
		assert_false(serves(front_end, ""));
		assert_true(serves(front_end, "Catalog"));
		assert_true(serves(front_end, "TensorPool"));
		bump_release(&bump);
		publish(front_end, FAKE_WELL);
		wait_reason(front_end, reasons[i].what, false);
		assert_true(serves(front_end, ""));
	}
}

static void one_worker_of_a_kind_and_one_device_are_enough(void **state)
{
	struct front_end *front_end = *state;
	struct msg_status status;
	struct bump bump;

	publish(front_end, FAKE_ONE_ALIVE);
	do {
		wait_workers(front_end, &bump, &status);
		bump_release(&bump);
	} while (status.workers[1].dead != 1);
	assert_true(status.ready);
	publish(front_end, FAKE_ONE_DEVICE_SHUT);
	for (;;) {
		wait_workers(front_end, &bump, &status);
		if (status.devices[0].failed == 1)
			break;
		bump_release(&bump);
	}
	assert_true(status.ready);
	assert_string_equal(status.devices[0].error, "no such device");
	bump_release(&bump);
}

static void expect_frozen(struct front_end *front_end, pid_t engine, int64_t since)
{
	const struct msg_reason *reason;
	struct msg_status status;
	struct bump bump;
	char pid[32];

	assert_true(is_alive(front_end));
	ask_status(front_end, &bump, &status);
	reason = reason_of(&status, "engine");
	assert_non_null(reason);
	assert_non_null(strstr(reason->why, "does not answer"));
	(void)snprintf(pid, sizeof(pid), "(pid %ld)", (long)engine);
	assert_non_null(strstr(reason->why, pid));
	/* A beat before that, as it is when it was heard of last. */
	assert_true(reason->since_unix_ms + 1000 >=
	            clock_unix_ms() - (uint64_t)(clock_now() - since) / CLOCK_MS);
	assert_false(status.engine.answering);
	assert_string_equal(status.engine.state, "ready");
	assert_int_equal(status.engine.pid, engine);
	bump_release(&bump);
	assert_false(serves(front_end, "L3Worker"));
	assert_false(serves(front_end, "Catalog"));
	assert_true(serves(front_end, "TensorPool"));
	(void)alloc_tensor(front_end, 8);
}

static void R17_a_frozen_engine_is_not_ready_though_alive_until_it_goes_on(void **state)
{
	struct front_end *front_end = *state;
	const pid_t engine = ask_engine(front_end).pid;
	struct msg_dispatch request = make_dispatch(&front_end->orch, 6, FAKE_ANSWER, 0);
	int64_t frozen = clock_now();
	struct outcome outcome;

	assert_int_equal(kill(engine, SIGSTOP), 0);
	front_end_wait_not_serving(front_end);
	expect_frozen(front_end, engine, frozen);
	dispatch_begin(front_end, &request, &outcome);
	assert_int_equal(kill(engine, SIGCONT), 0);
	front_end_wait_serving(front_end, 2);
	outcome_wait(&outcome, &outcome.ended, 1);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
	assert_int_equal(ask_engine(front_end).pid, engine);
}

static void an_engine_whose_vitals_stop_is_not_ready_while_its_tasks_run(void **state)
{
	struct front_end *front_end = *state;
	const pid_t engine = ask_engine(front_end).pid;

	publish(front_end, FAKE_SILENCE);
	wait_reason(front_end, "engine", true);
	publish(front_end, FAKE_WELL);
	wait_reason(front_end, "engine", false);
	assert_int_equal(ask_engine(front_end).pid, engine);
}

static void R05_an_engine_whose_vitals_are_none_is_replaced(void **state)
{
	struct front_end *front_end = *state;
	const pid_t engine = ask_engine(front_end).pid;
	struct msg_status status;
	struct bump bump;

	publish(front_end, FAKE_VITAL_NONSENSE);
	front_end_wait_serving(front_end, 2);
	assert_int_not_equal(ask_engine(front_end).pid, engine);
	ask_status(front_end, &bump, &status);
	assert_non_null(strstr(status.engine.last_end, "a vitals record"));
	bump_release(&bump);
}

static void R17_a_full_pool_stops_the_pool_and_nothing_else(void **state)
{
	struct front_end *front_end = *state;
	const struct msg_handle all = alloc_tensor(front_end, 64 << 20);
	const struct msg_reason *reason;
	struct msg_status status;
	struct rpc_buffer buffer;
	struct outcome outcome;
	struct bump bump;

	ask_status(front_end, &bump, &status);
	reason = reason_of(&status, "pool");
	assert_non_null(reason);
	assert_non_null(strstr(reason->why, "all 67108864 bytes"));
	assert_int_equal(status.pool.largest_free, 0);
	bump_release(&bump);
	front_end_wait_not_serving(front_end);
	assert_false(serves(front_end, "TensorPool"));
	assert_true(serves(front_end, "L3Worker"));
	assert_int_equal(msg_free_encode(&all, &buffer), SIMPLER_OK);
	call(front_end, MSG_FREE_TENSOR, &buffer, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
	front_end_wait_serving(front_end, 2);
	assert_true(serves(front_end, "TensorPool"));
}

static void R17_a_drain_is_a_reason_that_stops_all_services(void **state)
{
	struct front_end *front_end = front_end_start(NULL);
	struct msg_dispatch hold = make_dispatch(&front_end->orch, 8, FAKE_HOLD, 0);
	const struct msg_reason *reason;
	struct msg_status status;
	struct outcome held;
	struct bump bump;
	pid_t engine = ask_engine(front_end).pid;

	(void)state;
	dispatch_begin(front_end, &hold, &held);
	wait_held(front_end, 1);
	process_signal(front_end->daemon.pidfd, SIGTERM);
	front_end_wait_not_serving(front_end);
	ask_status(front_end, &bump, &status);
	assert_true(status.draining);
	assert_int_equal(status.queue.in_flight, 1);
	reason = reason_of(&status, "draining");
	assert_non_null(reason);
	assert_non_null(strstr(reason->why, "1 tasks are running"));
	assert_int_equal(reason->service_count, 3);
	bump_release(&bump);
	assert_true(is_alive(front_end));
	assert_int_equal(kill(engine, SIGUSR1), 0);
	outcome_wait(&held, &held.ended, 1);
	expect(&held, RPC_OK, "");
	outcome_destroy(&held);
	front_end_finish(front_end);
}

/* A machine that is busy with other things may be late once, but not each time. */
static void R17_a_frozen_engine_is_noticed_within_two_seconds(void **state)
{
	struct front_end *front_end = *state;
	const pid_t engine = ask_engine(front_end).pid;
	int64_t took = INT64_MAX;

	for (unsigned i = 0; i < 5 && took > 2 * CLOCK_S; i++) {
		const int64_t frozen = clock_now();

		assert_int_equal(kill(engine, SIGSTOP), 0);
		front_end_wait_not_serving(front_end);
		took = clock_now() - frozen;
		assert_int_equal(kill(engine, SIGCONT), 0);
		front_end_wait_serving(front_end, i + 2);
	}
	assert_in_range(took, 1, 2 * CLOCK_S);
}

/* Until so many engines have followed the first; `*told`: a reason on the way spoke of the pause.
 */
static void wait_restarts(struct front_end *front_end, uint32_t count, bool *told)
{
	const struct msg_reason *reason;
	struct msg_status status;
	struct bump bump;
	uint32_t restarts;

	do {
		ask_status(front_end, &bump, &status);
		restarts = status.engine.restarts;
		reason = reason_of(&status, "engine");
		*told = *told || (reason && strstr(reason->why, "was killed by signal 9") &&
		                  strstr(reason->why, "engines in a row ended young"));
		bump_release(&bump);
	} while (restarts < count);
	wait_reason(front_end, "engine", false);
}

static void R05_engines_that_die_young_come_back_later_and_the_status_says_so(void **state)
{
	struct front_end *front_end = *state;
	struct msg_status status;
	struct bump bump;
	bool told = false;

	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(kill(ask_engine(front_end).pid, SIGKILL), 0);
		wait_restarts(front_end, i + 1, &told);
	}
	assert_true(told);
	ask_status(front_end, &bump, &status);
	assert_int_equal(status.engine.restarts, 5);
	assert_true(status.ready);
	bump_release(&bump);
}

int main(void)
{
#define WITH_A_NODE(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(R17_status_tells_all_that_readiness_is_made_of),
		cmocka_unit_test(R17_status_tells_which_lanes_there_are_and_how_many_are_open),
		WITH_A_NODE(R17_a_worker_tree_that_runs_nothing_stops_its_service),
		WITH_A_NODE(one_worker_of_a_kind_and_one_device_are_enough),
		WITH_A_NODE(R17_a_frozen_engine_is_not_ready_though_alive_until_it_goes_on),
		WITH_A_NODE(R17_a_frozen_engine_is_noticed_within_two_seconds),
		WITH_A_NODE(an_engine_whose_vitals_stop_is_not_ready_while_its_tasks_run),
		WITH_A_NODE(R05_an_engine_whose_vitals_are_none_is_replaced),
		WITH_A_NODE(R17_a_full_pool_stops_the_pool_and_nothing_else),
		cmocka_unit_test(R17_a_drain_is_a_reason_that_stops_all_services),
		WITH_A_NODE(R05_engines_that_die_young_come_back_later_and_the_status_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
