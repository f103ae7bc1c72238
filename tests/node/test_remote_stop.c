/* A remote child whose tasks are stopped, before they begin, while they run, and at any moment; and
 * one whose dispatch is overtaken by one that was sent before it. */
#include "child_rig.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define STAGED_BYTES ((size_t)5 << 18) /* two chunks each way */

static int start(void **state)
{
	/* The engine here knows no memory but the node's own. */
	static const char *const options[] = { "--pool-bytes", "512M", "--shm", "off", NULL };
	struct child_rig *rig = malloc(sizeof(*rig));

	assert_non_null(rig);
	assert_int_equal(child_rig_start(rig, options, SIMPLER_LANE_UNARY), SIMPLER_OK);
	*state = rig;
	return 0;
}

static int stop(void **state)
{
	child_rig_stop(*state);
	free(*state);
	return 0;
}

/* A job with one tensor. */
struct staged_job {
	struct job job;
	int64_t shape[1];
	struct exec_tensor tensor;
};

static void job_stage(struct staged_job *staged, void *bytes)
{
	staged->shape[0] = STAGED_BYTES / sizeof(int64_t);
	staged->tensor = (struct exec_tensor){ .data = bytes,
		                               .nbytes = STAGED_BYTES,
		                               .segment = EXEC_NO_SEGMENT,
		                               .dtype = SIMPLER_INT64,
		                               .tag = SIMPLER_INOUT,
		                               .backing = SIMPLER_STAGED,
		                               .ndim = 1,
		                               .shape = staged->shape };
	staged->job.task.tensors = &staged->tensor;
	staged->job.task.tensor_count = 1;
}

/* What the scheduler does. */
static void job_stop(struct child_rig *rig, struct job *job)
{
	const int64_t at = clock_after_ms(1000);

	atomic_store(&job->task.stop_at, at);
	rig->child->ops->stop(rig->child, job->task.id, at);
}

static void a_stopped_task_ends_at_once_and_the_engine_is_told(void **state)
{
	struct child_rig *rig = *state;
	struct job stopped, other;

	job_init(&stopped, rig, 11, FAKE_HOLD_STOPPABLE);
	job_init(&other, rig, 12, FAKE_HOLD_STOPPABLE);
	job_start(&stopped, rig);
	job_start(&other, rig);
	wait_held(rig->front_end, 2);
	assert_null(rig->child->ops->retract(rig->child, 0));
	rig->child->ops->stop(rig->child, 99, clock_now()); /* which it does not have */
	job_stop(rig, &stopped);
	assert_int_equal(job_wait(&stopped), SIMPLER_ECANCELLED);
	wait_held(rig->front_end, 1);
	assert_int_equal(ask_stops(rig->front_end).last, 11);
	assert_int_equal(other.ends, 0);
	job_stop(rig, &other);
	job_stop(rig, &other); /* twice is once */
	assert_int_equal(job_wait(&other), SIMPLER_ECANCELLED);
	wait_held(rig->front_end, 0);
	assert_int_equal(ask_stops(rig->front_end).stops, 2);
}

static void a_task_stopped_before_it_is_started_does_not_reach_the_node(void **state)
{
	struct child_rig *rig = *state;
	struct job job;

	job_init(&job, rig, 21, FAKE_HOLD_STOPPABLE);
	job_stop(rig, &job);
	job_start(&job, rig);
	assert_int_equal(job_wait(&job), SIMPLER_ECANCELLED);
	wait_taken(rig->front_end);
	assert_int_equal(ask_engine(rig->front_end).held, 0);
	assert_int_equal(ask_stops(rig->front_end).stops, 0);
}

static void the_deadline_of_a_task_ends_it_on_the_node(void **state)
{
	struct child_rig *rig = *state;
	struct job job;

	job_init(&job, rig, 31, FAKE_HOLD_STOPPABLE);
	job.task.deadline = clock_after_ms(500);
	job_start(&job, rig);
	assert_int_equal(job_wait(&job), SIMPLER_EDEADLINE);
	wait_held(rig->front_end, 0);
}

struct stopper {
	struct child_rig *rig;
	struct job *job;
	long delay_ns;
};

