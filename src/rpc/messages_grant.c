/* The messages of ranges, of grants and imports, and of the fabric. */
#include <string.h>

#include "base/error.h"
#include "rpc/codec.h"
#include "rpc/messages_tensor.h"

#define PB(name)           Simpler__Distributed__V1__##name
#define PB_TYPE(name)      (&simpler__distributed__v1__##name##__descriptor)
#define PB_INIT(name, out) simpler__distributed__v1__##name##__init(out)

/* --- spans --- */

simpler_status take_span(const pb_span *message, struct span *out)
{
	*out = (struct span){ message->offset, message->run_bytes, message->pitch, message->runs };
	return span_check(out);
}

pb_span *put_span(const struct span *span, pb_span *room)
{
	simpler__distributed__v1__tensor_span__init(room);
	room->offset = span->offset;
	room->run_bytes = span->run_bytes;
	room->pitch = span->pitch;
	room->runs = span->runs;
	return room;
}

/* --- reading --- */

static simpler_status check_token(ProtobufCBinaryData token)
{
	if (token.len == MSG_TOKEN_BYTES)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL, "token has %zu bytes; a grant's has %d", token.len,
	                   MSG_TOKEN_BYTES);
}

simpler_status msg_read_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                               struct msg_read *out)
{
	PB(TensorReadReq) *message = codec_unpack(PB_TYPE(tensor_read_req), bytes, size, bump);
	simpler_status status = SIMPLER_OK;

	if (!message)
		return SIMPLER_EINVAL;
	*out = (struct msg_read){ .has_span = message->span != NULL,
		                  .token = take_bytes(message->token) };
	if (message->token.len > 0)
		status = check_token(message->token);
	if (status == SIMPLER_OK)
		status = take_text(message->fabric, MSG_TRANSPORT_MAX, "fabric");
	if (status == SIMPLER_OK)
		memcpy(out->fabric, message->fabric, strlen(message->fabric) + 1);
	if (status == SIMPLER_OK && message->span)
		status = take_span(message->span, &out->span);
	return status == SIMPLER_OK ? take_handle(message->handle, "handle", &out->handle) : status;
}

simpler_status msg_read_encode(const struct msg_read *read, struct rpc_buffer *out)
{
	PB(TensorReadReq) message;
	struct handle_room handle;
	pb_span span;

	PB_INIT(tensor_read_req, &message);
	message.handle = put_handle(&read->handle, &handle);
	message.fabric = (char *)read->fabric;
	if (read->has_span)
		message.span = put_span(&read->span, &span);
	message.token = put_bytes(read->token);
	return codec_pack(&message.base, out);
}

/* --- grants --- */

simpler_status msg_export_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                 struct msg_export *out)
{
	PB(TensorExportReq) *message = codec_unpack(PB_TYPE(tensor_export_req), bytes, size, bump);

	if (!message)
		return SIMPLER_EINVAL;
	out->write = message->write != 0;
	out->ttl_ms = message->ttl_ms;
	return take_handle(message->handle, "handle", &out->handle);
}

simpler_status msg_export_encode(const struct msg_export *request, struct rpc_buffer *out)
{
	PB(TensorExportReq) message;
	struct handle_room handle;

	PB_INIT(tensor_export_req, &message);
	message.handle = put_handle(&request->handle, &handle);
	message.write = request->write;
	message.ttl_ms = request->ttl_ms;
	return codec_pack(&message.base, out);
}

static simpler_status take_grant(const PB(TensorGrant) * message, struct msg_grant *out)
{
	simpler_status status = check_token(message->token);

	if (status != SIMPLER_OK)
		return status;
	memcpy(out->token, message->token.data, sizeof(out->token));
	out->write = message->write != 0;
	return take_handle(message->handle, "a grant's handle", &out->handle);
}

static void put_grant(const struct msg_grant *grant, struct handle_room *handle,
                      PB(TensorGrant) * out)
{
	PB_INIT(tensor_grant, out);
	out->handle = put_handle(&grant->handle, handle);
	out->token = put_bytes((simpler_bytes){ grant->token, sizeof(grant->token) });
	out->write = grant->write;
}

simpler_status msg_grant_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                struct msg_grant *out)
{
	PB(TensorGrant) *message = codec_unpack(PB_TYPE(tensor_grant), bytes, size, bump);

	return message ? take_grant(message, out) : SIMPLER_EINVAL;
}

