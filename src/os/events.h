/*
 * Things a poll loop waits for, as descriptors: signals, and wake-ups by other threads. All are
 * close-on-exec and non-blocking.
 */
#ifndef OS_EVENTS_H
#define OS_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Block these signals in the calling thread and in those it will start, and have them read from
 * `*fd` instead. Call before there are threads. */
simpler_status events_signals(const int *signals, size_t count, int *fd);
/* The next signal; 0 when there is none now. */
int events_next_signal(int fd);

simpler_status events_wakeup(int *fd);
/* Make `fd` readable. From any thread. */
void events_wake(int fd);
/* Make it unreadable again. */
void events_clear(int fd);

/*
 * A set of descriptors, each with a number that says whose it is. It is itself a descriptor, which
 * is readable while one of them is, or has hung up. Thread-safe. One that is removed before it is
 * closed is not told of afterwards.
 */
simpler_status events_set(int *set);
simpler_status events_set_add(int set, int fd, uint64_t tag);
void events_set_remove(int set, int fd);
/* One that is readable, or has hung up. False when `deadline` (base/clock.h) passed, over which it
 * may sleep by a millisecond; a deadline of 0 asks without waiting. May be false before. */
bool events_set_next(int set, int64_t deadline, uint64_t *tag);

#endif
