/*
 * Children that are processes of this machine, asked as the scheduler asks them. The spawn helper
 * is this program again (see main()), so that the next-level worker can be a fake: it runs nothing,
 * and does with its tasks what their first scalar says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "exec/local_group.h"
#include "module_image.h"
#include "os/descriptor.h"
#include "os/process.h"

#define MEMORY_BYTES ((uint64_t)1 << 20)
#define SOON_MS      20000 /* for what happens at once; sanitizers and a loaded machine are slow */
#define MANY         4000u

enum { BEGAN, PID, GO, CELLS };

/* --- tasks --- */

struct job {
	struct exec_task task; /* first */
	struct exec_tensor tensor;
	int64_t shape[1];
	uint64_t scalars[1];
	_Atomic int64_t *cells;
	/* Under `ends_lock`: */
	unsigned ends;
	simpler_status status;
	char text[ERROR_TEXT_BYTES];
};

static pthread_mutex_t ends_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

static void on_done(struct exec_task *task, const struct error *error)
{
	struct job *job = (struct job *)task;
	const char *step;
	size_t size = 0;

	pthread_mutex_lock(&ends_lock);
	job->ends++;
	job->status = error ? error->status : SIMPLER_OK;
	job->text[0] = '\0';
	for (size_t i = 0; error && (step = error_step(error, i)) && size < sizeof(job->text); i++)
		size += (size_t)snprintf(job->text + size, sizeof(job->text) - size, "%s\n", step);
	pthread_cond_broadcast(&ended);
	pthread_mutex_unlock(&ends_lock);
}

static simpler_status await_end(struct job *job)
{
	struct timespec until;
	int failed = 0;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SOON_MS / 1000;
	pthread_mutex_lock(&ends_lock);
	while (job->ends == 0 && !failed)
		failed = pthread_cond_timedwait(&ended, &ends_lock, &until);
	pthread_mutex_unlock(&ends_lock);
	assert_int_equal(failed, 0);
	assert_int_equal(job->ends, 1);
	return job->status;
}

static bool has_ended(struct job *job)
{
	bool has;

	pthread_mutex_lock(&ends_lock);
	has = job->ends > 0;
	pthread_mutex_unlock(&ends_lock);
	return has;
}

static void assert_says(const struct job *job, const char *words)
{
	if (!strstr(job->text, words))
		fail_msg("\"%s\" does not say \"%s\"", job->text, words);
}

/* --- the group --- */

#define CALLABLES 64

struct fixture {
	struct local_group *group;
	int memory_fd;
	uint8_t *memory;
	struct exec_module module;
	struct exec_callable callables[CALLABLES];
	uint32_t callable_count;
	struct record_config config;
	struct exec_child *subs[2], *chip, *wrong_chip, *worker;
	struct job jobs[64];
	uint32_t job_count;
	_Atomic bool lost;
};

static void on_lost(void *context)
{
	struct fixture *fixture = context;

	atomic_store(&fixture->lost, true);
}

static struct exec_child *add(struct fixture *fixture, struct local_child_options options)
{
	struct exec_child *child;

	assert_int_equal(local_group_add(fixture->group, &options, &child), SIMPLER_OK);
	return child;
}

static void add_children(struct fixture *fixture)
{
	static struct tree tree;

	memset(&tree, 0, sizeof(tree));
	tree.count = 1;
	tree.nodes[0].level = 3;
	tree.nodes[0].sub_workers = 2;
	tree.nodes[0].first_child = 1;
	tree.nodes[0].heap_bytes = 4711;
	fixture->subs[0] = add(fixture, (struct local_child_options){ .kind = SIMPLER_KIND_SUB });
	fixture->chip = add(fixture, (struct local_child_options){ .kind = SIMPLER_KIND_CHIP,
	                                                           .device = "sim" });
	fixture->worker = add(
		fixture, (struct local_child_options){ .kind = SIMPLER_KIND_ORCH, .tree = &tree });
	fixture->subs[1] = add(fixture, (struct local_child_options){ .kind = SIMPLER_KIND_SUB });
	fixture->wrong_chip = add(fixture, (struct local_child_options){ .kind = SIMPLER_KIND_CHIP,
	                                                                 .device = "no such" });
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char program[4096];
	struct local_options options = {
		.host_program = program, .segment_count = 1, .lost = on_lost, .context = fixture
	};
	void *base;

	assert_non_null(fixture);
	assert_int_equal(process_executable(program, sizeof(program)), SIMPLER_OK);
	assert_int_equal(memory_create("test", MEMORY_BYTES, &fixture->memory_fd), SIMPLER_OK);
	assert_int_equal(memory_map(fixture->memory_fd, MEMORY_BYTES, &base), SIMPLER_OK);
	fixture->memory = base;
	fixture->module.fd = module_image("local_cases");
	fixture->module.digest.bytes[0] = 7;
	fixture->config.block_dim = 4;
	fixture->config.aicpu_thread_num = 2;
	options.segments[0] = (struct spawn_segment){ fixture->memory_fd, 1, MEMORY_BYTES };
	assert_int_equal(local_group_create(&options, &fixture->group), SIMPLER_OK);
	add_children(fixture);
	assert_int_equal(local_group_start(fixture->group), SIMPLER_OK);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	local_group_destroy(fixture->group);
	memory_unmap(fixture->memory, MEMORY_BYTES);
	(void)close(fixture->memory_fd);
	(void)close(fixture->module.fd);
	free(fixture);
	return 0;
}

