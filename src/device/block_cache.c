#include "device/block_cache.h"

#include <string.h>

#include "base/checked.h"

void block_cache_init(struct block_cache *cache, const simpler_device_ops *ops,
                      simpler_device *device)
{
	memset(cache, 0, sizeof(*cache));
	cache->ops = ops;
	cache->device = device;
}

static void *remove_at(struct block_cache *cache, uint32_t index)
{
	struct kept_block block = cache->kept[index];

	cache->count--;
	cache->bytes -= block.bytes;
	memmove(&cache->kept[index], &cache->kept[index + 1],
	        (cache->count - index) * sizeof(block));
	return block.address;
}

static void evict_oldest(struct block_cache *cache)
{
	cache->ops->free(cache->device, remove_at(cache, 0));
}

void block_cache_release(struct block_cache *cache)
{
	while (cache->count > 0)
		evict_oldest(cache);
}

/* Nothing that large fits a device: it will say so. */
static uint64_t rounded(uint64_t bytes)
{
	uint64_t size;

	return checked_align(bytes, BLOCK_CACHE_UNIT, &size) ? size : bytes;
}

/* The youngest of this size; NULL if there is none. */
static void *find_kept(struct block_cache *cache, uint64_t size)
{
	for (uint32_t i = cache->count; i-- > 0;) {
		if (cache->kept[i].bytes == size)
			return remove_at(cache, i);
	}
	return NULL;
}

static simpler_status ask_device(struct block_cache *cache, uint64_t size, void **address)
{
	cache->allocations++;
	*address = NULL;
	return cache->ops->alloc(cache->device, size, address);
}

simpler_status block_cache_take(struct block_cache *cache, uint64_t bytes, void **address)
{
	uint64_t size = rounded(bytes);
	simpler_status status;

	*address = find_kept(cache, size);
	if (*address)
		return SIMPLER_OK;
	status = ask_device(cache, size, address);
	while (status == SIMPLER_ENOSPACE && cache->count > 0) {
		evict_oldest(cache);
		status = ask_device(cache, size, address);
	}
	if (!status && !*address)
		return error_raise(SIMPLER_EINTERNAL,
		                   "the driver of device '%s' gave no address and no error",
		                   cache->ops->name);
	return status;
}

void block_cache_give(struct block_cache *cache, void *address, uint64_t bytes)
{
	uint64_t size = rounded(bytes);

	if (size > BLOCK_CACHE_BYTES) {
		cache->ops->free(cache->device, address);
		return;
	}
	while (cache->count == BLOCK_CACHE_BLOCKS || cache->bytes + size > BLOCK_CACHE_BYTES)
		evict_oldest(cache);
	cache->kept[cache->count].address = address;
	cache->kept[cache->count].bytes = size;
	cache->count++;
	cache->bytes += size;
}
