/* What the value that a callable returned says of its task. */
#ifndef IPC_JUDGE_H
#define IPC_JUDGE_H

#include "simpler/status.h"

/*
 * Make what callable `name` returned this thread's error, with the message that it left, if any.
 * A value that no callable may return (see simpler/status.h) becomes SIMPLER_EUSER. Call it in the
 * thread that ran the callable, before which its error was cleared.
 */
simpler_status judge_returned(const char *name, simpler_status returned);

#endif
