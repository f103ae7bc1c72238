#include "rpc/messages_tensor.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "rpc/utf8.h"
#include "wire/fabric.h"
#include "wire/shm.h"

simpler_status take_text(const char *text, size_t limit, const char *field)
{
	size_t size = strlen(text);

	if (size > limit)
		return error_raise(SIMPLER_EINVAL, "%s has %zu bytes; at most %zu are allowed",
		                   field, size, limit);
	if (!utf8_valid(text))
		return error_raise(SIMPLER_EINVAL, "%s is not UTF-8", field);
	return SIMPLER_OK;
}

char *put_text(const char *text, struct bump *bump)
{
	size_t size = text ? strlen(text) : 0;
	char *copy;

	if (size > MSG_TEXT_MAX)
		size = MSG_TEXT_MAX;
	copy = bump_alloc(bump, size + 1);
	if (!copy)
		return (char *)"";
	if (size > 0)
		memcpy(copy, text, size);
	copy[size] = '\0';
	utf8_clean(copy);
	return copy;
}

simpler_bytes take_bytes(ProtobufCBinaryData bytes)
{
	return (simpler_bytes){ bytes.data, bytes.len };
}

ProtobufCBinaryData put_bytes(simpler_bytes bytes)
{
	return (ProtobufCBinaryData){ bytes.size, (uint8_t *)bytes.data };
}

/* --- handles --- */

static simpler_status check_desc(ProtobufCBinaryData desc)
{
	if (desc.len <= MSG_TRANSPORT_DESC_MAX)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL,
	                   "a handle's transport_desc has %zu bytes; at most %d are allowed",
	                   desc.len, MSG_TRANSPORT_DESC_MAX);
}

/* The first that we know; others are of no use, and no error. */
static simpler_status take_also(const pb_handle *message, struct msg_handle *out)
{
	for (size_t i = 0; i < message->n_also; i++) {
		const pb_place *place = message->also[i];
		simpler_status status =
			take_text(place->transport, MSG_TRANSPORT_MAX, "a handle's transport");

		if (status == SIMPLER_OK)
			status = check_desc(place->desc);
		if (status != SIMPLER_OK)
			return status;
		if (out->also[0] != '\0' || (strcmp(place->transport, FABRIC_TRANSPORT) != 0 &&
		                             strcmp(place->transport, SHM_TRANSPORT) != 0))
			continue;
		memcpy(out->also, place->transport, strlen(place->transport) + 1);
		out->also_desc = take_bytes(place->desc);
	}
	return SIMPLER_OK;
}

simpler_status take_handle(const pb_handle *message, const char *field, struct msg_handle *out)
{
	simpler_status status;

	if (!message)
		return error_raise(SIMPLER_EINVAL, "%s is missing", field);
	status = take_text(message->node_id, MSG_NODE_ID_MAX, "a handle's node_id");
	if (status == SIMPLER_OK)
		status = take_text(message->transport, MSG_TRANSPORT_MAX, "a handle's transport");
	if (status != SIMPLER_OK)
		return status;
	status = check_desc(message->transport_desc);
	if (status != SIMPLER_OK)
		return status;
	*out = (struct msg_handle){
		.handle_id = message->handle_id,
		.nbytes = message->nbytes,
		.lease_deadline_unix_ms = message->lease_deadline_unix_ms,
		.transport_desc = take_bytes(message->transport_desc),
	};
	memcpy(out->node_id, message->node_id, strlen(message->node_id) + 1);
	memcpy(out->transport, message->transport, strlen(message->transport) + 1);
	return take_also(message, out);
}

pb_handle *put_handle(const struct msg_handle *handle, struct handle_room *room)
{
	pb_handle *out = &room->handle;

	simpler__distributed__v1__tensor_handle__init(out);
	out->node_id = (char *)handle->node_id;
	out->handle_id = handle->handle_id;
	out->nbytes = handle->nbytes;
	out->lease_deadline_unix_ms = handle->lease_deadline_unix_ms;
	out->transport = (char *)handle->transport;
	out->transport_desc = put_bytes(handle->transport_desc);
	if (handle->also[0] != '\0') {
		simpler__distributed__v1__tensor_place__init(&room->also);
		room->also.transport = (char *)handle->also;
		room->also.desc = put_bytes(handle->also_desc);
		room->places[0] = &room->also;
		out->n_also = 1;
		out->also = room->places;
	}
	return out;
}

/* --- shapes --- */

/* Bytes of a shape. As everywhere else (wire/tensor.c), an extent of 0 makes a tensor empty, and
 * does not excuse extents that are too large without it. */
static bool measure(const int64_t *shape, size_t ndim, uint64_t element, uint64_t *nbytes)
{
	uint64_t span = element;
	bool empty = false;

	for (size_t i = 0; i < ndim; i++) {
		empty = empty || shape[i] == 0;
		if (!checked_mul(span, shape[i] ? (uint64_t)shape[i] : 1, &span) ||
		    span > INT64_MAX)
			return false;
	}
	*nbytes = empty ? 0 : span;
	return true;
}

simpler_status take_shape(const int64_t *shape, size_t ndim, int32_t dtype, int32_t tag,
                          struct msg_shape *out, uint64_t *nbytes)
{
	size_t element = simpler_dtype_size((simpler_dtype)dtype);

