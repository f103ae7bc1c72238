/* The shared heap of a worker: blocks by address, limits, its pages, and all of it against a model.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "os/memory.h"
#include "random.h"
#include "tensor/arena.h"
#include "tensor/heap.h"

#define KIB      UINT64_C(1024)
#define MIB      (KIB * KIB)
#define CAPACITY (16 * MIB)

static bool owns(struct heap *heap, const void *data, uint64_t span)
{
	uint64_t owner;

	return heap_find(heap, data, span, &owner);
}

static int open_heap(void **state)
{
	struct heap *heap;

	if (heap_create("test-heap", CAPACITY, &heap) != SIMPLER_OK)
		return -1;
	*state = heap;
	return 0;
}

static int close_heap(void **state)
{
	heap_destroy(*state);
	return 0;
}

static uint8_t *alloc(struct heap *heap, uint64_t bytes)
{
	void *data = NULL;

	assert_int_equal(heap_alloc(heap, bytes, &data), SIMPLER_OK);
	assert_non_null(data);
	assert_int_equal((uintptr_t)data % ARENA_ALIGNMENT, 0);
	return data;
}

static struct heap_stats stats_of(struct heap *heap)
{
	struct heap_stats stats;

	heap_stats(heap, &stats);
	return stats;
}

/* Memory that the system gives the heap. */
static uint64_t committed(const struct heap *heap)
{
	struct stat status;

	assert_int_equal(fstat(heap_fd(heap), &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

static void a_capacity_is_rounded_up_to_pages_or_refused(void **state)
{
	static const uint64_t refused[] = { 0, (uint64_t)INT64_MAX + 1, UINT64_MAX - 4095,
		                            UINT64_MAX };
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size;
	struct heap *heap;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(heap_create("test-heap", refused[i], &heap), SIMPLER_EINVAL);
	assert_int_equal(heap_create("test-heap", page + 1, &heap), SIMPLER_OK);
	assert_int_equal(heap_capacity(heap), 2 * page);
	assert_int_equal(memory_size(heap_fd(heap), &size), SIMPLER_OK);
	assert_int_equal(size, 2 * page);
	(void)alloc(heap, 2 * page); /* all of it */
	heap_destroy(heap);
	heap_destroy(NULL);
}

static void who_maps_the_heap_sees_what_is_written(void **state)
{
	struct heap *heap = *state;
	void *elsewhere;
	uint8_t *data;

	assert_int_equal(memory_map(heap_fd(heap), heap_capacity(heap), &elsewhere), SIMPLER_OK);
	data = alloc(heap, 100);
	memset(data, 0x5a, 100);
	assert_memory_equal((uint8_t *)elsewhere + (data - (uint8_t *)heap_base(heap)), data, 100);
	memory_unmap(elsewhere, heap_capacity(heap));
}

static void no_bytes_take_the_smallest_block(void **state)
{
	struct heap *heap = *state;
	uint8_t *a = alloc(heap, 0), *b = alloc(heap, 0);

	assert_ptr_not_equal(a, b);
	assert_int_equal(stats_of(heap).used, 2 * ARENA_ALIGNMENT);
	assert_int_equal(stats_of(heap).blocks, 2);
	assert_int_equal(heap_free(heap, a), SIMPLER_OK);
	assert_int_equal(heap_free(heap, b), SIMPLER_OK);
	assert_int_equal(stats_of(heap).used, 0);
}

static void a_full_heap_says_what_was_asked_and_what_there_is(void **state)
{
	struct heap *heap = *state;
	void *data = heap;

	(void)alloc(heap, 12 * MIB);
	assert_int_equal(heap_alloc(heap, 5 * MIB, &data), SIMPLER_ENOSPACE);
	assert_ptr_equal(data, heap); /* untouched */
	assert_non_null(strstr(simpler_last_error(), "asked for 5242880 bytes"));
	assert_non_null(strstr(simpler_last_error(), "12582912 of its 16777216 bytes"));
	assert_non_null(strstr(simpler_last_error(), "gap is 4194304"));
	assert_int_equal(heap_alloc(heap, UINT64_MAX, &data), SIMPLER_ENOSPACE);
	assert_int_equal(stats_of(heap).largest_free, 4 * MIB);
	(void)alloc(heap, 4 * MIB);
	assert_int_equal(heap_alloc(heap, 0, &data), SIMPLER_ENOSPACE);
	assert_int_equal(stats_of(heap).blocks, 2);
}

static void only_the_beginning_of_a_live_block_is_freed(void **state)
{
	struct heap *heap = *state;
	uint8_t *freed = alloc(heap, 1000), *small = alloc(heap, 1000), *large = alloc(heap, MIB);
	uint8_t *large_freed = alloc(heap, MIB), *base = heap_base(heap);
	const struct {
		void *data;
		const char *message;
	} cases[] = {
		{ NULL, "NULL pointer" },
		{ heap, "is not in the shared heap" },
		{ base - 1, "is not in the shared heap" },
		{ base + heap_capacity(heap), "is not in the shared heap" },
		{ small + 1, "1 bytes inside a block" },
		{ small + 64, "64 bytes inside a block" },
		{ large + 4096, "4096 bytes inside a block" },
		{ freed, "freed already, or never allocated" },
		{ large_freed, "freed already, or never allocated" },
		{ base + heap_capacity(heap) - 64, "never allocated" },
	};

	assert_int_equal(heap_free(heap, freed), SIMPLER_OK);
	assert_int_equal(heap_free(heap, large_freed), SIMPLER_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(heap_free(heap, cases[i].data), SIMPLER_EINVAL);
		if (!strstr(simpler_last_error(), cases[i].message))
			fail_msg("'%s' has no '%s'", simpler_last_error(), cases[i].message);
	}
	assert_int_equal(stats_of(heap).blocks, 2);
	assert_int_equal(heap_free(heap, small), SIMPLER_OK);
	assert_int_equal(heap_free(heap, large), SIMPLER_OK);
}

static void a_range_is_owned_within_one_block(void **state)
{
	struct heap *heap = *state;
	uint8_t *a = alloc(heap, 128), *b = alloc(heap, 64), *large = alloc(heap, 3 * MIB);
	const struct {
		const char *name;
		const void *data;
		uint64_t span;
		bool owned;
	} cases[] = {
		{ "all of a block", a, 128, true },
		{ "its end", a + 127, 1, true },
		{ "nothing, somewhere in it", a + 5, 0, true },
		{ "a byte more", a, 129, false },
		{ "two blocks", a, 192, false },
		{ "the other", b, 64, true },
		{ "a byte before it, and it", b - 1, 2, false },
		{ "the middle of a large one", large + 2 * MIB + 17, 1000, true },
		{ "all of it", large, 3 * MIB, true },
		{ "past it", large + 1, 3 * MIB, false },
		{ "behind it", large + 3 * MIB, 1, false },
		{ "what was never allocated", large + 8 * MIB, 1, false },
		{ "a span that wraps", a + 64, UINT64_MAX, false },
		{ "before the heap", (uint8_t *)heap_base(heap) - 1, 1, false },
		{ "behind the heap", (uint8_t *)heap_base(heap) + CAPACITY, 0, false },
		{ "a stack", &heap, 1, false },
		{ "nowhere", NULL, 0, false },
	};

	assert_ptr_equal(b, a + 128); /* neighbours, or the cases say little */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (owns(heap, cases[i].data, cases[i].span) != cases[i].owned)
			fail_msg("%s", cases[i].name);
	}
	assert_int_equal(heap_free(heap, a), SIMPLER_OK);
	assert_false(owns(heap, a, 1));
	assert_true(owns(heap, b, 1));
}

static void blocks_have_pages_and_give_back_those_above_the_limit(void **state)
{
	struct heap *heap;
	uint8_t *kept, *over, *small;

	(void)state;
	assert_int_equal(heap_create("test-heap", 256 * MIB, &heap), SIMPLER_OK);
	assert_int_equal(committed(heap), 0);
	kept = alloc(heap, 64 * MIB);
	assert_int_equal(committed(heap), 64 * MIB);
	over = alloc(heap, 3 * MIB);
	small = alloc(heap, 100);
	assert_true(committed(heap) > 67 * MIB);
	assert_int_equal(heap_free(heap, kept), SIMPLER_OK);
	assert_true(committed(heap) > 67 * MIB); /* 64 MiB are kept */
	assert_int_equal(heap_free(heap, over), SIMPLER_OK);
	assert_true(committed(heap) > 64 * MIB && committed(heap) < 65 * MIB);
	assert_int_equal(heap_free(heap, small), SIMPLER_OK);
	assert_int_equal(committed(heap), 64 * MIB);
	(void)alloc(heap, 64 * MIB);
	assert_int_equal(committed(heap), 64 * MIB); /* the kept ones */
	heap_destroy(heap);
}

static void a_page_of_small_blocks_stays_until_the_last_is_freed(void **state)
{
	struct heap *heap = *state;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint8_t *data[3];

	for (size_t i = 0; i < 3; i++) {
		data[i] = alloc(heap, page / 2);
		memset(data[i], (int)i + 1, page / 2);
	}
	assert_int_equal(committed(heap), 2 * page);
	assert_int_equal(heap_free(heap, data[1]), SIMPLER_OK);
	assert_true(data[0][page / 2 - 1] == 1 && data[2][0] == 3);
	assert_int_equal(heap_free(heap, data[0]), SIMPLER_OK);
	assert_int_equal(data[2][page / 2 - 1], 3);
}

/* --- against a model --- */

#define MODEL_MAX 2000

struct model_block {
	uint8_t *data;
	uint64_t bytes;
	uint8_t mark;
};

static struct model_block model[MODEL_MAX];
static size_t model_count;

static uint64_t random_size(void)
{
	switch (random_below(10)) {
	case 0:
		return 0;
	case 1:
		return 200 * KIB + random_below(200 * 1024);
	case 2:
		return random_below(20000);
	default:
		return random_below(500);
	}
}

/* Its first and last bytes, so that an overlap with another is seen. */
static void check_marks(const struct model_block *block)
{
	if (block->bytes > 0)
		assert_true(block->data[0] == block->mark &&
		            block->data[block->bytes - 1] == block->mark);
}

static void model_alloc(struct heap *heap)
{
	struct model_block *block = &model[model_count];
	void *data;
	simpler_status status;

	*block = (struct model_block){ .bytes = random_size(),
		                       .mark = (uint8_t)(random_below(255) + 1) };
	status = heap_alloc(heap, block->bytes, &data);
	if (status != SIMPLER_OK) {
		assert_int_equal(status, SIMPLER_ENOSPACE);
		/* Rounding up to pages and beginning at one take less than two. */
		assert_true(stats_of(heap).largest_free < block->bytes + 8192);
		return;
	}
	block->data = data;
	if (block->bytes > 0)
		block->data[0] = block->data[block->bytes - 1] = block->mark;
	model_count++;
}

static void model_free(struct heap *heap)
{
	size_t index = random_below((uint32_t)model_count);
	struct model_block block = model[index];

	check_marks(&block);
	model[index] = model[--model_count];
	assert_int_equal(heap_free(heap, block.data), SIMPLER_OK);
	assert_int_equal(heap_free(heap, block.data), SIMPLER_EINVAL);
	assert_false(owns(heap, block.data, 1));
}

/* The live block that has this address, its bytes as the allocator rounds them. */
static const struct model_block *model_find(const uint8_t *data)
{
	for (size_t i = 0; i < model_count; i++) {
		uint64_t bytes = model[i].bytes > 0 ? model[i].bytes : 1;
		uint64_t unit = bytes >= ARENA_LARGE - 63 ? 4096 : ARENA_ALIGNMENT;

		if (data >= model[i].data &&
		    data < model[i].data + (bytes + unit - 1) / unit * unit)
			return &model[i];
	}
	return NULL;
}

static void model_ask(struct heap *heap)
{
	uint8_t *data = (uint8_t *)heap_base(heap) + random_below((uint32_t)CAPACITY);
	const struct model_block *block = model_find(data);

	assert_int_equal(owns(heap, data, 1), block != NULL);
	if (!block || block->data != data)
		assert_int_equal(heap_free(heap, data), SIMPLER_EINVAL);
	if (block && block->bytes > 0)
		assert_true(owns(heap, block->data, block->bytes));
}

static void random_use_agrees_with_a_model(void **state)
{
	uint64_t operations = random_begin("heap", 300000);
	struct heap *heap = *state;

	model_count = 0;
	for (uint64_t i = 0; i < operations; i++) {
		uint32_t what = random_below(100);
		/* Grow for a while, then shrink. */
		bool growing = i / 5000 % 2 == 0;

		if (what < 5)
			model_ask(heap);
		else if (model_count > 0 &&
		         (what < (growing ? 45 : 65) || model_count == MODEL_MAX))
			model_free(heap);
		else if (model_count < MODEL_MAX)
			model_alloc(heap);
		assert_int_equal(stats_of(heap).blocks, model_count);
	}
	while (model_count > 0)
		model_free(heap);
	assert_int_equal(stats_of(heap).used, 0);
	assert_int_equal(stats_of(heap).largest_free, CAPACITY);
}

static void a_hundred_thousand_blocks_live_at_once(void **state)
{
	static uint8_t *data[100000];
	const size_t count = sizeof(data) / sizeof(data[0]);
	struct heap *heap = *state;

	for (size_t i = 0; i < count; i++) {
		data[i] = alloc(heap, 100);
		memcpy(data[i], &i, sizeof(i));
	}
	assert_int_equal(stats_of(heap).blocks, count);
	assert_int_equal(stats_of(heap).used, count * 128);
	for (size_t i = 0; i < count; i += 2)
		assert_int_equal(heap_free(heap, data[i]), SIMPLER_OK);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(owns(heap, data[i] + 7, 100), i % 2);
	for (size_t i = 1; i < count; i += 2) {
		assert_memory_equal(data[i], &i, sizeof(i));
		assert_int_equal(heap_free(heap, data[i]), SIMPLER_OK);
	}
	assert_int_equal(stats_of(heap).used, 0);
}

/* --- threads --- */

#define THREADS 4
#define ROUNDS  2000

static void *churn(void *argument)
{
	struct heap *heap = argument;
	uint64_t seed = (uintptr_t)&seed;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t bytes = 1 + random_from(&seed) % (i % 10 ? 1000 : 600 * KIB);
		void *data;

		if (heap_alloc(heap, bytes, &data) != SIMPLER_OK)
			return "refused";
		memset(data, i, bytes);
		if (!owns(heap, data, bytes) || ((uint8_t *)data)[bytes - 1] != (uint8_t)i)
			return "not its own";
		if (heap_free(heap, data) != SIMPLER_OK)
			return "not freed";
	}
	return NULL;
}

static void threads_share_the_heap(void **state)
{
	pthread_t threads[THREADS];
	void *complaint;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, *state), 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &complaint), 0);
		if (complaint)
			fail_msg("%s", (const char *)complaint);
	}
	assert_int_equal(stats_of(*state).used, 0);
}

#define WITH_HEAP(test) cmocka_unit_test_setup_teardown(test, open_heap, close_heap)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_capacity_is_rounded_up_to_pages_or_refused),
		WITH_HEAP(who_maps_the_heap_sees_what_is_written),
		WITH_HEAP(no_bytes_take_the_smallest_block),
		WITH_HEAP(a_full_heap_says_what_was_asked_and_what_there_is),
		WITH_HEAP(only_the_beginning_of_a_live_block_is_freed),
		WITH_HEAP(a_range_is_owned_within_one_block),
		cmocka_unit_test(blocks_have_pages_and_give_back_those_above_the_limit),
		WITH_HEAP(a_page_of_small_blocks_stays_until_the_last_is_freed),
		WITH_HEAP(random_use_agrees_with_a_model),
		WITH_HEAP(a_hundred_thousand_blocks_live_at_once),
		WITH_HEAP(threads_share_the_heap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
