/*
 * Overlap asks of one layout which bytes it has in a range, for each run of the other. For that
 * question the order of elements is of no matter: a `comb` has steps upwards only, the largest
 * first, and none of 0. Where no two elements of a layout overlap, a range that touches several
 * teeth of one level contains all but the first and the last of them, so few are looked into.
 */
#include "device/layout.h"

#include <string.h>

struct comb {
	uintptr_t low; /* of the lowest byte */
	uint64_t run;
	uint32_t ndim;
	struct {
		uint64_t count, step;
		uint64_t inner; /* bytes from the first to behind the last of one tooth */
	} dims[SIMPLER_MAX_DIMS];
	uint64_t span; /* bytes from the first to behind the last of all */
};

/* --- runs --- */

/* Prepend a dimension, innermost first; or let the one before it absorb it. */
static void add_outer(struct layout *layout, uint64_t count, int64_t step)
{
	uint32_t last = layout->ndim - 1;

	if (layout->ndim == 0 && step > 0 && (uint64_t)step == layout->run) {
		layout->run *= count;
	} else if (layout->ndim > 0 &&
	           step == (int64_t)layout->dims[last].count * layout->dims[last].step) {
		layout->dims[last].count *= count;
	} else {
		layout->dims[layout->ndim].count = count;
		layout->dims[layout->ndim].step = step;
		layout->ndim++;
	}
}

static void outermost_first(struct layout *layout)
{
	for (uint32_t i = 0; i < layout->ndim / 2; i++) {
		uint32_t j = layout->ndim - 1 - i;
		uint64_t count = layout->dims[i].count;
		int64_t step = layout->dims[i].step;

		layout->dims[i] = layout->dims[j];
		layout->dims[j].count = count;
		layout->dims[j].step = step;
	}
}

void layout_init(struct layout *layout, const simpler_tensor *tensor)
{
	int64_t element = (int64_t)simpler_dtype_size(tensor->dtype);

	memset(layout, 0, sizeof(*layout));
	layout->data = tensor->data;
	layout->bytes = simpler_tensor_bytes(tensor);
	layout->run = layout->bytes > 0 ? (uint64_t)element : 0;
	for (uint32_t i = tensor->ndim; layout->bytes > 0 && i-- > 0;) {
		/* Nothing is ever stepped over in a dimension of 1. */
		if (tensor->shape[i] != 1)
			add_outer(layout, (uint64_t)tensor->shape[i], tensor->strides[i] * element);
	}
	outermost_first(layout);
}

bool layout_equals(const struct layout *a, const struct layout *b)
{
	if (a->data != b->data || a->bytes != b->bytes || a->run != b->run || a->ndim != b->ndim)
		return false;
	for (uint32_t i = 0; i < a->ndim; i++) {
		if (a->dims[i].count != b->dims[i].count || a->dims[i].step != b->dims[i].step)
			return false;
	}
	return true;
}

static uint64_t run_count(const struct layout *layout)
{
	return layout->run ? layout->bytes / layout->run : 0;
}

void layout_walk_begin(struct layout_walk *walk, const struct layout *layout)
{
	memset(walk, 0, sizeof(*walk));
	walk->layout = layout;
	walk->at = layout->data;
	walk->left = run_count(layout);
}

uint8_t *layout_walk_next(struct layout_walk *walk)
{
	const struct layout *layout = walk->layout;
	uint8_t *run = walk->at;

	if (walk->left == 0)
		return NULL;
	if (--walk->left == 0)
		return run;
	for (uint32_t i = layout->ndim; i-- > 0;) {
		walk->at += layout->dims[i].step;
		if (++walk->index[i] < layout->dims[i].count)
			break;
		walk->at -= (int64_t)layout->dims[i].count * layout->dims[i].step;
		walk->index[i] = 0;
	}
	return run;
}

/* --- overlap --- */

static void comb_insert(struct comb *comb, uint64_t count, uint64_t step)
{
	uint32_t i = comb->ndim++;

	for (; i > 0 && comb->dims[i - 1].step < step; i--)
		comb->dims[i] = comb->dims[i - 1];
	comb->dims[i].count = count;
	comb->dims[i].step = step;
}

