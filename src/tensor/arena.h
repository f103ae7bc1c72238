/*
 * Who has which bytes of an arena: an allocator of offsets.
 *
 * It knows nothing of memory. All it notes is in this process, so nobody who has the arena mapped
 * can spoil it. Not thread-safe: the owner locks.
 *
 * Two-level segregated fit: free blocks are listed by size, 32 classes to each power of two, with
 * a bit for each list that holds any. Allocating and freeing take constant time, but for a request
 * that only a block of its own size class can still fit: that one list is searched. Free
 * neighbours are always merged, so a request fails only when no gap is large enough.
 *
 * Blocks begin at multiples of ARENA_ALIGNMENT. From ARENA_LARGE up they begin at a page and take
 * whole pages, so that such a block shares no page with another.
 */
#ifndef TENSOR_ARENA_H
#define TENSOR_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "simpler/status.h"

#define ARENA_ALIGNMENT 64u
#define ARENA_LARGE     (UINT64_C(256) * 1024)

struct arena;

/* Bytes [offset, offset + bytes) of the arena. To be read only, but for `owner`. */
struct arena_block {
	uint64_t offset, bytes;
	uint64_t owner; /* for those who use the arena: it neither sets nor reads it */
	bool free;
	struct arena_block *before, *behind; /* its neighbours */
	struct arena_block *previous, *next; /* in the list of its class, when free */
};

/* `capacity` and `page_bytes` are multiples of ARENA_ALIGNMENT, `page_bytes` a power of two. NULL
 * when memory is out. */
struct arena *arena_create(uint64_t capacity, uint64_t page_bytes);
void arena_destroy(struct arena *arena);

/*
 * A block of at least `bytes`, which is not 0.
 *
 * @return SIMPLER_ENOSPACE naming asked, used, largest free and capacity; SIMPLER_ENOMEM.
 */
simpler_status arena_alloc(struct arena *arena, uint64_t bytes, struct arena_block **out);
/* Returns the free block that it is part of now; valid until the next call. */
const struct arena_block *arena_free(struct arena *arena, struct arena_block *block);

static inline bool arena_is_large(const struct arena_block *block)
{
	return block->bytes >= ARENA_LARGE;
}

/* Call `see` for each free block; it must not call the arena. */
void arena_each_gap(const struct arena *arena,
                    void (*see)(void *context, const struct arena_block *gap), void *context);

uint64_t arena_used(const struct arena *arena);
uint64_t arena_largest_free(const struct arena *arena);

#endif
