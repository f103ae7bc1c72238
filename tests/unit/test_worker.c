/*
 * A worker over children of the test's own: what the scheduler promises at every level, without a
 * process or a network. A fake child keeps the tasks it is started with until the test lets them
 * end, in the order and with the outcome that the test wants.
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

#include "simpler/worker.h"
#include "test_modules.h"
#include "worker/core.h"

#define MAX_HELD 64

struct fake {
	struct exec_child child;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct exec_task *held[MAX_HELD];
	uint32_t count, started, most;
	bool at_once; /* finish in start(), as a fast child may */
};

static void fake_start(struct exec_child *child, struct exec_task *task)
{
	struct fake *fake = (struct fake *)child;
	bool at_once;

	pthread_mutex_lock(&fake->lock);
	fake->started++;
	at_once = fake->at_once;
	if (!at_once)
		fake->held[fake->count++] = task;
	if (fake->count > fake->most)
		fake->most = fake->count;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
	if (at_once)
		task->done(task, NULL);
}

static simpler_status fake_install(struct exec_child *child, const struct exec_callable *callable)
{
	(void)child;
	(void)callable;
	return SIMPLER_OK;
}

static void fake_close(struct exec_child *child)
{
	struct fake *fake = (struct fake *)child;

	pthread_mutex_destroy(&fake->lock);
	pthread_cond_destroy(&fake->changed);
	free(fake);
}

static struct fake *add_fake(struct worker_core *core, uint32_t capacity)
{
	static const struct exec_child_ops ops = { fake_install, fake_start, fake_close };
	struct fake *fake = calloc(1, sizeof(*fake));
	uint32_t index;

	assert_non_null(fake);
	pthread_mutex_init(&fake->lock, NULL);
	pthread_cond_init(&fake->changed, NULL);
	fake->child.ops = &ops;
	fake->child.runs = SIMPLER_KIND_ORCH;
	fake->child.capacity = capacity;
	assert_int_equal(core_add_child(core, &fake->child, &index), SIMPLER_OK);
	snprintf(fake->child.name, sizeof(fake->child.name), "fake node %u", index);
	return fake;
}

/* Wait until `fake` holds a task and take the oldest. */
static struct exec_task *take(struct fake *fake)
{
	struct exec_task *task;

	pthread_mutex_lock(&fake->lock);
	while (fake->count == 0)
		pthread_cond_wait(&fake->changed, &fake->lock);
	task = fake->held[0];
	memmove(fake->held, fake->held + 1, --fake->count * sizeof(fake->held[0]));
	pthread_mutex_unlock(&fake->lock);
	return task;
}

static void end_well(struct exec_task *task)
{
	task->done(task, NULL);
}

static void end_badly(struct exec_task *task, simpler_status status, const char *why)
{
	struct error error;

	error_init(&error, status, "%s", why);
	task->done(task, &error);
}

/* --- the fixture: a core, one module, one orchestration function of it --- */

struct fixture {
	struct worker_core *core;
	struct fake *node;
	simpler_orch_fn fn;
	int64_t cells[8];
};

static void *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	void *bytes = malloc(1 << 20);

	assert_non_null(file);
	assert_non_null(bytes);
	*size = fread(bytes, 1, 1 << 20, file);
	fclose(file);
	return bytes;
}

