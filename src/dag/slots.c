#include "dag/slots.h"

#include <assert.h>
#include <stdlib.h>

#define BLOCK_OBJECTS 128u
#define FIRST_ROOM    8u

void slots_init(struct slots *slots, size_t object_bytes)
{
	assert(object_bytes >= sizeof(struct slot));
	*slots = (struct slots){ .object_bytes = object_bytes };
}

void slots_release(struct slots *slots)
{
	for (uint32_t i = 0; i < slots->block_count; i++)
		free(slots->blocks[i]);
	free(slots->blocks);
	slots_init(slots, slots->object_bytes);
}

static struct slot *slot_at(const struct slots *slots, uint32_t index)
{
	uint8_t *block = slots->blocks[index / BLOCK_OBJECTS];

	return (struct slot *)(void *)(block + index % BLOCK_OBJECTS * slots->object_bytes);
}

static bool grow_room(struct slots *slots)
{
	uint32_t room = slots->block_room ? slots->block_room * 2 : FIRST_ROOM;
	void **blocks;

	/* Indices have 32 bits. */
	if (room > UINT32_MAX / BLOCK_OBJECTS)
		return false;
	blocks = realloc(slots->blocks, room * sizeof(*blocks));
	if (!blocks)
		return false;
	slots->blocks = blocks;
	slots->block_room = room;
	return true;
}

bool slots_reserve(struct slots *slots)
{
	uint32_t first = slots->block_count * BLOCK_OBJECTS;
	void *block;

	if (slots->free)
		return true;
	if (slots->block_count == slots->block_room && !grow_room(slots))
		return false;
	block = calloc(BLOCK_OBJECTS, slots->object_bytes);
	if (!block)
		return false;
	slots->blocks[slots->block_count++] = block;
	/* Backwards, so that they are first taken in order. */
	for (uint32_t i = BLOCK_OBJECTS; i-- > 0;) {
		struct slot *slot = slot_at(slots, first + i);

		slot->index = first + i;
		slot->next = slots->free;
		slots->free = slot;
	}
	return true;
}

void *slots_take(struct slots *slots)
{
	struct slot *slot = slots->free;

	assert(slot && "taken without slots_reserve()");
	slots->free = slot->next;
	slots->live++;
	slot->next = NULL;
	slot->generation++;
	return slot;
}

void slots_give(struct slots *slots, struct slot *slot)
{
	assert(slot->generation % 2 == 1);
	slot->generation++;
	slot->next = slots->free;
	slots->free = slot;
	slots->live--;
}

void *slots_find(const struct slots *slots, uint64_t id)
{
	uint32_t index = (uint32_t)id, generation = (uint32_t)(id >> 32);
	struct slot *slot;

	if (generation % 2 == 0 || index / BLOCK_OBJECTS >= slots->block_count)
		return NULL;
	slot = slot_at(slots, index);
	return slot->generation == generation ? slot : NULL;
}
