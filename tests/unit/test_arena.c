/* The allocator of offsets: alignment, exhaustion, merging, and a random comparison with a map of
 * every unit of the arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "random.h"
#include "tensor/arena.h"

#define PAGE     UINT64_C(4096)
#define MIB      (UINT64_C(1024) * 1024)
#define CAPACITY (16 * MIB)
#define UNITS    (CAPACITY / ARENA_ALIGNMENT)

static struct arena *new_arena(uint64_t capacity)
{
	struct arena *arena = arena_create(capacity, PAGE);

	assert_non_null(arena);
	return arena;
}

static struct arena_block *alloc(struct arena *arena, uint64_t bytes)
{
	struct arena_block *block = NULL;

	assert_int_equal(arena_alloc(arena, bytes, &block), SIMPLER_OK);
	return block;
}

static const struct {
	const char *name;
	uint64_t asked, bytes, alignment;
} sizes[] = {
	{ "one byte", 1, 64, 64 },
	{ "one unit", 64, 64, 64 },
	{ "a little over a unit", 65, 128, 64 },
	{ "a page", 4096, 4096, 64 },
	{ "the most that is small", 256 * 1024 - 64, 256 * 1024 - 64, 64 },
	{ "what rounds up to large", 256 * 1024 - 1, 256 * 1024, 4096 },
	{ "the least that is large", 256 * 1024, 256 * 1024, 4096 },
	{ "large, not a whole page", 256 * 1024 + 1, 260 * 1024, 4096 },
};

static void sizes_are_rounded_and_large_ones_own_their_pages(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct arena *arena = new_arena(CAPACITY);
		struct arena_block *first = alloc(arena, 64); /* so that 0 is taken */
		struct arena_block *block = alloc(arena, sizes[i].asked);

		if (block->bytes != sizes[i].bytes || block->offset % sizes[i].alignment != 0)
			fail_msg("%s: got %llu bytes at %llu", sizes[i].name,
			         (unsigned long long)block->bytes,
			         (unsigned long long)block->offset);
		assert_int_equal(arena_is_large(block), sizes[i].alignment == PAGE);
		arena_free(arena, first);
		arena_free(arena, block);
		assert_int_equal(arena_largest_free(arena), CAPACITY);
		arena_destroy(arena);
	}
}

static void the_whole_arena_can_be_one_block(void **state)
{
	static const uint64_t capacities[] = { PAGE, 5 * PAGE, MIB, MIB + PAGE,
		                               7 * MIB + 3 * PAGE };

	(void)state;
	for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		struct arena *arena = new_arena(capacities[i]);

		for (int round = 0; round < 3; round++) {
			struct arena_block *block = alloc(arena, capacities[i]);

			assert_int_equal(block->offset, 0);
			assert_int_equal(arena_largest_free(arena), 0);
			assert_int_equal(arena_used(arena), capacities[i]);
			arena_free(arena, block);
			assert_int_equal(arena_used(arena), 0);
		}
		arena_destroy(arena);
	}
}

static void freed_neighbours_become_one(void **state)
{
	static const int orders[][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 0, 2, 1 }, { 1, 0, 2 } };

	(void)state;
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		struct arena *arena = new_arena(3 * PAGE);
		struct arena_block *blocks[3];
		const struct arena_block *gap = NULL;

		for (int j = 0; j < 3; j++)
			blocks[j] = alloc(arena, PAGE);
		for (int j = 0; j < 3; j++)
			gap = arena_free(arena, blocks[orders[i][j]]);
		assert_int_equal(gap->offset, 0);
		assert_int_equal(gap->bytes, 3 * PAGE);
		arena_destroy(arena);
	}
}

static void refusing_names_asked_used_largest_and_capacity(void **state)
{
	struct arena *arena = new_arena(4 * PAGE);
	struct arena_block *blocks[4], *none;

	(void)state;
	for (int i = 0; i < 4; i++)
		blocks[i] = alloc(arena, PAGE);
	arena_free(arena, blocks[1]);
	arena_free(arena, blocks[3]);
	assert_int_equal(arena_alloc(arena, 5000, &none), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "asked for 5000 "));
	assert_non_null(strstr(simpler_last_error(), "8192 of its 16384 bytes are used"));
	assert_non_null(strstr(simpler_last_error(), "largest gap is 4096"));
	assert_int_equal(arena_alloc(arena, UINT64_MAX, &none), SIMPLER_ENOSPACE);
	assert_int_equal(arena_alloc(arena, UINT64_MAX - 4096, &none), SIMPLER_ENOSPACE);
	alloc(arena, PAGE);
	arena_destroy(arena);
}

/* A large block needs a page to begin at; a gap that is long enough only from there is found. */
static void a_gap_that_fits_only_when_aligned_is_found(void **state)
{
	struct arena *arena = new_arena(256 * 1024 + PAGE);
	struct arena_block *none;

	(void)state;
	alloc(arena, 64);
	assert_int_equal(alloc(arena, 256 * 1024)->offset, PAGE);
	assert_int_equal(arena_alloc(arena, PAGE, &none), SIMPLER_ENOSPACE);
	alloc(arena, PAGE - 64);
	arena_destroy(arena);
}

