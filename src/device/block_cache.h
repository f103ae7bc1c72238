/*
 * Memory of a device that a chip keeps between tasks. Tasks come in streams of the same shapes, and
 * allocating on a device is slow, so a block that a task gives back waits for one of the same size.
 * No block is used for a smaller request: what fits the device without the cache fits it with.
 *
 * At most BLOCK_CACHE_BYTES in BLOCK_CACHE_BLOCKS blocks are kept; the oldest go first, and all go
 * when the device has no room. Used by one thread at a time.
 */
#ifndef DEVICE_BLOCK_CACHE_H
#define DEVICE_BLOCK_CACHE_H

#include "base/error.h"
#include "simpler/device.h"

#define BLOCK_CACHE_BYTES  (UINT64_C(64) << 20)
#define BLOCK_CACHE_BLOCKS 64
/* Requests are rounded up to multiples, so that sizes that differ by little are one. */
#define BLOCK_CACHE_UNIT UINT64_C(512)

struct block_cache {
	const simpler_device_ops *ops;
	simpler_device *device;
	uint64_t allocations; /* that the device was asked for */
	uint64_t bytes;       /* kept */
	uint32_t count;
	struct kept_block {
		void *address;
		uint64_t bytes;
	} kept[BLOCK_CACHE_BLOCKS]; /* the oldest first */
};

void block_cache_init(struct block_cache *cache, const simpler_device_ops *ops,
                      simpler_device *device);
void block_cache_release(struct block_cache *cache);

/* What the device says, SIMPLER_ENOSPACE only when nothing is kept any more. */
simpler_status block_cache_take(struct block_cache *cache, uint64_t bytes, void **address);
/* `bytes` as they were asked for. */
void block_cache_give(struct block_cache *cache, void *address, uint64_t bytes);

#endif
