/*
 * Handles over the store's pieces.
 *
 * A slot is taken first, and its bytes after that. While those are made ready the slot is PREPARING
 * and the lock is free; nobody else can name it, as its handle was not told yet. The other way
 * round, a slot is free for reuse as soon as its storage is detached, and the bytes are given back
 * after that, without the lock.
 */
#include "tensor/pool.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "os/random.h"
#include "tensor/pool_parts.h"

#define MAX_HANDLES (1u << 30)
/* Segments that sessions have. Below are those that a tree of workers numbers itself. */
#define FIRST_SEGMENT 1024u

static simpler_status check_options(const struct pool_options *options)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);

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

static simpler_status fill_pool(struct pool *pool, const struct pool_options *options)
{
	const struct segment_view main = { .id = POOL_MAIN_SEGMENT,
		                           .memfd = options->memfd,
		                           .base = options->base,
		                           .bytes = options->capacity };

	pool->now = options->now;
	pool->revoke = options->revoke;
	pool->context = options->context;
	pool->max_handles = options->max_handles;
	pool->max_session_handles =
		options->max_session_handles ? options->max_session_handles : UINT32_MAX;
	pool->max_session_grants =
		options->max_session_grants ? options->max_session_grants : UINT32_MAX;
	pool->first_generation = options->first_generation ? options->first_generation : 1;
	/* Of another daemon at this address a client may know places, which are to name nothing. */
	pool->next_segment = FIRST_SEGMENT + (uint32_t)(random_u64() >> 33);
	slab_init(&pool->storages, sizeof(struct pool_storage));
	pool->slots = calloc(options->max_handles, sizeof(*pool->slots));
	if (!leases_init(&pool->leases, options->max_handles) || !pool->slots ||
	    !pool_grants_init(pool))
		return error_raise(SIMPLER_ENOMEM, "out of memory for a pool of %u handles",
		                   options->max_handles);
	return store_create(&main, &pool->store);
}

