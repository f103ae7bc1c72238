/*
 * Callables that this process can run: modules loaded from sealed memfds with the functions in
 * them, and functions of the program that it runs. Used by engines and worker processes, never by a
 * front end.
 *
 * A module is loaded once per digest and never unloaded: its code may be running. Its descriptor
 * stays open as long, since the dynamic loader would take a reused /proc/self/fd/N for the old
 * file.
 *
 * Thread-safety: loader_install() is called by one thread at a time; loader_find() by any number,
 * concurrently with it, without blocking; what it returns lives until it is forgotten.
 * loader_module_digest() may be called from a signal handler, whatever that interrupted.
 */
#ifndef IPC_LOADER_H
#define IPC_LOADER_H

#include "wire/record.h"

struct loader;

struct loaded_callable {
	uint64_t key;
	simpler_kind kind;
	union {
		simpler_sub_function *sub;
		simpler_orch_function *orch;
		simpler_chip_function *chip;
	} run;
	simpler_bytes state;
	char name[RECORD_NAME_MAX + 1];
	/* Of a module; else -1 and nothing. */
	int module_fd; /* owned by the loader */
	uint8_t module_digest[RECORD_DIGEST_BYTES];
};

struct loader *loader_create(void);
void loader_destroy(struct loader *loader); /* only at process exit: unloads nothing */

/*
 * Install a callable under its key. Takes ownership of `module_fd`, also on failure; -1 when the
 * module is known. The state is copied.
 *
 * Whatever the module needs is found before its constructors run; see os/dl.h.
 *
 * @return SIMPLER_EINVAL naming the library, the version or the symbol that this machine lacks, or
 *         with the dynamic loader's own words when the module does not load for another reason;
 *         SIMPLER_ENOTFOUND when it lacks the entry; SIMPLER_EEXIST when the key is taken;
 *         SIMPLER_EPROTOCOL for an unknown module without a descriptor; for a function of the
 *         program what program_function_find() says.
 */
simpler_status loader_install(struct loader *loader, const struct record_install *install,
                              int module_fd);
/* Free what is under this key, if there is something. Who found it does not use it any more, and
 * nobody looks for it meanwhile. From any thread. */
void loader_forget(struct loader *loader, uint64_t key);
const struct loaded_callable *loader_find(struct loader *loader, uint64_t key);

/* The digest of the module behind descriptor `fd`, which may be on its way in: its constructors
 * run. False if there is none. */
bool loader_module_digest(const struct loader *loader, int fd, uint8_t digest[RECORD_DIGEST_BYTES]);

#endif
