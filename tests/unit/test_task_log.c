/* What a node remembers of tasks, with a clock that the test moves and calls that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/error.h"
#include "node/task_log.h"

#define SESSION  UINT64_C(0x5e55)
#define HOLD_MS  100
#define CALLABLE 7
#define TOKEN    0x100000001u

static int64_t moment;
static char calls[4];

static int64_t manual_clock(void)
{
	return moment;
}

/* Calls are opaque to the log. */
static struct rpc_call *call_at(size_t index)
{
	return (struct rpc_call *)(void *)&calls[index];
}

static struct task_key key_of(uint64_t task)
{
	return (struct task_key){ SESSION, task };
}

static int set_up(void **state)
{
	struct task_log *log;

	moment = 1000 * CLOCK_S;
	assert_int_equal(task_log_create(HOLD_MS, manual_clock, &log), SIMPLER_OK);
	*state = log;
	return 0;
}

static int tear_down(void **state)
{
	task_log_destroy(*state);
	return 0;
}

static struct task_request request_of(uint64_t task, bool repeated, size_t call)
{
	return (struct task_request){ .key = key_of(task),
		                      .callable = CALLABLE,
		                      .repeated = repeated,
		                      .deadline = CLOCK_NEVER,
		                      .waiter = { .call = call_at(call) } };
}

static simpler_status begin(struct task_log *log, struct task_request request,
                            struct task_arrival *out)
{
	return task_log_begin(log, &request, out);
}

static struct task_arrival arrive(struct task_log *log, uint64_t task, bool repeated, size_t call)
{
	struct task_arrival arrival;

	assert_int_equal(begin(log, request_of(task, repeated, call), &arrival), SIMPLER_OK);
	return arrival;
}

static void run(struct task_log *log, uint64_t task, size_t call)
{
	assert_int_equal(arrive(log, task, false, call).known, TASK_NEW);
	assert_false(task_log_running(log, key_of(task), TOKEN + task));
}

static struct rpc_call *end(struct task_log *log, uint64_t task, const char *text)
{
	const struct task_answer answer = { RPC_OK, RPC_NOTE_NONE, (const uint8_t *)text,
		                            strlen(text) + 1 };

	return task_log_end(log, key_of(task), &answer).call;
}

static void expect_answer(struct task_log *log, uint64_t task, const char *text)
{
	struct task_arrival arrival = arrive(log, task, true, 0);

	assert_int_equal(arrival.known, TASK_ENDED);
	assert_int_equal(arrival.answer.size, strlen(text) + 1);
	assert_string_equal((const char *)arrival.answer.bytes, text);
	free((void *)(uintptr_t)arrival.answer.bytes);
}

static void a_task_that_ended_answers_whoever_asks_again(void **state)
{
	run(*state, 1, 0);
	assert_ptr_equal(end(*state, 1, "done"), call_at(0));
	expect_answer(*state, 1, "done");
	expect_answer(*state, 1, "done");
}

static void a_failure_is_remembered_with_its_code_and_note(void **state)
{
	const struct task_answer lost = { RPC_UNAVAILABLE, RPC_NOTE_LOST, (const uint8_t *)"gone",
		                          5 };
	struct task_arrival arrival;

	run(*state, 1, 0);
	(void)task_log_end(*state, key_of(1), &lost);
	arrival = arrive(*state, 1, false, 1);
	assert_int_equal(arrival.known, TASK_ENDED);
	assert_int_equal(arrival.answer.code, RPC_UNAVAILABLE);
	assert_int_equal(arrival.answer.note, RPC_NOTE_LOST);
	free((void *)(uintptr_t)arrival.answer.bytes);
}

static void a_task_in_progress_is_joined_by_the_latest_call(void **state)
{
	struct task_arrival arrival;

	run(*state, 1, 0);
	arrival = arrive(*state, 1, true, 1);
	assert_int_equal(arrival.known, TASK_JOINED);
	assert_ptr_equal(arrival.other.call, call_at(0));
	assert_ptr_equal(end(*state, 1, ""), call_at(1));
}

static void sessions_have_task_ids_of_their_own(void **state)
{
	struct task_request request = request_of(1, false, 1);
	struct task_arrival arrival;

	run(*state, 1, 0);
	request.key.session++;
	assert_int_equal(begin(*state, request, &arrival), SIMPLER_OK);
	assert_int_equal(arrival.known, TASK_NEW);
}

static void an_id_of_another_callable_is_refused(void **state)
{
	struct task_request request = request_of(1, false, 1);
	struct task_arrival arrival;

	run(*state, 1, 0);
	request.callable++;
	assert_int_equal(begin(*state, request, &arrival), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error_step(0), "task 1 "));
}

static void what_did_not_begin_is_not_known(void **state)
{
	run(*state, 1, 0);
	assert_ptr_equal(task_log_drop(*state, key_of(1)).call, call_at(0));
	run(*state, 1, 1);
}

/* --- calls that are lost --- */

