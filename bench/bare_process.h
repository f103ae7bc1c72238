/*
 * The processes of a floor: forked, each with a pipe to it and one from it, and gone when the
 * caller is.
 */
#ifndef BENCH_BARE_PROCESS_H
#define BENCH_BARE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct bare_process {
	pid_t pid; /* 0 in the process itself */
	int in, out;
};

/* Returns twice. Before the caller has threads. */
bool bare_process_split(struct bare_process *process);
/* Kill it. */
void bare_process_stop(struct bare_process *process);
/* In the process itself: a thread that ends it once the caller has closed its end of `in`. */
void bare_process_end_with(int in);

/* All bytes, or false. */
bool bare_process_read(int fd, void *bytes, size_t size);
bool bare_process_write(int fd, const void *bytes, size_t size);

/* Nanoseconds; floors have nothing of ours in them. */
double bare_now(void);

#endif
