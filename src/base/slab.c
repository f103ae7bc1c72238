#include "base/slab.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define BLOCK_BYTES 16384

struct slab_free {
	struct slab_free *next;
};

struct slab_block {
	struct slab_block *next;
	alignas(max_align_t) uint8_t objects[];
};

void slab_init(struct slab *slab, size_t object_bytes)
{
	const size_t unit = alignof(max_align_t);

	assert(object_bytes >= sizeof(struct slab_free));
	*slab = (struct slab){ .object_bytes = (object_bytes + unit - 1) / unit * unit };
}

void slab_release(struct slab *slab)
{
	while (slab->blocks) {
		struct slab_block *block = slab->blocks;

		slab->blocks = block->next;
		free(block);
	}
	slab_init(slab, slab->object_bytes);
}

static void put(struct slab *slab, void *object)
{
	struct slab_free *entry = object;

	entry->next = slab->free;
	slab->free = entry;
}

static bool grow(struct slab *slab)
{
	size_t count = (BLOCK_BYTES - sizeof(struct slab_block)) / slab->object_bytes;
	struct slab_block *block = malloc(sizeof(*block) + count * slab->object_bytes);

	if (!block)
		return false;
	block->next = slab->blocks;
	slab->blocks = block;
	slab->total += count;
	/* Backwards, so that objects are first taken in the order of their addresses. */
	while (count-- > 0)
		put(slab, block->objects + count * slab->object_bytes);
	return true;
}

bool slab_reserve(struct slab *slab, size_t total)
{
	while (slab->total < total) {
		if (!grow(slab))
			return false;
	}
	return true;
}

void *slab_take(struct slab *slab)
{
	struct slab_free *object = slab->free;

	assert(object && "taken without slab_reserve()");
	slab->free = object->next;
	slab->taken++;
	return object;
}

void slab_give(struct slab *slab, void *object)
{
	put(slab, object);
	slab->taken--;
}