static void a_task_without_a_call_is_held_and_then_stopped(void **state)
{
	int64_t until, next;

	run(*state, 1, 0);
	assert_true(task_log_leave_call(*state, call_at(0), &until));
	assert_int_equal(until, moment + HOLD_MS * CLOCK_MS);
	assert_int_equal(task_log_next_due(*state, &next), 0);
	assert_int_equal(next, until);
	moment = until;
	assert_int_equal(task_log_next_due(*state, &next), TOKEN + 1);
	assert_true(task_log_is_abandoned(*state, key_of(1)));
	assert_int_equal(task_log_next_due(*state, &next), 0);
	assert_int_equal(next, CLOCK_NEVER);
	assert_null(end(*state, 1, "stopped"));
	expect_answer(*state, 1, "stopped");
}

static void a_held_task_is_joined_in_time(void **state)
{
	struct task_arrival arrival;
	int64_t until, next;

	run(*state, 1, 0);
	assert_true(task_log_leave_call(*state, call_at(0), &until));
	arrival = arrive(*state, 1, true, 1);
	assert_int_equal(arrival.known, TASK_JOINED);
	assert_true(waiter_is_nobody(&arrival.other));
	moment = until;
	assert_int_equal(task_log_next_due(*state, &next), 0);
	assert_false(task_log_is_abandoned(*state, key_of(1)));
	assert_ptr_equal(end(*state, 1, ""), call_at(1));
}

static void a_task_is_held_no_longer_than_its_deadline(void **state)
{
	struct task_request request = request_of(1, false, 0);
	struct task_arrival arrival;
	int64_t until;

	request.deadline = moment + CLOCK_MS;
	assert_int_equal(begin(*state, request, &arrival), SIMPLER_OK);
	assert_true(task_log_leave_call(*state, call_at(0), &until));
	assert_int_equal(until, moment + CLOCK_MS);
}

static void a_call_that_waits_for_nothing_leaves_nothing(void **state)
{
	int64_t until;

	assert_false(task_log_leave_call(*state, call_at(0), &until));
	run(*state, 1, 0);
	(void)end(*state, 1, "");
	assert_false(task_log_leave_call(*state, call_at(0), &until));
}

/* --- lanes --- */

static void tasks_of_a_lane_are_left_together(void **state)
{
	struct node_lane *lane = (struct node_lane *)(void *)&calls[3];
	struct task_arrival arrival;
	int64_t until, next;

	for (uint64_t task = 1; task <= 2; task++) {
		struct task_request request = request_of(task, false, 0);

		request.waiter = (struct waiter){ .lane = lane, .tag = task };
		request.deadline = moment + (int64_t)task * CLOCK_MS;
		assert_int_equal(begin(*state, request, &arrival), SIMPLER_OK);
	}
	run(*state, 3, 0);
	assert_int_equal(task_log_leave_lane(*state, lane, &until), 2);
	assert_int_equal(until, moment + CLOCK_MS);
	assert_int_equal(task_log_leave_lane(*state, lane, &until), 0);
	assert_int_equal(until, CLOCK_NEVER);
	assert_int_equal(task_log_next_due(*state, &next), 0);
	assert_int_equal(next, moment + CLOCK_MS);
}

static void a_task_of_a_lane_that_is_late_is_stopped_and_still_answered(void **state)
{
	struct node_lane *lane = (struct node_lane *)(void *)&calls[3];
	const struct task_answer answer = { RPC_OK, RPC_NOTE_NONE, (const uint8_t *)"", 0 };
	struct task_request request = request_of(1, false, 0);
	struct task_arrival arrival;
	struct waiter waiter;
	int64_t next;

	request.waiter = (struct waiter){ .lane = lane, .tag = 7 };
	request.deadline = moment + CLOCK_MS;
	assert_int_equal(begin(*state, request, &arrival), SIMPLER_OK);
	assert_false(task_log_running(*state, key_of(1), TOKEN));
	assert_int_equal(task_log_next_due(*state, &next), 0);
	assert_int_equal(next, request.deadline);
	moment = next;
	assert_int_equal(task_log_next_due(*state, &next), TOKEN);
	assert_true(task_log_is_abandoned(*state, key_of(1)));
	waiter = task_log_end(*state, key_of(1), &answer);
	assert_ptr_equal(waiter.lane, lane);
	assert_int_equal(waiter.tag, 7);
}

/* --- stops --- */

static void a_stop_names_the_token_of_what_runs(void **state)
{
	run(*state, 1, 0);
	assert_int_equal(task_log_stop(*state, key_of(1)), TOKEN + 1);
	assert_int_equal(task_log_stop(*state, key_of(2)), 0);
	(void)end(*state, 1, "");
	assert_int_equal(task_log_stop(*state, key_of(1)), 0);
}

static void a_stop_before_the_token_is_known_is_told_with_it(void **state)
{
	(void)arrive(*state, 1, false, 0);
	assert_int_equal(task_log_stop(*state, key_of(1)), 0);
	assert_true(task_log_running(*state, key_of(1), TOKEN));
}

/* --- room --- */

