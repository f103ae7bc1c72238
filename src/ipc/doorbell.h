/*
 * Wake a thread of another process: a counter in shared memory that is rung, and waiting for it
 * that spins briefly and then sleeps on a futex.
 *
 *   waiter:  ticket = doorbell_ticket(); look for work; none? doorbell_wait(ticket)
 *   waker:   publish work; doorbell_ring()
 *
 * A ring between ticket and wait makes the wait return at once, so no wake-up is lost. Waking
 * costs a system call only when somebody sleeps. Nothing here trusts the counter's value: the
 * other process may write what it likes and gets spurious wake-ups or none for it.
 */
#ifndef IPC_DOORBELL_H
#define IPC_DOORBELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* In shared memory, on a cache line of its own; all zero is its initial state. */
struct doorbell {
	_Atomic uint32_t count;
	_Atomic uint32_t sleepers; /* doorbell_sleepers(); the upper half is of doorbell_reset() */
	_Atomic uint32_t rung_on;  /* the core of the last ring, see cpu_number(); a hint */
	uint8_t pad[52];
};

#define DOORBELL_SPIN_NS 4000u
/* For the one thread of a process that waits for a request, and the one that waits for its answer:
 * a round trip over a local network fits in. More threads that spin as long would take each other's
 * cores. */
#define DOORBELL_REQUEST_SPIN_NS 100000u
#define DOORBELL_ANSWER_SPIN_NS  100000u

/* How long a waiter spins, from how long its waits have been. Process-local; all zero is its
 * initial state. One thread uses it at a time. */
struct spin_budget {
	uint32_t most;        /* set by the owner: longest spin; 0 means DOORBELL_SPIN_NS */
	uint32_t nanoseconds; /* of the next spin */
	uint32_t average;     /* of the last waits */
	uint32_t futile;      /* spins in vain, in a row */
};

/* How many sleep, or are about to; and some that did, if they were killed. */
static inline uint16_t doorbell_sleepers(struct doorbell *bell)
{
	return (uint16_t)atomic_load(&bell->sleepers);
}
/* None do, since the process that did is dead. */
void doorbell_reset(struct doorbell *bell);

uint32_t doorbell_ticket(struct doorbell *bell);
/* Wakes one sleeper, and returns whether it did. */
bool doorbell_ring(struct doorbell *bell);
/* Wakes all of them, whatever the other process has written here: for shutting down. A count that
 * it has set just so may need a second ring. */
void doorbell_ring_all(struct doorbell *bell);
/* Wait for no longer than it pays to spin: do so, or sleep as long if the last ring came from this
 * thread's core, which who rings needs. False when there was no ring. */
bool doorbell_linger(struct doorbell *bell, uint32_t ticket, struct spin_budget *budget);
/* Spin, then sleep. False when `deadline` (base/clock.h) passed. May return true without a ring:
 * look again. */
bool doorbell_wait(struct doorbell *bell, uint32_t ticket, struct spin_budget *budget,
                   int64_t deadline);

/*
 * The same for work that can be seen: until `there(context)`, or a ring, which spares the waker the
 * ring while nobody sleeps. It publishes the work and calls doorbell_wake(). Both the publishing
 * and what there() reads it with are sequentially consistent.
 */
bool doorbell_wait_for(struct doorbell *bell, uint32_t ticket, struct spin_budget *budget,
                       int64_t deadline, bool (*there)(void *context), void *context);
/* Ring if somebody sleeps. */
void doorbell_wake(struct doorbell *bell);

#endif
