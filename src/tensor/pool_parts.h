/* What the parts of tensor/pool.h share: pool.c has the handles, pool_grants.c the rest. */
#ifndef TENSOR_POOL_PARTS_H
#define TENSOR_POOL_PARTS_H

#include <pthread.h>

#include <uthash.h>

#include "base/slab.h"
#include "tensor/leases.h"
#include "tensor/pool.h"

/* Bytes, and how many slots and grants have them. */
struct pool_storage {
	struct store_piece piece; /* its block is NULL for no bytes */
	uint64_t nbytes;
	uint32_t holders;
};

/* A session that has something, or all clients without one. */
struct pool_owner {
	uint64_t session;
	uint32_t handles, grants;
	UT_hash_handle hh;
};

enum pool_state { POOL_FREE, POOL_PREPARING, POOL_LIVE, POOL_DOOMED };

struct pool_slot {
	struct lease lease; /* first, so that one is the other; in the heap when LIVE */
	struct pool_storage *storage;
	struct pool_owner *owner; /* who is counted to have it; NULL: scratch */
	uint64_t session;         /* whose it is */
	uint64_t ttl_ms;          /* as last asked for */
	enum pool_state state;
	bool write; /* may be written through this handle */
	uint32_t generation;
	uint32_t pins;
	uint32_t next_free; /* slot + 1; 0 for none */
};

struct grant {
	struct lease lease; /* first; in the heap while it is live */
	struct pool_storage *storage;
	struct pool_owner *owner;
	uint64_t handle; /* that it was made of; it may be gone */
	uint64_t session, ttl_ms;
	uint8_t token[POOL_TOKEN_BYTES];
	bool live, write;
	uint32_t next_free; /* grant + 1; 0 for none */
};

struct pool {
	struct store *store;
	int64_t (*now)(void);
	void (*revoke)(void *context, uint64_t handle); /* or NULL */
	void *context;
	uint32_t max_handles, first_generation;
	uint32_t max_session_handles, max_session_grants;
	pthread_mutex_t lock; /* guards all below */
	struct slab storages;
	struct leases leases;
	struct pool_slot *slots;
	uint32_t slots_begun; /* slots from here on were never used */
	uint32_t free_slots;  /* slot + 1; 0 for none */
	uint32_t handles;
	struct leases grant_leases;
	struct grant *grants;
	uint32_t grants_begun, free_grants, grants_live;
	struct pool_owner *owners;
	uint32_t next_segment;
};

/* --- all under the lock --- */

/* Give up one hold on it. Returns the bytes that nobody has any more, for the store. */
struct store_piece pool_let_go(struct pool *pool, struct pool_storage *storage);
/* Another handle of storage that there is: LIVE when it has a time to live, else as scratch. */
simpler_status pool_add_handle(struct pool *pool, struct pool_storage *storage,
                               struct pool_slot **out);
/* Publish a slot that is PREPARING. */
void pool_begin_life(struct pool *pool, struct pool_slot *slot, uint64_t session, uint64_t ttl_ms,
                     bool write);
void pool_begin_scratch(struct pool_slot *slot);
/* End a live handle: now, or with its last pin. Returns what to give back. */
struct store_piece pool_end_handle(struct pool *pool, struct pool_slot *slot);
/* The live slot of a handle that the session owns. */
simpler_status pool_find_live(const struct pool *pool, uint64_t session, uint64_t handle,
                              struct pool_slot **out);
struct pool_view pool_view_of(const struct pool *pool, const struct pool_slot *slot);
/* When a lease of this length that begins now ends. */
int64_t pool_lease_end(const struct pool *pool, uint64_t ttl_ms);
uint64_t pool_clamp_ttl(uint64_t ttl_ms);

/* --- pool_owners.c: how much a session has --- */

/* Count a handle as the session's, or a grant as that of whoever has the handle. SIMPLER_ENOSPACE
 * naming the limit; SIMPLER_ENOMEM. */
simpler_status pool_own(struct pool *pool, uint64_t session, struct pool_slot *slot);
simpler_status pool_own_grant(struct pool *pool, const struct pool_slot *slot, struct grant *grant);
/* It is nobody's any more, if it was anybody's. */
void pool_disown(struct pool *pool, struct pool_slot *slot);
void pool_disown_grant(struct pool *pool, struct grant *grant);
void pool_owners_release(struct pool *pool);

/* --- pool_grants.c --- */

bool pool_grants_init(struct pool *pool);
void pool_grants_release(struct pool *pool);
/* Ends one, which is live. */
struct store_piece pool_end_grant(struct pool *pool, struct grant *grant);

#endif
