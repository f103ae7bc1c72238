/*
 * A few bytes that one process publishes in shared memory and another reads, neither waiting for
 * the other: the latest counts. How often it was published is told with them, so one that is
 * published again and again is a sign of life.
 *
 * One thread publishes. What is read is as untrusted as any memory of another process: it may be
 * anything, but it is not torn unless the publisher means it to be.
 */
#ifndef IPC_BULLETIN_H
#define IPC_BULLETIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BULLETIN_BYTES 504u

/* Zeroed memory is one that was never published. */
struct bulletin {
	_Alignas(64) _Atomic uint32_t turn; /* odd while it is being written */
	_Atomic uint32_t size;
	_Atomic uint64_t words[BULLETIN_BYTES / sizeof(uint64_t)];
};

/* At most BULLETIN_BYTES. */
void bulletin_publish(struct bulletin *bulletin, const void *bytes, size_t size);
/* Changes with each time it is published; 0 before the first. */
uint32_t bulletin_turn(const struct bulletin *bulletin);
/* False when nothing was published yet, or only halves of it could be read: try again later. */
bool bulletin_read(const struct bulletin *bulletin, uint8_t bytes[BULLETIN_BYTES], size_t *size);

#endif
