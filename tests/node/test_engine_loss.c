/*
 * R05: the engine dies, is killed, or talks nonsense. Whoever waited is told what happened, the
 * engine is replaced and knows all callables again, and stored tensors live on.
 */
#include "front_end.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/process.h"
#include "temporary_directory.h"

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

/* The engine after the next one that is READY. */
static unsigned next_engine(struct front_end *front_end)
{
	unsigned times;

	pthread_mutex_lock(&front_end->lock);
	times = front_end->times_serving + 1;
	pthread_mutex_unlock(&front_end->lock);
	return times;
}

static void expect_lost(struct outcome *outcome, uint64_t task_id, const char *how)
{
	char task[32];

	outcome_wait(outcome, &outcome->ended, 1);
	(void)snprintf(task, sizeof(task), "task %llu,", (unsigned long long)task_id);
	expect(outcome, RPC_UNAVAILABLE, "node '" NODE_ID "'");
	expect(outcome, RPC_UNAVAILABLE, how);
	expect(outcome, RPC_UNAVAILABLE, task);
	expect(outcome, RPC_UNAVAILABLE, "orchestration function 'who'");
	outcome_destroy(outcome);
}

static void R05_a_killed_engine_is_told_to_all_who_waited(void **state)
{
	struct front_end *front_end = *state;
	const unsigned next = next_engine(front_end);
	const pid_t engine = ask_engine(front_end).pid;
	char digest[17];
	struct outcome held[2];
	struct engine_facts facts;

	for (size_t i = 0; i < 2; i++) {
		struct msg_dispatch request = make_dispatch(&front_end->orch, 70 + i, FAKE_HOLD, 0);

		dispatch_begin(front_end, &request, &held[i]);
	}
	wait_held(front_end, 2);
	assert_int_equal(kill(engine, SIGKILL), 0);
	outcome_wait(&held[0], &held[0].ended, 1);
	digest_short(&front_end->orch.digest, digest);
	expect(&held[0], RPC_UNAVAILABLE, digest);
	expect_lost(&held[0], 70, "was killed by signal 9");
	expect_lost(&held[1], 71, "was killed by signal 9");
	front_end_wait_serving(front_end, next);
	facts = ask_engine(front_end);
	assert_int_not_equal(facts.pid, engine);
	assert_int_equal(facts.installs, 2); /* orchestration function and sub task, again */
}

/* A machine that is busy with other things may be late once, but not each time. Engines that die
 * young again and again come later, but not by so much yet. */
static void R05_a_killed_engine_is_told_within_100_ms_and_replaced_within_a_second(void **state)
{
	struct front_end *front_end = *state;
	int64_t told = INT64_MAX, served = INT64_MAX;

	for (unsigned i = 0; i < 3 && (told > CLOCK_S / 10 || served > CLOCK_S); i++) {
		struct msg_dispatch request = make_dispatch(&front_end->orch, 80 + i, FAKE_HOLD, 0);
		const pid_t engine = ask_engine(front_end).pid;
		const unsigned next = next_engine(front_end);
		struct outcome held;
		int64_t killed;

		dispatch_begin(front_end, &request, &held);
		wait_held(front_end, 1);
		killed = clock_now();
		assert_int_equal(kill(engine, SIGKILL), 0);
		outcome_wait(&held, &held.ended, 1);
		told = clock_now() - killed;
		front_end_wait_serving(front_end, next);
		assert_int_equal(ask_engine(front_end).installs, 2);
		served = clock_now() - killed;
		expect_lost(&held, 80 + i, "was killed by signal 9");
	}
	assert_in_range(told, 1, CLOCK_S / 10);
	assert_in_range(served, 1, CLOCK_S);
}

