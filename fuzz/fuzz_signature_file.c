/* Any bytes are refused with a message, or are what writing their signature file gives. */
#include <stdlib.h>
#include <string.h>

#include "catalog/signature.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char again[SIGNATURE_TEXT_SIZE];
	struct signature_file file;

	if (signature_file_parse(data, size, &file) != SIMPLER_OK) {
		if (simpler_last_error()[0] == '\0')
			abort();
		return 0;
	}
	signature_file_write(&file, again);
	if (size != sizeof(again) || memcmp(again, data, size) != 0)
		abort();
	return 0;
}
