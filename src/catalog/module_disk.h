/*
 * Modules on disk, so that they are there when a daemon starts again. Content-addressed:
 *
 *     DIR/ab/ab12...ef     a module's bytes, under the 64 hexadecimal digits of its digest, in a
 *                          directory of the first two
 *     DIR/tmp-...          one that is being written, under a lock of its writer's
 *
 * A file is complete or not there: it is written under another name, and moved when it is on the
 * disk. What is read is verified. Several daemons may share a directory. What somebody else put
 * there is left alone.
 *
 * Any thread may find and drop; one at a time saves. All of it waits for the disk.
 */
#ifndef CATALOG_MODULE_DISK_H
#define CATALOG_MODULE_DISK_H

#include <stdbool.h>

#include "catalog/digest.h"

struct module_disk;

/*
 * Make the directory if there is none, try to write, and remove what dead writers left behind.
 * Modules take at most `limit` bytes; the ones that were not used for longest make room.
 *
 * @return SIMPLER_ESYSTEM naming the directory and what cannot be done.
 */
simpler_status module_disk_open(const char *directory, uint64_t limit, struct module_disk **out);
/* NULL is allowed. */
void module_disk_close(struct module_disk *disk);

/* The file of this module, for reading; it counts as used now. False when there is none. */
bool module_disk_find(struct module_disk *disk, const struct digest *digest, int *fd,
                      uint64_t *size);
/* What was read there is not the module: the file is removed, and the log told. */
void module_disk_drop(struct module_disk *disk, const struct digest *digest);

/* SIMPLER_ENOSPACE when it is larger than the limit, SIMPLER_ESYSTEM when the disk is full or
 * fails. One that is there is left alone. */
simpler_status module_disk_save(struct module_disk *disk, const struct digest *digest,
                                simpler_bytes module);

#endif
