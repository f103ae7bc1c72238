#include "node/in_flight.h"

#include "base/error.h"

#define NO_SLOT UINT32_MAX

void in_flight_init(struct in_flight *table)
{
	(void)pthread_mutex_init(&table->lock, NULL);
	for (uint32_t i = 0; i < ENGINE_MAX_IN_FLIGHT; i++) {
		table->slots[i].generation = 0;
		table->slots[i].next_free = i + 1 < ENGINE_MAX_IN_FLIGHT ? i + 1 : NO_SLOT;
	}
	table->first_free = 0;
	atomic_init(&table->taken, 0);
}

void in_flight_destroy(struct in_flight *table)
{
	(void)pthread_mutex_destroy(&table->lock);
}

simpler_status in_flight_take(struct in_flight *table, engine_done *done, void *context,
                              uint64_t *token)
{
	struct in_flight_slot *slot;
	uint32_t index;

	pthread_mutex_lock(&table->lock);
	index = table->first_free;
	if (index != NO_SLOT) {
		slot = &table->slots[index];
		table->first_free = slot->next_free;
		slot->generation++;
		slot->done = done;
		slot->context = context;
		*token = (uint64_t)slot->generation << 32 | index;
		atomic_fetch_add_explicit(&table->taken, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&table->lock);
	if (index == NO_SLOT)
		return error_raise(SIMPLER_ENOSPACE,
		                   "%u tasks are in flight at this node, which is the limit; wait "
		                   "for some of them",
		                   ENGINE_MAX_IN_FLIGHT);
	return SIMPLER_OK;
}

/* The lock is held. */
static void give_back(struct in_flight *table, uint32_t index, engine_done **done, void **context)
{
	struct in_flight_slot *slot = &table->slots[index];

	*done = slot->done;
	*context = slot->context;
	slot->generation++;
	slot->next_free = table->first_free;
	table->first_free = index;
	atomic_fetch_sub_explicit(&table->taken, 1, memory_order_relaxed);
}

bool in_flight_complete(struct in_flight *table, uint64_t token, engine_done **done, void **context)
{
	uint32_t index = (uint32_t)token, generation = (uint32_t)(token >> 32);
	bool found;

	if (index >= ENGINE_MAX_IN_FLIGHT || generation % 2 == 0)
		return false;
	pthread_mutex_lock(&table->lock);
	found = table->slots[index].generation == generation;
	if (found)
		give_back(table, index, done, context);
	pthread_mutex_unlock(&table->lock);
	return found;
}

bool in_flight_complete_any(struct in_flight *table, engine_done **done, void **context)
{
	bool found = false;

	pthread_mutex_lock(&table->lock);
	for (uint32_t i = 0; i < ENGINE_MAX_IN_FLIGHT && !found; i++) {
		found = table->slots[i].generation % 2 == 1;
		if (found)
			give_back(table, i, done, context);
	}
	pthread_mutex_unlock(&table->lock);
	return found;
}
