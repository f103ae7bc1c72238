/*
 * Whoever dies first, nothing is left behind: no process of the node, no socket, no file. Each test
 * kills one kind of process and watches the others by pidfd.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon.h"
#include "os/descriptor.h"
#include "os/process.h"
#include "proc_line.h"
#include "simpler/simpler.h"
#include "test_modules.h"

struct fixture {
	char folder[64], socket[80], listen[96], port_file[80], fifo[80], loads[80];
	struct daemon node;
	simpler_worker *worker;
	simpler_orch_fn who, shift, hold, close_all, who_on_chip, hold_on_chip;
};

/* The node's processes, by pidfd. */
struct tree {
	int engine, helper, sub_worker;
};

static int set_up_with(void **state, const char *sub_workers, const char *chips)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	const char *options[] = { "--sub-workers", sub_workers, "--chips", chips, "--listen", NULL,
		                  "--port-file",   NULL,        NULL };
	simpler_module *module;

	assert_non_null(fixture);
	strcpy(fixture->folder, "/tmp/simpler-test-XXXXXX");
	assert_non_null(mkdtemp(fixture->folder));
	snprintf(fixture->socket, sizeof(fixture->socket), "%s/node", fixture->folder);
	snprintf(fixture->listen, sizeof(fixture->listen), "unix:%s", fixture->socket);
	snprintf(fixture->port_file, sizeof(fixture->port_file), "%s/port", fixture->folder);
	snprintf(fixture->fifo, sizeof(fixture->fifo), "%s/fifo", fixture->folder);
	assert_int_equal(mkfifo(fixture->fifo, 0600), 0);
	snprintf(fixture->loads, sizeof(fixture->loads), "%s/loads", fixture->folder);
	assert_int_equal(setenv("SIMPLER_TEST_LOADS", fixture->loads, 1), 0);
	options[5] = fixture->listen;
	options[7] = fixture->port_file;
	daemon_start(&fixture->node, options);
	assert_string_equal(fixture->node.address, fixture->listen);
	assert_int_equal(access(fixture->port_file, F_OK), 0);
	assert_int_equal(simpler_worker_create(NULL, &fixture->worker), SIMPLER_OK);
	assert_int_equal(simpler_worker_add_remote(fixture->worker, fixture->listen, NULL),
	                 SIMPLER_OK);
	assert_int_equal(
		simpler_module_load(fixture->worker, TEST_MODULES_DIR "/remote_cases.so", &module),
		SIMPLER_OK);
	simpler_module_orch_fn(module, "who", simpler_no_state(), &fixture->who);
	simpler_module_orch_fn(module, "shift", simpler_no_state(), &fixture->shift);
	simpler_module_orch_fn(module, "close_all", simpler_no_state(), &fixture->close_all);
	simpler_module_orch_fn(module, "hold", simpler_no_state(), &fixture->hold);
	simpler_module_orch_fn(module, "who_on_chip", simpler_no_state(), &fixture->who_on_chip);
	simpler_module_orch_fn(module, "hold_on_chip", simpler_no_state(), &fixture->hold_on_chip);
	assert_int_equal(simpler_worker_init(fixture->worker), SIMPLER_OK);
	*state = fixture;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, "2", "0");
}

/* One that is lost cannot be stood in for by another. */
static int set_up_one_of_each(void **state)
{
	return set_up_with(state, "1", "1");
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	simpler_worker_close(fixture->worker);
	unlink(fixture->fifo);
	/* Fails, and the test with it, if the daemon left a file behind. */
	assert_int_equal(rmdir(fixture->folder), 0);
	free(fixture);
	return 0;
}

struct one_task {
	simpler_orch_fn fn;
	const simpler_args *args;
};

static simpler_status submit_one(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct one_task *task = state.data;

	(void)args;
	(void)config;
	return simpler_submit_next_level(orch, task->fn, task->args, NULL, NULL);
}

static simpler_status run(struct fixture *fixture, simpler_orch_fn fn, const simpler_args *args)
{
	struct one_task task = { fn, args };
	simpler_bytes state = { &task, sizeof(task) };

	return simpler_run(fixture->worker, submit_one, NULL, NULL, state);
}

static void add(simpler_args *args, void *data, simpler_dtype dtype, int64_t count, simpler_tag tag)
{
	simpler_tensor tensor;

	assert_int_equal(simpler_tensor_init_1d(&tensor, data, dtype, count), SIMPLER_OK);
	assert_int_equal(simpler_args_add_tensor(args, &tensor, tag, SIMPLER_INLINE), SIMPLER_OK);
}

