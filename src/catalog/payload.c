#include "catalog/payload.h"

#include <string.h>

#include "base/error.h"
#include "catalog/module_file.h"
#include "simpler/version.h"

static const uint8_t magic[4] = { 'S', 'M', 'P', 'C' };

/* The header as it stands in the table of payload.h. */
struct header {
	uint32_t version, kind, abi, source;
	uint32_t name_size, library_size, state_size, signature_size, zero;
	struct digest module;
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
	return PAYLOAD_HEADER_BYTES + strlen(payload->name) + strlen(payload->origin.library) +
	       payload->state.size + payload->signature.size + payload->module_bytes.size;
}

void payload_encode(const struct payload *payload, uint8_t *out)
{
	const struct origin *origin = &payload->origin;
	size_t name_size = strlen(payload->name), library_size = strlen(origin->library);

	out = put_bytes(out, magic, sizeof(magic));
	out = put(out, PAYLOAD_VERSION, 4);
	out = put(out, (uint32_t)payload->kind, 4);
	out = put(out, payload->abi, 4);
	out = put(out, (uint32_t)origin->source, 4);
	out = put(out, name_size, 4);
	out = put(out, library_size, 4);
	out = put(out, payload->state.size, 4);
	out = put_bytes(out, origin->module.bytes, DIGEST_BYTES);
	out = put(out, payload->module_bytes.size, 8);
	out = put(out, payload->signature.size, 4);
	out = put(out, 0, 4);
	out = put_bytes(out, payload->name, name_size);
	out = put_bytes(out, origin->library, library_size);
	out = put_bytes(out, payload->state.data, payload->state.size);
	out = put_bytes(out, payload->signature.data, payload->signature.size);
	put_bytes(out, payload->module_bytes.data, payload->module_bytes.size);
}

static void get_header(const uint8_t *bytes, struct header *out)
{
	out->kind = (uint32_t)get(bytes + 8, 4);
	out->abi = (uint32_t)get(bytes + 12, 4);
	out->source = (uint32_t)get(bytes + 16, 4);
	out->name_size = (uint32_t)get(bytes + 20, 4);
	out->library_size = (uint32_t)get(bytes + 24, 4);
	out->state_size = (uint32_t)get(bytes + 28, 4);
	memcpy(out->module.bytes, bytes + 32, DIGEST_BYTES);
	out->module_size = get(bytes + 64, 8);
	out->signature_size = (uint32_t)get(bytes + 72, 4);
	out->zero = (uint32_t)get(bytes + 76, 4);
}

static simpler_status check_abi(const struct header *header)
{
	if (header->abi == SIMPLER_CALLABLE_ABI)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EVERSION,
	                   "the callable was compiled for callable ABI %u, this side has %d; "
	                   "compile it against this version's headers",
	                   header->abi, SIMPLER_CALLABLE_ABI);
}

/* The lengths, each against its limit and all against the size. They cannot overflow then. */
static simpler_status check_lengths(const struct header *header, size_t size)
{
	uint64_t total;

	if (header->name_size == 0 || header->name_size > SIMPLER_NAME_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload's name is of %u bytes, not 1 to %d",
		                   header->name_size, SIMPLER_NAME_MAX);
	if (header->library_size > ORIGIN_LIBRARY_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload's library has a name of %u bytes, at most "
		                   "%d",
		                   header->library_size, ORIGIN_LIBRARY_MAX);
	if (header->state_size > SIMPLER_STATE_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload's state is of %u bytes, at most %zu; "
		                   "larger data belongs in a tensor",
		                   header->state_size, SIMPLER_STATE_MAX);
	if (header->signature_size != 0 && header->signature_size != SIGNATURE_BYTES)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload's signature is of %u bytes, not %d",
		                   header->signature_size, SIGNATURE_BYTES);
	if (header->module_size > PAYLOAD_MODULE_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload's module is of %llu bytes, at most %zu; "
		                   "send a larger one with PushModule, and name it by digest",
		                   (unsigned long long)header->module_size, PAYLOAD_MODULE_MAX);
	total = (uint64_t)PAYLOAD_HEADER_BYTES + header->name_size + header->library_size +
	        header->state_size + header->signature_size + header->module_size;
	if (size != total)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload is of %zu bytes, its lengths say %llu",
		                   size, (unsigned long long)total);
	return SIMPLER_OK;
}

