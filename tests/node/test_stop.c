/*
 * Clients that cancel, whose deadlines pass, or that vanish: the engine is told to stop their tasks
 * and keeps their storage until it has answered; one that does not answer is replaced.
 */
#include "front_end.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/engine_link.h"
#include "os/process.h"

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

static void wait_stops(struct front_end *front_end, int64_t count)
{
	while (ask_stops(front_end).stops < count)
		;
}

static void expect_end(struct outcome *outcome, enum rpc_code code)
{
	outcome_wait(outcome, &outcome->ended, 1);
	expect(outcome, code, "");
	outcome_destroy(outcome);
}

static void a_cancelled_dispatch_is_stopped_in_the_engine_and_no_other(void **state)
{
	struct front_end *front_end = *state;
	struct rpc_client_call *calls[3];
	struct outcome held[3];

	for (uint64_t i = 0; i < 3; i++) {
		struct msg_dispatch request =
			make_dispatch(&front_end->orch, i, FAKE_HOLD_STOPPABLE, 100 + i);

		calls[i] = dispatch_open(front_end, &request, CLOCK_NEVER, &held[i]);
	}
	wait_held(front_end, 3);
	rpc_client_call_cancel(calls[1]);
	expect_end(&held[1], RPC_CANCELLED);
	wait_stops(front_end, 1);
	assert_int_equal(ask_stops(front_end).last, 101);
	wait_held(front_end, 2);
	assert_int_equal(outcome_ended(&held[0]) + outcome_ended(&held[2]), 0);
	rpc_client_call_cancel(calls[0]);
	rpc_client_call_cancel(calls[2]);
	expect_end(&held[0], RPC_CANCELLED);
	expect_end(&held[2], RPC_CANCELLED);
	wait_held(front_end, 0);
	assert_int_equal(ask_stops(front_end).stops, 3);
	assert_int_equal(ask_stops(front_end).unknown, 0);
}

static void a_dispatch_whose_deadline_passes_is_stopped_in_the_engine(void **state)
{
	struct front_end *front_end = *state;
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_HOLD_STOPPABLE, 200);
	const int64_t deadline = clock_after_ms(300);
	struct outcome held;

	(void)dispatch_open(front_end, &request, deadline, &held);
	expect_end(&held, RPC_DEADLINE_EXCEEDED);
	assert_true(clock_now() >= deadline);
	wait_stops(front_end, 1);
	assert_int_equal(ask_stops(front_end).last, 200);
	wait_held(front_end, 0);
}

/* --- a client that is another process --- */

/* Dispatch and wait, for the parent to kill this process. */
static int client_main(const char *address)
{
	struct front_end front_end;
	struct outcome held;
	struct msg_dispatch request;

	callable_make(&front_end.orch, SIMPLER_KIND_ORCH, "who", "");
	if (rpc_client_create(&front_end.client) != SIMPLER_OK ||
	    rpc_channel_open(front_end.client, address, &front_end.channel) != SIMPLER_OK)
		return 1;
	request = make_dispatch(&front_end.orch, 1, FAKE_HOLD_STOPPABLE, 300);
	(void)dispatch_open(&front_end, &request, CLOCK_NEVER, &held);
	for (;;)
		pause();
	return 0;
}

static void a_dispatch_of_a_client_that_dies_is_stopped_in_the_engine(void **state)
{
	struct front_end *front_end = *state;
	const char *const arguments[] = { "/proc/self/exe", front_end->daemon.address, NULL };
	int pidfd, wait_status;
	pid_t pid;

	assert_int_equal(process_start(arguments[0], (char *const *)(uintptr_t)arguments, NULL, 0,
	                               &pid, &pidfd),
	                 SIMPLER_OK);
	wait_held(front_end, 1);
	process_signal(pidfd, SIGKILL);
	wait_stops(front_end, 1);
	assert_int_equal(ask_stops(front_end).last, 300);
	wait_held(front_end, 0);
	assert_true(process_wait(pidfd, CLOCK_NEVER, &wait_status));
	(void)close(pidfd);
}

/* --- an engine that is busy --- */

