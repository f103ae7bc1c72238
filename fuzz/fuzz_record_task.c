/* Any bytes are refused, or are what encoding their task, stop or forget gives; and arguments are
 * made of a task only within its segments. Seeds: make-ipc-seeds. */
#include <stdlib.h>
#include <string.h>

#include "wire/args.h"
#include "wire/tensor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[RECORD_TASK_MAX];

static void same(size_t encoded, const uint8_t *data, size_t size)
{
	if (encoded != size || memcmp(again, data, size) != 0)
		abort();
}

static void bind(const struct record_task *task)
{
	static uint8_t memory[4096];
	static const struct memory_segment segment = { 1, memory, sizeof(memory) };
	struct simpler_args args;

	if (args_from_record(&args, task, &segment, 1) != SIMPLER_OK)
		return;
	for (uint32_t i = 0; i < args.tensor_count; i++) {
		const simpler_tensor *tensor = &args.tensors[i];
		struct tensor_footprint footprint;

		if (tensor_footprint(tensor, &footprint) != SIMPLER_OK)
			abort();
		if (footprint.span > 0 &&
		    ((size_t)((uint8_t *)tensor->data - memory) < footprint.before ||
		     footprint.span - footprint.before >
		             sizeof(memory) - (size_t)((uint8_t *)tensor->data - memory)))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record_task task;
	struct record_stop stop;
	struct record_forget forget;

	if (record_task_decode(data, size, &task) == SIMPLER_OK) {
		same(record_task_encode(&task, again, sizeof(again)), data, size);
		bind(&task);
	}
	if (record_stop_decode(data, size, &stop) == SIMPLER_OK)
		same(record_stop_encode(&stop, again, sizeof(again)), data, size);
	if (record_forget_decode(data, size, &forget) == SIMPLER_OK)
		same(record_forget_encode(&forget, again, sizeof(again)), data, size);
	return 0;
}
