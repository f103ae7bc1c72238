/*
 * Libraries: modules that are installed on a node, in directories that its daemon is told. Callers
 * name them by what payload_library_valid() lets through, so that no name leads anywhere else.
 */
#ifndef CATALOG_LIBRARY_H
#define CATALOG_LIBRARY_H

#include <stddef.h>

#include "simpler/status.h"

/* SIMPLER_ESYSTEM naming one that is no directory, or cannot be looked into. */
simpler_status library_check(const char *const *directories, size_t count);

/*
 * The file NAME, or else NAME.so, of the first directory that has one, for reading. Whether it is a
 * regular file with a module is the caller's to see. A symbolic link is none.
 *
 * @return SIMPLER_ENOTFOUND naming the library and in how many directories it was looked for;
 *         SIMPLER_ESYSTEM when it is there and cannot be opened. No message names a directory:
 *         messages go to clients.
 */
simpler_status library_open(const char *const *directories, size_t count, const char *name,
                            int *fd);

#endif
