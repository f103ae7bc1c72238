/* Any bytes are refused, or are what encoding their task gives. Seeds: make-ipc-seeds. */
#include <stdlib.h>
#include <string.h>

#include "wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t again[RECORD_TASK_MAX];
	struct record_task task;

	if (record_task_decode(data, size, &task) != SIMPLER_OK)
		return 0;
	if (record_task_encode(&task, again, sizeof(again)) != size)
		abort();
	if (memcmp(again, data, size) != 0)
		abort();
	return 0;
}
