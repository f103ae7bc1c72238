/*
 * A parent and real daemons: dispatch, tensors, failures. Every result is read from a tensor of
 * this process (R08); nothing is proved by files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "simpler/simpler.h"
#include "test_modules.h"

struct fixture {
	struct daemon nodes[2];
	simpler_worker *worker;
	simpler_module *module;
};

static int set_up(void **state)
{
	static const char *const options[] = { "--sub-workers", "2", "--pool-bytes", "64M", NULL };
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	for (int i = 0; i < 2; i++)
		daemon_start(&fixture->nodes[i], options);
	assert_int_equal(simpler_worker_create(NULL, &fixture->worker), SIMPLER_OK);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			simpler_worker_add_remote(fixture->worker, fixture->nodes[i].address, NULL),
			SIMPLER_OK);
	assert_int_equal(simpler_module_load(fixture->worker, TEST_MODULES_DIR "/remote_cases.so",
	                                     &fixture->module),
	                 SIMPLER_OK);
	assert_int_equal(simpler_worker_init(fixture->worker), SIMPLER_OK);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	simpler_worker_close(fixture->worker);
	for (int i = 0; i < 2; i++)
		assert_int_equal(daemon_stop(&fixture->nodes[i]), 0);
	free(fixture);
	return 0;
}

/* One run of one task: the case's function with these arguments. */
struct one_task {
	simpler_orch_fn fn;
	const simpler_args *args;
	simpler_worker_id worker;
};

static simpler_status submit_one(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct one_task *task = state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

	(void)args;
	(void)config;
	options.worker = task->worker;
	return simpler_submit_next_level(orch, task->fn, task->args, &options, NULL);
}

static simpler_orch_fn find(struct fixture *fixture, const char *name, simpler_bytes captured)
{
	simpler_orch_fn fn;

	assert_int_equal(simpler_module_orch_fn(fixture->module, name, captured, &fn), SIMPLER_OK);
	return fn;
}

static simpler_status run_fn(struct fixture *fixture, simpler_orch_fn fn, const simpler_args *args,
                             simpler_worker_id worker)
{
	struct one_task task = { fn, args, worker };
	simpler_bytes state = { &task, sizeof(task) };

	return simpler_run(fixture->worker, submit_one, NULL, NULL, state);
}

static simpler_status run_on(struct fixture *fixture, const char *name, simpler_bytes captured,
                             const simpler_args *args, simpler_worker_id worker)
{
	return run_fn(fixture, find(fixture, name, captured), args, worker);
}

static simpler_status run(struct fixture *fixture, const char *name, const simpler_args *args)
{
	return run_on(fixture, name, simpler_no_state(), args, SIMPLER_ANY_WORKER);
}

static void add(simpler_args *args, void *data, simpler_dtype dtype, int64_t count, simpler_tag tag,
                simpler_backing backing)
{
	simpler_tensor tensor;

	assert_int_equal(simpler_tensor_init_1d(&tensor, data, dtype, count), SIMPLER_OK);
	assert_int_equal(simpler_args_add_tensor(args, &tensor, tag, backing), SIMPLER_OK);
}

static void assert_error_says(const char *text)
{
	if (!strstr(simpler_last_error(), text))
		fail_msg("the error is: %s\nand does not say: %s", simpler_last_error(), text);
}

/* --- tests --- */

static void R07_captured_state_is_a_copy_and_results_come_back_through_tensors(void **state)
{
	struct fixture *fixture = *state;
	int64_t captured = 41, out = 0;
	simpler_bytes bytes = { &captured, sizeof(captured) };
	simpler_args *args = simpler_args_create();
	simpler_orch_fn first = find(fixture, "read_state", bytes), second;

	/* Changing our bytes makes another callable; the registered one keeps its copy. */
	captured = 7;
	second = find(fixture, "read_state", bytes);
	captured = 0;
	add(args, &out, SIMPLER_INT64, 1, SIMPLER_OUTPUT, SIMPLER_INLINE);
	assert_int_equal(run_fn(fixture, first, args, 0), SIMPLER_OK);
	assert_int_equal(out, 41);
	assert_int_equal(run_fn(fixture, second, args, 0), SIMPLER_OK);
	assert_int_equal(out, 7);
	assert_int_equal(captured, 0);
	simpler_args_destroy(args);
}

