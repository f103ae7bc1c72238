/*
 * The floor of what crosses processes of this machine: two bare processes, each of which hands the
 * other a cache line, a doorbell, and waits for its own as our processes do, with the usual budget.
 * Nothing else of simpler is in it.
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
	/* In shared memory. Who is rung at one rings the other. */
	struct bare_bell_pair {
		struct doorbell there, back;
	} * bells;
	struct spin_budget budget;
	pid_t pid;
};
bool bare_bell_start(struct bare_bell *bare);
void bare_bell_stop(struct bare_bell *bare);

/* `count` round trips, one after the other; `nanoseconds[i]` is what the i-th took. */
void bare_bell_run(struct bare_bell *bare, double *nanoseconds, size_t count);

#endif
