#include "os/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Close `fd` and fail with what `errno` says. */
static simpler_status give_up(int fd, const char *what, const char *name)
{
	int error = errno;

	if (fd >= 0)
		(void)close(fd);
	return error_raise_errno(SIMPLER_ESYSTEM, error, "cannot %s shared memory '%s'", what,
	                         name);
}

static simpler_status create(const char *name, uint64_t bytes, int seals, int *fd)
{
	int created;

	if (bytes > INT64_MAX)
		return error_raise(SIMPLER_EINVAL, "shared memory '%s' of %" PRIu64 " bytes", name,
		                   bytes);
	created = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (created < 0)
		return give_up(created, "create", name);
	if (ftruncate(created, (off_t)bytes) < 0)
		return give_up(created, "size", name);
	if (fcntl(created, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | seals) < 0)
		return give_up(created, "fix the size of", name);
	*fd = created;
	return SIMPLER_OK;
}

simpler_status memory_create(const char *name, uint64_t bytes, int *fd)
{
	return create(name, bytes, F_SEAL_SEAL, fd);
}

simpler_status memory_create_image(const char *name, uint64_t bytes, int *fd)
{
	return create(name, bytes, 0, fd);
}

simpler_status memory_seal(int fd)
{
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot seal memory");
	return SIMPLER_OK;
}

simpler_status memory_write(int fd, uint64_t offset, const void *bytes, size_t size)
{
	const uint8_t *from = bytes;
	size_t done = 0;

	while (done < size) {
		ssize_t written = pwrite(fd, from + done, size - done, (off_t)(offset + done));

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return error_raise_errno(
				errno == ENOSPC ? SIMPLER_ENOSPACE : SIMPLER_ESYSTEM, errno,
				"cannot write %zu bytes of shared memory", size);
		done += (size_t)written;
	}
	return SIMPLER_OK;
}

simpler_status memory_size(int fd, uint64_t *bytes)
{
	struct stat about;

	if (fstat(fd, &about) < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot size shared memory");
	*bytes = (uint64_t)about.st_size;
	return SIMPLER_OK;
}

simpler_status memory_check(int fd, uint64_t bytes)
{
	const int fixed = F_SEAL_SHRINK | F_SEAL_GROW;
	int seals = fcntl(fd, F_GET_SEALS);
	uint64_t there;

	/* Other files have no seals. */
	if (seals < 0 || (seals & fixed) != fixed || memory_size(fd, &there) != SIMPLER_OK)
		return error_raise(SIMPLER_EPROTOCOL, "what came is no memory whose size is fixed");
	if (there != bytes)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "%" PRIu64 " bytes of memory came instead of %" PRIu64, there,
		                   bytes);
	return SIMPLER_OK;
}

static simpler_status map(int fd, uint64_t bytes, int protection, void **base)
{
	/* Pages are committed by memory_commit(), not counted by the mapping. */
	void *mapped = mmap(NULL, (size_t)bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (mapped == MAP_FAILED)
		return error_raise_errno(SIMPLER_ESYSTEM, errno,
		                         "cannot map %" PRIu64 " bytes of shared memory", bytes);
	*base = mapped;
	return SIMPLER_OK;
}

simpler_status memory_map(int fd, uint64_t bytes, void **base)
{
	return map(fd, bytes, PROT_READ | PROT_WRITE, base);
}

simpler_status memory_map_readable(int fd, uint64_t bytes, void **base)
{
	return map(fd, bytes, PROT_READ, base);
}

void memory_unmap(void *base, uint64_t bytes)
{
	(void)munmap(base, (size_t)bytes);
}

simpler_status memory_replace(void *base, uint64_t bytes)
{
	void *replaced = mmap(base, (size_t)bytes, PROT_READ | PROT_WRITE,
	                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

	return replaced == MAP_FAILED
	               ? error_raise_errno(SIMPLER_ENOMEM, errno, "replacing shared memory")
	               : SIMPLER_OK;
}

static simpler_status allocate(int fd, int mode, uint64_t offset, uint64_t bytes, const char *what)
{
	int failed;

	if (bytes == 0)
		return SIMPLER_OK;
	if (offset > INT64_MAX || bytes > INT64_MAX - offset)
		return error_raise(SIMPLER_EINVAL,
		                   "cannot %s %" PRIu64 " bytes of shared memory at %" PRIu64, what,
		                   bytes, offset);
	do
		failed = fallocate(fd, mode, (off_t)offset, (off_t)bytes);
	while (failed && errno == EINTR);
	if (failed)
		return error_raise_errno(
			errno == ENOSPC || errno == ENOMEM ? SIMPLER_ENOSPACE : SIMPLER_ESYSTEM,
			errno, "cannot %s %" PRIu64 " bytes of shared memory at %" PRIu64, what,
			bytes, offset);
	return SIMPLER_OK;
}

simpler_status memory_commit(int fd, uint64_t offset, uint64_t bytes)
{
	return allocate(fd, FALLOC_FL_KEEP_SIZE, offset, bytes, "commit");
}

simpler_status memory_punch(int fd, uint64_t offset, uint64_t bytes)
{
	return allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes, "release");
}

#define LESSON_BYTES ((size_t)8 << 20)

void memory_keep_freed(void)
{
	/* Else compilers see that nobody uses it, and leave it out. */
	void *volatile block = malloc(LESSON_BYTES);

	free(block);
}