static const struct {
	const char *name;
	enum fake_command command;
	uint64_t value;
	const char *how;
} ends[] = {
	{ "exit", FAKE_EXIT, 3, "exited with status 3" },
	{ "a clean exit is an end, too", FAKE_EXIT, 0, "exited with status 0" },
	{ "crash", FAKE_RAISE, SIGSEGV, "was killed by signal 11" },
	{ "abort", FAKE_RAISE, SIGABRT, "was killed by signal 6" },
	{ "a record that is none", FAKE_BAD_RECORD, 0, "failed and was stopped" },
	{ "a token that is none", FAKE_BAD_TOKEN, 0, "names no task in flight" },
	{ "positions that no ring has", FAKE_BAD_POSITION, 0, "failed and was stopped" },
	{ "bells that wake nobody", FAKE_NO_BELLS, 0, "failed and was stopped" },
	{ "control that says nothing", FAKE_BAD_CONTROL, 0, "failed and was stopped" },
	{ "an install that was not asked for", FAKE_UNASKED_INSTALL, 0, "was not sent" },
	{ "control shut down", FAKE_CLOSE_CONTROL, 0, "was killed by signal 9" },
};

/* Each with a node of its own, as the next engine comes later the more of them have died. */
static void R05_whatever_an_engine_does_the_front_end_replaces_it(void **state)
{
	struct outcome outcome, held;

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct front_end *front_end = front_end_start(NULL);
		struct msg_dispatch hold = make_dispatch(&front_end->orch, 8, FAKE_HOLD, 0);
		struct msg_dispatch request =
			make_dispatch(&front_end->orch, 9, ends[i].command, ends[i].value);

		dispatch_begin(front_end, &hold, &held);
		wait_held(front_end, 1);
		dispatch(front_end, &request, &outcome);
		expect_lost(&held, 8, ends[i].how);
		expect_lost(&outcome, 9, ends[i].how);
		front_end_wait_serving(front_end, 2);
		assert_int_equal(ask_engine(front_end).installs, 2);
		front_end_stop(front_end);
	}
}

