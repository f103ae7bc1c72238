/* How a daemon ends: what runs may finish, nothing new begins, and signals decide how long. */
#include "front_end.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/process.h"
#include "rpc/lane_record.h"
#include "session_client.h"

/* A daemon with one task that the engine holds. */
struct held_task {
	struct front_end *front_end;
	struct outcome outcome;
	pid_t engine;
};

static void hold(struct held_task *held, const char *const *options)
{
	struct msg_dispatch request;

	held->front_end = front_end_start(options);
	request = make_dispatch(&held->front_end->orch, 33, FAKE_HOLD, 0);
	held->engine = ask_engine(held->front_end).pid;
	dispatch_begin(held->front_end, &request, &held->outcome);
	wait_held(held->front_end, 1);
}

/* SIGTERM, until readiness has flipped. */
static void terminate(struct held_task *held)
{
	process_signal(held->front_end->daemon.pidfd, SIGTERM);
	front_end_wait_not_serving(held->front_end);
}

static void finish(struct held_task *held)
{
	outcome_destroy(&held->outcome);
	front_end_finish(held->front_end);
}

static void expect_lost(struct held_task *held)
{
	outcome_wait(&held->outcome, &held->outcome.ended, 1);
	expect(&held->outcome, RPC_UNAVAILABLE, "task 33");
}

static void a_drain_flips_readiness_refuses_new_work_and_waits_for_the_rest(void **state)
{
	struct msg_dispatch request;
	struct msg_outcome response;
	struct held_task held;
	struct outcome late;
	struct bump bump;

	(void)state;
	hold(&held, NULL);
	terminate(&held);
	request = make_dispatch(&held.front_end->orch, 34, FAKE_ANSWER, 0);
	dispatch(held.front_end, &request, &late);
	expect(&late, RPC_UNAVAILABLE, "node '" NODE_ID "' is draining");
	outcome_destroy(&late);
	(void)alloc_tensor(held.front_end, 8); /* who runs may still fetch and free its results */
	assert_int_equal(outcome_ended(&held.outcome), 0);
	assert_int_equal(kill(held.engine, SIGUSR1), 0);
	expect_response(&held.outcome, &bump, &response);
	assert_int_equal(response.task_id, 33);
	assert_int_equal(response.error_code, 0);
	bump_release(&bump);
	finish(&held);
}

