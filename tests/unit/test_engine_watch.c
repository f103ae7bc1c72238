/* When a front end takes its engine for silent, by a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "node/engine_link.h"
#include "node/engine_watch.h"

#define BEAT (ENGINE_BEAT_MS * CLOCK_MS)

static struct engine_watch watch;
static struct bulletin bulletin;
static int64_t now;

static void publish(uint32_t runs)
{
	struct vitals vitals = { .subs = { .count = 1, .idle = 1 }, .runs = runs };
	uint8_t bytes[VITALS_BYTES_MAX];

	bulletin_publish(&bulletin, bytes, vitals_encode(&vitals, bytes, sizeof(bytes)));
}

static void look_after(int64_t time)
{
	int64_t again;

	now += time;
	assert_int_equal(engine_watch_look(&watch, &bulletin, now, &again), SIMPLER_OK);
	assert_true(again > now && again <= now + BEAT);
}

static struct engine_report report(void)
{
	struct engine_report report;

	engine_watch_report(&watch, ENGINE_READY, 0, &report);
	return report;
}

static int set_up(void **state)
{
	(void)state;
	memset(&bulletin, 0, sizeof(bulletin));
	now = 1000 * CLOCK_S;
	engine_watch_init(&watch);
	publish(1);
	engine_watch_up(&watch, &bulletin, now);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	engine_watch_destroy(&watch);
	return 0;
}

static void what_was_published_before_the_first_look_is_read(void **state)
{
	(void)state;
	assert_false(report().has_vitals);
	look_after(BEAT);
	assert_true(report().has_vitals && report().answering);
	assert_int_equal(report().vitals.runs, 1);
}

static void looks_that_come_early_see_nothing(void **state)
{
	(void)state;
	look_after(BEAT);
	publish(2);
	look_after(BEAT / 2);
	assert_int_equal(report().vitals.runs, 1);
	look_after(BEAT / 2);
	assert_int_equal(report().vitals.runs, 2);
}

static void an_engine_is_silent_after_its_time_and_answers_when_it_publishes_again(void **state)
{
	int64_t heard;

	(void)state;
	look_after(BEAT);
	heard = now;
	while (now - heard < ENGINE_SILENT_MS * CLOCK_MS) {
		assert_true(report().answering);
		look_after(BEAT);
	}
	assert_false(report().answering);
	assert_int_equal(report().heard, heard);
	assert_true(report().has_vitals); /* what it told last */
	publish(3);
	look_after(BEAT);
	assert_true(report().answering);
	assert_int_equal(report().heard, now);
}

static void a_front_end_that_was_stopped_itself_blames_nobody(void **state)
{
	(void)state;
	look_after(BEAT);
	look_after(3600 * CLOCK_S);
	assert_true(report().answering);
	publish(2);
	look_after(BEAT);
	assert_true(report().answering);
}

static void one_that_is_not_up_has_nothing_to_answer(void **state)
{
	static const enum engine_state states[] = { ENGINE_DOWN, ENGINE_STARTING };
	struct engine_report at;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		engine_watch_report(&watch, states[i], 0, &at);
		assert_false(at.answering);
	}
}

static void nonsense_is_told_from_silence(void **state)
{
	int64_t again;

	(void)state;
	bulletin_publish(&bulletin, "garbage", 7);
	now += BEAT;
	assert_int_equal(engine_watch_look(&watch, &bulletin, now, &again), SIMPLER_EPROTOCOL);
}

static void an_end_leaves_no_vitals_and_is_remembered(void **state)
{
	(void)state;
	look_after(BEAT);
	engine_watch_born(&watch, 4711);
	assert_int_equal(report().pid, 4711);
	engine_watch_ended(&watch, "it was killed");
	engine_watch_retry(&watch, now + BEAT, 2);
	engine_watch_restarted(&watch);
	assert_int_equal(report().pid, 0);
	assert_false(report().has_vitals);
	assert_string_equal(report().last_end, "it was killed");
	assert_int_equal(report().young_deaths, 2);
	assert_int_equal(report().restarts, 1);
	assert_int_equal(report().retry, now + BEAT);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_was_published_before_the_first_look_is_read),
		TEST(looks_that_come_early_see_nothing),
		TEST(an_engine_is_silent_after_its_time_and_answers_when_it_publishes_again),
		TEST(a_front_end_that_was_stopped_itself_blames_nobody),
		TEST(one_that_is_not_up_has_nothing_to_answer),
		TEST(nonsense_is_told_from_silence),
		TEST(an_end_leaves_no_vitals_and_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
