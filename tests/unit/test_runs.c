/* Deadlines, cancellation, explicit edges, room, scopes: how a run ends early, and what bounds it.
 */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "worker/run.h"
#include "worker_fixture.h"

#define SOON_MS 30

static _Atomic bool came_so_far; /* the function has done what the test waits for */

static void begin_and_wait(struct background *run, struct fixture *fixture,
                           simpler_orch_function *fn)
{
	atomic_store(&came_so_far, false);
	background_begin(run, fixture, fn);
	while (!atomic_load(&came_so_far))
		sched_yield();
}

/* --- cancelling tasks --- */

static simpler_task last_task; /* of the run that a test has begun last; read when it is seen to
                                * have submitted */

ORCH(one_to_cancel)
{
	FIXTURE_OF_STATE();
	return fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, &last_task);
}

static void a_running_task_is_told_to_stop_and_its_run_fails(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, one_to_cancel);
	fake_wait_for(fixture->node, 1);
	fixture->node->keeps = true;
	assert_int_equal(simpler_cancel((simpler_orch *)run.run, last_task), SIMPLER_OK);
	fake_wait_for_stops(fixture->node, 1);
	assert_int_equal(fixture->node->stopped, fixture->node->held[0]->id);
	assert_true(fixture->node->held[0]->stop_at > clock_now());
	/* It succeeded all the same, and has failed none the less. */
	fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_ECANCELLED);
	assert_non_null(strstr(run.text, "the task was cancelled"));
	assert_non_null(strstr(run.text, "task 1: orchestration function 'shift'"));
}

static void a_task_that_was_killed_after_its_grace_says_so(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, one_to_cancel);
	fake_wait_for(fixture->node, 1);
	assert_int_equal(simpler_cancel((simpler_orch *)run.run, last_task), SIMPLER_OK);
	fake_wait_for_stops(fixture->node, 1);
	fake_end_badly(fake_take(fixture->node), SIMPLER_ECRASHED, "was killed by signal 9");
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_ECANCELLED);
	assert_non_null(strstr(run.text, "it went on when it was told to stop, and was killed"));
}

ORCH(a_chain_whose_end_is_cancelled)
{
	simpler_task second;
	FIXTURE_OF_STATE();

	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL), SIMPLER_OK);
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, &second),
	                 SIMPLER_OK);
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL), SIMPLER_OK);
	assert_int_equal(simpler_cancel(orch, second), SIMPLER_OK);
	assert_int_equal(simpler_cancel(orch, second), SIMPLER_ENOTFOUND);
	assert_int_equal(simpler_cancel(orch, (simpler_task){ 0 }), SIMPLER_ENOTFOUND);
	assert_int_equal(fixture_submit(orch, fixture, 1, SIMPLER_INOUT, NULL, NULL),
	                 SIMPLER_EPOISONED);
	atomic_store(&came_so_far, true);
	return SIMPLER_OK;
}

static void a_waiting_task_never_begins_nor_what_waits_for_it(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	begin_and_wait(&run, fixture, a_chain_whose_end_is_cancelled);
	fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_ECANCELLED);
	assert_non_null(strstr(run.text, "no worker: it had not begun"));
	assert_int_equal(fake_started(fixture->node), 1);
}

ORCH(more_than_the_node_takes)
{
	simpler_task ninth;
	FIXTURE_OF_STATE();

	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INPUT, NULL, &ninth),
		                 SIMPLER_OK);
	assert_int_equal(simpler_cancel(orch, ninth), SIMPLER_OK);
	atomic_store(&came_so_far, true);
	return SIMPLER_OK;
}

static void a_ready_task_that_has_no_worker_yet_never_begins(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	begin_and_wait(&run, fixture, more_than_the_node_takes);
	for (unsigned i = 0; i < 8; i++)
		fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_ECANCELLED);
	assert_int_equal(fake_started(fixture->node), 8);
}

static simpler_task waits_in_child;

ORCH(two_subs_and_cancel)
{
	FIXTURE_OF_STATE();
	assert_int_equal(simpler_submit_sub(orch, fixture->sub, NULL, NULL, NULL), SIMPLER_OK);
	return simpler_submit_sub(orch, fixture->sub, NULL, NULL, &waits_in_child);
}

