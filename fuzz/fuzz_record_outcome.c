/*
 * Any bytes are refused, or are an outcome that stays what it is when it is encoded and decoded
 * again. Its bytes may differ: messages are cleaned on their way in. Seeds: make-ipc-seeds.
 */
#include <stdlib.h>
#include <string.h>

#include "wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_steps(const struct error *error)
{
	size_t used = 0;

	for (size_t i = 0; i < error->steps; i++)
		used += strlen(error_step(error, i)) + 1;
	if (used != error->used || error_step(error, error->steps))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[RECORD_OUTCOME_MAX];
	struct record_outcome outcome, again;
	size_t encoded;

	if (record_outcome_decode(data, size, &outcome) != SIMPLER_OK)
		return 0;
	check_steps(&outcome.error);
	encoded = record_outcome_encode(&outcome, bytes, sizeof(bytes));
	if (encoded == 0 || record_outcome_decode(bytes, encoded, &again) != SIMPLER_OK)
		abort();
	if (again.token != outcome.token || again.error.status != outcome.error.status ||
	    again.error.steps != outcome.error.steps || again.error.used != outcome.error.used ||
	    memcmp(again.error.text, outcome.error.text, outcome.error.used) != 0)
		abort();
	return 0;
}
