/*
 * A program whose worker has children on its own machine: the public interface over real processes.
 * Every result is read from a tensor of this process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "simpler/simpler.h"
#include "test_modules.h"

#define CELLS    16
#define GRACE_MS 100

struct fixture {
	simpler_worker *worker;
	simpler_module *module;
	simpler_tensor cells; /* of the shared heap, all 0 */
	int64_t *cell;
};

static void create(struct fixture *fixture, unsigned level)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	const int64_t shape[] = { CELLS };

	options.level = level;
	options.stop_grace_ms = GRACE_MS;
	assert_int_equal(simpler_worker_create(&options, &fixture->worker), SIMPLER_OK);
	assert_int_equal(simpler_module_load(fixture->worker, TEST_MODULES_DIR "/worker_cases.so",
	                                     &fixture->module),
	                 SIMPLER_OK);
	assert_int_equal(simpler_alloc(fixture->worker, SIMPLER_INT64, 1, shape, &fixture->cells),
	                 SIMPLER_OK);
	fixture->cell = fixture->cells.data;
	memset(fixture->cell, 0, CELLS * sizeof(int64_t));
}

/* Level 3, with two sub workers. */
static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	create(fixture, 3);
	assert_int_equal(simpler_worker_add_subs(fixture->worker, 2, NULL), SIMPLER_OK);
	assert_int_equal(simpler_worker_init(fixture->worker), SIMPLER_OK);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	simpler_worker_close(fixture->worker);
	free(fixture);
	return 0;
}

/* --- one run: `times` sub tasks on the cells --- */

struct job {
	struct fixture *fixture;
	const char *name;
	int times;
	uint64_t timeout_ms; /* 0: none */
	simpler_tensor tensor;
};

static simpler_status submit_subs(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	const struct job *job = state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_args *built = simpler_args_create();
	simpler_sub sub;
	simpler_status status;

	(void)args;
	(void)config;
	if (job->timeout_ms > 0)
		options.timeout_ms = job->timeout_ms;
	status = simpler_module_sub(job->fixture->module, job->name, simpler_no_state(), &sub);
	if (status == SIMPLER_OK)
		status =
			simpler_args_add_tensor(built, &job->tensor, SIMPLER_INOUT, SIMPLER_SHARED);
	for (int i = 0; i < job->times && status == SIMPLER_OK; i++)
		status = simpler_submit_sub(orch, sub, built, &options, NULL);
	simpler_args_destroy(built);
	return status;
}

static struct job job_of(struct fixture *fixture, const char *name, int times)
{
	return (struct job){
		.fixture = fixture, .name = name, .times = times, .tensor = fixture->cells
	};
}

static simpler_status run(struct fixture *fixture, const char *name, int times)
{
	struct job job = job_of(fixture, name, times);

	return simpler_run(fixture->worker, submit_subs, NULL, NULL,
	                   (simpler_bytes){ &job, sizeof(job) });
}

static simpler_completion *begin(struct fixture *fixture, const char *name, int times)
{
	struct job job = job_of(fixture, name, times);
	simpler_completion *completion;

	assert_int_equal(simpler_run_async(fixture->worker, submit_subs, NULL, NULL,
	                                   (simpler_bytes){ &job, sizeof(job) }, &completion),
	                 SIMPLER_OK);
	return completion;
}

static void wait_for_cell(struct fixture *fixture, int cell)
{
	while (__atomic_load_n(&fixture->cell[cell], __ATOMIC_SEQ_CST) == 0)
		sched_yield();
}

static void assert_usable(struct fixture *fixture)
{
	int64_t before = fixture->cell[CELLS - 1];

	assert_int_equal(run(fixture, "add_one", 10), SIMPLER_OK);
	assert_int_equal(fixture->cell[CELLS - 1], before + 10);
}

/* --- sub workers --- */

static void sub_tasks_work_on_the_shared_heap_in_place(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(run(fixture, "add_one", 500), SIMPLER_OK);
	for (int i = 0; i < CELLS; i++)
		assert_int_equal(fixture->cell[i], 500);
}

static void malloced_memory_is_refused_with_what_to_use(void **state)
{
	struct fixture *fixture = *state;
	struct job job = job_of(fixture, "add_one", 1);
	int64_t *own = calloc(CELLS, sizeof(*own));

	simpler_tensor_init_1d(&job.tensor, own, SIMPLER_INT64, CELLS);
	assert_int_equal(simpler_run(fixture->worker, submit_subs, NULL, NULL,
	                             (simpler_bytes){ &job, sizeof(job) }),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "simpler_alloc()"));
	free(own);
	assert_usable(fixture);
}

