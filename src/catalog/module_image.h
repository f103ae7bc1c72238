/*
 * A module's image on its way in, from a stream, a file or a message: a memfd of the size that was
 * announced, filled in order, hashed as it fills, and sealed at the end. One thread at a time.
 */
#ifndef CATALOG_MODULE_IMAGE_H
#define CATALOG_MODULE_IMAGE_H

#include "catalog/digest.h"

struct module_image {
	int fd;
	uint64_t size, filled;
	struct digest_stream *digest;
};

/* SIMPLER_EINVAL for a size that no module has. Otherwise it must be ended or dropped. */
simpler_status module_image_begin(struct module_image *image, uint64_t size);
/* SIMPLER_EINVAL when `offset` is not where the last piece ended, or the piece goes past the size;
 * SIMPLER_ENOSPACE when the system has no memory for it. */
simpler_status module_image_add(struct module_image *image, uint64_t offset, simpler_bytes piece);
/* All of the file, which has the image's size. `path` is for messages. */
simpler_status module_image_read(struct module_image *image, int fd, const char *path);
/* What the digest of such an image would be. */
simpler_status module_image_digest(int fd, const char *path, struct digest *out);
/* SIMPLER_EINVAL when it is not full. `*fd` is the caller's. The image is gone, whatever this
 * returns. */
simpler_status module_image_end(struct module_image *image, struct digest *digest, int *fd);
void module_image_drop(struct module_image *image);

#endif
