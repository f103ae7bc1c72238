#include "exec/collector.h"

#include "base/clock.h"
#include "base/error.h"

/* --- the resident --- */

static bool is_for_resident(void *context)
{
	struct collector *collector = context;

	return collector->there(collector->context) && doorbell_pair_is_residents(collector->bells);
}

static void *resident_main(void *argument)
{
	struct collector *collector = argument;
	struct doorbell *bell = &collector->bells->resident;
	struct spin_budget spin = { 0 };
	bool in_time = true;

	while (!atomic_load(&collector->stopping)) {
		uint32_t ticket = doorbell_ticket(bell);

		collector->collect(collector->context, !in_time);
		if (!atomic_load(&collector->stopping))
			in_time = doorbell_wait_for(bell, ticket, &spin,
			                            clock_after_ms(COLLECTOR_LOOK_MS),
			                            is_for_resident, collector);
	}
	return NULL;
}

simpler_status collector_start(struct collector *collector)
{
	int failure = pthread_create(&collector->thread, NULL, resident_main, collector);

	if (failure != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, failure,
		                         "cannot start a thread that collects outcomes");
	collector->started = true;
	return SIMPLER_OK;
}

void collector_stop(struct collector *collector)
{
	if (!collector->started)
		return;
	atomic_store(&collector->stopping, true);
	doorbell_ring_all(&collector->bells->resident);
	(void)pthread_join(collector->thread, NULL);
	collector->started = false;
}

/* --- the visitor --- */

bool collector_announce(struct collector *collector)
{
	if (atomic_exchange(&collector->attending, true))
		return false;
	doorbell_pair_announce(collector->bells);
	return true;
}

bool collector_attend(struct collector *collector, bool announced, const _Atomic bool *finished)
{
	struct doorbell_pair *pair = collector->bells;

	if (!announced && atomic_exchange(&collector->attending, true))
		return false;
	doorbell_pair_enter(pair);
	while (!atomic_load(finished)) {
		uint32_t ticket = doorbell_ticket(&pair->visitor);

		collector->collect(collector->context, false);
		/* With an end, for whoever overwrites the bell may take it out of reach of any
		 * ring. */
		if (!atomic_load(finished))
			(void)doorbell_wait_for(&pair->visitor, ticket, &collector->attend_spin,
			                        clock_after_ms(COLLECTOR_LOOK_MS), collector->there,
			                        collector->context);
	}
	doorbell_pair_leave(pair);
	atomic_store(&collector->attending, false);
	collector->collect(collector->context, false);
	return true;
}

void collector_wake(struct collector *collector)
{
	if (atomic_load(&collector->attending))
		doorbell_ring_all(&collector->bells->visitor);
}