static void a_crash_tells_signal_address_and_backtrace_and_is_replaced(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(run(fixture, "writes_to_nowhere", 1), SIMPLER_ECRASHED);
	assert_non_null(strstr(simpler_last_error(), "signal 11"));
	assert_non_null(strstr(simpler_last_error(), "0x10"));
	assert_non_null(strstr(simpler_last_error(), "writes_to_nowhere"));
	assert_usable(fixture);
}

static void storage_in_use_survives_its_being_freed(void **state)
{
	const int64_t shape[] = { CELLS };
	struct fixture *fixture = *state;
	simpler_completion *completion;
	simpler_tensor second;

	completion = begin(fixture, "runs_until_stopped", 1);
	wait_for_cell(fixture, 0);
	assert_int_equal(simpler_free(fixture->worker, fixture->cell), SIMPLER_OK);
	assert_int_equal(simpler_alloc(fixture->worker, SIMPLER_INT64, 1, shape, &second),
	                 SIMPLER_OK);
	assert_ptr_not_equal(second.data, fixture->cell);
	assert_int_equal(simpler_free(fixture->worker, fixture->cell), SIMPLER_EINVAL);
	assert_int_equal(simpler_free(fixture->worker, (char *)second.data + 64), SIMPLER_EINVAL);
	assert_int_equal(simpler_free(fixture->worker, NULL), SIMPLER_EINVAL);
	simpler_completion_cancel(completion);
	simpler_completion_destroy(completion);
	assert_int_equal(simpler_free(fixture->worker, fixture->cell), SIMPLER_EINVAL);
	fixture->cells = second;
	fixture->cell = second.data;
	memset(fixture->cell, 0, CELLS * sizeof(int64_t));
	assert_usable(fixture);
}

/* --- runs in the background --- */

static void a_completion_is_waited_for_polled_and_watched(void **state)
{
	struct fixture *fixture = *state;
	simpler_completion *completion = begin(fixture, "runs_until_stopped", 1);
	struct pollfd watched = { simpler_completion_fd(completion), POLLIN, 0 };

	wait_for_cell(fixture, 0);
	assert_false(simpler_completion_poll(completion));
	assert_false(simpler_completion_wait(completion, 1));
	assert_int_equal(poll(&watched, 1, 0), 0);
	assert_int_equal(simpler_completion_result(completion), SIMPLER_ESTATE);
	simpler_completion_cancel(completion);
	assert_int_equal(poll(&watched, 1, 10000), 1);
	assert_true(simpler_completion_poll(completion));
	assert_true(simpler_completion_wait(completion, 0));
	assert_int_equal(simpler_completion_result(completion), SIMPLER_ECANCELLED);
	assert_non_null(strstr(simpler_last_error(), "the run was cancelled"));
	assert_int_equal(fixture->cell[1], 1); /* it saw that it should stop */
	simpler_completion_destroy(completion);
	/* Watched only after its end. */
	completion = begin(fixture, "nothing", 1);
	assert_true(simpler_completion_wait(completion, SIMPLER_FOREVER));
	watched.fd = simpler_completion_fd(completion);
	assert_int_equal(poll(&watched, 1, 0), 1);
	assert_int_equal(simpler_completion_result(completion), SIMPLER_OK);
	simpler_completion_destroy(completion);
	assert_usable(fixture);
}

struct self_destroyer {
	simpler_completion *_Atomic completion; /* its own */
	simpler_status status;
	bool waited;
};

static simpler_status destroy_oneself(simpler_orch *orch, const simpler_args *args,
                                      const simpler_config *config, simpler_bytes state)
{
	struct self_destroyer *self = *(struct self_destroyer *const *)state.data;
	simpler_completion *completion;

	(void)orch;
	(void)args;
	(void)config;
	while (!(completion = atomic_load(&self->completion)))
		sched_yield();
	self->waited = simpler_completion_wait(completion, SIMPLER_FOREVER);
	self->status = simpler_completion_destroy(completion);
	return SIMPLER_OK;
}

