#include "wire/fabric.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "wire/little_endian.h"

const char *fabric_provider_name(enum fabric_provider provider)
{
	return provider == FABRIC_VERBS ? "verbs" : "tcp";
}

bool fabric_address_equal(const struct fabric_address *one, const struct fabric_address *other)
{
	return one->size == other->size && memcmp(one->bytes, other->bytes, one->size) == 0;
}

size_t fabric_place_encode(const struct fabric_place *place, uint8_t *bytes)
{
	assert(place->address.size <= FABRIC_ADDRESS_MAX);
	store_le32(bytes, FABRIC_VERSION);
	bytes[4] = (uint8_t)place->provider;
	bytes[5] = (uint8_t)place->address.size;
	store_le16(bytes + 6, 0);
	store_le32(bytes + 8, place->landing);
	store_le64(bytes + 12, place->key);
	store_le64(bytes + 20, place->base);
	store_le64(bytes + 28, place->nbytes);
	memcpy(bytes + FABRIC_PLACE_FIXED, place->address.bytes, place->address.size);
	return FABRIC_PLACE_FIXED + place->address.size;
}

static simpler_status check(const uint8_t *from, size_t size)
{
	uint64_t provider, address;

	if (size < FABRIC_PLACE_FIXED)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a place in a fabric has %zu bytes, and no less than %u can be",
		                   size, FABRIC_PLACE_FIXED);
	if (load_le32(from) != FABRIC_VERSION)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a place in a fabric is of version %llu; known is %u",
		                   (unsigned long long)load_le32(from), FABRIC_VERSION);
	provider = from[4];
	if (provider != FABRIC_VERBS && provider != FABRIC_TCP)
		return error_raise(SIMPLER_EPROTOCOL, "a place in a fabric names provider %u",
		                   (unsigned)provider);
	address = from[5];
	if (address == 0 || address > FABRIC_ADDRESS_MAX || size != FABRIC_PLACE_FIXED + address)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a place in a fabric of %zu bytes has an address of %u", size,
		                   (unsigned)address);
	return load_le16(from + 6) == 0
	               ? SIMPLER_OK
	               : error_raise(SIMPLER_EPROTOCOL,
	                             "what is reserved of a place in a fabric is not 0");
}

simpler_status fabric_place_decode(const void *bytes, size_t size, struct fabric_place *out)
{
	const uint8_t *from = bytes;
	simpler_status status = check(from, size);
	uint64_t end;

	if (status != SIMPLER_OK)
		return status;
	*out = (struct fabric_place){ .provider = (enum fabric_provider)from[4],
		                      .address.size = (uint8_t)from[5],
		                      .landing = (uint32_t)load_le32(from + 8),
		                      .key = load_le64(from + 12),
		                      .base = load_le64(from + 20),
		                      .nbytes = load_le64(from + 28) };
	memcpy(out->address.bytes, from + FABRIC_PLACE_FIXED, out->address.size);
	if (!checked_add(out->base, out->nbytes, &end) || out->nbytes > INT64_MAX)
		return error_raise(SIMPLER_EPROTOCOL, "a place in a fabric goes past all memory");
	return SIMPLER_OK;
}
