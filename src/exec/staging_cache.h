/*
 * Storage on a node that tasks had for staged tensors and that others may have after them, so that
 * a program that stages the same sizes again and again asks for storage and frees it once.
 *
 * Whoever takes a piece writes all of it before the node reads any of it: what it had is another
 * task's. A piece is taken in the life of the session in which it was made and in no other, as the
 * node has forgotten it then. What nobody has taken from one look to the next is given back, and so
 * is anything when the node has no room.
 *
 * It knows of no calls: who pops a piece has the node free it, and then says so.
 *
 * Thread-safety: any thread, at any time; nothing blocks.
 */
#ifndef EXEC_STAGING_CACHE_H
#define EXEC_STAGING_CACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "transport/transport.h"

#define STAGING_PIECES 8u
#define STAGING_BYTES  ((uint64_t)128 << 20)

struct staging_piece {
	struct transport_storage place;
	uint64_t life;
	bool old; /* nobody has taken it since the last look */
};

struct staging_cache {
	pthread_mutex_t lock; /* guards: */
	struct staging_piece pieces[STAGING_PIECES];
	uint32_t count;
	uint64_t bytes;
	uint32_t freeing; /* and not yet said to be freed */
	uint64_t freed;
};

void staging_cache_init(struct staging_cache *cache);
void staging_cache_release(struct staging_cache *cache);

/* A piece of exactly this size; false when there is none. */
bool staging_cache_take(struct staging_cache *cache, uint64_t life, uint64_t nbytes,
                        struct transport_storage *out);
/* The piece is the cache's; false when that has no room or it has no bytes, and it is the caller's
 * still. */
bool staging_cache_put(struct staging_cache *cache, uint64_t life,
                       const struct transport_storage *place);

/* Any piece, to be freed; or one that has become old; false when there is none such. */
bool staging_cache_pop(struct staging_cache *cache, struct transport_storage *out);
bool staging_cache_pop_old(struct staging_cache *cache, struct transport_storage *out);
/* One that was taken is to be freed. */
void staging_cache_frees(struct staging_cache *cache);
/* It is freed, or one that was popped, or the node was asked to in vain. */
void staging_cache_freed(struct staging_cache *cache);
/* All that is there now becomes old, until it is taken. */
void staging_cache_age(struct staging_cache *cache);

/* When a request for storage was begun: to know, when the node had no room for it, whether some has
 * been freed meanwhile or is about to be. */
struct staging_mark {
	uint64_t freed;
};
struct staging_mark staging_cache_mark(struct staging_cache *cache);
bool staging_cache_has_changed(struct staging_cache *cache, struct staging_mark since);

#endif
