/*
 * What processes say to each other of memory that a fabric reaches (libfabric).
 *
 * A handle that can be reached by one-sided writes and reads says in a transport_desc where: a
 * place, all fields little-endian:
 *
 *   u32 version = 1, u8 provider, u8 size of the address, u16 0, u32 landing,
 *   u64 key, u64 base, u64 nbytes, the address
 *
 * The decoders return SIMPLER_EPROTOCOL for what is malformed or of another version.
 */
#ifndef WIRE_FABRIC_H
#define WIRE_FABRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define FABRIC_TRANSPORT   "fabric"
#define FABRIC_VERSION     1u
#define FABRIC_ADDRESS_MAX 64u
#define FABRIC_PLACE_FIXED 36u
#define FABRIC_PLACE_MAX   (FABRIC_PLACE_FIXED + FABRIC_ADDRESS_MAX)

/* By their numbers on the wire. Two processes reach each other by the same one only. */
enum fabric_provider { FABRIC_VERBS = 1, FABRIC_TCP = 2 };

/* "verbs" or "tcp". */
const char *fabric_provider_name(enum fabric_provider provider);

/* Of an endpoint, in the provider's own format: of bytes that nobody else looks into. */
struct fabric_address {
	uint8_t size; /* not 0 in a decoded one */
	uint8_t bytes[FABRIC_ADDRESS_MAX];
};

bool fabric_address_equal(const struct fabric_address *one, const struct fabric_address *other);

struct fabric_place {
	enum fabric_provider provider;
	struct fabric_address address; /* of the endpoint that the memory is reached by */
	uint64_t key;
	uint64_t base, nbytes; /* base + nbytes fits 64 bits in a decoded one */
	uint32_t landing;      /* what writes carry, so that the other side can count them */
};

/* Into FABRIC_PLACE_MAX bytes; how many they are. */
size_t fabric_place_encode(const struct fabric_place *place, uint8_t *bytes);
simpler_status fabric_place_decode(const void *bytes, size_t size, struct fabric_place *out);

#endif