static void a_task_that_waits_in_a_child_is_taken_back(void **state)
{
	struct fixture *fixture = *state;
	struct fake *worker = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct background run;

	background_begin(&run, fixture, two_subs_and_cancel);
	fake_wait_for(worker, 2);
	assert_int_equal(simpler_cancel((simpler_orch *)run.run, waits_in_child), SIMPLER_OK);
	assert_int_equal(worker->retracted, 1);
	fake_end_well(fake_take(worker));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_ECANCELLED);
	assert_int_equal(worker->stops, 0);
}

static void a_task_of_another_run_is_not_cancelled(void **state)
{
	struct fixture *fixture = *state;
	struct background first, second;
	simpler_task of_first;

	background_begin(&first, fixture, one_to_cancel);
	fake_wait_for(fixture->node, 1);
	of_first = last_task;
	background_begin(&second, fixture, one_to_cancel);
	assert_int_equal(simpler_cancel((simpler_orch *)second.run, of_first), SIMPLER_ENOTFOUND);
	fake_end_well(fake_take(fixture->node));
	fake_end_well(fake_take(fixture->node));
	background_end(&first);
	background_end(&second);
	assert_int_equal(first.status, SIMPLER_OK);
	assert_int_equal(second.status, SIMPLER_OK);
}

/* --- cancelling runs --- */

static _Atomic bool saw_stop;

ORCH(submits_until_told_to_stop)
{
	FIXTURE_OF_STATE();
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL), SIMPLER_OK);
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL), SIMPLER_OK);
	atomic_store(&came_so_far, true);
	while (!simpler_should_stop())
		;
	atomic_store(&saw_stop, true);
	assert_int_equal(fixture_submit(orch, fixture, 1, SIMPLER_INOUT, NULL, NULL),
	                 SIMPLER_ECANCELLED);
	return SIMPLER_OK;
}

static void a_cancelled_run_stops_its_function_and_its_tasks_and_no_other_run(void **state)
{
	struct fixture *fixture = *state;
	struct background run, other;
	struct exec_task *task;

	atomic_store(&saw_stop, false);
	begin_and_wait(&run, fixture, submits_until_told_to_stop);
	task = fake_take(fixture->node);
	background_begin(&other, fixture, one_to_cancel);
	run_stop(run.run, SIMPLER_ECANCELLED);
	run_stop(run.run, SIMPLER_ECANCELLED);
	fake_wait_for_stops(fixture->node, 1);
	assert_int_equal(fixture->node->stopped, task->id);
	fake_end_badly(task, SIMPLER_EUSER, "I was told to");
	fake_end_well(fake_take(fixture->node));
	background_end(&run);
	background_end(&other);
	assert_int_equal(run.status, SIMPLER_ECANCELLED);
	assert_non_null(strstr(run.text, "the run was cancelled"));
	assert_true(atomic_load(&saw_stop));
	assert_int_equal(other.status, SIMPLER_OK);
	assert_false(simpler_should_stop());
}

/* --- deadlines --- */

static simpler_status submit_within(simpler_orch *orch, const struct fixture *fixture,
                                    uint64_t timeout_ms)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

	options.timeout_ms = timeout_ms;
	return fixture_submit(orch, fixture, 0, SIMPLER_INOUT, &options, NULL);
}

ORCH(one_with_a_deadline)
{
	FIXTURE_OF_STATE();
	return submit_within(orch, fixture, SOON_MS);
}

ORCH(one_with_a_deadline_far_away)
{
	FIXTURE_OF_STATE();
	return submit_within(orch, fixture, 20000);
}

static void a_late_task_is_stopped_and_fails(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, one_with_a_deadline);
	fake_wait_for(fixture->node, 1); /* it may be stopped before that */
	fake_wait_for_stops(fixture->node, 1);
	assert_true(fixture->node->held[0]->deadline < clock_now());
	fake_end_badly(fake_take(fixture->node), SIMPLER_EUSER, "stopped");
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_EDEADLINE);
	assert_non_null(strstr(run.text, "did not end within the 30 ms that it had"));

	/* One that ends in time is none the worse, nor is its worker. */
	background_begin(&run, fixture, one_with_a_deadline_far_away);
	fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

