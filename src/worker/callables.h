/*
 * The callables of one worker, and the modules they come from: registered once, found by handle.
 *
 * A handle is an entry's key, which counts from 1; entries and modules live as long as the table.
 * Thread-safe. Finding by handle takes a read lock for the length of an index; nothing blocks
 * while a lock is held, except on memory.
 */
#ifndef WORKER_CALLABLES_H
#define WORKER_CALLABLES_H

#include "catalog/module_file.h"
#include "exec/exec.h"

/* Most callables of one worker. */
#define CALLABLES_MAX 4096u

struct callables;

/* A module of the worker. */
struct module {
	struct exec_module exec;
	struct module_file file;
	struct callables *owner;
	struct module *next;
};

struct callables *callables_create(void);
void callables_destroy(struct callables *table);

/* A module from its bytes, which have this digest and are copied into a sealed memfd; the same
 * bytes give the same module, with the signature that it had first. `signature` is NULL for an
 * unsigned one. */
simpler_status callables_add_module(struct callables *table, const struct digest *digest,
                                    simpler_bytes bytes, const struct signature *signature,
                                    struct module **out);
/* The same from a sealed memfd, which is borrowed and stays open as long as the table. */
simpler_status callables_adopt_module(struct callables *table, const struct digest *digest, int fd,
                                      struct module **out);

/* Register name and state of a module; the same again gives the same entry.
 * Errors as simpler_module_orch_fn(). */
simpler_status callables_add(struct callables *table, const struct module *module, const char *name,
                             simpler_kind kind, simpler_bytes state,
                             const struct exec_callable **out);

/* Register a function of this program, by its address in this process; `name` is for messages, and
 * an identifier as those of modules are. SIMPLER_EINVAL for a name that is none, and for what is no
 * function. */
simpler_status callables_add_function(struct callables *table, const void *function,
                                      const char *name, simpler_kind kind, simpler_bytes state,
                                      const struct exec_callable **out);

/* SIMPLER_ESTALE for a handle that this table did not give out; SIMPLER_EKIND naming both kinds. */
simpler_status callables_find(struct callables *table, uint64_t handle, simpler_kind kind,
                              const struct exec_callable **out);
/* Entry `index`, from 0; NULL past the end. */
const struct exec_callable *callables_at(struct callables *table, size_t index);

#endif
