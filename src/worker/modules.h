/*
 * The modules of one worker: what its callables come from. Each is there once, whoever asked for
 * it, and lives as long as the list. Thread-safe.
 */
#ifndef WORKER_MODULES_H
#define WORKER_MODULES_H

#include "catalog/module_file.h"
#include "exec/exec.h"

struct modules;

struct module {
	struct exec_module exec;
	struct module_file file; /* of a library that is not installed here: nothing */
	struct module *next;
};

/* NULL when memory is out. */
struct modules *modules_create(void);
void modules_destroy(struct modules *modules);

/* A module from a sealed memfd, which is borrowed; `digest` is that of its bytes. One that is known
 * keeps the signature that it had first. `signature` is NULL for an unsigned one. */
simpler_status modules_add(struct modules *modules, const struct digest *digest, int fd,
                           const struct signature *signature, struct module **out);
/* A library by its name, which payload_library_valid() has accepted. `fd` is -1 when it is
 * installed on nodes only, and what it declares theirs to check. One that is known stays as it is.
 */
simpler_status modules_add_library(struct modules *modules, const char *name,
                                   const struct digest *digest, int fd, struct module **out);

#endif