static void a_task_that_the_engine_has_not_taken_yet_is_stopped_as_well(void **state)
{
	struct front_end *front_end = *state;
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_HOLD_STOPPABLE, 400);
	const pid_t engine = ask_engine(front_end).pid;
	struct rpc_client_call *call;
	struct outcome held;

	assert_int_equal(kill(engine, SIGSTOP), 0);
	call = dispatch_open(front_end, &request, CLOCK_NEVER, &held);
	wait_taken(front_end);
	rpc_client_call_cancel(call);
	expect_end(&held, RPC_CANCELLED);
	assert_int_equal(kill(engine, SIGCONT), 0);
	wait_stops(front_end, 1);
	assert_int_equal(ask_stops(front_end).last, 400);
	wait_held(front_end, 0);
}

/* Until the engine has taken enough off the ring for another task. */
static void wait_room(struct front_end *front_end)
{
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_ANSWER, 0);
	struct outcome outcome;
	enum rpc_code code;

	do {
		dispatch(front_end, &request, &outcome);
		code = outcome.code;
		outcome_destroy(&outcome);
	} while (code == RPC_RESOURCE_EXHAUSTED);
	assert_int_equal(code, RPC_OK);
}

/* More than fit the ring beside the tasks: some are sent only when there is room again. */
#define STOPS 200

static void a_stop_that_finds_the_ring_full_is_sent_later(void **state)
{
	struct front_end *front_end = *state;
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_HOLD_STOPPABLE, 0);
	const pid_t engine = ask_engine(front_end).pid;
	struct outcome *held = calloc(ENGINE_MAX_IN_FLIGHT, sizeof(*held));
	struct rpc_client_call **calls = calloc(ENGINE_MAX_IN_FLIGHT, sizeof(*calls));
	size_t count = 0;

	assert_true(held && calls);
	request.scalar_count = SIMPLER_MAX_SCALARS;
	assert_int_equal(kill(engine, SIGSTOP), 0);
	do {
		assert_true(count < ENGINE_MAX_IN_FLIGHT);
		calls[count] = dispatch_open(front_end, &request, CLOCK_NEVER, &held[count]);
		wait_taken(front_end);
	} while (outcome_ended(&held[count++]) == 0);
	expect(&held[--count], RPC_RESOURCE_EXHAUSTED, "the ring is full");
	outcome_destroy(&held[count]);
	for (size_t i = 0; i < STOPS; i++)
		rpc_client_call_cancel(calls[i]);
	for (size_t i = 0; i < STOPS; i++)
		expect_end(&held[i], RPC_CANCELLED);
	wait_taken(front_end);
	assert_int_equal(kill(engine, SIGCONT), 0);
	wait_room(front_end);
	wait_stops(front_end, STOPS);
	for (size_t i = STOPS; i < count; i++)
		rpc_client_call_cancel(calls[i]);
	for (size_t i = STOPS; i < count; i++)
		expect_end(&held[i], RPC_CANCELLED);
	wait_held(front_end, 0);
	free(calls);
	free(held);
}

/* --- storage --- */

#define LARGE ((uint64_t)40 << 20) /* more than half of the pool */

static enum rpc_code try_alloc(struct front_end *front_end)
{
	const struct msg_alloc alloc = { .nbytes = LARGE };
	struct rpc_buffer buffer;
	struct outcome outcome;
	enum rpc_code code;

	assert_int_equal(msg_alloc_encode(&alloc, &buffer), SIMPLER_OK);
	call(front_end, MSG_ALLOC_TENSOR, &buffer, &outcome);
	code = outcome.code;
	outcome_destroy(&outcome);
	return code;
}

