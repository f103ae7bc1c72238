#include "ipc/doorbell_pair.h"

#include <stddef.h>

#include "base/clock.h"
#include "os/cpu.h"

#define PATIENCE_NS 10000

enum visitor_is { ABSENT, ANNOUNCED, PRESENT };

static uint32_t look(struct doorbell_pair *pair)
{
	return atomic_fetch_add(&pair->visitor_is, 0);
}

/* `there` is NULL, or says whether the work is still to be done. */
static uint32_t await_announced(struct doorbell_pair *pair, bool (*there)(void *context),
                                void *context)
{
	int64_t until = clock_now() + PATIENCE_NS;
	uint32_t seen = ANNOUNCED;

	while (seen == ANNOUNCED && clock_now() < until) {
		cpu_pause();
		if (there && !there(context))
			return ANNOUNCED;
		seen = look(pair);
	}
	/* Void, unless it came in this moment: then `seen` says so. */
	if (seen == ANNOUNCED && atomic_compare_exchange_strong(&pair->visitor_is, &seen, ABSENT))
		seen = ABSENT;
	return seen;
}

void doorbell_pair_ring(struct doorbell_pair *pair)
{
	uint32_t seen = look(pair);

	if (seen == ANNOUNCED)
		seen = await_announced(pair, NULL, NULL);
	(void)doorbell_ring(seen == PRESENT ? &pair->visitor : &pair->resident);
}

void doorbell_pair_wake(struct doorbell_pair *pair, bool (*there)(void *context), void *context)
{
	uint32_t seen = atomic_load(&pair->visitor_is);

	if (seen == ANNOUNCED)
		seen = await_announced(pair, there, context);
	if (seen != ANNOUNCED)
		doorbell_wake(seen == PRESENT ? &pair->visitor : &pair->resident);
}

bool doorbell_pair_is_residents(struct doorbell_pair *pair)
{
	uint32_t seen = atomic_load(&pair->visitor_is);

	return seen != ANNOUNCED && seen != PRESENT;
}

void doorbell_pair_announce(struct doorbell_pair *pair)
{
	(void)atomic_exchange(&pair->visitor_is, ANNOUNCED);
}

void doorbell_pair_enter(struct doorbell_pair *pair)
{
	(void)atomic_exchange(&pair->visitor_is, PRESENT);
}

void doorbell_pair_leave(struct doorbell_pair *pair)
{
	(void)atomic_exchange(&pair->visitor_is, ABSENT);
}
