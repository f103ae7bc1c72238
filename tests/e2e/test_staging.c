/* Storage of staged tensors, which one task leaves to the next: what tasks find in it, and when a
 * node has it back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon.h"
#include "simpler/simpler.h"
#include "temporary_directory.h"
#include "test_modules.h"

#define MIB ((size_t)1 << 20)

#define TRANSPORTS 3
static const simpler_transport transports[] = { SIMPLER_TRANSPORT_STREAM, SIMPLER_TRANSPORT_SHM,
	                                        SIMPLER_TRANSPORT_FABRIC };

struct fixture {
	struct daemon node;
	simpler_worker *worker;
	simpler_orch_fn shift, fail, hold;
};

static void assert_ok(simpler_status status)
{
	if (status != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
}

static simpler_orch_fn find(simpler_module *module, const char *name)
{
	simpler_orch_fn fn;

	assert_ok(simpler_module_orch_fn(module, name, simpler_no_state(), &fn));
	return fn;
}

static simpler_worker *connect_worker(const struct daemon *node)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_worker *worker;

	options.fabric = SIMPLER_FABRIC_AUTO;
	assert_ok(simpler_worker_create(&options, &worker));
	assert_ok(simpler_worker_add_remote(worker, node->address, NULL));
	return worker;
}

static int set_up(void **state)
{
	static const char *const options[] = {
		"--sub-workers", "2", "--pool-bytes", "64M", "--fabric", "auto", NULL
	};
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	simpler_module *module;

	assert_non_null(fixture);
	daemon_start(&fixture->node, options);
	fixture->worker = connect_worker(&fixture->node);
	assert_ok(
		simpler_module_load(fixture->worker, TEST_MODULES_DIR "/remote_cases.so", &module));
	assert_ok(simpler_worker_init(fixture->worker));
	fixture->shift = find(module, "shift");
	fixture->fail = find(module, "fail");
	fixture->hold = find(module, "hold");
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	simpler_worker_close(fixture->worker);
	assert_int_equal(daemon_stop(&fixture->node), 0);
	free(fixture);
	return 0;
}

static uint64_t reused(struct fixture *fixture)
{
	simpler_traffic traffic = SIMPLER_TRAFFIC_INIT;

	assert_ok(simpler_worker_traffic(fixture->worker, 0, &traffic));
	return traffic.staging_reused;
}

static uint64_t sent(struct fixture *fixture)
{
	simpler_traffic traffic = SIMPLER_TRAFFIC_INIT;

	assert_ok(simpler_worker_traffic(fixture->worker, 0, &traffic));
	return traffic.stream.sent + traffic.shm.sent + traffic.fabric.sent;
}

struct one_task {
	simpler_orch_fn fn;
	const simpler_args *args;
	uint64_t timeout_ms;
};

static simpler_status submit_one(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct one_task *task = state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

	(void)args;
	(void)config;
	if (task->timeout_ms > 0)
		options.timeout_ms = task->timeout_ms;
	return simpler_submit_next_level(orch, task->fn, task->args, &options, NULL);
}

/* A run of one task with one staged tensor, and one that is not, which some callables want. */
static simpler_status run_staged(struct fixture *fixture, simpler_orch_fn fn, void *data,
                                 size_t bytes, simpler_tag tag, simpler_transport transport)
{
	struct one_task task = { .fn = fn, .args = NULL };
	simpler_bytes state = { &task, sizeof(task) };
	simpler_args *args = simpler_args_create();
	int64_t other = 0;
	simpler_tensor tensor;
	simpler_status status;

	assert_ok(simpler_tensor_init_1d(&tensor, data, SIMPLER_INT64, (int64_t)(bytes / 8)));
	assert_ok(simpler_args_add_staged(args, &tensor, tag, transport));
	assert_ok(simpler_tensor_init_1d(&tensor, &other, SIMPLER_INT64, 1));
	assert_ok(simpler_args_add_tensor(args, &tensor, SIMPLER_INOUT, SIMPLER_INLINE));
	assert_ok(simpler_args_add_scalar(args, 7));
	task.args = args;
	task.timeout_ms = fn.id == fixture->hold.id ? 50 : 0;
	status = simpler_run(fixture->worker, submit_one, NULL, NULL, state);
	simpler_args_destroy(args);
	return status;
}

static void shift_ok(struct fixture *fixture, int64_t *values, size_t bytes, simpler_tag tag,
                     simpler_transport transport)
{
	assert_ok(run_staged(fixture, fixture->shift, values, bytes, tag, transport));
}

static void a_tensor_that_is_sent_has_the_storage_of_one_of_its_size(void **state)
{
	enum { COUNT = 3000 };
	struct fixture *fixture = *state;
	int64_t values[COUNT] = { 0 };

	for (size_t i = 0; i < TRANSPORTS; i++) {
		size_t bytes = sizeof(values) - i * 8; /* each transport has its own */
		uint64_t before = reused(fixture);

		memset(values, 0, sizeof(values));
		for (int64_t k = 0; k < 4; k++) {
			shift_ok(fixture, values, bytes, SIMPLER_INOUT, transports[i]);
			assert_int_equal(values[0], 7 * (k + 1));
			assert_int_equal(values[bytes / 8 - 1], 7 * (k + 1));
		}
		assert_int_equal(reused(fixture) - before, 3);
		/* Another size is another tensor. */
		shift_ok(fixture, values, bytes - 800, SIMPLER_INOUT, transports[i]);
		assert_int_equal(reused(fixture) - before, 3);
	}
}

