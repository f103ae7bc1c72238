#include "wire/fabric.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "wire/little.h"

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
	put_le(bytes, FABRIC_VERSION, 4);
	put_le(bytes + 4, place->provider, 1);
	put_le(bytes + 5, place->address.size, 1);
	put_le(bytes + 6, 0, 2);
	put_le(bytes + 8, place->landing, 4);
	put_le(bytes + 12, place->key, 8);
	put_le(bytes + 20, place->base, 8);
	put_le(bytes + 28, place->nbytes, 8);
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
	if (get_le(from, 4) != FABRIC_VERSION)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a place in a fabric is of version %llu; known is %u",
		                   (unsigned long long)get_le(from, 4), FABRIC_VERSION);
	provider = get_le(from + 4, 1);
	if (provider != FABRIC_VERBS && provider != FABRIC_TCP)
		return error_raise(SIMPLER_EPROTOCOL, "a place in a fabric names provider %u",
		                   (unsigned)provider);
	address = get_le(from + 5, 1);
	if (address == 0 || address > FABRIC_ADDRESS_MAX || size != FABRIC_PLACE_FIXED + address)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a place in a fabric of %zu bytes has an address of %u", size,
		                   (unsigned)address);
	return get_le(from + 6, 2) == 0
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
	*out = (struct fabric_place){ .provider = (enum fabric_provider)get_le(from + 4, 1),
		                      .address.size = (uint8_t)get_le(from + 5, 1),
		                      .landing = (uint32_t)get_le(from + 8, 4),
		                      .key = get_le(from + 12, 8),
		                      .base = get_le(from + 20, 8),
		                      .nbytes = get_le(from + 28, 8) };
	memcpy(out->address.bytes, from + FABRIC_PLACE_FIXED, out->address.size);
	if (!checked_add(out->base, out->nbytes, &end) || out->nbytes > INT64_MAX)
		return error_raise(SIMPLER_EPROTOCOL, "a place in a fabric goes past all memory");
	return SIMPLER_OK;
}
