/*
 * Dispatches that come more than once, of clients that have a session. How often a task ran is
 * counted where only its runs count: in a tensor on the node, whose elements each run of
 * FAKE_ANSWER makes 1 more.
 */
#include "session_client.h"

#include <signal.h>
#include <stdlib.h>

#include "os/process.h"

#define SESSION  UINT64_C(0xa70)
#define GRACE_MS "50"

struct rig {
	struct front_end *front_end;
	struct rpc_channel *channel, *other; /* of the session; a second connection */
	struct msg_attached attached;
	struct msg_handle counter; /* one int64 */
};

static int start(void **state)
{
	static const char *const options[] = { "--orphan-grace", GRACE_MS, NULL };
	static const char *const patient[] = { "--orphan-grace", "60000", NULL };
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->front_end = front_end_start(*state ? options : patient);
	rig->channel = session_connect(rig->front_end, SESSION);
	rig->other = session_connect(rig->front_end, SESSION);
	rig->attached = session_attach(rig->channel);
	rig->counter = counter_make(rig->channel);
	*state = rig;
	return 0;
}

static int stop(void **state)
{
	struct rig *rig = *state;

	rpc_channel_close(rig->channel);
	rpc_channel_close(rig->other);
	front_end_stop(rig->front_end);
	free(rig);
	return 0;
}

/* --- dispatches --- */

struct asked {
	struct rpc_client_call *call;
	enum rpc_note note; /* what came with its end */
	struct outcome outcome;
};

static void on_end(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                   size_t size)
{
	struct asked *asked = context;

	asked->note = rpc_client_call_note(asked->call);
	outcome_done(&asked->outcome, code, text, data, size);
}

static void ask(struct rpc_channel *channel, const struct msg_dispatch *request,
                struct asked *asked)
{
	struct rpc_buffer buffer;

	assert_int_equal(msg_dispatch_encode(request, &buffer), SIMPLER_OK);
	outcome_init(&asked->outcome);
	asked->call = rpc_client_call_create(channel, MSG_DISPATCH, CLOCK_NEVER);
	assert_non_null(asked->call);
	rpc_unary_begin(asked->call, false, &buffer, on_end, asked);
}

static void expect_code(struct asked *asked, enum rpc_code code, enum rpc_note note)
{
	outcome_wait(&asked->outcome, &asked->outcome.ended, 1);
	assert_int_equal(asked->outcome.code, code);
	assert_int_equal(asked->note, note);
	outcome_destroy(&asked->outcome);
}

/* How often tasks that have the counter ran to their end. */
static int64_t runs(struct rig *rig)
{
	return counter_read(rig->channel, &rig->counter);
}

static struct msg_dispatch request_of(struct rig *rig, uint64_t task, enum fake_command command)
{
	struct msg_dispatch request = make_dispatch(&rig->front_end->orch, task, command, task);

	request.session_life = rig->attached.session_life;
	add_handle(&request, SIMPLER_INOUT, &rig->counter, 1);
	return request;
}

static void a_dispatch_that_comes_again_is_answered_and_not_run(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch request = request_of(rig, 1, FAKE_ANSWER);
	struct asked first, again;

	ask(rig->channel, &request, &first);
	expect_code(&first, RPC_OK, RPC_NOTE_NONE);
	for (unsigned i = 0; i < 3; i++) {
		request.repeated = i > 0;
		ask(i < 2 ? rig->channel : rig->other, &request, &again);
		expect_code(&again, RPC_OK, RPC_NOTE_NONE);
	}
	assert_int_equal(runs(rig), 1);
}

static void the_recorded_outcome_has_the_inline_outputs(void **state)
{
	struct rig *rig = *state;
	const int64_t value = 41;
	struct msg_dispatch request = request_of(rig, 1, FAKE_ANSWER);
	struct msg_outcome response;
	struct asked asked;
	struct bump bump;

	add_inline(&request, SIMPLER_INOUT, &value, 1);
	for (unsigned i = 0; i < 2; i++) {
		ask(rig->channel, &request, &asked);
		outcome_wait(&asked.outcome, &asked.outcome.ended, 1);
		expect_response(&asked.outcome, &bump, &response);
		assert_int_equal(response.output_count, 2);
		assert_int_equal(element(&response.outputs[1], 0), 42);
		bump_release(&bump);
		outcome_destroy(&asked.outcome);
	}
	assert_int_equal(runs(rig), 1);
}

