/* Where a daemon listens and whom a parent calls: text that both readers of it take, or one of them
 * refuses with a message. Names no host to a resolver. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/address.h"
#include "rpc/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (core_address_check(text) != SIMPLER_OK && simpler_last_error()[0] == '\0')
		abort();
	(void)address_classify(text);
	free(text);
	return 0;
}
