/*
 * Ranges of a tensor's bytes at one distance: `runs` of `run_bytes` each, the first at `offset`,
 * each next one `pitch` bytes behind the start of the last. A span's packed bytes are those of its
 * runs, one behind the other. Pure functions.
 */
#ifndef WIRE_SPAN_H
#define WIRE_SPAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct span {
	uint64_t offset, run_bytes, pitch, runs;
};

/* SIMPLER_EINVAL when its runs overlap, or end beyond 63 bits. Runs of no bytes, or no runs, are
 * nothing, wherever they are said to be. All below is for a span that was found right. */
simpler_status span_check(const struct span *span);

/* Its packed bytes. */
uint64_t span_bytes(const struct span *span);
/* Where its last run ends; 0 when it has no bytes. */
uint64_t span_end(const struct span *span);

/* Copy packed bytes [from, from + size) from or to the tensor, whose first byte `base` is. They are
 * all the span's, and the span all the tensor's. */
void span_read(const struct span *span, const uint8_t *base, uint64_t from, void *out, size_t size);
void span_write(const struct span *span, uint8_t *base, uint64_t from, const void *bytes,
                size_t size);

#endif
