#include "base/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec now;

	/* These clocks always exist, and the pointer is good: there is no error to report. */
	(void)clock_gettime(id, &now);
	return (int64_t)now.tv_sec * CLOCK_S + now.tv_nsec;
}

int64_t clock_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_unix_ms(void)
{
	return (uint64_t)(read_clock(CLOCK_REALTIME) / CLOCK_MS);
}

int64_t clock_after_ms(uint64_t milliseconds)
{
	int64_t now = clock_now();

	if (milliseconds > (uint64_t)((CLOCK_NEVER - now) / CLOCK_MS))
		return CLOCK_NEVER;
	return now + (int64_t)milliseconds * CLOCK_MS;
}
