/*
 * From addresses in an ELF file to the lines of source behind them. For healthy processes only: it
 * allocates, and reads whole files.
 *
 * Functions and lines come from the file's debug information, which libdw reads; without it, or
 * without that library on the machine, functions come from the file's symbols. Debug information
 * in files of its own is not looked for.
 *
 * Thread-safe, with a symbolizer for each thread.
 */
#ifndef OS_SYMBOLIZE_H
#define OS_SYMBOLIZE_H

#include <stdbool.h>
#include <stdint.h>

struct symbolizer;

struct symbol {
	char function[96]; /* "" if there is no name for it */
	uint64_t offset;   /* from the function's start; only where there is no line */
	char file[96];     /* without folders; "" if no line is known */
	int line;
};

/* NULL if it cannot be read, or is no regular file, or too large to be worth it. The file may
 * change meanwhile: a copy of it is used. */
struct symbolizer *symbolizer_open(int fd);
struct symbolizer *symbolizer_open_path(const char *path);
void symbolizer_close(struct symbolizer *symbolizer);

/* `call_site`: the address is that of the instruction after a call, which is what is meant. False,
 * and all empty, if nothing is known. */
bool symbolizer_find(const struct symbolizer *symbolizer, uint64_t address, bool call_site,
                     struct symbol *out);

#endif
