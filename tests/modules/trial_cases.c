/* A module whose constructor does what the name that it is built under says. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <simpler/module.h>

static simpler_status of_a_trial(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)args;
	(void)config;
	(void)state;
	return SIMPLER_OK;
}
SIMPLER_ORCH(of_a_trial);

/* A process that leaves group and session, and holds the fifo open that SIMPLER_TEST_FIFO names. */
static void leave_a_process(void)
{
	const char *path = getenv("SIMPLER_TEST_FIFO");
	int fifo = path ? open(path, O_WRONLY) : -1;

	if (fifo < 0)
		_exit(8);
	if (fork() == 0 && setsid() > 0 && write(fifo, "l", 1) == 1) {
		for (;;)
			(void)pause();
	}
	(void)close(fifo);
}

static void lower(__rlimit_resource_t resource, rlim_t to)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) != 0)
		_exit(9);
	limit.rlim_cur = to;
	if (setrlimit(resource, &limit) != 0)
		_exit(9);
}

__attribute__((constructor)) static void do_it(void)
{
	if (strcmp(CASE, "lowers_a_limit") == 0)
		lower(RLIMIT_NOFILE, 7);
	if (strcmp(CASE, "forgoes_core_dumps") == 0)
		lower(RLIMIT_CORE, 0);
	if (strcmp(CASE, "crashes") == 0)
		abort();
	if (strcmp(CASE, "exits") == 0)
		exit(3);
	if (strcmp(CASE, "kills_its_group") == 0)
		(void)kill(0, SIGKILL);
	if (strcmp(CASE, "kills_its_parent") == 0)
		(void)kill(getppid(), SIGKILL);
	if (strcmp(CASE, "stops") == 0)
		(void)raise(SIGSTOP);
	if (strncmp(CASE, "leaves", 6) == 0)
		leave_a_process();
	while (strcmp(CASE, "hangs") == 0 || strcmp(CASE, "leaves_and_hangs") == 0)
		(void)pause();
}
