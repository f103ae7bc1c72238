/*
 * What the engine of a real node does for a parent elsewhere, beyond running tasks: it stops what
 * the parent has cancelled, and has a heap of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"
#include "simpler/simpler.h"
#include "test_modules.h"

#define PATIENT_MS 60000

struct fixture {
	struct daemon node;
	simpler_worker *worker;
	simpler_module *module;
	char path[108]; /* of a fifo */
	int fifo;
};

static void make_fifo(struct fixture *fixture)
{
	const char *directory = getenv("TMPDIR");

	(void)snprintf(fixture->path, sizeof(fixture->path), "%s/simpler-engine-%ld",
	               directory ? directory : "/tmp", (long)getpid());
	assert_int_equal(mkfifo(fixture->path, 0600), 0);
	/* For both, so that no end of a task is an end of the file. */
	fixture->fifo = open(fixture->path, O_RDWR);
	assert_true(fixture->fifo >= 0);
}

static int set_up(void **state)
{
	static const char *const options[] = {
		"--sub-workers", "2", "--pool-bytes", "64M", "--stop-grace", "300", NULL
	};
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	make_fifo(fixture);
	daemon_start(&fixture->node, options);
	assert_int_equal(simpler_worker_create(NULL, &fixture->worker), SIMPLER_OK);
	assert_int_equal(simpler_worker_add_remote(fixture->worker, fixture->node.address, NULL),
	                 SIMPLER_OK);
	assert_int_equal(simpler_module_load(fixture->worker, TEST_MODULES_DIR "/tree_cases.so",
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
	assert_int_equal(daemon_stop(&fixture->node), 0);
	close(fixture->fifo);
	unlink(fixture->path);
	free(fixture);
	return 0;
}

/* --- runs of one task --- */

struct one_task {
	struct fixture *fixture;
	const char *name;
	const simpler_tensor *tensor; /* its only one */
	simpler_tag tag;
	unsigned times; /* besides once */
};

static simpler_status submit_one(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct one_task *task = state.data;
	simpler_args *built = simpler_args_create();
	simpler_orch_fn fn;
	simpler_status status =
		simpler_module_orch_fn(task->fixture->module, task->name, simpler_no_state(), &fn);

	(void)args;
	(void)config;
	(void)simpler_args_add_tensor(built, task->tensor, task->tag, SIMPLER_INLINE);
	(void)simpler_args_add_scalar(built, 0); /* workers below the engine */
	for (unsigned i = 0; i <= task->times && status == SIMPLER_OK; i++)
		status = simpler_submit_next_level(orch, fn, built, NULL, NULL);
	simpler_args_destroy(built);
	return status;
}

static simpler_status climb(struct fixture *fixture, int64_t *out)
{
	simpler_tensor tensor;
	const struct one_task task = { fixture, "climb", &tensor, SIMPLER_OUTPUT, 0 };
	simpler_bytes state = { &task, sizeof(task) };

	(void)simpler_tensor_init_1d(&tensor, out, SIMPLER_INT64, 1);
	return simpler_run(fixture->worker, submit_one, NULL, NULL, state);
}

static simpler_completion *begin_task(const struct one_task *task, uint64_t timeout_ms)
{
	simpler_bytes state = { task, sizeof(*task) };
	simpler_run_options options = SIMPLER_RUN_OPTIONS_INIT;
	simpler_completion *completion;

	options.timeout_ms = timeout_ms;
	assert_int_equal(simpler_run_async(task->fixture->worker, submit_one, NULL, &options, state,
	                                   &completion),
	                 SIMPLER_OK);
	return completion;
}

static simpler_completion *begin(struct fixture *fixture, const char *name,
                                 const simpler_tensor *path, uint64_t timeout_ms)
{
	const struct one_task task = { fixture, name, path, SIMPLER_INPUT, 0 };

	return begin_task(&task, timeout_ms);
}

/* What the task wrote next. */
static char next_word(const struct fixture *fixture)
{
	struct pollfd readable = { .fd = fixture->fifo, .events = POLLIN };
	char word = 0;

	assert_int_equal(poll(&readable, 1, PATIENT_MS), 1);
	assert_int_equal(read(fixture->fifo, &word, 1), 1);
	return word;
}

/* --- tests --- */

static void orchestration_functions_on_a_node_allocate_from_its_own_heap(void **state)
{
	struct fixture *fixture = *state;
	int64_t out = 0;

	assert_int_equal(climb(fixture, &out), SIMPLER_OK);
	assert_int_equal(out, 2);
}

static const struct {
	const char *name;
	bool sees_it;
	bool late; /* a deadline stops it, and not the program */
} stops[] = {
	{ "tell_obey", true, false },      { "tell_obey", true, true },
	{ "tell_obey_here", true, false }, { "tell_obey_here", true, true },
	{ "tell_ignore", false, false },   { "tell_ignore", false, true },
};

static void what_is_cancelled_or_late_is_stopped_on_the_node(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor path;
	int64_t out = 0;

	(void)simpler_tensor_init_1d(&path, fixture->path, SIMPLER_UINT8,
	                             (int64_t)strlen(fixture->path) + 1);
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		simpler_completion *completion =
			begin(fixture, stops[i].name, &path, stops[i].late ? 500 : SIMPLER_FOREVER);

		print_message("%s%s\n", stops[i].name, stops[i].late ? ", late" : "");
		assert_int_equal(next_word(fixture), 'r');
		if (!stops[i].late)
			simpler_completion_cancel(completion);
		assert_true(simpler_completion_wait(completion, PATIENT_MS));
		assert_int_equal(simpler_completion_result(completion),
		                 stops[i].late ? SIMPLER_EDEADLINE : SIMPLER_ECANCELLED);
		simpler_completion_destroy(completion);
		if (stops[i].sees_it)
			assert_int_equal(next_word(fixture), 's');
		/* Whatever it took to stop it, the node goes on. */
		assert_int_equal(climb(fixture, &out), SIMPLER_OK);
	}
}

#define QUICK 400
#define LONG  8

/* The engine has seen quick ones only, and leaves those that follow to one thread at first. */
static void tasks_that_wait_do_not_hold_up_others_after_many_quick_ones(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor path;
	const struct one_task quick = { fixture, "fail_here", &path, SIMPLER_INPUT, 0 };
	const struct one_task slow = { fixture, "tell_obey_here", &path, SIMPLER_INPUT, LONG - 1 };
	simpler_completion *completion;

	(void)simpler_tensor_init_1d(&path, fixture->path, SIMPLER_UINT8,
	                             (int64_t)strlen(fixture->path) + 1);
	for (unsigned i = 0; i < QUICK; i++)
		assert_int_not_equal(simpler_run(fixture->worker, submit_one, NULL, NULL,
		                                 (simpler_bytes){ &quick, sizeof(quick) }),
		                     SIMPLER_OK);
	completion = begin_task(&slow, SIMPLER_FOREVER);
	for (unsigned i = 0; i < LONG; i++)
		assert_int_equal(next_word(fixture), 'r');
	simpler_completion_cancel(completion);
	assert_true(simpler_completion_wait(completion, PATIENT_MS));
	assert_int_equal(simpler_completion_result(completion), SIMPLER_ECANCELLED);
	simpler_completion_destroy(completion);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			orchestration_functions_on_a_node_allocate_from_its_own_heap, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(what_is_cancelled_or_late_is_stopped_on_the_node,
		                                set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			tasks_that_wait_do_not_hold_up_others_after_many_quick_ones, set_up,
			tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