static const struct exec_callable *make_callable(struct fixture *fixture, simpler_kind kind,
                                                 const char *name, simpler_bytes captured)
{
	struct exec_callable *callable = &fixture->callables[fixture->callable_count++];

	assert_true(fixture->callable_count <= CALLABLES);
	callable->key = fixture->callable_count;
	callable->kind = kind;
	callable->module = &fixture->module;
	callable->state = captured;
	(void)snprintf(callable->name, sizeof(callable->name), "%s", name);
	return callable;
}

static const struct exec_callable *find_callable(struct fixture *fixture, simpler_kind kind,
                                                 const char *name)
{
	for (uint32_t i = 0; i < fixture->callable_count; i++) {
		struct exec_callable *each = &fixture->callables[i];

		if (each->kind == kind && strcmp(each->name, name) == 0)
			return each;
	}
	return make_callable(fixture, kind, name, simpler_no_state());
}

/* A task of its own cells, all zero. It is not started. */
static struct job *make_job(struct fixture *fixture, simpler_kind kind, const char *name)
{
	uint32_t index = fixture->job_count++;
	struct job *job = &fixture->jobs[index];

	assert_true(index < 64);
	job->cells = (_Atomic int64_t *)(void *)fixture->memory + (size_t)index * 16;
	job->shape[0] = CELLS;
	job->tensor = (struct exec_tensor){ .data = (void *)job->cells,
		                            .nbytes = CELLS * 8,
		                            .segment = 1,
		                            .offset = (uint64_t)index * 16 * 8,
		                            .dtype = SIMPLER_INT64,
		                            .tag = SIMPLER_INOUT,
		                            .backing = SIMPLER_SHARED,
		                            .ndim = 1,
		                            .shape = job->shape };
	job->task.callable = find_callable(fixture, kind, name);
	job->task.id = 100 + index;
	job->task.config = &fixture->config;
	job->task.tensors = &job->tensor;
	job->task.tensor_count = 1;
	job->task.scalars = job->scalars;
	job->task.scalar_count = 1;
	job->task.deadline = CLOCK_NEVER;
	job->task.done = on_done;
	return job;
}

static void start(struct exec_child *child, struct job *job)
{
	child->ops->start(child, &job->task);
}

static struct job *start_sub(struct fixture *fixture, struct exec_child *child, const char *name)
{
	struct job *job = make_job(fixture, SIMPLER_KIND_SUB, name);

	start(child, job);
	return job;
}

static void pause_a_moment(void)
{
	const struct timespec moment = { 0, 1000000 };

	(void)nanosleep(&moment, NULL);
}

static void await_cell(struct job *job, int cell)
{
	int64_t until = clock_after_ms(SOON_MS);

	while (atomic_load(&job->cells[cell]) == 0) {
		assert_true(clock_now() < until);
		pause_a_moment();
	}
}

static void await_beginning(struct job *job)
{
	await_cell(job, BEGAN);
}

static void let_go(struct job *job)
{
	atomic_store(&job->cells[GO], 1);
}

static int64_t began(const struct job *job)
{
	return atomic_load(&job->cells[BEGAN]);
}

static pid_t pid_of(const struct job *job)
{
	return (pid_t)atomic_load(&job->cells[PID]);
}

static pid_t process_of(struct fixture *fixture, struct exec_child *exec)
{
	struct local_child *child = (struct local_child *)exec;
	pid_t pid;

	pthread_mutex_lock(&fixture->group->lock);
	pid = child->pid;
	pthread_mutex_unlock(&fixture->group->lock);
	return pid;
}

/* --- many tasks --- */

