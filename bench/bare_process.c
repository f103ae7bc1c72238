#include "bare_process.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

bool bare_process_read(int fd, void *bytes, size_t size)
{
	char *at = bytes;

	while (size > 0) {
		ssize_t count = read(fd, at, size);

		if (count <= 0)
			return false;
		at += count;
		size -= (size_t)count;
	}
	return true;
}

bool bare_process_write(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t count = write(fd, at, size);

		if (count <= 0)
			return false;
		at += count;
		size -= (size_t)count;
	}
	return true;
}

bool bare_process_split(struct bare_process *process)
{
	int in[2], out[2];
	bool child;

	if (pipe(in) != 0)
		return false;
	if (pipe(out) != 0) {
		close(in[0]);
		close(in[1]);
		return false;
	}
	process->pid = fork();
	child = process->pid == 0;
	process->in = child ? in[0] : out[0];
	process->out = child ? out[1] : in[1];
	close(child ? in[1] : in[0]);
	close(child ? out[0] : out[1]);
	return process->pid >= 0;
}

void bare_process_stop(struct bare_process *process)
{
	close(process->in);
	close(process->out);
	if (process->pid <= 0)
		return;
	kill(process->pid, SIGKILL);
	waitpid(process->pid, NULL, 0);
}

static void *exit_at_end(void *in)
{
	char byte;

	while (read((int)(intptr_t)in, &byte, 1) > 0)
		;
	_exit(0);
}

void bare_process_end_with(int in)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, exit_at_end, (void *)(intptr_t)in) != 0)
		_exit(1);
	(void)pthread_detach(thread);
}

double bare_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}
