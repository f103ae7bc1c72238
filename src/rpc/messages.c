/*
 * Health and the messages of the tensor pool that the contract began with; the others are in
 * messages_catalog.c, messages_dispatch.c and messages_grant.c. protobuf-c knows what a message of
 * the type may look like; everything here is what it does not know.
 */
#include "rpc/messages.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "rpc/codec.h"
#include "rpc/messages_tensor.h"

/* Its C name is long: Simpler__Distributed__V1__Health. */
#define PB(name)           Simpler__Distributed__V1__##name
#define PB_TYPE(name)      (&simpler__distributed__v1__##name##__descriptor)
#define PB_INIT(name, out) simpler__distributed__v1__##name##__init(out)

simpler_status msg_empty_encode(struct rpc_buffer *out)
{
	return rpc_buffer_alloc(out, 0);
}

simpler_status msg_health_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                 struct msg_health *out)
{
	PB(Health) *message = codec_unpack(PB_TYPE(health), bytes, size, bump);

	if (!message)
		return SIMPLER_EINVAL;
	*out = (struct msg_health){ message->ok != 0, message->message };
	return take_text(message->message, MSG_TEXT_MAX, "message");
}

simpler_status msg_health_encode(const struct msg_health *health, struct rpc_buffer *out)
{
	PB(Health) message;
	struct bump bump;
	simpler_status status;

	bump_init(&bump, MSG_TEXT_MAX + 1);
	PB_INIT(health, &message);
	message.ok = health->ok;
	message.message = put_text(health->message, &bump);
	status = codec_pack(&message.base, out);
	bump_release(&bump);
	return status;
}

simpler_status msg_handle_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                 struct msg_handle *out)
{
	pb_handle *message = codec_unpack(PB_TYPE(tensor_handle), bytes, size, bump);

	return message ? take_handle(message, "handle", out) : SIMPLER_EINVAL;
}

simpler_status msg_handle_encode(const struct msg_handle *handle, struct rpc_buffer *out)
{
	struct handle_room message;

	return codec_pack(&put_handle(handle, &message)->base, out);
}

simpler_status msg_chunk_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                struct msg_chunk *out)
{
	PB(TensorChunk) *message = codec_unpack(PB_TYPE(tensor_chunk), bytes, size, bump);
	uint64_t end;

	if (!message)
		return SIMPLER_EINVAL;
	if (!checked_add(message->offset, message->data.len, &end))
		return error_raise(SIMPLER_EINVAL,
		                   "offset %" PRIu64 " with %zu bytes of data goes past 2^64",
		                   message->offset, message->data.len);
	*out = (struct msg_chunk){
		.has_handle = message->handle != NULL,
		.offset = message->offset,
		.data = take_bytes(message->data),
		.last = message->last != 0,
		.has_span = message->span != NULL,
	};
	if (message->span && take_span(message->span, &out->span) != SIMPLER_OK)
		return SIMPLER_EINVAL;
	return out->has_handle ? take_handle(message->handle, "handle", &out->handle) : SIMPLER_OK;
}

/* The field's number and type, 3 and bytes, then how many: at most 10 bytes. */
#define DATA_TAG       0x1a
#define DATA_FRAME_MAX 11

static size_t put_data_frame(size_t size, uint8_t *out)
{
	size_t used = 0;

	out[used++] = DATA_TAG;
	for (; size > 127; size >>= 7)
		out[used++] = (uint8_t)(size | 128);
	out[used++] = (uint8_t)size;
	return used;
}

