#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "device/layout.h"
#include "random.h"

#define ARENA_BYTES 4096

static uint8_t arena[ARENA_BYTES];

/* A tensor of bytes in the middle of the arena. */
static simpler_tensor view(ptrdiff_t at, uint32_t ndim, const int64_t *shape,
                           const int64_t *strides)
{
	simpler_tensor tensor = { .data = arena + ARENA_BYTES / 2 + at,
		                  .dtype = SIMPLER_UINT8,
		                  .ndim = ndim };

	for (uint32_t i = 0; i < ndim; i++) {
		tensor.shape[i] = shape[i];
		tensor.strides[i] = strides[i];
	}
	return tensor;
}

/* The elements one by one, in row-major order, straight from what a stride means. */
static uint8_t *element(const simpler_tensor *tensor, uint64_t number)
{
	uint8_t *at = tensor->data;

	for (uint32_t i = tensor->ndim; i-- > 0;) {
		at += (int64_t)(number % (uint64_t)tensor->shape[i]) * tensor->strides[i];
		number /= (uint64_t)tensor->shape[i];
	}
	return at;
}

static const struct {
	const char *name;
	uint32_t ndim;
	int64_t shape[4], strides[4];
	uint32_t runs, left; /* runs, and dimensions that are left */
} cases[] = {
	{ "a scalar", 0, { 0 }, { 0 }, 1, 0 },
	{ "a vector", 1, { 9 }, { 1 }, 1, 0 },
	{ "a matrix", 2, { 3, 4 }, { 4, 1 }, 1, 0 },
	{ "some of its columns", 2, { 3, 2 }, { 4, 1 }, 3, 1 },
	{ "one of its columns", 2, { 3, 1 }, { 4, 77 }, 3, 1 },
	{ "its transpose", 2, { 4, 3 }, { 1, 4 }, 12, 2 },
	{ "rows from the last to the first", 2, { 3, 4 }, { -4, 1 }, 3, 1 },
	{ "a vector from the last to the first", 1, { 5 }, { -1 }, 5, 1 },
	{ "all elements from the last to the first", 2, { 3, 4 }, { -4, -1 }, 12, 1 },
	{ "every other element", 2, { 3, 4 }, { 8, 2 }, 12, 1 },
	{ "planes whose rows continue one another", 3, { 2, 3, 4 }, { 20, 4, 1 }, 2, 1 },
	{ "planes with gaps in rows and between", 3, { 2, 3, 2 }, { 20, 4, 1 }, 6, 2 },
	{ "one row again and again", 2, { 3, 4 }, { 0, 1 }, 3, 1 },
	{ "dimensions of 1 with any stride", 4, { 1, 3, 1, 4 }, { -9, 4, 9, 1 }, 1, 0 },
	{ "no element", 2, { 3, 0 }, { 4, 1 }, 0, 0 },
};

static void runs_are_as_long_as_they_can_be_and_in_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		simpler_tensor tensor = view(0, cases[i].ndim, cases[i].shape, cases[i].strides);
		struct layout layout;
		struct layout_walk walk;
		uint64_t elements = 0;
		uint32_t runs = 0;
		const uint8_t *run;

		layout_init(&layout, &tensor);
		layout_walk_begin(&walk, &layout);
		while ((run = layout_walk_next(&walk))) {
			runs++;
			for (uint64_t at = 0; at < layout.run; at++) {
				if (run + at != element(&tensor, elements++))
					fail_msg("%s: element %d is elsewhere", cases[i].name,
					         (int)elements - 1);
			}
		}
		if (elements != simpler_tensor_count(&tensor) || layout.bytes != elements ||
		    runs != cases[i].runs || layout.ndim != cases[i].left)
			fail_msg("%s: %d elements in %u runs, %u dimensions", cases[i].name,
			         (int)elements, runs, (unsigned)layout.ndim);
	}
}

static simpler_tensor random_view(void)
{
	int64_t shape[3], strides[3];
	uint32_t ndim = random_below(4);

	for (uint32_t i = 0; i < ndim; i++) {
		shape[i] = random_below(16) == 0 ? 0 : 1 + random_below(5);
		/* Often of few values, so that pitches are equal. */
		strides[i] = random_below(2) ? (int64_t)random_below(4) * 8
		                             : (int64_t)random_below(41) - 20;
	}
	return view((ptrdiff_t)random_below(64) - 32, ndim, shape, strides);
}

/* Byte by byte. */
static bool share_a_byte(const simpler_tensor *a, const simpler_tensor *b)
{
	uint64_t count_a = simpler_tensor_count(a), count_b = simpler_tensor_count(b);

	memset(arena, 0, sizeof(arena));
	for (uint64_t i = 0; i < count_a; i++)
		*element(a, i) = 1;
	for (uint64_t i = 0; i < count_b; i++) {
		if (*element(b, i))
			return true;
	}
	return false;
}

static void overlap_is_exact(void **state)
{
	uint64_t operations = random_begin("layouts", 200000), overlapping = 0;

	(void)state;
	for (uint64_t i = 0; i < operations; i++) {
		simpler_tensor a = random_view(), b = random_view();
		bool shared = share_a_byte(&a, &b);
		struct layout of_a, of_b;

		layout_init(&of_a, &a);
		layout_init(&of_b, &b);
		overlapping += shared;
		if (layout_overlaps(&of_a, &of_b) != shared ||
		    layout_overlaps(&of_b, &of_a) != shared)
			fail_msg("pair %llu: they %s", (unsigned long long)i,
			         shared ? "overlap" : "do not overlap");
		if (layout_equals(&of_a, &of_b) && of_a.bytes > 0)
			assert_true(shared);
	}
	/* Both answers were tried. */
	assert_in_range(overlapping, operations / 20, operations / 20 * 19);
}

static void columns_of_a_long_matrix_are_told_apart_at_once(void **state)
{
	/* 2^40 rows: walking them would not end. Nothing is touched. */
	const int64_t shape[] = { INT64_C(1) << 40, 8 }, strides[] = { 16, 1 };
	simpler_tensor left = view(0, 2, shape, strides), right = view(8, 2, shape, strides);
	simpler_tensor across = view(5, 2, shape, strides);
	struct layout a, b, c;

	(void)state;
	layout_init(&a, &left);
	layout_init(&b, &right);
	layout_init(&c, &across);
	assert_false(layout_overlaps(&a, &b));
	assert_true(layout_overlaps(&a, &c));
	assert_true(layout_overlaps(&c, &b));
	assert_true(layout_equals(&a, &a));
	assert_false(layout_equals(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_are_as_long_as_they_can_be_and_in_order),
		cmocka_unit_test(overlap_is_exact),
		cmocka_unit_test(columns_of_a_long_matrix_are_told_apart_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