static void ask_to_drain(struct front_end *front_end, uint64_t grace_ms)
{
	const struct msg_drain drain = { grace_ms };
	struct rpc_buffer buffer;
	struct outcome outcome;

	assert_int_equal(msg_drain_encode(&drain, &buffer), SIMPLER_OK);
	call(front_end, MSG_DRAIN, &buffer, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
}

static void a_client_of_this_machine_may_have_a_node_drain(void **state)
{
	struct msg_dispatch request;
	struct msg_outcome response;
	struct held_task held;
	struct outcome late;
	struct bump bump;

	(void)state;
	hold(&held, NULL);
	ask_to_drain(held.front_end, 0);
	/* It is not ready from the answer on. */
	assert_false(serves(held.front_end, ""));
	request = make_dispatch(&held.front_end->orch, 34, FAKE_ANSWER, 0);
	dispatch(held.front_end, &request, &late);
	expect(&late, RPC_UNAVAILABLE, "is draining");
	outcome_destroy(&late);
	assert_int_equal(outcome_ended(&held.outcome), 0);
	/* No reason to take longer, nor to hurry. */
	ask_to_drain(held.front_end, 86400000);
	assert_int_equal(outcome_ended(&held.outcome), 0);
	assert_int_equal(kill(held.engine, SIGUSR1), 0);
	expect_response(&held.outcome, &bump, &response);
	assert_int_equal(response.error_code, 0);
	bump_release(&bump);
	finish(&held);
}

static void a_drain_with_a_shorter_grace_hurries(void **state)
{
	struct held_task held;

	(void)state;
	hold(&held, NULL);
	ask_to_drain(held.front_end, 86400000);
	ask_to_drain(held.front_end, 1);
	expect_lost(&held);
	finish(&held);
}

static void a_second_signal_hurries(void **state)
{
	struct held_task held;

	(void)state;
	hold(&held, NULL);
	terminate(&held);
	process_signal(held.front_end->daemon.pidfd, SIGINT);
	expect_lost(&held);
	finish(&held);
}

static void the_grace_of_a_drain_ends(void **state)
{
	static const char *const options[] = { "--drain-grace", "0", NULL };
	struct held_task held;

	(void)state;
	hold(&held, options);
	process_signal(held.front_end->daemon.pidfd, SIGTERM);
	expect_lost(&held);
	finish(&held);
}

static void an_engine_that_dies_in_a_drain_ends_it(void **state)
{
	struct held_task held;

	(void)state;
	hold(&held, NULL);
	terminate(&held);
	assert_int_equal(kill(held.engine, SIGKILL), 0);
	expect_lost(&held);
	finish(&held);
}

static void a_hang_up_is_ignored(void **state)
{
	struct front_end *front_end = front_end_start(NULL);

	(void)state;
	process_signal(front_end->daemon.pidfd, SIGHUP);
	process_signal(front_end->daemon.pidfd, SIGPIPE);
	for (size_t i = 0; i < 50; i++)
		(void)ask_engine(front_end);
	front_end_stop(front_end);
}

static void the_engine_is_out_of_reach_of_ctrl_c(void **state)
{
	struct front_end *front_end = front_end_start(NULL);
	const pid_t engine = ask_engine(front_end).pid;

	(void)state;
	/* Ctrl-C goes to the process group of the terminal; the engine leads its own. */
	assert_int_equal(getpgid(engine), engine);
	assert_int_not_equal(getpgid(front_end->daemon.pid), engine);
	front_end_stop(front_end);
}

/* --- a lane whose node ends --- */

struct lane_client {
	struct rpc_channel *channel;
	struct rpc_client_call *call;
	struct outcome outcome; /* of the stream; its lock guards the rest, too */
	bool said_goodbye;      /* last of all */
	unsigned sent, answers;
	struct {
		enum rpc_code code;
		enum rpc_note note;
	} answered[3]; /* by tag */
};

static void lane_message(void *context, struct rpc_client_call *call, const uint8_t *data,
                         size_t size)
{
	struct lane_client *lane = context;
	struct lane_outcome outcome;
	struct lane_record record;
	const uint8_t *records;
	struct bump bump;
	size_t count;

	(void)call;
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_lane_batch_decode(data, size, &bump, &records, &count) != SIMPLER_OK)
		abort(); /* not the test's thread */
	pthread_mutex_lock(&lane->outcome.lock);
	while (count > 0) {
		if (lane_next_record(&records, &count, &record) != SIMPLER_OK)
			abort();
		lane->outcome.messages++;
		lane->said_goodbye = lane_goodbye_decode(&record) == SIMPLER_OK;
		if (record.kind != LANE_OUTCOME)
			continue;
		if (record.tag >= 3 || lane_outcome_decode(&record, &outcome) != SIMPLER_OK)
			abort();
		lane->answered[record.tag].code = outcome.code;
		lane->answered[record.tag].note = outcome.note;
		lane->answers++;
	}
	pthread_cond_broadcast(&lane->outcome.changed);
	pthread_mutex_unlock(&lane->outcome.lock);
	bump_release(&bump);
}

static void lane_sent(void *context, struct rpc_client_call *call)
{
	struct lane_client *lane = context;

	(void)call;
	pthread_mutex_lock(&lane->outcome.lock);
	lane->sent++;
	pthread_cond_broadcast(&lane->outcome.changed);
	pthread_mutex_unlock(&lane->outcome.lock);
}

static void lane_end(void *context, enum rpc_code code, const char *text)
{
	struct lane_client *lane = context;

	outcome_end(&lane->outcome, code, text);
}

static void open_lane(struct front_end *front_end, struct lane_client *lane)
{
	static const struct rpc_stream_handlers handlers = { .on_message = lane_message,
		                                             .on_sent = lane_sent,
		                                             .on_end = lane_end };
	const struct msg_attach attach = { 60000 };
	struct rpc_buffer buffer;
	uint8_t *bytes;
	size_t size;

	memset(lane, 0, sizeof(*lane));
	assert_int_equal(
		rpc_channel_open(front_end->client, front_end->daemon.address, &lane->channel),
		SIMPLER_OK);
	rpc_channel_set_session(lane->channel, 0xd2a1);
	assert_int_equal(msg_attach_encode(&attach, &buffer), SIMPLER_OK);
	assert_int_equal(rpc_unary_wait(lane->channel, MSG_ATTACH, CLOCK_NEVER, true, &buffer,
	                                &bytes, &size),
	                 SIMPLER_OK);
	free(bytes);
	outcome_init(&lane->outcome);
	lane->call = rpc_client_call_create(lane->channel, MSG_LANE, CLOCK_NEVER);
	assert_non_null(lane->call);
	rpc_stream_begin(lane->call, NULL, &handlers, lane);
	outcome_wait(&lane->outcome, &lane->outcome.messages, 1); /* the hello */
}

