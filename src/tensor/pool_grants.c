/* Grants, what is imported by them, and sessions as a whole. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "os/random.h"
#include "tensor/pool_parts.h"

bool pool_grants_init(struct pool *pool)
{
	pool->grants = calloc(POOL_MAX_GRANTS, sizeof(*pool->grants));
	return leases_init(&pool->grant_leases, POOL_MAX_GRANTS) && pool->grants;
}

void pool_grants_release(struct pool *pool)
{
	leases_release(&pool->grant_leases);
	free(pool->grants);
}

/* --- under the lock --- */

static struct grant *take_grant(struct pool *pool)
{
	struct grant *grant;

	if (pool->free_grants) {
		grant = &pool->grants[pool->free_grants - 1];
		pool->free_grants = grant->next_free;
	} else if (pool->grants_begun < POOL_MAX_GRANTS) {
		grant = &pool->grants[pool->grants_begun++];
	} else {
		error_raise(SIMPLER_ENOSPACE,
		            "%u tensors of this node are exported, which is the limit; release "
		            "grants that are no longer needed",
		            POOL_MAX_GRANTS);
		return NULL;
	}
	pool->grants_live++;
	return grant;
}

static void put_back(struct pool *pool, struct grant *grant)
{
	grant->next_free = pool->free_grants;
	pool->free_grants = (uint32_t)(grant - pool->grants) + 1;
	pool->grants_live--;
}

struct store_piece pool_end_grant(struct pool *pool, struct grant *grant)
{
	struct store_piece piece = pool_let_go(pool, grant->storage);

	pool_disown_grant(pool, grant);
	leases_remove(&pool->grant_leases, &grant->lease);
	memset(grant->token, 0, sizeof(grant->token));
	grant->live = false;
	put_back(pool, grant);
	return piece;
}

/* However much of a guess is right, this takes as long. */
static bool same_token(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t differs = 0;

	for (size_t i = 0; i < POOL_TOKEN_BYTES; i++)
		differs |= a[i] ^ b[i];
	return differs == 0;
}

static simpler_status find_grant(struct pool *pool, uint64_t handle, const uint8_t *token,
                                 struct grant **out)
{
	for (uint32_t i = 0; i < pool->grants_begun; i++) {
		struct grant *grant = &pool->grants[i];

		if (!grant->live || grant->handle != handle || !same_token(grant->token, token))
			continue;
		*out = grant;
		return SIMPLER_OK;
	}
	return error_raise(SIMPLER_EPERM,
	                   "there is no grant of tensor handle %#" PRIx64
	                   " with this token: it was released, or its time is over",
	                   handle);
}

static void fill_token(uint8_t *token)
{
	const uint64_t words[POOL_TOKEN_BYTES / sizeof(uint64_t)] = { random_u64(), random_u64() };

	memcpy(token, words, POOL_TOKEN_BYTES);
}

static simpler_status add_grant(struct pool *pool, struct pool_slot *slot, uint64_t handle,
                                bool write, uint64_t ttl_ms, struct grant **out)
{
	simpler_status status;
	struct grant *grant;

	if (write && !slot->write)
		return error_raise(SIMPLER_EPERM,
		                   "tensor handle %#" PRIx64
		                   " was imported for reading, and cannot be exported for writing",
		                   handle);
	grant = take_grant(pool);
	if (!grant)
		return SIMPLER_ENOSPACE;
	status = pool_own_grant(pool, slot, grant);
	if (status != SIMPLER_OK) {
		put_back(pool, grant);
		return status;
	}
	grant->storage = slot->storage;
	grant->storage->holders++;
	grant->handle = handle;
	grant->session = slot->session;
	grant->ttl_ms = pool_clamp_ttl(ttl_ms);
	grant->write = write;
	grant->live = true;
	fill_token(grant->token);
	leases_set(&pool->grant_leases, &grant->lease, pool_lease_end(pool, grant->ttl_ms));
	*out = grant;
	return SIMPLER_OK;
}

/* --- grants --- */

simpler_status pool_export(struct pool *pool, uint64_t session, uint64_t handle, bool write,
                           uint64_t ttl_ms, struct pool_grant *out)
{
	struct pool_slot *slot;
	struct grant *grant;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = pool_find_live(pool, session, handle, &slot);
	if (status == SIMPLER_OK)
		status = add_grant(pool, slot, handle, write, ttl_ms, &grant);
	if (status == SIMPLER_OK) {
		*out = (struct pool_grant){ .handle = handle,
			                    .nbytes = grant->storage->nbytes,
			                    .write = write,
			                    .lease_deadline = grant->lease.deadline };
		memcpy(out->token, grant->token, sizeof(out->token));
	}
	pthread_mutex_unlock(&pool->lock);
	return status;
}

static simpler_status add_imported(struct pool *pool, uint64_t session, const struct grant *grant,
                                   struct pool_slot **out)
{
	simpler_status status = pool_add_handle(pool, grant->storage, out);

