/*
 * Two bells for one place where work arrives, so that the right thread is woken: a resident thread
 * sleeps on one of them for good; a visitor, a thread that wants the next piece of work itself, may
 * stand at the other for a while. Who delivers rings the visitor's bell while there is one.
 *
 *   visitor:    doorbell_pair_enter(); look, wait at the visitor's bell, look, ...;
 *               doorbell_pair_leave(); look once more
 *   deliverer:  publish the work; doorbell_pair_ring()
 *
 * Why nothing is left lying: entering, leaving and the deliverer's reading of `visited` are all
 * read-modify-writes of it, so they stand in one order. A deliverer that comes before the leaving
 * has published before it, and the visitor's last look finds the work; one that comes after rings
 * for the resident. A deliverer that comes before the entering has published before the visitor's
 * first look. Adding nothing is what makes the deliverer's reading a write: it releases the work to
 * whoever changes `visited` next.
 *
 * One visitor at a time; the visiting side sees to that in memory of its own.
 */
#ifndef IPC_DOORBELL_PAIR_H
#define IPC_DOORBELL_PAIR_H

#include "ipc/doorbell.h"

/* In shared memory; all zero is its initial state. */
struct doorbell_pair {
	struct doorbell resident, visitor;
	_Atomic uint32_t visited;
	uint8_t pad[60];
};

static inline void doorbell_pair_ring(struct doorbell_pair *pair)
{
	if (atomic_fetch_add(&pair->visited, 0) != 0)
		doorbell_ring(&pair->visitor);
	else
		doorbell_ring(&pair->resident);
}

static inline void doorbell_pair_enter(struct doorbell_pair *pair)
{
	(void)atomic_exchange(&pair->visited, 1);
}

static inline void doorbell_pair_leave(struct doorbell_pair *pair)
{
	(void)atomic_exchange(&pair->visited, 0);
}

#endif
