/*
 * One engine as the front end holds it: the process, its control socket and its rings. Born by
 * engine_process_start(), and gone only after engine_process_end(). See node/engine_link.h.
 *
 * Not thread-safe, except that each ring may be used by the one thread that its owner lets.
 */
#ifndef NODE_ENGINE_PROCESS_H
#define NODE_ENGINE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/ring.h"
#include "simpler/log.h"

#define ENGINE_MAX_UNLINKS 2

struct engine_options {
	const char *program; /* simpler-host; see engine_program() */
	const char *node_id;
	unsigned sub_workers;
	int arena_fd; /* borrowed */
	uint64_t arena_bytes;
	simpler_log_level log_level;
	const char *unlinks[ENGINE_MAX_UNLINKS]; /* what it removes at its end; NULL: none */
};

struct engine_process {
	pid_t pid;
	int pidfd;
	int control; /* -1 when closed */
	void *rings_memory;
	struct ring requests, outcomes;
};

/* Find simpler-host: the environment's SIMPLER_HOST, else beside this executable, else where it is
 * installed. Whether it can be executed shows when it is. */
simpler_status engine_program(char *path, size_t capacity);

simpler_status engine_process_start(const struct engine_options *options,
                                    struct engine_process *out);

/* Close control, which ends it, and wait until `deadline` (base/clock.h; 0 leaves control open, for
 * an engine that must not take the front end for dead). Then kill what is left of it and of
 * everything below it, and reap all of them. `*wait_status` is as of waitpid(). The rings stay
 * mapped. */
void engine_process_end(struct engine_process *engine, int64_t deadline, int *wait_status);
/* After its end, and after the last use of its rings. */
void engine_process_release(struct engine_process *engine);

#endif
