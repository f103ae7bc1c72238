#include "dag/extent.h"

/* Of one row of a strided extent. */
static uint64_t width_of(const struct extent *extent)
{
	return (extent->end - extent->start - 1) % extent->pitch + 1;
}

/* Where `at`, not before the start, is within its row and the gap behind it. */
static uint64_t column_of(const struct extent *extent, uint64_t at)
{
	return (at - extent->start) % extent->pitch;
}

/* How far it is from `at` to the next byte of a strided extent, 0 if it has the one at `at`; which
 * may be past its end. */
static uint64_t distance_to_byte(const struct extent *extent, uint64_t at)
{
	uint64_t column = column_of(extent, at);

	return column < width_of(extent) ? 0 : extent->pitch - column;
}

static uint64_t distance_to_row(const struct extent *extent, uint64_t at)
{
	uint64_t column = column_of(extent, at);

	return column == 0 ? 0 : extent->pitch - column;
}

/* Whether an extent has any byte of the part of its bounding range that is [start, end). */
static bool has_byte_in(const struct extent *extent, uint64_t start, uint64_t end)
{
	return extent->pitch == 0 || distance_to_byte(extent, start) < end - start;
}

/*
 * Of the same pitch, where both bounding ranges have [start, end) and one of them begins there. The
 * first byte that both have is the first of a row of either one, and if the first such row will not
 * do, none will.
 */
static bool share_byte_in(const struct extent *a, const struct extent *b, uint64_t start,
                          uint64_t end)
{
	uint64_t to_a = distance_to_row(a, start), to_b = distance_to_row(b, start);

	if (to_a < end - start && distance_to_byte(b, start + to_a) == 0)
		return true;
	return to_b < end - start && distance_to_byte(a, start + to_b) == 0;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Modulo a divisor of both pitches the rows of each fall upon one another. If the two do not meet
 * there, they meet nowhere. */
static bool meet_modulo(const struct extent *a, const struct extent *b, uint64_t divisor)
{
	const struct extent *first = a->start <= b->start ? a : b;
	const struct extent *second = first == a ? b : a;
	uint64_t distance = (second->start - first->start) % divisor;

	return distance < width_of(first) || divisor - distance < width_of(second);
}

bool extent_overlaps_strided(const struct extent *a, const struct extent *b)
{
	uint64_t start = a->start > b->start ? a->start : b->start;
	uint64_t end = a->end < b->end ? a->end : b->end;

	/* Blocks of columns of one matrix mostly differ, which the quick test tells. */
	if (a->pitch == b->pitch)
		return meet_modulo(a, b, a->pitch) && share_byte_in(a, b, start, end);
	if (!has_byte_in(a, start, end) || !has_byte_in(b, start, end))
		return false;
	return a->pitch == 0 || b->pitch == 0 ||
	       meet_modulo(a, b, common_divisor(a->pitch, b->pitch));
}

bool extent_covers(const struct extent *outer, const struct extent *inner)
{
	uint64_t width;

	if (inner->start < outer->start || inner->end > outer->end)
		return false;
	if (outer->pitch == 0)
		return true;
	if (inner->pitch != 0 && inner->pitch != outer->pitch)
		return false;
	width = inner->pitch == 0 ? inner->end - inner->start : width_of(inner);
	return width <= width_of(outer) &&
	       column_of(outer, inner->start) <= width_of(outer) - width;
}
