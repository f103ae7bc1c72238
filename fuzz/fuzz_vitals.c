/* Any bytes are refused, or are what encoding their vitals gives. Seeds: make-ipc-seeds. */
#include <stdlib.h>
#include <string.h>

#include "wire/vitals.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[VITALS_BYTES_MAX];
	struct vitals vitals;

	if (vitals_decode(data, size, &vitals) != SIMPLER_OK)
		return 0;
	if (vitals_encode(&vitals, again, sizeof(again)) != size || memcmp(again, data, size) != 0)
		abort();
	return 0;
}
