#include "node/port_file.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

static bool write_line(const char *path, const char *line)
{
	FILE *file = fopen(path, "w");
	bool written = file && fprintf(file, "%s\n", line) > 0;

	if (file && fclose(file) != 0)
		written = false;
	return written;
}

simpler_status port_file_write(const char *path, const char *address)
{
	char temporary[PATH_MAX];
	int size = snprintf(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid());
	struct stat about;
	int error;

	if (lstat(path, &about) == 0 && !S_ISREG(about.st_mode))
		return error_raise(SIMPLER_EINVAL,
		                   "--port-file: '%s' is no regular file, and is left as it is",
		                   path);
	if (size < 0 || (size_t)size >= sizeof(temporary))
		return error_raise(SIMPLER_EINVAL, "--port-file: the path is too long");
	if (write_line(temporary, address) && rename(temporary, path) == 0)
		return SIMPLER_OK;
	error = errno;
	(void)unlink(temporary);
	return error_raise_errno(SIMPLER_ESYSTEM, error, "--port-file: cannot write '%s'", path);
}
