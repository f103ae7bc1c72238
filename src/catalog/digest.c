#include "catalog/digest.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "catalog/hex.h"

static const char purpose[] = "simpler.callable";

static void put_le(uint64_t value, size_t size, uint8_t *out)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le64(const uint8_t *bytes)
{
	uint64_t value = 0;

	for (size_t i = 8; i-- > 0;)
		value = value << 8 | bytes[i];
	return value;
}

/* Nothing but missing memory makes a digest of bytes in memory fail. */
static simpler_status no_memory(void)
{
	return error_raise(SIMPLER_ENOMEM, "no memory for a SHA-256 digest");
}

simpler_status digest_compute(const void *bytes, size_t size, struct digest *out)
{
	if (!EVP_Digest(size ? bytes : "", size, out->bytes, NULL, EVP_sha256(), NULL))
		return no_memory();
	return SIMPLER_OK;
}

struct digest_stream {
	EVP_MD_CTX *context;
	bool failed;
};

struct digest_stream *digest_begin(void)
{
	struct digest_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->context = EVP_MD_CTX_new();
	stream->failed =
		!stream->context || !EVP_DigestInit_ex(stream->context, EVP_sha256(), NULL);
	return stream;
}

void digest_add(struct digest_stream *stream, const void *bytes, size_t size)
{
	if (stream && !stream->failed && size > 0)
		stream->failed = !EVP_DigestUpdate(stream->context, bytes, size);
}

simpler_status digest_end(struct digest_stream *stream, struct digest *out)
{
	bool failed = !stream || stream->failed;

	if (!failed && out)
		failed = !EVP_DigestFinal_ex(stream->context, out->bytes, NULL);
	if (stream)
		EVP_MD_CTX_free(stream->context);
	free(stream);
	return failed && out ? no_memory() : SIMPLER_OK;
}

/* One length-prefixed field, so that no two descriptors have the same bytes. */
static bool add_field(EVP_MD_CTX *context, const void *bytes, size_t size)
{
	uint8_t length[8];

	put_le(size, sizeof(length), length);
	return EVP_DigestUpdate(context, length, sizeof(length)) &&
	       (size == 0 || EVP_DigestUpdate(context, bytes, size));
}

static bool add_u32(EVP_MD_CTX *context, uint32_t value)
{
	uint8_t bytes[4];

	put_le(value, sizeof(bytes), bytes);
	return add_field(context, bytes, sizeof(bytes));
}

static bool add_text(EVP_MD_CTX *context, const char *text)
{
	return add_field(context, text, strlen(text));
}

static bool add_origin(EVP_MD_CTX *context, const struct origin *origin)
{
	uint8_t offset[8];

	switch (origin->source) {
	case ORIGIN_MODULE:
		return add_text(context, "module") &&
		       add_field(context, origin->module.bytes, sizeof(origin->module.bytes));
	case ORIGIN_LIBRARY:
		return add_text(context, "library") && add_text(context, origin->library);
	case ORIGIN_PROGRAM:
		put_le(origin->offset, sizeof(offset), offset);
		return add_text(context, "program") &&
		       add_field(context, origin->object.bytes, sizeof(origin->object.bytes)) &&
		       add_field(context, offset, sizeof(offset));
	}
	return false;
}

simpler_status digest_callable(simpler_kind kind, uint32_t abi, const struct origin *origin,
                               const char *name, simpler_bytes state, struct digest *out)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool done = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) &&
	            add_text(context, purpose) && add_u32(context, (uint32_t)kind) &&
	            add_u32(context, abi) && add_origin(context, origin) &&
	            add_text(context, name) && add_field(context, state.data, state.size) &&
	            EVP_DigestFinal_ex(context, out->bytes, NULL);

	EVP_MD_CTX_free(context);
	return done ? SIMPLER_OK : no_memory();
}

uint64_t digest_version(const struct digest *digest)
{
	return get_le64(digest->bytes);
}

uint64_t digest_id(const struct digest *digest)
{
	uint64_t id = get_le64(digest->bytes + 8);

	return id ? id : 1;
}

void digest_hex(const struct digest *digest, char out[DIGEST_HEX_BYTES])
{
	hex_write(digest->bytes, DIGEST_BYTES, out);
	out[DIGEST_HEX_BYTES - 1] = '\0';
}

void digest_short(const struct digest *digest, char out[17])
{
	hex_write(digest->bytes, 8, out);
	out[16] = '\0';
}
