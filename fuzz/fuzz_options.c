/* The daemon's command line, one word a line. A nonsensical one is refused with a message. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/address.h"
#include "node/options.h"

#define MAX_WORDS 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *argv[MAX_WORDS + 2], *rest = NULL;
	enum options_action action;
	struct options options;
	int count = 1;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	argv[0] = (char *)(uintptr_t) "simpler-l3d";
	for (char *word = strtok_r(text, "\n", &rest); word && count <= MAX_WORDS;
	     word = strtok_r(NULL, "\n", &rest))
		argv[count++] = word;
	argv[count] = NULL;
	if (options_parse(count, argv, &options, &action) != SIMPLER_OK) {
		if (simpler_last_error()[0] == '\0')
			abort();
	} else if (action == OPTIONS_RUN) {
		/* What was accepted is within its limits. */
		bool default_workers = options.sub_workers == OPTIONS_PROCESSORS;

		if ((!default_workers && (options.sub_workers + options.chips > 256 ||
		                          options.sub_workers + options.chips == 0)) ||
		    options.chips > OPTIONS_CHIPS_MAX || options.device[0] == '\0' ||
		    options.heap_bytes < OPTIONS_POOL_MIN ||
		    options.heap_bytes > OPTIONS_POOL_MAX ||
		    options.pool_bytes < OPTIONS_POOL_MIN ||
		    options.pool_bytes > OPTIONS_POOL_MAX ||
		    address_classify(options.listen) == ADDRESS_INVALID ||
		    options.code > POLICY_ANY ||
		    (options.code == POLICY_SIGNED && !options.trust) ||
		    (address_classify(options.listen) == ADDRESS_OTHERS && !options.insecure))
			abort();
	}
	free(text);
	return 0;
}
