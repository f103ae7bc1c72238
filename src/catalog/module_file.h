/*
 * Reading a module without running it: the ELF header, the section "simpler_callables" and the
 * descriptors in it. A pure function over bytes that anybody may have sent.
 */
#ifndef CATALOG_MODULE_FILE_H
#define CATALOG_MODULE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/module.h"

#define MODULE_MAX_CALLABLES 256
#define MODULE_MAX_BYTES     ((size_t)1 << 30)

struct module_entry {
	simpler_kind kind;
	char name[SIMPLER_NAME_MAX + 1];
};

struct module_file {
	size_t count;
	struct module_entry entries[MODULE_MAX_CALLABLES];
};

/*
 * @return SIMPLER_EINVAL saying what is wrong: not ELF, another class or machine than this one's
 *         (have and want), not a shared object, no descriptors, a truncated or overlapping table, a
 *         name that is empty, unterminated or no identifier, a name twice, an unknown kind, too
 * many; SIMPLER_EVERSION for another callable ABI (have and want).
 */
simpler_status module_file_parse(const void *bytes, size_t size, struct module_file *out);

/* A name is a C identifier of 1 to SIMPLER_NAME_MAX ASCII bytes, `size` without a terminator. */
bool module_name_valid(const char *name, size_t size);
bool module_kind_valid(uint32_t kind);

/* SIMPLER_ENOTFOUND listing what there is; SIMPLER_EKIND naming both kinds. */
simpler_status module_file_find(const struct module_file *file, const char *name,
                                simpler_kind kind);

#endif
