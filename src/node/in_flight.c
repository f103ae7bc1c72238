#include "node/in_flight.h"

#include "base/clock.h"
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
	atomic_init(&table->stopped, 0);
}

void in_flight_destroy(struct in_flight *table)
{
	(void)pthread_mutex_destroy(&table->lock);
}

simpler_status in_flight_take(struct in_flight *table, uint64_t callable, engine_done *done,
                              void *context, uint64_t *token)
{
	struct in_flight_slot *slot;
	uint32_t index;

	pthread_mutex_lock(&table->lock);
	index = table->first_free;
	if (index != NO_SLOT) {
		slot = &table->slots[index];
		table->first_free = slot->next_free;
		slot->generation++;
		slot->state = IN_FLIGHT_RUNNING;
		slot->callable = callable;
		slot->due = CLOCK_NEVER;
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
	if (slot->state != IN_FLIGHT_RUNNING)
		atomic_fetch_sub_explicit(&table->stopped, 1, memory_order_relaxed);
	slot->generation++;
	slot->next_free = table->first_free;
	table->first_free = index;
	atomic_fetch_sub_explicit(&table->taken, 1, memory_order_relaxed);
}

/* The lock is held. NULL when the token names none that is taken. */
static struct in_flight_slot *find(struct in_flight *table, uint64_t token)
{
	uint32_t index = (uint32_t)token, generation = (uint32_t)(token >> 32);

	if (index >= ENGINE_MAX_IN_FLIGHT || generation % 2 == 0 ||
	    table->slots[index].generation != generation)
		return NULL;
	return &table->slots[index];
}

bool in_flight_complete(struct in_flight *table, uint64_t token, engine_done **done, void **context)
{
	bool found;

	pthread_mutex_lock(&table->lock);
	found = find(table, token) != NULL;
	if (found)
		give_back(table, (uint32_t)token, done, context);
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

/* --- stops --- */

bool in_flight_stop(struct in_flight *table, uint64_t token, int64_t due)
{
	struct in_flight_slot *slot;
	bool stops;

	pthread_mutex_lock(&table->lock);
	slot = find(table, token);
	stops = slot && slot->state == IN_FLIGHT_RUNNING;
	if (stops) {
		slot->state = IN_FLIGHT_TO_STOP;
		slot->due = due;
		atomic_fetch_add_explicit(&table->stopped, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&table->lock);
	return stops;
}

/* The lock is held. */
static bool is_in(const struct in_flight_slot *slot, enum in_flight_state state)
{
	return slot->generation % 2 == 1 && slot->state == state;
}

bool in_flight_next_stop(struct in_flight *table, uint64_t *token)
{
	bool found = false;

	if (atomic_load_explicit(&table->stopped, memory_order_relaxed) == 0)
		return false;
	pthread_mutex_lock(&table->lock);
	for (uint32_t i = 0; i < ENGINE_MAX_IN_FLIGHT && !found; i++) {
		struct in_flight_slot *slot = &table->slots[i];

		found = is_in(slot, IN_FLIGHT_TO_STOP);
		if (!found)
			continue;
		slot->state = IN_FLIGHT_STOPPED;
		*token = (uint64_t)slot->generation << 32 | i;
	}
	pthread_mutex_unlock(&table->lock);
	return found;
}

void in_flight_unsent(struct in_flight *table, uint64_t token)
{
	struct in_flight_slot *slot;

	pthread_mutex_lock(&table->lock);
	slot = find(table, token);
	if (slot)
		slot->state = IN_FLIGHT_TO_STOP;
	pthread_mutex_unlock(&table->lock);
}

int64_t in_flight_due(struct in_flight *table, uint64_t *callable)
{
	int64_t due = CLOCK_NEVER;

	if (atomic_load_explicit(&table->stopped, memory_order_relaxed) == 0)
		return due;
	pthread_mutex_lock(&table->lock);
	for (uint32_t i = 0; i < ENGINE_MAX_IN_FLIGHT; i++) {
		const struct in_flight_slot *slot = &table->slots[i];

		if (slot->generation % 2 == 0 || slot->due >= due)
			continue;
		due = slot->due;
		*callable = slot->callable;
	}
	pthread_mutex_unlock(&table->lock);
	return due;
}
