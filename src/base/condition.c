#include "base/condition.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"

void condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	/* None of these fails for such arguments. */
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(condition, &attributes);
	(void)pthread_condattr_destroy(&attributes);
}

bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline)
{
	const struct timespec until = { deadline / CLOCK_S, deadline % CLOCK_S };

	if (deadline == CLOCK_NEVER)
		return pthread_cond_wait(condition, lock) == 0;
	return pthread_cond_timedwait(condition, lock, &until) != ETIMEDOUT;
}
