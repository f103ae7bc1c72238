/*
 * Looking into an ELF file's bytes, which anybody may have written: every structure is copied out
 * by memcpy() at an offset that was checked against the file's size, since it may lie there aligned
 * or not, and nothing is used through a pointer into the bytes but text whose terminator was found
 * first. <elf.h> gives the layout.
 */
#ifndef CATALOG_ELF_FILE_H
#define CATALOG_ELF_FILE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "simpler/status.h"

struct elf_view {
	const uint8_t *bytes;
	size_t size;
};

/* Whether [offset, offset + size) lies in the view. */
static inline bool elf_holds(const struct elf_view *view, uint64_t offset, uint64_t size)
{
	return offset <= view->size && size <= view->size - offset;
}

static inline bool elf_copy_out(const struct elf_view *view, uint64_t offset, void *out,
                                size_t size)
{
	if (!elf_holds(view, offset, size))
		return false;
	memcpy(out, view->bytes + offset, size);
	return true;
}

/*
 * The header of a shared object for this machine.
 *
 * @return SIMPLER_EINVAL saying what it is instead: not ELF, another class, byte order, machine or
 *         type (have and want), or cut short.
 */
simpler_status elf_read_header(const struct elf_view *file, Elf64_Ehdr *elf);

#endif
