/*
 * What travels in CallablePayload.pickled: one callable, its captured state, and where it comes
 * from: a module, whole or by digest, or a library of the node, by name. Pure functions. All
 * integers little-endian:
 *
 *     offset  size  field
 *          0     4  magic "SMPC"
 *          4     4  payload version, 2
 *          8     4  kind
 *         12     4  callable ABI
 *         16     4  source: 1 a module, 2 a library
 *         20     4  name length (1 to 63)
 *         24     4  library length: 0 for a module, 1 to 63 for a library
 *         28     4  state length (at most 65536)
 *         32    32  a module's digest, SHA-256 of its bytes; zeroes for a library
 *         64     8  module length; 0 means "by digest: you have it", or a library
 *         72     4  signature length: 0, or 96 for a signed module
 *         76     4  0
 *         80        name, library, state, signature, module, each without padding
 *
 * Trailing bytes are an error.
 */
#ifndef CATALOG_PAYLOAD_H
#define CATALOG_PAYLOAD_H

#include <stdbool.h>

#include "catalog/signature.h"

#define PAYLOAD_VERSION      2
#define PAYLOAD_HEADER_BYTES 80
#define PAYLOAD_MODULE_MAX   ((size_t)48 << 20) /* fits one message; larger ones go as a stream */

struct payload {
	simpler_kind kind;
	uint32_t abi;
	struct origin origin;
	char name[64];
	simpler_bytes state;        /* these three point into the decoded bytes */
	simpler_bytes signature;    /* see signature.h; size 0: unsigned */
	simpler_bytes module_bytes; /* size 0: by digest, or a library */
};

size_t payload_size(const struct payload *payload);
/* Writes payload_size() bytes. */
void payload_encode(const struct payload *payload, uint8_t *out);
/*
 * Checks everything but that the module is a good one: magic, version, lengths, kind, source,
 * names, and that module bytes, where present, have the digest they claim.
 *
 * @return SIMPLER_EINVAL, SIMPLER_EVERSION for another payload or ABI version.
 */
simpler_status payload_decode(const void *bytes, size_t size, struct payload *out);

/* What a library is called: 1 to ORIGIN_LIBRARY_MAX ASCII letters, digits, '_', '-', '+' and '.',
 * the first of them no '.'. So it is one component of a path, and none that leads elsewhere. */
bool payload_library_valid(const char *name, size_t size);

#endif
