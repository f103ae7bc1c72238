/* The memory of a lane: both rings, full ones, hints, and a peer that scribbles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "ipc/lane_memory.h"
#include "os/memory.h"
#include "random.h"

#define BATCH 4096u

struct sides {
	void *memory;
	struct lane_end client, node;
	uint8_t taken[2 * LANE_BATCH_MAX];
};

static struct sides *make_sides(void)
{
	struct sides *sides = calloc(1, sizeof(*sides));

	assert_non_null(sides);
	sides->memory = aligned_alloc(64, (lane_memory_bytes() + 63) / 64 * 64);
	assert_non_null(sides->memory);
	memset(sides->memory, 0, lane_memory_bytes());
	lane_memory_init(sides->memory);
	lane_end_attach_client(&sides->client, sides->memory);
	lane_end_attach_node(&sides->node, sides->memory);
	return sides;
}

static void free_sides(struct sides *sides)
{
	free(sides->memory);
	free(sides);
}

/* Takes all there is; whether the other side is to be told of room. */
static bool take_all(struct sides *sides, struct lane_end *end, size_t *size)
{
	bool told = false, tells;
	size_t some;

	*size = 0;
	do {
		assert_int_equal(
			lane_end_take(end, sides->taken, sizeof(sides->taken), &some, &tells),
			SIMPLER_OK);
		*size += some;
		told = told || tells;
	} while (some > 0);
	return told;
}

static void what_one_side_puts_the_other_takes(void **state)
{
	struct sides *sides = make_sides();
	uint8_t batch[64];
	size_t size;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		memset(batch, (int)i + 1, sizeof(batch));
		assert_int_equal(lane_end_put(&sides->client, batch, sizeof(batch)), LANE_PUT);
	}
	assert_false(take_all(sides, &sides->client, &size));
	assert_int_equal(size, 0);
	/* Batches that lie there come as one. */
	assert_false(take_all(sides, &sides->node, &size));
	assert_int_equal(size, 3 * sizeof(batch));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(sides->taken[i * sizeof(batch)], i + 1);
	assert_int_equal(lane_end_put(&sides->node, batch, sizeof(batch)), LANE_PUT);
	assert_false(take_all(sides, &sides->client, &size));
	assert_int_equal(size, sizeof(batch));
	free_sides(sides);
}

static void who_finds_no_room_hears_of_it_and_loses_nothing(void **state)
{
	struct sides *sides = make_sides();
	static uint8_t batch[BATCH];
	size_t count = 0, size;
	enum lane_put put;

	(void)state;
	while ((put = lane_end_put(&sides->client, batch, sizeof(batch))) == LANE_PUT)
		count++;
	assert_int_equal(put, LANE_STUCK);
	assert_in_range(count, LANE_RING_BYTES / BATCH - 2, LANE_RING_BYTES / BATCH);
	/* Nothing was taken, so it is stuck still. */
	assert_false(lane_end_put_rest(&sides->client, &put));
	assert_true(take_all(sides, &sides->node, &size));
	assert_int_equal(size, count * BATCH);
	assert_true(lane_end_put_rest(&sides->client, &put));
	assert_int_equal(put, LANE_PUT);
	/* Once. */
	assert_false(lane_end_put_rest(&sides->client, &put));
	assert_false(take_all(sides, &sides->node, &size));
	assert_int_equal(size, BATCH);
	free_sides(sides);
}

static void a_hint_is_given_once_and_taken_once(void **state)
{
	struct lane_bells *bells = aligned_alloc(64, sizeof(*bells));

	(void)state;
	assert_non_null(bells);
	memset(bells, 0, sizeof(*bells));
	assert_false(lane_bells_any(bells));
	lane_bells_tell(bells, 70);
	lane_bells_tell(bells, 70);
	lane_bells_tell(bells, LANE_BELLS_LANES - 1);
	assert_true(lane_bells_any(bells));
	assert_true(lane_bells_take(bells, 0) == 0);
	assert_true(lane_bells_take(bells, 1) == UINT64_C(1) << 6);
	assert_true(lane_bells_take(bells, 1) == 0);
	assert_true(lane_bells_take(bells, LANE_BELLS_LANES / 64 - 1) == UINT64_C(1) << 63);
	assert_false(lane_bells_any(bells));
	free(bells);
}

/* Whatever it writes: an end refuses, or finds what fits; nothing is read or written beside. */
static void a_peer_that_scribbles_is_refused_or_harmless(void **state)
{
	static uint8_t batch[BATCH];
	uint64_t rounds = random_begin("scribbling", 2000);

	(void)state;
	for (uint64_t round = 0; round < rounds; round++) {
		struct sides *sides = make_sides();
		enum lane_put put = LANE_PUT;
		size_t size;
		bool tells;

		for (unsigned i = 0; i < 4 && put == LANE_PUT; i++)
			put = lane_end_put(&sides->client, batch,
			                   8 + random_below(1u << 30) % 64 * 8);
		/* The heads of both rings, and what lies in them first. */
		for (unsigned i = 0; i < 8; i++) {
			size_t at = random_below(1u << 30) % 2 * ring_bytes(LANE_RING_BYTES) +
			            random_below(1u << 30) % 1024;

			((uint8_t *)sides->memory)[at] = (uint8_t)random_below(1u << 30);
		}
		for (unsigned i = 0; i < 4; i++) {
			if (lane_end_take(&sides->node, sides->taken, sizeof(sides->taken), &size,
			                  &tells) != SIMPLER_OK)
				assert_int_equal(simpler_last_status(), SIMPLER_EPROTOCOL);
			assert_in_range(size, 0, sizeof(sides->taken));
			if (put == LANE_PUT)
				put = lane_end_put(&sides->client, batch, sizeof(batch));
			else if (put == LANE_STUCK)
				(void)lane_end_put_rest(&sides->client, &put);
		}
		free_sides(sides);
	}
}

static void memory_from_others_is_checked(void **state)
{
	int fd, ends[2];

	(void)state;
	assert_int_equal(memory_create("test", 8192, &fd), SIMPLER_OK);
	assert_int_equal(memory_check(fd, 8192), SIMPLER_OK);
	assert_int_equal(memory_check(fd, 4096), SIMPLER_EPROTOCOL);
	(void)close(fd);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(memory_check(ends[0], 0), SIMPLER_EPROTOCOL);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_one_side_puts_the_other_takes),
		cmocka_unit_test(who_finds_no_room_hears_of_it_and_loses_nothing),
		cmocka_unit_test(a_hint_is_given_once_and_taken_once),
		cmocka_unit_test(a_peer_that_scribbles_is_refused_or_harmless),
		cmocka_unit_test(memory_from_others_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
