/*
 * Objects that are named by ids: slots that are recycled, with a generation that tells one tenant
 * from the next, so that an id of what is gone finds nothing.
 *
 * Slots come in blocks, which are allocated when first needed, never move, and stay until release.
 * An object begins with a struct slot. Its generation is odd while it is in use.
 */
#ifndef DAG_SLOTS_H
#define DAG_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slot {
	/* In the list of free slots; while the object is in use, in a queue of its owner. */
	struct slot *next;
	uint32_t index, generation;
};

struct slots {
	void **blocks; /* block_count of them, with room for block_room */
	size_t object_bytes;
	uint32_t block_count, block_room;
	uint32_t live;
	struct slot *free;
};

void slots_init(struct slots *slots, size_t object_bytes);
void slots_release(struct slots *slots);

/* Make sure of one more object. False when memory is out. */
bool slots_reserve(struct slots *slots);
/* The one reserved, with its slot set. All else is as it was left, or 0 when it is new. */
void *slots_take(struct slots *slots);
/* `slot` is the object's own; all ids of it are void from now on. */
void slots_give(struct slots *slots, struct slot *slot);
/* NULL for an id that is gone or never was. */
void *slots_find(const struct slots *slots, uint64_t id);

/* Never 0. */
static inline uint64_t slot_id(const struct slot *slot)
{
	return slot->index | (uint64_t)slot->generation << 32;
}

/* First in, first out. It runs through the slots, so putting cannot fail; an object is in one queue
 * at most. */
struct slot_queue {
	struct slot *first, *last;
};

static inline void slot_queue_put(struct slot_queue *queue, struct slot *slot)
{
	slot->next = NULL;
	if (queue->last)
		queue->last->next = slot;
	else
		queue->first = slot;
	queue->last = slot;
}

/* The first, or NULL. */
static inline struct slot *slot_queue_take(struct slot_queue *queue)
{
	struct slot *slot = queue->first;

	if (!slot)
		return NULL;
	queue->first = slot->next;
	if (!queue->first)
		queue->last = NULL;
	return slot;
}

#endif
