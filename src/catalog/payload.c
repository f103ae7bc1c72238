#include "catalog/payload.h"

#include <string.h>

#include "base/error.h"
#include "catalog/module_file.h"
#include "simpler/version.h"

static const uint8_t magic[4] = { 'S', 'M', 'P', 'C' };

/* The header as it stands in the table of payload.h. */
struct header {
	uint32_t version, kind, abi;
	struct digest module;
	uint32_t name_size, state_size;
	uint64_t module_size;
};

static uint8_t *put(uint8_t *out, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(value >> (8 * i));
	return out + size;
}

static uint8_t *put_bytes(uint8_t *out, const void *bytes, size_t size)
{
	if (size)
		memcpy(out, bytes, size);
	return out + size;
}

static uint64_t get(const uint8_t *bytes, size_t size)
{
	uint64_t value = 0;

	while (size-- > 0)
		value = value << 8 | bytes[size];
	return value;
}

size_t payload_size(const struct payload *payload)
{
	return PAYLOAD_HEADER_BYTES + strlen(payload->name) + payload->state.size +
	       payload->module_bytes.size;
}

void payload_encode(const struct payload *payload, uint8_t *out)
{
	size_t name_size = strlen(payload->name);

	out = put_bytes(out, magic, sizeof(magic));
	out = put(out, PAYLOAD_VERSION, 4);
	out = put(out, (uint32_t)payload->kind, 4);
	out = put(out, payload->abi, 4);
	out = put_bytes(out, payload->module.bytes, DIGEST_BYTES);
	out = put(out, name_size, 4);
	out = put(out, payload->state.size, 4);
	out = put(out, payload->module_bytes.size, 8);
	out = put_bytes(out, payload->name, name_size);
	out = put_bytes(out, payload->state.data, payload->state.size);
	put_bytes(out, payload->module_bytes.data, payload->module_bytes.size);
}

static void get_header(const uint8_t *bytes, struct header *out)
{
	out->version = (uint32_t)get(bytes + 4, 4);
	out->kind = (uint32_t)get(bytes + 8, 4);
	out->abi = (uint32_t)get(bytes + 12, 4);
	memcpy(out->module.bytes, bytes + 16, DIGEST_BYTES);
	out->name_size = (uint32_t)get(bytes + 48, 4);
	out->state_size = (uint32_t)get(bytes + 52, 4);
	out->module_size = get(bytes + 56, 8);
}

static simpler_status check_versions(const struct header *header)
{
	if (header->version != PAYLOAD_VERSION)
		return error_raise(SIMPLER_EVERSION,
		                   "the callable payload is of version %u, this side has %d",
		                   header->version, PAYLOAD_VERSION);
	if (header->abi != SIMPLER_CALLABLE_ABI)
		return error_raise(SIMPLER_EVERSION,
		                   "the callable was compiled for callable ABI %u, this side has "
		                   "%d; compile it against this version's headers",
		                   header->abi, SIMPLER_CALLABLE_ABI);
	return SIMPLER_OK;
}

/* The lengths, each against its limit and all against the size. They cannot overflow then. */
static simpler_status check_lengths(const struct header *header, size_t size)
{
	if (header->name_size == 0 || header->name_size > SIMPLER_NAME_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload's name is of %u bytes, not 1 to %d",
		                   header->name_size, SIMPLER_NAME_MAX);
	if (header->state_size > SIMPLER_STATE_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload's state is of %u bytes, at most %zu; "
		                   "larger data belongs in a tensor",
		                   header->state_size, SIMPLER_STATE_MAX);
	if (header->module_size > MODULE_MAX_BYTES)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload's module is of %llu bytes, at most %zu",
		                   (unsigned long long)header->module_size, MODULE_MAX_BYTES);
	if (size !=
	    PAYLOAD_HEADER_BYTES + header->name_size + header->state_size + header->module_size)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload is of %zu bytes, its lengths say %llu",
		                   size,
		                   (unsigned long long)(PAYLOAD_HEADER_BYTES + header->name_size +
		                                        header->state_size + header->module_size));
	return SIMPLER_OK;
}

static simpler_status read_header(const uint8_t *bytes, size_t size, struct header *out)
{
	simpler_status status;

	if (size < PAYLOAD_HEADER_BYTES || memcmp(bytes, magic, sizeof(magic)) != 0)
		return error_raise(SIMPLER_EINVAL,
		                   "this is no callable payload: it has to begin with a header of "
		                   "%d bytes and the magic SMPC",
		                   PAYLOAD_HEADER_BYTES);
	get_header(bytes, out);
	status = check_versions(out);
	if (!status)
		status = check_lengths(out, size);
	if (!status && !module_kind_valid(out->kind))
		status = error_raise(SIMPLER_EINVAL, "the callable payload is of unknown kind %u",
		                     out->kind);
	return status;
}

/* Present module bytes have to be the ones that the digest names. */
static simpler_status check_module(const struct payload *payload)
{
	struct digest actual;
	char have[17], want[17];
	simpler_status status;

	if (payload->module_bytes.size == 0)
		return SIMPLER_OK;
	status = digest_compute(payload->module_bytes.data, payload->module_bytes.size, &actual);
	if (status || memcmp(&actual, &payload->module, sizeof(actual)) == 0)
		return status;
	digest_short(&actual, have);
	digest_short(&payload->module, want);
	return error_raise(SIMPLER_EINVAL,
	                   "the module's bytes in the callable payload have the digest %s..., the "
	                   "payload says %s...; they were damaged on the way",
	                   have, want);
}

simpler_status payload_decode(const void *bytes, size_t size, struct payload *out)
{
	const uint8_t *next = bytes;
	struct header header;
	simpler_status status = read_header(bytes, size, &header);

	if (status)
		return status;
	next += PAYLOAD_HEADER_BYTES;
	if (!module_name_valid((const char *)next, header.name_size))
		return error_raise(SIMPLER_EINVAL,
		                   "the name in the callable payload is no identifier of ASCII "
		                   "letters, digits and underscores");
	*out = (struct payload){ .kind = (simpler_kind)header.kind,
		                 .abi = header.abi,
		                 .module = header.module };
	memcpy(out->name, next, header.name_size);
	next += header.name_size;
	out->state = (simpler_bytes){ next, header.state_size };
	next += header.state_size;
	out->module_bytes = (simpler_bytes){ next, (size_t)header.module_size };
	return check_module(out);
}
