/* Of any bytes it is told what they need, in texts that end, or they are refused. Seeds:
 * make-catalog-seeds. */
#include <stdlib.h>
#include <string.h>

#include "catalog/module_needs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A text of the file: not empty, and it ends. */
static void check(const char *text)
{
	size_t size = strlen(text);

	if (size == 0 || size >= MODULE_MAX_TEXT)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct module_needs needs;
	struct module_symbol symbol;
	size_t at = 0;

	if (module_needs_read(data, size, &needs) != SIMPLER_OK)
		return 0;
	if (needs.library_count > MODULE_MAX_LIBRARIES || needs.version_count > MODULE_MAX_VERSIONS)
		abort();
	for (size_t i = 0; i < needs.library_count; i++)
		check(needs.libraries[i]);
	if (needs.run_path)
		check(needs.run_path);
	while (module_needs_symbol(&needs, &at, &symbol)) {
		check(symbol.name);
		if (symbol.version) {
			check(symbol.version->name);
			check(symbol.version->library);
		}
	}
	return 0;
}
