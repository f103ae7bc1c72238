/*
 * Whose code a node takes in. Every callable and every module's bytes pass policy_check(), whoever
 * brings them and whichever way they come, before anything of them is kept.
 *
 * A policy is a mode and, for signatures and revocations, a trust directory: see catalog/trust.h.
 * What changes there counts from the next check on.
 *
 * Thread-safe. A check reads the directory's files when they have changed, under a lock.
 */
#ifndef CATALOG_POLICY_H
#define CATALOG_POLICY_H

#include <stdbool.h>

#include "catalog/signature.h"

enum policy_mode {
	POLICY_NONE,   /* nobody's */
	POLICY_NAMED,  /* libraries that are installed on the node */
	POLICY_SIGNED, /* those, and modules that a trusted key signed */
	POLICY_ANY,    /* everybody's */
};

/* "none", "named", "signed", "any" to a mode; false for any other text. */
bool policy_parse_mode(const char *text, enum policy_mode *out);
const char *policy_mode_name(enum policy_mode mode);

/* What somebody wants to bring in. */
struct policy_subject {
	const char *library; /* the name of the installed library; NULL: a module that travels */
	const struct digest *digest; /* of the module's or the library's bytes; NULL: a library
	                                that has not been read */
	simpler_bytes signature;     /* SIGNATURE_BYTES, or size 0: unsigned */
};

struct policy;

/*
 * @param trust_directory  NULL: there is none, which POLICY_SIGNED does not allow.
 * @return what trust_load() says of the directory.
 */
simpler_status policy_create(enum policy_mode mode, const char *trust_directory,
                             struct policy **out);
/* NULL is allowed. */
void policy_destroy(struct policy *policy);

/*
 * @return SIMPLER_EPERM saying which rule refuses it, module, key, and what to do. Each refusal is
 *         logged as a warning.
 */
simpler_status policy_check(struct policy *policy, const struct policy_subject *subject);

/* Whether what came in once would be refused now, which is logged as well. Not while the trust
 * directory cannot be read: a mistake there lets nobody in, and throws nobody out. */
bool policy_revokes(struct policy *policy, const struct policy_subject *subject);

#endif
