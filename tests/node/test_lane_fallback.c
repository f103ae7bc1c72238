/* Which lane a node's dispatches go by: the one that was named or the best, calls while that is
 * lost, and it again afterwards. */
#include "session_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "exec/node_session.h"
#include "exec/remote.h"

struct rig {
	struct front_end *front_end;
	struct node_session *session;
	struct exec_child *child;
	struct exec_callable callable;
	struct record_config config;
};

static const struct node_heartbeat heartbeat = { 200, 10000, 3 };

/* Returns what connecting says. */
static simpler_status start(struct rig *rig, const char *const *options, simpler_lane lane)
{
	memset(rig, 0, sizeof(*rig));
	rig->front_end = front_end_start(options);
	assert_int_equal(node_session_create(60000, &heartbeat, &rig->session), SIMPLER_OK);
	assert_int_equal(
		remote_create(&(struct remote_options){ .client = rig->front_end->client,
	                                                .session = rig->session,
	                                                .address = rig->front_end->daemon.address,
	                                                .capacity = 64,
	                                                .lane = lane },
	                      &rig->child),
		SIMPLER_OK);
	rig->callable.kind = SIMPLER_KIND_ORCH;
	rig->callable.digest = rig->front_end->orch.digest;
	return remote_connect(rig->child, clock_after_ms(20000));
}

static void close_child(struct rig *rig)
{
	node_session_stop(rig->session);
	rig->child->ops->close(rig->child);
	node_session_release(rig->session);
	rig->child->ops->release(rig->child);
	rig->child = NULL;
}

static void stop(struct rig *rig)
{
	if (rig->child)
		close_child(rig);
	front_end_stop(rig->front_end);
}

static struct remote_traffic traffic_of(struct rig *rig)
{
	struct remote_traffic traffic;

	remote_count(rig->child, &traffic);
	return traffic;
}

static void wait_lane(struct rig *rig, simpler_lane lane)
{
	while (traffic_of(rig).lane != lane)
		;
}

static uint32_t lanes_open(struct rig *rig)
{
	struct msg_status status;
	uint32_t open = 0;
	struct bump bump;

	ask_status(rig->front_end, &bump, &status);
	for (uint32_t i = 0; i < status.lane_count; i++)
		open += status.lanes[i].open;
	bump_release(&bump);
	return open;
}

/* --- tasks --- */

struct job {
	struct exec_task task; /* first */
	pthread_mutex_t lock;  /* guards: */
	pthread_cond_t changed;
	unsigned ends;
	simpler_status status;
	uint64_t scalars[2];
};

static void job_done(struct exec_task *task, const struct error *error)
{
	struct job *job = (struct job *)task;

	pthread_mutex_lock(&job->lock);
	job->ends++;
	job->status = error ? error->status : SIMPLER_OK;
	if (error)
		print_message("%s\n", error_step(error, 0));
	pthread_cond_broadcast(&job->changed);
	pthread_mutex_unlock(&job->lock);
}

static void job_start(struct job *job, struct rig *rig, uint64_t id, enum fake_command command)
{
	memset(job, 0, sizeof(*job));
	pthread_mutex_init(&job->lock, NULL);
	pthread_cond_init(&job->changed, NULL);
	job->scalars[0] = command;
	job->scalars[1] = id;
	job->task.callable = &rig->callable;
	job->task.id = id;
	job->task.config = &rig->config;
	job->task.scalars = job->scalars;
	job->task.scalar_count = 2;
	job->task.deadline = CLOCK_NEVER;
	job->task.done = job_done;
	rig->child->ops->start(rig->child, &job->task);
}

static simpler_status job_wait(struct job *job)
{
	pthread_mutex_lock(&job->lock);
	while (job->ends == 0)
		pthread_cond_wait(&job->changed, &job->lock);
	assert_int_equal(job->ends, 1);
	pthread_mutex_unlock(&job->lock);
	return job->status;
}

static void run_some(struct rig *rig, uint64_t from)
{
	struct job jobs[8];

	for (uint64_t i = 0; i < 8; i++)
		job_start(&jobs[i], rig, from + i, FAKE_ANSWER);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(job_wait(&jobs[i]), SIMPLER_OK);
}

/* --- choosing --- */

static void auto_is_the_best_that_there_is(void **state)
{
	static const char *const stream[] = { "--lane", "stream", NULL };
	static const char *const unary[] = { "--lane", "unary", NULL };
	struct rig rig;

	(void)state;
	assert_int_equal(start(&rig, stream, SIMPLER_LANE_AUTO), SIMPLER_OK);
	assert_int_equal(traffic_of(&rig).lane, SIMPLER_LANE_STREAM);
	run_some(&rig, 1);
	assert_int_equal(traffic_of(&rig).lane_dispatches, 8);
	assert_int_equal(traffic_of(&rig).dispatches, 8);
	stop(&rig);
	assert_int_equal(start(&rig, unary, SIMPLER_LANE_AUTO), SIMPLER_OK);
	assert_int_equal(traffic_of(&rig).lane, SIMPLER_LANE_UNARY);
	run_some(&rig, 1);
	assert_int_equal(traffic_of(&rig).lane_dispatches, 0);
	assert_int_equal(traffic_of(&rig).dispatches, 8);
	stop(&rig);
}