/* What only a module has, or only a library. */
static simpler_status check_source(const struct header *header)
{
	static const struct digest none;
	bool library = header->source == ORIGIN_LIBRARY;

	if (!library && header->source != ORIGIN_MODULE)
		return error_raise(SIMPLER_EINVAL, "the callable payload is of unknown source %u",
		                   header->source);
	if (library != (header->library_size > 0))
		return error_raise(SIMPLER_EINVAL, "the callable payload of a %s has %s",
		                   library ? "library" : "module",
		                   library ? "no library's name" : "a library's name");
	if (library && (header->module_size > 0 || header->signature_size > 0 ||
	                memcmp(&header->module, &none, sizeof(none)) != 0))
		return error_raise(SIMPLER_EINVAL, "the callable payload of a library has a "
		                                   "module's digest, bytes or signature");
	if (header->zero != 0)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload has %u where a zero belongs",
		                   header->zero);
	return SIMPLER_OK;
}

static simpler_status read_header(const uint8_t *bytes, size_t size, struct header *out)
{
	simpler_status status;

	if (size < 8 || memcmp(bytes, magic, sizeof(magic)) != 0)
		return error_raise(SIMPLER_EINVAL,
		                   "this is no callable payload: it has to begin with a header of "
		                   "%d bytes and the magic SMPC",
		                   PAYLOAD_HEADER_BYTES);
	out->version = (uint32_t)get(bytes + 4, 4);
	if (out->version != PAYLOAD_VERSION)
		return error_raise(SIMPLER_EVERSION,
		                   "the callable payload is of version %u, this side has %d",
		                   out->version, PAYLOAD_VERSION);
	if (size < PAYLOAD_HEADER_BYTES)
		return error_raise(SIMPLER_EINVAL,
		                   "the callable payload ends after %zu bytes, in its header of %d",
		                   size, PAYLOAD_HEADER_BYTES);
	get_header(bytes, out);
	status = check_abi(out);
	if (!status)
		status = check_lengths(out, size);
	if (!status)
		status = check_source(out);
	if (!status && !module_kind_valid(out->kind))
		status = error_raise(SIMPLER_EINVAL, "the callable payload is of unknown kind %u",
		                     out->kind);
	return status;
}

/* Present module bytes have to be the ones that the digest names. */
static simpler_status check_module(const struct payload *payload)
{
	const struct digest *claimed = &payload->origin.module;
	struct digest actual;
	char have[17], want[17];
	simpler_status status;

	if (payload->module_bytes.size == 0)
		return SIMPLER_OK;
	status = digest_compute(payload->module_bytes.data, payload->module_bytes.size, &actual);
	if (status || memcmp(&actual, claimed, sizeof(actual)) == 0)
		return status;
	digest_short(&actual, have);
	digest_short(claimed, want);
	return error_raise(SIMPLER_EINVAL,
	                   "the module's bytes in the callable payload have the digest %s..., the "
	                   "payload says %s...; they were damaged on the way",
	                   have, want);
}

bool payload_library_valid(const char *name, size_t size)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-+.";

	if (size == 0 || size > ORIGIN_LIBRARY_MAX || name[0] == '.')
		return false;
	for (size_t i = 0; i < size; i++) {
		if (name[i] == '\0' || !strchr(allowed, name[i]))
			return false;
	}
	return true;
}

static simpler_status check_names(const struct header *header, const char *names)
{
	if (!module_name_valid(names, header->name_size))
		return error_raise(SIMPLER_EINVAL,
		                   "the name in the callable payload is no identifier of ASCII "
		                   "letters, digits and underscores");
	if (header->library_size > 0 &&
	    !payload_library_valid(names + header->name_size, header->library_size))
		return error_raise(SIMPLER_EINVAL,
		                   "the library in the callable payload is no plain name: it has "
		                   "ASCII letters, digits and any of _-+., and begins with no dot");
	return SIMPLER_OK;
}

static simpler_bytes take(const uint8_t **next, size_t size)
{
	simpler_bytes taken = { *next, size };

	*next += size;
	return taken;
}

simpler_status payload_decode(const void *bytes, size_t size, struct payload *out)
{
	const uint8_t *next = bytes;
	struct header header;
	simpler_status status = read_header(bytes, size, &header);

	if (status)
		return status;
	next += PAYLOAD_HEADER_BYTES;
	status = check_names(&header, (const char *)next);
	if (status)
		return status;
	*out = (struct payload){ .kind = (simpler_kind)header.kind, .abi = header.abi };
	out->origin.source = (enum origin_source)header.source;
	out->origin.module = header.module;
	memcpy(out->name, take(&next, header.name_size).data, header.name_size);
	memcpy(out->origin.library, take(&next, header.library_size).data, header.library_size);
	out->state = take(&next, header.state_size);
	out->signature = take(&next, header.signature_size);
	out->module_bytes = take(&next, (size_t)header.module_size);
	return check_module(out);
}
