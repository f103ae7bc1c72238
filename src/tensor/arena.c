#include "tensor/arena.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/slab.h"

/* Sizes are counted in units of ARENA_ALIGNMENT. Below SPLIT units each size has a class; from
 * there on each power of two is split into SPLIT classes. */
#define SPLIT_BITS 5u
#define SPLIT      (1u << SPLIT_BITS)
#define ROWS       (64u - SPLIT_BITS)

struct arena {
	uint64_t capacity, page_bytes, used;
	struct slab blocks;
	struct arena_block end; /* behind the last block, of no bytes, never free */
	uint64_t row_map;       /* rows with a class that has blocks */
	uint32_t class_map[ROWS];
	struct arena_block *classes[ROWS][SPLIT];
};

struct size_class {
	uint32_t row, column;
};

/* The class that a block of this size is listed in. */
static struct size_class class_of(uint64_t bytes)
{
	uint64_t units = bytes / ARENA_ALIGNMENT;
	uint32_t shift;

	if (units < SPLIT)
		return (struct size_class){ .row = 0, .column = (uint32_t)units };
	shift = bits_highest(units) - SPLIT_BITS;
	return (struct size_class){ .row = shift + 1,
		                    .column = (uint32_t)(units >> shift) - SPLIT };
}

/* The first class of which every block is at least this large. */
static struct size_class class_that_fits(uint64_t bytes)
{
	uint64_t units = bytes / ARENA_ALIGNMENT;

	if (units >= SPLIT)
		units += (UINT64_C(1) << (bits_highest(units) - SPLIT_BITS)) - 1;
	return class_of(units * ARENA_ALIGNMENT);
}

static struct arena_block **list_of(struct arena *arena, struct size_class class)
{
	return &arena->classes[class.row][class.column];
}

/* Add a free block to its list, or take it out. */
static void list_block(struct arena *arena, struct arena_block *block)
{
	struct size_class class = class_of(block->bytes);
	struct arena_block **first = list_of(arena, class);

	block->free = true;
	block->previous = NULL;
	block->next = *first;
	if (*first)
		(*first)->previous = block;
	*first = block;
	arena->class_map[class.row] |= 1u << class.column;
	arena->row_map |= UINT64_C(1) << class.row;
}

static void unlist_block(struct arena *arena, struct arena_block *block)
{
	struct size_class class = class_of(block->bytes);

	block->free = false;
	if (block->next)
		block->next->previous = block->previous;
	if (block->previous) {
		block->previous->next = block->next;
		return;
	}
	*list_of(arena, class) = block->next;
	if (block->next)
		return;
	arena->class_map[class.row] &= ~(1u << class.column);
	if (arena->class_map[class.row] == 0)
		arena->row_map &= ~(UINT64_C(1) << class.row);
}

struct arena *arena_create(uint64_t capacity, uint64_t page_bytes)
{
	struct arena *arena = calloc(1, sizeof(*arena));
	struct arena_block *block;

	assert(capacity > 0 && capacity % ARENA_ALIGNMENT == 0);
	if (!arena)
		return NULL;
	arena->capacity = capacity;
	arena->page_bytes = page_bytes;
	slab_init(&arena->blocks, sizeof(struct arena_block));
	if (!slab_reserve(&arena->blocks, 1)) {
		free(arena);
		return NULL;
	}
	block = slab_take(&arena->blocks);
	*block = (struct arena_block){ .bytes = capacity, .behind = &arena->end };
	arena->end = (struct arena_block){ .offset = capacity, .before = block };
	list_block(arena, block);
	return arena;
}

void arena_destroy(struct arena *arena)
{
	if (!arena)
		return;
	slab_release(&arena->blocks);
	free(arena);
}

/* The first list, from this class up, that has a block; NULL if none has. */
static struct arena_block *first_from(const struct arena *arena, struct size_class class)
{
	uint32_t columns = arena->class_map[class.row] & (UINT32_MAX << class.column);
	uint32_t row = class.row;

	if (columns == 0) {
		uint64_t rows = arena->row_map & ~((UINT64_C(2) << row) - 1);

		if (rows == 0)
			return NULL;
		row = bits_lowest(rows);
		columns = arena->class_map[row];
	}
	return arena->classes[row][bits_lowest(columns)];
}

static uint64_t aligned_start(const struct arena_block *block, uint64_t alignment)
{
	return (block->offset + alignment - 1) & ~(alignment - 1);
}

static bool fits(const struct arena_block *block, uint64_t bytes, uint64_t alignment)
{
	uint64_t skipped = aligned_start(block, alignment) - block->offset;

	return skipped <= block->bytes && block->bytes - skipped >= bytes;
}

/* Search the classes of which only some blocks fit: those of the size itself, up to the size with
 * the most that aligning can cost. */
