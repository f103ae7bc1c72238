/*
 * The live blocks of an arena by where they are: the one that begins at an offset, in constant
 * time, and the one that holds it, in a step for each factor of 64 of the capacity.
 *
 * A table of blocks by offset, and for each unit of ARENA_ALIGNMENT a bit that says whether a block
 * begins there, with a bit for each word that has any set, and so on up to a single word. The words
 * take memory only where blocks are. Not thread-safe: the owner locks.
 */
#ifndef TENSOR_BLOCK_MAP_H
#define TENSOR_BLOCK_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena_block;

#define BLOCK_MAP_MAX_LEVELS 11 /* 64 ^ 11 is more than 64 bits of units */

struct block_map {
	size_t count, size; /* of the table; a power of two, and at most half of it is used */
	struct arena_block **table;
	uint32_t levels;
	uint64_t *words[BLOCK_MAP_MAX_LEVELS]; /* [0] has a bit for each unit */
};

/* For offsets below `capacity`, which is not 0. False when memory is out. */
bool block_map_init(struct block_map *map, uint64_t capacity);
/* Also after block_map_init() failed, or of one that is all zero. */
void block_map_release(struct block_map *map);

/* Have room for `total` blocks. False when memory is out. */
bool block_map_reserve(struct block_map *map, size_t total);
/* There is room for it. */
void block_map_add(struct block_map *map, struct arena_block *block);
/* The block that begins at `offset` is no longer in the map. NULL if there is none. */
struct arena_block *block_map_remove(struct block_map *map, uint64_t offset);
/* The last block that begins at or before `offset`; NULL if there is none. */
struct arena_block *block_map_last(const struct block_map *map, uint64_t offset);

#endif
