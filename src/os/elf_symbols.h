/* The names of functions in an ELF file, from its own table of symbols. A pure function over bytes
 * that anybody may have written. */
#ifndef OS_ELF_SYMBOLS_H
#define OS_ELF_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The function that holds `address`, as the file counts: from .symtab, or from .dynsym where that
 * is stripped. `*name` is in `bytes` and terminated there. False if there is none, or the file is
 * malformed or another machine's.
 */
bool elf_symbol_find(const void *bytes, size_t size, uint64_t address, const char **name,
                     uint64_t *offset);

#endif
