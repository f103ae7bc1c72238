#include "wire/args.h"

#include <inttypes.h>
#include <string.h>

static const struct memory_segment *find_segment(const struct memory_segment *segments,
                                                 size_t count, uint32_t id)
{
	for (size_t i = 0; i < count; i++) {
		if (segments[i].id == id)
			return &segments[i];
	}
	return NULL;
}

static simpler_status locate(const struct record_tensor *record,
                             const struct memory_segment *segments, size_t count, void **data)
{
	const struct memory_segment *segment;

	*data = NULL;
	if (record->nbytes == 0)
		return SIMPLER_OK;
	segment = find_segment(segments, count, record->segment);
	if (!segment)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "it lies in memory segment %" PRIu32 ", which is not mapped",
		                   record->segment);
	if (record->offset > segment->bytes || record->nbytes > segment->bytes - record->offset)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "its %" PRIu64 " bytes at %" PRIu64
		                   " are not within the %" PRIu64 " of memory segment %" PRIu32,
		                   record->nbytes, record->offset, segment->bytes, segment->id);
	*data = segment->base + record->offset;
	return SIMPLER_OK;
}

static simpler_status make_view(const struct record_tensor *record, void *data, simpler_tensor *out)
{
	/* An empty tensor needs no address, one whose size is a lie does: the lie is the error. */
	static char nowhere;
	simpler_status status =
		simpler_tensor_init(out, data ? data : &nowhere, (simpler_dtype)record->dtype,
	                            record->ndim, record->shape);

	if (status || simpler_tensor_bytes(out) != record->nbytes)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "its shape does not make its %" PRIu64 " bytes", record->nbytes);
	out->data = data;
	return SIMPLER_OK;
}

simpler_status args_from_record(simpler_args *args, const struct record_task *task,
                                const struct memory_segment *segments, size_t segment_count)
{
	simpler_args_reset(args);
	for (uint32_t i = 0; i < task->tensor_count; i++) {
		const struct record_tensor *record = &task->tensors[i];
		void *data;
		simpler_status status = locate(record, segments, segment_count, &data);

		if (!status)
			status = make_view(record, data, &args->tensors[i]);
		if (status)
			return error_context("tensor %" PRIu32 " of the task", i);
		args->tags[i] = (simpler_tag)record->tag;
		args->backings[i] = SIMPLER_SHARED;
	}
	if (task->scalar_count > 0)
		memcpy(args->scalars, task->scalars, task->scalar_count * sizeof(uint64_t));
	args->tensor_count = task->tensor_count;
	args->scalar_count = task->scalar_count;
	return SIMPLER_OK;
}
