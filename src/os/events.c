#include "os/events.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/descriptor.h"

simpler_status events_signals(const int *signals, size_t count, int *fd)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < count; i++)
		sigaddset(&set, signals[i]);
	/* Blocked first: one that comes in between waits for the descriptor. */
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	*fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (*fd < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot wait for signals");
	return SIMPLER_OK;
}

int events_next_signal(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

simpler_status events_wakeup(int *fd)
{
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (*fd < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot make an event");
	return SIMPLER_OK;
}

void events_wake(int fd)
{
	const uint64_t one = 1;
	/* Fails only when 2^64 wake-ups are unread: readable all the same. */
	ssize_t written = write(fd, &one, sizeof(one));

	(void)written;
}

void events_clear(int fd)
{
	uint64_t count;
	/* Fails only when there was nothing to clear. */
	ssize_t taken = read(fd, &count, sizeof(count));

	(void)taken;
}

simpler_status events_set(int *set)
{
	*set = epoll_create1(EPOLL_CLOEXEC);
	if (*set < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno,
		                         "cannot make a set of descriptors");
	return SIMPLER_OK;
}

simpler_status events_set_add(int set, int fd, uint64_t tag)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = tag };

	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot wait for a descriptor");
	return SIMPLER_OK;
}

void events_set_remove(int set, int fd)
{
	(void)epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
}

bool events_set_next(int set, int64_t deadline, uint64_t *tag)
{
	struct epoll_event event;

	if (!descriptor_wait_readable(set, deadline) || epoll_wait(set, &event, 1, 0) != 1)
		return false;
	*tag = event.data.u64;
	return true;
}