static void *stop_later(void *context)
{
	const struct stopper *stopper = context;
	const struct timespec delay = { 0, stopper->delay_ns };

	(void)nanosleep(&delay, NULL);
	job_stop(stopper->rig, stopper->job);
	return NULL;
}

/* Until tensors of the node take no more than one of ours, which is left to the next task. What was
 * freed without waiting for the answer is soon free. */
static void wait_empty(struct front_end *front_end)
{
	const int64_t deadline = clock_after_ms(10000);
	uint64_t used;

	do {
		struct msg_status status;
		struct bump bump;

		ask_status(front_end, &bump, &status);
		used = status.pool.used;
		bump_release(&bump);
	} while (used > STAGED_BYTES && clock_now() < deadline);
	assert_in_range(used, 0, STAGED_BYTES);
}

static void a_task_stopped_at_any_moment_ends_once_and_leaves_no_storage(void **state)
{
	struct child_rig *rig = *state;
	int64_t *bytes = calloc(1, STAGED_BYTES);
	unsigned cancelled = 0;
	struct staged_job last;

	assert_non_null(bytes);
	for (unsigned i = 0; i < 400; i++) {
		struct staged_job staged;
		struct stopper stopper = { rig, &staged.job, 30000L * i };
		simpler_status status;
		pthread_t thread;

		job_init(&staged.job, rig, 1000 + i, FAKE_ANSWER);
		job_stage(&staged, bytes);
		assert_int_equal(pthread_create(&thread, NULL, stop_later, &stopper), 0);
		job_start(&staged.job, rig);
		status = job_wait(&staged.job);
		pthread_join(thread, NULL);
		assert_true(status == SIMPLER_OK || status == SIMPLER_ECANCELLED);
		cancelled += status == SIMPLER_ECANCELLED;
	}
	assert_true(cancelled > 0);
	memset(bytes, 0, STAGED_BYTES);
	job_init(&last.job, rig, 2000, FAKE_ANSWER);
	job_stage(&last, bytes);
	job_start(&last.job, rig);
	assert_int_equal(job_wait(&last.job), SIMPLER_OK);
	assert_int_equal(bytes[STAGED_BYTES / sizeof(*bytes) - 1], 1);
	wait_empty(rig->front_end);
	free(bytes);
}

/* As it comes on a connection that broke, when the node reads that one last. */
static void a_dispatch_whose_place_an_older_one_takes_is_sent_again(void **state)
{
	struct child_rig *rig = *state;
	struct front_end *front_end = rig->front_end;
	struct msg_dispatch older = make_dispatch(&front_end->orch, 41, FAKE_HOLD, 41);
	struct rpc_channel *channel;
	struct rpc_buffer buffer;
	struct outcome outcome;
	struct job job;

	job_init(&job, rig, 41, FAKE_HOLD);
	job_start(&job, rig);
	wait_held(front_end, 1);
	assert_int_equal(rpc_channel_open(front_end->client, front_end->daemon.address, &channel),
	                 SIMPLER_OK);
	rpc_channel_set_session(channel, node_session_id(rig->session));
	outcome_init(&outcome);
	assert_int_equal(msg_dispatch_encode(&older, &buffer), SIMPLER_OK);
	rpc_unary(channel, MSG_DISPATCH, CLOCK_NEVER, false, &buffer, outcome_done, &outcome);
	/* By the child's, which comes again. */
	outcome_wait(&outcome, &outcome.ended, 1);
	expect(&outcome, RPC_ABORTED, "came again");
	outcome_destroy(&outcome);
	rpc_channel_close(channel);
	assert_int_equal(ask_engine(front_end).held, 1);
	assert_int_equal(kill(ask_engine(front_end).pid, SIGUSR1), 0);
	assert_int_equal(job_wait(&job), SIMPLER_OK);
}

int main(void)
{
#define WITH_A_CHILD(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		WITH_A_CHILD(a_stopped_task_ends_at_once_and_the_engine_is_told),
		WITH_A_CHILD(a_task_stopped_before_it_is_started_does_not_reach_the_node),
		WITH_A_CHILD(the_deadline_of_a_task_ends_it_on_the_node),
		WITH_A_CHILD(a_task_stopped_at_any_moment_ends_once_and_leaves_no_storage),
		WITH_A_CHILD(a_dispatch_whose_place_an_older_one_takes_is_sent_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
