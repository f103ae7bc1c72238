/* Why the dynamic loader refused a module, in words for whoever wrote or sent it. */
#ifndef IPC_LOAD_FAILURE_H
#define IPC_LOAD_FAILURE_H

#include "base/error.h"

/*
 * dl_open() has just refused the module behind `fd`, and this thread's error is its words. Raise
 * SIMPLER_EINVAL with what the module needs and this machine lacks: a library, a version of one, or
 * a symbol; with the dynamic loader's words where it is something else.
 */
simpler_status load_failure_explain(int fd);

#endif
