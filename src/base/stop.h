/*
 * What is behind simpler_should_stop(): the flag that the code of this process, or of this thread,
 * looks at. Whoever runs a task has it watch the task's flag meanwhile; stop when it is not 0.
 *
 * The flag stays the caller's, and valid until another is watched. Both functions return the one
 * before, so that tasks nest: watch, run, watch that one again.
 */
#ifndef BASE_STOP_H
#define BASE_STOP_H

#include <stdatomic.h>
#include <stdint.h>

/* For all threads of this process; NULL: none. */
const _Atomic uint32_t *stop_watch_process(const _Atomic uint32_t *flag);
/* For the calling thread alone, in place of the process's; NULL: the process's again. */
const _Atomic uint32_t *stop_watch_thread(const _Atomic uint32_t *flag);

#endif