/* The next one may be sent when it returns. */
static void send_by_lane(struct lane_client *lane, const struct msg_dispatch *request, uint64_t tag)
{
	unsigned before = lane->sent;
	size_t size = lane_dispatch_bytes(request);
	uint8_t *record = malloc(size);
	struct rpc_buffer buffer;

	assert_non_null(record);
	lane_dispatch_encode(request, tag, 0, record);
	assert_int_equal(msg_lane_batch_encode(record, size, &buffer), SIMPLER_OK);
	rpc_stream_send(lane->call, &buffer);
	outcome_wait(&lane->outcome, &lane->sent, before + 1);
	free(record);
}

/* Its client cannot ask for them again. */
static void a_lane_has_all_outcomes_before_its_node_ends_and_what_has_none_did_not_run(void **state)
{
	struct front_end *front_end = front_end_start(NULL);
	const pid_t engine = ask_engine(front_end).pid;
	struct msg_dispatch request = make_dispatch(&front_end->orch, 33, FAKE_HOLD, 0);
	struct lane_client lane;

	(void)state;
	open_lane(front_end, &lane);
	send_by_lane(&lane, &request, 1);
	wait_held(front_end, 1);
	process_signal(front_end->daemon.pidfd, SIGTERM);
	front_end_wait_not_serving(front_end);
	request = make_dispatch(&front_end->orch, 34, FAKE_ANSWER, 0);
	send_by_lane(&lane, &request, 2);
	outcome_wait(&lane.outcome, &lane.answers, 1);
	assert_int_equal(lane.answered[2].code, RPC_UNAVAILABLE);
	assert_int_equal(lane.answered[2].note, RPC_NOTE_NOT_RUN);
	assert_int_equal(kill(engine, SIGUSR1), 0);
	outcome_wait(&lane.outcome, &lane.outcome.ended, 1);
	assert_int_equal(lane.answers, 2);
	assert_int_equal(lane.answered[1].code, RPC_OK);
	expect(&lane.outcome, RPC_UNAVAILABLE, "the node is ending");
	assert_true(lane.said_goodbye);
	outcome_destroy(&lane.outcome);
	rpc_channel_close(lane.channel);
	front_end_finish(front_end);
}

static void a_drain_waits_until_those_who_send_heartbeats_have_heard_of_it(void **state)
{
	const struct timespec period = { .tv_nsec = 800 * CLOCK_MS };
	struct front_end *front_end = front_end_start(NULL);
	struct rpc_channel *channel = session_connect(front_end, 0xd2a2);

	(void)state;
	(void)session_attach(channel);
	(void)nanosleep(&period, NULL);
	assert_false(session_attach(channel).draining);
	process_signal(front_end->daemon.pidfd, SIGTERM);
	(void)nanosleep(&period, NULL);
	assert_true(session_attach(channel).draining);
	rpc_channel_close(channel);
	front_end_finish(front_end);
}

static void a_drain_does_not_wait_long_for_heartbeats_that_do_not_come(void **state)
{
	const struct timespec period = { .tv_nsec = 50 * CLOCK_MS };
	struct front_end *front_end = front_end_start(NULL);
	struct rpc_channel *channel = session_connect(front_end, 0xd2a2);
	int64_t began;

	(void)state;
	(void)session_attach(channel);
	(void)nanosleep(&period, NULL);
	(void)session_attach(channel);
	began = clock_now();
	process_signal(front_end->daemon.pidfd, SIGTERM);
	rpc_channel_close(channel);
	front_end_finish(front_end);
	assert_in_range(clock_now() - began, 0, 20 * CLOCK_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_lane_has_all_outcomes_before_its_node_ends_and_what_has_none_did_not_run),
		cmocka_unit_test(a_drain_flips_readiness_refuses_new_work_and_waits_for_the_rest),
		cmocka_unit_test(a_client_of_this_machine_may_have_a_node_drain),
		cmocka_unit_test(a_drain_with_a_shorter_grace_hurries),
		cmocka_unit_test(a_second_signal_hurries),
		cmocka_unit_test(the_grace_of_a_drain_ends),
		cmocka_unit_test(an_engine_that_dies_in_a_drain_ends_it),
		cmocka_unit_test(a_drain_waits_until_those_who_send_heartbeats_have_heard_of_it),
		cmocka_unit_test(a_drain_does_not_wait_long_for_heartbeats_that_do_not_come),
		cmocka_unit_test(a_hang_up_is_ignored),
		cmocka_unit_test(the_engine_is_out_of_reach_of_ctrl_c),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
