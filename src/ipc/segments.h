/*
 * Memory that came after a process was forked: segments that its parent told it of, as this process
 * has them mapped. A segment keeps its number for good and is never another's.
 *
 * Thread-safe. Where there are none, looking costs no lock.
 */
#ifndef IPC_SEGMENTS_H
#define IPC_SEGMENTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "wire/args.h"

struct segments {
	_Atomic uint32_t count;
	pthread_rwlock_t lock; /* guards the rest */
	struct memory_segment *entries;
	uint32_t capacity;
};

void segments_init(struct segments *segments);
/* Unmaps all of them. */
void segments_release(struct segments *segments);

/* Do what the record says: map the memory behind `fd`, which stays the caller's, or unmap what
 * nobody uses any more. One that is there already is left as it is. */
simpler_status segments_take(struct segments *segments, const struct record_segment *record,
                             int fd);

/* The one in which all these bytes of this process lie. */
bool segments_at(struct segments *segments, uintptr_t low, uint64_t span,
                 struct memory_segment *out);

/* Those that a task's tensors are in, of `fixed` ones and of these. `out` has room for
 * SIMPLER_MAX_TENSORS. False when there is one that is neither. */
bool segments_of_task(struct segments *segments, const struct memory_segment *fixed,
                      uint32_t fixed_count, const struct record_task *task,
                      struct memory_segment *out, uint32_t *count);

#endif
