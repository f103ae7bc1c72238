/*
 * A block is taken from the arena, then given its pages, and then put into the map, which is what
 * makes it live: only then can it be freed. The other way round it is taken out of the map first,
 * so that of two who free it one is refused, then its pages are left, then it goes back to the
 * arena. Large blocks, which share no page, have their pages seen to between two times under the
 * lock.
 */
#include "tensor/heap.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/error.h"
#include "os/memory.h"
#include "tensor/arena.h"
#include "tensor/block_map.h"
#include "tensor/pages.h"

struct heap {
	int fd;
	uint8_t *base;
	uint64_t capacity;
	struct pages_budget budget;
	struct pages pages;
	pthread_mutex_t lock; /* guards all below and the pages of small blocks */
	struct arena *arena;
	struct block_map live;
	uint64_t taken; /* blocks that are live, or that the map has room for when they are */
};

/* --- the heap itself --- */

static simpler_status map_memory(struct heap *heap, const char *name)
{
	simpler_status status = memory_create(name, heap->capacity, &heap->fd);
	void *base;

	if (status != SIMPLER_OK)
		return status;
	status = memory_map(heap->fd, heap->capacity, &base);
	if (status == SIMPLER_OK)
		heap->base = base;
	return status;
}

static simpler_status make_books(struct heap *heap, uint64_t page_bytes)
{
	simpler_status status;

	pages_budget_init(&heap->budget, heap->capacity);
	status = pages_init(&heap->pages, &heap->budget, heap->fd, heap->base, heap->capacity,
	                    page_bytes);
	if (status != SIMPLER_OK)
		return status;
	heap->arena = arena_create(heap->capacity, page_bytes);
	if (!heap->arena || !block_map_init(&heap->live, heap->capacity))
		return error_raise(SIMPLER_ENOMEM,
		                   "out of memory for the books of a heap of %" PRIu64 " bytes",
		                   heap->capacity);
	return SIMPLER_OK;
}

static simpler_status check_capacity(uint64_t capacity, uint64_t page_bytes, uint64_t *rounded)
{
	if (capacity > 0 && checked_align(capacity, page_bytes, rounded) && *rounded <= INT64_MAX)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL,
	                   "a shared heap of %" PRIu64 " bytes; give at least 1 and less than 2^63",
	                   capacity);
}

simpler_status heap_create(const char *name, uint64_t capacity, struct heap **out)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), rounded;
	simpler_status status = check_capacity(capacity, page_bytes, &rounded);
	struct heap *heap;

	if (status != SIMPLER_OK)
		return status;
	heap = calloc(1, sizeof(*heap));
	if (!heap)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a shared heap");
	heap->fd = -1;
	heap->capacity = rounded;
	pthread_mutex_init(&heap->lock, NULL);
	status = map_memory(heap, name);
	if (status == SIMPLER_OK)
		status = make_books(heap, page_bytes);
	if (status != SIMPLER_OK) {
		heap_destroy(heap);
		return status;
	}
	*out = heap;
	return SIMPLER_OK;
}

void heap_destroy(struct heap *heap)
{
	if (!heap)
		return;
	block_map_release(&heap->live);
	arena_destroy(heap->arena);
	pages_release(&heap->pages);
	if (heap->base)
		memory_unmap(heap->base, heap->capacity);
	if (heap->fd >= 0)
		(void)close(heap->fd);
	pthread_mutex_destroy(&heap->lock);
	free(heap);
}

int heap_fd(const struct heap *heap)
{
	return heap->fd;
}

void *heap_base(const struct heap *heap)
{
	return heap->base;
}

uint64_t heap_capacity(const struct heap *heap)
{
	return heap->capacity;
}

/* --- taking and giving back; all but the last of each are called with the lock held --- */

static simpler_status no_room(const struct heap *heap, uint64_t bytes)
{
	return error_raise(SIMPLER_ENOSPACE,
	                   "asked for %" PRIu64 " bytes of the shared heap: %" PRIu64
	                   " of its %" PRIu64 " bytes are used, the largest gap is %" PRIu64
	                   "; free tensors, end scopes, or give the worker a larger heap",
	                   bytes, arena_used(heap->arena), heap->capacity,
	                   arena_largest_free(heap->arena));
}

static simpler_status take_block(struct heap *heap, uint64_t bytes, struct arena_block **out)
{
	simpler_status status;

	if (!block_map_reserve(&heap->live, heap->taken + 1))
		return error_raise(SIMPLER_ENOMEM, "out of memory to note a block of the heap");
	status = arena_alloc(heap->arena, bytes > 0 ? bytes : 1, out);
	if (status == SIMPLER_ENOSPACE)
		return no_room(heap, bytes);
	if (status == SIMPLER_OK)
		heap->taken++;
	return status;
}

/* A small block's pages are left here, once it is known who else has a byte of them. */
static void give_block(struct heap *heap, struct arena_block *block)
{
	uint64_t offset = block->offset, bytes = block->bytes;
	bool large = arena_is_large(block);
	const struct arena_block *gap = arena_free(heap->arena, block);

	if (!large)
		pages_leave_shared(&heap->pages, offset, bytes, gap->offset, gap->bytes);
	heap->taken--;
}

static simpler_status commit_block(struct heap *heap, const struct arena_block *block)
{
	return pages_take(&heap->pages, block->offset, block->bytes, false);
}