static void children_are_numbered_by_their_kind(void **state)
{
	struct fixture *fixture = *state;
	const struct {
		const struct exec_child *child;
		const char *name;
		simpler_kind runs;
		uint32_t width, capacity;
	} children[] = {
		{ fixture->subs[0], "sub worker 0", SIMPLER_KIND_SUB, 1, MAILBOX_SLOTS },
		{ fixture->subs[1], "sub worker 1", SIMPLER_KIND_SUB, 1, MAILBOX_SLOTS },
		{ fixture->chip, "chip 0", SIMPLER_KIND_CHIP, 1, 4 },
		{ fixture->wrong_chip, "chip 1", SIMPLER_KIND_CHIP, 1, 4 },
		{ fixture->worker, "worker 0 of level 3", SIMPLER_KIND_ORCH, MAILBOX_SLOTS,
		  MAILBOX_SLOTS },
	};

	for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++) {
		assert_string_equal(children[i].child->name, children[i].name);
		assert_int_equal(children[i].child->runs, children[i].runs);
		assert_int_equal(children[i].child->width, children[i].width);
		assert_int_equal(children[i].child->capacity, children[i].capacity);
		assert_true(children[i].child->local);
	}
}

/* As many as fit, and again and again: `done` starts the next. */
struct stream {
	struct exec_task task; /* first */
	struct exec_child *child;
	_Atomic unsigned *left, *running;
};

static void on_stream_done(struct exec_task *task, const struct error *error)
{
	struct stream *stream = (struct stream *)task;

	if (!error && atomic_fetch_sub(stream->left, 1) > 0) {
		stream->child->ops->start(stream->child, task);
		return;
	}
	atomic_fetch_add(stream->left, 1);
	pthread_mutex_lock(&ends_lock);
	atomic_fetch_sub(stream->running, 1);
	pthread_cond_broadcast(&ended);
	pthread_mutex_unlock(&ends_lock);
}

static void full_mailboxes_run_task_after_task_once_each(void **state)
{
	struct fixture *fixture = *state;
	struct job *job = make_job(fixture, SIMPLER_KIND_SUB, "count");
	_Atomic unsigned left = MANY, running = 2 * MAILBOX_SLOTS;
	struct stream streams[2 * MAILBOX_SLOTS];

	for (uint32_t i = 0; i < 2 * MAILBOX_SLOTS; i++) {
		memcpy(&streams[i].task, &job->task, sizeof(job->task));
		streams[i].task.id = 1000 + i;
		streams[i].task.done = on_stream_done;
		streams[i].child = fixture->subs[i % 2];
		streams[i].left = &left;
		streams[i].running = &running;
	}
	for (uint32_t i = 0; i < 2 * MAILBOX_SLOTS; i++)
		streams[i].child->ops->start(streams[i].child, &streams[i].task);
	pthread_mutex_lock(&ends_lock);
	while (atomic_load(&running) > 0)
		pthread_cond_wait(&ended, &ends_lock);
	pthread_mutex_unlock(&ends_lock);
	assert_int_equal(began(job), MANY + 2 * MAILBOX_SLOTS);
}

/* Callables whose captured state fills the socket while the process is busy: start() does not wait,
 * and all is still to be had from the child. */
static void callables_that_do_not_fit_the_socket_wait_their_turn(void **state)
{
	static uint8_t captured[SIMPLER_STATE_MAX];
	struct fixture *fixture = *state;
	struct job *first = start_sub(fixture, fixture->subs[0], "wait_to_go");
	struct job *others[MAILBOX_SLOTS - 2], *stopped;

	await_beginning(first);
	for (uint32_t i = 0; i < MAILBOX_SLOTS - 2; i++) {
		others[i] = make_job(fixture, SIMPLER_KIND_SUB, "count");
		others[i]->task.callable =
			make_callable(fixture, SIMPLER_KIND_SUB, "count",
		                      (simpler_bytes){ captured, sizeof(captured) });
		start(fixture->subs[0], others[i]);
	}
	stopped = start_sub(fixture, fixture->subs[0], "count");
	fixture->subs[0]->ops->stop(fixture->subs[0], stopped->task.id, CLOCK_NEVER);
	assert_int_equal(await_end(stopped), SIMPLER_ECANCELLED);
	assert_false(has_ended(first));
	let_go(first);
	assert_int_equal(await_end(first), SIMPLER_OK);
	for (uint32_t i = 0; i < MAILBOX_SLOTS - 2; i++) {
		assert_int_equal(await_end(others[i]), SIMPLER_OK);
		assert_int_equal(began(others[i]), 1);
	}
}

/* --- taking back --- */

static struct exec_task *retract(struct exec_child *child, uint64_t id_or_0)
{
	return child->ops->retract(child, id_or_0);
}

