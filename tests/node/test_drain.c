/* How a daemon ends: what runs may finish, nothing new begins, and signals decide how long. */
#include "front_end.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/process.h"

/* A daemon with one task that the engine holds. */
struct held_task {
	struct front_end *front_end;
	struct outcome outcome;
	pid_t engine;
};

static void hold(struct held_task *held, const char *const *options)
{
	struct msg_dispatch request;

	held->front_end = front_end_start(options);
	request = make_dispatch(&held->front_end->orch, 33, FAKE_HOLD, 0);
	held->engine = ask_engine(held->front_end).pid;
	dispatch_begin(held->front_end, &request, &held->outcome);
	wait_held(held->front_end, 1);
}

/* SIGTERM, until readiness has flipped. */
static void terminate(struct held_task *held)
{
	process_signal(held->front_end->daemon.pidfd, SIGTERM);
	front_end_wait_not_serving(held->front_end);
}

static void finish(struct held_task *held)
{
	outcome_destroy(&held->outcome);
	front_end_finish(held->front_end);
}

static void expect_lost(struct held_task *held)
{
	outcome_wait(&held->outcome, &held->outcome.ended, 1);
	expect(&held->outcome, RPC_UNAVAILABLE, "task 33");
}

static void a_drain_flips_readiness_refuses_new_work_and_waits_for_the_rest(void **state)
{
	struct msg_dispatch request;
	struct msg_outcome response;
	struct held_task held;
	struct outcome late;
	struct bump bump;

	(void)state;
	hold(&held, NULL);
	terminate(&held);
	request = make_dispatch(&held.front_end->orch, 34, FAKE_ANSWER, 0);
	dispatch(held.front_end, &request, &late);
	expect(&late, RPC_UNAVAILABLE, "node '" NODE_ID "' is draining");
	outcome_destroy(&late);
	(void)alloc_tensor(held.front_end, 8); /* who runs may still fetch and free its results */
	assert_int_equal(outcome_ended(&held.outcome), 0);
	assert_int_equal(kill(held.engine, SIGUSR1), 0);
	expect_response(&held.outcome, &bump, &response);
	assert_int_equal(response.task_id, 33);
	assert_int_equal(response.error_code, 0);
	bump_release(&bump);
	finish(&held);
}

static void ask_to_drain(struct front_end *front_end, uint64_t grace_ms)
{
	const struct msg_drain drain = { grace_ms };
	struct rpc_buffer buffer;
	struct outcome outcome;

	assert_int_equal(msg_drain_encode(&drain, &buffer), SIMPLER_OK);
	call(front_end, MSG_DRAIN, &buffer, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
}

static void a_client_of_this_machine_may_have_a_node_drain(void **state)
{
	struct msg_dispatch request;
	struct msg_outcome response;
	struct held_task held;
	struct outcome late;
	struct bump bump;

	(void)state;
	hold(&held, NULL);
	ask_to_drain(held.front_end, 0);
	/* It is not ready from the answer on. */
	assert_false(serves(held.front_end, ""));
	request = make_dispatch(&held.front_end->orch, 34, FAKE_ANSWER, 0);
	dispatch(held.front_end, &request, &late);
	expect(&late, RPC_UNAVAILABLE, "is draining");
	outcome_destroy(&late);
	assert_int_equal(outcome_ended(&held.outcome), 0);
	/* No reason to take longer, nor to hurry. */
	ask_to_drain(held.front_end, 86400000);
	assert_int_equal(outcome_ended(&held.outcome), 0);
	assert_int_equal(kill(held.engine, SIGUSR1), 0);
	expect_response(&held.outcome, &bump, &response);
	assert_int_equal(response.error_code, 0);
	bump_release(&bump);
	finish(&held);
}

static void a_drain_with_a_shorter_grace_hurries(void **state)
{
	struct held_task held;

	(void)state;
	hold(&held, NULL);
	ask_to_drain(held.front_end, 86400000);
	ask_to_drain(held.front_end, 1);
	expect_lost(&held);
	finish(&held);
}

static void a_second_signal_hurries(void **state)
{
	struct held_task held;

	(void)state;
	hold(&held, NULL);
	terminate(&held);
	process_signal(held.front_end->daemon.pidfd, SIGINT);
	expect_lost(&held);
	finish(&held);
}

static void the_grace_of_a_drain_ends(void **state)
{
	static const char *const options[] = { "--drain-grace", "0", NULL };
	struct held_task held;

	(void)state;
	hold(&held, options);
	process_signal(held.front_end->daemon.pidfd, SIGTERM);
	expect_lost(&held);
	finish(&held);
}

static void an_engine_that_dies_in_a_drain_ends_it(void **state)
{
	struct held_task held;

	(void)state;
	hold(&held, NULL);
	terminate(&held);
	assert_int_equal(kill(held.engine, SIGKILL), 0);
	expect_lost(&held);
	finish(&held);
}

static void a_hang_up_is_ignored(void **state)
{
	struct front_end *front_end = front_end_start(NULL);

	(void)state;
	process_signal(front_end->daemon.pidfd, SIGHUP);
	process_signal(front_end->daemon.pidfd, SIGPIPE);
	for (size_t i = 0; i < 50; i++)
		(void)ask_engine(front_end);
	front_end_stop(front_end);
}

static void the_engine_is_out_of_reach_of_ctrl_c(void **state)
{
	struct front_end *front_end = front_end_start(NULL);
	const pid_t engine = ask_engine(front_end).pid;

	(void)state;
	/* Ctrl-C goes to the process group of the terminal; the engine leads its own. */
	assert_int_equal(getpgid(engine), engine);
	assert_int_not_equal(getpgid(front_end->daemon.pid), engine);
	front_end_stop(front_end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_drain_flips_readiness_refuses_new_work_and_waits_for_the_rest),
		cmocka_unit_test(a_client_of_this_machine_may_have_a_node_drain),
		cmocka_unit_test(a_drain_with_a_shorter_grace_hurries),
		cmocka_unit_test(a_second_signal_hurries),
		cmocka_unit_test(the_grace_of_a_drain_ends),
		cmocka_unit_test(an_engine_that_dies_in_a_drain_ends_it),
		cmocka_unit_test(a_hang_up_is_ignored),
		cmocka_unit_test(the_engine_is_out_of_reach_of_ctrl_c),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
