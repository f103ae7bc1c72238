/* Shared objects, loaded from descriptors or files. */
#ifndef OS_DL_H
#define OS_DL_H

#include <stddef.h>

#include "base/error.h"

/*
 * Load the shared object behind `fd`, with all its symbols resolved now and none of them visible
 * to others. `fd` must stay open as long as the object is loaded: the loader knows objects by
 * their path, /proc/self/fd/N, and takes a reused N for the old one.
 *
 * Every library and symbol that the object needs has been found before any constructor runs, its
 * own or a library's. What may run earlier are the resolvers of indirect functions (STT_GNU_IFUNC).
 *
 * @return SIMPLER_EINVAL with the dynamic loader's own words, and no more.
 */
simpler_status dl_open(int fd, void **object);

/* The same for a file, which the error names: what its author calls by its path, `$ORIGIN` in it
 * included, is found. */
simpler_status dl_open_path(const char *path, void **object);

/* The symbol's address; NULL when the object lacks it. */
void *dl_symbol(void *object, const char *name);

/* The path of the shared object, or program, that has `address`. False when it cannot be told. */
bool dl_path_of(const void *address, char *path, size_t capacity);

#endif