static void R08_a_result_comes_back_in_the_callers_tensor(void **state)
{
	static const simpler_backing backings[] = { SIMPLER_INLINE, SIMPLER_STAGED };
	struct fixture *fixture = *state;
	simpler_args *args = simpler_args_create();

	for (size_t i = 0; i < 2; i++) {
		int64_t values[3] = { 1, -2, 3 };

		simpler_args_reset(args);
		add(args, values, SIMPLER_INT64, 3, SIMPLER_INOUT, backings[i]);
		assert_int_equal(simpler_args_add_scalar(args, 10), SIMPLER_OK);
		assert_int_equal(run(fixture, "shift", args), SIMPLER_OK);
		assert_int_equal(values[0], 11);
		assert_int_equal(values[1], 8);
		assert_int_equal(values[2], 13);
	}
	simpler_args_destroy(args);
}

static void R21_a_remote_task_runs_in_a_sub_worker_of_the_node(void **state)
{
	struct fixture *fixture = *state;
	simpler_args *args = simpler_args_create();

	for (unsigned node = 0; node < 2; node++) {
		int64_t ids[2] = { 0, 0 };

		simpler_args_reset(args);
		add(args, ids, SIMPLER_INT64, 2, SIMPLER_OUTPUT, SIMPLER_INLINE);
		assert_int_equal(run_on(fixture, "who", simpler_no_state(), args, node),
		                 SIMPLER_OK);
		assert_true(ids[0] > 0 && ids[1] > 0);
		assert_int_not_equal(ids[0], getpid());
		assert_int_not_equal(ids[1], fixture->nodes[node].pid);
	}
	simpler_args_destroy(args);
}

static void R20_a_tensor_index_out_of_range_names_index_and_count(void **state)
{
	simpler_args *args = simpler_args_create();
	int64_t value = 0;

	add(args, &value, SIMPLER_INT64, 1, SIMPLER_INOUT, SIMPLER_INLINE);
	assert_int_equal(run(*state, "out_of_range", args), SIMPLER_EINVAL);
	assert_error_says("tensor index 1 is out of range: there is 1 tensor");
	simpler_args_destroy(args);
}

static void R12_staged_tensors_of_all_sizes_arrive(void **state)
{
	static const size_t sizes[] = {
		0, 1, 4095, 4096, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20
	};
	struct fixture *fixture = *state;
	simpler_args *args = simpler_args_create();

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *bytes = malloc(sizes[i] + 1);
		int64_t expected = 0, sum = -1;

		for (size_t k = 0; k < sizes[i]; k++) {
			bytes[k] = (uint8_t)(k * 31 + i);
			expected += bytes[k];
		}
		simpler_args_reset(args);
		add(args, bytes, SIMPLER_UINT8, (int64_t)sizes[i], SIMPLER_INPUT, SIMPLER_STAGED);
		add(args, &sum, SIMPLER_INT64, 1, SIMPLER_OUTPUT, SIMPLER_STAGED);
		if (run(fixture, "sum_bytes", args) != SIMPLER_OK)
			fail_msg("%zu bytes: %s", sizes[i], simpler_last_error());
		assert_int_equal(sum, expected);
		free(bytes);
	}
	simpler_args_destroy(args);
}

