/* Attaching to a node that is not there yet, or not well yet; and what becomes of one that is lost,
 * comes back, or drains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "exec/node_session.h"
#include "rpc/messages.h"
#include "rpc_test.h"
#include "temporary_directory.h"

#define SOON_MS 20000

/* What the node answers first, `refusals` times; then that the session is attached. */
static _Atomic enum rpc_code refusal;
static atomic_uint refusals, asked;
static _Atomic uint64_t boot_id, life;
static atomic_bool draining;

static void answer_attach(struct rpc_call *call, const uint8_t *data, size_t size)
{
	const struct msg_attached attached = { .boot_id = atomic_load(&boot_id),
		                               .ttl_ms = 60000,
		                               .session_life = atomic_load(&life),
		                               .draining = atomic_load(&draining) };
	struct rpc_buffer answer;

	(void)data;
	(void)size;
	if (atomic_fetch_add(&asked, 1) < atomic_load(&refusals)) {
		rpc_finish(call, atomic_load(&refusal), "not now", NULL);
	} else {
		assert_int_equal(msg_attached_encode(&attached, &answer), SIMPLER_OK);
		rpc_finish(call, RPC_OK, NULL, &answer);
	}
}

static void answer_detach(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_buffer answer;

	(void)data;
	(void)size;
	assert_int_equal(msg_empty_encode(&answer), SIMPLER_OK);
	rpc_finish(call, RPC_OK, NULL, &answer);
}

static struct rpc_server *serve(const char *address)
{
	static const struct rpc_method methods[] = {
		{ .path = MSG_ATTACH, .on_message = answer_attach },
		{ .path = MSG_DETACH, .on_message = answer_detach },
	};
	const struct rpc_server_options options = {
		.address = address, .methods = methods, .method_count = 2, .threads = 1
	};
	struct rpc_server *server;

	assert_int_equal(rpc_server_start(&options, &server), SIMPLER_OK);
	return server;
}

/* A program that attaches to the node at an address. */
struct parent {
	struct node_session *session;
	struct rpc_client *client;
	struct rpc_channel *channel;
	uint64_t timeout_ms;
	pthread_t thread;
	simpler_status status;
	struct node_attachment *node;
	/* What it was told, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t told;
	unsigned lost, returned, changed, beats;
	char why[NODE_WHY_BYTES];
};

static void count(struct parent *parent, unsigned *counter, const char *why)
{
	pthread_mutex_lock(&parent->lock);
	(*counter)++;
	if (why)
		(void)snprintf(parent->why, sizeof(parent->why), "%s", why);
	pthread_cond_broadcast(&parent->told);
	pthread_mutex_unlock(&parent->lock);
}

static void on_lost(void *context, const char *why)
{
	struct parent *parent = context;

	count(parent, &parent->lost, why);
}

static void on_returned(void *context)
{
	struct parent *parent = context;

	count(parent, &parent->returned, NULL);
}

static void on_changed(void *context)
{
	struct parent *parent = context;

	count(parent, &parent->changed, NULL);
}

static void on_beat(void *context)
{
	struct parent *parent = context;

	count(parent, &parent->beats, NULL);
}

static void wait_told(struct parent *parent, const unsigned *counter, unsigned times)
{
	pthread_mutex_lock(&parent->lock);
	while (*counter < times)
		pthread_cond_wait(&parent->told, &parent->lock);
	assert_int_equal(*counter, times);
	pthread_mutex_unlock(&parent->lock);
}

static void parent_open(struct parent *parent, const char *address)
{
	static const struct node_heartbeat heartbeat = { 5, SOON_MS, 3 };

	pthread_mutex_init(&parent->lock, NULL);
	pthread_cond_init(&parent->told, NULL);
	assert_int_equal(node_session_create(60000, &heartbeat, &parent->session), SIMPLER_OK);
	assert_int_equal(rpc_client_create(&parent->client), SIMPLER_OK);
	assert_int_equal(rpc_channel_open(parent->client, address, &parent->channel), SIMPLER_OK);
	rpc_channel_set_session(parent->channel, node_session_id(parent->session));
}

static void *parent_attach(void *argument)
{
	static const struct node_events events = { on_lost, on_returned, on_changed, on_beat };
	struct parent *parent = argument;
	uint32_t lanes;
	const struct node_attach_options options = {
		.channel = parent->channel,
		.name = "the node",
		.deadline = clock_after_ms(parent->timeout_ms),
		.events = &events,
		.context = parent,
		.lanes = &lanes,
	};

	parent->status = node_session_attach(parent->session, &options, &parent->node);
	return NULL;
}

static void parent_close(struct parent *parent)
{
	node_session_stop(parent->session);
	rpc_channel_close(parent->channel);
	rpc_client_destroy(parent->client);
	node_session_release(parent->session);
	pthread_cond_destroy(&parent->told);
	pthread_mutex_destroy(&parent->lock);
}

static const struct {
	const char *name;
	enum rpc_code refusal;
	unsigned refusals;
	uint64_t timeout_ms;
	simpler_status status;
	unsigned asked_least, asked_most;
} answers[] = {
	{ "at once", RPC_OK, 0, SOON_MS, SIMPLER_OK, 1, 1 },
	{ "not available at first", RPC_UNAVAILABLE, 2, SOON_MS, SIMPLER_OK, 3, 3 },
	{ "not available all the time", RPC_UNAVAILABLE, 1000, 1000, SIMPLER_EUNAVAILABLE, 2, 10 },
	{ "no place for another session", RPC_RESOURCE_EXHAUSTED, 1000, SOON_MS, SIMPLER_ENOSPACE,
	  1, 1 },
};

static void a_node_is_asked_again_while_it_is_not_available(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct rpc_server *server = serve("127.0.0.1:0");
		struct parent parent = { .timeout_ms = answers[i].timeout_ms };

		print_message("  %s\n", answers[i].name);
		atomic_store(&refusal, answers[i].refusal);
		atomic_store(&refusals, answers[i].refusals);
		atomic_store(&asked, 0);
		parent_open(&parent, rpc_server_address(server));
		(void)parent_attach(&parent);
		assert_int_equal(parent.status, answers[i].status);
		/* Heartbeats follow. */
		if (answers[i].status != SIMPLER_OK)
			assert_in_range(atomic_load(&asked), answers[i].asked_least,
			                answers[i].asked_most);
		else
			assert_true(atomic_load(&asked) >= answers[i].asked_least);
		parent_close(&parent);
		rpc_server_stop(server, clock_after_ms(SOON_MS));
	}
}

