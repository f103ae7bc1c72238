/*
 * Two bells for one place where work arrives, so that the right thread is woken: a resident thread
 * sleeps on one of them for good; a visitor, a thread that wants the next piece of work itself, may
 * stand at the other for a while. Who delivers rings the visitor's bell while there is one.
 *
 *   visitor:    [doorbell_pair_announce(); ...] doorbell_pair_enter();
 *               look, wait at the visitor's bell, look, ...; doorbell_pair_leave(); look once more
 *   deliverer:  publish the work; doorbell_pair_ring()
 *
 * An announced visitor is not there yet, but will be in a moment: it has something to finish first.
 * The deliverer gives it PATIENCE_NS to enter, or to take the work while it is at what it has to
 * finish; if it does neither, the announcement is void, and the resident is rung for this work and
 * what follows.
 *
 * Why nothing is left lying: entering, leaving and the deliverer's reading of `visitor_is` are all
 * read-modify-writes of it, so they stand in one order. A deliverer that comes before the leaving
 * has published before it, and the visitor's last look finds the work; one that comes after rings
 * for the resident. A deliverer that comes before the entering has published before the visitor's
 * first look. Adding nothing is what makes the deliverer's reading a write: it releases the work to
 * whoever changes `visitor_is` next.
 *
 * doorbell_pair_wake() reads `visitor_is` without writing it: the publishing, the entering and
 * leaving, that reading and the looks at the work are sequentially consistent, so they stand in one
 * order as well, and it is the work's own memory that is released and acquired.
 *
 * One visitor at a time; the visiting side sees to that in memory of its own.
 */
#ifndef IPC_DOORBELL_PAIR_H
#define IPC_DOORBELL_PAIR_H

#include "ipc/doorbell.h"

/* In shared memory; all zero is its initial state. */
struct doorbell_pair {
	struct doorbell resident, visitor;
	_Atomic uint32_t visitor_is; /* enum visitor_is */
	uint8_t pad[60];
};

void doorbell_pair_ring(struct doorbell_pair *pair);
/* For work that can be seen, to waiters that look for it with doorbell_wait_for(): ring only for
 * one that sleeps. The publishing is a sequentially consistent read-modify-write. An announced
 * visitor may do some work before it enters, now and then; `there` says whether that at hand still
 * is to be done. */
void doorbell_pair_wake(struct doorbell_pair *pair, bool (*there)(void *context), void *context);
/* Whether the work is the resident's at the moment: it need not look while a visitor does. */
bool doorbell_pair_is_residents(struct doorbell_pair *pair);
void doorbell_pair_announce(struct doorbell_pair *pair);
void doorbell_pair_enter(struct doorbell_pair *pair);
/* After entering, or to take an announcement back. */
void doorbell_pair_leave(struct doorbell_pair *pair);

#endif
