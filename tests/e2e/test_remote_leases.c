/*
 * What becomes of storage whose program is killed, and of storage whose program is busy. The other
 * programs are this file's too, with a role and an address:
 *
 *   pusher ADDRESS        stores 40 MiB, says "!", and writes to it for ever
 *   stager ADDRESS FIFO   has a task on 20 MiB of staged bytes run until somebody writes to the
 * FIFO
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "temporary_directory.h"
#include "tensor_fixture.h"
#include "test_modules.h"

#define TTL_MS 1000u
#define PUSHED ((int64_t)40 << 20)
#define STAGED ((int64_t)20 << 20)

static simpler_status connect_with_short_lease(const char *address, simpler_worker **worker)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;

	options.session_ttl_ms = TTL_MS;
	if (simpler_worker_create(&options, worker) != SIMPLER_OK)
		return simpler_last_status();
	return simpler_worker_add_remote(*worker, address, NULL);
}

static int be_pusher(const char *address)
{
	simpler_tensor_options by_stream = SIMPLER_TENSOR_OPTIONS_INIT;
	const int64_t count = PUSHED;
	simpler_tensor_handle handle;
	simpler_worker *worker;
	simpler_tensor local;

	by_stream.transport = SIMPLER_TRANSPORT_STREAM;
	if (connect_with_short_lease(address, &worker) != SIMPLER_OK ||
	    simpler_worker_init(worker) != SIMPLER_OK ||
	    simpler_tensor_alloc(worker, 0, SIMPLER_UINT8, 1, &count, NULL, &handle) !=
	            SIMPLER_OK ||
	    simpler_tensor_init_1d(&local, calloc(1, (size_t)count), SIMPLER_UINT8, count) !=
	            SIMPLER_OK ||
	    write(STDOUT_FILENO, "!", 1) != 1)
		return 1;
	while (simpler_tensor_write(worker, handle, NULL, &local, &by_stream) == SIMPLER_OK)
		continue;
	return 1;
}

static simpler_status submit(simpler_orch *orch, const simpler_args *args,
                             const simpler_config *config, simpler_bytes state)
{
	const simpler_orch_fn *hold = state.data;

	(void)config;
	return simpler_submit_next_level(orch, *hold, args, NULL, NULL);
}

/* `bytes` is the path, and room behind it that nothing looks at. */
static simpler_status run_staged(simpler_worker *worker, simpler_orch_fn hold, uint8_t *bytes,
                                 int64_t *ended)
{
	simpler_args *args = simpler_args_create();
	simpler_tensor path, out;
	simpler_status status;

	(void)simpler_tensor_init_1d(&path, bytes, SIMPLER_UINT8, STAGED);
	(void)simpler_tensor_init_1d(&out, ended, SIMPLER_INT64, 1);
	(void)simpler_args_add_tensor(args, &path, SIMPLER_INPUT, SIMPLER_STAGED);
	(void)simpler_args_add_tensor(args, &out, SIMPLER_INOUT, SIMPLER_STAGED);
	status = simpler_run(worker, submit, args, NULL, (simpler_bytes){ &hold, sizeof(hold) });
	simpler_args_destroy(args);
	return status;
}

static int be_stager(const char *address, const char *fifo)
{
	uint8_t *bytes = calloc(1, (size_t)STAGED);
	simpler_worker *worker;
	simpler_module *module;
	simpler_orch_fn hold;
	int64_t ended = 41;

	if (!bytes)
		return 1;
	(void)snprintf((char *)bytes, (size_t)STAGED, "%s", fifo);
	if (connect_with_short_lease(address, &worker) != SIMPLER_OK ||
	    simpler_module_load(worker, TEST_MODULES_DIR "/remote_cases.so", &module) !=
	            SIMPLER_OK ||
	    simpler_module_orch_fn(module, "hold", simpler_no_state(), &hold) != SIMPLER_OK ||
	    simpler_worker_init(worker) != SIMPLER_OK ||
	    run_staged(worker, hold, bytes, &ended) != SIMPLER_OK) {
		fprintf(stderr, "%s\n", simpler_last_error());
		return 1;
	}
	simpler_worker_close(worker);
	free(bytes);
	return ended == 42 ? 0 : 1;
}

