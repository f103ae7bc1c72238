/* A binary heap in an array; entry `i`, from 1, is at heap[i - 1] and due no later than 2i and 2i
 * + 1. */
#include "worker/timers.h"

#include <stdlib.h>

#include "base/error.h"

void timers_release(struct timers *timers)
{
	free(timers->heap);
}

static struct timer *entry(const struct timers *timers, size_t position)
{
	return timers->heap[position - 1];
}

static void put(struct timers *timers, size_t position, struct timer *timer)
{
	timers->heap[position - 1] = timer;
	timer->position = position;
}

static void rise(struct timers *timers, struct timer *timer)
{
	size_t position = timer->position;

	while (position > 1 && entry(timers, position / 2)->at > timer->at) {
		put(timers, position, entry(timers, position / 2));
		position /= 2;
	}
	put(timers, position, timer);
}

static void sink(struct timers *timers, struct timer *timer)
{
	size_t position = timer->position, child;

	while ((child = 2 * position) <= timers->count) {
		if (child < timers->count &&
		    entry(timers, child + 1)->at < entry(timers, child)->at)
			child++;
		if (entry(timers, child)->at >= timer->at)
			break;
		put(timers, position, entry(timers, child));
		position = child;
	}
	put(timers, position, timer);
}

simpler_status timers_set(struct timers *timers, struct timer *timer, int64_t at)
{
	if (timers->count == timers->room) {
		size_t room = timers->room ? timers->room * 2 : 64;
		struct timer **heap = realloc(timers->heap, room * sizeof(struct timer *));

		if (!heap)
			return error_raise(SIMPLER_ENOMEM, "out of memory for a deadline");
		timers->heap = heap;
		timers->room = room;
	}
	timer->at = at;
	put(timers, ++timers->count, timer);
	rise(timers, timer);
	return SIMPLER_OK;
}

void timers_cancel(struct timers *timers, struct timer *timer)
{
	size_t position = timer->position;
	struct timer *last;

	if (position == 0)
		return;
	timer->position = 0;
	last = entry(timers, timers->count--);
	if (last == timer)
		return;
	put(timers, position, last);
	rise(timers, last);
	sink(timers, last);
}

struct timer *timers_first(const struct timers *timers)
{
	return timers->count > 0 ? timers->heap[0] : NULL;
}
