/*
 * Faults at named points, for tests: in a build with -Dinject=true, the environment variable
 * SIMPLER_FAULT says what is to happen where, as a list of POINT:NTH:ACTION, by commas. In any
 * other build there is nothing of this but the names in the source.
 *
 * Actions: `crash`, the process kills itself with SIGKILL; `exit`, it exits at once with status 1;
 * `stop`, it stops itself with SIGSTOP; `delay:MS`, the thread waits; `fail`, INJECT() is true, and
 * so what the point is about fails.
 *
 * NTH counts a process's own passes of the point, from 1; 0 means each of them. A new process
 * counts anew, so that what replaces one that crashed would crash, too: SIMPLER_FAULT_ONCE names a
 * directory where each entry of the list leaves a file, the POINT, when it happens, and does not
 * happen again.
 */
#ifndef BASE_INJECT_H
#define BASE_INJECT_H

#include <stdbool.h>

#ifdef SIMPLER_INJECT
/* Any thread. Whether what the caller is about to do has to fail. */
bool inject_point(const char *point);
#define INJECT(point) inject_point(point)
#else
#define INJECT(point) ((void)(point), false)
#endif

#endif