/* Until its task has begun: a run may be late before that. */
static void begin_one_soon_late(struct background *run, struct fixture *fixture)
{
	background_begin_within(run, fixture, one_to_cancel, SOON_MS);
	while (fake_started(fixture->node) == 0) {
		if (atomic_load(&run->run->finished)) {
			background_end(run);
			assert_int_equal(run->status, SIMPLER_EDEADLINE);
			background_begin_within(run, fixture, one_to_cancel, SOON_MS);
		}
		sched_yield();
	}
}

static void a_late_run_is_stopped_and_fails(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	begin_one_soon_late(&run, fixture);
	fake_wait_for_stops(fixture->node, 1);
	fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_EDEADLINE);
	assert_non_null(strstr(run.text, "the run did not end within the 30 ms that it had"));
}

/* --- results that were not all fetched --- */

static void end_unfetched(struct exec_task *task, uint32_t half_written)
{
	task->unfetched = true;
	task->half_written = half_written;
	fake_end_badly(task, SIMPLER_EUSER, "the line is dead");
}

ORCH(one_with_outputs)
{
	FIXTURE_OF_STATE();
	static const simpler_tag tags[] = { SIMPLER_OUTPUT, SIMPLER_INPUT, SIMPLER_INOUT,
		                            SIMPLER_OUTPUT_EXISTING };
	simpler_args *task = simpler_args_create();
	simpler_tensor tensor;
	simpler_status status;

	for (size_t i = 0; i < 4; i++) {
		(void)simpler_tensor_init_1d(&tensor, &fixture->cells[i], SIMPLER_INT64, 1);
		(void)simpler_args_add_tensor(task, &tensor, tags[i], SIMPLER_INLINE);
	}
	status = simpler_submit_next_level(orch, fixture->fn, task, NULL, &last_task);
	simpler_args_destroy(task);
	return status;
}

static void a_task_whose_results_were_not_all_fetched_tells_the_buffers(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, one_with_outputs);
	end_unfetched(fake_take(fixture->node), 1u << 0 | 1u << 2);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_EUSER);
	assert_non_null(strstr(run.text, "the line is dead"));
	assert_non_null(strstr(run.text,
	                       "task 1 has ended, and its results were not all fetched: 2 of 3 "
	                       "output buffers may be half-written: tensors 0, 2"));
}

/* The stop is what its run fails with, and that tells them all the same. */
static void a_task_that_is_stopped_while_its_results_are_fetched_tells_the_buffers(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	background_begin(&run, fixture, one_with_outputs);
	fake_wait_for(fixture->node, 1);
	fixture->node->keeps = true;
	assert_int_equal(simpler_cancel((simpler_orch *)run.run, last_task), SIMPLER_OK);
	fake_wait_for_stops(fixture->node, 1);
	end_unfetched(fake_take(fixture->node), 1u << 3);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_ECANCELLED);
	assert_non_null(strstr(run.text, "the task was cancelled"));
	assert_non_null(strstr(run.text, "1 of 3 output buffers may be half-written: tensor 3"));
}

ORCH(seven_with_one_cell_each)
{
	FIXTURE_OF_STATE();
	simpler_status status = SIMPLER_OK;

	for (unsigned i = 0; i < 7 && status == SIMPLER_OK; i++)
		status = fixture_submit(orch, fixture, i, SIMPLER_INOUT, NULL, NULL);
	return status;
}

/* Of those that the run's error has no room for it has the number. */
static void a_run_that_is_stopped_tells_the_buffers_of_all_its_tasks(void **state)
{
	struct fixture *fixture = *state;
	struct background run;
	char step[64];

	fixture->node->keeps = true;
	background_begin(&run, fixture, seven_with_one_cell_each);
	fake_wait_for(fixture->node, 7);
	run_stop(run.run, SIMPLER_ECANCELLED);
	for (unsigned i = 0; i < 6; i++)
		end_unfetched(fake_take(fixture->node), i == 0 ? 0 : 1);
	fake_end_badly(fake_take(fixture->node), SIMPLER_EUSER, "stopped");
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_ECANCELLED);
	assert_non_null(strstr(run.text, "the run was cancelled"));
	assert_non_null(strstr(run.text,
	                       "task 1 has ended, and its results were not all fetched: 0 of 1 "
	                       "output buffers may be half-written\n"));
	for (unsigned i = 2; i <= 4; i++) {
		(void)snprintf(step, sizeof(step), "task %u has ended, and its results", i);
		assert_non_null(strstr(run.text, step));
	}
	assert_null(strstr(run.text, "task 5"));
	assert_non_null(strstr(run.text, "2 more have ended, and their results were not all "
	                                 "fetched: their output buffers may be half-written"));
}

