/*
 * Any bytes are searched for a symbol within their bounds. The input is the address, 8 bytes, and
 * the file. Seeds: make-crash-seeds.
 */
#include <stdlib.h>
#include <string.h>

#include "os/elf_symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *name;
	uint64_t address, offset;
	uint8_t *file;

	if (size < sizeof(address))
		return 0;
	memcpy(&address, data, sizeof(address));
	size -= sizeof(address);
	/* Apart, so that a step outside either end is seen. */
	file = malloc(size ? size : 1);
	if (!file)
		return 0;
	memcpy(file, data + sizeof(address), size);
	if (elf_symbol_find(file, size, address, &name, &offset) &&
	    (offset > address || (const uint8_t *)name < file || name[0] == '\0' ||
	     (const uint8_t *)name + strlen(name) >= file + size))
		abort();
	free(file);
	return 0;
}
