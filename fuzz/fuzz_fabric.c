/* Places in a fabric. What is accepted stays what it is when it is encoded again. Seeds:
 * make-ipc-seeds. */
#include <stdlib.h>
#include <string.h>

#include "wire/fabric.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bytes[FABRIC_PLACE_MAX];
	struct fabric_place place;

	if (fabric_place_decode(data, size, &place) != SIMPLER_OK)
		return 0;
	if (fabric_place_encode(&place, bytes) != size || memcmp(bytes, data, size) != 0 ||
	    place.address.size == 0 || place.address.size > FABRIC_ADDRESS_MAX ||
	    place.base + place.nbytes < place.base)
		abort();
	return 0;
}
