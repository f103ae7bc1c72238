/* Files of a few lines, which are read and written whole. */
#ifndef CATALOG_SMALL_FILE_H
#define CATALOG_SMALL_FILE_H

#include <stddef.h>
#include <sys/stat.h>

#include "simpler/status.h"

/*
 * All of the regular file at `path`, and a zero byte behind it, which `size` does not count.
 *
 * @param found  What fstat() says of it; NULL if it is of no interest.
 * @return SIMPLER_ENOTFOUND when there is none; SIMPLER_EINVAL when it is no regular file, or is
 *         not smaller than `capacity`; SIMPLER_ESYSTEM. Each names the path.
 */
simpler_status small_file_read(const char *path, char *out, size_t capacity, size_t *size,
                               struct stat *found);

/* A new file with these bytes. SIMPLER_EEXIST when there is something at `path`; when writing
 * fails, nothing is left there. */
simpler_status small_file_create(const char *path, mode_t mode, const void *bytes, size_t size);

/* As small_file_create(), but it takes the place of what is at `path`, and at no moment is there
 * half a file. */
simpler_status small_file_replace(const char *path, mode_t mode, const void *bytes, size_t size);

#endif
