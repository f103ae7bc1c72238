/*
 * Who vouches for a module: the signature of a key over the module's digest, in the two forms in
 * which it travels. Making and checking one is key.h's. Pure functions.
 */
#ifndef CATALOG_SIGNATURE_H
#define CATALOG_SIGNATURE_H

#include "catalog/digest.h"

#define SIGNATURE_BYTES         96 /* in a payload: the key's id, then the Ed25519 signature */
#define SIGNATURE_ED25519_BYTES 64

struct signature {
	struct digest key; /* its id: the SHA-256 of the raw public key */
	uint8_t ed25519[SIGNATURE_ED25519_BYTES];
};

/*
 * What is signed: a text that nothing else begins with, its terminator included, and the module's
 * digest. A signature over a digest alone might have been made for another purpose.
 */
#define SIGNATURE_PURPOSE       "simpler.module.signature"
#define SIGNATURE_MESSAGE_BYTES (sizeof(SIGNATURE_PURPOSE) + DIGEST_BYTES)

void signature_message(const struct digest *module, uint8_t out[SIGNATURE_MESSAGE_BYTES]);

void signature_pack(const struct signature *signature, uint8_t out[SIGNATURE_BYTES]);
/* SIMPLER_EINVAL for another size. Any bytes of the right one are a signature, if hardly a good
 * one. */
simpler_status signature_unpack(simpler_bytes bytes, struct signature *out);

/*
 * The file MODULE.sig beside a module, all of it, with lower-case hexadecimal digits:
 *
 *     simpler module signature 1
 *     module 64 digits: the module's digest
 *     key 64 digits: the key's id
 *     signature 128 digits
 *
 * Each line ends with a line feed, and nothing else may be there.
 */
#define SIGNATURE_TEXT_FIRST "simpler module signature 1\n"
#define SIGNATURE_TEXT_SIZE  (27 + 7 + 64 + 1 + 4 + 64 + 1 + 10 + 128 + 1)

struct signature_file {
	struct digest module;
	struct signature signature;
};

/* Without a terminator. */
void signature_file_write(const struct signature_file *file, char out[SIGNATURE_TEXT_SIZE]);
/* @return SIMPLER_EINVAL naming the line that is wrong; SIMPLER_EVERSION for a later format. */
simpler_status signature_file_parse(const void *bytes, size_t size, struct signature_file *out);

#define SIGNATURE_PATH_MAX 4096

/* The path of the file beside a module. SIMPLER_EINVAL when it does not fit. */
simpler_status signature_path(const char *module_path, char *out, size_t capacity);

#endif
