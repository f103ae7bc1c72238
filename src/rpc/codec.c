/*
 * protobuf-c over a bump allocator.
 *
 * protobuf-c allocates 40 bytes for each field it finds before it looks at their values, so a
 * message of two-byte fields takes twenty times its size; the allocator's limit is what stops it.
 * It takes NULL from the allocator for failure, and frees nothing that outlives the allocator.
 */
#include "rpc/codec.h"

#include "base/error.h"

static void *take(void *bump, size_t size)
{
	return bump_alloc(bump, size);
}

static void give_back(void *bump, void *memory)
{
	(void)bump;
	(void)memory;
}

void *codec_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size,
                   struct bump *bump)
{
	ProtobufCAllocator allocator = { take, give_back, bump };
	ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, size, bytes);

	if (!message)
		error_raise(SIMPLER_EINVAL,
		            "these %zu bytes are no %s, or one with far too many fields", size,
		            type->short_name);
	return message;
}

simpler_status codec_pack(const ProtobufCMessage *message, struct rpc_buffer *out)
{
	simpler_status status = rpc_buffer_alloc(out, protobuf_c_message_get_packed_size(message));

	if (status == SIMPLER_OK)
		protobuf_c_message_pack(message, out->data);
	return status;
}
