/* Any bytes are a module with sound entries, or are refused. Seeds: make-catalog-seeds. */
#include <stdlib.h>

#include "catalog/module_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct module_file file;

	if (module_file_parse(data, size, &file) != SIMPLER_OK)
		return 0;
	if (file.count == 0 || file.count > MODULE_MAX_CALLABLES)
		abort();
	for (size_t i = 0; i < file.count; i++) {
		if (module_file_find(&file, file.entries[i].name, file.entries[i].kind))
			abort();
	}
	return 0;
}
