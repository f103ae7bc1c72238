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
 * Who wakes a sleeper takes it off `sleepers`, not the sleeper itself, which on a busy machine runs
 * only much later: until then each further ring would cost a system call that wakes nobody. It is
 * taken off when the kernel has said that it was woken, and the kernel says so to each of the two:
 * a waker that dies in between leaves a sleeper too many on the count, which costs a system call,
 * and never one too few. Those who were not woken, but late or in time to see the ring, take
 * themselves off. The upper half of `sleepers` is another number after each doorbell_reset(), so
 * that a waker whom that overtook takes none off the successor's.
 *
 * doorbell_wake() leaves out the first thing. Then the work itself is what count was, for the waker
 * publishes it first, and the waiter, being counted among the sleepers, asks for it before it
 * sleeps. A waker that sees a sleeper rings, so that the kernel's question is answered as above.
 *
 * How long to spin. A sleep costs both sides a system call and the waiter 7 microseconds and more,
 * a hundred where its core has gone idle; a spin costs a core, which is dear when threads outnumber
 * cores. So a waiter remembers how long its last waits were, those included that it slept through,
 * and spins only while their average says that the ring will come within the longest spin. One long
 * wait counts for no more than longest(), so that a few short ones are enough to make it spin
 * again.
 *
 * Who lingers (doorbell_linger()) gives up in the end, and does not learn how long it would have
 * had to wait. It tries each PROBE_EVERY-th time. So does, at length, who has slept through its
 * last waits: two that wait for each other, each asleep when the other rings, have long waits only
 * because they have, and neither would find out. On a virtual machine such a round trip takes 60
 * microseconds, and 0.2 where both spin.
 *
 * Nobody spins while the last ring came from its own core: whoever is to ring next waits for that
 * core. The kernel puts two there readily, as it wakes a thread near its waker unless it knows of a
 * better place, and on virtual machines an idle core seems to be none. It moves them apart in time.
 *
 * It does not yield while it spins, although that helps where waiter and waker share a core: a
 * yield to a task that computes gives it a whole slice of the scheduler, milliseconds, whereas a
 * sleeper that is woken gets its core at once.
 */
#include "ipc/doorbell.h"

#include <limits.h>
#include <stddef.h>

#include "base/clock.h"
#include "os/cpu.h"
#include "os/futex.h"

/* Long enough for an answer that is on its way. */
#define SPIN_LEAST 2000u
/* Waits that were slept through have a wake-up in them, which spinning would have spared. */
#define WAKE_UP     30000u
#define PROBE_EVERY 32u
/* The same for those who sleep otherwise, and the length, in which a sleeper wakes up and rings. */
#define SLEEPER_PROBES_EVERY 64u
#define SLEEPER_PROBE_NS     100000u
/* Looks at the counter between two looks at the clock, which costs about as much as ten. */
#define LOOKS 16

#define SLEEPERS_MASK 0xffffu

uint32_t doorbell_ticket(struct doorbell *bell)
{
	return atomic_load(&bell->count);
}

/* First, so that who sees the ring sees where it came from. */
static void note_core(struct doorbell *bell)
{
	atomic_store_explicit(&bell->rung_on, cpu_number(), memory_order_relaxed);
}

void doorbell_reset(struct doorbell *bell)
{
	atomic_store(&bell->sleepers, (atomic_load(&bell->sleepers) | SLEEPERS_MASK) + 1);
}

static bool wake(struct doorbell *bell, int most)
{
	uint32_t before = atomic_load(&bell->sleepers), seen = before;
	uint32_t woken = futex_wake(&bell->count, most);
	uint32_t asleep, rest;

	do {
		asleep = seen & SLEEPERS_MASK;
		rest = asleep > woken ? asleep - woken : 0;
	} while (rest != asleep && (seen ^ before) <= SLEEPERS_MASK &&
	         !atomic_compare_exchange_weak(&bell->sleepers, &seen, seen - asleep + rest));
	return woken > 0;
}

bool doorbell_ring(struct doorbell *bell)
{
	note_core(bell);
	atomic_fetch_add(&bell->count, 1);
	return doorbell_sleepers(bell) != 0 && wake(bell, 1);
}

void doorbell_ring_all(struct doorbell *bell)
{
	note_core(bell);
	atomic_fetch_add(&bell->count, 1);
	(void)wake(bell, INT_MAX);
}

void doorbell_wake(struct doorbell *bell)
{
	if (doorbell_sleepers(bell) != 0)
		(void)doorbell_ring(bell);
}

/* What a waiter waits for. */
struct watch {
	struct doorbell *bell;
	uint32_t ticket;
	bool (*there)(void *context); /* or NULL */
	void *context;
};

static bool has_come(const struct watch *watch)
{
	return atomic_load(&watch->bell->count) != watch->ticket ||
	       (watch->there && watch->there(watch->context));
}

