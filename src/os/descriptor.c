#include "os/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/select.h>
#include <unistd.h>

#include "base/clock.h"

/* Rounded up, so that a wait never ends before its deadline. */
static int poll_timeout(int64_t deadline)
{
	int64_t left;

	if (deadline == CLOCK_NEVER)
		return -1;
	left = deadline - clock_now();
	if (left <= 0)
		return 0;
	left = left / CLOCK_MS + (left % CLOCK_MS != 0);
	return left > INT_MAX ? INT_MAX : (int)left;
}

struct sets {
	fd_set readable, writable;
	int beyond; /* all of them */
};

static bool is_open(int fd)
{
	return fd >= 0 && fd < FD_SETSIZE && fcntl(fd, F_GETFD) != -1;
}

static void fill(struct sets *sets, const struct pollfd *entries, size_t count)
{
	sets->beyond = 0;
	FD_ZERO(&sets->readable);
	FD_ZERO(&sets->writable);
	for (size_t i = 0; i < count; i++) {
		if (!is_open(entries[i].fd))
			continue;
		if (entries[i].events & POLLIN)
			FD_SET(entries[i].fd, &sets->readable);
		if (entries[i].events & POLLOUT)
			FD_SET(entries[i].fd, &sets->writable);
		if (entries[i].fd >= sets->beyond)
			sets->beyond = entries[i].fd + 1;
	}
}

/* Of an entry; POLLNVAL for what is no open descriptor, as of poll(). */
static short find_events(const struct sets *sets, int fd)
{
	if (fd < 0)
		return 0;
	if (!is_open(fd))
		return POLLNVAL;
	return (short)((FD_ISSET(fd, &sets->readable) ? POLLIN : 0) |
	               (FD_ISSET(fd, &sets->writable) ? POLLOUT : 0));
}

/* select() asks for no limit. */
static int poll_by_select(struct pollfd *entries, size_t count, int timeout)
{
	struct timeval time = { timeout / 1000, timeout % 1000 * 1000L };
	struct sets sets;
	int ready = 0;

	fill(&sets, entries, count);
	if (select(sets.beyond, &sets.readable, &sets.writable, NULL, timeout < 0 ? NULL : &time) <
	    0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		entries[i].revents = find_events(&sets, entries[i].fd);
		ready += entries[i].revents != 0;
	}
	return ready;
}

static int poll_once(struct pollfd *entries, size_t count, int timeout)
{
	int ready = poll(entries, (nfds_t)count, timeout);

	return ready < 0 && errno == EINVAL ? poll_by_select(entries, count, timeout) : ready;
}

size_t descriptor_poll(struct pollfd *entries, size_t count, int64_t deadline)
{
	int ready;

	for (size_t i = 0; i < count; i++)
		entries[i].revents = 0;
	ready = poll_once(entries, count, poll_timeout(deadline));
	return ready > 0 ? (size_t)ready : 0;
}

bool descriptor_wait_readable(int fd, int64_t deadline)
{
	struct pollfd entry = { .fd = fd, .events = POLLIN };

	for (;;) {
		int timeout = poll_timeout(deadline);
		int count = poll_once(&entry, 1, timeout);

		if (count > 0)
			return true;
		if (count < 0 && errno != EINTR)
			return true; /* reading it says what is wrong */
		if (count == 0 && timeout < INT_MAX)
			return false;
	}
}

void descriptor_open_standard(void)
{
	int fd;

	/* The lowest free number is what open() takes. */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}
