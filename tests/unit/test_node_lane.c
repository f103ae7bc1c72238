/* The node's end of a lane, over a carrier that takes what it is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "node/lane.h"
#include "node/task_log.h"
#include "os/events.h"
#include "rpc/lane_record.h"

#define SESSION 7u

struct rig {
	struct node node;
	struct options options;
	struct session_owner owner;
};

/* What a lane sent, and how it was closed. */
struct taken {
	struct node_lane lane; /* first */
	bool at_once;          /* it takes a batch in no time */
	unsigned batches, closes, releases;
	size_t largest;     /* batch */
	unsigned whole;     /* outcomes with code OK */
	unsigned elsewhere; /* that are to be asked for elsewhere */
	unsigned goodbyes;
	uint64_t tags[8192]; /* in the order in which they came */
	unsigned tag_count;
	enum rpc_code code;
};

static bool take(struct node_lane *lane, const uint8_t *bytes, size_t size)
{
	struct taken *taken = (struct taken *)lane;
	struct lane_outcome outcome;
	struct lane_record record;

	taken->batches++;
	taken->largest = size > taken->largest ? size : taken->largest;
	while (size > 0) {
		assert_int_equal(taken->goodbyes, 0);
		assert_int_equal(lane_next_record(&bytes, &size, &record), SIMPLER_OK);
		taken->goodbyes += lane_goodbye_decode(&record) == SIMPLER_OK;
		if (taken->goodbyes > 0)
			continue;
		assert_int_equal(lane_outcome_decode(&record, &outcome), SIMPLER_OK);
		taken->whole += outcome.code == RPC_OK;
		taken->elsewhere += outcome.ask_elsewhere;
		taken->tags[taken->tag_count++ % 8192] = record.tag;
	}
	return taken->at_once;
}

static void note_close(struct node_lane *lane, enum rpc_code code, const char *why)
{
	struct taken *taken = (struct taken *)lane;

	assert_true(strlen(why) > 0);
	taken->closes++;
	taken->code = code;
}

static void note_release(struct node_lane *lane)
{
	((struct taken *)lane)->releases++;
	node_lane_destroy(lane);
}

static const struct node_lane_carrier carrier = {
	.kind = SIMPLER_LANE_STREAM,
	.batch_bytes = 1 << 20,
	.record_bytes = 8 << 20,
	.keeps_what_was_sent = true,
	.send = take,
	.close = note_close,
	.release = note_release,
};

static void renewed(void *context, uint64_t session)
{
	(void)context;
	(void)session;
}

static void ended(void *context, uint64_t session, bool detached)
{
	struct rig *rig = context;

	(void)detached;
	node_lanes_close(&rig->node, session, "the session is over");
	task_log_end_session(rig->node.tasks, session);
}

static int start(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct sessions_options sessions = { .owners = &rig->owner,
		                             .owner_count = 1,
		                             .most = 10,
		                             .most_tasks = 10,
		                             .now = clock_now };
	struct session_state attached;

	rig->owner = (struct session_owner){ renewed, ended, rig, NULL };
	rig->options.max_tasks = 6;
	rig->options.max_session_tasks = 9;
	rig->node.options = &rig->options;
	rig->node.id = "node";
	atomic_init(&rig->node.looks_at, CLOCK_NEVER);
	assert_int_equal(events_wakeup(&rig->node.wakeup), SIMPLER_OK);
	assert_int_equal(sessions_create(&sessions, &rig->node.sessions), SIMPLER_OK);
	assert_int_equal(task_log_create(1000, clock_now, &rig->node.tasks), SIMPLER_OK);
	rig->node.lanes = node_lanes_create();
	assert_non_null(rig->node.lanes);
	assert_int_equal(sessions_attach(rig->node.sessions, SESSION, 60000, &attached),
	                 SIMPLER_OK);
	*state = rig;
	return 0;
}

static int stop(void **state)
{
	struct rig *rig = *state;

	node_lanes_destroy(rig->node.lanes);
	task_log_destroy(rig->node.tasks);
	sessions_destroy(rig->node.sessions);
	(void)close(rig->node.wakeup);
	free(rig);
	return 0;
}

