/* Any text is refused with a message, or is a list within its limit. */
#include <stdlib.h>
#include <string.h>

#include "catalog/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct trust_revoked revoked;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	if (trust_parse_revoked(text, &revoked) != SIMPLER_OK) {
		if (simpler_last_error()[0] == '\0')
			abort();
	} else if (revoked.count > TRUST_MAX_REVOKED) {
		abort();
	}
	free(text);
	return 0;
}