static struct arena_block *search(const struct arena *arena, uint64_t bytes, uint64_t alignment)
{
	struct size_class class = class_of(bytes);
	struct size_class last = class_of(bytes + alignment - ARENA_ALIGNMENT);

	for (;;) {
		struct arena_block *block = arena->classes[class.row][class.column];

		for (; block; block = block->next) {
			if (fits(block, bytes, alignment))
				return block;
		}
		if (class.row == last.row && class.column == last.column)
			return NULL;
		class.column = (class.column + 1) % SPLIT;
		class.row += class.column == 0;
	}
}

/* Cut `block` after `bytes`. Returns the rest; neither is in a list. */
static struct arena_block *cut(struct arena *arena, struct arena_block *block, uint64_t bytes)
{
	struct arena_block *rest = slab_take(&arena->blocks);

	*rest = (struct arena_block){ .offset = block->offset + bytes,
		                      .bytes = block->bytes - bytes,
		                      .before = block,
		                      .behind = block->behind };
	block->behind->before = rest;
	block->behind = rest;
	block->bytes = bytes;
	return rest;
}

static struct arena_block *carve(struct arena *arena, struct arena_block *block, uint64_t bytes,
                                 uint64_t alignment)
{
	uint64_t skipped = aligned_start(block, alignment) - block->offset;

	unlist_block(arena, block);
	if (skipped > 0) {
		struct arena_block *front = block;

		block = cut(arena, front, skipped);
		list_block(arena, front);
	}
	if (block->bytes > bytes)
		list_block(arena, cut(arena, block, bytes));
	arena->used += bytes;
	return block;
}

static simpler_status no_room(const struct arena *arena, uint64_t bytes)
{
	return error_raise(SIMPLER_ENOSPACE,
	                   "asked for %" PRIu64 " bytes of the tensor arena: %" PRIu64
	                   " of its %" PRIu64 " bytes are used, the largest gap is %" PRIu64
	                   "; free tensors or give the node a larger arena",
	                   bytes, arena->used, arena->capacity, arena_largest_free(arena));
}

/* Round a request up to what it takes. False when that is more than there is. */
static bool round_up(const struct arena *arena, uint64_t bytes, uint64_t *rounded,
                     uint64_t *alignment)
{
	*alignment = ARENA_ALIGNMENT;
	if (!checked_align(bytes, ARENA_ALIGNMENT, rounded))
		return false;
	if (*rounded >= ARENA_LARGE) {
		*alignment = arena->page_bytes;
		if (!checked_align(bytes, arena->page_bytes, rounded))
			return false;
	}
	return *rounded <= arena->capacity;
}

simpler_status arena_alloc(struct arena *arena, uint64_t bytes, struct arena_block **out)
{
	struct arena_block *block;
	uint64_t rounded, alignment;

	assert(bytes > 0);
	if (!round_up(arena, bytes, &rounded, &alignment))
		return no_room(arena, bytes);
	block = first_from(arena, class_that_fits(rounded + alignment - ARENA_ALIGNMENT));
	if (!block)
		block = search(arena, rounded, alignment);
	if (!block)
		return no_room(arena, bytes);
	if (!slab_reserve(&arena->blocks, arena->blocks.taken + 2))
		return error_raise(SIMPLER_ENOMEM, "out of memory to note a block of the arena");
	*out = carve(arena, block, rounded, alignment);
	return SIMPLER_OK;
}

/* Append the block behind to `block`. Neither is in a list. */
static void join_behind(struct arena *arena, struct arena_block *block)
{
	struct arena_block *gone = block->behind;

	block->bytes += gone->bytes;
	block->behind = gone->behind;
	gone->behind->before = block;
	slab_give(&arena->blocks, gone);
}

const struct arena_block *arena_free(struct arena *arena, struct arena_block *block)
{
	assert(!block->free);
	arena->used -= block->bytes;
	if (block->behind->free) {
		unlist_block(arena, block->behind);
		join_behind(arena, block);
	}
	if (block->before && block->before->free) {
		block = block->before;
		unlist_block(arena, block);
		join_behind(arena, block);
	}
	list_block(arena, block);
	return block;
}

void arena_each_gap(const struct arena *arena,
                    void (*see)(void *context, const struct arena_block *gap), void *context)
{
	for (const struct arena_block *block = arena->end.before; block; block = block->before) {
		if (block->free)
			see(context, block);
	}
}

uint64_t arena_used(const struct arena *arena)
{
	return arena->used;
}

uint64_t arena_largest_free(const struct arena *arena)
{
	const struct arena_block *block;
	uint64_t largest = 0;
	uint32_t row;

	if (arena->row_map == 0)
		return 0;
	row = bits_highest(arena->row_map);
	block = arena->classes[row][bits_highest(arena->class_map[row])];
	for (; block; block = block->next) {
		if (block->bytes > largest)
			largest = block->bytes;
	}
	return largest;
}
