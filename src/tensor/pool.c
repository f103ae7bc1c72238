/*
 * Handles over the arena's blocks.
 *
 * A slot is taken first, then a block, then pages. While the pages are committed and cleared the
 * slot is PREPARING and the lock is free; nobody else can name it, as its handle was not told yet.
 * The other way round, a slot is free for reuse as soon as its block is detached, and the pages
 * are left and the block is freed after that. So a large block's pages are always handled by the
 * one thread that owns the block, and only small blocks, which share pages, need the lock for it.
 */
#include "tensor/pool.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "tensor/arena.h"
#include "tensor/leases.h"
#include "tensor/pages.h"

#define MAX_HANDLES (1u << 30)

enum state { FREE, PREPARING, LIVE, DOOMED };

struct slot {
	struct lease lease;        /* first, so that one is the other; in the heap when LIVE */
	struct arena_block *block; /* NULL for no bytes */
	uint64_t nbytes;
	uint64_t ttl_ms; /* as last asked for */
	enum state state;
	uint32_t generation;
	uint32_t pins;
	uint32_t next_free; /* slot + 1; 0 for none */
};

struct pool {
	uint64_t capacity;
	uint8_t *base;
	int64_t (*now)(void);
	uint32_t max_handles, first_generation;
	struct pages pages;
	pthread_mutex_t lock; /* guards all below and the pages of small blocks */
	struct arena *arena;
	struct leases leases;
	struct slot *slots;
	uint32_t slots_begun; /* slots from here on were never used */
	uint32_t free_slots;  /* slot + 1; 0 for none */
	uint32_t handles;
};

static simpler_status check_options(const struct pool_options *options, uint64_t page_bytes)
{
	if (!options->base || options->capacity == 0 || options->capacity % page_bytes != 0)
		return error_raise(SIMPLER_EINVAL,
		                   "a tensor arena of %" PRIu64
		                   " bytes; give a multiple of %" PRIu64,
		                   options->capacity, page_bytes);
	if (options->max_handles == 0 || options->max_handles > MAX_HANDLES)
		return error_raise(SIMPLER_EINVAL, "max_handles is %u; give 1 to %u",
		                   options->max_handles, MAX_HANDLES);
	return SIMPLER_OK;
}

static simpler_status fill_pool(struct pool *pool, const struct pool_options *options,
                                uint64_t page_bytes)
{
	pool->capacity = options->capacity;
	pool->base = options->base;
	pool->now = options->now;
	pool->max_handles = options->max_handles;
	pool->first_generation = options->first_generation ? options->first_generation : 1;
	pool->arena = arena_create(options->capacity, page_bytes);
	pool->slots = calloc(options->max_handles, sizeof(*pool->slots));
	if (!leases_init(&pool->leases, options->max_handles) || !pool->arena || !pool->slots)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a pool of %u handles",
		                   options->max_handles);
	return pages_init(&pool->pages, options->memfd, options->base, options->capacity,
	                  page_bytes);
}

simpler_status pool_create(const struct pool_options *options, struct pool **out)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	simpler_status status = check_options(options, page_bytes);
	struct pool *pool;

	if (status != SIMPLER_OK)
		return status;
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a tensor pool");
	pthread_mutex_init(&pool->lock, NULL);
	status = fill_pool(pool, options, page_bytes);
	if (status != SIMPLER_OK) {
		pool_destroy(pool);
		return status;
	}
	*out = pool;
	return SIMPLER_OK;
}

