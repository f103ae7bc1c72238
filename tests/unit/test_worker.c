/* What the scheduler promises of runs and their tasks, over fake children. */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "worker_fixture.h"

/* --- tests --- */

ORCH(two_writers)
{
	FIXTURE_OF_STATE();
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL), SIMPLER_OK);
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL), SIMPLER_OK);
	assert_int_equal(fixture_submit(orch, fixture, 1, SIMPLER_INOUT, NULL, NULL), SIMPLER_OK);
	return SIMPLER_OK;
}

static void tasks_on_the_same_bytes_run_one_after_the_other(void **state)
{
	struct fixture *fixture = *state;
	struct exec_task *first, *second, *other;
	struct background run;

	background_begin(&run, fixture, two_writers);
	first = fake_take(fixture->node);
	other = fake_take(fixture->node);
	assert_ptr_equal(first->tensors[0].data, &fixture->cells[0]);
	assert_ptr_equal(other->tensors[0].data, &fixture->cells[1]);
	assert_int_equal(fixture->node->started, 2);
	fake_end_well(first);
	second = fake_take(fixture->node);
	assert_ptr_equal(second->tensors[0].data, &fixture->cells[0]);
	fake_end_well(other);
	fake_end_well(second);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(fixture->node->started, 3);
}

ORCH(one_task)
{
	FIXTURE_OF_STATE();
	return fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL);
}

static void a_failed_task_fails_the_run_with_the_whole_chain(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, one_task);
	fake_end_badly(fake_take(fixture->node), SIMPLER_EDEADLINE, "too slow");
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_EDEADLINE);
	assert_non_null(strstr(run.text, "task 1: orchestration function 'shift' ("));
	assert_non_null(strstr(run.text, "on fake node 0"));
	assert_non_null(strstr(run.text, "SIMPLER_EDEADLINE: too slow"));

	background_begin(&run, fixture, one_task);
	fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

static pthread_mutex_t submitted_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t submitted_changed = PTHREAD_COND_INITIALIZER;
static bool submitted; /* under the lock */

ORCH(one_task_and_tell)
{
	simpler_status status;
	FIXTURE_OF_STATE();

	status = fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL);
	pthread_mutex_lock(&submitted_lock);
	submitted = true;
	pthread_cond_signal(&submitted_changed);
	pthread_mutex_unlock(&submitted_lock);
	return status;
}

ORCH(consumer_and_bystander)
{
	FIXTURE_OF_STATE();
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL), SIMPLER_OK);
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INPUT, NULL, NULL), SIMPLER_OK);
	assert_int_equal(fixture_submit(orch, fixture, 1, SIMPLER_INOUT, NULL, NULL), SIMPLER_OK);
	return SIMPLER_OK;
}

static void consumers_of_a_failed_task_never_run_and_the_others_do(void **state)
{
	struct fixture *fixture = *state;
	struct exec_task *producer, *bystander;
	struct background run;

	background_begin(&run, fixture, consumer_and_bystander);
	producer = fake_take(fixture->node);
	bystander = fake_take(fixture->node);
	fake_end_badly(producer, SIMPLER_EUSER, "broken");
	fake_end_well(bystander);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_EUSER);
	assert_int_equal(fixture->node->started, 2);
}

ORCH(fails_by_itself)
{
	FIXTURE_OF_STATE();
	(void)orch;
	(void)fixture;
	return simpler_fail((simpler_status)1234, "no %s", "luck");
}

ORCH(fails_without_a_word)
{
	FIXTURE_OF_STATE();
	(void)orch;
	(void)fixture;
	return SIMPLER_ENOTFOUND;
}

static void an_orchestration_function_fails_with_its_own_status_and_message(void **state)
{
	struct background run;

	background_begin(&run, *state, fails_by_itself);
	background_end(&run);
	assert_int_equal((int)run.status, 1234);
	assert_non_null(strstr(run.text, "no luck"));

	background_begin(&run, *state, fails_without_a_word);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_ENOTFOUND);
	assert_non_null(strstr(run.text, "'test' returned 2"));
}

#define MANY 2000

ORCH(many_tasks)
{
	FIXTURE_OF_STATE();
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(fixture_submit(orch, fixture, i % 8, SIMPLER_NO_DEP, NULL, NULL),
		                 SIMPLER_OK);
	return SIMPLER_OK;
}

static void several_runs_at_once_end_each_for_itself(void **state)
{
	struct fixture *fixture = *state;
	struct background runs[4];

	fixture->node->at_once = true;
	for (size_t i = 0; i < 4; i++)
		background_begin(&runs[i], fixture, i == 2 ? fails_by_itself : many_tasks);
	for (size_t i = 0; i < 4; i++) {
		background_end(&runs[i]);
		assert_int_equal((int)runs[i].status, i == 2 ? 1234 : SIMPLER_OK);
	}
	assert_int_equal(fixture->node->started, 3 * MANY);
}

ORCH(twelve_tasks)
{
	FIXTURE_OF_STATE();
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INPUT, NULL, NULL),
		                 SIMPLER_OK);
	return SIMPLER_OK;
}

static void no_child_is_given_more_than_its_capacity(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, twelve_tasks);
	for (unsigned i = 0; i < 12; i++)
		fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_true(fixture->node->most <= fixture->node->child.capacity);
}

ORCH(two_anywhere_one_directed)
{
	simpler_submit_options directed = SIMPLER_SUBMIT_OPTIONS_INIT;
	FIXTURE_OF_STATE();

	directed.worker = 1;
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INPUT, NULL, NULL), SIMPLER_OK);
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INPUT, NULL, NULL), SIMPLER_OK);
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INPUT, &directed, NULL),
	                 SIMPLER_OK);
	return SIMPLER_OK;
}

