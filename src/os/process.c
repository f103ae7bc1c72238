#include "os/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/descriptor.h"

/* What the new process is to look like; the copies are out of the way of their targets, so that
 * no dup2() overwrites a descriptor that a later one needs. */
struct plan {
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int copies[PROCESS_MAX_FDS];
	size_t copy_count;
};

static int add_descriptors(struct plan *plan, const int *fds, size_t fd_count)
{
	int first_free = PROCESS_FIRST_FD + (int)fd_count;
	int error = posix_spawn_file_actions_addopen(&plan->actions, STDIN_FILENO, "/dev/null",
	                                             O_RDONLY, 0);

	for (size_t i = 0; i < fd_count && !error; i++) {
		int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, first_free);

		if (copy < 0)
			return errno;
		plan->copies[plan->copy_count++] = copy;
		error = posix_spawn_file_actions_adddup2(&plan->actions, copy,
		                                         PROCESS_FIRST_FD + (int)i);
	}
	return error ? error : posix_spawn_file_actions_addclosefrom_np(&plan->actions, first_free);
}

static int set_attributes(struct plan *plan, bool group)
{
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	sigset_t none, all;
	int error;

	sigemptyset(&none);
	sigfillset(&all);
	error = posix_spawnattr_setsigmask(&plan->attributes, &none);
	if (!error)
		error = posix_spawnattr_setsigdefault(&plan->attributes, &all);
	if (!error)
		error = posix_spawnattr_setpgroup(&plan->attributes, 0);
	if (group)
		flags |= POSIX_SPAWN_SETPGROUP;
	return error ? error : posix_spawnattr_setflags(&plan->attributes, flags);
}

static int spawn(const char *program, char *const argv[], const int *fds, size_t fd_count,
                 bool group, pid_t *pid)
{
	struct plan plan = { .copy_count = 0 };
	int error = posix_spawn_file_actions_init(&plan.actions);

	if (error)
		return error;
	error = posix_spawnattr_init(&plan.attributes);
	if (!error) {
		error = add_descriptors(&plan, fds, fd_count);
		if (!error)
			error = set_attributes(&plan, group);
		if (!error)
			error = posix_spawn(pid, program, &plan.actions, &plan.attributes, argv,
			                    environ);
		for (size_t i = 0; i < plan.copy_count; i++)
			(void)close(plan.copies[i]);
		(void)posix_spawnattr_destroy(&plan.attributes);
	}
	(void)posix_spawn_file_actions_destroy(&plan.actions);
	return error;
}

static simpler_status start(const char *program, char *const argv[], const int *fds,
                            size_t fd_count, bool group, pid_t *pid, int *pidfd)
{
	simpler_status status;
	int error;

	assert(fd_count <= PROCESS_MAX_FDS);
	error = spawn(program, argv, fds, fd_count, group, pid);
	if (error)
		return error_raise_errno(SIMPLER_ESYSTEM, error, "cannot execute '%s'", program);
	/* Not reaped before we wait for it, so the pid is still the child's. */
	status = process_open(*pid, pidfd);
	if (status) {
		(void)kill(*pid, SIGKILL);
		(void)waitpid(*pid, NULL, 0);
	}
	return status;
}

simpler_status process_start(const char *program, char *const argv[], const int *fds,
                             size_t fd_count, pid_t *pid, int *pidfd)
{
	return start(program, argv, fds, fd_count, false, pid, pidfd);
}

simpler_status process_start_group(const char *program, char *const argv[], const int *fds,
                                   size_t fd_count, pid_t *pid, int *pidfd)
{
	return start(program, argv, fds, fd_count, true, pid, pidfd);
}

void process_kill_group(pid_t leader)
{
	/* An unreaped leader keeps its number, and so the group's, from being used again. */
	(void)kill(-leader, SIGKILL);
}

simpler_status process_adopt_orphans(void)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot adopt orphans");
	return SIMPLER_OK;
}

bool process_reap(int64_t deadline)
{
	const struct timespec moment = { 0, 1000000 };
	pid_t reaped;

	for (;;) {
		do
			reaped = waitpid(-1, NULL, WNOHANG);
		while (reaped > 0 || (reaped < 0 && errno == EINTR));
		if (reaped < 0)
			return true;
		if (clock_now() >= deadline)
			return false;
		/* Rare and short: an engine has just died, and its descendants are dying. */
		(void)nanosleep(&moment, NULL);
	}
}

