/*
 * Dispatches that come more than once, of clients that have a session. How often a task ran is
 * counted where only its runs count: in a tensor on the node, whose elements each run of
 * FAKE_ANSWER makes 1 more.
 */
#include "front_end.h"

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

static struct msg_attached attach(struct rpc_channel *channel)
{
	const struct msg_attach message = { 60000 };
	struct msg_attached attached;
	struct rpc_buffer buffer;
	struct bump bump;
	uint8_t *bytes;
	size_t size;

	assert_int_equal(msg_attach_encode(&message, &buffer), SIMPLER_OK);
	assert_int_equal(
		rpc_unary_wait(channel, MSG_ATTACH, CLOCK_NEVER, true, &buffer, &bytes, &size),
		SIMPLER_OK);
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_attached_decode(bytes, size, &bump, &attached), SIMPLER_OK);
	bump_release(&bump);
	free(bytes);
	return attached;
}

static void detach(struct rpc_channel *channel)
{
	struct rpc_buffer buffer;
	uint8_t *bytes;
	size_t size;

	assert_int_equal(msg_empty_encode(&buffer), SIMPLER_OK);
	assert_int_equal(
		rpc_unary_wait(channel, MSG_DETACH, CLOCK_NEVER, true, &buffer, &bytes, &size),
		SIMPLER_OK);
	free(bytes);
}

static struct rpc_channel *connect_in_session(struct front_end *front_end)
{
	struct rpc_channel *channel;

	assert_int_equal(rpc_channel_open(front_end->client, front_end->daemon.address, &channel),
	                 SIMPLER_OK);
	rpc_channel_set_session(channel, SESSION);
	return channel;
}

static struct msg_handle make_counter(struct rpc_channel *channel)
{
	const struct msg_alloc message = { .nbytes = 8,
		                           .shape = { 1, { 1 }, SIMPLER_INT64, SIMPLER_INOUT } };
	struct msg_handle handle;
	struct rpc_buffer buffer;
	struct bump bump;
	uint8_t *bytes;
	size_t size;

	assert_int_equal(msg_alloc_encode(&message, &buffer), SIMPLER_OK);
	assert_int_equal(rpc_unary_wait(channel, MSG_ALLOC_TENSOR, CLOCK_NEVER, true, &buffer,
	                                &bytes, &size),
	                 SIMPLER_OK);
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_handle_decode(bytes, size, &bump, &handle), SIMPLER_OK);
	bump_release(&bump);
	free(bytes);
	handle.transport_desc.size = 0;
	return handle;
}

static int start(void **state)
{
	static const char *const options[] = { "--orphan-grace", GRACE_MS, NULL };
	static const char *const patient[] = { "--orphan-grace", "60000", NULL };
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->front_end = front_end_start(*state ? options : patient);
	rig->channel = connect_in_session(rig->front_end);
	rig->other = connect_in_session(rig->front_end);
	rig->attached = attach(rig->channel);
	rig->counter = make_counter(rig->channel);
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

static struct msg_dispatch request_of(struct rig *rig, uint64_t task, enum fake_command command)
{
	struct msg_dispatch request = make_dispatch(&rig->front_end->orch, task, command, task);

	request.session_life = rig->attached.session_life;
	add_handle(&request, SIMPLER_INOUT, &rig->counter, 1);
	return request;
}

/* How often tasks that have the counter ran to their end. */
static int64_t runs(struct rig *rig)
{
	struct rpc_buffer buffer;
	struct outcome outcome;
	struct msg_chunk chunk;
	struct bump bump;
	int64_t value;

	outcome_init(&outcome);
	assert_int_equal(msg_handle_encode(&rig->counter, &buffer), SIMPLER_OK);
	rpc_stream_begin(rpc_client_call_create(rig->channel, MSG_PULL_TENSOR, CLOCK_NEVER),
	                 &buffer,
	                 &(const struct rpc_stream_handlers){ .on_message = outcome_message,
	                                                      .on_sent = outcome_sent,
	                                                      .on_end = outcome_end },
	                 &outcome);
	outcome_wait(&outcome, &outcome.ended, 1);
	assert_int_equal(outcome.code, RPC_OK);
	bump_init(&bump, MSG_BUMP_LIMIT(outcome.size));
	assert_int_equal(msg_chunk_decode(outcome.data, outcome.size, &bump, &chunk), SIMPLER_OK);
	assert_int_equal(chunk.data.size, sizeof(value));
	memcpy(&value, chunk.data.data, sizeof(value));
	bump_release(&bump);
	outcome_destroy(&outcome);
	return value;
}

static void release_held(struct rig *rig)
{
	struct msg_dispatch request = make_dispatch(&rig->front_end->orch, 1000, FAKE_RELEASE, 0);
	struct outcome outcome;

	dispatch(rig->front_end, &request, &outcome);
	outcome_destroy(&outcome);
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
	release_held(rig);
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
	rig->other = connect_in_session(rig->front_end);
	request.repeated = true;
	ask(rig->other, &request, &again);
	wait_taken(rig->front_end);
	assert_int_equal(ask_stops(rig->front_end).stops, 0);
	release_held(rig);
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

static void stop_task(struct rig *rig, uint64_t task)
{
	const struct msg_stop_task message = { task };
	struct rpc_buffer buffer;
	uint8_t *bytes;
	size_t size;

	assert_int_equal(msg_stop_task_encode(&message, &buffer), SIMPLER_OK);
	assert_int_equal(rpc_unary_wait(rig->other, MSG_STOP_TASK, CLOCK_NEVER, true, &buffer,
	                                &bytes, &size),
	                 SIMPLER_OK);
	free(bytes);
}

static void a_task_is_stopped_by_its_id_whatever_its_call_does(void **state)
{
	struct rig *rig = *state;
	struct msg_dispatch request = request_of(rig, 1, FAKE_HOLD_STOPPABLE);
	struct asked held;

	ask(rig->channel, &request, &held);
	wait_held(rig->front_end, 1);
	stop_task(rig, 2);
	assert_int_equal(ask_stops(rig->front_end).stops, 0);
	stop_task(rig, 1);
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

	detach(rig->channel);
	ask(rig->channel, &request, &asked);
	expect_code(&asked, RPC_FAILED_PRECONDITION, RPC_NOTE_NOT_RUN);
	assert_true(attach(rig->channel).session_life != rig->attached.session_life);
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
	assert_true(attach(rig->channel).draining);
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
