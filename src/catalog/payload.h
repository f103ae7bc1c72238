/*
 * What travels in CallablePayload.pickled: one callable, its captured state, and its module, whole
 * or by digest. Pure functions. All integers little-endian:
 *
 *     offset  size  field
 *          0     4  magic "SMPC"
 *          4     4  payload version, 1
 *          8     4  kind
 *         12     4  callable ABI
 *         16    32  module digest, SHA-256 of the module's bytes
 *         48     4  name length (1 to 63)
 *         52     4  state length (at most 65536)
 *         56     8  module length; 0 means "by digest: you have it"
 *         64        name, then state, then module, each without padding
 *
 * Trailing bytes are an error.
 */
#ifndef CATALOG_PAYLOAD_H
#define CATALOG_PAYLOAD_H

#include "catalog/digest.h"

#define PAYLOAD_VERSION      1
#define PAYLOAD_HEADER_BYTES 64

struct payload {
	simpler_kind kind;
	uint32_t abi;
	struct digest module;
	char name[64];
	simpler_bytes state;        /* these two point into the decoded bytes */
	simpler_bytes module_bytes; /* size 0: by digest */
};

size_t payload_size(const struct payload *payload);
/* Writes payload_size() bytes. */
void payload_encode(const struct payload *payload, uint8_t *out);
/*
 * Checks everything but that the module is a good one: magic, version, lengths, kind, name, and
 * that module bytes, where present, have the digest they claim.
 *
 * @return SIMPLER_EINVAL, SIMPLER_EVERSION for another payload or ABI version.
 */
simpler_status payload_decode(const void *bytes, size_t size, struct payload *out);

#endif