static void what_has_not_begun_can_be_taken_back(void **state)
{
	struct fixture *fixture = *state;
	struct exec_child *child = fixture->subs[0];
	struct job *first = start_sub(fixture, child, "wait_to_go"), *jobs[5], *last;

	await_beginning(first);
	for (int i = 0; i < 5; i++) {
		jobs[i] = make_job(fixture, SIMPLER_KIND_SUB, "count");
		jobs[i]->task.bound = i == 4;
		start(child, jobs[i]);
	}
	assert_null(retract(child, first->task.id)); /* it runs */
	assert_null(retract(child, 4711));           /* is not here */
	assert_ptr_equal(retract(child, jobs[1]->task.id), &jobs[1]->task);
	assert_null(retract(child, jobs[1]->task.id));
	assert_ptr_equal(retract(child, 0), &jobs[3]->task); /* the last that is not bound */
	assert_ptr_equal(retract(child, 0), &jobs[2]->task);
	assert_ptr_equal(retract(child, jobs[4]->task.id), &jobs[4]->task);
	last = start_sub(fixture, child, "count");
	let_go(first);
	assert_int_equal(await_end(jobs[0]), SIMPLER_OK);
	assert_int_equal(await_end(last), SIMPLER_OK);
	for (int i = 1; i < 5; i++) {
		assert_false(has_ended(jobs[i]));
		assert_int_equal(began(jobs[i]), 0);
	}
	/* And runs elsewhere. */
	start(fixture->subs[1], jobs[1]);
	assert_int_equal(await_end(jobs[1]), SIMPLER_OK);
	assert_int_equal(began(jobs[1]), 1);
}

/* --- stopping --- */

static void a_task_that_is_stopped_sees_it(void **state)
{
	struct fixture *fixture = *state;
	struct exec_child *child = fixture->subs[0];
	pid_t before = process_of(fixture, child);
	struct job *job = start_sub(fixture, child, "wait_to_go"), *next;

	await_beginning(job);
	child->ops->stop(child, job->task.id, CLOCK_NEVER);
	assert_int_equal(await_end(job), SIMPLER_ECANCELLED);
	assert_says(job, "told to stop");
	/* The next one in the same process is not. */
	next = start_sub(fixture, child, "wait_to_go");
	await_beginning(next);
	assert_int_equal(pid_of(next), before);
	let_go(next);
	assert_int_equal(await_end(next), SIMPLER_OK);
}

static void a_task_that_is_stopped_before_it_began_ends_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct exec_child *child = fixture->subs[0];
	struct job *first = start_sub(fixture, child, "wait_to_go");
	struct job *second = start_sub(fixture, child, "count"), *third;

	await_beginning(first);
	child->ops->stop(child, second->task.id, CLOCK_NEVER);
	assert_int_equal(await_end(second), SIMPLER_ECANCELLED);
	third = make_job(fixture, SIMPLER_KIND_SUB, "count");
	atomic_store(&third->task.stop_at,
	             clock_after_ms(SOON_MS)); /* stop() came before start() */
	start(child, third);
	assert_int_equal(await_end(third), SIMPLER_ECANCELLED);
	child->ops->stop(child, 4711, clock_now()); /* not here: nothing happens */
	let_go(first);
	assert_int_equal(await_end(first), SIMPLER_OK);
	assert_int_equal(began(second), 0);
	assert_int_equal(began(third), 0);
}

static void what_goes_on_all_the_same_is_killed_and_what_is_behind_it_runs_once(void **state)
{
	struct fixture *fixture = *state;
	struct exec_child *child = fixture->subs[0];
	struct job *deaf = start_sub(fixture, child, "hear_nothing"), *behind[6], *long_one;

	await_beginning(deaf);
	for (int i = 0; i < 6; i++)
		behind[i] = start_sub(fixture, child, "count");
	long_one = start_sub(fixture, fixture->subs[1], "wait_to_go");
	/* The far time first: the nearer one is not to wait for it. */
	child->ops->stop(child, deaf->task.id, clock_after_ms(10 * SOON_MS));
	child->ops->stop(child, deaf->task.id, clock_after_ms(50));
	assert_int_equal(await_end(deaf), SIMPLER_ECRASHED);
	assert_says(deaf, "grace period");
	for (int i = 0; i < 6; i++) {
		assert_int_equal(await_end(behind[i]), SIMPLER_OK);
		assert_int_equal(began(behind[i]), 1);
		assert_int_not_equal(pid_of(behind[i]), pid_of(deaf));
	}
	let_go(long_one);
	assert_int_equal(await_end(long_one), SIMPLER_OK);
}

/* --- deaths --- */

static void a_crash_fails_what_ran_and_not_what_waited(void **state)
{
	struct fixture *fixture = *state;
	struct exec_child *child = fixture->subs[0];

	for (int round = 0; round < 3; round++) {
		struct job *crash = start_sub(fixture, child, "wait_and_crash"), *behind[4];

		await_beginning(crash);
		for (int i = 0; i < 4; i++)
			behind[i] = start_sub(fixture, child, "count");
		let_go(crash);
		assert_int_equal(await_end(crash), SIMPLER_ECRASHED);
		assert_says(crash, "was killed by signal 11 (Segmentation fault)");
		for (int i = 0; i < 4; i++) {
			assert_int_equal(await_end(behind[i]), SIMPLER_OK);
			assert_int_equal(began(behind[i]), 1);
			assert_int_not_equal(pid_of(behind[i]), pid_of(crash));
		}
	}
}

