#include "tensor_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "test_modules.h"

static simpler_orch_fn find(const struct fixture *fixture, const char *name)
{
	simpler_orch_fn fn;

	assert_int_equal(simpler_module_orch_fn(fixture->module, name, simpler_no_state(), &fn),
	                 SIMPLER_OK);
	return fn;
}

void connect_worker(struct fixture *fixture, unsigned nodes)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;

	options.fabric = SIMPLER_FABRIC_AUTO;
	assert_int_equal(simpler_worker_create(&options, &fixture->worker), SIMPLER_OK);
	for (unsigned i = 0; i < nodes; i++)
		assert_int_equal(
			simpler_worker_add_remote(fixture->worker, fixture->nodes[i].address, NULL),
			SIMPLER_OK);
	assert_int_equal(simpler_module_load(fixture->worker, TEST_MODULES_DIR "/remote_cases.so",
	                                     &fixture->module),
	                 SIMPLER_OK);
	assert_int_equal(simpler_worker_init(fixture->worker), SIMPLER_OK);
	fixture->shift = find(fixture, "shift");
	fixture->sum_bytes = find(fixture, "sum_bytes");
	fixture->fail = find(fixture, "fail");
}

int tensors_set_up(void **state)
{
	static const char *const options[] = {
		"--sub-workers", "2", "--pool-bytes", "64M", "--fabric", "auto", NULL
	};
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	for (int i = 0; i < 2; i++)
		daemon_start(&fixture->nodes[i], options);
	connect_worker(fixture, 2);
	*state = fixture;
	return 0;
}

int tensors_tear_down(void **state)
{
	struct fixture *fixture = *state;

	simpler_worker_close(fixture->worker);
	for (int i = 0; i < 2; i++)
		assert_int_equal(daemon_stop(&fixture->nodes[i]), 0);
	free(fixture);
	return 0;
}

void assert_ok(simpler_status status)
{
	if (status != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
}

void assert_fails(simpler_status status, simpler_status expected, const char *text)
{
	if (status != expected || !strstr(simpler_last_error(), text))
		fail_msg("%s instead of %s saying '%s': %s", simpler_status_name(status),
		         simpler_status_name(expected), text, simpler_last_error());
}

simpler_tensor over(void *data, simpler_dtype dtype, int64_t count)
{
	simpler_tensor tensor;

	assert_ok(simpler_tensor_init_1d(&tensor, data, dtype, count));
	return tensor;
}

simpler_tensor_handle alloc(struct fixture *fixture, unsigned node, simpler_dtype dtype,
                            int64_t count)
{
	simpler_tensor_handle handle;

	assert_ok(simpler_tensor_alloc(fixture->worker, node, dtype, 1, &count, NULL, &handle));
	return handle;
}

void free_tensor(struct fixture *fixture, simpler_tensor_handle handle)
{
	assert_ok(simpler_tensor_free(fixture->worker, handle, NULL));
}

void write_all(struct fixture *fixture, simpler_tensor_handle handle, simpler_tensor local)
{
	assert_ok(simpler_tensor_write(fixture->worker, handle, NULL, &local, NULL));
}

void read_all(struct fixture *fixture, simpler_tensor_handle handle, simpler_tensor local)
{
	assert_ok(simpler_tensor_read(fixture->worker, handle, NULL, &local, NULL));
}

void add_view(simpler_args *args, simpler_tensor_handle handle, uint64_t offset,
              simpler_dtype dtype, int64_t count, simpler_tag tag)
{
	assert_ok(simpler_args_add_handle(args, handle, offset, dtype, 1, &count, tag));
}

/* One run of one task. */
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

simpler_status run_on(struct fixture *fixture, simpler_orch_fn fn, const simpler_args *args,
                      simpler_worker_id worker)
{
	struct one_task task = { fn, args, worker };
	simpler_bytes state = { &task, sizeof(task) };

	return simpler_run(fixture->worker, submit_one, NULL, NULL, state);
}

simpler_status run(struct fixture *fixture, simpler_orch_fn fn, const simpler_args *args)
{
	return run_on(fixture, fn, args, SIMPLER_ANY_WORKER);
}

simpler_traffic traffic_of(struct fixture *fixture, unsigned node)
{
	simpler_traffic traffic = SIMPLER_TRAFFIC_INIT;

	assert_ok(simpler_worker_traffic(fixture->worker, node, &traffic));
	return traffic;
}

uint64_t sent(const simpler_traffic *traffic)
{
	return traffic->inlined.sent + traffic->stream.sent + traffic->shm.sent +
	       traffic->fabric.sent;
}

uint64_t received(const simpler_traffic *traffic)
{
	return traffic->inlined.received + traffic->stream.received + traffic->shm.received +
	       traffic->fabric.received;
}