static void storage_of_a_cancelled_dispatch_is_kept_until_the_engine_answers(void **state)
{
	struct front_end *front_end = *state;
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_HOLD, 500);
	const struct msg_handle stored = alloc_tensor(front_end, LARGE);
	struct rpc_buffer buffer;
	struct rpc_client_call *held;
	struct outcome outcome, freed;

	add_handle(&request, SIMPLER_INPUT, &stored, (int64_t)(LARGE / sizeof(int64_t)));
	held = dispatch_open(front_end, &request, CLOCK_NEVER, &outcome);
	wait_held(front_end, 1);
	rpc_client_call_cancel(held);
	expect_end(&outcome, RPC_CANCELLED);
	wait_stops(front_end, 1);
	assert_int_equal(msg_free_encode(&stored, &buffer), SIMPLER_OK);
	call(front_end, MSG_FREE_TENSOR, &buffer, &freed);
	expect_end(&freed, RPC_OK);
	assert_int_equal(try_alloc(front_end), RPC_RESOURCE_EXHAUSTED);
	assert_int_equal(kill(ask_engine(front_end).pid, SIGUSR1), 0);
	while (try_alloc(front_end) != RPC_OK)
		;
}

static void an_engine_that_does_not_stop_a_task_is_ended_and_replaced(void **state)
{
	static const char *const options[] = { "--stop-grace", "50", NULL };
	struct front_end *front_end = front_end_start(options);
	struct msg_dispatch request = make_dispatch(&front_end->orch, 7, FAKE_HOLD, 0);
	struct msg_dispatch other = make_dispatch(&front_end->orch, 8, FAKE_HOLD, 0);
	const pid_t engine = ask_engine(front_end).pid;
	struct outcome stopped, lost;
	struct rpc_client_call *held;
	int64_t began;

	(void)state;
	held = dispatch_open(front_end, &request, CLOCK_NEVER, &stopped);
	(void)dispatch_open(front_end, &other, CLOCK_NEVER, &lost);
	wait_held(front_end, 2);
	began = clock_now();
	rpc_client_call_cancel(held);
	expect_end(&stopped, RPC_CANCELLED);
	outcome_wait(&lost, &lost.ended, 1);
	assert_true(clock_now() - began >= 1150 * CLOCK_MS);
	expect(&lost, RPC_UNAVAILABLE,
	       "orchestration function 'who' had not ended 1.15 s after it");
	expect(&lost, RPC_UNAVAILABLE, "while it had task 8,");
	outcome_destroy(&lost);
	front_end_wait_serving(front_end, 2);
	assert_int_not_equal(ask_engine(front_end).pid, engine);
	front_end_stop(front_end);
}

/* More than are ever in flight at once, so that what is not given back is missed. */
static void cancelling_and_dispatching_again_without_end(void **state)
{
	struct front_end *front_end = *state;
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_HOLD_STOPPABLE, 0);
	const int64_t bytes[] = { 1, 2, 3 };
	struct rpc_client_call *held;
	struct outcome outcome;

	add_inline(&request, SIMPLER_INOUT, bytes, 3);
	for (size_t i = 0; i < ENGINE_MAX_IN_FLIGHT + 100; i++) {
		held = dispatch_open(front_end, &request, CLOCK_NEVER, &outcome);
		if (i % 2 == 0)
			wait_taken(front_end);
		rpc_client_call_cancel(held);
		expect_end(&outcome, RPC_CANCELLED);
	}
	wait_held(front_end, 0);
	assert_int_equal(ask_stops(front_end).unknown, 0);
	assert_true(ask_stops(front_end).stops >= (ENGINE_MAX_IN_FLIGHT + 100) / 2);
}

int main(int argc, char **argv)
{
#define WITH_A_NODE(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		WITH_A_NODE(a_cancelled_dispatch_is_stopped_in_the_engine_and_no_other),
		WITH_A_NODE(a_dispatch_whose_deadline_passes_is_stopped_in_the_engine),
		WITH_A_NODE(a_dispatch_of_a_client_that_dies_is_stopped_in_the_engine),
		WITH_A_NODE(a_task_that_the_engine_has_not_taken_yet_is_stopped_as_well),
		WITH_A_NODE(a_stop_that_finds_the_ring_full_is_sent_later),
		WITH_A_NODE(storage_of_a_cancelled_dispatch_is_kept_until_the_engine_answers),
		cmocka_unit_test(an_engine_that_does_not_stop_a_task_is_ended_and_replaced),
		WITH_A_NODE(cancelling_and_dispatching_again_without_end),
	};

	if (argc == 2)
		return client_main(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
