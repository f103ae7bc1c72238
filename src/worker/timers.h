/*
 * What is due when: a heap of timers that others embed. Not thread-safe: the owner locks.
 */
#ifndef WORKER_TIMERS_H
#define WORKER_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/status.h"

struct chores;

/* All zero is one that is not set. */
struct timer {
	int64_t at;      /* base/clock.h */
	size_t position; /* in the heap, from 1; 0: not set */
	/* Its time has come, and it is not set any more. Under the owner's lock. */
	void (*due)(struct timer *timer, struct chores *chores);
};

/* All zero is an empty one. */
struct timers {
	struct timer **heap;
	size_t count, room;
};

void timers_release(struct timers *timers);
/* SIMPLER_ENOMEM. */
simpler_status timers_set(struct timers *timers, struct timer *timer, int64_t at);
/* Nothing happens when it is not set. */
void timers_cancel(struct timers *timers, struct timer *timer);
/* The one that is due first; NULL when none is set. */
struct timer *timers_first(const struct timers *timers);

#endif