/* Without the lock in between; a failure leaves the block to give_block(). */
static simpler_status commit_large(struct heap *heap, const struct arena_block *block)
{
	simpler_status status;

	pthread_mutex_unlock(&heap->lock);
	status = commit_block(heap, block);
	if (status != SIMPLER_OK)
		pages_leave(&heap->pages, block->offset, block->bytes);
	pthread_mutex_lock(&heap->lock);
	return status;
}

static simpler_status take_live(struct heap *heap, uint64_t bytes, struct arena_block **out)
{
	simpler_status status = take_block(heap, bytes, out);

	if (status != SIMPLER_OK)
		return status;
	status = arena_is_large(*out) ? commit_large(heap, *out) : commit_block(heap, *out);
	if (status != SIMPLER_OK) {
		give_block(heap, *out);
		return status;
	}
	(*out)->owner = 0;
	block_map_add(&heap->live, *out);
	return SIMPLER_OK;
}

simpler_status heap_alloc(struct heap *heap, uint64_t bytes, void **data)
{
	struct arena_block *block;
	simpler_status status;

	pthread_mutex_lock(&heap->lock);
	status = take_live(heap, bytes, &block);
	if (status == SIMPLER_OK)
		*data = heap->base + block->offset;
	pthread_mutex_unlock(&heap->lock);
	return status;
}

/* Where it is; false when that is not in the heap. */
static bool offset_of(const struct heap *heap, const void *data, uint64_t *offset)
{
	*offset = (uint64_t)((uintptr_t)data - (uintptr_t)heap->base);
	return *offset < heap->capacity;
}

/* Whether `span` bytes from `offset` on lie in the live block that begins last before. */
static bool is_within(const struct arena_block *block, uint64_t offset, uint64_t span)
{
	return block && offset - block->offset <= block->bytes &&
	       span <= block->bytes - (offset - block->offset);
}

static simpler_status no_block(struct heap *heap, const void *data)
{
	const struct arena_block *block = NULL;
	uint64_t offset = 0;

	if (!data)
		return error_raise(SIMPLER_EINVAL, "the address to free is a NULL pointer");
	if (!offset_of(heap, data, &offset))
		return error_raise(SIMPLER_EINVAL, "%p is not in the shared heap of this worker",
		                   data);
	block = block_map_last(&heap->live, offset);
	if (is_within(block, offset, 1))
		return error_raise(SIMPLER_EINVAL,
		                   "%p is %" PRIu64
		                   " bytes inside a block of the shared heap; free it by the "
		                   "address that it begins at",
		                   data, offset - block->offset);
	return error_raise(SIMPLER_EINVAL,
	                   "no block of the shared heap begins at %p: it was freed already, or "
	                   "never allocated",
	                   data);
}

/* Give a block that is out of the map back. */
static void end_block(struct heap *heap, struct arena_block *block)
{
	if (arena_is_large(block)) {
		pthread_mutex_unlock(&heap->lock);
		pages_leave(&heap->pages, block->offset, block->bytes);
		pthread_mutex_lock(&heap->lock);
	}
	give_block(heap, block);
}

simpler_status heap_free(struct heap *heap, void *data)
{
	simpler_status status = SIMPLER_OK;
	struct arena_block *block = NULL;
	uint64_t offset;

	pthread_mutex_lock(&heap->lock);
	if (offset_of(heap, data, &offset) && offset % ARENA_ALIGNMENT == 0)
		block = block_map_remove(&heap->live, offset);
	if (block)
		end_block(heap, block);
	else
		status = no_block(heap, data);
	pthread_mutex_unlock(&heap->lock);
	return status;
}

/* The live block that holds `offset`, or NULL; with `span` bytes from there on. Under the lock. */
static struct arena_block *block_of(const struct heap *heap, const void *data, uint64_t span,
                                    uint64_t *offset)
{
	struct arena_block *block;

	if (!offset_of(heap, data, offset))
		return NULL;
	block = block_map_last(&heap->live, *offset);
	return is_within(block, *offset, span) ? block : NULL;
}

void heap_set_owner(struct heap *heap, void *data, uint64_t owner)
{
	struct arena_block *block;
	uint64_t offset;

	pthread_mutex_lock(&heap->lock);
	block = block_of(heap, data, 1, &offset);
	assert(block && block->offset == offset);
	block->owner = owner;
	pthread_mutex_unlock(&heap->lock);
}

bool heap_find(struct heap *heap, const void *data, uint64_t span, uint64_t *owner)
{
	const struct arena_block *block;
	uint64_t offset;

	pthread_mutex_lock(&heap->lock);
	block = block_of(heap, data, span, &offset);
	if (block)
		*owner = block->owner;
	pthread_mutex_unlock(&heap->lock);
	return block != NULL;
}

bool heap_owner(struct heap *heap, const void *data, uint64_t *owner)
{
	const struct arena_block *block;
	uint64_t offset;

	pthread_mutex_lock(&heap->lock);
	block = block_of(heap, data, 1, &offset);
	if (block && block->offset != offset)
		block = NULL;
	if (block)
		*owner = block->owner;
	pthread_mutex_unlock(&heap->lock);
	return block != NULL;
}

void heap_stats(struct heap *heap, struct heap_stats *out)
{
	pthread_mutex_lock(&heap->lock);
	*out = (struct heap_stats){ .capacity = heap->capacity,
		                    .used = arena_used(heap->arena),
		                    .largest_free = arena_largest_free(heap->arena),
		                    .blocks = heap->live.count };
	pthread_mutex_unlock(&heap->lock);
}
