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

#include "ipc/bulletin.h"
#include "ipc/ring.h"
#include "simpler/log.h"

#define ENGINE_MAX_UNLINKS 2
/* The dynamic loader needs a second for the largest module, and a constructor that opens a device
 * several. One that needs longer does not return, and everybody else's callables wait behind it.
 * It is for the trial of a module and for the engine each; a parent waits for twice as long. */
#define ENGINE_INSTALL_MS 30000u

struct engine_options {
	const char *program; /* simpler-host; see ipc/host_program.h */
	const char *node_id;
	unsigned sub_workers, chips;
	const char *device;     /* of the chips */
	uint64_t heap_bytes;    /* of its own heap */
	uint64_t stop_grace_ms; /* from the order to stop until what goes on is killed */
	int arena_fd;           /* borrowed */
	uint64_t arena_bytes;
	simpler_log_level log_level;
	const char *unlinks[ENGINE_MAX_UNLINKS]; /* what it removes at its end; NULL: none */
	uint64_t install_ms; /* ENGINE_INSTALL_MS: it is killed when loading one callable takes
	                        longer */
	int wakeup;          /* borrowed; wakes the supervisor before the time it was told */
};

/* How long an engine may take to answer for a task that was stopped. Code that does not look
 * whether it should stop is killed after the grace period, in as many levels as there may be; what
 * is left then is an orchestration function that does not return, which only the engine's end can
 * end. */
static inline uint64_t engine_stop_ms(const struct engine_options *options)
{
	return 3 * options->stop_grace_ms + 1000;
}

struct engine_process {
	pid_t pid;
	int pidfd;
	int control;
	void *rings_memory;
	struct ring requests, outcomes;
	const struct bulletin *bulletin;
};

simpler_status engine_process_start(const struct engine_options *options,
                                    struct engine_process *out);

/* Kill it and everything below it, and reap all of them. `*wait_status` is as of waitpid(), and not
 * SIGKILL's if it had ended by itself. The rings stay mapped. Never by closing control: it would
 * take the front end for dead, and remove what may be another daemon's by then. */
void engine_process_end(struct engine_process *engine, int *wait_status);
/* After its end, and after the last use of its rings. */
void engine_process_release(struct engine_process *engine);

#endif