static void output_tensors_start_as_zeroes_on_the_node(void **state)
{
	simpler_args *args = simpler_args_create();
	int64_t values[4] = { 111, 222, 333, 444 };

	/* The old bytes stay here: the task adds 5 to what it finds there. */
	add(args, values, SIMPLER_INT64, 4, SIMPLER_OUTPUT, SIMPLER_STAGED);
	assert_int_equal(simpler_args_add_scalar(args, 5), SIMPLER_OK);
	assert_int_equal(run(*state, "shift", args), SIMPLER_OK);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(values[i], 5);
	simpler_args_destroy(args);
}

static void a_status_and_a_message_come_back_from_user_code_with_the_chain(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal((int)run_on(fixture, "fail", simpler_no_state(), NULL, 1), 1042);
	assert_error_says("row 3 of A is singular");
	assert_error_says("sub task 'fail_sub' (");
	assert_error_says("on sub worker ");
	assert_error_says("orchestration function 'fail' (");
	assert_error_says(fixture->nodes[1].address);
}

static void a_failed_task_leaves_its_tensor_as_it_was(void **state)
{
	simpler_args *args = simpler_args_create();
	int64_t value = 5;

	add(args, &value, SIMPLER_INT64, 1, SIMPLER_INOUT, SIMPLER_STAGED);
	assert_int_equal((int)run(*state, "fail", args), 1042);
	assert_int_equal(value, 5);
	simpler_args_destroy(args);
}

static void a_crash_of_a_sub_task_is_its_failure_and_the_next_task_runs(void **state)
{
	static const struct {
		const char *name, *says;
	} cases[] = { { "crash", "signal 11" }, { "leave", "status 3" } };
	struct fixture *fixture = *state;
	simpler_args *args = simpler_args_create();

	for (size_t i = 0; i < 2; i++) {
		int64_t value = 1;

		assert_int_equal(run_on(fixture, cases[i].name, simpler_no_state(), NULL, 0),
		                 SIMPLER_ECRASHED);
		assert_error_says(cases[i].says);
		for (int round = 0; round < 4; round++) {
			simpler_args_reset(args);
			add(args, &value, SIMPLER_INT64, 1, SIMPLER_INOUT, SIMPLER_INLINE);
			assert_int_equal(simpler_args_add_scalar(args, 1), SIMPLER_OK);
			assert_int_equal(run_on(fixture, "shift", simpler_no_state(), args, 0),
			                 SIMPLER_OK);
		}
		assert_int_equal(value, 5);
	}
	simpler_args_destroy(args);
}

static void a_module_that_prints_more_than_a_pipe_holds_stops_nobody(void **state)
{
	/* The daemons' standard output is a pipe to here that nobody reads any more. */
	assert_int_equal(run_on(*state, "shout", simpler_no_state(), NULL, 0), SIMPLER_OK);
}

static void a_name_that_the_module_lacks_or_another_kind_is_refused(void **state)
{
	struct fixture *fixture = *state;
	simpler_orch_fn fn;

	assert_int_equal(simpler_module_orch_fn(fixture->module, "shuft", simpler_no_state(), &fn),
	                 SIMPLER_ENOTFOUND);
	assert_error_says("it declares: who (orchestration function)");
	assert_int_equal(
		simpler_module_orch_fn(fixture->module, "shift_sub", simpler_no_state(), &fn),
		SIMPLER_EKIND);
	assert_error_says("sub task");
}

/* The bytes of such a state need not be there: a size of -1 is somebody's mistake. */
static void a_state_over_the_limit_is_refused_unread(void **state)
{
	struct fixture *fixture = *state;
	simpler_orch_fn fn;

	assert_int_equal(simpler_module_orch_fn(fixture->module, "shift",
	                                        (simpler_bytes){ "x", SIZE_MAX }, &fn),
	                 SIMPLER_ENOSPACE);
	assert_error_says("65536");
	assert_int_equal(
		simpler_module_orch_fn(fixture->module, "shift", (simpler_bytes){ NULL, 4 }, &fn),
		SIMPLER_EINVAL);
}

