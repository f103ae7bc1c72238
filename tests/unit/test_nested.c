/*
 * Trees of workers on this machine: next-level workers in processes of their own, by the public
 * interface. What they run is in tests/modules/tree_cases.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/descriptor.h"
#include "os/process.h"
#include "simpler/simpler.h"
#include "test_modules.h"

#define CELLS      64
#define GRACE_MS   300
#define PATIENT_MS 60000

struct fixture {
	simpler_worker *worker;
	simpler_module *module;
	simpler_tensor tensor; /* in the heap of the top */
	_Atomic int64_t *cells;
};

/* --- fixtures --- */

static void *set_up(unsigned level, const simpler_local_options *options, uint32_t count)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	simpler_worker_options own = SIMPLER_WORKER_OPTIONS_INIT;
	const int64_t shape[1] = { CELLS };

	assert_non_null(fixture);
	own.level = level;
	own.stop_grace_ms = GRACE_MS;
	assert_int_equal(simpler_worker_create(&own, &fixture->worker), SIMPLER_OK);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(simpler_worker_add_local(fixture->worker, options, NULL),
		                 SIMPLER_OK);
	assert_int_equal(simpler_module_load(fixture->worker, TEST_MODULES_DIR "/tree_cases.so",
	                                     &fixture->module),
	                 SIMPLER_OK);
	assert_int_equal(simpler_alloc(fixture->worker, SIMPLER_INT64, 1, shape, &fixture->tensor),
	                 SIMPLER_OK);
	memset(fixture->tensor.data, 0, CELLS * sizeof(int64_t));
	fixture->cells = fixture->tensor.data;
	if (simpler_worker_init(fixture->worker) != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
	return fixture;
}

/* Level 4 over one worker of level 3 with two sub workers. */
static int set_up_pair(void **state)
{
	simpler_local_options three = SIMPLER_LOCAL_OPTIONS_INIT;

	three.sub_workers = 2;
	*state = set_up(4, &three, 1);
	return 0;
}

/* Level 6 over one worker of each level below, each with a sub worker. */
static int set_up_tower(void **state)
{
	simpler_local_options three = SIMPLER_LOCAL_OPTIONS_INIT;
	simpler_local_options four = SIMPLER_LOCAL_OPTIONS_INIT;
	simpler_local_options five = SIMPLER_LOCAL_OPTIONS_INIT;

	three.sub_workers = four.sub_workers = five.sub_workers = 1;
	four.workers = &three;
	five.workers = &four;
	four.worker_count = five.worker_count = 1;
	*state = set_up(6, &five, 1);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	simpler_worker_close(fixture->worker);
	free(fixture);
	return 0;
}

/* --- runs --- */

/* Submit `count` tasks `name` with the cells and these scalars to the next level. */
struct plan {
	const struct fixture *fixture;
	const char *name;
	unsigned count;
	uint64_t below, scalar;
	simpler_tag tag; /* of the cells */
};

static simpler_status follow_plan(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	const struct plan *plan = state.data;
	simpler_args *built = simpler_args_create();
	simpler_orch_fn fn;
	simpler_status status =
		simpler_module_orch_fn(plan->fixture->module, plan->name, simpler_no_state(), &fn);

	(void)args;
	(void)config;
	(void)simpler_args_add_tensor(built, &plan->fixture->tensor, plan->tag, SIMPLER_SHARED);
	(void)simpler_args_add_scalar(built, plan->below);
	(void)simpler_args_add_scalar(built, plan->scalar);
	for (unsigned i = 0; i < plan->count && status == SIMPLER_OK; i++)
		status = simpler_submit_next_level(orch, fn, built, NULL, NULL);
	simpler_args_destroy(built);
	return status;
}

static simpler_status run(const struct plan *plan)
{
	simpler_bytes state = { plan, sizeof(*plan) };

	return simpler_run(plan->fixture->worker, follow_plan, NULL, NULL, state);
}

static struct plan plan_one(const struct fixture *fixture, const char *name, uint64_t below)
{
	return (struct plan){ fixture, name, 1, below, 1, SIMPLER_INOUT };
}

