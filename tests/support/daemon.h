/* A daemon that a test or a benchmark started for itself, on a free port of the loopback interface.
 */
#ifndef SUPPORT_DAEMON_H
#define SUPPORT_DAEMON_H

#include <sys/types.h>

struct daemon {
	pid_t pid;
	int pidfd;
	int output; /* its standard output, past the line "ready ADDR" */
	char address[128];
};

/*
 * Start simpler-l3d, whose path is in the environment variable SIMPLER_L3D, with `options`, a
 * NULL-terminated list, besides --listen 127.0.0.1:0, which they may override. Blocks until it is
 * ready; ends the program with a message if it does not get there.
 */
void daemon_start(struct daemon *daemon, const char *const *options);
/* SIGTERM, and wait. Returns the wait status; a daemon that does not end in 30 seconds is killed.
 */
int daemon_stop(struct daemon *daemon);

#endif
