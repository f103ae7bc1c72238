/*
 * A worker with real sub workers, in this process: what an engine is made of, without a daemon.
 * Results are read from shared memory that the sub workers wrote.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/local.h"
#include "os/memory.h"
#include "test_modules.h"
#include "worker/core.h"

#define MEMORY_BYTES ((uint64_t)1 << 20)
#define WORKERS      3u

struct fixture {
	int memory_fd;
	int64_t *cells; /* the shared memory */
	struct worker_core *core;
	struct local_group *group;
	struct module *module;
};

static void *read_module(size_t *size)
{
	FILE *file = fopen(TEST_MODULES_DIR "/remote_cases.so", "rb");
	void *bytes = malloc(1 << 20);

	assert_non_null(file);
	assert_non_null(bytes);
	*size = fread(bytes, 1, 1 << 20, file);
	fclose(file);
	return bytes;
}

static void on_helper_lost(void)
{
	fail_msg("the spawn helper died");
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct local_options options = { .workers = WORKERS,
		                         .memory_segment = 1,
		                         .lost = on_helper_lost };
	void *base, *bytes;
	uint32_t index;
	size_t size;

	assert_non_null(fixture);
	options.host_program = getenv("SIMPLER_HOST");
	assert_non_null(options.host_program);
	assert_int_equal(memory_create("test", MEMORY_BYTES, &fixture->memory_fd), SIMPLER_OK);
	assert_int_equal(memory_map(fixture->memory_fd, MEMORY_BYTES, &base), SIMPLER_OK);
	options.memory_fd = fixture->memory_fd;
	options.memory_bytes = MEMORY_BYTES;
	fixture->cells = base;
	assert_int_equal(core_create(3, &fixture->core), SIMPLER_OK);
	fixture->core->memory.id = 1;
	fixture->core->memory.base = base;
	fixture->core->memory.bytes = MEMORY_BYTES;
	assert_int_equal(local_group_create(&options, &fixture->group), SIMPLER_OK);
	for (uint32_t i = 0; i < WORKERS; i++)
		core_add_child(fixture->core, local_group_child(fixture->group, i), &index);
	fixture->core->progress = local_progress(fixture->group);
	bytes = read_module(&size);
	assert_int_equal(
		callables_add_module(fixture->core->callables, bytes, size, &fixture->module),
		SIMPLER_OK);
	free(bytes);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	core_close_children(fixture->core);
	local_group_destroy(fixture->group);
	core_destroy(fixture->core);
	memory_unmap(fixture->cells, MEMORY_BYTES);
	close(fixture->memory_fd);
	free(fixture);
	return 0;
}

/* Submit sub task `name` on cells [first, first + count), with scalar 1. */
static simpler_status submit_on(simpler_orch *orch, const struct fixture *fixture, const char *name,
                                unsigned first, unsigned count)
{
	simpler_args *args = simpler_args_create();
	simpler_tensor tensor;
	simpler_sub sub;
	simpler_status status = simpler_orch_sub(orch, name, simpler_no_state(), &sub);

	assert_non_null(args);
	simpler_tensor_init_1d(&tensor, fixture->cells + first, SIMPLER_INT64, count);
	simpler_args_add_tensor(args, &tensor, SIMPLER_INOUT, SIMPLER_SHARED);
	simpler_args_add_scalar(args, 1);
	if (status == SIMPLER_OK)
		status = simpler_submit_sub(orch, sub, args, NULL, NULL);
	simpler_args_destroy(args);
	return status;
}

struct plan {
	const struct fixture *fixture;
	const char *name;
	unsigned first, tasks, cells;
};

static simpler_status follow_plan(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	const struct plan *plan = state.data;
	simpler_status status = SIMPLER_OK;

	(void)args;
	(void)config;
	for (unsigned i = 0; i < plan->tasks && status == SIMPLER_OK; i++)
		status = submit_on(orch, plan->fixture, plan->name, plan->first + i % plan->cells,
		                   1);
	return status;
}

static simpler_status run(const struct plan *plan)
{
	simpler_bytes state = { plan, sizeof(*plan) };

	simpler_status status = core_run(plan->fixture->core, follow_plan, "plan",
	                                 plan->fixture->module, NULL, NULL, state);

	if (status != SIMPLER_OK && status != SIMPLER_ECRASHED)
		print_message("%s\n", simpler_last_error());
	return status;
}

static void sub_tasks_work_on_shared_memory_in_order(void **state)
{
	struct fixture *fixture = *state;
	struct plan plan = { fixture, "shift_sub", 0, 1000, 7 };

	assert_int_equal(run(&plan), SIMPLER_OK);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(fixture->cells[i], 1000 / 7 + (i < 1000 % 7));
}

