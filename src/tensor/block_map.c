#include "tensor/block_map.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bits.h"
#include "tensor/arena.h"

#define FIRST_SIZE 64u

/* --- bits --- */

bool block_map_init(struct block_map *map, uint64_t capacity)
{
	uint64_t bits = (capacity - 1) / ARENA_ALIGNMENT + 1;

	*map = (struct block_map){ 0 };
	do {
		bits = (bits + 63) / 64;
		map->words[map->levels] = calloc((size_t)bits, sizeof(uint64_t));
		if (!map->words[map->levels++])
			return false;
	} while (bits > 1);
	return block_map_reserve(map, 1);
}

void block_map_release(struct block_map *map)
{
	for (uint32_t i = 0; i < map->levels; i++)
		free(map->words[i]);
	free(map->table);
	*map = (struct block_map){ 0 };
}

static void set_bit(struct block_map *map, uint64_t unit)
{
	for (uint32_t i = 0; i < map->levels; i++) {
		uint64_t *word = &map->words[i][unit / 64], before = *word;

		*word |= UINT64_C(1) << unit % 64;
		if (before != 0)
			return;
		unit /= 64;
	}
}

static void clear_bit(struct block_map *map, uint64_t unit)
{
	for (uint32_t i = 0; i < map->levels; i++) {
		uint64_t *word = &map->words[i][unit / 64];

		*word &= ~(UINT64_C(1) << unit % 64);
		if (*word != 0)
			return;
		unit /= 64;
	}
}

/* The last bit that is set in level 0, below a bit of `level` that is. */
static uint64_t descend(const struct block_map *map, uint32_t level, uint64_t unit)
{
	while (level-- > 0)
		unit = unit * 64 + bits_highest(map->words[level][unit]);
	return unit;
}

/* The last bit that is set up to this one. */
static bool last_bit(const struct block_map *map, uint64_t unit, uint64_t *out)
{
	uint64_t within = (UINT64_C(2) << unit % 64) - 1; /* the bit itself, too */

	for (uint32_t i = 0; i < map->levels; i++) {
		uint64_t found = map->words[i][unit / 64] & within;

		if (found != 0) {
			*out = descend(map, i, unit / 64 * 64 + bits_highest(found));
			return true;
		}
		unit /= 64;
		within = (UINT64_C(1) << unit % 64) - 1; /* only words before */
	}
	return false;
}

/* --- the table: open addressing, without marks for what was removed --- */

static size_t home_of(uint64_t offset, size_t size)
{
	/* The high bits of the product are the ones that all of the factor's bits mixed. */
	return (size_t)((offset / ARENA_ALIGNMENT * UINT64_C(0x9e3779b97f4a7c15)) >> 32) &
	       (size - 1);
}

/* Where the block at `offset` is, or would be put. */
static size_t place_of(const struct block_map *map, uint64_t offset)
{
	size_t place = home_of(offset, map->size);

	while (map->table[place] && map->table[place]->offset != offset)
		place = (place + 1) & (map->size - 1);
	return place;
}

bool block_map_reserve(struct block_map *map, size_t total)
{
	struct block_map grown = *map;

	if (total <= map->size / 2)
		return true;
	grown.size = map->size ? map->size * 2 : FIRST_SIZE;
	while (total > grown.size / 2)
		grown.size *= 2;
	grown.table = calloc(grown.size, sizeof(struct arena_block *));
	if (!grown.table)
		return false;
	for (size_t i = 0; i < map->size; i++) {
		if (map->table[i])
			grown.table[place_of(&grown, map->table[i]->offset)] = map->table[i];
	}
	free(map->table);
	*map = grown;
	return true;
}

void block_map_add(struct block_map *map, struct arena_block *block)
{
	size_t place = place_of(map, block->offset);

	assert(!map->table[place] && map->count < map->size / 2);
	map->table[place] = block;
	map->count++;
	set_bit(map, block->offset / ARENA_ALIGNMENT);
}

/* Empty a place, and move up those behind it that would not be found any more. */
static void empty_place(struct block_map *map, size_t place)
{
	size_t mask = map->size - 1, each = place;

	for (;;) {
		size_t home;

		each = (each + 1) & mask;
		if (!map->table[each])
			break;
		home = home_of(map->table[each]->offset, map->size);
		if (((each - home) & mask) >= ((each - place) & mask)) {
			map->table[place] = map->table[each];
			place = each;
		}
	}
	map->table[place] = NULL;
}

struct arena_block *block_map_remove(struct block_map *map, uint64_t offset)
{
	size_t place = place_of(map, offset);
	struct arena_block *block = map->table[place];

	if (!block)
		return NULL;
	empty_place(map, place);
	map->count--;
	clear_bit(map, offset / ARENA_ALIGNMENT);
	return block;
}

struct arena_block *block_map_last(const struct block_map *map, uint64_t offset)
{
	uint64_t unit;

	if (!last_bit(map, offset / ARENA_ALIGNMENT, &unit))
		return NULL;
	return map->table[place_of(map, unit * ARENA_ALIGNMENT)];
}
