/* Storage that one task leaves to the next: who gets it, what is given back, and when a node that
 * had no room is asked once more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "exec/staging_cache.h"

#define LIFE 7

static int set_up(void **state)
{
	static struct staging_cache cache;

	staging_cache_init(&cache);
	*state = &cache;
	return 0;
}

static int tear_down(void **state)
{
	staging_cache_release(*state);
	return 0;
}

static bool put(struct staging_cache *cache, uint64_t life, uint64_t id, uint64_t nbytes)
{
	struct transport_storage place = { .handle = { .handle_id = id, .nbytes = nbytes } };

	return staging_cache_put(cache, life, &place);
}

/* The id of what was taken; 0: nothing. */
static uint64_t take(struct staging_cache *cache, uint64_t life, uint64_t nbytes)
{
	struct transport_storage place;

	return staging_cache_take(cache, life, nbytes, &place) ? place.handle.handle_id : 0;
}

static uint64_t pop_old(struct staging_cache *cache)
{
	struct transport_storage place;

	return staging_cache_pop_old(cache, &place) ? place.handle.handle_id : 0;
}

static void a_piece_is_for_the_same_size_in_the_same_life(void **state)
{
	static const struct {
		uint64_t life, nbytes, id;
	} asked[] = {
		{ LIFE, 99, 0 },  { LIFE, 101, 0 }, { LIFE + 1, 100, 0 }, { LIFE, 200, 2 },
		{ LIFE, 100, 1 }, { LIFE, 100, 0 }, { LIFE, 200, 0 },
	};

	assert_true(put(*state, LIFE, 1, 100));
	assert_true(put(*state, LIFE, 2, 200));
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
		assert_int_equal(take(*state, asked[i].life, asked[i].nbytes), asked[i].id);
}

static void a_piece_is_taken_once(void **state)
{
	uint64_t seen = 0;

	for (uint64_t id = 1; id <= 3; id++)
		assert_true(put(*state, LIFE, id, 100));
	for (int i = 0; i < 3; i++)
		seen |= 1u << take(*state, LIFE, 100);
	assert_int_equal(seen, 1u << 1 | 1u << 2 | 1u << 3);
	assert_int_equal(take(*state, LIFE, 100), 0);
}

static void what_the_handle_says_for_transports_comes_along(void **state)
{
	static const uint8_t told[] = { 3, 1, 4, 1, 5 };
	struct msg_handle answer = { .handle_id = 1, .nbytes = 100 };
	struct transport_storage place, other;

	answer.transport_desc = (simpler_bytes){ told, sizeof(told) };
	transport_storage_take(&place, &answer);
	assert_true(staging_cache_put(*state, LIFE, &place));
	memset(&place, 0xa5, sizeof(place));
	/* One that moves into its place must not take it along. */
	assert_true(put(*state, LIFE, 2, 200));
	assert_true(staging_cache_take(*state, LIFE, 100, &other));
	assert_ptr_equal(other.handle.transport_desc.data, other.desc);
	assert_int_equal(other.handle.transport_desc.size, sizeof(told));
	assert_memory_equal(other.desc, told, sizeof(told));
	assert_true(staging_cache_take(*state, LIFE, 200, &other));
	assert_int_equal(other.handle.transport_desc.size, 0);
}

static void no_more_is_kept_than_so_many_pieces_and_bytes(void **state)
{
	assert_false(put(*state, LIFE, 1, 0));
	assert_false(put(*state, LIFE, 1, STAGING_BYTES + 1));
	assert_false(put(*state, LIFE, 1, UINT64_MAX));
	assert_true(put(*state, LIFE, 1, STAGING_BYTES - 1));
	assert_false(put(*state, LIFE, 2, 2));
	assert_true(put(*state, LIFE, 2, 1));
	assert_int_equal(take(*state, LIFE, STAGING_BYTES - 1), 1);
	for (uint64_t id = 3; id < 3 + STAGING_PIECES - 1; id++)
		assert_true(put(*state, LIFE, id, 1));
	assert_false(put(*state, LIFE, 100, 1));
}

static void what_nobody_took_between_two_looks_is_given_back(void **state)
{
	assert_true(put(*state, LIFE, 1, 100));
	assert_true(put(*state, LIFE, 2, 200));
	assert_int_equal(pop_old(*state), 0);
	staging_cache_age(*state);
	assert_int_equal(take(*state, LIFE, 100), 1);
	assert_true(put(*state, LIFE, 1, 100));
	assert_int_equal(pop_old(*state), 2);
	assert_int_equal(pop_old(*state), 0);
	assert_int_equal(take(*state, LIFE, 100), 1);
}

static void a_node_without_room_is_asked_again_if_something_was_freed(void **state)
{
	struct staging_cache *cache = *state;
	struct staging_mark before = staging_cache_mark(cache);
	struct transport_storage place;

	assert_false(staging_cache_has_changed(cache, before));
	assert_true(put(cache, LIFE, 1, 100));
	assert_false(staging_cache_has_changed(cache, before));
	assert_true(staging_cache_pop(cache, &place));
	assert_false(staging_cache_pop(cache, &place));
	assert_true(staging_cache_has_changed(cache, before));
	/* It is on its way still, so whoever asks now may come too early. */
	before = staging_cache_mark(cache);
	assert_true(staging_cache_has_changed(cache, before));
	staging_cache_freed(cache);
	assert_true(staging_cache_has_changed(cache, before));
	assert_false(staging_cache_has_changed(cache, staging_cache_mark(cache)));
	/* So with what was taken and turned out to be of no use. */
	before = staging_cache_mark(cache);
	staging_cache_frees(cache);
	assert_true(staging_cache_has_changed(cache, before));
	staging_cache_freed(cache);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_piece_is_for_the_same_size_in_the_same_life),
		TEST(a_piece_is_taken_once),
		TEST(what_the_handle_says_for_transports_comes_along),
		TEST(no_more_is_kept_than_so_many_pieces_and_bytes),
		TEST(what_nobody_took_between_two_looks_is_given_back),
		TEST(a_node_without_room_is_asked_again_if_something_was_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
