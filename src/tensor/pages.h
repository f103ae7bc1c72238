/*
 * Which pages of an arena have memory behind them.
 *
 *   UNTOUCHED --pages_take--> IN_USE --pages_leave--> KEPT --pages_take--> IN_USE
 *       ^                        `------over the limit---> UNTOUCHED
 *
 * First touch of a page is slow, so pages that nobody uses any more are kept for the next, up to a
 * limit; what is above it goes back to the system.
 *
 * Whoever owns all of a page may call this for it, without a lock. Pages that hold several blocks
 * are the pool's or the heap's, which call under their lock. The counters are atomic.
 */
#ifndef TENSOR_PAGES_H
#define TENSOR_PAGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "simpler/status.h"

/* What several arenas may keep together. */
struct pages_budget {
	uint64_t keep_limit;
	_Atomic uint64_t committed, kept; /* bytes */
};

struct pages {
	struct pages_budget *budget; /* borrowed */
	int fd;                      /* borrowed */
	uint8_t *base;               /* borrowed: the mapping */
	uint64_t page_bytes;
	uint8_t *state; /* of each page */
};

/* `capacity` is that of all arenas together. */
void pages_budget_init(struct pages_budget *budget, uint64_t capacity);

simpler_status pages_init(struct pages *pages, struct pages_budget *budget, int fd, void *base,
                          uint64_t capacity, uint64_t page_bytes);
void pages_release(struct pages *pages);

/*
 * Put every page that has a byte of the range in use; those without memory get it, as zeroes. With
 * `clear` the bytes of the range on all other pages are set to zero.
 *
 * @return SIMPLER_ENOSPACE when the system has no memory; some pages may be in use then.
 */
simpler_status pages_take(struct pages *pages, uint64_t offset, uint64_t bytes, bool clear);

/* No page that lies wholly within the range is used any more. */
void pages_leave(struct pages *pages, uint64_t offset, uint64_t bytes);

/* The same for a range that has become part of a gap: of the pages that it has a byte of, those
 * that lie wholly within the gap. */
void pages_leave_shared(struct pages *pages, uint64_t offset, uint64_t bytes, uint64_t gap,
                        uint64_t gap_bytes);

/* Give the memory of all kept pages that lie wholly within a gap back to the system. */
void pages_trim(struct pages *pages, uint64_t gap, uint64_t gap_bytes);

#endif
