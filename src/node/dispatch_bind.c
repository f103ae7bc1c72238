#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/error.h"
#include "node/dispatch.h"

static bool is_output(simpler_tag tag)
{
	return tag == SIMPLER_OUTPUT || tag == SIMPLER_INOUT || tag == SIMPLER_OUTPUT_EXISTING;
}

/* The decoder has seen to it that this does not overflow. */
static uint64_t shape_bytes(const struct msg_shape *shape)
{
	uint64_t nbytes = simpler_dtype_size(shape->dtype);

	for (uint32_t i = 0; i < shape->ndim; i++)
		nbytes *= (uint64_t)shape->shape[i];
	return nbytes;
}

/* Place an inline tensor behind `*used` bytes of scratch storage, not knowing yet where that is. */
static simpler_status place_inline(struct bound_tensor *tensor, uint64_t *used)
{
	/* The decoder bounds bytes that came; an output may claim more without sending any. */
	if (tensor->nbytes > SIMPLER_INLINE_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   "an inline tensor of %llu bytes; at most %zu travel inline, "
		                   "store more with AllocTensor and send its handle",
		                   (unsigned long long)tensor->nbytes, SIMPLER_INLINE_MAX);
	tensor->offset = *used;
	*used += (tensor->nbytes + POOL_ALIGNMENT - 1) & ~(uint64_t)(POOL_ALIGNMENT - 1);
	return SIMPLER_OK;
}

static simpler_status pin(struct node *node, uint64_t session, const struct msg_tensor_ref *ref,
                          struct pool_view *out)
{
	enum pool_access access = is_output(ref->shape.tag) ? POOL_WRITE : POOL_READ;
	simpler_status status = node_check_handle(node, &ref->handle);

	if (status != SIMPLER_OK)
		return status;
	return pool_pin(node->pool, session, ref->handle.handle_id, access, out);
}

static simpler_status bind_handle(struct node *node, uint64_t session,
                                  const struct msg_tensor_ref *ref, struct bound_tensor *tensor)
{
	struct pool_view view;
	simpler_status status = pin(node, session, ref, &view);

	if (status != SIMPLER_OK)
		return status;
	tensor->handle = view.handle;
	tensor->segment = view.segment;
	tensor->offset = view.offset + ref->offset;
	tensor->view_offset = ref->offset;
	if (ref->offset + tensor->nbytes > view.nbytes)
		return error_raise(SIMPLER_EINVAL,
		                   "its shape takes %llu bytes from offset %llu on, and the "
		                   "storage has %llu",
		                   (unsigned long long)tensor->nbytes,
		                   (unsigned long long)ref->offset,
		                   (unsigned long long)view.nbytes);
	if (ref->offset % simpler_dtype_size(tensor->shape.dtype) != 0)
		return error_raise(
			SIMPLER_EINVAL, "its offset of %llu is no multiple of the %zu bytes of %s",
			(unsigned long long)ref->offset, simpler_dtype_size(tensor->shape.dtype),
			simpler_dtype_name(tensor->shape.dtype));
	return SIMPLER_OK;
}

static simpler_status bind_all(struct node *node, uint64_t session,
                               const struct msg_dispatch *request, struct bound_tensors *out,
                               uint64_t *scratch_bytes)
{
	simpler_status status = SIMPLER_OK;

	while (out->count < request->tensor_count && status == SIMPLER_OK) {
		const struct msg_tensor_ref *ref = &request->tensors[out->count];
		struct bound_tensor *tensor = &out->tensors[out->count++];

		tensor->handle = 0;
		tensor->segment = POOL_MAIN_SEGMENT;
		tensor->bytes = NULL;
		tensor->view_offset = 0;
		tensor->shape = ref->shape;
		tensor->nbytes = shape_bytes(&ref->shape);
		status = ref->is_handle ? bind_handle(node, session, ref, tensor)
		                        : place_inline(tensor, scratch_bytes);
	}
	return status == SIMPLER_OK
	               ? SIMPLER_OK
	               : error_context("tensor_refs[%u] cannot be used", out->count - 1);
}

