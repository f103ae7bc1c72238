/* Tensors that go from node to node, and to other programs. */
#include <stdlib.h>
#include <string.h>

#include "tensor_fixture.h"

static void a_tensor_is_brought_to_another_node_past_this_process(void **state)
{
	struct fixture *fixture = *state;
	int64_t values[4000], back[4000];
	simpler_tensor_handle first = alloc(fixture, 0, SIMPLER_INT64, 4000), second;
	simpler_traffic before[2], after[2];
	simpler_worker_id node;

	for (int i = 0; i < 4000; i++)
		values[i] = i * 5;
	write_all(fixture, first, over(values, SIMPLER_INT64, 4000));
	for (unsigned i = 0; i < 2; i++)
		before[i] = traffic_of(fixture, i);
	assert_ok(simpler_tensor_bring(fixture->worker, first, 1, NULL, &second));
	for (unsigned i = 0; i < 2; i++) {
		after[i] = traffic_of(fixture, i);
		assert_int_equal(sent(&after[i]), sent(&before[i]));
		assert_int_equal(received(&after[i]), received(&before[i]));
	}
	assert_ok(simpler_tensor_look(fixture->worker, second, NULL, &node));
	assert_int_equal(node, 1);
	free_tensor(fixture, first);
	read_all(fixture, second, over(back, SIMPLER_INT64, 4000));
	assert_memory_equal(back, values, sizeof(values));
	free_tensor(fixture, second);
}

struct importing {
	simpler_orch_fn fn;
	const simpler_args *args;
	simpler_worker_id worker;
	bool of_the_run;
};

static simpler_status submit_importing(simpler_orch *orch, const simpler_args *args,
                                       const simpler_config *config, simpler_bytes state)
{
	const struct importing *task = state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

	(void)args;
	(void)config;
	options.worker = task->worker;
	options.auto_import = !task->of_the_run;
	return simpler_submit_next_level(orch, task->fn, task->args, &options, NULL);
}

static simpler_status run_importing(struct fixture *fixture, const simpler_args *args,
                                    simpler_worker_id worker, bool of_the_run)
{
	struct importing task = { fixture->sum_bytes, args, worker, of_the_run };
	simpler_run_options options = SIMPLER_RUN_OPTIONS_INIT;
	simpler_completion *completion;
	simpler_status status;

	options.auto_import = of_the_run;
	assert_ok(simpler_run_async(fixture->worker, submit_importing, NULL, &options,
	                            (simpler_bytes){ &task, sizeof(task) }, &completion));
	assert_true(simpler_completion_wait(completion, 60000));
	status = simpler_completion_result(completion);
	assert_ok(simpler_completion_destroy(completion));
	return status;
}

static void a_run_that_asks_for_it_has_tensors_of_other_nodes_brought(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_handle handles[2] = { alloc(fixture, 0, SIMPLER_UINT8, 100),
		                             alloc(fixture, 1, SIMPLER_UINT8, 3000) };
	uint8_t bytes[3000];
	int64_t sum = 0;
	simpler_tensor out = over(&sum, SIMPLER_INT64, 1);
	simpler_args *args = simpler_args_create();

	memset(bytes, 1, sizeof(bytes));
	write_all(fixture, handles[0], over(bytes, SIMPLER_UINT8, 100));
	write_all(fixture, handles[1], over(bytes, SIMPLER_UINT8, 3000));
	add_view(args, handles[0], 10, SIMPLER_UINT8, 90, SIMPLER_INPUT);
	add_view(args, handles[1], 0, SIMPLER_UINT8, 3000, SIMPLER_INPUT);
	assert_ok(simpler_args_add_tensor(args, &out, SIMPLER_OUTPUT, SIMPLER_INLINE));
	for (unsigned i = 0; i < 6; i++) {
		/* Where most of the bytes are, and on each of the two. */
		simpler_worker_id worker = i % 3 == 2 ? SIMPLER_ANY_WORKER : i % 3;
		uint64_t before = traffic_of(fixture, 1).inlined.received;

		sum = 0;
		assert_ok(run_importing(fixture, args, worker, i < 3));
		assert_int_equal(sum, 3090);
		if (worker == SIMPLER_ANY_WORKER)
			assert_int_equal(traffic_of(fixture, 1).inlined.received - before,
			                 sizeof(sum));
	}
	simpler_args_reset(args);
	add_view(args, handles[0], 0, SIMPLER_UINT8, 1, SIMPLER_INOUT);
	add_view(args, handles[1], 0, SIMPLER_UINT8, 1, SIMPLER_INOUT);
	assert_fails(run_importing(fixture, args, SIMPLER_ANY_WORKER, true), SIMPLER_EINVAL,
	             "tensor 1");
	free_tensor(fixture, handles[0]);
	free_tensor(fixture, handles[1]);
	simpler_args_destroy(args);
}