static struct taken *open_lane(struct rig *rig)
{
	struct taken *taken = calloc(1, sizeof(*taken));

	assert_non_null(taken);
	assert_int_equal(node_lane_open(&taken->lane, &carrier, &rig->node, SESSION), SIMPLER_OK);
	return taken;
}

/* The carrier has gone, which was the last to know of it. */
static void let_go(struct taken *taken)
{
	node_lane_close(&taken->lane, RPC_CANCELLED, "the client has gone");
	node_lane_drop(&taken->lane);
	assert_int_equal(taken->closes, 1);
	assert_int_equal(taken->releases, 1);
	free(taken);
}

static void answer(struct taken *taken, uint64_t tag, const uint8_t *bytes, size_t size)
{
	const struct task_answer told = { RPC_OK, RPC_NOTE_NONE, bytes, size };

	atomic_fetch_add(&taken->lane.references, 1); /* which a dispatch has */
	node_lane_answer(&taken->lane, tag, &told);
}

static void what_finds_no_room_is_to_be_asked_for_by_a_call(void **state)
{
	static uint8_t large[3 << 20];
	struct taken *taken = open_lane(*state);

	answer(taken, 0, large, sizeof(large)); /* is under way */
	assert_int_equal(taken->batches, 1);
	for (uint64_t tag = 1; tag <= 20; tag++)
		answer(taken, tag, large, sizeof(large));
	assert_int_equal(taken->batches, 1);
	while (taken->tag_count < 21) {
		unsigned before = taken->tag_count;

		node_lane_continue(&taken->lane);
		assert_true(taken->tag_count > before);
	}
	/* As many as have room in 16 MiB, and the first. */
	assert_int_equal(taken->whole, 1 + 5);
	assert_int_equal(taken->elsewhere, 15);
	for (uint64_t tag = 0; tag <= 20; tag++)
		assert_int_equal(taken->tags[tag], tag);
	assert_int_equal(taken->closes, 0);
	let_go(taken);
}

static void one_that_is_larger_than_a_record_is_to_be_asked_for(void **state)
{
	static uint8_t larger[(8 << 20) + 1];
	struct taken *taken = open_lane(*state);

	answer(taken, 5, larger, sizeof(larger));
	assert_int_equal(taken->whole, 0);
	assert_int_equal(taken->elsewhere, 1);
	let_go(taken);
}

static void batches_are_cut_to_their_size(void **state)
{
	static uint8_t bytes[(100 << 10) - 32];
	struct taken *taken = open_lane(*state);

	for (uint64_t tag = 0; tag < 40; tag++)
		answer(taken, tag, bytes, sizeof(bytes));
	while (taken->tag_count < 40)
		node_lane_continue(&taken->lane);
	assert_int_equal(taken->whole, 40);
	/* The first alone, and ten to a batch of the others. */
	assert_int_equal(taken->batches, 1 + 4);
	assert_int_equal(taken->largest, 1000 << 10);
	let_go(taken);
}

static void a_lane_that_nobody_reads_is_closed_at_its_limit(void **state)
{
	static uint8_t large[1 << 20];
	struct taken *taken = open_lane(*state);
	uint64_t tag = 0;

	while (taken->closes == 0) {
		answer(taken, tag++, large, sizeof(large));
		assert_in_range(tag, 1, 1000000);
	}
	assert_int_equal(taken->code, RPC_RESOURCE_EXHAUSTED);
	/* One is under way and 15 wait, and each of the others has 32 bytes of the 5 MiB left. */
	assert_in_range(tag, 160000, 164000);
	assert_int_equal(taken->lane.out.capacity, 0);
	let_go(taken);
}

static void of_the_lanes_of_a_session_the_last_stays(void **state)
{
	struct rig *rig = *state;
	struct taken *first = open_lane(rig), *second = open_lane(rig);

	assert_int_equal(first->closes, 1);
	assert_int_equal(first->code, RPC_ABORTED);
	assert_int_equal(second->closes, 0);
	assert_int_equal(node_lanes_count(rig->node.lanes, SIMPLER_LANE_STREAM), 1);
	assert_int_equal(first->releases, 0); /* its carrier has it yet */
	let_go(first);
	let_go(second);
	assert_int_equal(node_lanes_count(rig->node.lanes, SIMPLER_LANE_STREAM), 0);
}

