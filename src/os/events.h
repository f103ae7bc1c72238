/*
 * Things a poll loop waits for, as descriptors: signals, and wake-ups by other threads. All are
 * close-on-exec and non-blocking.
 */
#ifndef OS_EVENTS_H
#define OS_EVENTS_H

#include <stddef.h>

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

#endif
