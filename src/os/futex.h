/*
 * Sleep until a word of memory changes. The word may be in memory that processes share, which the
 * kernel finds by the page behind it and not by its address.
 */
#ifndef OS_FUTEX_H
#define OS_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

enum futex_end {
	FUTEX_WOKEN,   /* by a futex_wake(), which has counted this sleeper */
	FUTEX_CHANGED, /* it was another value already */
	FUTEX_LATE
};
/* Sleep while `*word` is `expected`, until futex_wake() or `deadline` (base/clock.h; CLOCK_NEVER
 * for none). */
enum futex_end futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline);
/* Wake at most `count` of those who sleep on `word`, in whatever process. Returns how many it woke.
 */
uint32_t futex_wake(_Atomic uint32_t *word, int count);

#endif