/* `*now` is when it looked at the clock last: not at the end, where whoever was waited for waits.
 */
static bool spin(const struct watch *watch, int64_t *now, int64_t until)
{
	do {
		for (int i = 0; i < LOOKS; i++) {
			if (has_come(watch))
				return true;
			cpu_pause();
		}
		*now = clock_now();
	} while (*now < until);
	/* The time may have passed while whoever rings had this core. */
	return has_come(watch);
}

static uint32_t most(const struct spin_budget *budget)
{
	return budget->most > 0 ? budget->most : DOORBELL_SPIN_NS;
}

/* The average up to which spinning pays. */
static uint32_t worth_it(const struct spin_budget *budget)
{
	return most(budget) + WAKE_UP;
}

/* For how long one wait counts at the most. */
static uint32_t longest(const struct spin_budget *budget)
{
	return 4 * worth_it(budget);
}

static void learn(struct spin_budget *budget, int64_t waited)
{
	uint32_t capped = waited < longest(budget) ? (uint32_t)waited : longest(budget);

	/* Quick to believe in short waits, slow to give them up. */
	if (capped < budget->average)
		budget->average = budget->average / 2 + capped / 2;
	else
		budget->average += (capped - budget->average) / 8;
	budget->nanoseconds = budget->average <= worth_it(budget) ? most(budget) : SPIN_LEAST;
}

/* Not to none, whatever the other process has written there. */
static void count_sleeper(struct doorbell *bell)
{
	if ((atomic_fetch_add(&bell->sleepers, 1) & SLEEPERS_MASK) == SLEEPERS_MASK)
		atomic_fetch_add(&bell->sleepers, 1);
}

static bool sleep_until_come(const struct watch *watch, int64_t deadline)
{
	struct doorbell *bell = watch->bell;
	enum futex_end end;

	do {
		count_sleeper(bell);
		end = has_come(watch) ? FUTEX_CHANGED
		                      : futex_wait(&bell->count, watch->ticket, deadline);
		if (end != FUTEX_WOKEN)
			atomic_fetch_sub(&bell->sleepers, 1);
	} while (end == FUTEX_WOKEN && !has_come(watch));
	return end != FUTEX_LATE;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static bool shares_core(const struct doorbell *bell)
{
	uint32_t number = atomic_load_explicit(&bell->rung_on, memory_order_relaxed);

	return number != CPU_UNKNOWN && number == cpu_number();
}

bool doorbell_linger(struct doorbell *bell, uint32_t ticket, struct spin_budget *budget)
{
	const struct watch watch = { bell, ticket, NULL, NULL };
	int64_t began = clock_now(), now = began, length = budget->nanoseconds;
	bool rung;

	if (length < most(budget) && ++budget->futile % PROBE_EVERY == 0)
		length = most(budget);
	if (shares_core(bell)) {
		rung = sleep_until_come(&watch, began + length);
		now = clock_now();
	} else {
		rung = spin(&watch, &now, began + length);
	}
	/* A short while in vain says nothing about a long one. */
	if (rung || length == most(budget))
		learn(budget, rung ? now - began : longest(budget));
	return rung;
}

/* The spin before a sleep. `*now` is when it begins. */
static bool spin_within(const struct watch *watch, struct spin_budget *budget, int64_t *now,
                        int64_t deadline)
{
	int64_t began = *now;
	bool probes, come;

	if (shares_core(watch->bell))
		return false;
	probes = budget->futile >= SLEEPER_PROBES_EVERY;
	come = spin(watch, now,
	            earlier(began + (probes ? SLEEPER_PROBE_NS : budget->nanoseconds), deadline));
	budget->futile = probes || come ? 0 : budget->futile + 1;
	/* The other is awake now, so the next wait will be short if this one knows how to wait. */
	if (probes && come)
		budget->average = 0;
	return come;
}

static bool wait_for(const struct watch *watch, struct spin_budget *budget, int64_t deadline)
{
	int64_t began, now;
	bool come;

	if (has_come(watch)) {
		learn(budget, 0);
		return true;
	}
	began = now = clock_now();
	come = spin_within(watch, budget, &now, deadline);
	if (!come) {
		come = sleep_until_come(watch, deadline);
		now = clock_now();
	}
	learn(budget, now - began);
	return come;
}

bool doorbell_wait(struct doorbell *bell, uint32_t ticket, struct spin_budget *budget,
                   int64_t deadline)
{
	const struct watch watch = { bell, ticket, NULL, NULL };

	return wait_for(&watch, budget, deadline);
}

bool doorbell_wait_for(struct doorbell *bell, uint32_t ticket, struct spin_budget *budget,
                       int64_t deadline, bool (*there)(void *context), void *context)
{
	const struct watch watch = { bell, ticket, there, context };

	return wait_for(&watch, budget, deadline);
}