static void a_run_cannot_destroy_its_own_completion(void **state)
{
	struct fixture *fixture = *state;
	struct self_destroyer self = { .status = SIMPLER_OK }, *at = &self;
	simpler_completion *completion;

	assert_int_equal(simpler_run_async(fixture->worker, destroy_oneself, NULL, NULL,
	                                   (simpler_bytes){ &at, sizeof(at) }, &completion),
	                 SIMPLER_OK);
	atomic_store(&self.completion, completion);
	assert_true(simpler_completion_wait(completion, 20000));
	assert_int_equal(simpler_completion_result(completion), SIMPLER_OK);
	assert_false(self.waited);
	assert_int_equal(self.status, SIMPLER_ESTATE);
	assert_int_equal(simpler_completion_destroy(completion), SIMPLER_OK);
	assert_int_equal(simpler_completion_destroy(NULL), SIMPLER_OK);
}

static void what_ignores_a_cancelled_run_is_killed_and_replaced(void **state)
{
	struct fixture *fixture = *state;
	simpler_completion *completion = begin(fixture, "runs_for_ever", 1);

	wait_for_cell(fixture, 0);
	simpler_completion_cancel(completion);
	assert_true(simpler_completion_wait(completion, 10000));
	assert_int_equal(simpler_completion_result(completion), SIMPLER_ECANCELLED);
	simpler_completion_destroy(completion);
	assert_usable(fixture);
}

static void a_late_task_is_killed_and_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct job job = job_of(fixture, "runs_for_ever", 1);

	job.timeout_ms = 50;
	assert_int_equal(simpler_run(fixture->worker, submit_subs, NULL, NULL,
	                             (simpler_bytes){ &job, sizeof(job) }),
	                 SIMPLER_EDEADLINE);
	assert_non_null(strstr(simpler_last_error(), "within the 50 ms"));
	assert_non_null(strstr(simpler_last_error(), "and was killed"));
	assert_usable(fixture);
}

#define RUNS 12

static void many_runs_at_once_fail_each_for_itself(void **state)
{
	struct fixture *fixture = *state;
	simpler_completion *completions[RUNS];

	/* All on the same cells, so their tasks wait for one another's. */
	for (int i = 0; i < RUNS; i++)
		completions[i] = begin(fixture, i % 3 == 0 ? "fails" : "add_one", 50);
	for (int i = 0; i < RUNS; i++) {
		assert_true(simpler_completion_wait(completions[i], SIMPLER_FOREVER));
		assert_int_equal(simpler_completion_result(completions[i]),
		                 i % 3 == 0 ? SIMPLER_ENOTFOUND : SIMPLER_OK);
		simpler_completion_destroy(completions[i]);
	}
	assert_int_equal(fixture->cell[0], RUNS * 2 / 3 * 50);
}

/* --- workers of the next level --- */

struct placed {
	simpler_orch_fn fn;
	simpler_worker_id worker;
	simpler_backing backing;
	simpler_tensor tensor;
	int times;
};

/* On each worker in turn, all on the same tensor. */
static simpler_status submit_everywhere(simpler_orch *orch, const simpler_args *args,
                                        const simpler_config *config, simpler_bytes state)
{
	const struct placed *placed = state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_args *built = simpler_args_create();
	simpler_status status =
		simpler_args_add_tensor(built, &placed->tensor, SIMPLER_INOUT, placed->backing);

	(void)args;
	(void)config;
	for (int i = 0; i < placed->times && status == SIMPLER_OK; i++) {
		options.worker = placed->worker == SIMPLER_ANY_WORKER ? (simpler_worker_id)i % 2
		                                                      : placed->worker;
		status = simpler_submit_next_level(orch, placed->fn, built, &options, NULL);
	}
	simpler_args_destroy(built);
	return status;
}

static simpler_status run_placed(struct fixture *fixture, const char *name,
                                 simpler_worker_id worker, simpler_backing backing, int times)
{
	struct placed placed = {
		.worker = worker, .backing = backing, .tensor = fixture->cells, .times = times
	};

	assert_int_equal(
		simpler_module_orch_fn(fixture->module, name, simpler_no_state(), &placed.fn),
		SIMPLER_OK);
	return simpler_run(fixture->worker, submit_everywhere, NULL, NULL,
	                   (simpler_bytes){ &placed, sizeof(placed) });
}