static simpler_status add_one(struct fixture *fixture, int64_t *value)
{
	simpler_args *args = simpler_args_create();
	simpler_status status;

	add(args, value, SIMPLER_INT64, 1, SIMPLER_INOUT);
	simpler_args_add_scalar(args, 1);
	status = run(fixture, fixture->shift, args);
	simpler_args_destroy(args);
	return status;
}

/* The node works: proved by a result. A replacement of the engine may still be on its way. */
static void assert_serves(struct fixture *fixture)
{
	int64_t deadline = clock_after_ms(10000), value = 0;
	simpler_status status;

	do
		status = add_one(fixture, &value);
	while (status == SIMPLER_EUNAVAILABLE && clock_now() < deadline);
	if (status != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
	assert_int_equal(value, 1);
}

static pid_t parent_of(pid_t pid)
{
	char path[64], number[16];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*d (%*[^)]) %*c %15s", number), 1);
	fclose(file);
	return (pid_t)strtol(number, NULL, 10);
}

static int open_process(int64_t pid)
{
	int pidfd = -1;

	assert_int_equal(process_open((pid_t)pid, &pidfd), SIMPLER_OK);
	return pidfd;
}

static void find_tree(struct fixture *fixture, struct tree *tree)
{
	simpler_args *args = simpler_args_create();
	int64_t ids[2] = { 0, 0 };
	pid_t engine;

	add(args, ids, SIMPLER_INT64, 2, SIMPLER_OUTPUT);
	if (run(fixture, fixture->who, args) != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
	simpler_args_destroy(args);
	engine = parent_of((pid_t)ids[1]);
	assert_int_equal(parent_of(engine), fixture->node.pid);
	tree->sub_worker = open_process(ids[0]);
	tree->helper = open_process(ids[1]);
	tree->engine = open_process(engine);
}

static void assert_ends(int pidfd)
{
	assert_true(descriptor_wait_readable(pidfd, clock_after_ms(10000)));
	close(pidfd);
}

/* The process of a worker that `who` runs in, and its parent's. False while the node has none. */
static bool ask_who(struct fixture *fixture, simpler_orch_fn who, int64_t ids[2])
{
	simpler_args *args = simpler_args_create();
	simpler_status status;

	add(args, ids, SIMPLER_INT64, 2, SIMPLER_OUTPUT);
	status = run(fixture, who, args);
	simpler_args_destroy(args);
	if (status != SIMPLER_OK && status != SIMPLER_EUNAVAILABLE)
		fail_msg("%s", simpler_last_error());
	return status == SIMPLER_OK;
}

/* "Max open files            1024                 524288               files     " */
static void read_file_limits(pid_t pid, uint64_t *soft, uint64_t *hard)
{
	char line[256], *end;

	*soft = strtoull(proc_line(pid, "limits", "Max open files", line), &end, 10);
	*hard = strtoull(end, NULL, 10);
}

#define SOFT_FILES 512u

static void a_daemon_has_as_many_descriptors_as_it_may_and_its_engine_as_it_was_given(void **state)
{
	struct fixture *fixture = *state;
	uint64_t soft, hard;
	int64_t ids[2];

	assert_true(ask_who(fixture, fixture->who, ids));
	read_file_limits(fixture->node.pid, &soft, &hard);
	assert_int_equal(soft, hard);
	assert_true(hard > SOFT_FILES);
	read_file_limits((pid_t)ids[0], &soft, &hard);
	assert_int_equal(soft, SOFT_FILES);
	assert_true(hard > SOFT_FILES);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

static int set_up_with_few_files(void **state)
{
	struct rlimit before, few;
	int failed;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ SOFT_FILES, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	failed = set_up(state);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	return failed;
}

static void a_terminated_daemon_exits_0_and_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct tree tree;

	find_tree(fixture, &tree);
	assert_int_equal(daemon_stop(&fixture->node), 0);
	assert_ends(tree.engine);
	assert_ends(tree.helper);
	assert_ends(tree.sub_worker);
}

static void a_killed_front_end_leaves_no_process_and_no_file(void **state)
{
	struct fixture *fixture = *state;
	struct tree tree;
	int status;

	find_tree(fixture, &tree);
	process_signal(fixture->node.pidfd, SIGKILL);
	assert_true(process_wait(fixture->node.pidfd, clock_after_ms(10000), &status));
	assert_ends(tree.sub_worker);
	assert_ends(tree.helper);
	assert_ends(tree.engine);
	close(fixture->node.pidfd);
	close(fixture->node.output);
}

static void R05_a_killed_engine_is_replaced_and_its_workers_are_gone(void **state)
{
	struct fixture *fixture = *state;
	struct tree tree;

	find_tree(fixture, &tree);
	process_signal(tree.engine, SIGKILL);
	assert_ends(tree.engine);
	assert_ends(tree.helper);
	assert_ends(tree.sub_worker);
	assert_serves(fixture);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

static void a_killed_spawn_helper_takes_its_workers_along_and_the_node_recovers(void **state)
{
	struct fixture *fixture = *state;
	struct tree tree;

	find_tree(fixture, &tree);
	process_signal(tree.helper, SIGKILL);
	assert_ends(tree.helper);
	assert_ends(tree.sub_worker);
	assert_ends(tree.engine);
	assert_serves(fixture);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

static void a_killed_idle_sub_worker_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct tree tree;

	find_tree(fixture, &tree);
	process_signal(tree.sub_worker, SIGKILL);
	assert_ends(tree.sub_worker);
	assert_serves(fixture);
	close(tree.helper);
	close(tree.engine);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

static void a_module_that_no_other_engine_survives_is_dropped(void **state)
{
	struct fixture *fixture = *state;
	int file = open(fixture->loads, O_CREAT | O_WRONLY, 0600);
	simpler_module *module;
	simpler_orch_fn loaded_once;
	struct tree tree;

	assert_true(file >= 0);
	assert_int_equal(write(file, "12", 2), 2);
	close(file);
	find_tree(fixture, &tree);
	assert_int_equal(
		simpler_module_load(fixture->worker, TEST_MODULES_DIR "/second_load.so", &module),
		SIMPLER_OK);
	assert_int_equal(
		simpler_module_orch_fn(module, "loaded_once", simpler_no_state(), &loaded_once),
		SIMPLER_OK);
	assert_int_equal(run(fixture, loaded_once, NULL), SIMPLER_OK);
	process_signal(tree.engine, SIGKILL);
	assert_ends(tree.engine);
	assert_ends(tree.helper);
	assert_ends(tree.sub_worker);
	assert_serves(fixture);
	assert_int_equal(run(fixture, loaded_once, NULL), SIMPLER_ENOTFOUND);
	assert_int_equal(unlink(fixture->loads), 0);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

/* --- a task that is running meanwhile --- */

struct held {
	struct fixture *fixture;
	simpler_orch_fn fn;
	pthread_t thread;
	int fifo;
	int64_t value;
	simpler_status status;
	char text[2048];
};

static void *held_main(void *argument)
{
	struct held *held = argument;
	simpler_args *args = simpler_args_create();

	add(args, held->fixture->fifo, SIMPLER_UINT8, (int64_t)strlen(held->fixture->fifo) + 1,
	    SIMPLER_INPUT);
	add(args, &held->value, SIMPLER_INT64, 1, SIMPLER_INOUT);
	held->status = run(held->fixture, held->fn, args);
	snprintf(held->text, sizeof(held->text), "%s", simpler_last_error());
	simpler_args_destroy(args);
	return NULL;
}

/* Returns when the task below is running: it has opened its end of the fifo then. */
static void begin_held_by(struct held *held, struct fixture *fixture, simpler_orch_fn fn)
{
	memset(held, 0, sizeof(*held));
	held->fixture = fixture;
	held->fn = fn;
	assert_int_equal(pthread_create(&held->thread, NULL, held_main, held), 0);
	held->fifo = open(fixture->fifo, O_WRONLY);
	assert_true(held->fifo >= 0);
}

static void begin_held(struct held *held, struct fixture *fixture)
{
	begin_held_by(held, fixture, fixture->hold);
}

static void end_held(struct held *held)
{
	assert_int_equal(pthread_join(held->thread, NULL), 0);
	close(held->fifo);
}

static void a_draining_daemon_finishes_what_runs_and_refuses_new_work(void **state)
{
	struct fixture *fixture = *state;
	struct held held;
	int64_t value = 0;
	simpler_status refused;

	begin_held(&held, fixture);
	process_signal(fixture->node.pidfd, SIGTERM);
	/* The signal is handled soon, not at once. */
	do
		refused = add_one(fixture, &value);
	while (refused == SIMPLER_OK);
	assert_int_equal(refused, SIMPLER_EUNAVAILABLE);
	assert_int_equal(write(held.fifo, "x", 1), 1);
	end_held(&held);
	if (held.status != SIMPLER_OK)
		fail_msg("%s", held.text);
	assert_int_equal(held.value, 1);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

static const struct {
	const char *module, *says;
} unloadable[] = {
	{ "trial_crashes", "loading it crashed: " },
	{ "trial_exits", "loading it ended the process" },
	{ "trial_kills_its_group", "loading it crashed: " },
};

static simpler_status register_from(struct fixture *fixture, const char *name)
{
	char path[512];
	simpler_module *module;
	simpler_orch_fn fn;

	snprintf(path, sizeof(path), "%s/%s.so", TEST_MODULES_DIR, name);
	assert_int_equal(simpler_module_load(fixture->worker, path, &module), SIMPLER_OK);
	return simpler_module_orch_fn(module, "of_a_trial", simpler_no_state(), &fn);
}

static void a_constructor_that_crashes_costs_its_registration_and_no_task(void **state)
{
	struct fixture *fixture = *state;
	struct held held;
	struct tree tree;

	find_tree(fixture, &tree);
	begin_held(&held, fixture);
	for (size_t i = 0; i < sizeof(unloadable) / sizeof(unloadable[0]); i++) {
		assert_int_equal(register_from(fixture, unloadable[i].module), SIMPLER_EINVAL);
		if (!strstr(simpler_last_error(), unloadable[i].says))
			fail_msg("%s: %s", unloadable[i].module, simpler_last_error());
	}
	assert_int_equal(write(held.fifo, "x", 1), 1);
	end_held(&held);
	if (held.status != SIMPLER_OK)
		fail_msg("%s", held.text);
	assert_int_equal(held.value, 1);
	/* The same processes as before, and they take new modules. */
	assert_false(descriptor_wait_readable(tree.engine, 0));
	close(tree.helper);
	close(tree.engine);
	close(tree.sub_worker);
	assert_int_equal(register_from(fixture, "trial_returns"), SIMPLER_OK);
	assert_serves(fixture);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

static void R05_tasks_of_a_killed_engine_fail_naming_node_exit_task_and_callable(void **state)
{
	struct fixture *fixture = *state;
	struct held held;
	struct tree tree;

	find_tree(fixture, &tree);
	begin_held(&held, fixture);
	process_signal(tree.engine, SIGKILL);
	end_held(&held);
	assert_int_equal(held.status, SIMPLER_EUNAVAILABLE);
	assert_non_null(strstr(held.text, "signal 9"));
	assert_non_null(strstr(held.text, "task 1"));
	assert_non_null(strstr(held.text, "'hold'"));
	assert_non_null(strstr(held.text, fixture->listen));
	assert_int_equal(held.value, 0);
	assert_serves(fixture);
	close(tree.engine);
	close(tree.helper);
	close(tree.sub_worker);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

/* --- how soon --- */

struct loss {
	simpler_orch_fn who, hold;
	unsigned victim; /* of what `who` tells */
	simpler_status status;
	const char *end;
};

static void expect_told(struct fixture *fixture, const struct held *held, const struct loss *loss)
{
	const char *const says[] = { loss->end, "task ", "'hold", fixture->listen };

	assert_int_equal(held->status, loss->status);
	for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
		if (!strstr(held->text, says[i]))
			fail_msg("no \"%s\" in: %s", says[i], held->text);
	}
	assert_int_equal(held->value, 0);
}

/* Kill it while it has a task. `told` is when that has failed, `served` when there is another. */
static void lose(struct fixture *fixture, const struct loss *loss, int64_t *told, int64_t *served)
{
	int64_t before[2], after[2] = { 0, 0 }, killed, deadline;
	struct held held;

	assert_true(ask_who(fixture, loss->who, before));
	begin_held_by(&held, fixture, loss->hold);
	killed = clock_now();
	deadline = clock_after_ms(10000);
	assert_int_equal(kill((pid_t)before[loss->victim], SIGKILL), 0);
	end_held(&held);
	*told = clock_now() - killed;
	while (!ask_who(fixture, loss->who, after))
		assert_true(clock_now() < deadline);
	*served = clock_now() - killed;
	assert_int_not_equal(after[loss->victim], before[loss->victim]);
	expect_told(fixture, &held, loss);
}

/* A machine that is busy with other things may be late once, but not each time. */
static void expect_told_within_100_ms_and_replaced_within_a_second(struct fixture *fixture,
                                                                   const struct loss *loss)
{
	int64_t told = INT64_MAX, served = INT64_MAX;

	for (unsigned i = 0; i < 3 && (told > CLOCK_S / 10 || served > CLOCK_S); i++)
		lose(fixture, loss, &told, &served);
	assert_in_range(told, 1, CLOCK_S / 10);
	assert_in_range(served, 1, CLOCK_S);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

static void R05_a_killed_sub_worker_is_told_within_100_ms_and_replaced_within_a_second(void **state)
{
	struct fixture *fixture = *state;
	const struct loss loss = { fixture->who, fixture->hold, 0, SIMPLER_ECRASHED, "signal 9" };

	expect_told_within_100_ms_and_replaced_within_a_second(fixture, &loss);
}

static void R05_a_killed_chip_is_told_within_100_ms_and_replaced_within_a_second(void **state)
{
	struct fixture *fixture = *state;
	const struct loss loss = { fixture->who_on_chip, fixture->hold_on_chip, 0, SIMPLER_ECRASHED,
		                   "signal 9" };

	expect_told_within_100_ms_and_replaced_within_a_second(fixture, &loss);
}

static void R05_a_dead_spawn_helper_is_told_within_100_ms_and_replaced_within_a_second(void **state)
{
	struct fixture *fixture = *state;
	const struct loss loss = { fixture->who, fixture->hold, 1, SIMPLER_EUNAVAILABLE,
		                   "exited with status 1" };

	expect_told_within_100_ms_and_replaced_within_a_second(fixture, &loss);
}

static void a_frozen_daemon_is_lost_within_seconds_and_back_when_it_thaws(void **state)
{
	struct fixture *fixture = *state;
	int64_t began = clock_now();
	struct held held;

	begin_held(&held, fixture);
	process_signal(fixture->node.pidfd, SIGSTOP);
	end_held(&held);
	assert_int_equal(held.status, SIMPLER_EUNAVAILABLE);
	assert_non_null(strstr(held.text, fixture->listen));
	assert_true(clock_now() - began < 20 * CLOCK_S);
	process_signal(fixture->node.pidfd, SIGCONT);
	assert_serves(fixture);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

static void an_orchestration_function_that_closes_all_descriptors_costs_an_engine(void **state)
{
	struct fixture *fixture = *state;
	simpler_args *args = simpler_args_create();
	int64_t value = 0;

	add(args, &value, SIMPLER_INT64, 1, SIMPLER_INOUT);
	simpler_args_add_scalar(args, 1);
	assert_int_equal(run(fixture, fixture->close_all, args), SIMPLER_EUNAVAILABLE);
	simpler_args_destroy(args);
	assert_serves(fixture);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

static void a_second_daemon_on_the_same_address_is_refused(void **state)
{
	struct fixture *fixture = *state;
	char *const arguments[] = { getenv("SIMPLER_L3D"), (char *)(uintptr_t) "--listen",
		                    fixture->listen, NULL };
	pid_t pid;
	int pidfd, status;

	assert_int_equal(process_start(arguments[0], arguments, NULL, 0, &pid, &pidfd), SIMPLER_OK);
	assert_true(process_wait(pidfd, clock_after_ms(20000), &status));
	close(pidfd);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_serves(fixture);
	assert_int_equal(daemon_stop(&fixture->node), 0);
}

int main(void)
{
#define CASE(name)        cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define ONE_OF_EACH(name) cmocka_unit_test_setup_teardown(name, set_up_one_of_each, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(a_terminated_daemon_exits_0_and_leaves_nothing),
		cmocka_unit_test_setup_teardown(
			a_daemon_has_as_many_descriptors_as_it_may_and_its_engine_as_it_was_given,
			set_up_with_few_files, tear_down),
		CASE(a_killed_front_end_leaves_no_process_and_no_file),
		CASE(R05_a_killed_engine_is_replaced_and_its_workers_are_gone),
		CASE(a_killed_spawn_helper_takes_its_workers_along_and_the_node_recovers),
		CASE(a_killed_idle_sub_worker_is_replaced),
		CASE(a_module_that_no_other_engine_survives_is_dropped),
		CASE(a_constructor_that_crashes_costs_its_registration_and_no_task),
		CASE(a_draining_daemon_finishes_what_runs_and_refuses_new_work),
		CASE(R05_tasks_of_a_killed_engine_fail_naming_node_exit_task_and_callable),
		ONE_OF_EACH(
			R05_a_killed_sub_worker_is_told_within_100_ms_and_replaced_within_a_second),
		ONE_OF_EACH(R05_a_killed_chip_is_told_within_100_ms_and_replaced_within_a_second),
		ONE_OF_EACH(
			R05_a_dead_spawn_helper_is_told_within_100_ms_and_replaced_within_a_second),
		CASE(a_frozen_daemon_is_lost_within_seconds_and_back_when_it_thaws),
		CASE(an_orchestration_function_that_closes_all_descriptors_costs_an_engine),
		CASE(a_second_daemon_on_the_same_address_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
