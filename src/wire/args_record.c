#include "wire/args.h"

#include <inttypes.h>
#include <string.h>

#include "wire/tensor.h"

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
                             const struct tensor_footprint *footprint,
                             const struct memory_segment *segments, size_t count, void **data)
{
	const struct memory_segment *segment = find_segment(segments, count, record->segment);
	uint64_t first = record->offset - footprint->before;

	if (!segment)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "it lies in memory segment %" PRIu32 ", which is not mapped",
		                   record->segment);
	if (record->offset < footprint->before)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "it begins %" PRIu64 " bytes before its offset of %" PRIu64,
		                   footprint->before, record->offset);
	if (first > segment->bytes || footprint->span > segment->bytes - first)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "its %" PRIu64 " bytes at %" PRIu64
		                   " are not within the %" PRIu64 " of memory segment %" PRIu32,
		                   footprint->span, first, segment->bytes, segment->id);
	*data = segment->base + record->offset;
	return SIMPLER_OK;
}

static simpler_status make_view(const struct record_tensor *record,
                                const struct memory_segment *segments, size_t count,
                                simpler_tensor *out)
{
	struct tensor_footprint footprint = { .span = record->nbytes };
	uint64_t nbytes;
	simpler_status status = tensor_describe(out, (simpler_dtype)record->dtype, record->ndim,
	                                        record->shape, &nbytes);

	if (status || nbytes != record->nbytes)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "its shape does not make its %" PRIu64 " bytes", record->nbytes);
	if (record->strided) {
		memcpy(out->strides, record->strides, out->ndim * sizeof(out->strides[0]));
		if (tensor_footprint(out, &footprint))
			return error_raise(SIMPLER_EPROTOCOL, "its strides span more than 63 bits");
	}
	return nbytes == 0 ? SIMPLER_OK : locate(record, &footprint, segments, count, &out->data);
}

simpler_status args_from_record(simpler_args *args, const struct record_task *task,
                                const struct memory_segment *segments, size_t segment_count)
{
	simpler_args_reset(args);
	for (uint32_t i = 0; i < task->tensor_count; i++) {
		const struct record_tensor *record = &task->tensors[i];
		simpler_status status =
			make_view(record, segments, segment_count, &args->tensors[i]);

		if (status)
			return error_context("tensor %" PRIu32 " of the task", i);
		args->tags[i] = (simpler_tag)record->tag;
		args->backings[i] = SIMPLER_SHARED;
		args->made[i] = NULL;
	}
	if (task->scalar_count > 0)
		memcpy(args->scalars, task->scalars, task->scalar_count * sizeof(uint64_t));
	args->tensor_count = task->tensor_count;
	args->scalar_count = task->scalar_count;
	return SIMPLER_OK;
}
