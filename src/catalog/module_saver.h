/*
 * Saves modules to disk behind everybody's back, so that nobody waits for it. What cannot be saved
 * is logged, and served from memory all the same. Thread-safe.
 */
#ifndef CATALOG_MODULE_SAVER_H
#define CATALOG_MODULE_SAVER_H

#include "catalog/module_disk.h"

struct module_saver;

/* A module has been saved, or could not be. Runs on the saver's thread. */
typedef void module_saved(void *context, void *module);

/* `disk` is borrowed. */
simpler_status module_saver_start(struct module_disk *disk, module_saved *done, void *context,
                                  struct module_saver **out);
/* `bytes` must stay until `done` is called with `module`. False when memory is out: it will not. */
bool module_saver_add(struct module_saver *saver, const struct digest *digest, simpler_bytes bytes,
                      void *module);
/* Blocks until all is saved. NULL is allowed. */
void module_saver_stop(struct module_saver *saver);

#endif
