#include "catalog/module_image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "catalog/module_file.h"
#include "os/memory.h"

#define PIECE_BYTES ((size_t)1 << 20) /* of a file */

simpler_status module_image_begin(struct module_image *image, uint64_t size)
{
	simpler_status status;

	if (size == 0 || size > MODULE_MAX_BYTES)
		return error_raise(SIMPLER_EINVAL,
		                   "a module cannot be of %" PRIu64 " bytes; it has 1 to %zu", size,
		                   MODULE_MAX_BYTES);
	*image = (struct module_image){ .size = size };
	status = memory_create_image("simpler-module", size, &image->fd);
	if (!status)
		image->digest = digest_begin();
	return status;
}

simpler_status module_image_add(struct module_image *image, uint64_t offset, simpler_bytes piece)
{
	simpler_status status;

	if (offset != image->filled)
		return error_raise(SIMPLER_EINVAL,
		                   "a piece of the module is for offset %" PRIu64 ", and the next "
		                   "byte is that of %" PRIu64
		                   "; send pieces in order, without gaps",
		                   offset, image->filled);
	if (piece.size > image->size - image->filled)
		return error_raise(SIMPLER_EINVAL,
		                   "%zu bytes at offset %" PRIu64 " go past the module's %" PRIu64
		                   " bytes",
		                   piece.size, offset, image->size);
	status = memory_write(image->fd, offset, piece.data, piece.size);
	if (status)
		return status;
	digest_add(image->digest, piece.data, piece.size);
	image->filled += piece.size;
	return SIMPLER_OK;
}

/* Read, not mapped: a file that somebody shortens meanwhile must not end this process. `*got` is 0
 * at the end of the file. */
static simpler_status read_piece(int fd, const char *path, uint64_t offset, uint8_t *piece,
                                 size_t *got)
{
	ssize_t count;

	do
		count = pread(fd, piece, PIECE_BYTES, (off_t)offset);
	while (count < 0 && errno == EINTR);
	if (count < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "reading '%s'", path);
	*got = (size_t)count;
	return SIMPLER_OK;
}

/* Hand all pieces of a file to the image, or else to the digest. */
static simpler_status read_all(int fd, const char *path, struct module_image *image,
                               struct digest_stream *digest)
{
	uint8_t *piece = malloc(PIECE_BYTES);
	simpler_status status = SIMPLER_OK;
	uint64_t offset = 0;
	size_t got = 1;

	if (!piece)
		return error_raise(SIMPLER_ENOMEM, "out of memory for reading '%s'", path);
	while (!status && got > 0) {
		status = read_piece(fd, path, offset, piece, &got);
		if (!status && image)
			status = module_image_add(image, offset, (simpler_bytes){ piece, got });
		else if (!status)
			digest_add(digest, piece, got);
		offset += got;
		/* It may have no end: somebody may write to it as fast as it is read. */
		if (!status && offset > MODULE_MAX_BYTES)
			status = error_raise(SIMPLER_EINVAL,
			                     "'%s' is of more than %zu bytes, and no module is",
			                     path, MODULE_MAX_BYTES);
	}
	free(piece);
	return status;
}

simpler_status module_image_read(struct module_image *image, int fd, const char *path)
{
	return read_all(fd, path, image, NULL);
}

simpler_status module_image_digest(int fd, const char *path, struct digest *out)
{
	struct digest_stream *digest = digest_begin();
	simpler_status status = read_all(fd, path, NULL, digest);

	if (!status)
		return digest_end(digest, out);
	(void)digest_end(digest, NULL);
	return status;
}

simpler_status module_image_end(struct module_image *image, struct digest *digest, int *fd)
{
	simpler_status status = digest_end(image->digest, digest);

	image->digest = NULL;
	if (!status && image->filled < image->size)
		status = error_raise(SIMPLER_EINVAL,
		                     "the module ended after %" PRIu64 " of its %" PRIu64 " bytes",
		                     image->filled, image->size);
	if (!status)
		status = memory_seal(image->fd);
	if (status)
		module_image_drop(image);
	else
		*fd = image->fd;
	return status;
}

void module_image_drop(struct module_image *image)
{
	(void)digest_end(image->digest, NULL);
	(void)close(image->fd);
}