static void tasks_go_where_they_are_sent_or_where_least_is_going_on(void **state)
{
	struct fixture *fixture = *state;
	struct fake *second = fixture_add(fixture->core, SIMPLER_KIND_ORCH, 8, 8);
	struct background run;

	background_begin(&run, fixture, two_anywhere_one_directed);
	fake_end_well(fake_take(second));
	fake_end_well(fake_take(second));
	fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

static simpler_status submit_wrongly(simpler_orch *orch, const struct fixture *fixture)
{
	simpler_submit_options nowhere = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_args *args = simpler_args_create();
	simpler_sub as_sub = { fixture->fn.id };
	simpler_orch_fn never = { 77 };
	simpler_tensor tensor;

	nowhere.worker = 9;
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INPUT, &nowhere, NULL),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "worker 9 is not a child here; there are 1"));

	assert_int_equal(simpler_submit_next_level(orch, never, NULL, NULL, NULL), SIMPLER_ESTALE);
	assert_int_equal(simpler_submit_sub(orch, as_sub, NULL, NULL, NULL), SIMPLER_EKIND);
	assert_non_null(
		strstr(simpler_last_error(),
	               "'shift' is of kind orchestration function, and sub task is needed"));

	simpler_tensor_init_1d(&tensor, (void *)(uintptr_t)fixture->cells, SIMPLER_INT64, 1);
	simpler_args_add_tensor(args, &tensor, SIMPLER_INOUT, SIMPLER_SHARED);
	assert_int_equal(simpler_submit_next_level(orch, fixture->fn, args, NULL, NULL),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "SIMPLER_INLINE or SIMPLER_STAGED"));

	simpler_args_reset(args);
	simpler_args_add_scalar(args, 1);
	simpler_args_add_tensor(args, &tensor, SIMPLER_INOUT, SIMPLER_INLINE);
	assert_int_equal(simpler_submit_next_level(orch, fixture->fn, args, NULL, NULL),
	                 SIMPLER_EINVAL);
	simpler_args_destroy(args);
	return SIMPLER_OK;
}

ORCH(wrong_submits)
{
	FIXTURE_OF_STATE();
	return submit_wrongly(orch, fixture);
}

static void a_wrong_submit_is_refused_with_the_reason_and_hurts_nobody(void **state)
{
	struct background run;

	background_begin(&run, *state, wrong_submits);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

static void a_failed_run_orders_another_run_and_does_not_fail_it(void **state)
{
	struct fixture *fixture = *state;
	struct background first, second;
	struct exec_task *producer;

	background_begin(&first, fixture, one_task);
	producer = fake_take(fixture->node);
	background_begin(&second, fixture, one_task_and_tell);
	pthread_mutex_lock(&submitted_lock);
	while (!submitted)
		pthread_cond_wait(&submitted_changed, &submitted_lock);
	pthread_mutex_unlock(&submitted_lock);
	assert_int_equal(fake_started(fixture->node), 1);
	fake_end_badly(producer, SIMPLER_EUSER, "broken");
	fake_end_well(fake_take(fixture->node));
	background_end(&first);
	background_end(&second);
	assert_int_equal(first.status, SIMPLER_EUSER);
	assert_int_equal(second.status, SIMPLER_OK);
}

/* --- the end of a worker --- */

/* A thread that ends one member of a group badly, and stops the others. */
struct late_walk {
	pthread_t thread;
	struct exec_task *failed, *other;
	_Atomic bool came_by, closed;
};

/* Its first stop: all members end, and with them the run; then the worker closes. */
static void end_the_other_and_wait_for_the_close(void *context)
{
	struct late_walk *walk = context;

	if (atomic_exchange(&walk->came_by, true))
		return;
	fake_end_well(walk->other);
	while (!atomic_load(&walk->closed))
		sched_yield();
}

static void *walk_main(void *argument)
{
	struct late_walk *walk = argument;

	fake_end_badly(walk->failed, SIMPLER_EUSER, "broken");
	return NULL;
}

ORCH(a_group_of_two)
{
	static const simpler_args *const none[2];
	FIXTURE_OF_STATE();

	return simpler_submit_sub_group(orch, fixture->sub, none, 2, NULL, NULL);
}

static void children_are_there_until_all_that_walk_them_have_ended(void **state)
{
	struct fixture *fixture = *state;
	struct fake *a = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 1);
	struct fake *b = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 1);
	struct late_walk walk = { .came_by = false };
	struct background run;

	a->keeps = b->keeps = true;
	a->on_stop = b->on_stop = end_the_other_and_wait_for_the_close;
	a->context = b->context = &walk;
	background_begin(&run, fixture, a_group_of_two);
	walk.failed = fake_take(a);
	walk.other = fake_take(b);
	assert_int_equal(pthread_create(&walk.thread, NULL, walk_main, &walk), 0);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_EUSER);
	core_close_children(fixture->core);
	atomic_store(&walk.closed, true);
	assert_int_equal(pthread_join(walk.thread, NULL), 0);
	core_destroy(fixture->core);
	fixture->core = NULL;
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(tasks_on_the_same_bytes_run_one_after_the_other),
		CASE(a_failed_task_fails_the_run_with_the_whole_chain),
		CASE(consumers_of_a_failed_task_never_run_and_the_others_do),
		CASE(a_failed_run_orders_another_run_and_does_not_fail_it),
		CASE(an_orchestration_function_fails_with_its_own_status_and_message),
		CASE(several_runs_at_once_end_each_for_itself),
		CASE(no_child_is_given_more_than_its_capacity),
		CASE(tasks_go_where_they_are_sent_or_where_least_is_going_on),
		CASE(a_wrong_submit_is_refused_with_the_reason_and_hurts_nobody),
		CASE(children_are_there_until_all_that_walk_them_have_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
