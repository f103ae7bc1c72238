/* A module's file as bytes, and the signature beside it, for who ships, signs or lists it. */
#ifndef CATALOG_MODULE_READ_H
#define CATALOG_MODULE_READ_H

#include <stddef.h>
#include <stdint.h>

#include "catalog/signature.h"
#include "simpler/status.h"

/*
 * All bytes of the regular file at `path`; whether they are a module is module_file.h's to say.
 * The caller frees `*bytes`.
 *
 * @return SIMPLER_ESYSTEM naming the path when it cannot be read; SIMPLER_EINVAL when it cannot be
 *         a module: empty, over MODULE_MAX_BYTES, or no regular file.
 */
simpler_status module_read(const char *path, uint8_t **bytes, size_t *size);

/*
 * The same into a sealed memfd, which is the caller's, with the digest of the bytes. From a
 * descriptor, for which `path` stands in messages, or from a path.
 */
simpler_status module_read_image_from(int file, const char *path, struct digest *digest, int *fd);
simpler_status module_read_image(const char *path, struct digest *digest, int *fd);

/*
 * The signature file beside the module at `path`, which has this digest.
 *
 * @return SIMPLER_ENOTFOUND when there is none; SIMPLER_EINVAL naming it when it is broken, or of
 *         another module.
 */
simpler_status module_read_signature(const char *path, const struct digest *module,
                                     struct signature *out);

#endif
