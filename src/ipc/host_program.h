/* Where simpler-host is, the program that processes with user code run in. */
#ifndef IPC_HOST_PROGRAM_H
#define IPC_HOST_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "simpler/status.h"

/* From now on children of this process run in its own program, as far as functions of its code are
 * to be run. Never undone. */
void host_program_set_own(void);
bool host_program_is_own(void);

/*
 * SPAWN_OWN_PROGRAM (ipc/spawn.h) if it is so. Else the environment variable SIMPLER_HOST names it.
 * Else it is where it was built or installed with the running program or with the library that this
 * code is in, wherever both were moved to; else where it was to be installed.
 *
 * @return SIMPLER_ENOTFOUND when it is nowhere; SIMPLER_ENOSPACE when its path is too long.
 */
simpler_status host_program_find(char *path, size_t capacity);

/* For a worker process that has children in turn: what it runs itself. */
simpler_status host_program_again(char *path, size_t capacity);

#endif
