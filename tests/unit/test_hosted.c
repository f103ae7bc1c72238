/*
 * A worker that serves another process, in this one: records in, outcomes back, and tasks that are
 * stopped at each moment of their lives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/memory.h"
#include "test_modules.h"
#include "worker/hosted.h"

#define MEMORY_BYTES ((uint64_t)1 << 16)
#define PATIENT_MS   60000

/* Callables, by their keys here. */
enum { NONE, ADD, OBEY, FAIL, INCREMENT, FETCHED, MISSING };

/* There is one in a process. */
static struct hosted *hosted;
static _Atomic int64_t *cells;
static _Atomic int fetches;

/* --- set-up --- */

static int open_module(void)
{
	static uint8_t bytes[1 << 20];
	FILE *file = fopen(TEST_MODULES_DIR "/tree_cases.so", "rb");
	size_t size;
	int fd;

	assert_non_null(file);
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	assert_int_equal(memory_create_image("module", size, &fd), SIMPLER_OK);
	assert_int_equal(memory_write(fd, 0, bytes, size), SIMPLER_OK);
	assert_int_equal(memory_seal(fd), SIMPLER_OK);
	return fd;
}

static simpler_status install(uint64_t key, const char *name, simpler_kind kind)
{
	static bool has_module;
	struct record_install record = { .callable = key, .kind = (uint8_t)kind };
	int fd = -1;

	memcpy(record.name, name, strlen(name) + 1);
	memset(record.module_digest, 1, sizeof(record.module_digest));
	record.has_module = !has_module;
	if (!has_module)
		fd = open_module();
	has_module = true;
	return hosted_install(hosted, &record, fd);
}

static simpler_status fetch(void *context, uint64_t callable)
{
	(void)context;
	atomic_fetch_add(&fetches, 1);
	if (callable == FETCHED)
		return install(FETCHED, "add", SIMPLER_KIND_ORCH);
	return error_raise(SIMPLER_ENOTFOUND, "it cannot be fetched");
}

/* Memory that came after the children were forked; or none, when its bytes are 0. */
static struct record_segment coming;
static int coming_fd;

static void catch_up(void *context)
{
	int fd = coming.bytes > 0 ? dup(coming_fd) : -1;

	(void)context;
	if (coming.id != 0)
		assert_int_equal(hosted_take_segment(hosted, &coming, fd), SIMPLER_OK);
	coming.id = 0;
}

static void on_lost(void *context)
{
	(void)context;
	fail_msg("the spawn helper died");
}

static int set_up(void **state)
{
	static const struct tree tree = { .count = 2,
		                          .nodes = { { .level = 4,
		                                       .sub_workers = 1,
		                                       .first_child = 1,
		                                       .child_count = 1,
		                                       .heap_bytes = 1 << 20,
		                                       .max_tasks = 64,
		                                       .grace_ms = 5000 },
		                                     { .level = 3,
		                                       .sub_workers = 1,
		                                       .heap_bytes = 1 << 20,
		                                       .max_tasks = 64,
		                                       .grace_ms = 5000 } } };
	struct hosted_options options = { .tree = &tree,
		                          .host_program = getenv("SIMPLER_HOST"),
		                          .above_count = 1,
		                          .fetch = fetch,
		                          .catch_up = catch_up,
		                          .lost = on_lost };
	void *base;

	(void)state;
	assert_int_equal(memory_create("above", MEMORY_BYTES, &options.above_fds[0]), SIMPLER_OK);
	assert_int_equal(memory_map(options.above_fds[0], MEMORY_BYTES, &base), SIMPLER_OK);
	options.above[0] = (struct memory_segment){ 1, base, MEMORY_BYTES };
	cells = base;
	assert_int_equal(hosted_create(&options, &hosted), SIMPLER_OK);
	assert_int_equal(install(ADD, "add", SIMPLER_KIND_ORCH), SIMPLER_OK);
	assert_int_equal(install(OBEY, "obey_here", SIMPLER_KIND_ORCH), SIMPLER_OK);
	assert_int_equal(install(FAIL, "fail_here", SIMPLER_KIND_ORCH), SIMPLER_OK);
	assert_int_equal(install(INCREMENT, "increment", SIMPLER_KIND_SUB), SIMPLER_OK);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hosted_stop_children(hosted);
	return 0;
}

static int clear(void **state)
{
	(void)state;
	for (size_t i = 0; i < 16; i++)
		atomic_store(&cells[i], 0);
	atomic_store(&fetches, 0);
	return 0;
}

/* --- tasks --- */

static struct record_task make_task(uint64_t token, uint64_t callable)
{
	struct record_task task = { .token = token,
		                    .callable = callable,
		                    .config = { .block_dim = 1, .aicpu_thread_num = 1 },
		                    .tensor_count = 1,
		                    .scalar_count = 2,
		                    .scalars = { 0, 1 } };