	if (status != SIMPLER_OK)
		return status;
	status = pool_own(pool, session, *out);
	if (status != SIMPLER_OK)
		(void)pool_end_handle(pool, *out); /* the grant still has the bytes */
	return status;
}

simpler_status pool_import(struct pool *pool, uint64_t session, uint64_t handle,
                           const uint8_t *token, uint64_t ttl_ms, struct pool_view *out)
{
	struct pool_slot *slot;
	struct grant *grant;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = find_grant(pool, handle, token, &grant);
	if (status == SIMPLER_OK)
		status = add_imported(pool, session, grant, &slot);
	if (status == SIMPLER_OK) {
		pool_begin_life(pool, slot, session, ttl_ms, grant->write);
		*out = pool_view_of(pool, slot);
	}
	pthread_mutex_unlock(&pool->lock);
	return status;
}

simpler_status pool_pin_granted(struct pool *pool, uint64_t handle, const uint8_t *token,
                                struct pool_view *out)
{
	struct pool_slot *slot;
	struct grant *grant;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = find_grant(pool, handle, token, &grant);
	if (status == SIMPLER_OK)
		status = pool_add_handle(pool, grant->storage, &slot);
	if (status == SIMPLER_OK) {
		pool_begin_scratch(slot);
		*out = pool_view_of(pool, slot);
	}
	pthread_mutex_unlock(&pool->lock);
	return status;
}

simpler_status pool_release_grant(struct pool *pool, uint64_t handle, const uint8_t *token)
{
	struct store_piece piece = { NULL, NULL };
	struct grant *grant;
	simpler_status status;

	pthread_mutex_lock(&pool->lock);
	status = find_grant(pool, handle, token, &grant);
	if (status == SIMPLER_OK)
		piece = pool_end_grant(pool, grant);
	pthread_mutex_unlock(&pool->lock);
	store_free(pool->store, piece);
	return status;
}

/* --- sessions --- */

void pool_renew_session(struct pool *pool, uint64_t session)
{
	pthread_mutex_lock(&pool->lock);
	for (uint32_t i = 0; i < pool->slots_begun; i++) {
		struct pool_slot *slot = &pool->slots[i];

		if (slot->state == POOL_LIVE && slot->session == session)
			leases_set(&pool->leases, &slot->lease, pool_lease_end(pool, slot->ttl_ms));
	}
	for (uint32_t i = 0; i < pool->grants_begun; i++) {
		struct grant *grant = &pool->grants[i];

		if (grant->live && grant->session == session)
			leases_set(&pool->grant_leases, &grant->lease,
			           pool_lease_end(pool, grant->ttl_ms));
	}
	pthread_mutex_unlock(&pool->lock);
}

/* Under the lock: end one of its handles or grants. False when there is none. `*at` is where to go
 * on, of both. */
static bool end_one(struct pool *pool, uint64_t session, uint32_t at[2], struct store_piece *piece)
{
	for (; at[0] < pool->slots_begun; at[0]++) {
		struct pool_slot *slot = &pool->slots[at[0]];

		if (slot->state != POOL_LIVE || slot->session != session)
			continue;
		*piece = pool_end_handle(pool, slot);
		return true;
	}
	for (; at[1] < pool->grants_begun; at[1]++) {
		struct grant *grant = &pool->grants[at[1]];

		if (!grant->live || grant->session != session)
			continue;
		*piece = pool_end_grant(pool, grant);
		return true;
	}
	return false;
}

void pool_end_session(struct pool *pool, uint64_t session)
{
	uint32_t at[2] = { 0, 0 };
	bool more;

	do {
		struct store_piece piece = { NULL, NULL };

		pthread_mutex_lock(&pool->lock);
		more = end_one(pool, session, at, &piece);
		pthread_mutex_unlock(&pool->lock);
		store_free(pool->store, piece);
	} while (more);
	store_close(pool->store, session);
}

simpler_status pool_open_segment(struct pool *pool, uint64_t session, struct segment_view *out)
{
	simpler_status status;
	uint32_t id;

	pthread_mutex_lock(&pool->lock);
	id = pool->next_segment;
	pool->next_segment += id < UINT32_MAX;
	pthread_mutex_unlock(&pool->lock);
	if (id == UINT32_MAX)
		return error_raise(SIMPLER_ENOSPACE,
		                   "the node has numbered as many memory segments as it can");
	status = store_open(pool->store, session, id, out);
	return status == SIMPLER_EEXIST ? SIMPLER_OK : status;
}

void pool_begin_segment(struct pool *pool, uint64_t session)
{
	store_begin(pool->store, session);
}

void pool_share_segment(struct pool *pool, uint64_t session)
{
	store_share(pool->store, session);
}

uint32_t pool_ended_segment(struct pool *pool)
{
	return store_empty(pool->store);
}

void pool_drop_segment(struct pool *pool, uint32_t id)
{
	store_drop(pool->store, id);
}