static void a_failure_of_a_task_is_remembered_too(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch request = request_of(rig, 1, FAKE_FAIL);
	struct msg_outcome response;
	struct asked asked;
	struct bump bump;

	for (unsigned i = 0; i < 2; i++) {
		ask(rig->channel, &request, &asked);
		outcome_wait(&asked.outcome, &asked.outcome.ended, 1);
		expect_response(&asked.outcome, &bump, &response);
		assert_int_equal(response.error_code, SIMPLER_USER_STATUS + 7);
		bump_release(&bump);
		outcome_destroy(&asked.outcome);
	}
}

static void a_dispatch_that_comes_again_joins_the_one_in_flight(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch request = request_of(rig, 1, FAKE_HOLD);
	struct asked first, again;

	ask(rig->channel, &request, &first);
	wait_held(rig->front_end, 1);
	ask(rig->other, &request, &again);
	expect_code(&first, RPC_ABORTED, RPC_NOTE_NONE);
	release_held(rig->front_end);
	expect_code(&again, RPC_OK, RPC_NOTE_NONE);
	assert_int_equal(runs(rig), 1);
}

static void R05_a_task_outlives_its_connection_and_its_outcome_is_fetched_again(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch request = request_of(rig, 1, FAKE_HOLD_STOPPABLE);
	struct asked first, again;

	ask(rig->other, &request, &first);
	wait_held(rig->front_end, 1);
	rpc_channel_close(rig->other);
	expect_code(&first, RPC_CANCELLED, RPC_NOTE_NONE);
	rig->other = session_connect(rig->front_end, SESSION);
	request.repeated = true;
	ask(rig->other, &request, &again);
	wait_taken(rig->front_end);
	assert_int_equal(ask_stops(rig->front_end).stops, 0);
	release_held(rig->front_end);
	expect_code(&again, RPC_OK, RPC_NOTE_NONE);
	assert_int_equal(runs(rig), 1);
}

static void a_task_that_nobody_asks_for_again_is_stopped(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch request = request_of(rig, 1, FAKE_HOLD_STOPPABLE);
	struct asked first, again;

	ask(rig->channel, &request, &first);
	wait_held(rig->front_end, 1);
	rpc_client_call_cancel(first.call);
	expect_code(&first, RPC_CANCELLED, RPC_NOTE_NONE);
	while (ask_stops(rig->front_end).stops < 1)
		;
	wait_held(rig->front_end, 0);
	request.repeated = true;
	ask(rig->channel, &request, &again);
	expect_code(&again, RPC_UNAVAILABLE, RPC_NOTE_LOST);
}

static void a_task_is_stopped_by_its_id_whatever_its_call_does(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch request = request_of(rig, 1, FAKE_HOLD_STOPPABLE);
	struct asked held;

	ask(rig->channel, &request, &held);
	wait_held(rig->front_end, 1);
	session_stop_task(rig->other, 2);
	assert_int_equal(ask_stops(rig->front_end).stops, 0);
	session_stop_task(rig->other, 1);
	outcome_wait(&held.outcome, &held.outcome.ended, 1);
	outcome_destroy(&held.outcome);
	assert_int_equal(ask_stops(rig->front_end).stops, 1);
}

/* --- what may not be run, and says whether it was --- */

static void another_life_of_the_session_knows_nothing_of_this_one(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch request = request_of(rig, 1, FAKE_ANSWER);
	struct asked asked;

	session_detach(rig->channel);
	ask(rig->channel, &request, &asked);
	expect_code(&asked, RPC_FAILED_PRECONDITION, RPC_NOTE_NOT_RUN);
	assert_true(session_attach(rig->channel).session_life != rig->attached.session_life);
	ask(rig->channel, &request, &asked);
	expect_code(&asked, RPC_FAILED_PRECONDITION, RPC_NOTE_NOT_RUN);
	request.repeated = true;
	ask(rig->channel, &request, &asked);
	expect_code(&asked, RPC_FAILED_PRECONDITION, RPC_NOTE_LOST);
}