	if (ndim > SIMPLER_MAX_DIMS)
		return error_raise(SIMPLER_EINVAL,
		                   "shape has %zu dimensions; at most %d are allowed", ndim,
		                   SIMPLER_MAX_DIMS);
	if (element == 0)
		return error_raise(SIMPLER_EINVAL, "dtype %" PRId32 " is none that we know", dtype);
	if (tag < SIMPLER_INPUT || tag > SIMPLER_NO_DEP)
		return error_raise(SIMPLER_EINVAL, "tag %" PRId32 " is none that we know", tag);
	*out = (struct msg_shape){ .ndim = (uint32_t)ndim,
		                   .dtype = (simpler_dtype)dtype,
		                   .tag = (simpler_tag)tag };
	for (size_t i = 0; i < ndim; i++) {
		if (shape[i] < 0)
			return error_raise(SIMPLER_EINVAL, "shape[%zu] is negative: %" PRId64, i,
			                   shape[i]);
		out->shape[i] = shape[i];
	}
	if (!measure(shape, ndim, element, nbytes))
		return error_raise(SIMPLER_EINVAL, "shape describes more than 2^63-1 bytes");
	return SIMPLER_OK;
}

/* --- references --- */

/* Whether so many inline bytes are right for the shape. */
static simpler_status check_inline(const struct msg_tensor_ref *ref, uint64_t nbytes)
{
	size_t size = ref->inline_data.size;
	bool only_written =
		ref->shape.tag == SIMPLER_OUTPUT || ref->shape.tag == SIMPLER_OUTPUT_EXISTING;

	if (size > SIMPLER_INLINE_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   "inline_data has %zu bytes; at most %zu travel inline, store "
		                   "more with AllocTensor and PushTensor and send its handle",
		                   size, SIMPLER_INLINE_MAX);
	if (size != nbytes && !(size == 0 && only_written))
		return error_raise(SIMPLER_EINVAL,
		                   "inline_data has %zu bytes, but a shape of %" PRIu32
		                   " dimensions of %s takes %" PRIu64,
		                   size, ref->shape.ndim, simpler_dtype_name(ref->shape.dtype),
		                   nbytes);
	return SIMPLER_OK;
}

/* `out` knows whether it is a handle. */
static simpler_status take_offset(uint64_t offset, uint64_t nbytes, struct msg_tensor_ref *out)
{
	uint64_t end;

	if (offset > 0 && !out->is_handle)
		return error_raise(SIMPLER_EINVAL,
		                   "offset is %" PRIu64 " without a handle; only a view of stored "
		                   "bytes has one",
		                   offset);
	if (!checked_add(offset, nbytes, &end) || end > INT64_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   "offset %" PRIu64 " with %" PRIu64 " bytes goes past 2^63-1",
		                   offset, nbytes);
	out->offset = offset;
	return SIMPLER_OK;
}

simpler_status check_ref(struct msg_tensor_ref *ref, uint64_t offset, uint64_t nbytes)
{
	simpler_status status = take_offset(offset, nbytes, ref);

	return status == SIMPLER_OK && !ref->is_handle ? check_inline(ref, nbytes) : status;
}

static simpler_status take_source(const pb_ref *message, struct msg_tensor_ref *out)
{
	simpler_status status;
	uint64_t nbytes;

	*out = (struct msg_tensor_ref){ .is_handle = false };
	status = take_shape(message->shape, message->n_shape, message->dtype, message->tag,
	                    &out->shape, &nbytes);
	if (status != SIMPLER_OK)
		return status;
	out->is_handle =
		message->source_case == SIMPLER__DISTRIBUTED__V1__TENSOR_REF__SOURCE_HANDLE;
	if (message->landed > 0 && !out->is_handle)
		return error_raise(SIMPLER_EINVAL, "landed is %" PRIu32 " without a handle",
		                   message->landed);
	out->landed = message->landed;
	if (message->source_case == SIMPLER__DISTRIBUTED__V1__TENSOR_REF__SOURCE_INLINE_DATA)
		out->inline_data = take_bytes(message->inline_data);
	status = check_ref(out, message->offset, nbytes);
	if (status == SIMPLER_OK && out->is_handle)
		status = take_handle(message->handle, "handle", &out->handle);
	return status;
}

simpler_status take_ref(const pb_ref *message, const char *kind, size_t index,
                        struct msg_tensor_ref *out)
{
	simpler_status status = take_source(message, out);

	return status == SIMPLER_OK ? status : error_context("%s[%zu] cannot be used", kind, index);
}

void put_ref(const struct msg_tensor_ref *ref, struct handle_room *handle, pb_ref *out)
{
	assert(ref->shape.ndim <= SIMPLER_MAX_DIMS);
	simpler__distributed__v1__tensor_ref__init(out);
	if (ref->is_handle) {
		out->source_case = SIMPLER__DISTRIBUTED__V1__TENSOR_REF__SOURCE_HANDLE;
		out->handle = put_handle(&ref->handle, handle);
		out->offset = ref->offset;
		out->landed = ref->landed;
	} else if (ref->inline_data.size > 0) {
		out->source_case = SIMPLER__DISTRIBUTED__V1__TENSOR_REF__SOURCE_INLINE_DATA;
		out->inline_data = put_bytes(ref->inline_data);
	}
	out->n_shape = ref->shape.ndim;
	out->shape = (int64_t *)ref->shape.shape;
	out->dtype = (int32_t)ref->shape.dtype;
	out->tag = (int32_t)ref->shape.tag;
}
