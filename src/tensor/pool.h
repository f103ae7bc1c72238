/*
 * The tensor pool of a node: storage in the arena under handles with generations and leases.
 *
 * An arena is one memfd, reserved at its full capacity and committed page by page: processes that
 * mapped it earlier see storage made later. Offsets are what travels; each process adds its own
 * base. The front end owns the allocator; nothing about it is in shared memory.
 *
 * Thread-safety: every function locks the pool. None blocks on anything else.
 *
 * A handle is slot | generation << 32, never 0. Freeing bumps the generation.
 *
 *   LIVE --free, or lease over: not pinned--> gone
 *     `----free: pinned--------------------> DOOMED --last unpin--> gone
 *
 * A doomed handle is stale for everyone but those who pinned it before: they may use the bytes and
 * unpin it, and nothing else. A lease that is over ends in pool_expire() and not by itself. It does
 * not end while the handle is pinned, and begins anew with the last unpin: who waits for a long
 * task finds its tensors as alive afterwards as they were when it began.
 *
 * The pages of freed storage are kept for the next, up to 64 MiB or a quarter of the capacity,
 * whichever is more; what is above that goes back to the system at once.
 */
#ifndef TENSOR_POOL_H
#define TENSOR_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/status.h"

struct pool;

#define POOL_ALIGNMENT      64u
#define POOL_DEFAULT_TTL_MS 60000u
#define POOL_MAX_TTL_MS     86400000u /* a day */

struct pool_options {
	int memfd;            /* borrowed; at least `capacity` long */
	void *base;           /* its shared, writable mapping */
	uint64_t capacity;    /* bytes; a multiple of the page size */
	uint32_t max_handles; /* at least 1, at most 2^30 */
	/* Where generations begin. A daemon hands in something that differs from one start to the
	 * next, so that a handle from before does not name somebody's new storage. 0 means 1. */
	uint32_t first_generation;
	int64_t (*now)(void); /* monotonic nanoseconds; tests hand in their own clock */
};

struct pool_view {
	uint64_t handle;
	uint64_t offset, nbytes; /* in the arena; offset is a multiple of POOL_ALIGNMENT */
	int64_t lease_deadline;  /* on the pool's clock; CLOCK_NEVER for scratch */
};

struct pool_stats {
	uint64_t capacity, used, largest_free; /* bytes of the arena */
	uint64_t committed;                    /* bytes with memory behind them, used or kept */
	uint32_t handles;                      /* doomed ones included */
};

simpler_status pool_create(const struct pool_options *options, struct pool **out);
void pool_destroy(struct pool *pool);

/*
 * Reserve `nbytes` (0 is a valid size and takes no room) for `ttl_ms` (0 means the default, more
 * than the maximum is cut to it). The bytes read as zero. All pages are committed before it
 * returns, so that touching them later cannot raise SIGBUS.
 *
 * Pages are committed and cleared outside the lock, but for storage below 256 KiB, whose pages are
 * shared.
 *
 * @return SIMPLER_ENOSPACE naming asked, used, largest free and capacity, or the handle limit.
 */
simpler_status pool_alloc(struct pool *pool, uint64_t nbytes, uint64_t ttl_ms,
                          struct pool_view *out);
/* The same without a lease, for the inline bytes of one dispatch: born doomed and pinned once, so
 * that nobody else can name it and pool_unpin() gives it back. */
simpler_status pool_alloc_scratch(struct pool *pool, uint64_t nbytes, struct pool_view *out);

/* All four: SIMPLER_ENOTFOUND for what never was, SIMPLER_ESTALE for what is gone or doomed.
 * Pinning keeps the bytes until as many unpins. Refreshing makes the lease end `ttl_ms` from now,
 * be that later or sooner. */
simpler_status pool_pin(struct pool *pool, uint64_t handle, struct pool_view *out);
void pool_unpin(struct pool *pool, uint64_t handle);
simpler_status pool_free(struct pool *pool, uint64_t handle);
simpler_status pool_refresh(struct pool *pool, uint64_t handle, uint64_t ttl_ms,
                            struct pool_view *out);
/* Begin the lease anew, as long as it was last asked for. */
simpler_status pool_renew(struct pool *pool, uint64_t handle, struct pool_view *out);
simpler_status pool_lookup(struct pool *pool, uint64_t handle, struct pool_view *out);

/* Let go of every lease that is over. Returns when the next one will be, or CLOCK_NEVER. */
int64_t pool_expire(struct pool *pool);

void pool_stats(struct pool *pool, struct pool_stats *out);

#endif
