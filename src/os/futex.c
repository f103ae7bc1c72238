#include "os/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* FUTEX_WAIT_BITSET, since its timeout is a point on CLOCK_MONOTONIC and so needs no repair after
 * an interruption. Without FUTEX_PRIVATE_FLAG, so that it works between processes. */
static long wait_once(_Atomic uint32_t *word, uint32_t expected, const struct timespec *until)
{
	return syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, until, NULL,
	               FUTEX_BITSET_MATCH_ANY);
}

enum futex_end futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline)
{
	int64_t at = deadline > 0 ? deadline : 0; /* the kernel refuses times below zero */
	struct timespec until = { .tv_sec = (time_t)(at / CLOCK_S), .tv_nsec = at % CLOCK_S };
	long result;

	do {
		result = wait_once(word, expected, deadline == CLOCK_NEVER ? NULL : &until);
	} while (result == -1 && errno == EINTR);
	if (result == 0)
		return FUTEX_WOKEN;
	return errno == ETIMEDOUT ? FUTEX_LATE : FUTEX_CHANGED;
}

uint32_t futex_wake(_Atomic uint32_t *word, int count)
{
	long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);

	return woken > 0 ? (uint32_t)woken : 0;
}
