/* Read, not mapped: a file that somebody shortens meanwhile must not end this process by SIGBUS. */
#include "catalog/module_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "catalog/module_file.h"
#include "catalog/module_image.h"
#include "catalog/small_file.h"

static simpler_status file_size(int fd, const char *path, size_t *size)
{
	struct stat stat;

	if (fstat(fd, &stat) != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "looking at '%s'", path);
	if (!S_ISREG(stat.st_mode) || stat.st_size <= 0 ||
	    (uint64_t)stat.st_size > MODULE_MAX_BYTES)
		return error_raise(SIMPLER_EINVAL,
		                   "'%s' cannot be a module: it must be a regular file of 1 to %zu "
		                   "bytes",
		                   path, MODULE_MAX_BYTES);
	*size = (size_t)stat.st_size;
	return SIMPLER_OK;
}

static simpler_status read_all(int fd, const char *path, uint8_t *bytes, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t got = read(fd, bytes + have, size - have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_raise_errno(SIMPLER_ESYSTEM, errno, "reading '%s'", path);
		if (got == 0)
			return error_raise(SIMPLER_ESYSTEM, "'%s' became shorter while it was read",
			                   path);
		have += (size_t)got;
	}
	return SIMPLER_OK;
}

static simpler_status open_file(const char *path, int *fd)
{
	/* O_NONBLOCK: what turns out to be a pipe does not wait for a writer. */
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return *fd >= 0 ? SIMPLER_OK
	                : error_raise_errno(SIMPLER_ESYSTEM, errno, "opening '%s'", path);
}

simpler_status module_read(const char *path, uint8_t **bytes, size_t *size)
{
	int fd;
	simpler_status status = open_file(path, &fd);

	if (status != SIMPLER_OK)
		return status;
	*bytes = NULL;
	status = file_size(fd, path, size);
	if (status == SIMPLER_OK) {
		*bytes = malloc(*size);
		status = *bytes ? read_all(fd, path, *bytes, *size)
		                : error_raise(SIMPLER_ENOMEM, "out of memory for '%s', %zu bytes",
		                              path, *size);
	}
	(void)close(fd);
	if (status != SIMPLER_OK)
		free(*bytes);
	return status;
}

simpler_status module_read_image_from(int file, const char *path, struct digest *digest, int *fd)
{
	struct module_image image;
	size_t size;
	simpler_status status = file_size(file, path, &size);

	if (status == SIMPLER_OK)
		status = module_image_begin(&image, size);
	if (status != SIMPLER_OK)
		return status;
	status = module_image_read(&image, file, path);
	if (status == SIMPLER_OK)
		return module_image_end(&image, digest, fd);
	module_image_drop(&image);
	return status;
}

simpler_status module_read_image(const char *path, struct digest *digest, int *fd)
{
	int file;
	simpler_status status = open_file(path, &file);

	if (status != SIMPLER_OK)
		return status;
	status = module_read_image_from(file, path, digest, fd);
	(void)close(file);
	return status;
}

simpler_status module_read_signature(const char *path, const struct digest *module,
                                     struct signature *out)
{
	char file_path[SIGNATURE_PATH_MAX], text[SIGNATURE_TEXT_SIZE + 2];
	struct signature_file file;
	size_t size;
	simpler_status status = signature_path(path, file_path, sizeof(file_path));

	if (status == SIMPLER_OK)
		status = small_file_read(file_path, text, sizeof(text), &size, NULL);
	if (status != SIMPLER_OK)
		return status;
	status = signature_file_parse(text, size, &file);
	if (status != SIMPLER_OK) {
		struct error why;

		error_save(&why);
		return error_raise(status, "'%s': %s", file_path, error_step(&why, 0));
	}
	if (memcmp(&file.module, module, sizeof(*module)) != 0)
		return error_raise(SIMPLER_EINVAL,
		                   "'%s' is the signature of other bytes than '%s' has now; sign "
		                   "the module again, or remove the file",
		                   file_path, path);
	*out = file.signature;
	return SIMPLER_OK;
}