/* One pass over the children there are now; how many were reaped. */
static size_t end_adopted(FILE *children, bool kill_them,
                          bool (*is_own)(const void *context, pid_t pid), const void *context)
{
	size_t reaped = 0, capacity = 0;
	char *number = NULL;

	while (getdelim(&number, &capacity, ' ', children) > 0) {
		pid_t pid = (pid_t)strtol(number, NULL, 10);

		if (pid <= 0 || is_own(context, pid))
			continue;
		/* It is ours to wait for, so the pid is its own until then. */
		if (kill_them)
			(void)kill(pid, SIGKILL);
		reaped += waitpid(pid, NULL, kill_them ? 0 : WNOHANG) > 0;
	}
	free(number);
	return reaped;
}

void process_end_adopted(bool kill_them, bool (*is_own)(const void *context, pid_t pid),
                         const void *context)
{
	char path[64];
	size_t reaped;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%ld/children", (long)getpid());
	/* The end of one makes its children ours. */
	do {
		FILE *children = fopen(path, "re");

		if (!children)
			return;
		reaped = end_adopted(children, kill_them, is_own, context);
		(void)fclose(children);
	} while (kill_them && reaped > 0);
}

simpler_status process_open(pid_t pid, int *pidfd)
{
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by definition */
	if (*pidfd < 0)
		return error_raise_errno(errno == ESRCH ? SIMPLER_ENOTFOUND : SIMPLER_ESYSTEM,
		                         errno, "cannot watch process %ld", (long)pid);
	return SIMPLER_OK;
}

bool process_is_stopped(int pidfd)
{
	siginfo_t info;

	/* Not taken off the kernel's list, so that whoever asks next is told the same. */
	memset(&info, 0, sizeof(info));
	return waitid(P_PIDFD, (id_t)pidfd, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_code == CLD_STOPPED;
}

/* siginfo's way of telling an exit to waitpid()'s. */
static int to_wait_status(const siginfo_t *info)
{
	if (info->si_code == CLD_EXITED)
		return (info->si_status & 0xff) << 8;
	return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

bool process_wait(int pidfd, int64_t deadline, int *wait_status)
{
	siginfo_t info;
	int failed;

	if (!descriptor_wait_readable(pidfd, deadline))
		return false;
	memset(&info, 0, sizeof(info));
	do
		failed = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED);
	while (failed && errno == EINTR);
	*wait_status = failed ? 0 : to_wait_status(&info);
	return true;
}

void process_signal(int pidfd, int signal)
{
	(void)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

void process_describe_exit(int wait_status, char *text, size_t capacity)
{
	if (WIFSIGNALED(wait_status)) {
		const char *name = sigdescr_np(WTERMSIG(wait_status));

		(void)snprintf(text, capacity, "was killed by signal %d (%s)",
		               WTERMSIG(wait_status), name ? name : "unknown");
	} else {
		(void)snprintf(text, capacity, "exited with status %d", WEXITSTATUS(wait_status));
	}
}

bool process_die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return false;
	/* It may have died before the request was in place. */
	return getppid() == parent;
}

void process_close_all_but(int keep)
{
	unsigned first = STDERR_FILENO + 1;

	assert(keep > STDERR_FILENO);
	if ((unsigned)keep > first)
		(void)close_range(first, (unsigned)keep - 1, 0);
	(void)close_range((unsigned)keep + 1, ~0u, 0);
}

simpler_status process_mark_original(const volatile uint8_t **mark)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *page =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return error_raise_errno(SIMPLER_ENOMEM, errno, "cannot map a page");
	if (madvise(page, size, MADV_WIPEONFORK) < 0) {
		int error = errno;

		(void)munmap(page, size);
		return error_raise_errno(SIMPLER_ESYSTEM, error, "cannot mark this process");
	}
	*page = 1;
	*mark = page;
	return SIMPLER_OK;
}

simpler_status process_command_line(char *words, size_t capacity, size_t *size)
{
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, words, capacity) : -1;
	int error = errno;

	if (fd >= 0)
		(void)close(fd);
	if (got < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, error, "cannot read /proc/self/cmdline");
	*size = (size_t)got;
	return SIMPLER_OK;
}

simpler_status process_executable(char *path, size_t capacity)
{
	ssize_t size = readlink("/proc/self/exe", path, capacity);

	if (size < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot read /proc/self/exe");
	if ((size_t)size >= capacity)
		return error_raise(SIMPLER_ENOSPACE, "the path of the executable is too long");
	path[size] = '\0';
	return SIMPLER_OK;
}
