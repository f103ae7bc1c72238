/* Waiting for a descriptor with a deadline: sockets, and pidfds, which turn readable at exit. And
 * the three standard ones. */
#ifndef OS_DESCRIPTOR_H
#define OS_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

/* True when reading `fd` would not block, end of file included; false when `deadline`
 * (base/clock.h) passed. A deadline of 0 asks without waiting. */
bool descriptor_wait_readable(int fd, int64_t deadline);

/* Open /dev/null for those of standard input, output and error that are closed. Else what is opened
 * next would get their numbers, and what is printed would go into it. First thing in a program. */
void descriptor_open_standard(void);

#endif
