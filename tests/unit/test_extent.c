/* Every pair of small extents against their bytes, listed one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dag/extent.h"

#define BYTES      24 /* that an extent may have */
#define MAX_SHAPES 4096

struct shape {
	struct extent extent;
	uint32_t bytes; /* one bit each */
};

static struct shape shapes[MAX_SHAPES];
static size_t shape_count;
static uint64_t origin; /* where byte 0 is */

static void add_shape(struct dag_use use)
{
	struct shape shape = { .bytes = 0 };

	for (uint64_t i = 0; i < use.nbytes; i++) {
		if (use.pitch == 0 || i % use.pitch < use.width)
			shape.bytes |= UINT32_C(1) << (use.offset + i);
	}
	use.offset += origin;
	shape.extent = extent_of(&use);
	assert_true(shape_count < MAX_SHAPES);
	shapes[shape_count++] = shape;
}

static void add_strided(uint64_t offset, uint64_t pitch)
{
	for (uint64_t width = 1; width <= pitch; width++) {
		for (uint64_t nbytes = width; offset + nbytes <= BYTES; nbytes += pitch)
			add_shape((struct dag_use){ .offset = offset,
			                            .nbytes = nbytes,
			                            .pitch = pitch,
			                            .width = width });
	}
}

static int list_shapes(void **state)
{
	(void)state;
	shape_count = 0;
	for (uint64_t offset = 0; offset < BYTES; offset++) {
		for (uint64_t nbytes = 1; offset + nbytes <= BYTES; nbytes += 1 + nbytes / 4)
			add_shape((struct dag_use){ .offset = offset, .nbytes = nbytes });
		for (uint64_t pitch = 2; pitch <= 7; pitch++)
			add_strided(offset, pitch);
	}
	return 0;
}

static int list_shapes_at_the_end(void **state)
{
	origin = UINT64_MAX - BYTES;
	return list_shapes(state);
}

static bool bounds_overlap(const struct extent *a, const struct extent *b)
{
	return a->start < b->end && b->start < a->end;
}

static void rows_without_gaps_are_contiguous(void **state)
{
	(void)state;
	for (size_t i = 0; i < shape_count; i++) {
		const struct extent *extent = &shapes[i].extent;
		uint32_t all = (uint32_t)((UINT64_C(1) << (extent->end - extent->start)) - 1);
		bool contiguous = shapes[i].bytes == all << (extent->start - origin);

		assert_int_equal(extent->pitch == 0, contiguous);
	}
}

static void check_overlap(const struct shape *a, const struct shape *b)
{
	bool common = (a->bytes & b->bytes) != 0, said = extent_overlaps(&a->extent, &b->extent);
	bool exact = !a->extent.pitch || !b->extent.pitch || a->extent.pitch == b->extent.pitch;

	assert_int_equal(said, extent_overlaps(&b->extent, &a->extent));
	assert_true(said || !common);
	if (exact)
		assert_int_equal(said, common);
}

static void overlap_is_never_missed_and_exact_where_it_is_said_to_be(void **state)
{
	(void)state;
	for (size_t i = 0; i < shape_count; i++) {
		for (size_t j = 0; j <= i; j++) {
			if (bounds_overlap(&shapes[i].extent, &shapes[j].extent))
				check_overlap(&shapes[i], &shapes[j]);
		}
	}
}

static void cover_is_never_said_wrongly_and_exact_but_for_different_pitches(void **state)
{
	(void)state;
	for (size_t i = 0; i < shape_count; i++) {
		for (size_t j = 0; j < shape_count; j++) {
			const struct extent *outer = &shapes[i].extent, *inner = &shapes[j].extent;
			bool covers = (shapes[j].bytes & ~shapes[i].bytes) == 0;

			if (inner->pitch && outer->pitch && inner->pitch != outer->pitch)
				covers = false;
			assert_int_equal(extent_covers(outer, inner), covers);
		}
	}
}

/* Whoever would have found the one that is covered finds the one that covers it. A sample: there
 * are too many triples. */
static void what_covers_is_found_by_all_that_found_what_it_covers(void **state)
{
	(void)state;
	for (size_t i = 0; i < shape_count; i += 3) {
		for (size_t j = 0; j < shape_count; j++) {
			const struct extent *outer = &shapes[i].extent, *inner = &shapes[j].extent;

			if (i == j || !extent_covers(outer, inner))
				continue;
			for (size_t k = (i + j) % 7; k < shape_count; k += 7) {
				const struct extent *later = &shapes[k].extent;

				if (bounds_overlap(inner, later) && extent_overlaps(inner, later))
					assert_true(extent_overlaps(outer, later));
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_without_gaps_are_contiguous),
		cmocka_unit_test(overlap_is_never_missed_and_exact_where_it_is_said_to_be),
		cmocka_unit_test(cover_is_never_said_wrongly_and_exact_but_for_different_pitches),
		cmocka_unit_test(what_covers_is_found_by_all_that_found_what_it_covers),
	};

	return cmocka_run_group_tests_name("extent", tests, list_shapes, NULL) +
	       cmocka_run_group_tests_name("extent, at the last byte there is", tests,
	                                   list_shapes_at_the_end, NULL);
}
