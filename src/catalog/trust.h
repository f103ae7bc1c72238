/*
 * A trust directory: the public keys whose signatures count, and what is revoked.
 *
 * Each file *.pub is a public Ed25519 key in PEM. The file "revoked", if there is one, has lines
 * `key HEX` and `module HEX`, of 64 hexadecimal digits each; empty ones and those that begin with
 * `#` say nothing. Other files are not looked at.
 *
 * Whoever can change these files decides whose code runs, so the directory and its files have to
 * belong to root or to this process's user, and nobody else may write to them.
 */
#ifndef CATALOG_TRUST_H
#define CATALOG_TRUST_H

#include <stdbool.h>

#include "catalog/key.h"

#define TRUST_MAX_KEYS    256u
#define TRUST_MAX_REVOKED 4096u

struct trust;

/*
 * Read all of the directory.
 *
 * @return SIMPLER_ESYSTEM, SIMPLER_EINVAL or SIMPLER_EPERM naming the file, what is wrong with it,
 *         and what to do.
 */
simpler_status trust_load(const char *directory, struct trust **out);
/* NULL is allowed. */
void trust_free(struct trust *trust);

/* Whether the directory may have something else in it than what was read. */
bool trust_is_stale(const struct trust *trust);

/* The key of this id; NULL: it is not trusted. */
const struct public_key *trust_find(const struct trust *trust, const struct digest *key_id);
bool trust_revokes_key(const struct trust *trust, const struct digest *key_id);
bool trust_revokes_module(const struct trust *trust, const struct digest *module);

/* --- its parts --- */

struct trust_revoked {
	size_t count;
	struct trust_entry {
		bool is_key; /* else a module */
		struct digest digest;
	} entries[TRUST_MAX_REVOKED];
};

/* A pure function over the text of "revoked", which ends with a zero byte. SIMPLER_EINVAL naming
 * the line. */
simpler_status trust_parse_revoked(const char *text, struct trust_revoked *out);

#endif
