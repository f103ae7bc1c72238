/*
 * The floor of what crosses processes of this machine: two bare processes that hand one cache line
 * to and fro, and wait for it as ours do, at a doorbell with the usual budget. Nothing else of
 * simpler is in it.
 *
 * The other process is forked, so it comes before the caller's process starts a thread. It ends
 * with the caller.
 */
#ifndef BENCH_BARE_BELL_H
#define BENCH_BARE_BELL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "ipc/doorbell.h"

struct bare_bell {
	struct doorbell *line; /* even: the caller's turn, odd: the other's */
	struct spin_budget budget;
	pid_t pid;
};
bool bare_bell_start(struct bare_bell *bare);
void bare_bell_stop(struct bare_bell *bare);

/* `count` round trips, one after the other; `nanoseconds[i]` is what the i-th took. */
void bare_bell_run(struct bare_bell *bare, double *nanoseconds, size_t count);

#endif
