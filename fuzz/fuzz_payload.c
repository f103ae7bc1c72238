/* Any bytes are refused, or are what encoding their payload gives. Seeds: make-catalog-seeds. */
#include <stdlib.h>
#include <string.h>

#include "catalog/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct payload payload;
	uint8_t *again;

	if (payload_decode(data, size, &payload) != SIMPLER_OK)
		return 0;
	if (payload_size(&payload) != size)
		abort();
	again = malloc(size);
	if (!again)
		return 0;
	payload_encode(&payload, again);
	if (memcmp(again, data, size) != 0)
		abort();
	free(again);
	return 0;
}
