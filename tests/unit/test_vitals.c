/* What an engine tells of itself: the record, what of it is refused, and the bulletin that it is
 * published on. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "ipc/bulletin.h"
#include "wire/vitals.h"

static struct vitals full(void)
{
	struct vitals vitals = {
		.subs = { 256, 100, 100, 50, 6, UINT64_MAX, 7 },
		.chips = { 4, 1, 1, 1, 1, 8, 9 },
		.runs = 10,
		.helper_stopped = true,
		.chips_shut = 4,
	};

	memset(vitals.device_error, 'x', VITALS_TEXT_MAX);
	return vitals;
}

static void expect_workers(const struct vitals_workers *got, const struct vitals_workers *want)
{
	assert_int_equal(got->count, want->count);
	assert_int_equal(got->idle, want->idle);
	assert_int_equal(got->busy, want->busy);
	assert_int_equal(got->restarting, want->restarting);
	assert_int_equal(got->dead, want->dead);
	assert_int_equal(got->queued, want->queued);
	assert_int_equal(got->deaths, want->deaths);
}

static void vitals_come_back_as_they_were(void **state)
{
	const struct vitals in = full(), none = { .runs = 0 };
	uint8_t bytes[VITALS_BYTES_MAX];
	struct vitals out;

	(void)state;
	assert_int_equal(vitals_encode(&in, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(vitals_decode(bytes, sizeof(bytes), &out), SIMPLER_OK);
	expect_workers(&out.subs, &in.subs);
	expect_workers(&out.chips, &in.chips);
	assert_int_equal(out.runs, 10);
	assert_true(out.helper_stopped);
	assert_int_equal(out.chips_shut, 4);
	assert_string_equal(out.device_error, in.device_error);
	assert_int_equal(vitals_encode(&in, bytes, sizeof(bytes) - 1), 0);
	assert_int_equal(vitals_decode(bytes, vitals_encode(&none, bytes, sizeof(bytes)), &out),
	                 SIMPLER_OK);
	assert_int_equal(out.subs.count, 0);
	assert_string_equal(out.device_error, "");
}

static void spoil_count(struct vitals *vitals)
{
	vitals->subs.count = vitals->subs.idle = 257;
	vitals->subs.busy = vitals->subs.restarting = vitals->subs.dead = 0;
}

static void spoil_sum(struct vitals *vitals)
{
	vitals->chips.idle = UINT32_MAX;
	vitals->chips.busy = 5;
	vitals->chips.restarting = vitals->chips.dead = 0;
}

static void spoil_chips(struct vitals *vitals)
{
	vitals->chips_shut = 5;
}

static void vitals_that_cannot_be_are_refused(void **state)
{
	static const struct {
		void (*spoil)(struct vitals *vitals);
		const char *text;
	} cases[] = {
		{ spoil_count, "more workers than there can be" },
		{ spoil_sum, "do not add up" },
		{ spoil_chips, "more chips could not be opened" },
	};
	uint8_t bytes[VITALS_BYTES_MAX + 1];
	struct vitals vitals, out;
	size_t size;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		vitals = full();
		cases[i].spoil(&vitals);
		size = vitals_encode(&vitals, bytes, sizeof(bytes));
		assert_int_equal(vitals_decode(bytes, size, &out), SIMPLER_EPROTOCOL);
		assert_non_null(strstr(simpler_last_error(), cases[i].text));
	}
	vitals = full();
	size = vitals_encode(&vitals, bytes, sizeof(bytes));
	for (size_t cut = 0; cut < size; cut++)
		assert_int_equal(vitals_decode(bytes, cut, &out), SIMPLER_EPROTOCOL);
	assert_int_equal(vitals_decode(bytes, size + 1, &out), SIMPLER_EPROTOCOL);
}

/* --- the bulletin --- */

static void a_bulletin_tells_the_latest_and_how_often(void **state)
{
	struct bulletin bulletin = { 0 };
	uint8_t bytes[BULLETIN_BYTES], longest[BULLETIN_BYTES];
	uint32_t turn;
	size_t size;

	(void)state;
	memset(longest, 0xa5, sizeof(longest));
	assert_int_equal(bulletin_turn(&bulletin), 0);
	assert_false(bulletin_read(&bulletin, bytes, &size));
	bulletin_publish(&bulletin, longest, sizeof(longest));
	turn = bulletin_turn(&bulletin);
	assert_int_not_equal(turn, 0);
	assert_true(bulletin_read(&bulletin, bytes, &size));
	assert_int_equal(size, BULLETIN_BYTES);
	assert_memory_equal(bytes, longest, size);
	bulletin_publish(&bulletin, "news", 4);
	assert_int_not_equal(bulletin_turn(&bulletin), turn);
	assert_true(bulletin_read(&bulletin, bytes, &size));
	assert_int_equal(size, 4);
	assert_memory_equal(bytes, "news", 4);
}

/* As one does that ended in the midst of publishing: whoever comes after it is heard. */
static void one_that_is_half_written_is_not_read_and_can_be_written_anew(void **state)
{
	struct bulletin bulletin = { 0 };
	uint8_t bytes[BULLETIN_BYTES];
	size_t size;

	(void)state;
	bulletin_publish(&bulletin, "old", 3);
	atomic_fetch_add(&bulletin.turn, 1);
	assert_false(bulletin_read(&bulletin, bytes, &size));
	bulletin_publish(&bulletin, "new", 3);
	assert_true(bulletin_read(&bulletin, bytes, &size));
	assert_memory_equal(bytes, "new", 3);
}

static void a_size_that_cannot_be_is_cut(void **state)
{
	struct bulletin bulletin = { 0 };
	uint8_t bytes[BULLETIN_BYTES];
	size_t size;

	(void)state;
	bulletin_publish(&bulletin, "text", 4);
	atomic_store(&bulletin.size, UINT32_MAX);
	assert_true(bulletin_read(&bulletin, bytes, &size));
	assert_int_equal(size, BULLETIN_BYTES);
}

#define PUBLICATIONS 100000u

static void *publish_often(void *argument)
{
	uint8_t bytes[BULLETIN_BYTES];

	for (unsigned i = 1; i <= PUBLICATIONS; i++) {
		memset(bytes, (int)(i % 251), sizeof(bytes));
		bulletin_publish(argument, bytes, i % BULLETIN_BYTES + 1);
	}
	return NULL;
}

static void what_is_read_while_another_publishes_is_of_one_piece(void **state)
{
	static struct bulletin bulletin;
	uint8_t bytes[BULLETIN_BYTES];
	unsigned reads = 0;
	pthread_t thread;
	size_t size;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, publish_often, &bulletin), 0);
	while (bulletin_turn(&bulletin) / 2 < PUBLICATIONS) {
		if (!bulletin_read(&bulletin, bytes, &size))
			continue;
		reads++;
		assert_true(size > 0 && size <= BULLETIN_BYTES);
		for (size_t i = 1; i < size; i++)
			assert_int_equal(bytes[i], bytes[0]);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(bulletin_read(&bulletin, bytes, &size));
	assert_int_equal(bytes[0], PUBLICATIONS % 251);
	print_message("%u reads\n", reads);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vitals_come_back_as_they_were),
		cmocka_unit_test(vitals_that_cannot_be_are_refused),
		cmocka_unit_test(a_bulletin_tells_the_latest_and_how_often),
		cmocka_unit_test(one_that_is_half_written_is_not_read_and_can_be_written_anew),
		cmocka_unit_test(a_size_that_cannot_be_is_cut),
		cmocka_unit_test(what_is_read_while_another_publishes_is_of_one_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