static void R13_an_output_finds_zeros_and_no_bytes_of_a_task_before_it(void **state)
{
	enum { COUNT = 5000 };
	struct fixture *fixture = *state;
	int64_t values[COUNT];

	for (size_t i = 0; i < TRANSPORTS; i++) {
		uint64_t before;

		for (int k = 0; k < COUNT; k++)
			values[k] = 1000 + k;
		shift_ok(fixture, values, sizeof(values), SIMPLER_INOUT, transports[i]);
		before = sent(fixture);
		shift_ok(fixture, values, sizeof(values), SIMPLER_OUTPUT, transports[i]);
		for (int k = 0; k < COUNT; k++)
			assert_int_equal(values[k], 7);
		assert_int_equal(sent(fixture), before);
	}
}

static simpler_status try_alloc(simpler_worker *worker, size_t bytes, simpler_tensor_handle *out)
{
	int64_t count = (int64_t)bytes;

	return simpler_tensor_alloc(worker, 0, SIMPLER_UINT8, 1, &count, NULL, out);
}

/* What ends a task other than well, and how. */
static const struct {
	const char *name;
	simpler_status status;
	size_t bytes; /* more than half of the pool, and a size of its own */
} failures[] = {
	{ "one that failed", (simpler_status)1042, 40 * MIB },
	{ "one that was late", SIMPLER_EDEADLINE, 41 * MIB },
};

static void storage_of_a_task_that_did_not_succeed_is_given_back(void **state)
{
	struct fixture *fixture = *state;
	const simpler_orch_fn fns[] = { fixture->fail, fixture->hold };
	struct temporary_directory directory;
	int64_t *values = calloc(1, 41 * MIB);
	simpler_tensor_handle handle;
	simpler_status status;

	/* Nobody writes to it. */
	assert_true(temporary_directory_make(&directory));
	(void)snprintf((char *)values, 512, "%s", temporary_path(&directory, "fifo"));
	assert_int_equal(mkfifo((char *)values, 0600), 0);

	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		uint64_t before = reused(fixture);

		print_message("  %s\n", failures[i].name);
		assert_int_equal(run_staged(fixture, fns[i], values, failures[i].bytes,
		                            SIMPLER_INOUT, SIMPLER_TRANSPORT_STREAM),
		                 failures[i].status);
		/* What runs on has its tensors until it has been killed. */
		do
			status = try_alloc(fixture->worker, failures[i].bytes, &handle);
		while (status == SIMPLER_ENOSPACE);
		assert_ok(status);
		assert_ok(simpler_tensor_free(fixture->worker, handle, NULL));
		assert_int_equal(reused(fixture), before);
	}
	free(values);
	temporary_directory_remove(&directory);
}

static void a_node_without_room_has_back_what_was_left_to_others(void **state)
{
	struct fixture *fixture = *state;
	int64_t *values = calloc(1, 41 * MIB);
	simpler_tensor_handle handle;

	for (size_t i = 0; i < TRANSPORTS; i++) {
		simpler_transport transport = transports[i];
		uint64_t before = reused(fixture);

		/* For a tensor of the program's own. */
		shift_ok(fixture, values, 40 * MIB, SIMPLER_INOUT, transport);
		assert_ok(try_alloc(fixture->worker, 40 * MIB, &handle));
		assert_ok(simpler_tensor_free(fixture->worker, handle, NULL));
		/* For another that is staged, and sent or not. */
		shift_ok(fixture, values, 40 * MIB, SIMPLER_INOUT, transport);
		shift_ok(fixture, values, 41 * MIB, SIMPLER_INOUT, transport);
		shift_ok(fixture, values, 40 * MIB, SIMPLER_OUTPUT, transport);
		assert_int_equal(values[0], 7);
		assert_int_equal(reused(fixture), before);
	}
	free(values);
}

static void another_program_has_the_room_once_nobody_uses_it(void **state)
{
	struct fixture *fixture = *state;
	simpler_worker *other = connect_worker(&fixture->node);
	int64_t *values = calloc(1, 40 * MIB);
	simpler_tensor_handle handle;
	simpler_status status;

	assert_ok(simpler_worker_init(other));
	shift_ok(fixture, values, 40 * MIB, SIMPLER_INOUT, SIMPLER_TRANSPORT_AUTO);
	do
		status = try_alloc(other, 40 * MIB, &handle);
	while (status == SIMPLER_ENOSPACE);
	assert_ok(status);
	simpler_worker_close(other);
	free(values);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tensor_that_is_sent_has_the_storage_of_one_of_its_size),
		cmocka_unit_test(R13_an_output_finds_zeros_and_no_bytes_of_a_task_before_it),
		cmocka_unit_test(storage_of_a_task_that_did_not_succeed_is_given_back),
		cmocka_unit_test(a_node_without_room_has_back_what_was_left_to_others),
		cmocka_unit_test(another_program_has_the_room_once_nobody_uses_it),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
