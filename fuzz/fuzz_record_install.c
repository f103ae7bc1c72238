/* Any bytes are refused, or are what encoding their install gives. Seeds: make-ipc-seeds. */
#include <stdlib.h>
#include <string.h>

#include "wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t again[RECORD_INSTALL_MAX];
	struct record_install install;

	if (record_install_decode(data, size, &install) != SIMPLER_OK)
		return 0;
	if (record_install_encode(&install, again, sizeof(again)) != size)
		abort();
	if (memcmp(again, data, size) != 0)
		abort();
	return 0;
}
