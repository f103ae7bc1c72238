#include "daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/process.h"

#define MAX_ARGUMENTS 32

static void give_up(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, simpler_last_error());
	exit(EXIT_FAILURE);
}

static void read_address(struct daemon *daemon)
{
	char line[160];
	size_t used = 0;

	while (used < sizeof(line) - 1 && read(daemon->output, line + used, 1) == 1) {
		if (line[used++] == '\n')
			break;
	}
	line[used] = '\0';
	if (sscanf(line, "ready %127s", daemon->address) != 1)
		give_up("the daemon did not get ready");
}

/* process_start() passes this process's standard output on, so the pipe takes its place meanwhile.
 */
static simpler_status start_with_output(struct daemon *daemon, const char *program,
                                        char *const *arguments, int output)
{
	int own = dup(STDOUT_FILENO);
	simpler_status status;

	if (own < 0 || fflush(stdout) != 0 || dup2(output, STDOUT_FILENO) < 0)
		give_up("lending the standard output");
	status = process_start(program, arguments, NULL, 0, &daemon->pid, &daemon->pidfd);
	(void)dup2(own, STDOUT_FILENO);
	(void)close(own);
	return status;
}

void daemon_start(struct daemon *daemon, const char *const *options)
{
	const char *program = getenv("SIMPLER_L3D");
	const char *arguments[MAX_ARGUMENTS] = { program, "--listen", "127.0.0.1:0" };
	size_t count = 3;
	int ends[2];

	if (!program)
		give_up("SIMPLER_L3D, the path of simpler-l3d, is not in the environment");
	while (*options && count < MAX_ARGUMENTS - 1)
		arguments[count++] = *options++;
	if (pipe(ends) != 0)
		give_up("making a pipe");
	if (start_with_output(daemon, program, (char *const *)(uintptr_t)arguments, ends[1]) !=
	    SIMPLER_OK)
		give_up("starting the daemon");
	(void)close(ends[1]);
	daemon->output = ends[0];
	read_address(daemon);
}

int daemon_stop(struct daemon *daemon)
{
	int wait_status = -1;

	process_signal(daemon->pidfd, SIGTERM);
	if (!process_wait(daemon->pidfd, clock_after_ms(30000), &wait_status)) {
		process_signal(daemon->pidfd, SIGKILL);
		(void)process_wait(daemon->pidfd, CLOCK_NEVER, &wait_status);
	}
	(void)close(daemon->pidfd);
	(void)close(daemon->output);
	return wait_status;
}
