/*
 * Why no wake-up is lost. Two things are done on each side, in this order, all sequentially
 * consistent:
 *
 *   waker:   count += 1;     then sleepers != 0?  wake
 *   waiter:  sleepers += 1;  then count == ticket?  sleep (the kernel asks this again)
 *
 * Whichever of the four comes last in the one total order sees the other side's write: the waker a
 * sleeper, or the waiter a new count. A waker that sees a spinner wakes nobody: the spinner looks
 * at the count once more after it has ceased to be one, and before it sleeps.
 *
 * How long to spin. A sleep costs both sides a system call and the waiter 7 microseconds and more;
 * a spin costs a core, which is dear when threads outnumber cores. So a waiter has a budget that
 * doubles when the ring came while it spun and is halved when it did not. At its least it could
 * never learn that a longer one would pay, so that each PROBE_EVERY-th futile spin is followed by
 * one with the whole budget.
 *
 * It does not yield while it spins, although that helps where waiter and waker share a core: a
 * yield to a task that computes gives it a whole slice of the scheduler, milliseconds, whereas a
 * sleeper that is woken gets its core at once.
 */
#include "ipc/doorbell.h"

#include <limits.h>

#include "base/clock.h"
#include "os/cpu.h"
#include "os/futex.h"

#define SPIN_LEAST   1000u
#define SPIN_INITIAL 8000u
#define SPIN_MOST    60000u
#define PROBE_EVERY  256u
/* Looks at the counter between two looks at the clock, which costs about as much as ten. */
#define LOOKS 16

uint32_t doorbell_ticket(struct doorbell *bell)
{
	return atomic_load(&bell->count);
}

void doorbell_ring(struct doorbell *bell)
{
	atomic_fetch_add(&bell->count, 1);
	if (atomic_load(&bell->spinners) == 0 && atomic_load(&bell->sleepers) != 0)
		futex_wake(&bell->count, 1);
}

void doorbell_ring_all(struct doorbell *bell)
{
	atomic_fetch_add(&bell->count, 1);
	if (atomic_load(&bell->sleepers) != 0)
		futex_wake(&bell->count, INT_MAX);
}

void doorbell_bury(struct doorbell *bell)
{
	atomic_store(&bell->sleepers, 0);
	atomic_store(&bell->spinners, 0);
}

static bool has_rung(struct doorbell *bell, uint32_t ticket)
{
	return atomic_load(&bell->count) != ticket;
}

static bool spin(struct doorbell *bell, uint32_t ticket, int64_t until)
{
	do {
		for (int i = 0; i < LOOKS; i++) {
			if (has_rung(bell, ticket))
				return true;
			cpu_pause();
		}
	} while (clock_now() < until);
	/* The time may have passed while whoever rings had this core. */
	return has_rung(bell, ticket);
}

static void spin_paid(struct spin_budget *budget)
{
	budget->nanoseconds *= 2;
	if (budget->nanoseconds > SPIN_MOST)
		budget->nanoseconds = SPIN_MOST;
	budget->futile = 0;
}

static void spin_was_futile(struct spin_budget *budget)
{
	budget->nanoseconds /= 2;
	if (budget->nanoseconds < SPIN_LEAST)
		budget->nanoseconds = SPIN_LEAST;
	if (++budget->futile % PROBE_EVERY == 0)
		budget->nanoseconds = SPIN_MOST;
}

static bool sleep_until_rung(struct doorbell *bell, uint32_t ticket, int64_t deadline)
{
	bool in_time = true;

	atomic_fetch_add(&bell->sleepers, 1);
	while (in_time && !has_rung(bell, ticket))
		in_time = futex_wait(&bell->count, ticket, deadline);
	atomic_fetch_sub(&bell->sleepers, 1);
	return in_time;
}

static bool spin_within(struct doorbell *bell, uint32_t ticket, struct spin_budget *budget,
                        int64_t deadline)
{
	int64_t until;
	bool rung;

	if (has_rung(bell, ticket))
		return true;
	if (budget->nanoseconds == 0)
		budget->nanoseconds = SPIN_INITIAL;
	until = clock_now() + budget->nanoseconds;
	atomic_fetch_add(&bell->spinners, 1);
	rung = spin(bell, ticket, until < deadline ? until : deadline);
	atomic_fetch_sub(&bell->spinners, 1);
	if (rung)
		spin_paid(budget);
	else
		spin_was_futile(budget);
	return rung;
}

bool doorbell_spin(struct doorbell *bell, uint32_t ticket, struct spin_budget *budget)
{
	return spin_within(bell, ticket, budget, CLOCK_NEVER);
}

bool doorbell_wait(struct doorbell *bell, uint32_t ticket, struct spin_budget *budget,
                   int64_t deadline)
{
	return spin_within(bell, ticket, budget, deadline) ||
	       sleep_until_rung(bell, ticket, deadline);
}