static void assert_ok(simpler_status status)
{
	if (status != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
}

static void assert_usable(const struct fixture *fixture, uint64_t below)
{
	const struct plan plan = plan_one(fixture, "add", below);
	int64_t before = atomic_load(&fixture->cells[0]);

	assert_ok(run(&plan));
	assert_int_equal(atomic_load(&fixture->cells[0]), before + 1);
}

static void wait_for(const _Atomic int64_t *cell)
{
	const struct timespec moment = { 0, 1000000 };
	int64_t give_up = clock_after_ms(PATIENT_MS);

	while (atomic_load(cell) == 0) {
		assert_true(clock_now() < give_up);
		(void)nanosleep(&moment, NULL);
	}
}

/* --- one level --- */

static void a_next_level_worker_runs_orchestration_functions_on_memory_of_its_parent(void **state)
{
	struct fixture *fixture = *state;
	struct plan plan = plan_one(fixture, "add", 0);

	plan.count = 20;
	plan.scalar = 5;
	assert_ok(run(&plan));
	assert_int_equal(atomic_load(&fixture->cells[0]), 100);
}

static void it_runs_several_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct plan plan = plan_one(fixture, "meet", 0);

	/* Each waits for all the others. */
	plan.count = 12;
	plan.scalar = 12;
	plan.tag = SIMPLER_NO_DEP;
	assert_ok(run(&plan));
	assert_int_equal(atomic_load(&fixture->cells[0]), 12);
}

static void it_is_given_more_than_it_runs_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct plan plan = plan_one(fixture, "add", 0);

	plan.count = 500;
	plan.tag = SIMPLER_NO_DEP;
	assert_ok(run(&plan));
	assert_int_equal(atomic_load(&fixture->cells[0]), 500);
}

static void a_copy_of_its_process_that_user_code_made_ends_by_itself(void **state)
{
	struct fixture *fixture = *state;
	const struct plan plan = plan_one(fixture, "fork_and_return", 0);

	assert_ok(run(&plan));
	assert_usable(fixture, 0);
	assert_int_equal(atomic_load(&fixture->cells[0]), 2);
}

/* --- failures --- */

static const struct {
	const char *name;
	simpler_status status;
	/* Steps of the error, the cause first; a part of each. */
	const char *steps[4];
} failures[] = {
	{ "fail",
	  (simpler_status)1042,
	  { "row 3 of A is singular", "task 1: sub task 'fail_sub' (", "'fail' (" } },
	{ "fail_here", (simpler_status)1042, { "row 3 of A is singular", "'fail_here' (" } },
	{ "return_nonsense",
	  SIMPLER_EUSER,
	  { "'return_nonsense' returned -7, which is no status", "'return_nonsense' (" } },
	{ "crash", SIMPLER_ECRASHED, { "was killed by signal 11", NULL } },
	{ "crash_here", SIMPLER_ECRASHED, { "was killed by signal 11", NULL } },
};

static void failures_below_are_told_with_the_calls_that_led_there(void **state)
{
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		const struct plan plan = plan_one(fixture, failures[i].name, 0);

		print_message("%s\n", failures[i].name);
		assert_int_equal(run(&plan), failures[i].status);
		for (size_t k = 0; failures[i].steps[k]; k++) {
			const char *step = simpler_last_error_step(k);

			if (!step || !strstr(step, failures[i].steps[k]))
				fail_msg("step %zu: '%s' instead of '%s'", k, step ? step : "none",
				         failures[i].steps[k]);
		}
		/* Whatever it was, also the worker below survived it or was replaced. */
		assert_usable(fixture, 0);
	}
}

/* --- stops --- */

static const struct {
	const char *name;
	bool sees_it; /* what was stopped ended by itself */
	bool worker_stays;
} stops[] = {
	{ "watched_obey", true, true },
	{ "obey_here", true, true },
	{ "watched_ignore", false, true },
	{ "ignore_here", false, false },
};

static simpler_completion *begin(const struct plan *plan)
{
	simpler_bytes state = { plan, sizeof(*plan) };
	simpler_completion *completion;

	assert_ok(simpler_run_async(plan->fixture->worker, follow_plan, NULL, NULL, state,
	                            &completion));
	return completion;
}

static void a_run_that_is_cancelled_is_stopped_where_it_runs(void **state)
{
	struct fixture *fixture = *state;
	const struct plan look = plan_one(fixture, "watched_add", 0);
	simpler_completion *completion;
	int64_t worker;

	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		const struct plan plan = plan_one(fixture, stops[i].name, 0);

		print_message("%s\n", stops[i].name);
		for (unsigned k = 0; k < CELLS; k++)
			atomic_store(&fixture->cells[k], 0);
		completion = begin(&plan);
		wait_for(&fixture->cells[0]);
		worker = atomic_load(&fixture->cells[3]);
		simpler_completion_cancel(completion);
		assert_true(simpler_completion_wait(completion, PATIENT_MS));
		assert_int_equal(simpler_completion_result(completion), SIMPLER_ECANCELLED);
		simpler_completion_destroy(completion);
		assert_int_equal(atomic_load(&fixture->cells[1]), stops[i].sees_it);
		assert_ok(run(&look));
		assert_true((atomic_load(&fixture->cells[3]) == worker) == stops[i].worker_stays);
	}
}

