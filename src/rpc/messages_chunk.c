/*
 * Chunks of a tensor without a copy of their bytes: a head that is sent before them, and a reader
 * of a message in parts, which gRPC hands on as they came from the socket. protobuf-c would copy
 * the bytes twice, once to join the parts and once to unpack them.
 *
 * The head has the chunk's other fields and, last, the key and the length of `data`; so the bytes
 * follow it. The reader takes fields in any order, as protobuf has it: the last one of a number
 * counts, and numbers that are not known are skipped.
 */
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "rpc/codec.h"
#include "rpc/messages_tensor.h"

#define PB_SPAN_TYPE   (&simpler__distributed__v1__tensor_span__descriptor)
#define PB_HANDLE_TYPE (&simpler__distributed__v1__tensor_handle__descriptor)

enum wire_type { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum field { HANDLE = 1, OFFSET = 2, DATA = 3, LAST = 4, SPAN = 5 };

/* A handle or a span is no longer. */
#define PART_MAX 4096u

/* --- sending --- */

static size_t put_varint(uint8_t *out, uint64_t value)
{
	size_t size = 0;

	for (; value >= 0x80; value >>= 7)
		out[size++] = (uint8_t)(value | 0x80);
	out[size++] = (uint8_t)value;
	return size;
}

simpler_status msg_chunk_encode_head(const struct msg_chunk *chunk, struct rpc_buffer *out)
{
	struct msg_chunk head = *chunk;
	uint8_t key[1 + 10] = { DATA << 3 | BYTES };
	size_t key_size = 1 + put_varint(key + 1, chunk->data.size);
	struct rpc_buffer packed;
	simpler_status status;

	head.data = (simpler_bytes){ NULL, 0 };
	status = msg_chunk_encode(&head, &packed);
	if (status != SIMPLER_OK)
		return status;
	status = rpc_buffer_alloc(out, packed.size + key_size);
	if (status == SIMPLER_OK) {
		memcpy(out->data, packed.data, packed.size);
		memcpy(out->data + packed.size, key, key_size);
	}
	rpc_buffer_release(&packed);
	return status;
}

/* --- receiving --- */

const uint8_t *msg_parts_next(struct msg_parts *parts, size_t most, size_t *size)
{
	const uint8_t *data;

	while (parts->left > 0 && parts->at == parts->part->size) {
		parts->part++;
		parts->at = 0;
	}
	*size = parts->left > 0 ? parts->part->size - parts->at : 0;
	if (*size > parts->left)
		*size = parts->left;
	if (*size > most)
		*size = most;
	data = parts->left > 0 ? parts->part->data + parts->at : NULL;
	parts->at += *size;
	parts->left -= *size;
	return data;
}

static bool skip(struct msg_parts *parts, uint64_t size)
{
	if (size > parts->left)
		return false;
	while (size > 0) {
		size_t step;

		(void)msg_parts_next(parts, (size_t)size, &step);
		size -= step;
	}
	return true;
}

static bool get_varint(struct msg_parts *parts, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		size_t size;
		const uint8_t *byte = msg_parts_next(parts, 1, &size);

		if (size == 0)
			return false;
		*value |= (uint64_t)(*byte & 0x7f) << shift;
		if (!(*byte & 0x80))
			return true;
	}
	return false;
}

static void gather(struct msg_parts *parts, uint8_t *out, size_t size)
{
	while (size > 0) {
		size_t step;
		const uint8_t *from = msg_parts_next(parts, size, &step);

		memcpy(out, from, step);
		out += step;
		size -= step;
	}
}

