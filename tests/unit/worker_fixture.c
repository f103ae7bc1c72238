#include "worker_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "catalog/module_read.h"
#include "test_modules.h"

/* --- children --- */

static void fake_start(struct exec_child *child, struct exec_task *task)
{
	struct fake *fake = (struct fake *)child;
	bool at_once;

	pthread_mutex_lock(&fake->lock);
	fake->started++;
	at_once = fake->at_once;
	fake->depth += at_once;
	if (fake->depth > fake->deepest)
		fake->deepest = fake->depth;
	if (!at_once)
		fake->held[fake->count++] = task;
	if (fake->count > fake->most)
		fake->most = fake->count;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
	if (fake->on_start)
		fake->on_start(fake->context);
	if (!at_once)
		return;
	task->done(task, NULL);
	pthread_mutex_lock(&fake->lock);
	fake->depth--;
	pthread_mutex_unlock(&fake->lock);
}

static void fake_stop(struct exec_child *child, uint64_t task, int64_t kill_at)
{
	struct fake *fake = (struct fake *)child;

	assert_true(kill_at >= clock_now() - CLOCK_S);
	pthread_mutex_lock(&fake->lock);
	fake->stops++;
	fake->stopped = task;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
	if (fake->on_stop)
		fake->on_stop(fake->context);
}

/* The first `width` have begun. */
static struct exec_task *fake_retract(struct exec_child *child, uint64_t task)
{
	struct fake *fake = (struct fake *)child;
	struct exec_task *found = NULL;

	pthread_mutex_lock(&fake->lock);
	for (uint32_t i = fake->count; i-- > child->width && !found && !fake->keeps;) {
		if (task ? fake->held[i]->id != task : fake->held[i]->bound)
			continue;
		found = fake->held[i];
		memmove(&fake->held[i], &fake->held[i + 1],
		        (--fake->count - i) * sizeof(fake->held[0]));
		fake->retracted++;
	}
	pthread_mutex_unlock(&fake->lock);
	return found;
}

/* Answers as it was told to; see struct fake. */
static void fake_ask(struct exec_child *child, struct exec_request *request)
{
	struct fake *fake = (struct fake *)child;
	struct error error;
	bool fails;

	pthread_mutex_lock(&fake->lock);
	assert_true(fake->ask_count < FAKE_MAX_ASKED);
	fake->asked[fake->ask_count] = request->wish;
	fake->ask_count += !fake->forgets_asked;
	fails = fake->refuses[request->wish];
	fake->kept = fake->keeps_asked ? request : NULL;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
	if (fake->keeps_asked)
		return;
	if (fails)
		error_init(&error, SIMPLER_EUNAVAILABLE, "%s is lost", child->name);
	request->done(request, fails ? &error : NULL);
}

void fake_answer(struct fake *fake, simpler_status status)
{
	struct exec_request *request;
	struct error error;

	pthread_mutex_lock(&fake->lock);
	while (!fake->kept)
		pthread_cond_wait(&fake->changed, &fake->lock);
	request = fake->kept;
	fake->kept = NULL;
	pthread_mutex_unlock(&fake->lock);
	if (status != SIMPLER_OK)
		error_init(&error, status, "%s says so", fake->child.name);
	request->done(request, status == SIMPLER_OK ? NULL : &error);
}

static bool fake_is_away(struct exec_child *child, char *why, size_t size)
{
	struct fake *fake = (struct fake *)child;
	bool away;

	pthread_mutex_lock(&fake->lock);
	away = fake->away;
	pthread_mutex_unlock(&fake->lock);
	if (away)
		snprintf(why, size, "%s is away", child->name);
	return away;
}

static uint64_t fake_life(struct exec_child *child)
{
	struct fake *fake = (struct fake *)child;
	uint64_t life;

	pthread_mutex_lock(&fake->lock);
	life = fake->life;
	pthread_mutex_unlock(&fake->lock);
	return life;
}

