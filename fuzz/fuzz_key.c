/* A file of the trust directory: text that is one public key, or is refused. Seeds:
 * make-catalog-seeds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct public_key key, again;
	struct digest id, same;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (key_parse_public(text, &key)) {
		/* The same text is the same key, with a name of its own. */
		if (!key_parse_public(text, &again) ||
		    memcmp(key.bytes, again.bytes, sizeof(key.bytes)) != 0 ||
		    key_id(&key, &id) != SIMPLER_OK || key_id(&again, &same) != SIMPLER_OK ||
		    memcmp(id.bytes, same.bytes, sizeof(id.bytes)) != 0)
			abort();
	}
	free(text);
	return 0;
}