static void another_program_uses_what_it_was_granted(void **state)
{
	struct fixture *fixture = *state;
	struct fixture other = *fixture;
	simpler_tensor_handle ours = alloc(fixture, 0, SIMPLER_INT64, 3), theirs, copy;
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_tensor_grant grant, forged;
	simpler_args *args = simpler_args_create();
	int64_t values[3] = { 1, 2, 3 };

	options.ttl_ms = 60000;
	connect_worker(&other, 2);
	write_all(fixture, ours, over(values, SIMPLER_INT64, 3));
	assert_ok(simpler_tensor_export(fixture->worker, ours, true, &options, &grant));
	forged = grant;
	forged.token[3] ^= 1;
	assert_int_not_equal(simpler_tensor_import(other.worker, 0, &forged, NULL, &theirs),
	                     SIMPLER_OK);
	/* On the same node, the same bytes; on another, a copy. */
	assert_ok(simpler_tensor_import(other.worker, 0, &grant, NULL, &theirs));
	assert_ok(simpler_tensor_import(other.worker, 1, &grant, NULL, &copy));
	add_view(args, theirs, 0, SIMPLER_INT64, 3, SIMPLER_INOUT);
	assert_ok(simpler_args_add_scalar(args, 10));
	assert_ok(run(&other, other.shift, args));
	read_all(fixture, ours, over(values, SIMPLER_INT64, 3));
	assert_int_equal(values[2], 13);
	read_all(&other, copy, over(values, SIMPLER_INT64, 3));
	assert_int_equal(values[2], 3);
	/* It stays for those who have imported it. */
	assert_ok(simpler_tensor_release_grant(fixture->worker, ours, &grant, NULL));
	free_tensor(fixture, ours);
	read_all(&other, theirs, over(values, SIMPLER_INT64, 3));
	assert_int_equal(values[0], 11);
	assert_int_not_equal(simpler_tensor_import(other.worker, 0, &grant, NULL, &copy),
	                     SIMPLER_OK);
	simpler_args_destroy(args);
	simpler_worker_close(other.worker);
}

static void what_is_for_reading_only_is_granted_for_reading_only(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_completion *completion = NULL;
	simpler_tensor_handle handle, imported;
	simpler_tensor_grant grant;
	int64_t shape = 3;

	options.read_only = true;
	assert_ok(simpler_tensor_alloc(fixture->worker, 0, SIMPLER_INT64, 1, &shape, &options,
	                               &handle));
	assert_fails(simpler_tensor_export(fixture->worker, handle, true, NULL, &grant),
	             SIMPLER_EPERM, "for reading only");
	assert_fails(simpler_tensor_export_async(fixture->worker, handle, true, NULL, &grant,
	                                         &completion),
	             SIMPLER_EPERM, "for reading only");
	assert_ok(simpler_tensor_export(fixture->worker, handle, false, NULL, &grant));
	assert_ok(simpler_tensor_import(fixture->worker, 0, &grant, NULL, &imported));
	assert_fails(simpler_tensor_export(fixture->worker, imported, true, NULL, &grant),
	             SIMPLER_EPERM, "for reading only");
	free_tensor(fixture, imported);
	free_tensor(fixture, handle);
}

static void a_quarter_of_a_gibibyte_goes_from_node_to_node(void **state)
{
	static const char *const large[] = { "--pool-bytes", "300M", NULL };
	const int64_t size = (int64_t)256 << 20;
	struct fixture other = { .worker = NULL };
	uint8_t *bytes = malloc((size_t)size);
	simpler_tensor_handle from, to;
	simpler_traffic traffic;

	(void)state;
	assert_non_null(bytes);
	for (int64_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	for (unsigned i = 0; i < 2; i++)
		daemon_start(&other.nodes[i], large);
	connect_worker(&other, 2);
	from = alloc(&other, 0, SIMPLER_UINT8, size);
	write_all(&other, from, over(bytes, SIMPLER_UINT8, size));
	assert_ok(simpler_tensor_bring(other.worker, from, 1, NULL, &to));
	traffic = traffic_of(&other, 1);
	assert_int_equal(sent(&traffic), 0);
	memset(bytes, 0, (size_t)size);
	read_all(&other, to, over(bytes, SIMPLER_UINT8, size));
	for (int64_t i = 0; i < size; i++)
		if (bytes[i] != (uint8_t)(i ^ i >> 8 ^ i >> 16))
			fail_msg("byte %lld is wrong", (long long)i);
	simpler_worker_close(other.worker);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(daemon_stop(&other.nodes[i]), 0);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tensor_is_brought_to_another_node_past_this_process),
		cmocka_unit_test(a_run_that_asks_for_it_has_tensors_of_other_nodes_brought),
		cmocka_unit_test(another_program_uses_what_it_was_granted),
		cmocka_unit_test(what_is_for_reading_only_is_granted_for_reading_only),
		cmocka_unit_test(a_quarter_of_a_gibibyte_goes_from_node_to_node),
	};

	return cmocka_run_group_tests(tests, tensors_set_up, tensors_tear_down);
}
