/* Which lane a node's dispatches go by: the one that was named or the best, calls while that is
 * lost, and it again afterwards. */
#include "child_rig.h"

#include <stdlib.h>

#include "log_lines.h"
#include "session_client.h"

static struct remote_traffic traffic_of(struct child_rig *rig)
{
	struct remote_traffic traffic;

	remote_count(rig->child, &traffic);
	return traffic;
}

static void wait_lane(struct child_rig *rig, simpler_lane lane)
{
	while (traffic_of(rig).lane != lane)
		;
}

static void run_some(struct child_rig *rig, uint64_t from)
{
	struct job jobs[8];

	for (uint64_t i = 0; i < 8; i++) {
		job_init(&jobs[i], rig, from + i, FAKE_ANSWER);
		job_start(&jobs[i], rig);
	}
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(job_wait(&jobs[i]), SIMPLER_OK);
}

/* --- choosing --- */

static void auto_is_the_best_that_there_is(void **state)
{
	static const char *const stream[] = { "--lane", "stream", NULL };
	static const char *const unary[] = { "--lane", "unary", NULL };
	struct child_rig rig;

	(void)state;
	assert_int_equal(child_rig_start(&rig, stream, SIMPLER_LANE_AUTO), SIMPLER_OK);
	assert_int_equal(traffic_of(&rig).lane, SIMPLER_LANE_STREAM);
	run_some(&rig, 1);
	assert_int_equal(traffic_of(&rig).lane_dispatches, 8);
	assert_int_equal(traffic_of(&rig).dispatches, 8);
	child_rig_stop(&rig);
	assert_int_equal(child_rig_start(&rig, unary, SIMPLER_LANE_AUTO), SIMPLER_OK);
	assert_int_equal(traffic_of(&rig).lane, SIMPLER_LANE_UNARY);
	run_some(&rig, 1);
	assert_int_equal(traffic_of(&rig).lane_dispatches, 0);
	assert_int_equal(traffic_of(&rig).dispatches, 8);
	child_rig_stop(&rig);
}

static void a_lane_is_had_by_its_name_or_not_at_all(void **state)
{
	static const char *const unary[] = { "--lane", "unary", NULL };
	struct child_rig rig;

	(void)state;
	assert_int_equal(child_rig_start(&rig, NULL, SIMPLER_LANE_STREAM), SIMPLER_OK);
	assert_int_equal(traffic_of(&rig).lane, SIMPLER_LANE_STREAM);
	child_rig_stop(&rig);
	assert_int_equal(child_rig_start(&rig, NULL, SIMPLER_LANE_UNARY), SIMPLER_OK);
	assert_int_equal(traffic_of(&rig).lane, SIMPLER_LANE_UNARY);
	assert_int_equal(lanes_open(rig.front_end), 0);
	child_rig_stop(&rig);
	assert_int_equal(child_rig_start(&rig, unary, SIMPLER_LANE_STREAM), SIMPLER_EUNAVAILABLE);
	assert_non_null(strstr(simpler_last_error(), "the lane 'stream' was named"));
	assert_non_null(strstr(simpler_last_error(), "does not offer it"));
	child_rig_stop(&rig);
}

static void a_child_that_is_closed_closes_its_lane(void **state)
{
	struct child_rig rig;

	(void)state;
	assert_int_equal(child_rig_start(&rig, NULL, SIMPLER_LANE_STREAM), SIMPLER_OK);
	run_some(&rig, 1);
	assert_int_equal(lanes_open(rig.front_end), 1);
	child_rig_close(&rig);
	while (lanes_open(rig.front_end) > 0)
		;
	child_rig_stop(&rig);
}

/* --- losing it --- */

/* Takes the place of the child's lane, until that is opened again. */
struct intruder {
	struct rpc_channel *channel;
	struct outcome outcome;
};

static void intrude(struct child_rig *rig, struct intruder *intruder)
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

/* While its log is collected. */
static void lose_it_twice(struct child_rig *rig)
{
	for (uint64_t turn = 1; turn <= 2; turn++) {
		struct intruder intruder;
		struct job held;

		job_init(&held, rig, turn * 100, FAKE_HOLD);
		job_start(&held, rig);
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

static void a_lane_that_is_lost_comes_back_and_is_told_once(void **state)
{
	struct remote_traffic traffic;
	struct log_lines log;
	struct child_rig rig;

	(void)state;
	assert_int_equal(child_rig_start(&rig, NULL, SIMPLER_LANE_STREAM), SIMPLER_OK);
	log_lines_begin(&log);
	lose_it_twice(&rig);
	log_lines_end(&log);
	assert_int_equal(log_lines_count(&log, "the lane 'stream' to"), 1);
	log_lines_release(&log);
	traffic = traffic_of(&rig);
	assert_int_equal(traffic.lane_losses, 2);
	/* Each held one was sent twice. */
	assert_int_equal(traffic.dispatches, 2 * (1 + 8 + 8) + 2);
	assert_in_range(traffic.lane_dispatches, 2 * (1 + 8), traffic.dispatches - 2);
	child_rig_stop(&rig);
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
