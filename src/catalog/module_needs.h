/*
 * What a module needs of the machine that loads it, read without loading it: libraries, and symbols
 * that it uses and does not have. A pure function over bytes that anybody may have sent.
 */
#ifndef CATALOG_MODULE_NEEDS_H
#define CATALOG_MODULE_NEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/status.h"

#define MODULE_MAX_LIBRARIES 128
#define MODULE_MAX_VERSIONS  256                /* of symbols, over all libraries */
#define MODULE_MAX_TEXT      ((size_t)32 << 10) /* of one name, with its terminator */

/* "version `GLIBC_2.34' of libc.so.6", which symbols name by its number. */
struct module_version {
	const char *name, *library;
	uint16_t number;
};

/* All texts point into the module's bytes, which are borrowed, and are terminated there. */
struct module_needs {
	size_t library_count;
	const char *libraries[MODULE_MAX_LIBRARIES]; /* DT_NEEDED, in the order of the file */
	const char *run_path; /* DT_RUNPATH, or else DT_RPATH; NULL: it has none */
	size_t version_count;
	struct module_version versions[MODULE_MAX_VERSIONS];

	/* For module_needs_symbol(): tables in the file, and how many symbols there are. */
	const uint8_t *strings, *symbols, *symbol_versions;
	size_t strings_size, symbol_count;
};

struct module_symbol {
	const char *name;
	const struct module_version *version; /* NULL: it is content with any */
	bool weak;                            /* it does without */
};

/*
 * Read what the dynamic loader would, from the program headers and the dynamic section. Everything
 * that module_needs_symbol() will say is checked.
 *
 * @return SIMPLER_EINVAL saying what is wrong: no shared object for this machine, no dynamic
 *         section, a table or name outside of the file, more libraries or versions than the limit.
 */
simpler_status module_needs_read(const void *bytes, size_t size, struct module_needs *out);

/* The next undefined symbol; `*at` is 0 for the first. False after the last. */
bool module_needs_symbol(const struct module_needs *needs, size_t *at, struct module_symbol *out);

#endif