static void *run_in_thread(void *argument)
{
	return (void *)(intptr_t)run(argument);
}

static void several_threads_run_at_once_and_each_hears_of_its_own_tasks(void **state)
{
	struct fixture *fixture = *state;
	struct plan plans[4];
	pthread_t threads[4];
	void *result;

	for (unsigned i = 0; i < 4; i++) {
		plans[i] = (struct plan){ fixture, "shift_sub", 10 * i, 500, 5 };
		assert_int_equal(pthread_create(&threads[i], NULL, run_in_thread, &plans[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
		for (unsigned k = 0; k < 5; k++)
			assert_int_equal(fixture->cells[10 * i + k], 100);
	}
}

static void a_dead_sub_worker_fails_its_task_alone_and_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct plan crash = { fixture, "crash_sub", 0, 1, 1 };
	struct plan work = { fixture, "shift_sub", 0, 30, 6 };

	for (unsigned round = 0; round < 2 * WORKERS; round++) {
		assert_int_equal(run(&crash), SIMPLER_ECRASHED);
		assert_non_null(strstr(simpler_last_error(), "signal 11"));
		assert_non_null(strstr(simpler_last_error(), "sub task 'crash_sub'"));
	}
	assert_int_equal(run(&work), SIMPLER_OK);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(fixture->cells[i], 5);
}

static void a_sub_task_that_overwrites_its_mailbox_hurts_no_other(void **state)
{
	struct fixture *fixture = *state;
	struct plan scribble = { fixture, "scribble_sub", 0, 1, 1 };
	struct plan work = { fixture, "shift_sub", 0, 30, 6 };

	for (int round = 0; round < 3; round++) {
		assert_int_equal(run(&scribble), SIMPLER_ECRASHED);
		assert_int_equal(run(&work), SIMPLER_OK);
	}
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(fixture->cells[i], 15);
}

static void a_sub_task_that_forks_and_returns_twice_is_done_once(void **state)
{
	struct fixture *fixture = *state;
	struct plan twice = { fixture, "fork_and_return_sub", 0, 20, 1 };
	struct plan work = { fixture, "shift_sub", 0, 30, 6 };

	assert_int_equal(run(&twice), SIMPLER_OK);
	assert_int_equal(run(&work), SIMPLER_OK);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(fixture->cells[i], 5);
}

static simpler_status wrong_submits(simpler_orch *orch, const simpler_args *args,
                                    const simpler_config *config, simpler_bytes state)
{
	const struct fixture *fixture = *(struct fixture *const *)state.data;
	simpler_args *wrong = simpler_args_create();
	int64_t elsewhere = 0;
	simpler_tensor tensor;
	simpler_sub sub;

	(void)args;
	(void)config;
	assert_int_equal(simpler_orch_sub(orch, "shift_sub", simpler_no_state(), &sub), SIMPLER_OK);
	simpler_tensor_init_1d(&tensor, &elsewhere, SIMPLER_INT64, 1);
	simpler_args_add_tensor(wrong, &tensor, SIMPLER_INOUT, SIMPLER_SHARED);
	assert_int_equal(simpler_submit_sub(orch, sub, wrong, NULL, NULL), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "not in memory shared"));
	/* One byte past the end of the shared memory is outside, too. */
	simpler_args_reset(wrong);
	tensor.data = (uint8_t *)fixture->cells + MEMORY_BYTES - 7;
	simpler_args_add_tensor(wrong, &tensor, SIMPLER_INOUT, SIMPLER_SHARED);
	assert_int_equal(simpler_submit_sub(orch, sub, wrong, NULL, NULL), SIMPLER_EINVAL);
	simpler_args_destroy(wrong);
	return SIMPLER_OK;
}

static void R01_memory_that_is_not_shared_is_refused_at_submit(void **state)
{
	struct fixture *fixture = *state;
	simpler_bytes bytes = { &fixture, sizeof(fixture) };

	assert_int_equal(
		core_run(fixture->core, wrong_submits, "wrong", fixture->module, NULL, NULL, bytes),
		SIMPLER_OK);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(sub_tasks_work_on_shared_memory_in_order),
		CASE(several_threads_run_at_once_and_each_hears_of_its_own_tasks),
		CASE(a_dead_sub_worker_fails_its_task_alone_and_is_replaced),
		CASE(a_sub_task_that_overwrites_its_mailbox_hurts_no_other),
		CASE(a_sub_task_that_forks_and_returns_twice_is_done_once),
		CASE(R01_memory_that_is_not_shared_is_refused_at_submit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
