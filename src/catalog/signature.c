#include "catalog/signature.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "catalog/hex.h"

void signature_message(const struct digest *module, uint8_t out[SIGNATURE_MESSAGE_BYTES])
{
	memcpy(out, SIGNATURE_PURPOSE, sizeof(SIGNATURE_PURPOSE));
	memcpy(out + sizeof(SIGNATURE_PURPOSE), module->bytes, DIGEST_BYTES);
}

void signature_pack(const struct signature *signature, uint8_t out[SIGNATURE_BYTES])
{
	memcpy(out, signature->key.bytes, DIGEST_BYTES);
	memcpy(out + DIGEST_BYTES, signature->ed25519, SIGNATURE_ED25519_BYTES);
}

simpler_status signature_unpack(simpler_bytes bytes, struct signature *out)
{
	const uint8_t *data = bytes.data;

	if (bytes.size != SIGNATURE_BYTES)
		return error_raise(SIMPLER_EINVAL,
		                   "a module's signature is of %zu bytes, not %d: the key's id and "
		                   "an Ed25519 signature",
		                   bytes.size, SIGNATURE_BYTES);
	memcpy(out->key.bytes, data, DIGEST_BYTES);
	memcpy(out->ed25519, data + DIGEST_BYTES, SIGNATURE_ED25519_BYTES);
	return SIMPLER_OK;
}

/* --- the file --- */

_Static_assert(sizeof(SIGNATURE_TEXT_FIRST) - 1 == 27, "the size of the text counts on it");

static char *put_line(char *out, const char *label, const uint8_t *bytes, size_t size)
{
	out = stpcpy(out, label);
	hex_write(bytes, size, out);
	out[2 * size] = '\n';
	return out + 2 * size + 1;
}

void signature_file_write(const struct signature_file *file, char out[SIGNATURE_TEXT_SIZE])
{
	memcpy(out, SIGNATURE_TEXT_FIRST, sizeof(SIGNATURE_TEXT_FIRST) - 1);
	out += sizeof(SIGNATURE_TEXT_FIRST) - 1;
	out = put_line(out, "module ", file->module.bytes, DIGEST_BYTES);
	out = put_line(out, "key ", file->signature.key.bytes, DIGEST_BYTES);
	(void)put_line(out, "signature ", file->signature.ed25519, SIGNATURE_ED25519_BYTES);
}

static bool get_line(const char **text, const char *label, uint8_t *out, size_t size)
{
	size_t length = strlen(label);
	bool good = memcmp(*text, label, length) == 0 && hex_read(*text + length, size, out) &&
	            (*text)[length + 2 * size] == '\n';

	*text += length + 2 * size + 1;
	return good;
}

/* The text of another version is another text; all that is known of it is its first words. */
static simpler_status check_first_line(const char *text, size_t size)
{
	const size_t first = sizeof(SIGNATURE_TEXT_FIRST) - 1, words = first - 2;

	if (size >= first && memcmp(text, SIGNATURE_TEXT_FIRST, first) == 0)
		return SIMPLER_OK;
	if (size > words && memcmp(text, SIGNATURE_TEXT_FIRST, words) == 0)
		return error_raise(SIMPLER_EVERSION,
		                   "the signature file is of another version than 1; sign the "
		                   "module again with this version's \"simpler sign\"");
	return error_raise(SIMPLER_EINVAL,
	                   "this is no signature file: its first line is not \"%.*s\"",
	                   (int)first - 1, SIGNATURE_TEXT_FIRST);
}

simpler_status signature_file_parse(const void *bytes, size_t size, struct signature_file *out)
{
	const char *text = bytes;
	simpler_status status = check_first_line(text, size);

	if (status)
		return status;
	if (size != SIGNATURE_TEXT_SIZE)
		return error_raise(SIMPLER_EINVAL,
		                   "the signature file is of %zu bytes, and would be of %d; it was "
		                   "cut short or added to",
		                   size, SIGNATURE_TEXT_SIZE);
	text += sizeof(SIGNATURE_TEXT_FIRST) - 1;
	if (!get_line(&text, "module ", out->module.bytes, DIGEST_BYTES))
		return error_raise(SIMPLER_EINVAL,
		                   "line 2 of the signature file is not \"module \" "
		                   "and 64 lower-case hexadecimal digits");
	if (!get_line(&text, "key ", out->signature.key.bytes, DIGEST_BYTES))
		return error_raise(SIMPLER_EINVAL,
		                   "line 3 of the signature file is not \"key \" and "
		                   "64 lower-case hexadecimal digits");
	if (!get_line(&text, "signature ", out->signature.ed25519, SIGNATURE_ED25519_BYTES))
		return error_raise(SIMPLER_EINVAL, "line 4 of the signature file is not "
		                                   "\"signature \" and 128 lower-case hexadecimal "
		                                   "digits");
	return SIMPLER_OK;
}

simpler_status signature_path(const char *module_path, char *out, size_t capacity)
{
	int size = snprintf(out, capacity, "%s.sig", module_path);

	if (size < 0 || (size_t)size >= capacity)
		return error_raise(SIMPLER_EINVAL, "the path '%s' is too long", module_path);
	return SIMPLER_OK;
}
