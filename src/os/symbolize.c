/*
 * libdw is loaded when the first crash is explained. A healthy process never needs it, engines and
 * their workers should not start slower for its sake, and a program that links libsimpler should
 * not have to bring it.
 */
#include "os/symbolize.h"

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/elf_symbols.h"

#define LIBDW     "libdw.so.1"
#define MAX_BYTES ((off_t)128 << 20)

struct symbolizer {
	char *bytes;
	size_t size;
	/* NULL without debug information. */
	Elf *elf;
	Dwarf *dwarf;
};

/* --- libdw --- */

/* The functions of libdw, and of libelf which it brings along, that are used here. */
#define LIBDW_FUNCTIONS(each)                                                                      \
	each(elf_version) each(elf_memory) each(elf_end) each(dwarf_begin_elf) each(dwarf_end)     \
		each(dwarf_nextcu) each(dwarf_offdie) each(dwarf_haspc) each(dwarf_getscopes)      \
			each(dwarf_tag) each(dwarf_diename) each(dwarf_getsrc_die)                 \
				each(dwarf_linesrc) each(dwarf_lineno)

static struct {
	bool found;
#define MEMBER(name) __typeof__(name) *name;
	LIBDW_FUNCTIONS(MEMBER)
#undef MEMBER
} libdw;

/* A pointer to a function out of one to data, as POSIX wants it of dlsym(). */
static bool find_function(void *library, const char *name, void *function)
{
	void *address = dlsym(library, name);

	memcpy(function, &address, sizeof(address));
	return address != NULL;
}

static void load_libdw(void)
{
	/* Not closed: it serves to the process's end. */
	void *library = dlopen(LIBDW, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return;
	libdw.found = true;
#define FIND(name) libdw.found = find_function(library, #name, &libdw.name) && libdw.found;
	LIBDW_FUNCTIONS(FIND)
#undef FIND
	libdw.found = libdw.found && libdw.elf_version(EV_CURRENT) != EV_NONE;
}

static bool use_libdw(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	return pthread_once(&once, load_libdw) == 0 && libdw.found;
}

#ifdef __has_feature
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1 /* as gcc says it */
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
/* AddressSanitizer guesses the bounds of thread-local variables of a library that was loaded late,
 * as libdw is, wrongly: the search for leaks at the end would read wild. */
const char *__asan_default_options(void) __attribute__((visibility("default"), used));

const char *__asan_default_options(void)
{
	return "intercept_tls_get_addr=0";
}
#endif

/* --- files --- */

static bool read_all(int fd, char *bytes, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t got = pread(fd, bytes + done, size - done, (off_t)done);

		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

struct symbolizer *symbolizer_open(int fd)
{
	struct symbolizer *symbolizer;
	struct stat info;

	if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0 ||
	    info.st_size > MAX_BYTES)
		return NULL;
	symbolizer = calloc(1, sizeof(*symbolizer));
	if (!symbolizer)
		return NULL;
	symbolizer->size = (size_t)info.st_size;
	symbolizer->bytes = malloc(symbolizer->size);
	if (!symbolizer->bytes || !read_all(fd, symbolizer->bytes, symbolizer->size)) {
		symbolizer_close(symbolizer);
		return NULL;
	}
	if (use_libdw())
		symbolizer->elf = libdw.elf_memory(symbolizer->bytes, symbolizer->size);
	if (symbolizer->elf)
		symbolizer->dwarf = libdw.dwarf_begin_elf(symbolizer->elf, DWARF_C_READ, NULL);
	return symbolizer;
}

struct symbolizer *symbolizer_open_path(const char *path)
{
	/* It may be a pipe, which would wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct symbolizer *symbolizer;

	if (fd < 0)
		return NULL;
	symbolizer = symbolizer_open(fd);
	(void)close(fd);
	return symbolizer;
}

void symbolizer_close(struct symbolizer *symbolizer)
{
	if (!symbolizer)
		return;
	if (symbolizer->dwarf)
		(void)libdw.dwarf_end(symbolizer->dwarf);
	if (symbolizer->elf)
		(void)libdw.elf_end(symbolizer->elf);
	free(symbolizer->bytes);
	free(symbolizer);
}

/* --- addresses --- */

/* Not dwarf_addrdie(), which needs an index (.debug_aranges) that clang does not write. */
static bool find_unit(Dwarf *dwarf, uint64_t address, Dwarf_Die *out)
{
	Dwarf_Off offset = 0, next;
	size_t header;

	while (libdw.dwarf_nextcu(dwarf, offset, &next, &header, NULL, NULL, NULL) == 0) {
		if (libdw.dwarf_offdie(dwarf, offset + header, out) &&
		    libdw.dwarf_haspc(out, address) == 1)
			return true;
		offset = next;
	}
	return false;
}

/* The innermost one, also if it was inlined: the line is in that one. */
static void find_function_name(Dwarf_Die *unit, uint64_t address, struct symbol *out)
{
	Dwarf_Die *scopes = NULL;
	int count = libdw.dwarf_getscopes(unit, address, &scopes);

	for (int i = 0; i < count && out->function[0] == '\0'; i++) {
		int tag = libdw.dwarf_tag(&scopes[i]);
		const char *name = libdw.dwarf_diename(&scopes[i]);

		if (name && (tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine))
			(void)snprintf(out->function, sizeof(out->function), "%s", name);
	}
	free(scopes);
}

static void find_line(Dwarf_Die *unit, uint64_t address, struct symbol *out)
{
	Dwarf_Line *line = libdw.dwarf_getsrc_die(unit, address);
	const char *path = line ? libdw.dwarf_linesrc(line, NULL, NULL) : NULL;
	const char *slash = path ? strrchr(path, '/') : NULL;

	if (!path || libdw.dwarf_lineno(line, &out->line) != 0 || out->line <= 0)
		return;
	(void)snprintf(out->file, sizeof(out->file), "%s", slash ? slash + 1 : path);
}

bool symbolizer_find(const struct symbolizer *symbolizer, uint64_t address, bool call_site,
                     struct symbol *out)
{
	uint64_t wanted = call_site && address > 0 ? address - 1 : address;
	const char *name;
	Dwarf_Die unit;

	memset(out, 0, sizeof(*out));
	if (symbolizer->dwarf && find_unit(symbolizer->dwarf, wanted, &unit)) {
		find_function_name(&unit, wanted, out);
		find_line(&unit, wanted, out);
	}
	if (out->function[0] == '\0' &&
	    elf_symbol_find(symbolizer->bytes, symbolizer->size, wanted, &name, &out->offset)) {
		out->offset += address - wanted;
		(void)snprintf(out->function, sizeof(out->function), "%s", name);
	}
	return out->function[0] != '\0';
}
