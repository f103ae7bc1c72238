/*
 * A bump allocator for one request: memory is taken in order and given back all at once. The first
 * bytes come from a buffer inside the struct, so that a small request allocates nothing.
 */
#ifndef BASE_BUMP_H
#define BASE_BUMP_H

#include <stddef.h>
#include <stdint.h>

struct bump_chunk;

struct bump {
	size_t used, limit; /* bytes handed out so far; most that may be */
	size_t room;        /* left in the current block */
	uint8_t *next;
	struct bump_chunk *chunks;
	_Alignas(16) uint8_t first[2048];
};

void bump_init(struct bump *bump, size_t limit);
/* Aligned to 16; NULL when memory or the limit is out. `size` 0 gives a valid pointer. */
void *bump_alloc(struct bump *bump, size_t size);
void bump_release(struct bump *bump);

#endif
