#include "catalog/library.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "catalog/payload.h"

#define SUFFIX ".so"

static int open_directory(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

simpler_status library_check(const char *const *directories, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int fd = open_directory(directories[i]);

		if (fd < 0)
			return error_raise_errno(SIMPLER_ESYSTEM, errno,
			                         "the library directory '%s' cannot be opened",
			                         directories[i]);
		(void)close(fd);
	}
	return SIMPLER_OK;
}

/* -1 with errno set. O_NONBLOCK: what turns out to be a pipe does not wait for a writer. */
static int open_in(const char *directory, const char *name)
{
	char with_suffix[ORIGIN_LIBRARY_MAX + sizeof(SUFFIX)];
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int at = open_directory(directory), fd, error;

	if (at < 0)
		return -1;
	(void)snprintf(with_suffix, sizeof(with_suffix), "%s" SUFFIX, name);
	fd = openat(at, name, flags);
	if (fd < 0 && errno == ENOENT)
		fd = openat(at, with_suffix, flags);
	error = errno;
	(void)close(at);
	errno = error;
	return fd;
}

simpler_status library_open(const char *const *directories, size_t count, const char *name, int *fd)
{
	assert(payload_library_valid(name, strlen(name)));
	for (size_t i = 0; i < count; i++) {
		*fd = open_in(directories[i], name);
		if (*fd >= 0)
			return SIMPLER_OK;
		if (errno == ELOOP)
			return error_raise(SIMPLER_EINVAL,
			                   "library '%s' is a symbolic link on this node; put the "
			                   "file itself into the directory",
			                   name);
		if (errno != ENOENT)
			return error_raise_errno(SIMPLER_ESYSTEM, errno,
			                         "library '%s' cannot be opened on this node",
			                         name);
	}
	return error_raise(
		SIMPLER_ENOTFOUND,
		"there is no library '%s' on this node, which looked in %zu directories; "
		"put %s" SUFFIX " into one that its daemon is given with --library-dir",
		name, count, name);
}
