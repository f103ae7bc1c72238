#include "os/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
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

bool descriptor_wait_readable(int fd, int64_t deadline)
{
	struct pollfd entry = { .fd = fd, .events = POLLIN };

	for (;;) {
		int timeout = poll_timeout(deadline);
		int count = poll(&entry, 1, timeout);

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