static void fake_admit(struct exec_child *child, uint64_t life, const struct error *error)
{
	struct fake *fake = (struct fake *)child;

	pthread_mutex_lock(&fake->lock);
	fake->admissions++;
	fake->admitted_life = life;
	fake->admitted = error ? error->status : SIMPLER_OK;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

void fake_set_away(struct worker_core *core, struct fake *fake, bool away)
{
	pthread_mutex_lock(&fake->lock);
	fake->away = away;
	pthread_mutex_unlock(&fake->lock);
	core_presence_changed(core, &fake->child);
}

void fake_wait_for_admissions(struct fake *fake, uint32_t count)
{
	pthread_mutex_lock(&fake->lock);
	while (fake->admissions < count)
		pthread_cond_wait(&fake->changed, &fake->lock);
	pthread_mutex_unlock(&fake->lock);
}

static void fake_close(struct exec_child *child)
{
	(void)child;
}

static void fake_release(struct exec_child *child)
{
	struct fake *fake = (struct fake *)child;

	pthread_mutex_destroy(&fake->lock);
	pthread_cond_destroy(&fake->changed);
	free(fake);
}

struct fake *fixture_add(struct worker_core *core, simpler_kind runs, uint32_t width,
                         uint32_t capacity)
{
	static const struct exec_child_ops ops = {
		.ask = fake_ask,
		.start = fake_start,
		.stop = fake_stop,
		.retract = fake_retract,
		.is_away = fake_is_away,
		.life = fake_life,
		.admit = fake_admit,
		.close = fake_close,
		.release = fake_release,
	};
	struct fake *fake = calloc(1, sizeof(*fake));
	uint32_t index;

	assert_non_null(fake);
	pthread_mutex_init(&fake->lock, NULL);
	pthread_cond_init(&fake->changed, NULL);
	fake->child.ops = &ops;
	fake->child.runs = runs;
	fake->child.local = runs != SIMPLER_KIND_ORCH;
	fake->child.width = width;
	fake->child.capacity = capacity;
	assert_int_equal(core_add_child(core, &fake->child, &index), SIMPLER_OK);
	snprintf(fake->child.name, sizeof(fake->child.name), "fake %s %u",
	         runs == SIMPLER_KIND_ORCH ? "node" : "worker", index);
	return fake;
}

struct exec_task *fake_take(struct fake *fake)
{
	struct exec_task *task;

	fake_wait_for(fake, 1);
	pthread_mutex_lock(&fake->lock);
	task = fake->held[0];
	memmove(fake->held, fake->held + 1, --fake->count * sizeof(fake->held[0]));
	pthread_mutex_unlock(&fake->lock);
	return task;
}

void fake_wait_for(struct fake *fake, uint32_t count)
{
	pthread_mutex_lock(&fake->lock);
	while (fake->count < count)
		pthread_cond_wait(&fake->changed, &fake->lock);
	pthread_mutex_unlock(&fake->lock);
}

void fake_wait_for_stops(struct fake *fake, uint32_t count)
{
	pthread_mutex_lock(&fake->lock);
	while (fake->stops < count)
		pthread_cond_wait(&fake->changed, &fake->lock);
	pthread_mutex_unlock(&fake->lock);
}

uint32_t fake_started(struct fake *fake)
{
	uint32_t started;

	pthread_mutex_lock(&fake->lock);
	started = fake->started;
	pthread_mutex_unlock(&fake->lock);
	return started;
}

void fake_end_well(struct exec_task *task)
{
	task->done(task, NULL);
}

void fake_end_badly(struct exec_task *task, simpler_status status, const char *why)
{
	struct error error;

	error_init(&error, status, "%s", why);
	task->done(task, &error);
}

void fake_end_with(struct exec_task *task, enum exec_fate fate, const char *why)
{
	task->fate = fate;
	fake_end_badly(task, SIMPLER_EUNAVAILABLE, why);
}

/* --- the fixture: a core, one module, two callables of it --- */

static uint64_t add_callable(struct fixture *fixture, const char *name, simpler_kind kind)
{
	const struct callable_spec spec = { .module = fixture->module, .name = name, .kind = kind };
	uint64_t handle;

	assert_int_equal(callables_add(fixture->core->callables, &spec, NULL, &handle), SIMPLER_OK);
	return handle;
}

static void add_callables(struct fixture *fixture)
{
	struct digest digest;
	int fd;

	assert_int_equal(module_read_image(TEST_MODULES_DIR "/remote_cases.so", &digest, &fd),
	                 SIMPLER_OK);
	assert_int_equal(modules_add(fixture->core->modules, &digest, fd, NULL, &fixture->module),
	                 SIMPLER_OK);
	close(fd);
	fixture->fn.id = add_callable(fixture, "shift", SIMPLER_KIND_ORCH);
	fixture->sub.id = add_callable(fixture, "shift_sub", SIMPLER_KIND_SUB);
}

int fixture_set_up(void **state)
{
	const struct core_options options = {
		.level = 4, .max_tasks = 64, .heap_bytes = 1 << 20, .grace_ms = 1000
	};
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	assert_int_equal(core_create(&options, &fixture->core), SIMPLER_OK);
	fixture->node = fixture_add(fixture->core, SIMPLER_KIND_ORCH, 8, 8);
	add_callables(fixture);
	*state = fixture;
	return 0;
}

int fixture_tear_down(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->core) {
		core_close_children(fixture->core);
		core_destroy(fixture->core);
	}
	free(fixture);
	return 0;
}

simpler_status fixture_submit(simpler_orch *orch, const struct fixture *fixture, unsigned cell,
                              simpler_tag tag, const simpler_submit_options *options,
                              simpler_task *out)
{
	simpler_args *args = simpler_args_create();
	simpler_tensor tensor;
	simpler_status status;

	assert_non_null(args);
	simpler_tensor_init_1d(&tensor, (void *)(uintptr_t)&fixture->cells[cell], SIMPLER_INT64, 1);
	simpler_args_add_tensor(args, &tensor, tag, SIMPLER_INLINE);
	status = simpler_submit_next_level(orch, fixture->fn, args, options, out);
	simpler_args_destroy(args);
	return status;
}

/* --- runs --- */

static void *background_main(void *argument)
{
	struct background *run = argument;

	run->status = run_execute(run->run);
	snprintf(run->text, sizeof(run->text), "%s", run->status ? simpler_last_error() : "");
	return NULL;
}

void background_begin_within(struct background *run, struct fixture *fixture,
                             simpler_orch_function *fn, uint64_t timeout_ms)
{
	const struct run_call call = {
		.fn = fn,
		.name = "test",
		.state = { &run->fixture, sizeof(run->fixture) },
		.timeout_ms = timeout_ms,
	};

	run->fixture = fixture;
	run->fn = fn;
	assert_int_equal(run_create(fixture->core, &call, &run->run), SIMPLER_OK);
	assert_int_equal(pthread_create(&run->thread, NULL, background_main, run), 0);
}

void background_begin(struct background *run, struct fixture *fixture, simpler_orch_function *fn)
{
	background_begin_within(run, fixture, fn, SIMPLER_FOREVER);
}

void background_end(struct background *run)
{
	assert_int_equal(pthread_join(run->thread, NULL), 0);
	run_destroy(run->run);
}
