#include "catalog/small_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"

#define TEMPORARY_MAX 4200

static simpler_status read_all(int fd, const char *path, char *out, size_t capacity, size_t *size)
{
	*size = 0;
	while (*size < capacity) {
		ssize_t got = read(fd, out + *size, capacity - *size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_raise_errno(SIMPLER_ESYSTEM, errno, "reading '%s'", path);
		if (got == 0) {
			out[*size] = '\0';
			return SIMPLER_OK;
		}
		*size += (size_t)got;
	}
	return error_raise(SIMPLER_EINVAL, "'%s' is too long: at most %zu bytes can be in it", path,
	                   capacity - 1);
}

simpler_status small_file_read(const char *path, char *out, size_t capacity, size_t *size,
                               struct stat *found)
{
	/* O_NONBLOCK: what turns out to be a pipe does not wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	simpler_status status = SIMPLER_OK;
	struct stat stat;

	if (fd < 0)
		return error_raise_errno(errno == ENOENT ? SIMPLER_ENOTFOUND : SIMPLER_ESYSTEM,
		                         errno, "opening '%s'", path);
	if (fstat(fd, &stat) != 0)
		status = error_raise_errno(SIMPLER_ESYSTEM, errno, "looking at '%s'", path);
	else if (!S_ISREG(stat.st_mode))
		status = error_raise(SIMPLER_EINVAL, "'%s' is no regular file", path);
	if (status == SIMPLER_OK)
		status = read_all(fd, path, out, capacity, size);
	if (status == SIMPLER_OK && found)
		*found = stat;
	(void)close(fd);
	return status;
}

static simpler_status write_all(int fd, const char *path, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t put = write(fd, bytes, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_raise_errno(SIMPLER_ESYSTEM, errno, "writing '%s'", path);
		bytes += put;
		size -= (size_t)put;
	}
	return SIMPLER_OK;
}

simpler_status small_file_create(const char *path, mode_t mode, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	simpler_status status;

	if (fd < 0 && errno == EEXIST)
		return error_raise(SIMPLER_EEXIST, "'%s' is there already; it is not overwritten",
		                   path);
	if (fd < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "creating '%s'", path);
	status = write_all(fd, path, bytes, size);
	if (close(fd) != 0 && status == SIMPLER_OK)
		status = error_raise_errno(SIMPLER_ESYSTEM, errno, "writing '%s'", path);
	if (status != SIMPLER_OK)
		(void)unlink(path);
	return status;
}

simpler_status small_file_replace(const char *path, mode_t mode, const void *bytes, size_t size)
{
	char temporary[TEMPORARY_MAX];
	int length = snprintf(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid());
	simpler_status status;

	if (length < 0 || (size_t)length >= sizeof(temporary))
		return error_raise(SIMPLER_EINVAL, "the path '%s' is too long", path);
	status = small_file_create(temporary, mode, bytes, size);
	if (status != SIMPLER_OK)
		return status;
	if (rename(temporary, path) == 0)
		return SIMPLER_OK;
	status = error_raise_errno(SIMPLER_ESYSTEM, errno, "naming '%s'", path);
	(void)unlink(temporary);
	return status;
}
