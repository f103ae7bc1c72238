/*
 * Memory that processes share: memfds, passed by descriptor, so that no name is left behind
 * whatever dies. All descriptors are close-on-exec. Thread-safe; nothing here blocks on others.
 */
#ifndef OS_MEMORY_H
#define OS_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A memfd of `bytes` zeroes, none of them committed yet. Its size is fixed for good: no process
 * that gets the descriptor can shrink it and make the others die of SIGBUS. Nor can it be sealed
 * against writing, after which no other process could map it and none of its pages could be given
 * back. `name` shows in /proc/PID/maps.
 */
simpler_status memory_create(const char *name, uint64_t bytes, int *fd);

/* One for a module's image: write to it without mapping it, which raises no SIGBUS, and seal it,
 * after which nobody can change it. SIMPLER_ENOSPACE when the system has no room. */
simpler_status memory_create_image(const char *name, uint64_t bytes, int *fd);
simpler_status memory_write(int fd, uint64_t offset, const void *bytes, size_t size);
simpler_status memory_seal(int fd);

simpler_status memory_size(int fd, uint64_t *bytes);
/* For a descriptor that came from another process: SIMPLER_EPROTOCOL unless it is a memfd of just
 * so many bytes, whose size is fixed for good. */
simpler_status memory_check(int fd, uint64_t bytes);

/* Map the first `bytes`, shared and writable; `base` is page-aligned. */
simpler_status memory_map(int fd, uint64_t bytes, void **base);
/* The same for reading only: the one way to map what is sealed. */
simpler_status memory_map_readable(int fd, uint64_t bytes, void **base);
void memory_unmap(void *base, uint64_t bytes);
/* Have zeroes of this process alone where others' memory is mapped, of which nothing is held any
 * more. Who writes there meanwhile, or reads, does so in one or the other. */
simpler_status memory_replace(void *base, uint64_t bytes);

/* Reserve the pages of a range, so that touching them cannot raise SIGBUS. SIMPLER_ENOSPACE when
 * the system has no room. What was committed keeps its content. */
simpler_status memory_commit(int fd, uint64_t offset, uint64_t bytes);
/* Give the pages of a range back; they read as zero afterwards. */
simpler_status memory_punch(int fd, uint64_t offset, uint64_t bytes);

/*
 * Have this process's malloc keep some megabytes of what is freed. glibc's gives what is at the end
 * of a heap back to the system from 128 KiB on, and the memory of each message that comes in would
 * be faulted in and cleared anew. It learns from blocks of its own mappings that are freed: so this
 * is what it does anyway once the program has freed one of 8 MiB, and who has set its thresholds
 * keeps them. May be called often.
 */
void memory_keep_freed(void);

#endif