static void local_and_remote_workers_share_one_graph(void **state)
{
	static const char *const options[] = { "--sub-workers", "1", "--pool-bytes", "64M", NULL };
	simpler_local_options local = SIMPLER_LOCAL_OPTIONS_INIT;
	struct fixture fixture;
	struct daemon node;

	(void)state;
	daemon_start(&node, options);
	create(&fixture, 4);
	local.sub_workers = 1;
	assert_int_equal(simpler_worker_add_local(fixture.worker, &local, NULL), SIMPLER_OK);
	assert_int_equal(simpler_worker_add_remote(fixture.worker, node.address, NULL), SIMPLER_OK);
	assert_int_equal(simpler_worker_init(fixture.worker), SIMPLER_OK);
	/* Here, there, here, there, ...: a chain over the same bytes. */
	assert_int_equal(
		run_placed(&fixture, "node_adds_one", SIMPLER_ANY_WORKER, SIMPLER_STAGED, 20),
		SIMPLER_OK);
	for (int i = 0; i < CELLS; i++)
		assert_int_equal(fixture.cell[i], 20);
	/* A node has no part in this machine's memory. */
	assert_int_equal(run_placed(&fixture, "node_adds_one", 1, SIMPLER_SHARED, 1),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "SIMPLER_INLINE or SIMPLER_STAGED"));
	assert_int_equal(run_placed(&fixture, "node_adds_one", 0, SIMPLER_SHARED, 1), SIMPLER_OK);
	assert_int_equal(fixture.cell[0], 21);
	simpler_worker_close(fixture.worker);
	assert_int_equal(daemon_stop(&node), 0);
}

static void a_local_worker_drives_chips(void **state)
{
	simpler_local_options local = SIMPLER_LOCAL_OPTIONS_INIT;
	struct fixture fixture;

	(void)state;
	create(&fixture, 4);
	local.chips = 2;
	assert_int_equal(simpler_worker_add_local(fixture.worker, &local, NULL), SIMPLER_OK);
	assert_int_equal(simpler_worker_init(fixture.worker), SIMPLER_OK);
	assert_int_equal(run_placed(&fixture, "node_adds_one_on_a_chip", 0, SIMPLER_SHARED, 8),
	                 SIMPLER_OK);
	for (int i = 0; i < CELLS; i++)
		assert_int_equal(fixture.cell[i], 8);
	simpler_worker_close(fixture.worker);
}

static simpler_status submit_with_deadline(simpler_orch *orch, const simpler_args *args,
                                           const simpler_config *config, simpler_bytes state)
{
	const struct placed *placed = state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_args *built = simpler_args_create();
	simpler_status status =
		simpler_args_add_tensor(built, &placed->tensor, SIMPLER_INOUT, placed->backing);

	(void)args;
	(void)config;
	options.timeout_ms = 100;
	if (status == SIMPLER_OK)
		status = simpler_submit_next_level(orch, placed->fn, built, &options, NULL);
	simpler_args_destroy(built);
	return status;
}

static void check_late(struct fixture *fixture)
{
	struct placed placed = { .backing = SIMPLER_STAGED, .tensor = fixture->cells };

	assert_int_equal(simpler_module_orch_fn(fixture->module, "node_runs_for_ever",
	                                        simpler_no_state(), &placed.fn),
	                 SIMPLER_OK);
	assert_int_equal(simpler_run(fixture->worker, submit_with_deadline, NULL, NULL,
	                             (simpler_bytes){ &placed, sizeof(placed) }),
	                 SIMPLER_EDEADLINE);
	/* The sub worker that had to be killed, there or here, is replaced. */
	memset(fixture->cell, 0, CELLS * sizeof(int64_t));
	assert_int_equal(run_placed(fixture, "node_adds_one", 0, SIMPLER_STAGED, 3), SIMPLER_OK);
	assert_int_equal(fixture->cell[0], 3);
}

static void a_deadline_reaches_sub_tasks_below_a_local_worker(void **state)
{
	simpler_local_options local = SIMPLER_LOCAL_OPTIONS_INIT;
	struct fixture fixture;

	(void)state;
	create(&fixture, 4);
	local.sub_workers = 1;
	assert_int_equal(simpler_worker_add_local(fixture.worker, &local, NULL), SIMPLER_OK);
	assert_int_equal(simpler_worker_init(fixture.worker), SIMPLER_OK);
	check_late(&fixture);
	simpler_worker_close(fixture.worker);
}