static void a_module_that_lacks_a_symbol_is_refused_by_the_node_naming_both(void **state)
{
	struct fixture *fixture = *state;
	simpler_module *module;
	simpler_orch_fn fn;

	assert_int_equal(simpler_module_load(fixture->worker,
	                                     TEST_MODULES_DIR "/undefined_symbol.so", &module),
	                 SIMPLER_OK);
	assert_int_equal(
		simpler_module_orch_fn(module, "call_nobody_above", simpler_no_state(), &fn),
		SIMPLER_EINVAL);
	assert_error_says("the module needs the symbol 'a_function_that_nobody_defines'");
	assert_error_says("'call_nobody_above'");
	assert_error_says(fixture->nodes[0].address);
	/* Other callables are none the worse, new ones included. */
	(void)find(fixture, "shift", simpler_no_state());
	(void)find(fixture, "shift", (simpler_bytes){ "new", 3 });
}

static void a_tensor_larger_than_the_pool_is_refused_naming_the_room(void **state)
{
	const int64_t bytes = (int64_t)65 << 20;
	simpler_args *args = simpler_args_create();
	uint8_t *data = calloc(1, (size_t)bytes);
	int64_t sum;

	add(args, data, SIMPLER_UINT8, bytes, SIMPLER_INPUT, SIMPLER_STAGED);
	add(args, &sum, SIMPLER_INT64, 1, SIMPLER_OUTPUT, SIMPLER_STAGED);
	assert_int_equal(run_on(*state, "sum_bytes", simpler_no_state(), args, 0),
	                 SIMPLER_ENOSPACE);
	assert_error_says("68157440");
	assert_error_says("67108864");
	simpler_args_destroy(args);
	free(data);
}

/* 50 additions to one cell, and to each of two others, over both nodes. */
static simpler_status chains(simpler_orch *orch, const simpler_args *args,
                             const simpler_config *config, simpler_bytes state)
{
	struct {
		simpler_orch_fn fn;
		int64_t *cells;
	} work;
	simpler_args *task = simpler_args_create();
	simpler_status status = SIMPLER_OK;

	(void)args;
	(void)config;
	memcpy(&work, state.data, sizeof(work));
	for (unsigned i = 0; i < 150 && status == SIMPLER_OK; i++) {
		simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

		options.worker = i % 2;
		simpler_args_reset(task);
		add(task, &work.cells[i % 3], SIMPLER_INT64, 1, SIMPLER_INOUT,
		    i % 7 ? SIMPLER_INLINE : SIMPLER_STAGED);
		(void)simpler_args_add_scalar(task, i);
		status = simpler_submit_next_level(orch, work.fn, task, &options, NULL);
	}
	simpler_args_destroy(task);
	return status;
}

static void *run_chains(void *argument)
{
	struct fixture *fixture = argument;
	int64_t cells[3] = { 0, 0, 0 }, expected[3] = { 0, 0, 0 };
	struct {
		simpler_orch_fn fn;
		int64_t *cells;
	} work = { .cells = cells };
	simpler_bytes state = { &work, sizeof(work) };

	for (unsigned i = 0; i < 150; i++)
		expected[i % 3] += i;
	assert_int_equal(
		simpler_module_orch_fn(fixture->module, "shift", simpler_no_state(), &work.fn),
		SIMPLER_OK);
	if (simpler_run(fixture->worker, chains, NULL, NULL, state) != SIMPLER_OK)
		return (void *)1;
	return memcmp(cells, expected, sizeof(cells)) == 0 ? NULL : (void *)2;
}

static void the_graph_orders_tasks_on_the_same_bytes_across_nodes(void **state)
{
	assert_null(run_chains(*state));
}

static void several_threads_run_on_one_worker_at_once(void **state)
{
	pthread_t threads[4];
	void *result;

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_chains, *state), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
}