static void a_node_that_is_yet_to_start_is_waited_for(void **state)
{
	struct parent parent = { .timeout_ms = 50 };
	struct temporary_directory directory;
	struct rpc_server *server;
	char address[512];

	(void)state;
	assert_true(temporary_directory_make(&directory));
	(void)snprintf(address, sizeof(address), "unix:%s", temporary_path(&directory, "node"));
	atomic_store(&refusals, 0);
	atomic_store(&asked, 0);
	parent_open(&parent, address);
	/* The connection has found nobody by then. */
	(void)parent_attach(&parent);
	assert_int_equal(parent.status, SIMPLER_EDEADLINE);
	parent.timeout_ms = SOON_MS;
	assert_int_equal(pthread_create(&parent.thread, NULL, parent_attach, &parent), 0);
	server = serve(address);
	assert_int_equal(pthread_join(parent.thread, NULL), 0);
	assert_int_equal(parent.status, SIMPLER_OK);
	parent_close(&parent);
	rpc_server_stop(server, clock_after_ms(SOON_MS));
	temporary_directory_remove(&directory);
}

/* --- one that was attached --- */

struct rig {
	struct parent parent;
	struct rpc_server *server;
};

static int start(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->server = serve("127.0.0.1:0");
	rig->parent.timeout_ms = SOON_MS;
	atomic_store(&refusal, RPC_UNAVAILABLE);
	atomic_store(&refusals, 0);
	atomic_store(&asked, 0);
	atomic_store(&boot_id, 7);
	atomic_store(&life, 70);
	atomic_store(&draining, false);
	parent_open(&rig->parent, rpc_server_address(rig->server));
	(void)parent_attach(&rig->parent);
	*state = rig;
	return 0;
}

static int stop(void **state)
{
	struct rig *rig = *state;

	parent_close(&rig->parent);
	rpc_server_stop(rig->server, clock_after_ms(SOON_MS));
	free(rig);
	return 0;
}

/* The next `times` heartbeats fail; returns when they have been answered, and one more. */
static void fail_heartbeats(unsigned times)
{
	unsigned now = atomic_load(&asked) + times;

	atomic_store(&refusals, now);
	while (atomic_load(&asked) < now + 2)
		(void)sched_yield();
}

static void fail_all_heartbeats(void)
{
	atomic_store(&refusals, UINT32_MAX);
}

static void answer_all_heartbeats(void)
{
	atomic_store(&refusals, 0);
}

static bool is_away(struct rig *rig, const char *text)
{
	char why[NODE_WHY_BYTES] = "";
	bool away = node_session_is_away(rig->parent.node, why, sizeof(why));

	if (away && !strstr(why, text))
		fail_msg("'%s' does not say: %s", why, text);
	return away;
}

static void one_that_answers_tells_of_each_beat_and_one_that_does_not_of_none(void **state)
{
	struct parent *parent = &((struct rig *)*state)->parent;
	unsigned beats, before;

	pthread_mutex_lock(&parent->lock);
	while (parent->beats < 2)
		pthread_cond_wait(&parent->told, &parent->lock);
	pthread_mutex_unlock(&parent->lock);
	fail_all_heartbeats();
	wait_told(parent, &parent->lost, 1);
	beats = parent->beats;
	before = atomic_load(&asked);
	while (atomic_load(&asked) < before + 3)
		(void)sched_yield();
	assert_int_equal(parent->beats, beats);
}