/* --- explicit edges --- */

ORCH(one_after_the_other)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_task first;
	FIXTURE_OF_STATE();

	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, &first), SIMPLER_OK);
	assert_int_not_equal(first.id, 0);
	options.after = &first;
	options.after_count = 1;
	assert_int_equal(fixture_submit(orch, fixture, 1, SIMPLER_INOUT, &options, NULL),
	                 SIMPLER_OK);
	return SIMPLER_OK;
}

static void a_task_waits_for_those_it_is_to_come_after(void **state)
{
	struct fixture *fixture = *state;
	struct exec_task *first;
	struct background run;

	background_begin(&run, fixture, one_after_the_other);
	first = fake_take(fixture->node);
	assert_ptr_equal(first->tensors[0].data, &fixture->cells[0]);
	assert_int_equal(fake_started(fixture->node), 1);
	fake_end_well(first);
	fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

/* What a task of this run's is to come after, beside `earlier`, which has ended in any case. */
static const struct {
	const char *name;
	bool ended_of_another_run, ended, zero, made_up;
	simpler_status status;
} afters[] = {
	{ "a task of this run that has ended", .ended = true, .status = SIMPLER_OK },
	{ "no task", .zero = true, .status = SIMPLER_EINVAL },
	{ "a number that nobody gave out", .made_up = true, .status = SIMPLER_EINVAL },
	{ "an ended task of another run", .ended_of_another_run = true, .status = SIMPLER_EINVAL },
};

static simpler_task of_another_run;

ORCH(after_all_sorts)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_task earlier[2];
	FIXTURE_OF_STATE();

	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, &earlier[0]),
	                 SIMPLER_OK);
	options.after = earlier;
	options.after_count = 2;
	for (size_t i = 0; i < sizeof(afters) / sizeof(afters[0]); i++) {
		memset(&earlier[1], 0, sizeof(earlier[1]));
		if (afters[i].ended)
			earlier[1] = earlier[0];
		else if (afters[i].ended_of_another_run)
			earlier[1] = of_another_run;
		else if (afters[i].made_up)
			earlier[1].id = 4711 | UINT64_C(1) << 32;
		print_message("%s\n", afters[i].name);
		assert_int_equal(fixture_submit(orch, fixture, 1, SIMPLER_INOUT, &options, NULL),
		                 afters[i].status);
		if (afters[i].status != SIMPLER_OK)
			assert_non_null(
				strstr(simpler_last_error(), "after[1] is no task of this"));
	}
	return SIMPLER_OK;
}

static void only_tasks_of_the_same_run_can_be_come_after(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	fixture->node->at_once = true;
	background_begin(&run, fixture, one_to_cancel);
	background_end(&run);
	of_another_run = last_task;
	background_begin(&run, fixture, after_all_sorts);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

/* --- room in the graph --- */

/* The fixture's graph has room for 64. */
ORCH(more_than_max_tasks)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	FIXTURE_OF_STATE();

	options.room_timeout_ms = SOON_MS;
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, &options, NULL),
		                 SIMPLER_OK);
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, &options, NULL),
	                 SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(),
	                       "64 tasks are submitted and not ended, as many as max_tasks"));
	atomic_store(&came_so_far, true);
	options.room_timeout_ms = SIMPLER_FOREVER;
	return fixture_submit(orch, fixture, 0, SIMPLER_INOUT, &options, NULL);
}

static void a_submit_without_room_waits_and_fails_naming_the_limit(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	begin_and_wait(&run, fixture, more_than_max_tasks);
	for (unsigned i = 0; i < 65; i++)
		fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

static _Atomic bool got_through;

ORCH(one_more_than_max_tasks)
{
	FIXTURE_OF_STATE();
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL),
		                 SIMPLER_OK);
	atomic_store(&came_so_far, true);
	assert_int_equal(fixture_submit(orch, fixture, 0, SIMPLER_INOUT, NULL, NULL), SIMPLER_OK);
	atomic_store(&got_through, true);
	return SIMPLER_OK;
}