/* Whether a task is stopped before its worker has begun it, or while it begins, or later. */
static void a_stop_finds_its_task_however_early_it_comes(void **state)
{
	struct fixture *fixture = *state;
	const struct plan look = plan_one(fixture, "watched_add", 0);
	const struct plan plan = plan_one(fixture, "obey_here", 0);
	int64_t worker;

	assert_ok(run(&look));
	worker = atomic_load(&fixture->cells[3]);
	for (int i = 0; i < 300; i++) {
		const struct timespec moment = { 0, (i % 30) * 5000L };
		simpler_completion *completion = begin(&plan);

		(void)nanosleep(&moment, NULL);
		simpler_completion_cancel(completion);
		assert_true(simpler_completion_wait(completion, PATIENT_MS));
		assert_int_equal(simpler_completion_result(completion), SIMPLER_ECANCELLED);
		simpler_completion_destroy(completion);
	}
	/* Had a stop been missed, the worker would have been killed for it. */
	assert_ok(run(&look));
	assert_int_equal(atomic_load(&fixture->cells[3]), worker);
}

static void of_several_only_the_one_that_is_cancelled_is_stopped(void **state)
{
	struct fixture *fixture = *state;
	struct plan meeting = plan_one(fixture, "meet", 0);
	struct plan obeying = plan_one(fixture, "watched_obey", 0);
	simpler_completion *met, *obeyed;

	obeying.tag = meeting.tag = SIMPLER_NO_DEP;
	meeting.scalar = 3; /* `obey` makes one of it, and the test another */
	obeyed = begin(&obeying);
	wait_for(&fixture->cells[0]);
	met = begin(&meeting);
	simpler_completion_cancel(obeyed);
	assert_true(simpler_completion_wait(obeyed, PATIENT_MS));
	assert_int_equal(simpler_completion_result(obeyed), SIMPLER_ECANCELLED);
	assert_int_equal(atomic_load(&fixture->cells[1]), 1);
	assert_false(simpler_completion_poll(met));
	atomic_fetch_add(&fixture->cells[0], 1);
	assert_true(simpler_completion_wait(met, PATIENT_MS));
	assert_ok(simpler_completion_result(met));
	simpler_completion_destroy(obeyed);
	simpler_completion_destroy(met);
}

/* --- five levels --- */

#define BELOW 2 /* the worker of level 5 */

static void a_value_climbs_through_tensors_of_all_levels(void **state)
{
	struct fixture *fixture = *state;
	struct plan plan = plan_one(fixture, "climb", BELOW);

	assert_ok(run(&plan));
	assert_int_equal(atomic_load(&fixture->cells[0]), 2 + BELOW);
	/* And again, in storage that was returned. */
	plan.count = 100;
	assert_ok(run(&plan));
	assert_int_equal(atomic_load(&fixture->cells[0]), 2 + BELOW);
}

static void the_lowest_works_in_place_in_the_heap_of_the_highest(void **state)
{
	struct fixture *fixture = *state;
	struct plan plan = plan_one(fixture, "add", BELOW);

	plan.count = 50;
	assert_ok(run(&plan));
	assert_int_equal(atomic_load(&fixture->cells[0]), 50);
}

/* Write "digest" for what depends on the build, the module's digest. */
static void without_digests(const char *text, char *out, size_t capacity)
{
	size_t used = 0;

	while (*text && used + 8 < capacity) {
		if (strspn(text, "0123456789abcdef") == 16) {
			memcpy(out + used, "digest", 6);
			used += 6;
			text += 16;
		} else {
			out[used++] = *text++;
		}
	}
	out[used] = '\0';
}

static void an_error_tells_every_level_that_it_came_through(void **state)
{
	struct fixture *fixture = *state;
	const struct plan plan = plan_one(fixture, "fail", BELOW);
	char text[4096];

	assert_int_equal(run(&plan), 1042);
	without_digests(simpler_last_error(), text, sizeof(text));
	assert_string_equal(
		text, "the run failed\n"
		      "  task 1: orchestration function 'fail' (digest) on worker 0 of level 5\n"
		      "  task 1: orchestration function 'fail' (digest) on worker 0 of level 4\n"
		      "  task 1: orchestration function 'fail' (digest) on worker 0 of level 3\n"
		      "  task 1: sub task 'fail_sub' (digest) on sub worker 0\n"
		      "  cause: a status of user code: row 3 of A is singular");
}

/* --- deaths --- */

/* The processes that a trace put into cells: sub worker, its helper, and each worker with the
 * helper that forked it. */
static const unsigned traced[] = { 2, 11, 4, 5, 6, 12, 13, 14 };
#define TRACED (sizeof(traced) / sizeof(traced[0]))

static void open_traced(const struct fixture *fixture, int *pidfds)
{
	for (size_t i = 0; i < TRACED; i++) {
		int64_t pid = atomic_load(&fixture->cells[traced[i]]);

		assert_int_equal(process_open((pid_t)pid, &pidfds[i]), SIMPLER_OK);
	}
}

