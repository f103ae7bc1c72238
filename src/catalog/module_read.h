/* A module's file as bytes, for the process that ships or lists it. */
#ifndef CATALOG_MODULE_READ_H
#define CATALOG_MODULE_READ_H

#include <stddef.h>
#include <stdint.h>

#include "simpler/status.h"

/*
 * All bytes of the regular file at `path`; whether they are a module is module_file.h's to say.
 * The caller frees `*bytes`.
 *
 * @return SIMPLER_ESYSTEM naming the path when it cannot be read; SIMPLER_EINVAL when it cannot be
 *         a module: empty, over MODULE_MAX_BYTES, or no regular file.
 */
simpler_status module_read(const char *path, uint8_t **bytes, size_t *size);

#endif