static void a_crash_is_explained(void **state)
{
	struct fixture *fixture = *state;
	struct job *crash = start_sub(fixture, fixture->subs[1], "wait_and_crash");

	let_go(crash);
	assert_int_equal(await_end(crash), SIMPLER_ECRASHED);
	assert_says(crash, "at address 0x10");
	assert_says(crash, "wait_and_crash");
}

static void an_exit_is_told_from_a_crash(void **state)
{
	struct fixture *fixture = *state;
	struct job *job = start_sub(fixture, fixture->subs[0], "leave");

	assert_int_equal(await_end(job), SIMPLER_ECRASHED);
	assert_says(job, "exited with status 3; a callable returns, it does not exit");
}

static void a_task_waits_for_a_process_and_can_be_had_meanwhile(void **state)
{
	struct fixture *fixture = *state;
	struct exec_child *child = fixture->subs[0];
	struct job *back, *stopped, *waits;

	/* Until its replacements are slow to come: the last one by 240 milliseconds. */
	for (int i = 0; i < 20; i++)
		assert_int_equal(await_end(start_sub(fixture, child, "leave")), SIMPLER_ECRASHED);
	waits = start_sub(fixture, child, "count");
	back = start_sub(fixture, child, "count");
	stopped = start_sub(fixture, child, "count");
	assert_ptr_equal(retract(child, back->task.id), &back->task);
	child->ops->stop(child, stopped->task.id, CLOCK_NEVER);
	assert_int_equal(await_end(stopped), SIMPLER_ECANCELLED);
	assert_int_equal(process_of(fixture, child), 0);
	assert_int_equal(await_end(waits), SIMPLER_OK);
	assert_int_equal(began(waits), 1);
	assert_int_equal(began(back) + began(stopped), 0);
}

static void a_sub_task_that_overwrites_its_mailbox_hurts_no_other(void **state)
{
	struct fixture *fixture = *state;

	for (int round = 0; round < 3; round++) {
		struct job *scribble = start_sub(fixture, fixture->subs[0], "scribble");

		assert_int_equal(await_end(scribble), SIMPLER_ECRASHED);
		for (int i = 0; i < 4; i++) {
			struct job *job = start_sub(fixture, fixture->subs[i % 2], "count");

			assert_int_equal(await_end(job), SIMPLER_OK);
			assert_int_equal(began(job), 1);
		}
	}
}

static void a_sub_task_that_takes_all_descriptors_away_blocks_no_other(void **state)
{
	struct fixture *fixture = *state;
	struct exec_child *child = fixture->subs[0];
	struct job *thief, *known, *unknown;

	assert_int_equal(await_end(start_sub(fixture, child, "count")), SIMPLER_OK);
	thief = start_sub(fixture, child, "take_descriptors_away");
	assert_int_equal(await_end(thief), SIMPLER_OK);
	known = start_sub(fixture, child, "count");
	assert_int_equal(await_end(known), SIMPLER_OK);
	assert_int_equal(pid_of(known), pid_of(thief));
	/* Its module comes with a descriptor, which the process cannot have. */
	unknown = start_sub(fixture, child, "nothing");
	assert_int_equal(await_end(unknown), SIMPLER_ECRASHED);
	known = start_sub(fixture, child, "count");
	assert_int_equal(await_end(known), SIMPLER_OK);
	assert_int_not_equal(pid_of(known), pid_of(thief));
}

static void a_sub_task_that_forks_and_returns_twice_is_done_once(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 5; i++)
		assert_int_equal(await_end(start_sub(fixture, fixture->subs[0], "fork_and_return")),
		                 SIMPLER_OK);
	assert_int_equal(await_end(start_sub(fixture, fixture->subs[0], "count")), SIMPLER_OK);
}

static void without_the_helper_every_task_fails(void **state)
{
	struct fixture *fixture = *state;
	struct job *running = start_sub(fixture, fixture->subs[0], "wait_to_go");
	struct job *behind = start_sub(fixture, fixture->subs[0], "count");

	await_beginning(running);
	assert_int_equal(kill(fixture->group->helper.pid, SIGKILL), 0);
	assert_int_equal(await_end(running), SIMPLER_EUNAVAILABLE);
	assert_int_equal(await_end(behind), SIMPLER_EUNAVAILABLE);
	assert_true(atomic_load(&fixture->lost));
	assert_int_equal(await_end(start_sub(fixture, fixture->subs[1], "count")),
	                 SIMPLER_EUNAVAILABLE);
}

static void stop_helper(struct fixture *fixture)
{
	assert_int_equal(kill(fixture->group->helper.pid, SIGSTOP), 0);
}

