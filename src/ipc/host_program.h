/* Where simpler-host is, the program that processes with user code run in. */
#ifndef IPC_HOST_PROGRAM_H
#define IPC_HOST_PROGRAM_H

#include <stddef.h>

#include "simpler/status.h"

/*
 * The environment variable SIMPLER_HOST names it. Else it is where it was built or installed with
 * the running program or with the library that this code is in, wherever both were moved to; else
 * where it was to be installed.
 *
 * @return SIMPLER_ENOTFOUND when it is nowhere; SIMPLER_ENOSPACE when its path is too long.
 */
simpler_status host_program_find(char *path, size_t capacity);

#endif
