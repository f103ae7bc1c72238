/* Children that go away and come back, and tasks that come back without having run, or lost. */
#include <string.h>

#include "worker_fixture.h"

static struct fake *add_node(struct fixture *fixture, uint32_t width)
{
	return fixture_add(fixture->core, SIMPLER_KIND_ORCH, width, width);
}

static simpler_status submit(simpler_orch *orch, struct fixture *fixture, unsigned cell,
                             simpler_worker_id worker)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

	options.worker = worker;
	return fixture_submit(orch, fixture, cell, SIMPLER_INPUT, &options, NULL);
}

ORCH(one_anywhere)
{
	FIXTURE_OF_STATE();
	return submit(orch, fixture, 0, SIMPLER_ANY_WORKER);
}

ORCH(one_on_node_0)
{
	FIXTURE_OF_STATE();
	return submit(orch, fixture, 1, 0);
}

static void expect_failure(struct background *run, const char *text)
{
	background_end(run);
	assert_int_equal(run->status, SIMPLER_EUNAVAILABLE);
	if (!strstr(run->text, text))
		fail_msg("'%s' does not say: %s", run->text, text);
}

static void expect_success(struct background *run)
{
	background_end(run);
	if (run->status != SIMPLER_OK)
		fail_msg("%s", run->text);
}

/* --- away --- */

static void what_is_away_is_given_nothing_until_it_is_back(void **state)
{
	struct fixture *fixture = *state;
	struct fake *other = add_node(fixture, 8);
	struct background runs[3];

	fake_set_away(fixture->core, fixture->node, true);
	for (unsigned i = 0; i < 2; i++) {
		background_begin(&runs[i], fixture, one_anywhere);
		fake_wait_for(other, i + 1);
	}
	fake_set_away(fixture->core, fixture->node, false);
	background_begin(&runs[2], fixture, one_anywhere);
	fake_end_well(fake_take(fixture->node));
	fake_end_well(fake_take(other));
	fake_end_well(fake_take(other));
	for (unsigned i = 0; i < 3; i++)
		expect_success(&runs[i]);
}

static void a_task_directed_at_what_is_away_fails_with_the_reason(void **state)
{
	struct fixture *fixture = *state;
	struct fake *other = add_node(fixture, 8);
	struct background directed, any;

	fake_set_away(fixture->core, fixture->node, true);
	background_begin(&directed, fixture, one_on_node_0);
	expect_failure(&directed, "fake node 0 is away");
	background_begin(&any, fixture, one_anywhere);
	fake_end_well(fake_take(other));
	expect_success(&any);
	assert_int_equal(fake_started(fixture->node), 0);
}

ORCH(nine_on_node_0)
{
	simpler_status status = SIMPLER_OK;
	FIXTURE_OF_STATE();

	/* Readers of one cell: eight begin, one waits. */
	for (unsigned i = 0; i < 9 && status == SIMPLER_OK; i++) {
		simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

		options.worker = 0;
		status = fixture_submit(orch, fixture, 2, SIMPLER_INPUT, &options, NULL);
	}
	return status;
}

static void what_waits_for_a_child_that_goes_away_fails_and_what_runs_there_ends(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, nine_on_node_0);
	fake_wait_for(fixture->node, 8);
	fake_set_away(fixture->core, fixture->node, true);
	for (unsigned i = 0; i < 8; i++)
		fake_end_well(fake_take(fixture->node));
	expect_failure(&run, "fake node 0 is away");
	assert_int_equal(fake_started(fixture->node), 8);
}

static void what_nobody_else_could_run_fails_when_the_last_goes_away(void **state)
{
	struct fixture *fixture = *state;
	struct fake *other = add_node(fixture, 8);
	struct background run;

	fake_set_away(fixture->core, other, true);
	fake_set_away(fixture->core, fixture->node, true);
	background_begin(&run, fixture, one_anywhere);
	expect_failure(&run, "no other could run the task");
}

ORCH(a_group_of_two)
{
	static const simpler_args *const no_args[2];
	FIXTURE_OF_STATE();

	return simpler_submit_next_level_group(orch, fixture->fn, no_args, 2, NULL, NULL);
}

static void a_group_fails_when_too_few_are_left_for_it(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	(void)add_node(fixture, 8);
	fake_set_away(fixture->core, fixture->node, true);
	background_begin(&run, fixture, a_group_of_two);
	expect_failure(&run, "and the group needs it");
}

/* --- once more --- */