static void a_helper_that_was_stopped_tells_of_a_death_when_it_goes_on(void **state)
{
	struct fixture *fixture = *state;
	struct job *crash = start_sub(fixture, fixture->subs[0], "wait_and_crash");
	struct local_child *child = (struct local_child *)fixture->subs[0];
	struct pollfd death;

	await_beginning(crash);
	death = (struct pollfd){ child->pidfd, POLLIN, 0 };
	stop_helper(fixture);
	let_go(crash);
	assert_int_equal(poll(&death, 1, SOON_MS), 1);
	assert_int_equal(await_end(start_sub(fixture, fixture->subs[1], "count")), SIMPLER_OK);
	assert_false(has_ended(crash));
	assert_int_equal(kill(fixture->group->helper.pid, SIGCONT), 0);
	assert_int_equal(await_end(crash), SIMPLER_ECRASHED);
	assert_says(crash, "was killed by signal 11");
	assert_int_equal(await_end(start_sub(fixture, fixture->subs[0], "count")), SIMPLER_OK);
	assert_false(atomic_load(&fixture->lost));
}

static void a_helper_that_stays_stopped_is_lost_when_a_process_dies(void **state)
{
	struct fixture *fixture = *state;
	struct job *running = start_sub(fixture, fixture->subs[1], "wait_to_go");
	struct job *crash = start_sub(fixture, fixture->subs[0], "wait_and_crash");

	await_beginning(running);
	await_beginning(crash);
	stop_helper(fixture);
	let_go(crash);
	assert_int_equal(await_end(crash), SIMPLER_EUNAVAILABLE);
	assert_int_equal(await_end(running), SIMPLER_EUNAVAILABLE);
	assert_true(atomic_load(&fixture->lost));
}

/* A key in the place of others has it when those are gone. What the process had of them goes, too,
 * or a key that was used before would still mean what it did. */
static void a_process_keeps_one_callable_in_each_place(void **state)
{
	struct fixture *fixture = *state;
	const struct {
		struct exec_child *child;
		simpler_kind kind;
		const char *name;
	} cases[] = {
		{ fixture->subs[0], SIMPLER_KIND_SUB, "count" },
		{ fixture->chip, SIMPLER_KIND_CHIP, "double_all" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const names[] = { cases[i].name, cases[i].name, "absent", cases[i].name,
			                      cases[i].name };

		for (uint64_t turn = 0; turn < 5; turn++) {
			struct exec_callable own = { .key = 60 + i + ((turn % 2) << 32),
				                     .kind = cases[i].kind,
				                     .module = &fixture->module };
			struct job *job = make_job(fixture, cases[i].kind, cases[i].name);

			(void)snprintf(own.name, sizeof(own.name), "%s", names[turn]);
			job->task.callable = &own;
			start(cases[i].child, job);
			assert_int_equal(await_end(job),
			                 turn == 2 ? SIMPLER_ENOTFOUND : SIMPLER_OK);
		}
	}
}

/* --- chips --- */

static void a_chip_runs_kernels_over_blocks(void **state)
{
	struct fixture *fixture = *state;
	struct job *jobs[4];

	for (int i = 0; i < 4; i++) {
		jobs[i] = make_job(fixture, SIMPLER_KIND_CHIP, "double_all");
		for (int cell = 0; cell < CELLS; cell++)
			atomic_store(&jobs[i]->cells[cell], 10 * i + cell);
		start(fixture->chip, jobs[i]);
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(await_end(jobs[i]), SIMPLER_OK);
		for (int cell = 0; cell < CELLS; cell++)
			assert_int_equal(atomic_load(&jobs[i]->cells[cell]), 2 * (10 * i + cell));
	}
}

static void a_chip_whose_kernel_crashes_is_opened_anew(void **state)
{
	struct fixture *fixture = *state;
	struct job *crash = make_job(fixture, SIMPLER_KIND_CHIP, "crash_on_chip");
	struct job *next = make_job(fixture, SIMPLER_KIND_CHIP, "double_all");

	start(fixture->chip, crash);
	start(fixture->chip, next);
	assert_int_equal(await_end(crash), SIMPLER_ECRASHED);
	assert_says(crash, "signal 11");
	assert_int_equal(await_end(next), SIMPLER_OK);
}

static void a_chip_that_cannot_be_opened_says_so_to_each_task(void **state)
{
	struct fixture *fixture = *state;
	pid_t before = process_of(fixture, fixture->wrong_chip);

	for (int i = 0; i < 2; i++) {
		struct job *job = make_job(fixture, SIMPLER_KIND_CHIP, "double_all");

		start(fixture->wrong_chip, job);
		assert_int_equal(await_end(job), SIMPLER_ENOTFOUND);
		assert_says(job, "no such");
	}
	assert_int_equal(process_of(fixture, fixture->wrong_chip), before);
}

static void R22_another_kind_of_callable_than_the_childs_does_not_run(void **state)
{
	struct fixture *fixture = *state;
	struct job *job = start_sub(fixture, fixture->chip, "count"), *kernel;

	assert_int_equal(await_end(job), SIMPLER_EKIND);
	assert_says(job, "a chip runs only a chip");
	assert_says(job, "'count' was installed as sub task");
	kernel = make_job(fixture, SIMPLER_KIND_CHIP, "double_all");
	start(fixture->subs[0], kernel);
	assert_int_equal(await_end(kernel), SIMPLER_EKIND);
	assert_says(kernel, "'double_all' was installed as chip");
}

/* --- a next-level worker --- */

/* What the fake does with a task. */
enum { FINISH, HOLD, CRASH, TELL_TREE, MAKE_CHILD };

static struct job *start_fake(struct fixture *fixture, uint64_t what)
{
	struct job *job = make_job(fixture, SIMPLER_KIND_ORCH, "orchestrate");

	job->scalars[0] = what;
	start(fixture->worker, job);
	return job;
}

static void a_next_level_worker_gets_its_tree_and_segments(void **state)
{
	struct fixture *fixture = *state;
	struct job *job = start_fake(fixture, TELL_TREE);

	assert_int_equal(await_end(job), SIMPLER_OK);
	assert_int_equal(atomic_load(&job->cells[GO]), 4711);
}

static void a_next_level_worker_has_many_tasks_at_once_and_stops_one(void **state)
{
	struct fixture *fixture = *state;
	struct exec_child *child = fixture->worker;
	struct job *jobs[MAILBOX_SLOTS];

	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++)
		jobs[i] = start_fake(fixture, HOLD);
	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++)
		await_beginning(jobs[i]);
	child->ops->stop(child, jobs[5]->task.id, CLOCK_NEVER);
	assert_int_equal(await_end(jobs[5]), SIMPLER_OK);
	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++) {
		if (i == 5)
			continue;
		assert_false(has_ended(jobs[i]));
		child->ops->stop(child, jobs[i]->task.id, CLOCK_NEVER);
		assert_int_equal(await_end(jobs[i]), SIMPLER_OK);
	}
}