/* Give inline tensors their place in the pool, and the bytes that came with them. What is only
 * written stays as the pool hands it out, all zero, whatever a client sent along. */
static simpler_status fill_scratch(struct node *node, const struct msg_dispatch *request,
                                   struct bound_tensors *out, uint64_t scratch_bytes)
{
	struct pool_view view;
	simpler_status status;

	if (scratch_bytes == 0)
		return SIMPLER_OK;
	status = pool_alloc_scratch(node->pool, scratch_bytes, &view);
	if (status != SIMPLER_OK)
		return status;
	out->scratch = view.handle;
	for (uint32_t i = 0; i < out->count; i++) {
		const struct msg_tensor_ref *ref = &request->tensors[i];
		struct bound_tensor *tensor = &out->tensors[i];
		bool only_written = is_output(ref->shape.tag) && ref->shape.tag != SIMPLER_INOUT;

		if (tensor->handle != 0)
			continue;
		tensor->segment = view.segment;
		tensor->bytes = view.bytes + tensor->offset;
		tensor->offset += view.offset;
		if (!only_written && tensor->nbytes > 0)
			memcpy(tensor->bytes, ref->inline_data.data, (size_t)tensor->nbytes);
	}
	return SIMPLER_OK;
}

static void write_records(const struct bound_tensors *bound, struct record_task *task)
{
	task->tensor_count = bound->count;
	for (uint32_t i = 0; i < bound->count; i++) {
		const struct bound_tensor *from = &bound->tensors[i];
		struct record_tensor *to = &task->tensors[i];

		*to = (struct record_tensor){ .segment = from->segment,
			                      .dtype = (uint8_t)from->shape.dtype,
			                      .tag = (uint8_t)from->shape.tag,
			                      .ndim = (uint8_t)from->shape.ndim,
			                      .offset = from->offset,
			                      .nbytes = from->nbytes };
		memcpy(to->shape, from->shape.shape, from->shape.ndim * sizeof(to->shape[0]));
	}
}

simpler_status bind_tensors(struct node *node, uint64_t session, const struct msg_dispatch *request,
                            struct bound_tensors *out, struct record_task *task)
{
	uint64_t scratch_bytes = 0;
	simpler_status status;

	out->scratch = 0;
	out->count = 0;
	status = bind_all(node, session, request, out, &scratch_bytes);
	if (status == SIMPLER_OK)
		status = fill_scratch(node, request, out, scratch_bytes);
	if (status == SIMPLER_OK)
		write_records(out, task);
	else
		unbind_tensors(node, out);
	return status;
}

void unbind_tensors(struct node *node, struct bound_tensors *bound)
{
	for (uint32_t i = 0; i < bound->count; i++) {
		if (bound->tensors[i].handle != 0)
			pool_unpin(node->pool, bound->tensors[i].handle);
	}
	if (bound->scratch != 0)
		pool_unpin(node->pool, bound->scratch);
	bound->count = 0;
	bound->scratch = 0;
}

void bound_outputs(struct node *node, struct bound_tensors *bound, struct msg_outcome *out)
{
	out->output_count = 0;
	for (uint32_t i = 0; i < bound->count; i++) {
		struct bound_tensor *tensor = &bound->tensors[i];
		struct msg_tensor_ref *ref = &out->outputs[out->output_count];

		if (!is_output(tensor->shape.tag))
			continue;
		out->output_count++;
		ref->shape = tensor->shape;
		ref->offset = tensor->view_offset;
		ref->is_handle = tensor->handle != 0;
		if (ref->is_handle)
			(void)node_keep_handle(node, tensor->handle, &tensor->places, &ref->handle);
		else
			ref->inline_data = (simpler_bytes){ tensor->bytes, (size_t)tensor->nbytes };
	}
}