static void a_deadline_reaches_sub_tasks_on_a_node(void **state)
{
	static const char *const options[] = {
		"--sub-workers", "1", "--pool-bytes", "64M", "--stop-grace", "100", NULL
	};
	struct fixture fixture;
	struct daemon node;

	(void)state;
	daemon_start(&node, options);
	create(&fixture, 4);
	assert_int_equal(simpler_worker_add_remote(fixture.worker, node.address, NULL), SIMPLER_OK);
	assert_int_equal(simpler_worker_init(fixture.worker), SIMPLER_OK);
	check_late(&fixture);
	simpler_worker_close(fixture.worker);
	assert_int_equal(daemon_stop(&node), 0);
}

static void what_cannot_be_a_child_is_refused_with_the_reason(void **state)
{
	simpler_local_options empty = SIMPLER_LOCAL_OPTIONS_INIT, chips = empty, deep = empty;
	struct fixture fixture;

	(void)state;
	create(&fixture, 3);
	deep.worker_count = 1;
	chips.chips = 1;
	assert_int_equal(simpler_worker_add_local(fixture.worker, &chips, NULL), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "make it level 4"));
	assert_int_equal(simpler_worker_add_remote(fixture.worker, "127.0.0.1:1", NULL),
	                 SIMPLER_EINVAL);
	assert_int_equal(simpler_worker_add_subs(fixture.worker, 0, NULL), SIMPLER_EINVAL);
	assert_int_equal(simpler_worker_add_chips(fixture.worker, 1, NULL, NULL), SIMPLER_EINVAL);
	simpler_worker_close(fixture.worker);
	create(&fixture, 4);
	assert_int_equal(simpler_worker_add_chips(fixture.worker, 1, "sim", NULL), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "children of a worker of level 3"));
	assert_int_equal(simpler_worker_add_local(fixture.worker, &empty, NULL), SIMPLER_EINVAL);
	assert_int_equal(simpler_worker_add_local(fixture.worker, &deep, NULL), SIMPLER_EINVAL);
	assert_int_equal(simpler_worker_add_local(fixture.worker, NULL, NULL), SIMPLER_EINVAL);
	assert_int_equal(simpler_worker_add_local(fixture.worker, &chips, NULL), SIMPLER_OK);
	assert_int_equal(simpler_worker_init(fixture.worker), SIMPLER_OK);
	assert_int_equal(simpler_worker_add_subs(fixture.worker, 1, NULL), SIMPLER_ESTATE);
	simpler_worker_close(fixture.worker);
}

static void children_beyond_a_limit_are_added_all_or_none(void **state)
{
	struct fixture fixture;
	simpler_worker_id first = 77;

	(void)state;
	create(&fixture, 3);
	assert_int_equal(simpler_worker_add_subs(fixture.worker, 2, &first), SIMPLER_OK);
	assert_int_equal(first, 0);
	assert_int_equal(simpler_worker_add_subs(fixture.worker, 255, &first), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "255 more children on this machine"));
	assert_non_null(strstr(simpler_last_error(), "there are 2; a worker has at most 256"));
	assert_int_equal(simpler_worker_add_chips(fixture.worker, UINT32_MAX, "sim", &first),
	                 SIMPLER_ENOSPACE);
	assert_int_equal(first, 0);
	assert_int_equal(simpler_worker_add_chips(fixture.worker, 2, "sim", &first), SIMPLER_OK);
	assert_int_equal(first, 2);
	simpler_worker_close(fixture.worker);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(sub_tasks_work_on_the_shared_heap_in_place),
		CASE(malloced_memory_is_refused_with_what_to_use),
		CASE(a_crash_tells_signal_address_and_backtrace_and_is_replaced),
		CASE(storage_in_use_survives_its_being_freed),
		CASE(a_completion_is_waited_for_polled_and_watched),
		CASE(a_run_cannot_destroy_its_own_completion),
		CASE(what_ignores_a_cancelled_run_is_killed_and_replaced),
		CASE(a_late_task_is_killed_and_replaced),
		CASE(many_runs_at_once_fail_each_for_itself),
		cmocka_unit_test(local_and_remote_workers_share_one_graph),
		cmocka_unit_test(a_local_worker_drives_chips),
		cmocka_unit_test(a_deadline_reaches_sub_tasks_below_a_local_worker),
		cmocka_unit_test(a_deadline_reaches_sub_tasks_on_a_node),
		cmocka_unit_test(what_cannot_be_a_child_is_refused_with_the_reason),
		cmocka_unit_test(children_beyond_a_limit_are_added_all_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