/* A message within the message, of `size` bytes; NULL with the reason raised. */
static void *take_message(struct msg_parts *parts, uint64_t size, struct bump *bump,
                          const ProtobufCMessageDescriptor *type)
{
	uint8_t *bytes;

	if (size > PART_MAX || size > parts->left) {
		error_raise(SIMPLER_EINVAL,
		            "a chunk's %s has %" PRIu64 " bytes; at most %u are allowed",
		            type->short_name, size, PART_MAX);
		return NULL;
	}
	bytes = bump_alloc(bump, size > 0 ? (size_t)size : 1);
	if (!bytes) {
		error_raise(SIMPLER_ENOMEM, "out of memory for a chunk's %s", type->short_name);
		return NULL;
	}
	gather(parts, bytes, (size_t)size);
	return codec_unpack(type, bytes, (size_t)size, bump);
}

static simpler_status take_chunk_handle(struct msg_parts *parts, uint64_t size, struct bump *bump,
                                        struct msg_chunk *out)
{
	const pb_handle *message = take_message(parts, size, bump, PB_HANDLE_TYPE);

	out->has_handle = message != NULL;
	return message ? take_handle(message, "handle", &out->handle) : SIMPLER_EINVAL;
}

static simpler_status take_chunk_span(struct msg_parts *parts, uint64_t size, struct bump *bump,
                                      struct msg_chunk *out)
{
	const Simpler__Distributed__V1__TensorSpan *message =
		take_message(parts, size, bump, PB_SPAN_TYPE);

	out->has_span = message != NULL;
	return message ? take_span(message, &out->span) : SIMPLER_EINVAL;
}

static simpler_status malformed(void)
{
	return error_raise(SIMPLER_EINVAL, "these bytes are no TensorChunk");
}

/* A field of bytes that begins here. */
static simpler_status take_bytes_field(struct msg_parts *parts, uint64_t field, struct bump *bump,
                                       struct msg_chunk *out, struct msg_parts *data)
{
	uint64_t size;

	if (!get_varint(parts, &size) || size > parts->left)
		return malformed();
	if (field == HANDLE)
		return take_chunk_handle(parts, size, bump, out);
	if (field == SPAN)
		return take_chunk_span(parts, size, bump, out);
	if (field == DATA) {
		*data = *parts;
		data->left = (size_t)size;
		out->data.size = (size_t)size;
	}
	return skip(parts, size) ? SIMPLER_OK : malformed();
}

static simpler_status take_field(struct msg_parts *parts, struct bump *bump, struct msg_chunk *out,
                                 struct msg_parts *data)
{
	uint64_t key, value, field;

	if (!get_varint(parts, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX >> 3)
		return malformed();
	field = key >> 3;
	switch (key & 7) {
	case VARINT:
		if (!get_varint(parts, &value))
			return malformed();
		if (field == OFFSET)
			out->offset = value;
		else if (field == LAST)
			out->last = value != 0;
		return field == HANDLE || field == DATA || field == SPAN ? malformed() : SIMPLER_OK;
	case BYTES:
		return field == OFFSET || field == LAST
		               ? malformed()
		               : take_bytes_field(parts, field, bump, out, data);
	case FIXED64:
		return field > SPAN && skip(parts, 8) ? SIMPLER_OK : malformed();
	case FIXED32:
		return field > SPAN && skip(parts, 4) ? SIMPLER_OK : malformed();
	default:
		return malformed();
	}
}

simpler_status msg_chunk_decode_parts(const struct rpc_part *parts, size_t count, struct bump *bump,
                                      struct msg_chunk *out, struct msg_parts *data)
{
	struct msg_parts all = { .part = parts };
	simpler_status status = SIMPLER_OK;
	uint64_t end;

	for (size_t i = 0; i < count; i++)
		all.left += parts[i].size;
	*out = (struct msg_chunk){ .has_handle = false };
	*data = (struct msg_parts){ .part = parts };
	while (all.left > 0 && status == SIMPLER_OK)
		status = take_field(&all, bump, out, data);
	if (status == SIMPLER_OK && !checked_add(out->offset, out->data.size, &end))
		return error_raise(SIMPLER_EINVAL,
		                   "offset %" PRIu64 " with %zu bytes of data goes past 2^64",
		                   out->offset, out->data.size);
	return status;
}
