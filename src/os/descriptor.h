/* Waiting for a descriptor with a deadline: sockets, and pidfds, which turn readable at exit. */
#ifndef OS_DESCRIPTOR_H
#define OS_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

/* True when reading `fd` would not block, end of file included; false when `deadline`
 * (base/clock.h) passed. A deadline of 0 asks without waiting. */
bool descriptor_wait_readable(int fd, int64_t deadline);

#endif
