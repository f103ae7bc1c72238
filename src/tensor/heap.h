/*
 * The shared heap of a worker: where tensors are that its children on this machine use in place.
 *
 * It is one memfd, mapped here and by each child at an address of its own, reserved at its full
 * capacity and given memory page by page: a child that was forked earlier sees what is allocated
 * later. What is allocated where is noted in this process's own memory, which no child can spoil.
 *
 * Pages of freed blocks are kept for the next, as the pool's are: up to 64 MiB or a quarter of the
 * capacity, whichever is more; what is above that goes back to the system at once.
 *
 * Thread-safe by a lock of its own. Nothing waits for room; pages of blocks from 256 KiB up are
 * asked of the system, and given back, outside the lock.
 */
#ifndef TENSOR_HEAP_H
#define TENSOR_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#include "simpler/status.h"

struct heap;

struct heap_stats {
	uint64_t capacity, used, largest_free; /* bytes, as blocks take them */
	uint64_t blocks;                       /* live ones */
};

/*
 * `capacity` is rounded up to whole pages. `name` shows in /proc/PID/maps.
 *
 * @return SIMPLER_EINVAL for a capacity of 0, or one whose pages do not fit 63 bits.
 */
simpler_status heap_create(const char *name, uint64_t capacity, struct heap **out);
/* Every block is gone, live or not. NULL is allowed. */
void heap_destroy(struct heap *heap);

/* Owned by the heap. */
int heap_fd(const struct heap *heap);
void *heap_base(const struct heap *heap);
uint64_t heap_capacity(const struct heap *heap);

/*
 * A block of `bytes`, aligned to ARENA_ALIGNMENT, its content undefined. 0 bytes take the smallest
 * block, so that each has an address of its own. All pages have memory behind them, so that
 * touching them cannot raise SIGBUS.
 *
 * @return SIMPLER_ENOSPACE naming asked, used, largest free and capacity, or when the system has no
 *         memory; SIMPLER_ENOMEM.
 */
simpler_status heap_alloc(struct heap *heap, uint64_t bytes, void **data);
/* @return SIMPLER_EINVAL when no live block of this heap begins at `data`; nothing changes then. */
simpler_status heap_free(struct heap *heap, void *data);

/* Note who a live block belongs to, for heap_find(). It is 0 until then. */
void heap_set_owner(struct heap *heap, void *data, uint64_t owner);
/* Whether `span` bytes from `data` on all lie within one live block, and whose that is. */
bool heap_find(struct heap *heap, const void *data, uint64_t span, uint64_t *owner);

/* Whose the live block is that begins at `data`; false when none does. */
bool heap_owner(struct heap *heap, const void *data, uint64_t *owner);

void heap_stats(struct heap *heap, struct heap_stats *out);

#endif