simpler_status pool_create(const struct pool_options *options, struct pool **out)
{
	simpler_status status = check_options(options);
	struct pool *pool;

	if (status != SIMPLER_OK)
		return status;
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a tensor pool");
	pthread_mutex_init(&pool->lock, NULL);
	status = fill_pool(pool, options);
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
	store_destroy(pool->store);
	leases_release(&pool->leases);
	pool_grants_release(pool);
	pool_owners_release(pool);
	slab_release(&pool->storages);
	free(pool->slots);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* --- under the lock --- */

static uint64_t handle_of(const struct pool *pool, const struct pool_slot *slot)
{
	return (uint64_t)(slot - pool->slots) | (uint64_t)slot->generation << 32;
}

struct pool_view pool_view_of(const struct pool *pool, const struct pool_slot *slot)
{
	const struct pool_storage *storage = slot->storage;
	struct pool_view view = { .handle = handle_of(pool, slot),
		                  .segment = POOL_MAIN_SEGMENT,
		                  .nbytes = storage->nbytes,
		                  .lease_deadline = slot->lease.deadline };
	struct segment_view segment;

	if (!storage->piece.block)
		return view;
	store_locate(&storage->piece, &segment, &view.offset);
	view.segment = segment.id;
	view.bytes = segment.base + view.offset;
	view.direct = segment.owner != 0 && segment.owner == slot->session;
	return view;
}

/* A slot that is PREPARING, without storage. */
static struct pool_slot *take_slot(struct pool *pool)
{
	struct pool_slot *slot;

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
	slot->state = POOL_PREPARING;
	slot->storage = NULL;
	slot->owner = NULL;
	slot->session = 0;
	slot->pins = 0;
	pool->handles++;
	return slot;
}

struct store_piece pool_let_go(struct pool *pool, struct pool_storage *storage)
{
	struct store_piece piece = { NULL, NULL };

	if (--storage->holders > 0)
		return piece;
	piece = storage->piece;
	slab_give(&pool->storages, storage);
	return piece;
}

static void revoke(struct pool *pool, const struct pool_slot *slot)
{
	if (pool->revoke && slot->state == POOL_LIVE)
		pool->revoke(pool->context, handle_of(pool, slot));
}

/* Make the handle stale and the slot free. Returns what is to be given back. */
static struct store_piece detach(struct pool *pool, struct pool_slot *slot)
{
	struct store_piece piece;

	revoke(pool, slot);
	piece = pool_let_go(pool, slot->storage);
	pool_disown(pool, slot);
	leases_remove(&pool->leases, &slot->lease);
	slot->state = POOL_FREE;
	slot->storage = NULL;
	if (++slot->generation == 0)
		slot->generation = 1;
	slot->next_free = pool->free_slots;
	pool->free_slots = (uint32_t)(slot - pool->slots) + 1;
	pool->handles--;
	return piece;
}

simpler_status pool_add_handle(struct pool *pool, struct pool_storage *storage,
                               struct pool_slot **out)
{
	*out = take_slot(pool);
	if (!*out)
		return SIMPLER_ENOSPACE;
	(*out)->storage = storage;
	storage->holders++;
	return SIMPLER_OK;
}

static simpler_status add_storage(struct pool *pool, uint64_t nbytes, struct pool_slot **out)
{
	struct pool_storage *storage;
	simpler_status status;

	if (!slab_reserve(&pool->storages, pool->storages.taken + 1))
		return error_raise(SIMPLER_ENOMEM, "out of memory to note a tensor");
	storage = slab_take(&pool->storages);
	*storage = (struct pool_storage){ .nbytes = nbytes };
	status = pool_add_handle(pool, storage, out);
	if (status != SIMPLER_OK)
		slab_give(&pool->storages, storage);
	return status;
}

int64_t pool_lease_end(const struct pool *pool, uint64_t ttl_ms)
{
	int64_t now = pool->now(), length = (int64_t)ttl_ms * CLOCK_MS;

	return now > CLOCK_NEVER - length ? CLOCK_NEVER : now + length;
}

/* Begin the lease of a live slot, or begin it anew. */
static void start_lease(struct pool *pool, struct pool_slot *slot)
{
	leases_set(&pool->leases, &slot->lease, pool_lease_end(pool, slot->ttl_ms));
}

uint64_t pool_clamp_ttl(uint64_t ttl_ms)
{
	if (ttl_ms == 0)
		return POOL_DEFAULT_TTL_MS;
	return ttl_ms > POOL_MAX_TTL_MS ? POOL_MAX_TTL_MS : ttl_ms;
}

void pool_begin_life(struct pool *pool, struct pool_slot *slot, uint64_t session, uint64_t ttl_ms,
                     bool write)
{
	slot->state = POOL_LIVE;
	slot->session = session;
	slot->write = write;
	slot->ttl_ms = pool_clamp_ttl(ttl_ms);
	start_lease(pool, slot);
}

void pool_begin_scratch(struct pool_slot *slot)
{
	slot->state = POOL_DOOMED;
	slot->pins = 1;
	slot->lease.deadline = CLOCK_NEVER;
}

/* The slot that has this handle now, PREPARING ones excepted. */
static struct pool_slot *find(const struct pool *pool, uint64_t handle)
{
	uint32_t index = (uint32_t)handle;
	struct pool_slot *slot;

	if (index >= pool->slots_begun)
		return NULL;
	slot = &pool->slots[index];
	if (slot->generation != handle >> 32)
		return NULL;
	return slot->state == POOL_LIVE || slot->state == POOL_DOOMED ? slot : NULL;
}

/* A handle that was never told to anybody: its slot was not used yet, or not that often. */
static bool never_was(const struct pool *pool, uint64_t handle)
{
	uint32_t index = (uint32_t)handle, generation = (uint32_t)(handle >> 32);
	const struct pool_slot *slot;

	if (index >= pool->slots_begun || generation < pool->first_generation)
		return true;
	slot = &pool->slots[index];
	return generation > slot->generation ||
	       (generation == slot->generation && slot->state != POOL_DOOMED);
}

static simpler_status raise_stale(uint64_t handle)
{
	return error_raise(SIMPLER_ESTALE,
	                   "tensor handle %#" PRIx64 " was freed, or its lease is over", handle);
}

/* A live one of another session is no other than one that never was. */
simpler_status pool_find_live(const struct pool *pool, uint64_t session, uint64_t handle,
                              struct pool_slot **out)
{
	*out = find(pool, handle);
	if (*out && (*out)->state == POOL_LIVE && (*out)->session == session)
		return SIMPLER_OK;
	if (never_was(pool, handle) || (*out && (*out)->state == POOL_LIVE))
		return error_raise(SIMPLER_ENOTFOUND,
		                   "tensor handle %#" PRIx64
		                   " is none that this session has at this node; what another "
		                   "session has is used by importing it",
		                   handle);
	return raise_stale(handle);
}

struct store_piece pool_end_handle(struct pool *pool, struct pool_slot *slot)
{
	if (slot->pins == 0)
		return detach(pool, slot);
	revoke(pool, slot);
	slot->state = POOL_DOOMED;
	leases_remove(&pool->leases, &slot->lease);
	return (struct store_piece){ NULL, NULL };
}

/* --- allocating --- */

static simpler_status add_owned(struct pool *pool, uint64_t session, uint64_t nbytes,
                                struct pool_slot **out)
{
	simpler_status status = add_storage(pool, nbytes, out);

	if (status != SIMPLER_OK)
		return status;
	status = pool_own(pool, session, *out);
	if (status != SIMPLER_OK)
		(void)detach(pool, *out);
	return status;
}

/* A slot with its bytes ready, PREPARING. */
static simpler_status prepare(struct pool *pool, uint64_t session, bool scratch, uint64_t nbytes,
                              struct pool_slot **out)
{
	struct store_piece piece = { NULL, NULL };
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = scratch ? add_storage(pool, nbytes, out) : add_owned(pool, session, nbytes, out);
	pthread_mutex_unlock(&pool->lock);
	if (status != SIMPLER_OK || nbytes == 0)
		return status;
	status = store_alloc(pool->store, session, nbytes, &piece);
	pthread_mutex_lock(&pool->lock);
	(*out)->storage->piece = piece;
	if (status != SIMPLER_OK)
		(void)detach(pool, *out);
	pthread_mutex_unlock(&pool->lock);
	return status;
}

simpler_status pool_alloc(struct pool *pool, uint64_t session, uint64_t nbytes, uint64_t ttl_ms,
                          struct pool_view *out)
{
	struct pool_slot *slot;
	simpler_status status = prepare(pool, session, false, nbytes, &slot);

	if (status != SIMPLER_OK)
		return status;
	pthread_mutex_lock(&pool->lock);
	pool_begin_life(pool, slot, session, ttl_ms, true);
	*out = pool_view_of(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	return SIMPLER_OK;
}

simpler_status pool_alloc_scratch(struct pool *pool, uint64_t nbytes, struct pool_view *out)
{
	struct pool_slot *slot;
	simpler_status status = prepare(pool, 0, true, nbytes, &slot);

	if (status != SIMPLER_OK)
		return status;
	pthread_mutex_lock(&pool->lock);
	pool_begin_scratch(slot);
	*out = pool_view_of(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	return SIMPLER_OK;
}

/* --- using --- */

static simpler_status pin(struct pool *pool, struct pool_slot *slot, enum pool_access access,
                          struct pool_view *out)
{
	if (access == POOL_WRITE && !slot->write)
		return error_raise(SIMPLER_EPERM,
		                   "tensor handle %#" PRIx64
		                   " was imported for reading; have its owner export it for "
		                   "writing",
		                   handle_of(pool, slot));
	assert(slot->pins < UINT32_MAX);
	slot->pins++;
	*out = pool_view_of(pool, slot);
	return SIMPLER_OK;
}

simpler_status pool_pin(struct pool *pool, uint64_t session, uint64_t handle,
                        enum pool_access access, struct pool_view *out)
{
	struct pool_slot *slot;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = pool_find_live(pool, session, handle, &slot);
	if (status == SIMPLER_OK)
		status = pin(pool, slot, access, out);
	pthread_mutex_unlock(&pool->lock);
	return status;
}

void pool_unpin(struct pool *pool, uint64_t handle)
{
	struct store_piece piece = { NULL, NULL };
	struct pool_slot *slot;

	pthread_mutex_lock(&pool->lock);
	slot = find(pool, handle);
	assert(slot && slot->pins > 0);
	if (--slot->pins == 0 && slot->state == POOL_DOOMED)
		piece = detach(pool, slot);
	else if (slot->pins == 0)
		start_lease(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	store_free(pool->store, piece);
}

simpler_status pool_free(struct pool *pool, uint64_t session, uint64_t handle)
{
	struct store_piece piece = { NULL, NULL };
	struct pool_slot *slot;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = pool_find_live(pool, session, handle, &slot);
	if (status == SIMPLER_OK)
		piece = pool_end_handle(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	store_free(pool->store, piece);
	return status;
}

simpler_status pool_refresh(struct pool *pool, uint64_t session, uint64_t handle, uint64_t ttl_ms,
                            struct pool_view *out)
{
	struct pool_slot *slot;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = pool_find_live(pool, session, handle, &slot);
	if (status == SIMPLER_OK) {
		slot->ttl_ms = pool_clamp_ttl(ttl_ms);
		start_lease(pool, slot);
		*out = pool_view_of(pool, slot);
	}
	pthread_mutex_unlock(&pool->lock);
	return status;
}

/* Whoever's it is. */
static simpler_status look(struct pool *pool, uint64_t handle, bool renew, struct pool_view *out)
{
	const struct pool_slot *there;
	struct pool_slot *slot;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	there = find(pool, handle);
	status = pool_find_live(pool, there ? there->session : 0, handle, &slot);
	if (status == SIMPLER_OK && renew)
		start_lease(pool, slot);
	if (status == SIMPLER_OK)
		*out = pool_view_of(pool, slot);
	pthread_mutex_unlock(&pool->lock);
	return status;
}

simpler_status pool_renew(struct pool *pool, uint64_t handle, struct pool_view *out)
{
	return look(pool, handle, true, out);
}

simpler_status pool_lookup(struct pool *pool, uint64_t handle, struct pool_view *out)
{
	return look(pool, handle, false, out);
}

/* --- ends --- */

/* Under the lock: end one lease that is over. False when there is none. */
static bool end_lease(struct pool *pool, struct store_piece *piece)
{
	struct pool_slot *slot = (struct pool_slot *)leases_first(&pool->leases);
	struct grant *grant = (struct grant *)leases_first(&pool->grant_leases);
	int64_t now = pool->now();

	if (slot && slot->lease.deadline <= now && slot->pins > 0)
		start_lease(pool, slot);
	else if (slot && slot->lease.deadline <= now)
		*piece = detach(pool, slot);
	else if (grant && grant->lease.deadline <= now)
		*piece = pool_end_grant(pool, grant);
	else
		return false;
	return true;
}

static int64_t first_deadline(const struct leases *leases)
{
	const struct lease *first = leases_first(leases);

	return first ? first->deadline : CLOCK_NEVER;
}

int64_t pool_expire(struct pool *pool)
{
	int64_t next, next_grant;
	bool over;

	do {
		struct store_piece piece = { NULL, NULL };

		pthread_mutex_lock(&pool->lock);
		over = end_lease(pool, &piece);
		next = first_deadline(&pool->leases);
		next_grant = first_deadline(&pool->grant_leases);
		pthread_mutex_unlock(&pool->lock);
		store_free(pool->store, piece);
	} while (over);
	return next < next_grant ? next : next_grant;
}

void pool_stats(struct pool *pool, struct pool_stats *out)
{
	struct store_stats store;

	store_stats(pool->store, &store);
	*out = (struct pool_stats){ .capacity = store.capacity,
		                    .used = store.used,
		                    .largest_free = store.largest_free,
		                    .committed = store.committed,
		                    .segments = store.segments,
		                    .shared = store.shared };
	pthread_mutex_lock(&pool->lock);
	out->handles = pool->handles;
	out->max_handles = pool->max_handles;
	out->max_session_handles = pool->max_session_handles;
	out->grants = pool->grants_live;
	out->max_session_grants = pool->max_session_grants;
	pthread_mutex_unlock(&pool->lock);
}
