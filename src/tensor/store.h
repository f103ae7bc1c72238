/*
 * Where the bytes of a pool's tensors are: memory segments, each with an arena of its own, all of
 * them under one limit.
 *
 * A segment is one memfd, mapped here at its full size and committed page by page. The main one is
 * everybody's. Others have an owner each, who is handed the memfd and so reaches what is in it, and
 * nothing else: whatever that owner allocates from then on lies there. Since the owner may have it
 * mapped for as long as it likes, such a segment is nobody else's afterwards:
 *
 *   OPEN --store_begin()--> IN USE --store_close()--> CLOSED --its last piece is freed--> empty
 *     `--------------------------------store_close()-------------------------------------^
 *
 * and gone by store_drop().
 *
 * The limit is hard for what is in use and what is kept for the next use together: before memory is
 * committed that would go beyond it, what is kept anywhere goes back to the system.
 *
 * Thread-safe. Pages of large pieces are committed and cleared outside the lock.
 */
#ifndef TENSOR_STORE_H
#define TENSOR_STORE_H

#include <stdint.h>

#include "simpler/status.h"

#define STORE_MAX_SEGMENTS 64u /* beside the main one */

struct store;
struct arena_block;
struct store_segment;

/* Bytes of one allocation. Of none: `block` is NULL. */
struct store_piece {
	struct store_segment *segment;
	struct arena_block *block;
};

/* A segment as others see it. */
struct segment_view {
	uint32_t id;
	uint64_t owner; /* 0: the main one's */
	int memfd;      /* the store's; for as long as the segment is there */
	uint8_t *base;
	uint64_t bytes;
};

/* `main` is borrowed: its memfd and its mapping, of the size that is the limit, a multiple of the
 * page size. */
simpler_status store_create(const struct segment_view *main, struct store **out);
void store_destroy(struct store *store);

/*
 * A segment with this id for `owner`, which is not 0; nothing is allocated there yet.
 *
 * @return SIMPLER_EEXIST when it has one, which `*out` is then; SIMPLER_ENOSPACE naming the limit.
 */
simpler_status store_open(struct store *store, uint64_t owner, uint32_t id,
                          struct segment_view *out);
/* What the owner allocates from now on lies there. */
void store_begin(struct store *store, uint64_t owner);
/* Its owner is handed the memfd: it is counted. */
void store_share(struct store *store, uint64_t owner);
/* Nothing is allocated in the owner's segment any more. One without is left alone. */
void store_close(struct store *store, uint64_t owner);
/* The id of a segment that is closed and empty; 0 when there is none. */
uint32_t store_empty(struct store *store);
/* Unmap and close it. */
void store_drop(struct store *store, uint32_t id);

/*
 * Zeroed bytes, `nbytes` of which are not 0, in the owner's segment, or the main one if it has
 * none.
 *
 * @return SIMPLER_ENOSPACE naming asked, used, largest gap and limit; SIMPLER_ENOMEM.
 */
simpler_status store_alloc(struct store *store, uint64_t owner, uint64_t nbytes,
                           struct store_piece *out);
void store_free(struct store *store, struct store_piece piece);

/* The segment that a piece is in, and where in it. */
void store_locate(const struct store_piece *piece, struct segment_view *segment, uint64_t *offset);

struct store_stats {
	uint64_t capacity, used, largest_free, committed; /* bytes */
	uint32_t segments;
	uint32_t shared; /* of them, those that their owners were handed, and that are not closed */
};
void store_stats(struct store *store, struct store_stats *out);

#endif