static void wait_for_a_waiter(struct fixture *fixture)
{
	uint32_t waiting = 0;

	while (waiting == 0) {
		pthread_mutex_lock(&fixture->core->lock);
		waiting = fixture->core->waiting_for_room;
		pthread_mutex_unlock(&fixture->core->lock);
		sched_yield();
	}
}

static void a_submit_that_waits_goes_on_when_there_is_room_for_it(void **state)
{
	int64_t until = clock_after_ms(20000);
	struct fixture *fixture = *state;
	struct background run;

	atomic_store(&got_through, false);
	begin_and_wait(&run, fixture, one_more_than_max_tasks);
	wait_for_a_waiter(fixture);
	/* The others go on for as long as they like. */
	fake_end_well(fake_take(fixture->node));
	while (!atomic_load(&got_through) && clock_now() < until)
		sched_yield();
	assert_true(atomic_load(&got_through));
	for (unsigned i = 0; i < 64; i++)
		fake_end_well(fake_take(fixture->node));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

/* --- the heap, and scopes; it has 1 MiB --- */

#define HALF (512 * 1024 - 64)

static uint64_t used(const struct fixture *fixture)
{
	struct heap_stats stats;

	heap_stats(fixture->core->heap, &stats);
	return stats.used;
}

static simpler_tensor allocated(simpler_orch *orch, int64_t bytes)
{
	simpler_tensor tensor;

	assert_int_equal(simpler_orch_alloc(orch, SIMPLER_UINT8, 1, &bytes, &tensor), SIMPLER_OK);
	return tensor;
}

static simpler_status submit_sub(simpler_orch *orch, const struct fixture *fixture,
                                 const simpler_tensor *tensor, simpler_tag tag)
{
	simpler_args *args = simpler_args_create();
	simpler_status status;

	simpler_args_add_tensor(args, tensor, tag, SIMPLER_SHARED);
	status = simpler_submit_sub(orch, fixture->sub, args, NULL, NULL);
	simpler_args_destroy(args);
	return status;
}

ORCH(nested_scopes)
{
	simpler_tensor outer, inner;
	uint64_t before;
	FIXTURE_OF_STATE();

	outer = allocated(orch, 1000);
	before = used(fixture);
	assert_int_equal(simpler_scope_begin(orch), SIMPLER_OK);
	inner = allocated(orch, 100000);
	assert_true(used(fixture) >= before + 100000);
	/* Nobody uses it, so it goes with its scope, whatever the outer one does. */
	assert_int_equal(simpler_scope_end(orch), SIMPLER_OK);
	assert_int_equal(used(fixture), before);
	assert_int_equal(submit_sub(orch, fixture, &inner, SIMPLER_INPUT), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "its scope has ended"));
	assert_int_equal(submit_sub(orch, fixture, &outer, SIMPLER_INPUT), SIMPLER_OK);
	assert_int_equal(simpler_scope_end(orch), SIMPLER_ESTALE);
	for (int i = 0; i < SIMPLER_MAX_SCOPES; i++)
		assert_int_equal(simpler_scope_begin(orch), SIMPLER_OK);
	assert_int_equal(simpler_scope_begin(orch), SIMPLER_ENOSPACE);
	return SIMPLER_OK;
}

static void scopes_nest_and_return_what_nobody_uses(void **state)
{
	struct fixture *fixture = *state;
	struct fake *worker = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct background run;

	background_begin(&run, fixture, nested_scopes);
	fake_end_well(fake_take(worker));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(used(fixture), 0);
}

ORCH(in_a_scope_that_ends_before_its_users)
{
	simpler_tensor tensor;
	FIXTURE_OF_STATE();

	assert_int_equal(simpler_scope_begin(orch), SIMPLER_OK);
	tensor = allocated(orch, HALF);
	assert_int_equal(submit_sub(orch, fixture, &tensor, SIMPLER_OUTPUT), SIMPLER_OK);
	assert_int_equal(submit_sub(orch, fixture, &tensor, SIMPLER_NO_DEP), SIMPLER_OK);
	assert_int_equal(simpler_scope_end(orch), SIMPLER_OK);
	assert_true(used(fixture) >= HALF);
	atomic_store(&came_so_far, true);
	/* Two halves do not fit beside it: this waits until the users have ended. */
	(void)allocated(orch, HALF);
	(void)allocated(orch, HALF);
	return SIMPLER_OK;
}

