/*
 * Where a tensor's elements lie in memory, as runs of contiguous bytes in row-major order of the
 * elements. Dimensions that add nothing are left out and those that continue one another are made
 * one, so that the runs are as long as they can be. Pure functions.
 */
#ifndef DEVICE_LAYOUT_H
#define DEVICE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/tensor.h"

struct layout {
	uint8_t *data;  /* of the first element */
	uint64_t bytes; /* of all elements; 0 for an empty tensor */
	uint64_t run;   /* bytes of one run */
	uint32_t ndim;  /* 0 when one run is all */
	struct {
		uint64_t count;
		int64_t step;     /* bytes */
	} dims[SIMPLER_MAX_DIMS]; /* the outermost first */
};

/* A walk over the runs, in order. */
struct layout_walk {
	const struct layout *layout;
	uint8_t *at;
	uint64_t left; /* runs */
	uint64_t index[SIMPLER_MAX_DIMS];
};

/* `tensor` is valid and its strides stay within the address space. */
void layout_init(struct layout *layout, const simpler_tensor *tensor);

static inline bool layout_is_contiguous(const struct layout *layout)
{
	return layout->ndim == 0;
}

/* The same elements in the same order, so that their packed bytes are the same. */
bool layout_equals(const struct layout *a, const struct layout *b);

/* Whether they have a byte in common; exact. Costs about a step for each run of the one that has
 * fewer, at most. */
bool layout_overlaps(const struct layout *a, const struct layout *b);

void layout_walk_begin(struct layout_walk *walk, const struct layout *layout);
/* The next run's first byte; NULL behind the last. */
uint8_t *layout_walk_next(struct layout_walk *walk);

#endif