static void a_crash_of_a_next_level_worker_fails_all_that_ran_in_it(void **state)
{
	struct fixture *fixture = *state;
	struct job *held[3], *crash;

	for (int i = 0; i < 3; i++) {
		held[i] = start_fake(fixture, HOLD);
		await_beginning(held[i]);
	}
	crash = start_fake(fixture, CRASH);
	assert_int_equal(await_end(crash), SIMPLER_ECRASHED);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(await_end(held[i]), SIMPLER_ECRASHED);
		assert_says(held[i], "signal 11");
	}
	assert_int_equal(await_end(start_fake(fixture, FINISH)), SIMPLER_OK);
}

/* Its spawn helper, and a sub worker below that. */
static void a_killed_next_level_worker_takes_all_below_it_along(void **state)
{
	struct fixture *fixture = *state;
	struct job *maker = start_fake(fixture, MAKE_CHILD);
	struct job *held = start_fake(fixture, HOLD);
	int pidfds[2];

	assert_int_equal(await_end(maker), SIMPLER_OK);
	await_beginning(held);
	assert_int_equal(process_open((pid_t)atomic_load(&maker->cells[PID]), &pidfds[0]),
	                 SIMPLER_OK);
	assert_int_equal(process_open((pid_t)atomic_load(&maker->cells[GO]), &pidfds[1]),
	                 SIMPLER_OK);
	assert_int_equal(kill(process_of(fixture, fixture->worker), SIGKILL), 0);
	assert_int_equal(await_end(held), SIMPLER_ECRASHED);
	assert_says(held, "signal 9");
	for (int i = 0; i < 2; i++) {
		/* Before its tasks fail: nothing below writes to their tensors any more. */
		assert_true(descriptor_wait_readable(pidfds[i], 0));
		(void)close(pidfds[i]);
	}
}

/* --- the fake --- */

struct fake {
	const struct worker_process *self;
	struct record_task task;
	struct {
		bool held;
		uint32_t generation;
	} slots[MAILBOX_SLOTS];
};

static void fake_finish(struct fake *fake, uint32_t slot, uint32_t generation)
{
	const struct record_outcome outcome = { .token = 0 };

	mailbox_finish(&fake->self->area->box, slot, generation, &outcome);
	worker_process_tell(fake->self);
}