static void a_lane_is_had_by_its_name_or_not_at_all(void **state)
{
	static const char *const unary[] = { "--lane", "unary", NULL };
	struct rig rig;

	(void)state;
	assert_int_equal(start(&rig, NULL, SIMPLER_LANE_STREAM), SIMPLER_OK);
	assert_int_equal(traffic_of(&rig).lane, SIMPLER_LANE_STREAM);
	stop(&rig);
	assert_int_equal(start(&rig, NULL, SIMPLER_LANE_UNARY), SIMPLER_OK);
	assert_int_equal(traffic_of(&rig).lane, SIMPLER_LANE_UNARY);
	assert_int_equal(lanes_open(&rig), 0);
	stop(&rig);
	assert_int_equal(start(&rig, unary, SIMPLER_LANE_STREAM), SIMPLER_EUNAVAILABLE);
	assert_non_null(strstr(simpler_last_error(), "the lane 'stream' was named"));
	assert_non_null(strstr(simpler_last_error(), "does not offer it"));
	stop(&rig);
}

static void a_child_that_is_closed_closes_its_lane(void **state)
{
	struct rig rig;

	(void)state;
	assert_int_equal(start(&rig, NULL, SIMPLER_LANE_STREAM), SIMPLER_OK);
	run_some(&rig, 1);
	assert_int_equal(lanes_open(&rig), 1);
	close_child(&rig);
	while (lanes_open(&rig) > 0)
		;
	stop(&rig);
}

/* --- losing it --- */

/* Takes the place of the child's lane, until that is opened again. */
struct intruder {
	struct rpc_channel *channel;
	struct outcome outcome;
};

static void intrude(struct rig *rig, struct intruder *intruder)
{
	intruder->channel = session_connect(rig->front_end, node_session_id(rig->session));
	outcome_init(&intruder->outcome);
	(void)stream_open(intruder->channel, MSG_LANE, CLOCK_NEVER, &outcome_handlers,
	                  &intruder->outcome);
}

static void expect_displaced(struct intruder *intruder)
{
	outcome_wait(&intruder->outcome, &intruder->outcome.ended, 1);
	expect(&intruder->outcome, RPC_ABORTED, "another lane");
	outcome_destroy(&intruder->outcome);
	rpc_channel_close(intruder->channel);
}

/* While standard error goes to `file`. */
static void lose_it_twice(struct rig *rig)
{
	for (uint64_t turn = 1; turn <= 2; turn++) {
		struct intruder intruder;
		struct job held;

		job_start(&held, rig, turn * 100, FAKE_HOLD);
		wait_held(rig->front_end, 1);
		intrude(rig, &intruder);
		while (traffic_of(rig).lane_losses < turn)
			;
		/* By calls, what was in flight among them, and it still runs once. */
		run_some(rig, turn * 100 + 1);
		assert_int_equal(ask_engine(rig->front_end).held, 1);
		expect_displaced(&intruder);
		wait_lane(rig, SIMPLER_LANE_STREAM);
		run_some(rig, turn * 100 + 20);
		release_held(rig->front_end);
		assert_int_equal(job_wait(&held), SIMPLER_OK);
	}
}

static unsigned count_lines(FILE *file, const char *text)
{
	unsigned count = 0;
	char line[1024];

	rewind(file);
	while (fgets(line, sizeof(line), file))
		count += strstr(line, text) != NULL;
	return count;
}

static void a_lane_that_is_lost_comes_back_and_is_told_once(void **state)
{
	FILE *log = tmpfile();
	int saved = dup(STDERR_FILENO);
	struct remote_traffic traffic;
	struct rig rig;

	(void)state;
	assert_non_null(log);
	assert_int_equal(start(&rig, NULL, SIMPLER_LANE_STREAM), SIMPLER_OK);
	assert_true(dup2(fileno(log), STDERR_FILENO) >= 0);
	lose_it_twice(&rig);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	assert_int_equal(count_lines(log, "the lane 'stream' to"), 1);
	(void)fclose(log);
	traffic = traffic_of(&rig);
	assert_int_equal(traffic.lane_losses, 2);
	/* Each held one was sent twice. */
	assert_int_equal(traffic.dispatches, 2 * (1 + 8 + 8) + 2);
	assert_in_range(traffic.lane_dispatches, 2 * (1 + 8), traffic.dispatches - 2);
	stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(auto_is_the_best_that_there_is),
		cmocka_unit_test(a_lane_is_had_by_its_name_or_not_at_all),
		cmocka_unit_test(a_child_that_is_closed_closes_its_lane),
		cmocka_unit_test(a_lane_that_is_lost_comes_back_and_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