static void storage_stays_until_its_last_user_has_ended(void **state)
{
	struct fixture *fixture = *state;
	struct fake *worker = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct background run;

	begin_and_wait(&run, fixture, in_a_scope_that_ends_before_its_users);
	fake_wait_for(worker, 2);
	fake_end_well(fake_take(worker));
	assert_true(used(fixture) >= HALF);
	fake_end_well(fake_take(worker));
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(used(fixture), 0);
}

ORCH(fills_the_heap)
{
	const int64_t bytes = 2 * HALF, more = HALF;
	simpler_tensor tensor;
	FIXTURE_OF_STATE();
	(void)fixture;

	(void)allocated(orch, bytes);
	/* Nothing in progress could make room: no use to wait for ever. */
	assert_int_equal(simpler_orch_alloc(orch, SIMPLER_UINT8, 1, &more, &tensor),
	                 SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "asked for 524224 bytes"));
	assert_non_null(strstr(simpler_last_error(), "1048576"));
	return SIMPLER_OK;
}

static void a_heap_that_nobody_can_empty_is_an_error_at_once(void **state)
{
	struct background run;

	background_begin(&run, *state, fills_the_heap);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

/* What two threads of a run got, when they waited for room that another run holds. */
struct waiters {
	simpler_orch *orch;
	simpler_status status[2];
	atomic_uint holding, next, ended;
};

static struct waiters waiters;

static simpler_status take_of_heap(simpler_orch *orch, int64_t bytes)
{
	simpler_tensor tensor;

	return simpler_orch_alloc(orch, SIMPLER_UINT8, 1, &bytes, &tensor);
}

static void *wait_for_room(void *unused)
{
	unsigned self = atomic_fetch_add(&waiters.next, 1);

	waiters.status[self] = take_of_heap(waiters.orch, 400000);
	atomic_fetch_add(&waiters.ended, 1);
	return unused;
}

ORCH(two_threads_that_wait_for_room)
{
	pthread_t threads[2];

	(void)args;
	(void)config;
	(void)state;
	waiters.orch = orch;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_room, NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	return SIMPLER_OK;
}

ORCH(holds_the_room_until_two_wait)
{
	uint32_t waiting = 0;
	FIXTURE_OF_STATE();

	assert_int_equal(take_of_heap(orch, 700000), SIMPLER_OK);
	atomic_store(&waiters.holding, 1);
	while (waiting < 2 && atomic_load(&waiters.ended) == 0) {
		pthread_mutex_lock(&fixture->core->lock);
		waiting = fixture->core->waiting_for_room;
		pthread_mutex_unlock(&fixture->core->lock);
		sched_yield();
	}
	return SIMPLER_OK;
}

static void threads_of_one_run_wait_for_what_another_run_holds(void **state)
{
	struct background holder, waiter;

	memset(&waiters, 0, sizeof(waiters));
	background_begin(&holder, *state, holds_the_room_until_two_wait);
	while (atomic_load(&waiters.holding) == 0)
		sched_yield();
	background_begin(&waiter, *state, two_threads_that_wait_for_room);
	background_end(&holder);
	background_end(&waiter);
	assert_int_equal(waiters.status[0], SIMPLER_OK);
	assert_int_equal(waiters.status[1], SIMPLER_OK);
}

ORCH(takes_what_is_not_there)
{
	FIXTURE_OF_STATE();
	(void)fixture;
	assert_int_equal(take_of_heap(orch, 400000), SIMPLER_ENOSPACE);
	return SIMPLER_OK;
}

/* With a deadline, so as to fail and not to hang should it wait. */
static simpler_status run_inside(struct fixture *fixture, simpler_orch_function *fn)
{
	const struct run_call call = {
		.fn = fn,
		.name = "inside",
		.state = { &fixture, sizeof(fixture) },
		.timeout_ms = 20000,
	};

	return core_run(fixture->core, &call);
}

ORCH(runs_another_that_takes_what_is_not_there)
{
	FIXTURE_OF_STATE();
	(void)orch;
	return run_inside(fixture, takes_what_is_not_there);
}

ORCH(holds_what_two_runs_further_in_need)
{
	FIXTURE_OF_STATE();
	assert_int_equal(take_of_heap(orch, 700000), SIMPLER_OK);
	assert_int_equal(run_inside(fixture, runs_another_that_takes_what_is_not_there),
	                 SIMPLER_OK);
	/* Nobody is left that would count as waiting. */
	assert_int_equal(fixture->core->waiting_for_room, 0);
	assert_int_equal(fixture->core->runs_waiting, 0);
	return SIMPLER_OK;
}

static void a_run_inside_another_does_not_wait_for_what_that_one_holds(void **state)
{
	struct background run;

	background_begin(&run, *state, holds_what_two_runs_further_in_need);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

ORCH(outputs_without_backing)
{
	const int64_t shape[] = { 10, 10 };
	simpler_args *built = simpler_args_create();
	simpler_tensor made;
	void *first;
	FIXTURE_OF_STATE();

	assert_int_equal(simpler_args_add_output(built, SIMPLER_FLOAT32, 2, shape, &made),
	                 SIMPLER_OK);
	assert_int_equal(simpler_submit_sub(orch, fixture->sub, built, NULL, NULL), SIMPLER_OK);
	assert_non_null(made.data);
	assert_int_equal(made.ndim, 2);
	assert_int_equal(simpler_tensor_bytes(&made), 400);
	first = made.data;
	assert_int_equal(submit_sub(orch, fixture, &made, SIMPLER_INPUT), SIMPLER_OK);
	/* Each submit makes another. */
	assert_int_equal(simpler_submit_sub(orch, fixture->sub, built, NULL, NULL), SIMPLER_OK);
	assert_ptr_not_equal(made.data, first);
	simpler_args_destroy(built);
	return SIMPLER_OK;
}

static void an_output_without_backing_is_allocated_at_submit(void **state)
{
	struct fixture *fixture = *state;
	struct fake *worker = fixture_add(fixture->core, SIMPLER_KIND_SUB, 1, 4);
	struct exec_task *writer, *other;
	struct background run;

	background_begin(&run, fixture, outputs_without_backing);
	writer = fake_take(worker);
	other = fake_take(worker);
	assert_int_equal(writer->tensors[0].nbytes, 400);
	assert_int_equal(writer->tensors[0].segment, 1);
	assert_ptr_not_equal(writer->tensors[0].data, other->tensors[0].data);
	fake_end_well(writer);
	fake_end_well(fake_take(worker)); /* the reader */
	fake_end_well(other);
	background_end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(used(fixture), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(a_running_task_is_told_to_stop_and_its_run_fails),
		CASE(a_task_that_was_killed_after_its_grace_says_so),
		CASE(a_waiting_task_never_begins_nor_what_waits_for_it),
		CASE(a_ready_task_that_has_no_worker_yet_never_begins),
		CASE(a_task_that_waits_in_a_child_is_taken_back),
		CASE(a_task_of_another_run_is_not_cancelled),
		CASE(a_cancelled_run_stops_its_function_and_its_tasks_and_no_other_run),
		CASE(a_late_task_is_stopped_and_fails),
		CASE(a_late_run_is_stopped_and_fails),
		CASE(a_task_whose_results_were_not_all_fetched_tells_the_buffers),
		CASE(a_task_that_is_stopped_while_its_results_are_fetched_tells_the_buffers),
		CASE(a_run_that_is_stopped_tells_the_buffers_of_all_its_tasks),
		CASE(a_task_waits_for_those_it_is_to_come_after),
		CASE(only_tasks_of_the_same_run_can_be_come_after),
		CASE(a_submit_without_room_waits_and_fails_naming_the_limit),
		CASE(a_submit_that_waits_goes_on_when_there_is_room_for_it),
		CASE(scopes_nest_and_return_what_nobody_uses),
		CASE(storage_stays_until_its_last_user_has_ended),
		CASE(a_heap_that_nobody_can_empty_is_an_error_at_once),
		CASE(threads_of_one_run_wait_for_what_another_run_holds),
		CASE(a_run_inside_another_does_not_wait_for_what_that_one_holds),
		CASE(an_output_without_backing_is_allocated_at_submit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
