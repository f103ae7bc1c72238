/* SHA-256 by OpenSSL's EVP interface. */
#ifndef CATALOG_DIGEST_H
#define CATALOG_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "simpler/callable.h"

#define DIGEST_BYTES     32
#define DIGEST_HEX_BYTES (2 * DIGEST_BYTES + 1)

struct digest {
	uint8_t bytes[DIGEST_BYTES];
};

#define ORIGIN_LIBRARY_MAX 63 /* bytes of a library's name */

enum origin_source {
	ORIGIN_MODULE = 1, /* a shared object that travels */
	ORIGIN_LIBRARY,    /* one that is installed where it is used, by name */
	ORIGIN_PROGRAM,    /* a function of the running program, which never travels */
};

/* Where a callable comes from. */
struct origin {
	enum origin_source source;
	struct digest module;                 /* of a module: SHA-256 of its bytes; else zeroes */
	char library[ORIGIN_LIBRARY_MAX + 1]; /* of a library: its name; else empty */
	/* Of a program: the build of the object that holds it (ipc/program_function.h), and where.
	 */
	struct digest object;
	uint64_t offset;
};

/* SHA-256 of bytes that come by the piece. NULL when memory is out, which add and end tell of. */
struct digest_stream;
struct digest_stream *digest_begin(void);
void digest_add(struct digest_stream *stream, const void *bytes, size_t size);
/* Frees the stream. `out` may be NULL, to break off; otherwise SIMPLER_ENOMEM is all that fails. */
simpler_status digest_end(struct digest_stream *stream, struct digest *out);

simpler_status digest_compute(const void *bytes, size_t size, struct digest *out);
/*
 * A callable's identity: SHA-256 over the canonical descriptor, every field a little-endian u64
 * length and then that many bytes: the text "simpler.callable", kind (u32 little-endian), callable
 * ABI (u32 little-endian), then "module" and the module's digest (32 bytes), or "library" and the
 * library's name, or "program", the identity of the object's build (32 bytes) and the offset in it
 * (u64 little-endian), then name and state.
 */
simpler_status digest_callable(simpler_kind kind, uint32_t abi, const struct origin *origin,
                               const char *name, simpler_bytes state, struct digest *out);
/* `callable_version` of the wire: bytes 0 to 7, little-endian. */
uint64_t digest_version(const struct digest *digest);
/* `callable_id` as our parents choose it: bytes 8 to 15, little-endian, 0 made 1. */
uint64_t digest_id(const struct digest *digest);
/* Lower-case hexadecimal, all of it or the first 16 digits. */
void digest_hex(const struct digest *digest, char out[DIGEST_HEX_BYTES]);
void digest_short(const struct digest *digest, char out[17]);

#endif