/* --- the test's side --- */

static pid_t start(const char *role, const char *address, const char *fifo, int output)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (output >= 0)
			(void)dup2(output, STDOUT_FILENO);
		(void)execl("/proc/self/exe", role, address, fifo, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static int end_of(pid_t pid)
{
	int ended;

	assert_int_equal(waitpid(pid, &ended, 0), pid);
	return ended;
}

static void kill_program(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(end_of(pid), SIGKILL);
}

/* Returns when what it stores is on the node. */
static pid_t start_pusher(struct fixture *fixture)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = start("pusher", fixture->nodes[0].address, NULL, ready[1]);
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	return pid;
}

/* Returns when its task runs, which goes on until something is written to `*fifo`. */
static pid_t start_stager(struct fixture *fixture, const struct temporary_directory *in, int *fifo)
{
	const char *path = temporary_path(in, "fifo");
	pid_t pid;

	assert_int_equal(mkfifo(path, 0600), 0);
	pid = start("stager", fixture->nodes[0].address, path, -1);
	*fifo = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(*fifo >= 0);
	return pid;
}

static void end_task(int fifo)
{
	assert_int_equal(write(fifo, "!", 1), 1);
	(void)close(fifo);
}

/* How often there was no room for so much on the first node, before there was. */
static unsigned wait_for_room(struct fixture *fixture, int64_t bytes)
{
	simpler_tensor_handle handle;
	simpler_status status;
	unsigned refused = 0;

	do {
		status = simpler_tensor_alloc(fixture->worker, 0, SIMPLER_UINT8, 1, &bytes, NULL,
		                              &handle);
		if (status != SIMPLER_OK)
			assert_fails(status, SIMPLER_ENOSPACE, "67108864");
		refused += status != SIMPLER_OK;
	} while (status != SIMPLER_OK);
	free_tensor(fixture, handle);
	return refused;
}

static void storage_of_a_program_killed_in_a_push_goes_with_its_lease(void **state)
{
	struct fixture *fixture = *state;

	kill_program(start_pusher(fixture));
	/* Not before its time to live is over, and then. */
	assert_true(wait_for_room(fixture, PUSHED) > 0);
}

static void staged_storage_of_a_program_killed_in_a_task_goes_with_its_lease(void **state)
{
	struct fixture *fixture = *state;
	struct temporary_directory directory;
	pid_t stager;
	int fifo;

	assert_true(temporary_directory_make(&directory));
	stager = start_stager(fixture, &directory, &fifo);
	kill_program(stager);
	end_task(fifo);
	assert_true(wait_for_room(fixture, ((int64_t)64 << 20) - STAGED + 1) > 0);
	temporary_directory_remove(&directory);
}

/* The time is over when that of another program is, which was killed after the task had begun. */
static void staged_storage_outlasts_its_time_to_live_while_its_task_runs(void **state)
{
	struct fixture *fixture = *state;
	struct temporary_directory directory;
	simpler_tensor_handle none;
	int64_t too_many = ((int64_t)64 << 20) - STAGED + 1;
	pid_t stager;
	int fifo;

	assert_true(temporary_directory_make(&directory));
	stager = start_stager(fixture, &directory, &fifo);
	kill_program(start_pusher(fixture));
	assert_true(wait_for_room(fixture, PUSHED) > 0);
	assert_fails(
		simpler_tensor_alloc(fixture->worker, 0, SIMPLER_UINT8, 1, &too_many, NULL, &none),
		SIMPLER_ENOSPACE, "67108864");
	end_task(fifo);
	assert_int_equal(end_of(stager), 0);
	/* The program has given it back, and left. */
	assert_int_equal(wait_for_room(fixture, too_many), 0);
	temporary_directory_remove(&directory);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(storage_of_a_program_killed_in_a_push_goes_with_its_lease),
		cmocka_unit_test(staged_storage_of_a_program_killed_in_a_task_goes_with_its_lease),
		cmocka_unit_test(staged_storage_outlasts_its_time_to_live_while_its_task_runs),
	};

	if (argc == 2)
		return be_pusher(argv[1]);
	if (argc == 3)
		return be_stager(argv[1], argv[2]);
	return cmocka_run_group_tests(tests, tensors_set_up, tensors_tear_down);
}