static void assert_ended(int *pidfds)
{
	int64_t give_up = clock_after_ms(PATIENT_MS);

	for (size_t i = 0; i < TRACED; i++) {
		if (!descriptor_wait_readable(pidfds[i], give_up))
			fail_msg("the process of cell %u lives on", traced[i]);
		close(pidfds[i]);
	}
}

static void nothing_below_outlives_a_worker_that_is_killed(void **state)
{
	struct fixture *fixture = *state;
	const struct plan plan = plan_one(fixture, "trace_obey", BELOW);
	simpler_completion *completion = begin(&plan);
	int pidfds[TRACED];

	wait_for(&fixture->cells[0]);
	open_traced(fixture, pidfds);
	assert_int_equal(kill((pid_t)atomic_load(&fixture->cells[4 + BELOW]), SIGKILL), 0);
	assert_true(simpler_completion_wait(completion, PATIENT_MS));
	assert_int_equal(simpler_completion_result(completion), SIMPLER_ECRASHED);
	simpler_completion_destroy(completion);
	/* But for the helper above it, which is another's. */
	close(pidfds[TRACED - 1]);
	pidfds[TRACED - 1] = dup(pidfds[0]);
	assert_ended(pidfds);
	assert_usable(fixture, BELOW);
}

/* The sub worker's, which the lowest worker has. */
static void a_worker_whose_spawn_helper_dies_ends_and_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	const struct plan plan = plan_one(fixture, "trace_obey", BELOW);
	simpler_completion *completion = begin(&plan);
	int lowest;

	wait_for(&fixture->cells[0]);
	assert_ok(process_open((pid_t)atomic_load(&fixture->cells[4]), &lowest));
	assert_int_equal(kill((pid_t)atomic_load(&fixture->cells[11]), SIGKILL), 0);
	assert_true(simpler_completion_wait(completion, PATIENT_MS));
	assert_int_equal(simpler_completion_result(completion), SIMPLER_ECRASHED);
	simpler_completion_destroy(completion);
	assert_true(descriptor_wait_readable(lowest, clock_after_ms(PATIENT_MS)));
	close(lowest);
	for (unsigned i = 1; i <= BELOW; i++)
		assert_int_equal(kill((pid_t)atomic_load(&fixture->cells[4 + i]), 0), 0);
	assert_usable(fixture, BELOW);
}

static void nothing_outlives_a_worker_that_is_closed(void **state)
{
	struct fixture *fixture = *state;
	const struct plan plan = plan_one(fixture, "trace_obey", BELOW);
	simpler_completion *completion = begin(&plan);
	int pidfds[TRACED];

	wait_for(&fixture->cells[0]);
	open_traced(fixture, pidfds);
	simpler_completion_cancel(completion);
	simpler_completion_destroy(completion);
	simpler_worker_close(fixture->worker);
	fixture->worker = NULL;
	assert_ended(pidfds);
}

static void one_that_dies_at_the_bottom_costs_only_what_it_ran(void **state)
{
	struct fixture *fixture = *state;
	const struct plan plan = plan_one(fixture, "crash", BELOW);
	const struct plan trace = plan_one(fixture, "watched_add", BELOW);
	int64_t worker;

	assert_ok(run(&trace));
	worker = atomic_load(&fixture->cells[3]);
	assert_int_equal(run(&plan), SIMPLER_ECRASHED);
	assert_ok(run(&trace));
	assert_int_equal(atomic_load(&fixture->cells[3]), worker);
}

#define PAIR(test)  cmocka_unit_test_setup_teardown(test, set_up_pair, tear_down)
#define TOWER(test) cmocka_unit_test_setup_teardown(test, set_up_tower, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAIR(a_next_level_worker_runs_orchestration_functions_on_memory_of_its_parent),
		PAIR(it_runs_several_at_once),
		PAIR(it_is_given_more_than_it_runs_at_once),
		PAIR(a_copy_of_its_process_that_user_code_made_ends_by_itself),
		PAIR(failures_below_are_told_with_the_calls_that_led_there),
		PAIR(a_run_that_is_cancelled_is_stopped_where_it_runs),
		PAIR(a_stop_finds_its_task_however_early_it_comes),
		PAIR(of_several_only_the_one_that_is_cancelled_is_stopped),
		TOWER(a_value_climbs_through_tensors_of_all_levels),
		TOWER(the_lowest_works_in_place_in_the_heap_of_the_highest),
		TOWER(an_error_tells_every_level_that_it_came_through),
		TOWER(nothing_below_outlives_a_worker_that_is_killed),
		TOWER(a_worker_whose_spawn_helper_dies_ends_and_is_replaced),
		TOWER(nothing_outlives_a_worker_that_is_closed),
		TOWER(one_that_dies_at_the_bottom_costs_only_what_it_ran),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