static void R05_stored_tensors_outlive_engines(void **state)
{
	struct front_end *front_end = *state;
	const unsigned next = next_engine(front_end);
	const struct msg_handle stored = alloc_tensor(front_end, 8);
	const struct msg_chunk chunk = {
		.has_handle = true, .handle = stored, .data = { "whatever", 8 }, .last = true
	};
	struct msg_dispatch die = make_dispatch(&front_end->orch, 9, FAKE_EXIT, 1);
	struct outcome outcome;
	uint8_t bytes[8];
	unsigned chunks;
	size_t size;

	push_chunks(front_end, &chunk, 1, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
	/* One that the lost task uses, even. */
	add_handle(&die, SIMPLER_INPUT, &stored, 1);
	dispatch(front_end, &die, &outcome);
	expect_lost(&outcome, 9, "exited with status 1");
	front_end_wait_serving(front_end, next);
	pull_tensor(front_end, &stored, bytes, sizeof(bytes), &size, &chunks, &outcome);
	expect(&outcome, RPC_OK, "");
	assert_memory_equal(bytes, "whatever", 8);
	outcome_destroy(&outcome);
}

static void an_engine_that_answers_twice_is_replaced_and_the_first_answer_counts(void **state)
{
	struct front_end *front_end = *state;
	const unsigned next = next_engine(front_end);
	struct msg_dispatch request = make_dispatch(&front_end->orch, 9, FAKE_TWICE, 0);
	struct outcome outcome;

	dispatch(front_end, &request, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
	front_end_wait_serving(front_end, next);
	(void)ask_engine(front_end);
}

/* A node whose engine is a link to a program, in a directory of its own. */
struct linked {
	struct temporary_directory directory;
	char *program;
	char link[sizeof(((struct temporary_directory *)0)->path) + 16];
	struct front_end *front_end;
};

static int start_linked(void **state)
{
	struct linked *linked = calloc(1, sizeof(*linked));

	assert_non_null(linked);
	assert_true(temporary_directory_make(&linked->directory));
	(void)snprintf(linked->link, sizeof(linked->link), "%s/engine", linked->directory.path);
	linked->program = strdup(getenv("SIMPLER_HOST"));
	assert_non_null(linked->program);
	assert_int_equal(symlink(linked->program, linked->link), 0);
	assert_int_equal(setenv("SIMPLER_HOST", linked->link, 1), 0);
	linked->front_end = front_end_start(NULL);
	assert_int_equal(setenv("SIMPLER_HOST", linked->program, 1), 0);
	*state = linked;
	return 0;
}

static int stop_linked(void **state)
{
	struct linked *linked = *state;

	front_end_stop(linked->front_end);
	temporary_directory_remove(&linked->directory);
	free(linked->program);
	free(linked);
	return 0;
}

/* A new engine may be up before the next request comes. Here none is, as there is no program to
 * execute, until there is one again. */
static void while_the_engine_restarts_requests_are_refused_at_once(void **state)
{
	const struct linked *linked = *state;
	struct front_end *front_end = linked->front_end;
	const unsigned next = next_engine(front_end);
	struct msg_dispatch die = make_dispatch(&front_end->orch, 9, FAKE_EXIT, 1);
	struct msg_dispatch request = make_dispatch(&front_end->orch, 10, FAKE_ANSWER, 0);
	struct callable fresh;
	struct outcome outcome;

	callable_make(&fresh, SIMPLER_KIND_ORCH, "who", "pushed while there is no engine");
	assert_int_equal(unlink(linked->link), 0);
	dispatch(front_end, &die, &outcome);
	expect_lost(&outcome, 9, "exited with status 1");
	dispatch(front_end, &request, &outcome);
	expect(&outcome, RPC_UNAVAILABLE, "engine is restarting");
	expect(&outcome, RPC_UNAVAILABLE, "task 10");
	outcome_destroy(&outcome);
	push_callable(front_end, &fresh, &outcome);
	expect(&outcome, RPC_UNAVAILABLE, "engine is being restarted");
	outcome_destroy(&outcome);
	/* Storage needs no engine. */
	(void)alloc_tensor(front_end, 8);
	assert_int_equal(symlink(linked->program, linked->link), 0);
	front_end_wait_serving(front_end, next);
	push_callable(front_end, &fresh, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
	assert_int_equal(ask_engine(front_end).installs, 3);
	callable_release(&fresh);
}

static void expect_not_known(struct front_end *front_end, const struct callable *callable)
{
	const struct msg_callable_ref ref = { callable->id, callable->version };
	struct rpc_buffer buffer;
	struct outcome outcome;

	assert_int_equal(msg_callable_ref_encode(&ref, &buffer), SIMPLER_OK);
	call(front_end, MSG_PULL_CALLABLE, &buffer, &outcome);
	expect(&outcome, RPC_NOT_FOUND, "");
	outcome_destroy(&outcome);
}

static void a_callable_that_the_engine_refuses_is_not_kept(void **state)
{
	struct front_end *front_end = *state;
	struct callable refused;
	struct outcome outcome;

	callable_make(&refused, SIMPLER_KIND_ORCH, "who", FAKE_STATE_REFUSE);
	push_callable(front_end, &refused, &outcome);
	expect(&outcome, RPC_INVALID_ARGUMENT, "told to refuse");
	expect(&outcome, RPC_INVALID_ARGUMENT, NODE_ID);
	outcome_destroy(&outcome);
	expect_not_known(front_end, &refused);
	callable_release(&refused);
}

static void a_callable_that_kills_the_engine_is_not_tried_again(void **state)
{
	struct front_end *front_end = *state;
	const unsigned next = next_engine(front_end);
	struct callable deadly;
	struct outcome outcome;

	callable_make(&deadly, SIMPLER_KIND_ORCH, "who", FAKE_STATE_DIE);
	push_callable(front_end, &deadly, &outcome);
	expect(&outcome, RPC_UNAVAILABLE, "loading 'who'");
	expect(&outcome, RPC_UNAVAILABLE, "exited with status 5");
	outcome_destroy(&outcome);
	front_end_wait_serving(front_end, next);
	expect_not_known(front_end, &deadly);
	(void)ask_engine(front_end);
	callable_release(&deadly);
}

static void the_same_callable_pushed_by_several_is_installed_once(void **state)
{
	struct front_end *front_end = *state;
	const int64_t before = ask_engine(front_end).installs;
	struct outcome outcomes[8];
	struct callable shared;

	callable_make(&shared, SIMPLER_KIND_ORCH, "who", "shared");
	for (size_t i = 0; i < 8; i++) {
		const struct msg_callable message = { .callable_id = shared.id,
			                              .version = shared.version,
			                              .payload = { shared.payload,
			                                           shared.payload_size } };
		struct rpc_buffer buffer;

		assert_int_equal(msg_callable_encode(&message, &buffer), SIMPLER_OK);
		call_begin(front_end, MSG_PUSH_CALLABLE, &buffer, &outcomes[i]);
	}
	for (size_t i = 0; i < 8; i++) {
		outcome_wait(&outcomes[i], &outcomes[i].ended, 1);
		expect(&outcomes[i], RPC_OK, "");
		outcome_destroy(&outcomes[i]);
	}
	assert_int_equal(ask_engine(front_end).installs, before + 1);
	callable_release(&shared);
}

/* --- a daemon whose first engine does not come up --- */

static int run_to_its_end(const char *const *arguments)
{
	int pidfd, wait_status = -1;
	pid_t pid;

	assert_int_equal(process_start(arguments[0], (char *const *)(uintptr_t)arguments, NULL, 0,
	                               &pid, &pidfd),
	                 SIMPLER_OK);
	assert_true(process_wait(pidfd, clock_after_ms(30000), &wait_status));
	return wait_status;
}

static void a_first_engine_that_does_not_start_ends_the_daemon(void **state)
{
	static const char *const starts[] = { FAKE_START_REFUSE, FAKE_START_EXIT };
	const char *const arguments[] = { getenv("SIMPLER_L3D"), "--listen", "127.0.0.1:0", NULL };
	char *host = strdup(getenv("SIMPLER_HOST"));

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(setenv(FAKE_START, starts[i], 1), 0);
		assert_int_equal(run_to_its_end(arguments), 1 << 8);
	}
	assert_int_equal(unsetenv(FAKE_START), 0);
	assert_int_equal(setenv("SIMPLER_HOST", "/nonexistent/simpler-host", 1), 0);
	assert_int_equal(run_to_its_end(arguments), 1 << 8);
	assert_int_equal(setenv("SIMPLER_HOST", host, 1), 0);
	free(host);
}

static void a_bad_option_is_exit_status_2(void **state)
{
	const char *const arguments[] = { getenv("SIMPLER_L3D"), "--sub-workers", "many", NULL };

	(void)state;
	assert_int_equal(run_to_its_end(arguments), 2 << 8);
}

int main(void)
{
#define WITH_A_NODE(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		WITH_A_NODE(R05_a_killed_engine_is_told_to_all_who_waited),
		WITH_A_NODE(R05_a_killed_engine_is_told_within_100_ms_and_replaced_within_a_second),
		cmocka_unit_test(R05_whatever_an_engine_does_the_front_end_replaces_it),
		WITH_A_NODE(R05_stored_tensors_outlive_engines),
		WITH_A_NODE(an_engine_that_answers_twice_is_replaced_and_the_first_answer_counts),
		cmocka_unit_test_setup_teardown(
			while_the_engine_restarts_requests_are_refused_at_once, start_linked,
			stop_linked),
		WITH_A_NODE(a_callable_that_the_engine_refuses_is_not_kept),
		WITH_A_NODE(a_callable_that_kills_the_engine_is_not_tried_again),
		WITH_A_NODE(the_same_callable_pushed_by_several_is_installed_once),
		cmocka_unit_test(a_first_engine_that_does_not_start_ends_the_daemon),
		cmocka_unit_test(a_bad_option_is_exit_status_2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