simpler_status msg_grant_encode(const struct msg_grant *grant, struct rpc_buffer *out)
{
	PB(TensorGrant) message;
	struct handle_room handle;

	put_grant(grant, &handle, &message);
	return codec_pack(&message.base, out);
}

/* --- imports --- */

simpler_status msg_import_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                 struct msg_import *out)
{
	PB(TensorImportReq) *message = codec_unpack(PB_TYPE(tensor_import_req), bytes, size, bump);
	simpler_status status;

	if (!message)
		return SIMPLER_EINVAL;
	if (!message->grant)
		return error_raise(SIMPLER_EINVAL, "grant is missing");
	status = take_text(message->address, MSG_ADDRESS_MAX, "address");
	if (status != SIMPLER_OK)
		return status;
	memcpy(out->address, message->address, strlen(message->address) + 1);
	out->ttl_ms = message->ttl_ms;
	return take_grant(message->grant, &out->grant);
}

simpler_status msg_import_encode(const struct msg_import *request, struct rpc_buffer *out)
{
	PB(TensorImportReq) message;
	PB(TensorGrant) grant;
	struct handle_room handle;

	PB_INIT(tensor_import_req, &message);
	put_grant(&request->grant, &handle, &grant);
	message.grant = &grant;
	message.address = (char *)request->address;
	message.ttl_ms = request->ttl_ms;
	return codec_pack(&message.base, out);
}

/* --- the fabric --- */

simpler_status msg_fabric_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                 struct msg_fabric *out)
{
	PB(FabricReq) *message = codec_unpack(PB_TYPE(fabric_req), bytes, size, bump);
	simpler_status status;

	if (!message)
		return SIMPLER_EINVAL;
	status = take_text(message->provider, MSG_TRANSPORT_MAX, "provider");
	if (status == SIMPLER_OK)
		memcpy(out->provider, message->provider, strlen(message->provider) + 1);
	return status;
}

simpler_status msg_fabric_encode(const struct msg_fabric *fabric, struct rpc_buffer *out)
{
	PB(FabricReq) message;

	PB_INIT(fabric_req, &message);
	message.provider = (char *)fabric->provider;
	return codec_pack(&message.base, out);
}

static simpler_status take_fabric_address(ProtobufCBinaryData address, simpler_bytes *out)
{
	if (address.len == 0 || address.len > MSG_FABRIC_ADDRESS_MAX)
		return error_raise(SIMPLER_EINVAL, "address has %zu bytes; 1 to %d can be",
		                   address.len, MSG_FABRIC_ADDRESS_MAX);
	*out = take_bytes(address);
	return SIMPLER_OK;
}

simpler_status msg_fabric_joined_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                        struct msg_fabric_joined *out)
{
	PB(FabricResp) *message = codec_unpack(PB_TYPE(fabric_resp), bytes, size, bump);

	if (!message)
		return SIMPLER_EINVAL;
	return take_fabric_address(message->address, &out->address);
}

simpler_status msg_fabric_joined_encode(const struct msg_fabric_joined *joined,
                                        struct rpc_buffer *out)
{
	PB(FabricResp) message;

	PB_INIT(fabric_resp, &message);
	message.address = put_bytes(joined->address);
	return codec_pack(&message.base, out);
}

simpler_status msg_fabric_end_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                     struct msg_fabric_end *out)
{
	PB(FabricEnd) *message = codec_unpack(PB_TYPE(fabric_end), bytes, size, bump);
	simpler_status status;

	if (!message)
		return SIMPLER_EINVAL;
	status = take_text(message->provider, MSG_TRANSPORT_MAX, "provider");
	if (status != SIMPLER_OK)
		return status;
	memcpy(out->provider, message->provider, strlen(message->provider) + 1);
	out->line = message->line;
	if (out->line == 0)
		return error_raise(SIMPLER_EINVAL, "line is 0, which is no line's number");
	return take_fabric_address(message->address, &out->address);
}

simpler_status msg_fabric_end_encode(const struct msg_fabric_end *end, struct rpc_buffer *out)
{
	PB(FabricEnd) message;

	PB_INIT(fabric_end, &message);
	message.provider = (char *)end->provider;
	message.address = put_bytes(end->address);
	message.line = end->line;
	return codec_pack(&message.base, out);
}
