/*
 * The bytes of a use: all from `start` to `end`, or the first `width` bytes of every `pitch`.
 *
 * Strided bytes are rows at an equal distance, such as a block of columns of a matrix. The last row
 * ends at `end`, so the width follows from the length and is not kept. What is strided in name
 * only, because it has one row or no gaps, becomes contiguous: pitch 0. Pure functions.
 */
#ifndef DAG_EXTENT_H
#define DAG_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "dag/dag.h"

struct extent {
	uint64_t start, end; /* the bounding range; never empty */
	uint64_t pitch;      /* 0: contiguous */
};

/* Of a use that was found valid and is not empty. */
static inline struct extent extent_of(const struct dag_use *use)
{
	bool strided = use->pitch != 0 && use->width != use->pitch && use->width != use->nbytes;

	return (struct extent){ use->offset, use->offset + use->nbytes, strided ? use->pitch : 0 };
}

static inline bool extent_equals(const struct extent *a, const struct extent *b)
{
	return a->start == b->start && a->end == b->end && a->pitch == b->pitch;
}

bool extent_overlaps_strided(const struct extent *a, const struct extent *b);

/* Whether two extents, whose bounding ranges overlap, are taken to have a byte in common: exactly
 * as the head of dag.h says. */
static inline bool extent_overlaps(const struct extent *a, const struct extent *b)
{
	return (a->pitch | b->pitch) == 0 || extent_overlaps_strided(a, b);
}

/*
 * Whether `outer` is known to have every byte of `inner`. It is never said wrongly, and it implies
 * that whatever extent_overlaps() `inner` does so with `outer`, too: a writer that stands in
 * for those before it is found by all who would have found them. Two different pitches, neither of
 * them 0, are never said to cover one another.
 */
bool extent_covers(const struct extent *outer, const struct extent *inner);

#endif
