/*
 * The tensor pool of a node: storage under handles with owners, generations and leases.
 *
 * Storage lies in memory segments (tensor/store.h): processes that mapped one earlier see storage
 * made later. Positions are what travels; each process adds its own base. The front end owns the
 * books; nothing about them is in shared memory.
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
 * A handle is its session's: another one that names it is told the same as of a handle that never
 * was. Sessions that are to use the same bytes have a handle each: the owner exports its own, and
 * whoever has the token of that grant imports it, which makes another handle of the same storage,
 * to read or to write, too. Storage goes with the last of its handles and grants.
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
#include "tensor/store.h"

struct pool;

#define POOL_ALIGNMENT      64u
#define POOL_DEFAULT_TTL_MS 60000u
#define POOL_MAX_TTL_MS     86400000u /* a day */
#define POOL_MAIN_SEGMENT   1u
#define POOL_TOKEN_BYTES    16u
#define POOL_MAX_GRANTS     4096u

struct pool_options {
	/* Of the main segment: */
	int memfd;            /* borrowed; at least `capacity` long */
	void *base;           /* its shared, writable mapping */
	uint64_t capacity;    /* bytes; a multiple of the page size */
	uint32_t max_handles; /* at least 1, at most 2^30 */
	/* Of one session, or of all clients without one. 0: as many as there can be. */
	uint32_t max_session_handles, max_session_grants;
	/* Where generations begin. A daemon hands in something that differs from one start to the
	 * next, so that a handle from before does not name somebody's new storage. 0 means 1. */
	uint32_t first_generation;
	int64_t (*now)(void); /* monotonic nanoseconds; tests hand in their own clock */
	/* A handle is nobody's to name any more, and its bytes may be somebody else's as soon as
	 * this returns. Under the pool's lock, so it must not call the pool. NULL: nobody cares. */
	void (*revoke)(void *context, uint64_t handle);
	void *context;
};

struct pool_view {
	uint64_t handle;
	uint32_t segment;        /* POOL_MAIN_SEGMENT for no bytes */
	uint64_t offset, nbytes; /* in the segment; offset is a multiple of POOL_ALIGNMENT */
	uint8_t *bytes;          /* as this process has them mapped; NULL for no bytes */
	bool direct;             /* they lie in a segment of the handle's own session */
	int64_t lease_deadline;  /* on the pool's clock; CLOCK_NEVER for scratch */
};

struct pool_stats {
	uint64_t capacity, used, largest_free; /* bytes, of all segments together */
	uint64_t committed;                    /* bytes with memory behind them, used or kept */
	uint32_t handles, max_handles;         /* doomed ones included */
	uint32_t grants;
	uint32_t max_session_handles, max_session_grants;
	uint32_t segments; /* beside the main one */
	uint32_t shared;   /* of them, those of sessions that have theirs mapped */
};

enum pool_access { POOL_READ, POOL_WRITE };

simpler_status pool_create(const struct pool_options *options, struct pool **out);
void pool_destroy(struct pool *pool);

/*
 * Reserve `nbytes` (0 is a valid size and takes no room) for `session`, to read and to write, for
 * `ttl_ms` (0 means the default, more than the maximum is cut to it). The bytes read as zero. All
 * pages are committed before it returns, so that touching them later cannot raise SIGBUS.
 *
 * @return SIMPLER_ENOSPACE naming asked, used, largest free and capacity, or the limit of handles,
 *         the node's or the session's.
 */
simpler_status pool_alloc(struct pool *pool, uint64_t session, uint64_t nbytes, uint64_t ttl_ms,
                          struct pool_view *out);
/* The same without a lease, for the inline bytes of one dispatch: born doomed and pinned once, so
 * that nobody else can name it and pool_unpin() gives it back. In the main segment. */
simpler_status pool_alloc_scratch(struct pool *pool, uint64_t nbytes, struct pool_view *out);

/* All three: SIMPLER_ENOTFOUND for what never was or is another session's, SIMPLER_ESTALE for what
 * is gone or doomed. Pinning keeps the bytes until as many unpins, and is SIMPLER_EPERM for writing
 * what was imported for reading. Refreshing makes the lease end `ttl_ms` from now, be that later or
 * sooner. */
simpler_status pool_pin(struct pool *pool, uint64_t session, uint64_t handle,
                        enum pool_access access, struct pool_view *out);
void pool_unpin(struct pool *pool, uint64_t handle);
simpler_status pool_free(struct pool *pool, uint64_t session, uint64_t handle);
simpler_status pool_refresh(struct pool *pool, uint64_t session, uint64_t handle, uint64_t ttl_ms,
                            struct pool_view *out);
/* Begin the lease of a handle that the caller has pinned anew, as long as it was last asked for. */
simpler_status pool_renew(struct pool *pool, uint64_t handle, struct pool_view *out);
/* Look at a handle, whoever's it is. */
simpler_status pool_lookup(struct pool *pool, uint64_t handle, struct pool_view *out);

/* --- grants --- */

struct pool_grant {
	uint64_t handle, nbytes;
	uint8_t token[POOL_TOKEN_BYTES]; /* that nobody can guess */
	bool write;
	int64_t lease_deadline; /* when it ends, unless its session is renewed before */
};

/* Let whoever has the token import or read the handle's storage, for `ttl_ms` as of a lease. Errors
 * as of pool_pin(); SIMPLER_ENOSPACE naming the limit of grants, the node's or the session's. */
simpler_status pool_export(struct pool *pool, uint64_t session, uint64_t handle, bool write,
                           uint64_t ttl_ms, struct pool_grant *out);
/* All three: SIMPLER_EPERM when there is no grant of this handle with this token, or no more.
 * Importing makes a handle of `session` of the same storage, as pool_alloc() does. Pinning makes
 * one that is the caller's until it unpins it, as of scratch. */
simpler_status pool_import(struct pool *pool, uint64_t session, uint64_t handle,
                           const uint8_t *token, uint64_t ttl_ms, struct pool_view *out);
simpler_status pool_pin_granted(struct pool *pool, uint64_t handle, const uint8_t *token,
                                struct pool_view *out);
simpler_status pool_release_grant(struct pool *pool, uint64_t handle, const uint8_t *token);

/* --- sessions --- */

/* Begin all of its leases anew, each as long as it was last asked for; and those of its grants. */
void pool_renew_session(struct pool *pool, uint64_t session);
/* It is over: free its handles, those that are pinned with their last pin, end its grants, and
 * close its segment. */
void pool_end_session(struct pool *pool, uint64_t session);

/* The session's own segment, made now if it has none. SIMPLER_ENOSPACE naming the limit. */
simpler_status pool_open_segment(struct pool *pool, uint64_t session, struct segment_view *out);
/* Storage that the session allocates from now on lies in its segment: all who are to use it know of
 * it. */
void pool_begin_segment(struct pool *pool, uint64_t session);
/* The session is handed its segment, to be mapped there. */
void pool_share_segment(struct pool *pool, uint64_t session);
/* The id of a segment whose session is over and of which nothing is left; 0: none. It is to be
 * dropped when nobody else is to be told of it any more. */
uint32_t pool_ended_segment(struct pool *pool);
void pool_drop_segment(struct pool *pool, uint32_t id);

/* Let go of every lease and grant that is over. Returns when the next one will be, or CLOCK_NEVER.
 */
int64_t pool_expire(struct pool *pool);

void pool_stats(struct pool *pool, struct pool_stats *out);

#endif