static void comb_init(struct comb *comb, const struct layout *layout)
{
	memset(comb, 0, sizeof(*comb));
	comb->low = (uintptr_t)layout->data;
	comb->run = layout->run;
	for (uint32_t i = 0; i < layout->ndim; i++) {
		uint64_t count = layout->dims[i].count;
		int64_t step = layout->dims[i].step;
		uint64_t size = step < 0 ? -(uint64_t)step : (uint64_t)step;

		if (step < 0)
			comb->low -= (count - 1) * size;
		if (step != 0)
			comb_insert(comb, count, size);
	}
	comb->span = comb->run;
	for (uint32_t i = comb->ndim; i-- > 0;) {
		comb->dims[i].inner = comb->span;
		comb->span += (comb->dims[i].count - 1) * comb->dims[i].step;
	}
}

/* Teeth of one level of a comb that are still to be looked at. */
struct teeth {
	uintptr_t low; /* of the level's first one */
	uint64_t next, last;
};

/* Those that touch [from, to), or all but touch it, of the part at `low` of dimension `dim` on. The
 * range touches the part. */
static struct teeth teeth_near(const struct comb *comb, uint32_t dim, uintptr_t low, uintptr_t from,
                               uintptr_t to)
{
	uint64_t step = comb->dims[dim].step, inner = comb->dims[dim].inner;
	struct teeth teeth = { .low = low, .last = (to - 1 - low) / step };

	if (from >= low + inner)
		teeth.next = (from - low - inner) / step + 1;
	if (teeth.last >= comb->dims[dim].count)
		teeth.last = comb->dims[dim].count - 1;
	return teeth;
}

/* Whether the comb has a byte of [from, to): down into each tooth that may have one. */
static bool comb_touches(const struct comb *comb, uintptr_t from, uintptr_t to)
{
	struct teeth levels[SIMPLER_MAX_DIMS];
	uintptr_t low = comb->low;
	uint64_t span = comb->span;
	uint32_t depth = 0;

	for (;;) {
		if (to > low && from < low + span) {
			if (depth == comb->ndim || (from <= low && to >= low + span))
				return true;
			levels[depth] = teeth_near(comb, depth, low, from, to);
			depth++;
		}
		while (depth > 0 && levels[depth - 1].next > levels[depth - 1].last)
			depth--;
		if (depth == 0)
			return false;
		low = levels[depth - 1].low + levels[depth - 1].next++ * comb->dims[depth - 1].step;
		span = comb->dims[depth - 1].inner;
	}
}

/* Rows of bytes at the same pitch, as columns of one matrix are. */
static bool same_pitch(const struct comb *a, const struct comb *b)
{
	return a->ndim == 1 && b->ndim == 1 && a->dims[0].step == b->dims[0].step &&
	       a->run <= a->dims[0].step && b->run <= b->dims[0].step;
}

/* `low` begins no later than `high`: the first row of `high` begins in row `row` of `low`, or in
 * the gap behind it, and may reach into the row after. Those that follow repeat this. */
static bool rows_overlap(const struct comb *low, const struct comb *high)
{
	uint64_t pitch = low->dims[0].step, rows = low->dims[0].count;
	uint64_t row = (high->low - low->low) / pitch, column = (high->low - low->low) % pitch;

	return (row < rows && column < low->run) || (row + 1 < rows && column + high->run > pitch);
}

static bool any_run_touches(const struct layout *runs, const struct comb *comb)
{
	struct layout_walk walk;
	const uint8_t *run;

	layout_walk_begin(&walk, runs);
	while ((run = layout_walk_next(&walk))) {
		if (comb_touches(comb, (uintptr_t)run, (uintptr_t)run + runs->run))
			return true;
	}
	return false;
}

bool layout_overlaps(const struct layout *a, const struct layout *b)
{
	struct comb of_a, of_b;

	if (a->bytes == 0 || b->bytes == 0)
		return false;
	comb_init(&of_a, a);
	comb_init(&of_b, b);
	if (of_a.low + of_a.span <= of_b.low || of_b.low + of_b.span <= of_a.low)
		return false;
	if (same_pitch(&of_a, &of_b))
		return of_a.low <= of_b.low ? rows_overlap(&of_a, &of_b)
		                            : rows_overlap(&of_b, &of_a);
	if (run_count(a) <= run_count(b))
		return any_run_touches(a, &of_b);
	return any_run_touches(b, &of_a);
}