/* Start a helper with a sub worker, from a thread as a real one does. */
static void *fake_make_child(void *argument)
{
	_Atomic int64_t *cells = argument;
	static struct spawn_helper helper;
	const struct spawn_order order = { .role = SPAWN_SUB };
	struct spawn_segment segment = { .bytes = sizeof(struct control_segment) +
		                                  sizeof(struct worker_area) };
	struct spawned spawned;
	char program[4096];

	if (process_executable(program, sizeof(program)) == SIMPLER_OK &&
	    memory_create("below", segment.bytes, &segment.fd) == SIMPLER_OK &&
	    spawn_helper_start(program, &segment, 1, &helper) == SIMPLER_OK &&
	    spawn_worker(&helper, &order, &spawned) == SIMPLER_OK) {
		atomic_store(&cells[PID], helper.pid);
		atomic_store(&cells[GO], spawned.pid);
	}
	return NULL;
}

static void fake_run(struct fake *fake, uint32_t slot, uint32_t generation)
{
	const struct worker_process *self = fake->self;
	const struct record_task *task = &fake->task;
	_Atomic int64_t *cells;
	pthread_t thread;

	if (mailbox_read(&self->area->box, slot, &fake->task) != SIMPLER_OK)
		_exit(EXIT_FAILURE);
	cells = (_Atomic int64_t *)(void *)(self->segments[0].base + task->tensors[0].offset);
	switch (task->scalars[0]) {
	case HOLD:
		fake->slots[slot].held = true;
		fake->slots[slot].generation = generation;
		atomic_fetch_add(&cells[BEGAN], 1);
		return;
	case CRASH:
		(void)raise(SIGSEGV);
		return;
	case TELL_TREE:
		if (self->segment_count == 1 && descriptor_wait_readable(self->segment_fds[0], 0))
			atomic_store(&cells[GO], (int64_t)self->tree->nodes[0].heap_bytes);
		break;
	case MAKE_CHILD:
		if (pthread_create(&thread, NULL, fake_make_child, (void *)cells) == 0)
			(void)pthread_join(thread, NULL);
		break;
	default:
		break;
	}
	fake_finish(fake, slot, generation);
}

static int fake_main(const struct worker_process *self)
{
	static struct fake fake;
	struct mailbox *box = &self->area->box;
	struct spin_budget spin = { 0 };
	pid_t helper = getppid();
	uint32_t next = 0;

	fake.self = self;
	crash_watch(&self->area->crash, NULL);
	while (getppid() == helper) {
		uint32_t ticket = mailbox_ticket(box), slot, generation;

		while (mailbox_take(box, &next, &slot, &generation))
			fake_run(&fake, slot, generation);
		for (uint32_t i = 0; i < MAILBOX_SLOTS; i++) {
			if (fake.slots[i].held && mailbox_is_stopped(box, i)) {
				fake.slots[i].held = false;
				fake_finish(&fake, i, fake.slots[i].generation);
			}
		}
		(void)mailbox_wait(box, ticket, &spin, CLOCK_NEVER);
	}
	return EXIT_SUCCESS;
}

/* --- */

int main(int argc, char **argv)
{
	static const struct spawn_roles roles = { worker_process_main, chip_process_main,
		                                  fake_main };
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(children_are_numbered_by_their_kind),
		CASE(full_mailboxes_run_task_after_task_once_each),
		CASE(callables_that_do_not_fit_the_socket_wait_their_turn),
		CASE(what_has_not_begun_can_be_taken_back),
		CASE(a_task_that_is_stopped_sees_it),
		CASE(a_task_that_is_stopped_before_it_began_ends_at_once),
		CASE(what_goes_on_all_the_same_is_killed_and_what_is_behind_it_runs_once),
		CASE(a_crash_fails_what_ran_and_not_what_waited),
		CASE(a_crash_is_explained),
		CASE(an_exit_is_told_from_a_crash),
		CASE(a_task_waits_for_a_process_and_can_be_had_meanwhile),
		CASE(a_sub_task_that_overwrites_its_mailbox_hurts_no_other),
		CASE(a_sub_task_that_takes_all_descriptors_away_blocks_no_other),
		CASE(a_sub_task_that_forks_and_returns_twice_is_done_once),
		CASE(without_the_helper_every_task_fails),
		CASE(a_process_keeps_one_callable_in_each_place),
		CASE(a_helper_that_was_stopped_tells_of_a_death_when_it_goes_on),
		CASE(a_helper_that_stays_stopped_is_lost_when_a_process_dies),
		CASE(a_chip_runs_kernels_over_blocks),
		CASE(a_chip_whose_kernel_crashes_is_opened_anew),
		CASE(a_chip_that_cannot_be_opened_says_so_to_each_task),
		CASE(R22_another_kind_of_callable_than_the_childs_does_not_run),
		CASE(a_next_level_worker_gets_its_tree_and_segments),
		CASE(a_next_level_worker_has_many_tasks_at_once_and_stops_one),
		CASE(a_crash_of_a_next_level_worker_fails_all_that_ran_in_it),
		CASE(a_killed_next_level_worker_takes_all_below_it_along),
	};

	if (argc > 1 && strcmp(argv[1], "spawn") == 0)
		return spawn_helper_main(&roles);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