/* The thread that finished the last task may still be on its way out when the run returns. */
static void a_worker_can_be_closed_as_soon_as_its_run_returns(void **state)
{
	const struct fixture *fixture = *state;
	struct fixture other = *fixture;

	for (int round = 0; round < 100; round++) {
		assert_int_equal(simpler_worker_create(NULL, &other.worker), SIMPLER_OK);
		for (int i = 0; i < 2; i++)
			assert_int_equal(simpler_worker_add_remote(other.worker,
			                                           fixture->nodes[i].address, NULL),
			                 SIMPLER_OK);
		assert_int_equal(simpler_module_load(other.worker,
		                                     TEST_MODULES_DIR "/remote_cases.so",
		                                     &other.module),
		                 SIMPLER_OK);
		assert_int_equal(simpler_worker_init(other.worker), SIMPLER_OK);
		assert_int_equal((int)run(&other, "fail", NULL), 1042);
		simpler_worker_close(other.worker);
		assert_error_says("row 3 of A is singular");
	}
}

static void a_node_that_is_not_there_is_named(void **state)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_worker *worker;

	(void)state;
	options.connect_timeout_ms = 300;
	assert_int_equal(simpler_worker_create(&options, &worker), SIMPLER_OK);
	assert_int_equal(simpler_worker_add_remote(worker, "127.0.0.1:1", NULL), SIMPLER_OK);
	assert_int_equal(simpler_worker_init(worker), SIMPLER_EUNAVAILABLE);
	assert_error_says("127.0.0.1:1");
	simpler_worker_close(worker);
}

static void a_file_that_is_no_module_is_refused_with_the_reason(void **state)
{
	struct fixture *fixture = *state;
	simpler_module *module;

	assert_int_equal(simpler_module_load(fixture->worker, "/nonexistent.so", &module),
	                 SIMPLER_ESYSTEM);
	assert_int_equal(simpler_module_load(fixture->worker, "/etc/passwd", &module),
	                 SIMPLER_EINVAL);
	assert_error_says("ELF");
	assert_int_equal(
		simpler_module_load(fixture->worker, TEST_MODULES_DIR "/no_callables.so", &module),
		SIMPLER_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			R07_captured_state_is_a_copy_and_results_come_back_through_tensors),
		cmocka_unit_test(R08_a_result_comes_back_in_the_callers_tensor),
		cmocka_unit_test(R21_a_remote_task_runs_in_a_sub_worker_of_the_node),
		cmocka_unit_test(R20_a_tensor_index_out_of_range_names_index_and_count),
		cmocka_unit_test(R12_staged_tensors_of_all_sizes_arrive),
		cmocka_unit_test(output_tensors_start_as_zeroes_on_the_node),
		cmocka_unit_test(a_status_and_a_message_come_back_from_user_code_with_the_chain),
		cmocka_unit_test(a_failed_task_leaves_its_tensor_as_it_was),
		cmocka_unit_test(a_crash_of_a_sub_task_is_its_failure_and_the_next_task_runs),
		cmocka_unit_test(a_module_that_prints_more_than_a_pipe_holds_stops_nobody),
		cmocka_unit_test(a_name_that_the_module_lacks_or_another_kind_is_refused),
		cmocka_unit_test(a_state_over_the_limit_is_refused_unread),
		cmocka_unit_test(a_module_that_lacks_a_symbol_is_refused_by_the_node_naming_both),
		cmocka_unit_test(a_tensor_larger_than_the_pool_is_refused_naming_the_room),
		cmocka_unit_test(the_graph_orders_tasks_on_the_same_bytes_across_nodes),
		cmocka_unit_test(several_threads_run_on_one_worker_at_once),
		cmocka_unit_test(a_worker_can_be_closed_as_soon_as_its_run_returns),
		cmocka_unit_test(a_node_that_is_not_there_is_named),
		cmocka_unit_test(a_file_that_is_no_module_is_refused_with_the_reason),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
