/*
 * The modules of a node: each once per digest, as a sealed memfd, however many callables are of it.
 * One that nobody uses stays as long as there is room, and the one that was not used for longest
 * makes room first; one that is in use never does. With a directory they are on disk as well, and
 * are read back from there: see catalog/module_disk.h.
 *
 * Thread-safe. A module that has to be copied or read makes other new ones wait; known ones wait
 * for nothing.
 */
#ifndef CATALOG_MODULE_STORE_H
#define CATALOG_MODULE_STORE_H

#include "catalog/digest.h"
#include "catalog/module_file.h"

struct module_store;

/* Never changes. Valid until its users have left. */
struct stored_module {
	struct digest digest;
	struct module_file file;
	simpler_bytes bytes; /* a mapping of fd */
	int fd;
};

struct module_store_options {
	size_t modules;           /* each takes a descriptor and a mapping */
	uint64_t bytes;           /* of all of them, and of those on their way in */
	size_t uploads;           /* at once */
	const char *directory;    /* NULL: in memory only */
	uint64_t directory_bytes; /* of all modules in it */
};

/* SIMPLER_ESYSTEM when the directory cannot be used. */
simpler_status module_store_create(const struct module_store_options *options,
                                   struct module_store **out);
/* All users have left. Blocks until everything is on disk that should be. */
void module_store_destroy(struct module_store *store);

/*
 * The module with this digest, with the caller as one more user.
 *
 * @param bytes  What it is, in case it is not known: they have this digest. Size 0: it has to be.
 * @return SIMPLER_ENOTFOUND for one that is not known and came without its bytes; SIMPLER_ENOSPACE
 *         naming what was asked, what is in use, and the limit; otherwise as module_file_parse().
 */
simpler_status module_store_use(struct module_store *store, const struct digest *digest,
                                simpler_bytes bytes, const struct stored_module **out);
/* The same of a file, which is the only place where it is kept: one of a library of this node. The
 * digest is that of what was read. `path` is for messages. */
simpler_status module_store_use_file(struct module_store *store, int fd, const char *path,
                                     const struct stored_module **out);
/* Whether its trial is behind it: somebody has loaded it, and lived. The user's to say. */
bool module_store_is_tried(const struct stored_module *stored);
void module_store_set_tried(const struct stored_module *stored);
void module_store_leave(struct module_store *store, const struct stored_module *stored);

struct module_store_stats {
	size_t modules, in_use;       /* in memory, and those of them that make no room */
	uint64_t bytes, bytes_in_use; /* theirs */
};
void module_store_stats(struct module_store *store, struct module_store_stats *out);

/* --- modules that come by the piece --- */

/* Its own memory is counted from the beginning. Belongs to one thread at a time. */
struct module_upload;

/* `*out` is NULL when the module is known. SIMPLER_EINVAL for a size that no module has,
 * SIMPLER_ENOSPACE when there is no room, or there are too many uploads. */
simpler_status module_upload_begin(struct module_store *store, const struct digest *digest,
                                   uint64_t nbytes, struct module_upload **out);
/* As module_image_add(). */
simpler_status module_upload_add(struct module_upload *upload, uint64_t offset,
                                 simpler_bytes piece);
/* Nobody uses it yet. SIMPLER_EINVAL when it is not all there, is not the module that was
 * announced, or is none. The upload is gone, whatever this returns. */
simpler_status module_upload_end(struct module_upload *upload);
void module_upload_drop(struct module_upload *upload);

#endif