static void one_that_misses_fewer_heartbeats_than_that_is_not_lost(void **state)
{
	struct rig *rig = *state;

	fail_heartbeats(2);
	fail_heartbeats(2);
	assert_int_equal(rig->parent.lost, 0);
	assert_false(is_away(rig, ""));
}

static void one_that_misses_so_many_is_lost_once(void **state)
{
	struct rig *rig = *state;

	fail_all_heartbeats();
	wait_told(&rig->parent, &rig->parent.lost, 1);
	assert_non_null(strstr(rig->parent.why, "3 times in a row: not now"));
	assert_true(is_away(rig, "the node is lost: it did not answer 3 times"));
	fail_heartbeats(5);
	assert_int_equal(rig->parent.lost, 1);
}

static void one_that_answers_again_is_away_until_it_is_admitted(void **state)
{
	struct rig *rig = *state;
	char why[NODE_WHY_BYTES];

	fail_all_heartbeats();
	wait_told(&rig->parent, &rig->parent.lost, 1);
	answer_all_heartbeats();
	wait_told(&rig->parent, &rig->parent.returned, 1);
	assert_true(is_away(rig, "lost"));
	assert_true(node_session_is_lost(rig->parent.node, why));
	node_session_admit(rig->parent.node, 70, NULL);
	assert_int_equal(rig->parent.changed, 1);
	assert_false(is_away(rig, ""));
	assert_false(node_session_is_lost(rig->parent.node, why));
}

static void one_that_cannot_be_admitted_returns_again(void **state)
{
	struct rig *rig = *state;
	struct error error;

	error_init(&error, SIMPLER_EPERM, "it takes no code any more");
	fail_all_heartbeats();
	wait_told(&rig->parent, &rig->parent.lost, 1);
	answer_all_heartbeats();
	for (unsigned i = 1; i <= 3; i++) {
		wait_told(&rig->parent, &rig->parent.returned, i);
		node_session_admit(rig->parent.node, 70, &error);
		assert_true(is_away(rig, "it takes no code any more"));
	}
	wait_told(&rig->parent, &rig->parent.returned, 4);
	node_session_admit(rig->parent.node, 70, NULL);
	assert_false(is_away(rig, ""));
}

static const struct {
	const char *name;
	uint64_t boot_id, life;
	const char *why;
} lives[] = {
	{ "started anew", 8, 80, "its daemon was started anew" },
	{ "has ended the session", 7, 71, "it had not heard of this program for so long" },
};

static void one_that_has_lost_what_it_had_is_lost_and_returns_in_a_new_life(void **state)
{
	for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
		struct rig *rig;

		print_message("  %s\n", lives[i].name);
		assert_int_equal(start(state), 0);
		rig = *state;
		assert_int_equal(node_session_life(rig->parent.node), 70);
		atomic_store(&boot_id, lives[i].boot_id);
		atomic_store(&life, lives[i].life);
		wait_told(&rig->parent, &rig->parent.returned, 1);
		assert_int_equal(rig->parent.lost, 1);
		assert_non_null(strstr(rig->parent.why, lives[i].why));
		assert_int_equal(node_session_life(rig->parent.node), lives[i].life);
		/* What somebody made sure of in the life before is of no use. */
		node_session_admit(rig->parent.node, 70, NULL);
		assert_true(is_away(rig, lives[i].why));
		node_session_admit(rig->parent.node, lives[i].life, NULL);
		assert_false(is_away(rig, ""));
		assert_int_equal(stop(state), 0);
	}
}

static void one_that_drains_is_away_and_not_lost(void **state)
{
	struct rig *rig = *state;
	char why[NODE_WHY_BYTES];

	atomic_store(&draining, true);
	wait_told(&rig->parent, &rig->parent.changed, 1);
	assert_true(is_away(rig, "the node is draining"));
	assert_false(node_session_is_lost(rig->parent.node, why));
	atomic_store(&draining, false);
	wait_told(&rig->parent, &rig->parent.changed, 2);
	assert_false(is_away(rig, ""));
	assert_int_equal(rig->parent.lost, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_is_asked_again_while_it_is_not_available),
		cmocka_unit_test(a_node_that_is_yet_to_start_is_waited_for),
		cmocka_unit_test_setup_teardown(
			one_that_answers_tells_of_each_beat_and_one_that_does_not_of_none, start,
			stop),
		cmocka_unit_test_setup_teardown(
			one_that_misses_fewer_heartbeats_than_that_is_not_lost, start, stop),
		cmocka_unit_test_setup_teardown(one_that_misses_so_many_is_lost_once, start, stop),
		cmocka_unit_test_setup_teardown(one_that_answers_again_is_away_until_it_is_admitted,
		                                start, stop),
		cmocka_unit_test_setup_teardown(one_that_cannot_be_admitted_returns_again, start,
		                                stop),
		cmocka_unit_test(one_that_has_lost_what_it_had_is_lost_and_returns_in_a_new_life),
		cmocka_unit_test_setup_teardown(one_that_drains_is_away_and_not_lost, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