static void a_node_that_drains_joins_and_answers_and_begins_nothing(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch held = request_of(rig, 1, FAKE_HOLD);
	struct msg_dispatch ended = request_of(rig, 2, FAKE_ANSWER);
	struct msg_dispatch fresh = request_of(rig, 3, FAKE_ANSWER);
	struct asked first, again, asked;
	pid_t engine = ask_engine(rig->front_end).pid;

	ask(rig->channel, &held, &first);
	ask(rig->channel, &ended, &asked);
	expect_code(&asked, RPC_OK, RPC_NOTE_NONE);
	process_signal(rig->front_end->daemon.pidfd, SIGTERM);
	front_end_wait_not_serving(rig->front_end);
	assert_true(session_attach(rig->channel).draining);
	ask(rig->channel, &fresh, &asked);
	expect_code(&asked, RPC_UNAVAILABLE, RPC_NOTE_NOT_RUN);
	/* What was sent before may still come, for all that this node knows. */
	fresh.repeated = true;
	ask(rig->channel, &fresh, &asked);
	expect_code(&asked, RPC_UNAVAILABLE, RPC_NOTE_LOST);
	ask(rig->other, &ended, &asked);
	expect_code(&asked, RPC_OK, RPC_NOTE_NONE);
	ask(rig->other, &held, &again);
	expect_code(&first, RPC_ABORTED, RPC_NOTE_NONE);
	assert_int_equal(kill(engine, SIGUSR1), 0);
	expect_code(&again, RPC_OK, RPC_NOTE_NONE);
}

static int stop_drained(void **state)
{
	struct rig *rig = *state;

	rpc_channel_close(rig->channel);
	rpc_channel_close(rig->other);
	front_end_finish(rig->front_end);
	free(rig);
	return 0;
}

static void a_lost_engine_is_the_answer_of_its_tasks_ever_after(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch request = request_of(rig, 1, FAKE_RAISE);
	struct asked asked;

	request.scalars[1] = SIGKILL;
	for (unsigned i = 0; i < 2; i++) {
		ask(rig->channel, &request, &asked);
		expect_code(&asked, RPC_UNAVAILABLE, RPC_NOTE_LOST);
	}
	front_end_wait_serving(rig->front_end, 2);
}

static void without_an_id_nothing_is_remembered(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch request = request_of(rig, 0, FAKE_ANSWER);
	struct asked asked;

	for (unsigned i = 0; i < 2; i++) {
		ask(rig->channel, &request, &asked);
		expect_code(&asked, RPC_OK, RPC_NOTE_NONE);
	}
	assert_int_equal(runs(rig), 2);
	request = request_of(rig, 0, FAKE_HOLD_STOPPABLE);
	ask(rig->channel, &request, &asked);
	wait_held(rig->front_end, 1);
	rpc_client_call_cancel(asked.call);
	expect_code(&asked, RPC_CANCELLED, RPC_NOTE_NONE);
	wait_held(rig->front_end, 0);
}

static void without_a_session_nothing_is_remembered(void **state)
{
	struct rig *rig = *state;
	struct msg_handle handle = alloc_tensor(rig->front_end, 8);
	struct msg_dispatch request = make_dispatch(&rig->front_end->orch, 1, FAKE_ANSWER, 0);
	struct msg_outcome response;
	struct outcome outcome;
	struct bump bump;
	int64_t value;
	size_t size;
	unsigned chunks;

	add_handle(&request, SIMPLER_INOUT, &handle, 1);
	for (unsigned i = 0; i < 2; i++) {
		dispatch(rig->front_end, &request, &outcome);
		expect_response(&outcome, &bump, &response);
		bump_release(&bump);
		outcome_destroy(&outcome);
	}
	pull_tensor(rig->front_end, &handle, (uint8_t *)&value, sizeof(value), &size, &chunks,
	            &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
	assert_int_equal(value, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	static bool hasty = true;
	const struct CMUnitTest tests[] = {
		TEST(a_dispatch_that_comes_again_is_answered_and_not_run),
		TEST(the_recorded_outcome_has_the_inline_outputs),
		TEST(a_failure_of_a_task_is_remembered_too),
		TEST(a_dispatch_that_comes_again_joins_the_one_in_flight),
		TEST(R05_a_task_outlives_its_connection_and_its_outcome_is_fetched_again),
		cmocka_unit_test_prestate_setup_teardown(
			a_task_that_nobody_asks_for_again_is_stopped, start, stop, &hasty),
		TEST(a_task_is_stopped_by_its_id_whatever_its_call_does),
		TEST(another_life_of_the_session_knows_nothing_of_this_one),
		cmocka_unit_test_setup_teardown(
			a_node_that_drains_joins_and_answers_and_begins_nothing, start,
			stop_drained),
		TEST(a_lost_engine_is_the_answer_of_its_tasks_ever_after),
		TEST(without_an_id_nothing_is_remembered),
		TEST(without_a_session_nothing_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