simpler_status msg_chunk_frame(const struct msg_chunk *chunk, size_t size, struct rpc_buffer *out,
                               uint8_t **data)
{
	PB(TensorChunk) message;
	struct handle_room handle;
	pb_span span;
	uint8_t frame[DATA_FRAME_MAX];
	size_t head, frame_size = size > 0 ? put_data_frame(size, frame) : 0;
	simpler_status status;

	PB_INIT(tensor_chunk, &message);
	if (chunk->has_handle)
		message.handle = put_handle(&chunk->handle, &handle);
	message.offset = chunk->offset;
	message.last = chunk->last;
	if (chunk->has_span)
		message.span = put_span(&chunk->span, &span);
	head = protobuf_c_message_get_packed_size(&message.base);
	status = rpc_buffer_alloc(out, head + frame_size + size);
	if (status != SIMPLER_OK)
		return status;
	(void)protobuf_c_message_pack(&message.base, out->data);
	memcpy(out->data + head, frame, frame_size);
	*data = out->data + head + frame_size;
	return SIMPLER_OK;
}

simpler_status msg_chunk_encode(const struct msg_chunk *chunk, struct rpc_buffer *out)
{
	uint8_t *data;
	simpler_status status = msg_chunk_frame(chunk, chunk->data.size, out, &data);

	if (status == SIMPLER_OK && chunk->data.size > 0)
		memcpy(data, chunk->data.data, chunk->data.size);
	return status;
}

simpler_status msg_alloc_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                struct msg_alloc *out)
{
	PB(TensorAllocReq) *message = codec_unpack(PB_TYPE(tensor_alloc_req), bytes, size, bump);
	simpler_status status;
	uint64_t nbytes;

	if (!message)
		return SIMPLER_EINVAL;
	out->nbytes = message->nbytes;
	out->ttl_ms = message->ttl_ms;
	status = take_shape(message->shape, message->n_shape, message->dtype, message->tag,
	                    &out->shape, &nbytes);
	if (status == SIMPLER_OK && message->n_shape > 0 && nbytes > message->nbytes)
		return error_raise(SIMPLER_EINVAL,
		                   "shape takes %" PRIu64 " bytes, more than nbytes, %" PRIu64,
		                   nbytes, message->nbytes);
	return status;
}

simpler_status msg_alloc_encode(const struct msg_alloc *alloc, struct rpc_buffer *out)
{
	PB(TensorAllocReq) message;

	assert(alloc->shape.ndim <= SIMPLER_MAX_DIMS);
	PB_INIT(tensor_alloc_req, &message);
	message.nbytes = alloc->nbytes;
	message.ttl_ms = alloc->ttl_ms;
	message.n_shape = alloc->shape.ndim;
	message.shape = (int64_t *)alloc->shape.shape;
	message.dtype = (int32_t)alloc->shape.dtype;
	message.tag = (int32_t)alloc->shape.tag;
	return codec_pack(&message.base, out);
}

simpler_status msg_free_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                               struct msg_handle *out)
{
	PB(TensorFreeReq) *message = codec_unpack(PB_TYPE(tensor_free_req), bytes, size, bump);

	return message ? take_handle(message->handle, "handle", out) : SIMPLER_EINVAL;
}

simpler_status msg_free_encode(const struct msg_handle *handle, struct rpc_buffer *out)
{
	PB(TensorFreeReq) message;
	struct handle_room inner;

	PB_INIT(tensor_free_req, &message);
	message.handle = put_handle(handle, &inner);
	return codec_pack(&message.base, out);
}

simpler_status msg_refresh_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                  struct msg_refresh *out)
{
	PB(TensorRefreshReq) *message =
		codec_unpack(PB_TYPE(tensor_refresh_req), bytes, size, bump);

	if (!message)
		return SIMPLER_EINVAL;
	out->ttl_ms = message->ttl_ms;
	return take_handle(message->handle, "handle", &out->handle);
}

simpler_status msg_refresh_encode(const struct msg_refresh *refresh, struct rpc_buffer *out)
{
	PB(TensorRefreshReq) message;
	struct handle_room inner;

	PB_INIT(tensor_refresh_req, &message);
	message.handle = put_handle(&refresh->handle, &inner);
	message.ttl_ms = refresh->ttl_ms;
	return codec_pack(&message.base, out);
}
