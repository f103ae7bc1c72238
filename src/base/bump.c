#include "base/bump.h"

#include <stdbool.h>
#include <stdlib.h>

struct bump_chunk {
	struct bump_chunk *next;
	_Alignas(16) uint8_t bytes[];
};

#define CHUNK_BYTES ((size_t)64 << 10)

void bump_init(struct bump *bump, size_t limit)
{
	bump->used = 0;
	bump->limit = limit;
	bump->room = sizeof(bump->first);
	bump->next = bump->first;
	bump->chunks = NULL;
}

static bool add_chunk(struct bump *bump, size_t size)
{
	size_t bytes = size > CHUNK_BYTES ? size : CHUNK_BYTES;
	struct bump_chunk *chunk = malloc(sizeof(*chunk) + bytes);

	if (!chunk)
		return false;
	chunk->next = bump->chunks;
	bump->chunks = chunk;
	bump->next = chunk->bytes;
	bump->room = bytes;
	return true;
}

void *bump_alloc(struct bump *bump, size_t size)
{
	uint8_t *taken;

	if (size > bump->limit - bump->used || size > SIZE_MAX - 15 - sizeof(struct bump_chunk))
		return NULL;
	bump->used += size;
	size = (size + 15) & ~(size_t)15;
	if (size > bump->room && !add_chunk(bump, size))
		return NULL;
	taken = bump->next;
	bump->next += size;
	bump->room -= size;
	return taken;
}

void bump_release(struct bump *bump)
{
	while (bump->chunks) {
		struct bump_chunk *chunk = bump->chunks;

		bump->chunks = chunk->next;
		free(chunk);
	}
}