static void only_an_attached_session_has_a_lane(void **state)
{
	struct rig *rig = *state;
	struct node_lane lane;

	memset(&lane, 0, sizeof(lane));
	assert_int_equal(node_lane_open(&lane, &carrier, &rig->node, SESSION + 1), SIMPLER_ESTATE);
}

static void a_node_that_ends_opens_none(void **state)
{
	struct rig *rig = *state;
	struct taken *taken = open_lane(rig);
	struct node_lane lane;

	taken->at_once = true;
	node_lanes_end(&rig->node, CLOCK_NEVER);
	assert_int_equal(taken->closes, 1);
	assert_int_equal(taken->code, RPC_UNAVAILABLE);
	assert_int_equal(taken->goodbyes, 1);
	memset(&lane, 0, sizeof(lane));
	assert_int_equal(node_lane_open(&lane, &carrier, &rig->node, SESSION),
	                 SIMPLER_EUNAVAILABLE);
	let_go(taken);
}

static void a_lane_says_goodbye_behind_its_outcomes(void **state)
{
	static uint8_t bytes[100];
	struct rig *rig = *state;
	struct taken *taken = open_lane(rig);

	answer(taken, 0, bytes, sizeof(bytes)); /* is under way */
	answer(taken, 1, bytes, sizeof(bytes));
	taken->lane.ending = true;
	node_lane_continue(&taken->lane);
	assert_int_equal(taken->tag_count, 2);
	assert_int_equal(taken->goodbyes, 0);
	node_lane_continue(&taken->lane);
	assert_int_equal(taken->goodbyes, 1);
	assert_int_equal(taken->closes, 0);
	answer(taken, 2, bytes, sizeof(bytes)); /* comes too late */
	node_lane_continue(&taken->lane);
	assert_int_equal(taken->tag_count, 2);
	assert_int_equal(taken->closes, 1);
	let_go(taken);
}

static void a_node_that_ends_does_not_wait_for_one_who_reads_nothing(void **state)
{
	static uint8_t bytes[100];
	struct rig *rig = *state;
	struct taken *taken = open_lane(rig);

	answer(taken, 0, bytes, sizeof(bytes));
	node_lanes_end(&rig->node, clock_after_ms(20));
	assert_int_equal(taken->closes, 1);
	assert_int_equal(taken->goodbyes, 0);
	let_go(taken);
}

static void a_client_is_given_the_time_to_take_the_goodbye(void **state)
{
	struct rig *rig = *state;
	struct node_lane_carrier forgetful = carrier;
	struct taken *taken = calloc(1, sizeof(*taken));
	int64_t began = clock_now();

	assert_non_null(taken);
	forgetful.keeps_what_was_sent = false;
	taken->at_once = true;
	assert_int_equal(node_lane_open(&taken->lane, &forgetful, &rig->node, SESSION), SIMPLER_OK);
	node_lanes_end(&rig->node, clock_after_ms(20));
	assert_true(clock_now() - began >= 20 * CLOCK_MS);
	assert_int_equal(taken->goodbyes, 1);
	assert_int_equal(taken->closes, 1);
	let_go(taken);
}

static void credits_are_what_there_is_room_for(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(node_lane_credits(&rig->node), 6);
	rig->options.max_session_tasks = 4;
	assert_int_equal(node_lane_credits(&rig->node), 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(what_finds_no_room_is_to_be_asked_for_by_a_call),
		TEST(one_that_is_larger_than_a_record_is_to_be_asked_for),
		TEST(batches_are_cut_to_their_size),
		TEST(a_lane_that_nobody_reads_is_closed_at_its_limit),
		TEST(of_the_lanes_of_a_session_the_last_stays),
		TEST(only_an_attached_session_has_a_lane),
		TEST(a_node_that_ends_opens_none),
		TEST(a_lane_says_goodbye_behind_its_outcomes),
		TEST(a_node_that_ends_does_not_wait_for_one_who_reads_nothing),
		TEST(a_client_is_given_the_time_to_take_the_goodbye),
		TEST(credits_are_what_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
