/*
 * Ed25519 keys, which sign modules and check signatures, by OpenSSL's EVP interface. Plain values.
 *
 * Their files are PEM, so that openssl(1) reads and makes them, too: PKCS#8 for a private key,
 * which is not encrypted, and SubjectPublicKeyInfo for a public one.
 */
#ifndef CATALOG_KEY_H
#define CATALOG_KEY_H

#include <stdbool.h>

#include "catalog/signature.h"

#define KEY_BYTES   32
#define KEY_PEM_MAX 4096 /* of a file with a key, and what is around it */

struct public_key {
	uint8_t bytes[KEY_BYTES];
};

struct private_key {
	uint8_t bytes[KEY_BYTES];
	struct public_key pair;
};

/* The key's name: the SHA-256 of its bytes. */
simpler_status key_id(const struct public_key *key, struct digest *out);

simpler_status key_generate(struct private_key *out);
/* Leave nothing of it in memory. */
void key_forget(struct private_key *key);

simpler_status key_sign(const struct private_key *key, const struct digest *module,
                        struct signature *out);
/* Whether the Ed25519 signature is this key's over this module. The id is not looked at. */
bool key_verify(const struct public_key *key, const struct digest *module,
                const struct signature *signature);

/* False when the text, which ends with a zero byte, is not one public Ed25519 key in PEM. */
bool key_parse_public(const char *pem, struct public_key *out);

/* SIMPLER_ENOTFOUND when there is no such file; SIMPLER_EINVAL when there is not one key of the
 * sort in it. Each names the path. */
simpler_status key_read_public(const char *path, struct public_key *out);
simpler_status key_read_private(const char *path, struct private_key *out);
/* New files: an existing one is SIMPLER_EEXIST and stays as it is. The private one is for the owner
 * alone. When the second cannot be written, the first is removed again. */
simpler_status key_write_pair(const struct private_key *key, const char *private_path,
                              const char *public_path);

#endif