	task.tensors[0] = (struct record_tensor){ .segment = 1,
		                                  .dtype = SIMPLER_INT64,
		                                  .tag = SIMPLER_INOUT,
		                                  .ndim = 1,
		                                  .nbytes = 128,
		                                  .shape = { 16 } };
	return task;
}

/* One in a thread of its own. */
struct job {
	pthread_t thread;
	struct hosted_task task;
	struct record_task record;
	struct record_outcome outcome;
};

static void *job_main(void *argument)
{
	struct job *job = argument;

	hosted_run(hosted, &job->task, &job->record, &job->outcome);
	return NULL;
}

static void expect_job(struct job *job, uint64_t token, uint64_t callable)
{
	job->record = make_task(token, callable);
	hosted_expect(hosted, &job->task, token);
}

static simpler_status run_job(struct job *job)
{
	job_main(job);
	assert_int_equal(job->outcome.token, job->record.token);
	return job->outcome.error.status;
}

static void wait_for(const _Atomic int64_t *cell)
{
	const struct timespec moment = { 0, 1000000 };
	int64_t give_up = clock_after_ms(PATIENT_MS);

	while (atomic_load(cell) == 0) {
		assert_true(clock_now() < give_up);
		(void)nanosleep(&moment, NULL);
	}
}

/* --- tests --- */

static const struct {
	const char *name;
	uint64_t callable;
	simpler_status status;
	const char *says;
	int fetches;
} answers[] = {
	{ "one that is installed", ADD, SIMPLER_OK, NULL, 0 },
	{ "its failure", FAIL, (simpler_status)1042, "row 3 of A is singular", 0 },
	{ "another kind", INCREMENT, SIMPLER_EKIND,
	  "'increment' is a sub task, and a worker runs orchestration functions", 0 },
	{ "one that is fetched", FETCHED, SIMPLER_OK, NULL, 1 },
	{ "the same again", FETCHED, SIMPLER_OK, NULL, 0 },
	{ "one that cannot be fetched", MISSING, SIMPLER_ENOTFOUND, "it cannot be fetched", 1 },
};

static void a_task_is_answered_with_what_came_of_it(void **state)
{
	struct job *job = calloc(1, sizeof(*job));

	assert_non_null(job);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		print_message("%s\n", answers[i].name);
		clear(state);
		expect_job(job, 100 + i, answers[i].callable);
		assert_int_equal(run_job(job), answers[i].status);
		assert_int_equal(atomic_load(&cells[0]), answers[i].status == SIMPLER_OK);
		assert_int_equal(atomic_load(&fetches), answers[i].fetches);
		if (answers[i].says)
			assert_non_null(
				strstr(error_step(&job->outcome.error, 0), answers[i].says));
	}
	free(job);
}

static void a_tensor_elsewhere_is_refused(void **state)
{
	struct job *job = calloc(1, sizeof(*job));

	(void)state;
	assert_non_null(job);
	/* Segment 2 is the worker's own heap, in which no caller has anything. */
	expect_job(job, 1, ADD);
	job->record.tensors[0].segment = 2;
	assert_int_equal(run_job(job), SIMPLER_EPROTOCOL);
	free(job);
}

/* By a sub worker `below` workers further down. */
static void run_add_in(uint32_t segment, uint64_t below, simpler_status status)
{
	struct job *job = calloc(1, sizeof(*job));

	assert_non_null(job);
	expect_job(job, 1, ADD);
	job->record.tensors[0].segment = segment;
	job->record.scalars[0] = below;
	assert_int_equal(run_job(job), status);
	free(job);
}

/* All processes were forked before there was any of it. */
static void tasks_work_on_memory_that_came_later_until_it_ends(void **state)
{
	enum { LATER = RECORD_FIRST_SEGMENT };
	_Atomic int64_t *there;
	void *base;

	(void)state;
	assert_int_equal(memory_create("later", MEMORY_BYTES, &coming_fd), SIMPLER_OK);
	assert_int_equal(memory_map(coming_fd, MEMORY_BYTES, &base), SIMPLER_OK);
	there = base;
	for (uint32_t i = 0; i < 3; i++) {
		coming = (struct record_segment){ LATER + i, MEMORY_BYTES };
		/* It is not here before it is asked for. */
		run_add_in(LATER + i, i % 2, SIMPLER_OK);
		run_add_in(LATER + i, 1, SIMPLER_OK);
		run_add_in(LATER + i, 0, SIMPLER_OK);
		assert_int_equal(atomic_load(&there[0]), 3 * i + 3);
		run_add_in(1, i % 2, SIMPLER_OK);
	}
	assert_int_equal(atomic_load(&cells[0]), 3);
	coming = (struct record_segment){ .id = LATER + 1 };
	catch_up(NULL);
	run_add_in(LATER + 1, 0, SIMPLER_EPROTOCOL);
	for (uint64_t below = 0; below < 2; below++) {
		run_add_in(LATER + 2, below, SIMPLER_OK);
		run_add_in(LATER, below, SIMPLER_OK);
	}
	assert_int_equal(atomic_load(&there[0]), 13);
	(void)close(coming_fd);
}