static void run_to_end(struct task_log *log, uint64_t task)
{
	run(log, task, 0);
	(void)end(log, task, "");
}

static void the_last_outcomes_of_a_session_are_kept(void **state)
{
	struct task_arrival arrival;

	for (uint64_t i = 0; i <= TASK_LOG_OF_SESSION; i++)
		run_to_end(*state, i);
	expect_answer(*state, 1, "");
	expect_answer(*state, TASK_LOG_OF_SESSION, "");
	assert_int_equal(begin(*state, request_of(0, true, 0), &arrival), SIMPLER_EUNAVAILABLE);
	assert_non_null(strstr(simpler_last_error_step(0), "4096"));
}

static void what_never_came_is_run_unless_it_may_have_been_forgotten(void **state)
{
	struct task_arrival arrival;

	assert_int_equal(arrive(*state, UINT64_MAX, true, 0).known, TASK_NEW);
	for (uint64_t i = 0; i <= TASK_LOG_OF_SESSION; i++)
		run_to_end(*state, i);
	assert_int_equal(arrive(*state, UINT64_MAX - 1, false, 0).known, TASK_NEW);
	assert_int_equal(begin(*state, request_of(UINT64_MAX - 2, true, 0), &arrival),
	                 SIMPLER_EUNAVAILABLE);
}

static void answers_have_so_many_bytes_in_all(void **state)
{
	size_t size = TASK_LOG_BYTES / 4 + 1;
	uint8_t *bytes = calloc(1, size);
	const struct task_answer large = { RPC_OK, RPC_NOTE_NONE, bytes, size };
	struct task_arrival arrival;

	assert_non_null(bytes);
	for (uint64_t i = 0; i < 4; i++) {
		run(*state, i, 0);
		(void)task_log_end(*state, key_of(i), &large);
	}
	free(bytes);
	assert_int_equal(begin(*state, request_of(0, true, 0), &arrival), SIMPLER_EUNAVAILABLE);
	arrival = arrive(*state, 1, true, 0);
	assert_int_equal(arrival.known, TASK_ENDED);
	free((void *)(uintptr_t)arrival.answer.bytes);
}

static void a_sessions_outcomes_go_with_it(void **state)
{
	run_to_end(*state, 1);
	task_log_end_session(*state, SESSION);
	task_log_end_session(*state, SESSION);
	assert_int_equal(arrive(*state, 1, false, 0).known, TASK_NEW);
}

/* --- threads --- */

#define THREADS 4
#define TASKS   200

static struct task_log *shared;
static _Atomic unsigned runs[TASKS], answers;

/* Each dispatches all tasks; whoever finds one new runs it. */
static void *dispatch_all(void *context)
{
	size_t call = *(size_t *)context;

	for (uint64_t task = 0; task < TASKS; task++) {
		struct task_arrival arrival = arrive(shared, task, true, call);

		if (arrival.known == TASK_NEW) {
			atomic_fetch_add(&runs[task], 1);
			if (end(shared, task, "x"))
				atomic_fetch_add(&answers, 1);
		} else if (arrival.known == TASK_ENDED) {
			free((void *)(uintptr_t)arrival.answer.bytes);
			atomic_fetch_add(&answers, 1);
		} else if (arrival.other.call) {
			atomic_fetch_add(&answers, 1);
		}
	}
	return NULL;
}

static void of_threads_that_dispatch_the_same_one_runs_it(void **state)
{
	static size_t indexes[THREADS] = { 0, 1, 2, 3 };
	pthread_t threads[THREADS];

	shared = *state;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, dispatch_all, &indexes[i]), 0);
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	for (size_t task = 0; task < TASKS; task++)
		assert_int_equal(atomic_load(&runs[task]), 1);
	/* Every call was answered, or pushed out by one that was. */
	assert_int_equal(atomic_load(&answers), THREADS * TASKS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_task_that_ended_answers_whoever_asks_again),
		TEST(a_failure_is_remembered_with_its_code_and_note),
		TEST(a_task_in_progress_is_joined_by_the_latest_call),
		TEST(sessions_have_task_ids_of_their_own),
		TEST(an_id_of_another_callable_is_refused),
		TEST(what_did_not_begin_is_not_known),
		TEST(a_task_without_a_call_is_held_and_then_stopped),
		TEST(a_held_task_is_joined_in_time),
		TEST(a_task_is_held_no_longer_than_its_deadline),
		TEST(a_call_that_waits_for_nothing_leaves_nothing),
		TEST(tasks_of_a_lane_are_left_together),
		TEST(a_task_of_a_lane_that_is_late_is_stopped_and_still_answered),
		TEST(a_stop_names_the_token_of_what_runs),
		TEST(a_stop_before_the_token_is_known_is_told_with_it),
		TEST(the_last_outcomes_of_a_session_are_kept),
		TEST(what_never_came_is_run_unless_it_may_have_been_forgotten),
		TEST(answers_have_so_many_bytes_in_all),
		TEST(a_sessions_outcomes_go_with_it),
		TEST(of_threads_that_dispatch_the_same_one_runs_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
