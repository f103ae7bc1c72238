/*
 * A ring of variable-size records in shared memory: one producing process, one consuming process.
 * Threads of one side take turns under a lock of their own process; no lock is in shared memory.
 *
 * Records are copied in and out whole. What the other side wrote is read once, checked, used: a
 * producer checks the consumer's position, a consumer checks the producer's position and the
 * record's length, and reports SIMPLER_EPROTOCOL when they make no sense.
 *
 *   byte layout: struct ring_shared, then `capacity` bytes, a power of two; a record is a u32
 *   length, its bytes, and padding to 8; positions only grow and are taken modulo the capacity.
 */
#ifndef IPC_RING_H
#define IPC_RING_H

#include <stddef.h>

#include "ipc/doorbell_pair.h"
#include "simpler/status.h"

struct ring_shared; /* defined in ring.c */

/* One process's end. Process-local. */
struct ring {
	struct ring_shared *shared;
	uint8_t *data;
	uint64_t capacity;
	uint64_t position; /* this side's own, which the other side cannot change */
};

/* Bytes of shared memory for a ring of `capacity`, a power of two of at least 4096. */
size_t ring_bytes(uint64_t capacity);
/* Empty the ring in `memory`: shared memory of ring_bytes(capacity), aligned to 64. Before either
 * end attaches; again only when neither is there any more. */
void ring_init(void *memory, uint64_t capacity);
/* Either end, once each after ring_init(). The capacity is the caller's own knowledge and not read
 * from shared memory. */
void ring_attach(struct ring *ring, void *memory, uint64_t capacity);

/* Copy a record of at least one byte in, and ring if there was none. SIMPLER_ENOSPACE when there is
 * no room now, SIMPLER_EINVAL when there never will be, SIMPLER_EPROTOCOL when the consumer's
 * position makes no sense. */
simpler_status ring_push(struct ring *ring, const void *record, size_t size);
/* The same without ringing, for a consumer that waits elsewhere. What it publishes with is
 * sequentially consistent, as doorbell_wake() asks for. */
simpler_status ring_put(struct ring *ring, const void *record, size_t size);
/* Whether the producer would find room now. True as well when the consumer's position makes no
 * sense, as the producer is to hear of that. Sequentially consistent, as ring_pop()'s giving back
 * is. */
bool ring_has_room(struct ring *ring, size_t size);
/* Copy the next record out. Who has taken one looks for another, until there is none, or rings for
 * somebody who does: nobody else rings for those behind it. `*size` 0: there is none.
 * SIMPLER_EPROTOCOL as above, and when the record is larger than `capacity`. */
simpler_status ring_pop(struct ring *ring, void *record, size_t capacity, size_t *size);
/* Whether the consumer would find a record now. Sequentially consistent. */
bool ring_has_record(struct ring *ring);
/* What the consumer waits at. */
struct doorbell_pair *ring_bells(struct ring *ring);

#endif