static void a_task_that_is_stopped_before_it_begins_never_does(void **state)
{
	struct job *job = calloc(1, sizeof(*job));

	(void)state;
	assert_non_null(job);
	expect_job(job, 7, ADD);
	hosted_stop(hosted, 7);
	assert_int_equal(run_job(job), SIMPLER_ECANCELLED);
	assert_int_equal(atomic_load(&cells[0]), 0);
	free(job);
}

static void a_stop_is_for_the_task_with_its_token_alone(void **state)
{
	struct job *job = calloc(1, sizeof(*job));

	(void)state;
	assert_non_null(job);
	hosted_stop(hosted, 7); /* not here yet */
	expect_job(job, 7, ADD);
	hosted_stop(hosted, 8);
	assert_int_equal(run_job(job), SIMPLER_OK);
	hosted_stop(hosted, 7); /* not here any more */
	expect_job(job, 8, ADD);
	assert_int_equal(run_job(job), SIMPLER_OK);
	assert_int_equal(atomic_load(&cells[0]), 2);
	free(job);
}

static void a_running_task_sees_that_it_is_stopped(void **state)
{
	struct job *jobs = calloc(2, sizeof(*jobs));

	(void)state;
	assert_non_null(jobs);
	expect_job(&jobs[0], 1, OBEY);
	assert_int_equal(pthread_create(&jobs[0].thread, NULL, job_main, &jobs[0]), 0);
	wait_for(&cells[0]);
	/* Another one ends meanwhile, and is not taken for it. */
	expect_job(&jobs[1], 2, FAIL);
	assert_int_equal(run_job(&jobs[1]), 1042);
	hosted_stop(hosted, 2);
	assert_int_equal(atomic_load(&cells[1]), 0);
	hosted_stop(hosted, 1);
	assert_int_equal(pthread_join(jobs[0].thread, NULL), 0);
	assert_int_equal(jobs[0].outcome.error.status, SIMPLER_ECANCELLED);
	assert_int_equal(atomic_load(&cells[1]), 1);
	free(jobs);
}

static void *stop_main(void *argument)
{
	const _Atomic uint64_t *token = argument;
	uint64_t now;

	while ((now = atomic_load(token)) != 0)
		hosted_stop(hosted, now);
	return NULL;
}

/* Stops come at every moment, its end among them; each task is answered, one way or the other. */
static void a_stop_may_come_at_any_moment(void **state)
{
	struct job *job = calloc(1, sizeof(*job));
	_Atomic uint64_t token = 1;
	int64_t done = 0;
	pthread_t stopper;

	(void)state;
	assert_non_null(job);
	assert_int_equal(pthread_create(&stopper, NULL, stop_main, &token), 0);
	for (uint64_t i = 1; i <= 3000; i++) {
		simpler_status status;

		atomic_store(&token, i);
		expect_job(job, i, ADD);
		status = run_job(job);
		assert_true(status == SIMPLER_OK || status == SIMPLER_ECANCELLED);
		done += status == SIMPLER_OK;
	}
	atomic_store(&token, 0);
	assert_int_equal(pthread_join(stopper, NULL), 0);
	/* A sub task that was stopped in time was not run; one that ran may have come too late. */
	assert_true(atomic_load(&cells[0]) >= done);
	free(job);
}

#define CASE(test) cmocka_unit_test_setup(test, clear)

/* Without SIMPLER_HOST this program would be taken for simpler-host, and start itself again. */
int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1 || !getenv("SIMPLER_HOST")) {
		fprintf(stderr, "test_hosted: name simpler-host in SIMPLER_HOST\n");
		return EXIT_FAILURE;
	}
	const struct CMUnitTest tests[] = {
		CASE(a_task_is_answered_with_what_came_of_it),
		CASE(a_tensor_elsewhere_is_refused),
		CASE(tasks_work_on_memory_that_came_later_until_it_ends),
		CASE(a_task_that_is_stopped_before_it_begins_never_does),
		CASE(a_stop_is_for_the_task_with_its_token_alone),
		CASE(a_running_task_sees_that_it_is_stopped),
		CASE(a_stop_may_come_at_any_moment),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