/* Random use. `taken` has a byte for each unit of the arena. */
struct model {
	struct arena *arena;
	uint8_t taken[UNITS];
	struct arena_block *blocks[2048];
	size_t count;
	uint64_t used;
	uint64_t refusals, used_when_refused; /* of requests up to SMALL */
};

#define SMALL 4096

static uint64_t random_size(void)
{
	uint32_t kind = random_below(100);

	if (kind < 70)
		return 1 + random_below(SMALL);
	if (kind < 96)
		return 1 + random_below(64 * 1024);
	return 1 + random_below(768 * 1024);
}

static void mark(struct model *model, const struct arena_block *block, uint8_t taken)
{
	uint64_t first = block->offset / ARENA_ALIGNMENT, count = block->bytes / ARENA_ALIGNMENT;

	assert_true(block->offset + block->bytes <= CAPACITY);
	for (uint64_t i = first; i < first + count; i++)
		assert_true(model->taken[i] != taken);
	memset(model->taken + first, taken, (size_t)count);
	model->used += taken ? block->bytes : 0 - block->bytes;
}

/* Is there a gap of `bytes` that begins at a multiple of `alignment`? And how long is the longest?
 */
static bool has_gap(const struct model *model, uint64_t bytes, uint64_t alignment,
                    uint64_t *longest)
{
	uint64_t run = 0, aligned_run = 0;
	bool found = false;

	*longest = 0;
	for (uint64_t i = 0; i < UNITS; i++) {
		bool begins = i * ARENA_ALIGNMENT % alignment == 0;

		run = model->taken[i] ? 0 : run + 1;
		aligned_run = model->taken[i] ? 0 : aligned_run || begins ? aligned_run + 1 : 0;
		if (run > *longest)
			*longest = run;
		found = found || aligned_run * ARENA_ALIGNMENT >= bytes;
	}
	*longest *= ARENA_ALIGNMENT;
	return found;
}

static void check_refusal(struct model *model, uint64_t asked)
{
	bool large = (asked + 63) / 64 * 64 >= ARENA_LARGE;
	uint64_t longest, unit = large ? PAGE : ARENA_ALIGNMENT;

	assert_false(has_gap(model, (asked + unit - 1) / unit * unit, unit, &longest));
	assert_int_equal(longest, arena_largest_free(model->arena));
	if (asked <= SMALL) {
		model->refusals++;
		model->used_when_refused += model->used;
	}
}

static void allocate_one(struct model *model)
{
	struct arena_block *block;
	uint64_t asked = random_size();
	simpler_status status = arena_alloc(model->arena, asked, &block);

	if (status == SIMPLER_ENOSPACE) {
		check_refusal(model, asked);
		return;
	}
	assert_int_equal(status, SIMPLER_OK);
	assert_true(block->bytes >= asked && block->bytes < asked + PAGE);
	mark(model, block, 1);
	model->blocks[model->count++] = block;
}

static void free_one(struct model *model)
{
	size_t i = random_below((uint32_t)model->count);
	struct arena_block *block = model->blocks[i];
	const struct arena_block *gap;
	uint64_t first, end;

	model->blocks[i] = model->blocks[--model->count];
	mark(model, block, 0);
	gap = arena_free(model->arena, block);
	first = gap->offset / ARENA_ALIGNMENT;
	end = (gap->offset + gap->bytes) / ARENA_ALIGNMENT;
	assert_true(first == 0 || model->taken[first - 1]);
	assert_true(end == UNITS || model->taken[end]);
}

static void random_use_never_overlaps_and_never_refuses_what_fits(void **state)
{
	static struct model model;
	uint64_t operations = random_begin("arena", 1000000);
	uint32_t allocations_in_ten = 6;

	(void)state;
	model.arena = new_arena(CAPACITY);
	for (uint64_t i = 0; i < operations; i++) {
		if (i % 4096 == 0)
			allocations_in_ten = 3 + random_below(5);
		if (model.count == 0 ||
		    (random_below(10) < allocations_in_ten && model.count < 2048))
			allocate_one(&model);
		else
			free_one(&model);
		assert_int_equal(arena_used(model.arena), model.used);
	}
	while (model.count > 0)
		free_one(&model);
	assert_int_equal(arena_largest_free(model.arena), CAPACITY);
	arena_destroy(model.arena);
	if (model.refusals > 0) {
		uint64_t percent = model.used_when_refused / model.refusals / (CAPACITY / 100);

		printf("arena: %llu requests up to %d bytes refused, on average with %llu%% used\n",
		       (unsigned long long)model.refusals, SMALL, (unsigned long long)percent);
		assert_true(percent >= 85);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_rounded_and_large_ones_own_their_pages),
		cmocka_unit_test(the_whole_arena_can_be_one_block),
		cmocka_unit_test(freed_neighbours_become_one),
		cmocka_unit_test(refusing_names_asked_used_largest_and_capacity),
		cmocka_unit_test(a_gap_that_fits_only_when_aligned_is_found),
		cmocka_unit_test(random_use_never_overlaps_and_never_refuses_what_fits),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
