/*
 * The modules behind a catalog's callables: each once per digest, as a sealed memfd, as long as
 * somebody uses it. Thread-safe; new modules wait for each other, known ones for nothing.
 */
#ifndef CATALOG_MODULE_STORE_H
#define CATALOG_MODULE_STORE_H

#include "catalog/module_file.h"
#include "catalog/payload.h"

struct module_store;

/* Never changes. Valid until its users have left. */
struct stored_module {
	struct digest digest;
	struct module_file file;
	const void *bytes; /* a mapping of fd */
	size_t size;
	int fd;
};

/* `limit` modules of `byte_limit` bytes together. NULL when memory is out. */
struct module_store *module_store_create(size_t limit, uint64_t byte_limit);
/* All users have left. */
void module_store_destroy(struct module_store *store);

/*
 * The payload's module, made known if it is new, with the caller as one more user.
 *
 * @return SIMPLER_ENOTFOUND for a payload by digest of a module that is not known here;
 *         SIMPLER_ENOSPACE naming the limit; otherwise as module_file_parse().
 */
simpler_status module_store_use(struct module_store *store, const struct payload *payload,
                                const struct stored_module **out);
/* The last user's leaving frees the module. */
void module_store_leave(struct module_store *store, const struct stored_module *stored);

#endif