void pool_destroy(struct pool *pool)
{
	if (!pool)
		return;
	pages_release(&pool->pages);
	leases_release(&pool->leases);
	arena_destroy(pool->arena);
	free(pool->slots);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static uint64_t handle_of(const struct pool *pool, const struct slot *slot)
{
	return (uint64_t)(slot - pool->slots) | (uint64_t)slot->generation << 32;
}

static struct pool_view view_of(const struct pool *pool, const struct slot *slot)
{
	return (struct pool_view){ .handle = handle_of(pool, slot),
		                   .offset = slot->block ? slot->block->offset : 0,
		                   .nbytes = slot->nbytes,
		                   .lease_deadline = slot->lease.deadline };
}

static struct slot *take_slot(struct pool *pool)
{
	struct slot *slot;

	if (pool->free_slots) {
		slot = &pool->slots[pool->free_slots - 1];
		pool->free_slots = slot->next_free;
	} else if (pool->slots_begun < pool->max_handles) {
		slot = &pool->slots[pool->slots_begun++];
		slot->generation = pool->first_generation;
	} else {
		error_raise(SIMPLER_ENOSPACE,
		            "all %u tensor handles of the node are taken; free tensors",
		            pool->max_handles);
		return NULL;
	}
	slot->state = PREPARING;
	slot->block = NULL;
	slot->pins = 0;
	pool->handles++;
	return slot;
}

/* Make the handle stale and the slot free. Returns what was behind it, for give_back(). */
static struct arena_block *detach(struct pool *pool, struct slot *slot)
{
	struct arena_block *block = slot->block;

	leases_remove(&pool->leases, &slot->lease);
	slot->state = FREE;
	slot->block = NULL;
	if (++slot->generation == 0)
		slot->generation = 1;
	slot->next_free = pool->free_slots;
	pool->free_slots = (uint32_t)(slot - pool->slots) + 1;
	pool->handles--;
	return block;
}

static void free_small(struct pool *pool, struct arena_block *block)
{
	uint64_t offset = block->offset, bytes = block->bytes;
	const struct arena_block *gap = arena_free(pool->arena, block);

	pages_leave_shared(&pool->pages, offset, bytes, gap->offset, gap->bytes);
}

/* Called without the lock. `block` may be NULL. */
static void give_back(struct pool *pool, struct arena_block *block)
{
	if (block && arena_is_large(block))
		pages_leave(&pool->pages, block->offset, block->bytes);
	if (!block)
		return;
	pthread_mutex_lock(&pool->lock);
	if (arena_is_large(block))
		arena_free(pool->arena, block);
	else
		free_small(pool, block);
	pthread_mutex_unlock(&pool->lock);
}

static simpler_status take_block(struct pool *pool, uint64_t nbytes, struct arena_block **out)
{
	simpler_status status = arena_alloc(pool->arena, nbytes, out);

	if (status != SIMPLER_OK || arena_is_large(*out))
		return status;
	status = pages_take(&pool->pages, (*out)->offset, (*out)->bytes, false);
	if (status != SIMPLER_OK)
		free_small(pool, *out);
	return status;
}

static simpler_status take_slot_and_block(struct pool *pool, uint64_t nbytes, struct slot **out)
{
	struct slot *slot = take_slot(pool);
	simpler_status status = SIMPLER_OK;

	if (!slot)
		return SIMPLER_ENOSPACE;
	slot->nbytes = nbytes;
	if (nbytes > 0)
		status = take_block(pool, nbytes, &slot->block);
	if (status != SIMPLER_OK) {
		slot->block = NULL;
		(void)detach(pool, slot);
		return status;
	}
	*out = slot;
	return SIMPLER_OK;
}

/* Called without the lock: make the bytes of a slot that is PREPARING ready for use. */
static simpler_status clear_block(struct pool *pool, const struct arena_block *block)
{
	if (block && arena_is_large(block))
		return pages_take(&pool->pages, block->offset, block->bytes, true);
	if (block)
		memset(pool->base + block->offset, 0, (size_t)block->bytes);
	return SIMPLER_OK;
}

/* A slot with its bytes ready, PREPARING. */
static simpler_status prepare(struct pool *pool, uint64_t nbytes, struct slot **out)
{
	struct arena_block *block;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = take_slot_and_block(pool, nbytes, out);
	pthread_mutex_unlock(&pool->lock);
	if (status != SIMPLER_OK)
		return status;
	status = clear_block(pool, (*out)->block);
	if (status == SIMPLER_OK)
		return SIMPLER_OK;
	pthread_mutex_lock(&pool->lock);
	block = detach(pool, *out);
	pthread_mutex_unlock(&pool->lock);
	give_back(pool, block);
	return status;
}

/* Begin the lease of a live slot, or begin it anew. */
static void start_lease(struct pool *pool, struct slot *slot)
{
	int64_t now = pool->now(), length = (int64_t)slot->ttl_ms * CLOCK_MS;

	leases_set(&pool->leases, &slot->lease,
	           now > CLOCK_NEVER - length ? CLOCK_NEVER : now + length);
}

static void take_ttl(struct slot *slot, uint64_t ttl_ms)
{
	slot->ttl_ms = ttl_ms == 0                ? POOL_DEFAULT_TTL_MS
	               : ttl_ms > POOL_MAX_TTL_MS ? POOL_MAX_TTL_MS
	                                          : ttl_ms;
}

simpler_status pool_alloc(struct pool *pool, uint64_t nbytes, uint64_t ttl_ms,
                          struct pool_view *out)
{
	struct slot *slot;
	simpler_status status = prepare(pool, nbytes, &slot);

	if (status != SIMPLER_OK)
		return status;
	pthread_mutex_lock(&pool->lock);
	slot->state = LIVE;
	take_ttl(slot, ttl_ms);
	start_lease(pool, slot);
	*out = view_of(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	return SIMPLER_OK;
}

simpler_status pool_alloc_scratch(struct pool *pool, uint64_t nbytes, struct pool_view *out)
{
	struct slot *slot;
	simpler_status status = prepare(pool, nbytes, &slot);

	if (status != SIMPLER_OK)
		return status;
	pthread_mutex_lock(&pool->lock);
	slot->state = DOOMED;
	slot->pins = 1;
	slot->lease.deadline = CLOCK_NEVER;
	*out = view_of(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	return SIMPLER_OK;
}

/* The slot that has this handle now, PREPARING ones excepted. */
static struct slot *find(const struct pool *pool, uint64_t handle)
{
	uint32_t index = (uint32_t)handle;
	struct slot *slot;

	if (index >= pool->slots_begun)
		return NULL;
	slot = &pool->slots[index];
	if (slot->generation != handle >> 32)
		return NULL;
	return slot->state == LIVE || slot->state == DOOMED ? slot : NULL;
}

/* A handle that was never told to anybody: its slot was not used yet, or not that often. */
static bool never_was(const struct pool *pool, uint64_t handle)
{
	uint32_t index = (uint32_t)handle, generation = (uint32_t)(handle >> 32);
	const struct slot *slot;

	if (index >= pool->slots_begun || generation < pool->first_generation)
		return true;
	slot = &pool->slots[index];
	return generation > slot->generation ||
	       (generation == slot->generation && slot->state != DOOMED);
}

static simpler_status find_live(const struct pool *pool, uint64_t handle, struct slot **out)
{
	*out = find(pool, handle);
	if (*out && (*out)->state == LIVE)
		return SIMPLER_OK;
	if (never_was(pool, handle))
		return error_raise(SIMPLER_ENOTFOUND,
		                   "tensor handle %#" PRIx64 " is none of this node", handle);
	return error_raise(SIMPLER_ESTALE,
	                   "tensor handle %#" PRIx64 " was freed, or its lease is over", handle);
}

simpler_status pool_pin(struct pool *pool, uint64_t handle, struct pool_view *out)
{
	struct slot *slot;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = find_live(pool, handle, &slot);
	if (status == SIMPLER_OK) {
		assert(slot->pins < UINT32_MAX);
		slot->pins++;
		*out = view_of(pool, slot);
	}
	pthread_mutex_unlock(&pool->lock);
	return status;
}

void pool_unpin(struct pool *pool, uint64_t handle)
{
	struct arena_block *block = NULL;
	struct slot *slot;

	pthread_mutex_lock(&pool->lock);
	slot = find(pool, handle);
	assert(slot && slot->pins > 0);
	if (--slot->pins == 0 && slot->state == DOOMED)
		block = detach(pool, slot);
	else if (slot->pins == 0)
		start_lease(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	give_back(pool, block);
}

/* End a live handle: now, or with its last pin. Returns what to give back. */
static struct arena_block *let_go(struct pool *pool, struct slot *slot)
{
	if (slot->pins == 0)
		return detach(pool, slot);
	slot->state = DOOMED;
	leases_remove(&pool->leases, &slot->lease);
	return NULL;
}

simpler_status pool_free(struct pool *pool, uint64_t handle)
{
	struct arena_block *block = NULL;
	struct slot *slot;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = find_live(pool, handle, &slot);
	if (status == SIMPLER_OK)
		block = let_go(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	give_back(pool, block);
	return status;
}

/* `ttl_ms` NULL: as it was. */
static simpler_status renew(struct pool *pool, uint64_t handle, const uint64_t *ttl_ms,
                            struct pool_view *out)
{
	struct slot *slot;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = find_live(pool, handle, &slot);
	if (status == SIMPLER_OK) {
		if (ttl_ms)
			take_ttl(slot, *ttl_ms);
		start_lease(pool, slot);
		*out = view_of(pool, slot);
	}
	pthread_mutex_unlock(&pool->lock);
	return status;
}

simpler_status pool_refresh(struct pool *pool, uint64_t handle, uint64_t ttl_ms,
                            struct pool_view *out)
{
	return renew(pool, handle, &ttl_ms, out);
}

simpler_status pool_renew(struct pool *pool, uint64_t handle, struct pool_view *out)
{
	return renew(pool, handle, NULL, out);
}

simpler_status pool_lookup(struct pool *pool, uint64_t handle, struct pool_view *out)
{
	struct slot *slot;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = find_live(pool, handle, &slot);
	if (status == SIMPLER_OK)
		*out = view_of(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	return status;
}

/* One lease that is over. False when there is none; `next` is when the first one will be. */
static bool expire_one(struct pool *pool, int64_t *next)
{
	struct arena_block *block = NULL;
	struct slot *slot;
	bool over;

	pthread_mutex_lock(&pool->lock);
	slot = (struct slot *)leases_first(&pool->leases);
	*next = slot ? slot->lease.deadline : CLOCK_NEVER;
	over = slot && slot->lease.deadline <= pool->now();
	if (over && slot->pins > 0)
		start_lease(pool, slot);
	else if (over)
		block = detach(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	give_back(pool, block);
	return over;
}

int64_t pool_expire(struct pool *pool)
{
	int64_t next;

	while (expire_one(pool, &next))
		;
	return next;
}

void pool_stats(struct pool *pool, struct pool_stats *out)
{
	pthread_mutex_lock(&pool->lock);
	*out = (struct pool_stats){ .capacity = pool->capacity,
		                    .used = arena_used(pool->arena),
		                    .largest_free = arena_largest_free(pool->arena),
		                    .committed = atomic_load(&pool->pages.committed),
		                    .handles = pool->handles };
	pthread_mutex_unlock(&pool->lock);
}