static void a_task_that_was_refused_is_placed_again(void **state)
{
	struct fixture *fixture = *state;
	struct exec_task *task;
	struct background run;
	uint64_t id;

	background_begin(&run, fixture, one_anywhere);
	task = fake_take(fixture->node);
	id = task->id;
	fake_end_with(task, EXEC_NOT_RUN, "full");
	task = fake_take(fixture->node);
	assert_true(task->id != id);
	fake_end_with(task, EXEC_NOT_RUN, "full");
	fake_end_well(fake_take(fixture->node));
	expect_success(&run);
	assert_int_equal(fake_started(fixture->node), 3);
}

/* All rests together take eight seconds. */
static void a_task_that_is_refused_for_ever_fails_with_what_its_node_said(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, one_anywhere);
	for (unsigned i = 0; i < 21; i++)
		fake_end_with(fake_take(fixture->node), EXEC_NOT_RUN, "1 task is in flight there");
	expect_failure(&run, "1 task is in flight there");
	assert_int_equal(fake_started(fixture->node), 21);
}

static void a_refused_task_goes_elsewhere_when_its_node_goes_away(void **state)
{
	struct fixture *fixture = *state;
	struct fake *other = add_node(fixture, 8);
	struct background run;
	struct exec_task *task;

	background_begin(&run, fixture, one_anywhere);
	task = fake_take(fixture->node);
	fake_set_away(fixture->core, fixture->node, true);
	fake_end_with(task, EXEC_NOT_RUN, "it drains");
	fake_end_well(fake_take(other));
	expect_success(&run);
}

static void a_lost_task_fails_once_with_what_its_node_said(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	(void)add_node(fixture, 8);
	background_begin(&run, fixture, one_anywhere);
	fake_end_with(fake_take(fixture->node), EXEC_LOST, "the node has gone");
	expect_failure(&run, "the node has gone");
}

ORCH(an_idempotent_one)
{
	struct fixture as_idempotent;
	struct callable_spec spec = { .name = "shift",
		                      .kind = SIMPLER_KIND_ORCH,
		                      .idempotent = true };
	FIXTURE_OF_STATE();

	as_idempotent = *fixture;
	spec.module = fixture->module;
	assert_int_equal(callables_add(fixture->core->callables, &spec, NULL, &as_idempotent.fn.id),
	                 SIMPLER_OK);
	assert_true(as_idempotent.fn.id != fixture->fn.id);
	return submit(orch, &as_idempotent, 0, SIMPLER_ANY_WORKER);
}

static void a_lost_task_of_an_idempotent_callable_runs_again_three_times_at_most(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, an_idempotent_one);
	for (unsigned i = 0; i < 4; i++)
		fake_end_with(fake_take(fixture->node), EXEC_LOST, "the node has gone");
	expect_failure(&run, "after 3 attempts");
	assert_int_equal(fake_started(fixture->node), 4);
}

static void a_failure_of_its_own_is_no_reason_to_run_again(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, an_idempotent_one);
	fake_end_badly(fake_take(fixture->node), SIMPLER_EUNAVAILABLE, "it says so itself");
	expect_failure(&run, "it says so itself");
	assert_int_equal(fake_started(fixture->node), 1);
}

static void a_member_of_a_group_is_not_tried_again(void **state)
{
	struct fixture *fixture = *state;
	struct fake *other = add_node(fixture, 8);
	struct background run;

	background_begin(&run, fixture, a_group_of_two);
	fake_wait_for(other, 1);
	fake_end_with(fake_take(fixture->node), EXEC_NOT_RUN, "full");
	fake_end_well(fake_take(other));
	expect_failure(&run, "full");
}

static void a_resting_task_is_stopped_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, one_anywhere);
	/* Ever longer rests, so that it is in one. */
	for (unsigned i = 0; i < 6; i++)
		fake_end_with(fake_take(fixture->node), EXEC_NOT_RUN, "full");
	run_stop(run.run, SIMPLER_ECANCELLED);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_ECANCELLED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_away_is_given_nothing_until_it_is_back),
		TEST(a_task_directed_at_what_is_away_fails_with_the_reason),
		TEST(what_waits_for_a_child_that_goes_away_fails_and_what_runs_there_ends),
		TEST(what_nobody_else_could_run_fails_when_the_last_goes_away),
		TEST(a_group_fails_when_too_few_are_left_for_it),
		TEST(a_task_that_was_refused_is_placed_again),
		TEST(a_task_that_is_refused_for_ever_fails_with_what_its_node_said),
		TEST(a_refused_task_goes_elsewhere_when_its_node_goes_away),
		TEST(a_lost_task_fails_once_with_what_its_node_said),
		TEST(a_lost_task_of_an_idempotent_callable_runs_again_three_times_at_most),
		TEST(a_failure_of_its_own_is_no_reason_to_run_again),
		TEST(a_member_of_a_group_is_not_tried_again),
		TEST(a_resting_task_is_stopped_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