static void add_callable(struct fixture *fixture)
{
	const struct exec_callable *callable;
	struct module *module;
	size_t size;
	void *bytes = read_file(TEST_MODULES_DIR "/remote_cases.so", &size);

	assert_int_equal(callables_add_module(fixture->core->callables, bytes, size, &module),
	                 SIMPLER_OK);
	free(bytes);
	assert_int_equal(callables_add(fixture->core->callables, module, "shift", SIMPLER_KIND_ORCH,
	                               simpler_no_state(), &callable),
	                 SIMPLER_OK);
	fixture->fn.id = callable->key;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	assert_int_equal(core_create(4, &fixture->core), SIMPLER_OK);
	fixture->node = add_fake(fixture->core, 8);
	add_callable(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	core_close_children(fixture->core);
	core_destroy(fixture->core);
	free(fixture);
	return 0;
}

static simpler_status submit_cell(simpler_orch *orch, const struct fixture *fixture, unsigned cell,
                                  simpler_tag tag, const simpler_submit_options *options)
{
	simpler_args *args = simpler_args_create();
	simpler_tensor tensor;
	simpler_status status;

	assert_non_null(args);
	simpler_tensor_init_1d(&tensor, (void *)(uintptr_t)&fixture->cells[cell], SIMPLER_INT64, 1);
	simpler_args_add_tensor(args, &tensor, tag, SIMPLER_INLINE);
	status = simpler_submit_next_level(orch, fixture->fn, args, options, NULL);
	simpler_args_destroy(args);
	return status;
}

/* Run `fn` in a thread of its own, so that the test's thread can play the node. */
struct background {
	pthread_t thread;
	struct fixture *fixture;
	simpler_orch_function *fn;
	simpler_status status;
	char text[4096];
};

static void *background_main(void *argument)
{
	struct background *run = argument;
	simpler_bytes state = { &run->fixture, sizeof(run->fixture) };

	run->status = core_run(run->fixture->core, run->fn, "test", NULL, NULL, NULL, state);
	snprintf(run->text, sizeof(run->text), "%s", run->status ? simpler_last_error() : "");
	return NULL;
}

static void begin(struct background *run, struct fixture *fixture, simpler_orch_function *fn)
{
	run->fixture = fixture;
	run->fn = fn;
	assert_int_equal(pthread_create(&run->thread, NULL, background_main, run), 0);
}

static void end(struct background *run)
{
	assert_int_equal(pthread_join(run->thread, NULL), 0);
}

#define ORCH(name)                                                                                 \
	static simpler_status name(simpler_orch *orch, const simpler_args *args,                   \
	                           const simpler_config *config, simpler_bytes state)
#define FIXTURE_OF_STATE()                                                                         \
	const struct fixture *fixture = *(struct fixture *const *)state.data;                      \
	(void)args;                                                                                \
	(void)config

/* --- tests --- */

ORCH(two_writers)
{
	FIXTURE_OF_STATE();
	assert_int_equal(submit_cell(orch, fixture, 0, SIMPLER_INOUT, NULL), SIMPLER_OK);
	assert_int_equal(submit_cell(orch, fixture, 0, SIMPLER_INOUT, NULL), SIMPLER_OK);
	assert_int_equal(submit_cell(orch, fixture, 1, SIMPLER_INOUT, NULL), SIMPLER_OK);
	return SIMPLER_OK;
}

static void tasks_on_the_same_bytes_run_one_after_the_other(void **state)
{
	struct fixture *fixture = *state;
	struct exec_task *first, *second, *other;
	struct background run;

	begin(&run, fixture, two_writers);
	first = take(fixture->node);
	other = take(fixture->node);
	assert_ptr_equal(first->tensors[0].view.data, &fixture->cells[0]);
	assert_ptr_equal(other->tensors[0].view.data, &fixture->cells[1]);
	assert_int_equal(fixture->node->started, 2);
	end_well(first);
	second = take(fixture->node);
	assert_ptr_equal(second->tensors[0].view.data, &fixture->cells[0]);
	end_well(other);
	end_well(second);
	end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_int_equal(fixture->node->started, 3);
}

ORCH(one_task)
{
	FIXTURE_OF_STATE();
	return submit_cell(orch, fixture, 0, SIMPLER_INOUT, NULL);
}

static void a_failed_task_fails_the_run_with_the_whole_chain(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	begin(&run, fixture, one_task);
	end_badly(take(fixture->node), SIMPLER_EDEADLINE, "too slow");
	end(&run);
	assert_int_equal(run.status, SIMPLER_EDEADLINE);
	assert_non_null(strstr(run.text, "task 1: orchestration function 'shift' ("));
	assert_non_null(strstr(run.text, "on fake node 0"));
	assert_non_null(strstr(run.text, "SIMPLER_EDEADLINE: too slow"));

	begin(&run, fixture, one_task);
	end_well(take(fixture->node));
	end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

static pthread_mutex_t submitted_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t submitted_changed = PTHREAD_COND_INITIALIZER;
static bool submitted; /* under the lock */

ORCH(one_task_and_tell)
{
	simpler_status status;
	FIXTURE_OF_STATE();

	status = submit_cell(orch, fixture, 0, SIMPLER_INOUT, NULL);
	pthread_mutex_lock(&submitted_lock);
	submitted = true;
	pthread_cond_signal(&submitted_changed);
	pthread_mutex_unlock(&submitted_lock);
	return status;
}

ORCH(consumer_and_bystander)
{
	FIXTURE_OF_STATE();
	assert_int_equal(submit_cell(orch, fixture, 0, SIMPLER_INOUT, NULL), SIMPLER_OK);
	assert_int_equal(submit_cell(orch, fixture, 0, SIMPLER_INPUT, NULL), SIMPLER_OK);
	assert_int_equal(submit_cell(orch, fixture, 1, SIMPLER_INOUT, NULL), SIMPLER_OK);
	return SIMPLER_OK;
}

static void consumers_of_a_failed_task_never_run_and_the_others_do(void **state)
{
	struct fixture *fixture = *state;
	struct exec_task *producer, *bystander;
	struct background run;

	begin(&run, fixture, consumer_and_bystander);
	producer = take(fixture->node);
	bystander = take(fixture->node);
	end_badly(producer, SIMPLER_EUSER, "broken");
	end_well(bystander);
	end(&run);
	assert_int_equal(run.status, SIMPLER_EUSER);
	assert_int_equal(fixture->node->started, 2);
}

ORCH(fails_by_itself)
{
	FIXTURE_OF_STATE();
	(void)orch;
	(void)fixture;
	return simpler_fail((simpler_status)1234, "no %s", "luck");
}

ORCH(fails_without_a_word)
{
	FIXTURE_OF_STATE();
	(void)orch;
	(void)fixture;
	return SIMPLER_ENOTFOUND;
}

static void an_orchestration_function_fails_with_its_own_status_and_message(void **state)
{
	struct background run;

	begin(&run, *state, fails_by_itself);
	end(&run);
	assert_int_equal((int)run.status, 1234);
	assert_non_null(strstr(run.text, "no luck"));

	begin(&run, *state, fails_without_a_word);
	end(&run);
	assert_int_equal(run.status, SIMPLER_ENOTFOUND);
	assert_non_null(strstr(run.text, "'test' returned 2"));
}

#define MANY 2000

ORCH(many_tasks)
{
	FIXTURE_OF_STATE();
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(submit_cell(orch, fixture, i % 8, SIMPLER_NO_DEP, NULL),
		                 SIMPLER_OK);
	return SIMPLER_OK;
}

static void several_runs_at_once_end_each_for_itself(void **state)
{
	struct fixture *fixture = *state;
	struct background runs[4];

	fixture->node->at_once = true;
	for (size_t i = 0; i < 4; i++)
		begin(&runs[i], fixture, i == 2 ? fails_by_itself : many_tasks);
	for (size_t i = 0; i < 4; i++) {
		end(&runs[i]);
		assert_int_equal((int)runs[i].status, i == 2 ? 1234 : SIMPLER_OK);
	}
	assert_int_equal(fixture->node->started, 3 * MANY);
}

ORCH(twelve_tasks)
{
	FIXTURE_OF_STATE();
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(submit_cell(orch, fixture, 0, SIMPLER_INPUT, NULL), SIMPLER_OK);
	return SIMPLER_OK;
}

static void no_child_is_given_more_than_its_capacity(void **state)
{
	struct fixture *fixture = *state;
	struct background run;

	begin(&run, fixture, twelve_tasks);
	for (unsigned i = 0; i < 12; i++)
		end_well(take(fixture->node));
	end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
	assert_true(fixture->node->most <= fixture->node->child.capacity);
}

ORCH(two_anywhere_one_directed)
{
	simpler_submit_options directed = SIMPLER_SUBMIT_OPTIONS_INIT;
	FIXTURE_OF_STATE();

	directed.worker = 1;
	assert_int_equal(submit_cell(orch, fixture, 0, SIMPLER_INPUT, NULL), SIMPLER_OK);
	assert_int_equal(submit_cell(orch, fixture, 0, SIMPLER_INPUT, NULL), SIMPLER_OK);
	assert_int_equal(submit_cell(orch, fixture, 0, SIMPLER_INPUT, &directed), SIMPLER_OK);
	return SIMPLER_OK;
}

static void tasks_go_where_they_are_sent_or_where_least_is_going_on(void **state)
{
	struct fixture *fixture = *state;
	struct fake *second = add_fake(fixture->core, 8);
	struct background run;

	begin(&run, fixture, two_anywhere_one_directed);
	end_well(take(second));
	end_well(take(second));
	end_well(take(fixture->node));
	end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

static simpler_status submit_wrongly(simpler_orch *orch, const struct fixture *fixture)
{
	simpler_submit_options nowhere = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_args *args = simpler_args_create();
	simpler_sub as_sub = { fixture->fn.id };
	simpler_orch_fn never = { 77 };
	simpler_tensor tensor;

	nowhere.worker = 9;
	assert_int_equal(submit_cell(orch, fixture, 0, SIMPLER_INPUT, &nowhere), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "worker 9 is not a child here; there are 1"));

	assert_int_equal(simpler_submit_next_level(orch, never, NULL, NULL, NULL), SIMPLER_ESTALE);
	assert_int_equal(simpler_submit_sub(orch, as_sub, NULL, NULL, NULL), SIMPLER_EKIND);
	assert_non_null(
		strstr(simpler_last_error(),
	               "'shift' is of kind orchestration function, and sub task is needed"));

	simpler_tensor_init_1d(&tensor, (void *)(uintptr_t)fixture->cells, SIMPLER_INT64, 1);
	simpler_args_add_tensor(args, &tensor, SIMPLER_INOUT, SIMPLER_SHARED);
	assert_int_equal(simpler_submit_next_level(orch, fixture->fn, args, NULL, NULL),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "SIMPLER_INLINE or SIMPLER_STAGED"));

	simpler_args_reset(args);
	simpler_args_add_scalar(args, 1);
	simpler_args_add_tensor(args, &tensor, SIMPLER_INOUT, SIMPLER_INLINE);
	assert_int_equal(simpler_submit_next_level(orch, fixture->fn, args, NULL, NULL),
	                 SIMPLER_EINVAL);
	simpler_args_destroy(args);
	return SIMPLER_OK;
}

ORCH(wrong_submits)
{
	FIXTURE_OF_STATE();
	return submit_wrongly(orch, fixture);
}

static void a_wrong_submit_is_refused_with_the_reason_and_hurts_nobody(void **state)
{
	struct background run;

	begin(&run, *state, wrong_submits);
	end(&run);
	assert_int_equal(run.status, SIMPLER_OK);
}

static void a_run_that_waits_for_a_failed_task_of_another_run_fails_too(void **state)
{
	struct fixture *fixture = *state;
	struct background first, second;
	struct exec_task *producer;

	begin(&first, fixture, one_task);
	producer = take(fixture->node);
	begin(&second, fixture, one_task_and_tell);
	pthread_mutex_lock(&submitted_lock);
	while (!submitted)
		pthread_cond_wait(&submitted_changed, &submitted_lock);
	pthread_mutex_unlock(&submitted_lock);
	end_badly(producer, SIMPLER_EUSER, "broken");
	end(&first);
	end(&second);
	assert_int_equal(first.status, SIMPLER_EUSER);
	assert_int_equal(second.status, SIMPLER_EPOISONED);
	assert_non_null(strstr(second.text, "task of another run"));
	assert_non_null(strstr(second.text, "task 1: orchestration function 'shift'"));
	assert_int_equal(fixture->node->started, 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(tasks_on_the_same_bytes_run_one_after_the_other),
		CASE(a_failed_task_fails_the_run_with_the_whole_chain),
		CASE(consumers_of_a_failed_task_never_run_and_the_others_do),
		CASE(a_run_that_waits_for_a_failed_task_of_another_run_fails_too),
		CASE(an_orchestration_function_fails_with_its_own_status_and_message),
		CASE(several_runs_at_once_end_each_for_itself),
		CASE(no_child_is_given_more_than_its_capacity),
		CASE(tasks_go_where_they_are_sent_or_where_least_is_going_on),
		CASE(a_wrong_submit_is_refused_with_the_reason_and_hurts_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
