/*
 * The front end's side of a module's trial: a process that loads it once, before an engine does.
 * See ipc/load_process.h for what is on the other side.
 *
 *   none -trial_start()-> running -its process has ended-> none
 *                             `-----trial_abandon()------> none
 *
 * Belongs to the supervisor. Nothing here blocks, but trial_abandon().
 */
#ifndef NODE_TRIAL_H
#define NODE_TRIAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "node/engine_process.h"

struct trial {
	pid_t pid;
	int pidfd; /* readable when it is over; -1: there is none */
	int control;
	int64_t due; /* it has not kept its own deadline, and is killed */
};

#define TRIAL_NONE                                                                                 \
	{                                                                                          \
		.pidfd = -1, .control = -1                                                         \
	}

/* There is none so far. `module_fd` stays the caller's. SIMPLER_ESYSTEM when it cannot be executed.
 */
simpler_status trial_start(struct trial *trial, const struct engine_options *options,
                           int module_fd);

/* Look whether the one that runs is over, and if so what came of it: status SIMPLER_OK when the
 * module loads, else why it does not. Call when `pidfd` is readable, or `due` has come. */
bool trial_finish(struct trial *trial, struct error *outcome);

/* End it, and all processes below it, whatever it is doing. Waits until they are gone: a moment. */
void trial_abandon(struct trial *trial);

#endif
