/* Waiting for a descriptor with a deadline: sockets, and pidfds, which turn readable at exit. And
 * the three standard ones. */
#ifndef OS_DESCRIPTOR_H
#define OS_DESCRIPTOR_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* poll(), for descriptors that are waited for to be read or written, until `deadline`
 * (base/clock.h), over which it may sleep by a millisecond. It also works where user code has taken
 * this process's descriptors away by RLIMIT_NOFILE, which poll() refuses. How many are ready; 0
 * after the deadline or an interruption, too. */
size_t descriptor_poll(struct pollfd *entries, size_t count, int64_t deadline);

/* True when reading `fd` would not block, end of file included; false when `deadline`
 * (base/clock.h) passed. A deadline of 0 asks without waiting. */
bool descriptor_wait_readable(int fd, int64_t deadline);

/* Open /dev/null for those of standard input, output and error that are closed. Else what is opened
 * next would get their numbers, and what is printed would go into it. First thing in a program. */
void descriptor_open_standard(void);

#endif
