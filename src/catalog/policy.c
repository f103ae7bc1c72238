#include "catalog/policy.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "catalog/trust.h"
#include "simpler/log.h"

#define WHAT_BYTES 192

struct policy {
	enum policy_mode mode;
	char *directory;      /* NULL: there is none */
	pthread_mutex_t lock; /* guards all below */
	struct trust *trust;  /* NULL: there is no directory, or it cannot be read any more */
	char broken[ERROR_STEP_BYTES]; /* why it could not be read, as it was logged; empty: it
	                                  could */
};

static const char *const mode_names[] = { "none", "named", "signed", "any" };

bool policy_parse_mode(const char *text, enum policy_mode *out)
{
	for (int i = POLICY_NONE; i <= POLICY_ANY; i++) {
		if (strcmp(text, mode_names[i]) == 0) {
			*out = (enum policy_mode)i;
			return true;
		}
	}
	return false;
}

const char *policy_mode_name(enum policy_mode mode)
{
	return mode_names[mode];
}

simpler_status policy_create(enum policy_mode mode, const char *trust_directory,
                             struct policy **out)
{
	struct policy *policy;
	struct trust *trust = NULL;
	simpler_status status = SIMPLER_OK;

	assert(mode != POLICY_SIGNED || trust_directory);
	if (trust_directory)
		status = trust_load(trust_directory, &trust);
	if (status != SIMPLER_OK)
		return status;
	policy = calloc(1, sizeof(*policy));
	if (policy && trust_directory)
		policy->directory = strdup(trust_directory);
	if (!policy || (trust_directory && !policy->directory)) {
		free(policy);
		trust_free(trust);
		return error_raise(SIMPLER_ENOMEM, "no memory for a policy");
	}
	policy->mode = mode;
	policy->trust = trust;
	(void)pthread_mutex_init(&policy->lock, NULL);
	*out = policy;
	return SIMPLER_OK;
}

void policy_destroy(struct policy *policy)
{
	if (!policy)
		return;
	trust_free(policy->trust);
	(void)pthread_mutex_destroy(&policy->lock);
	free(policy->directory);
	free(policy);
}

/* --- the trust directory as it is now; under the lock --- */

/* What cannot be read revokes nothing and everything, so nobody passes until it can be. */
static void mark_broken(struct policy *policy)
{
	const char *why = simpler_last_error_step(0);

	if (strcmp(policy->broken, why) == 0)
		return;
	(void)snprintf(policy->broken, sizeof(policy->broken), "%s", why);
	simpler_log(SIMPLER_LOG_ERROR, "all code is refused until this is set right: %s", why);
}

static void refresh(struct policy *policy)
{
	struct trust *fresh = NULL;

	if (!policy->directory || (policy->trust && !trust_is_stale(policy->trust)))
		return;
	trust_free(policy->trust);
	policy->trust = NULL;
	if (trust_load(policy->directory, &fresh) != SIMPLER_OK) {
		mark_broken(policy);
		return;
	}
	policy->trust = fresh;
	simpler_log(SIMPLER_LOG_DEBUG, "the trust directory '%s' was read anew", policy->directory);
	policy->broken[0] = '\0';
}

/* --- judging; under the lock --- */

/* "module 0123..." or "library 'name'" */
static void describe(const struct policy_subject *subject, char out[WHAT_BYTES])
{
	char hex[DIGEST_HEX_BYTES] = "that has not been read";

	if (subject->digest)
		digest_hex(subject->digest, hex);
	if (subject->library)
		(void)snprintf(out, WHAT_BYTES, "library '%.64s' (%s)", subject->library, hex);
	else
		(void)snprintf(out, WHAT_BYTES, "module %s", hex);
}

static simpler_status judge_revoked(const struct policy *policy,
                                    const struct policy_subject *subject,
                                    const struct signature *signature, const char *what)
{
	char hex[DIGEST_HEX_BYTES];

	if (!policy->trust)
		return SIMPLER_OK;
	if (subject->digest && trust_revokes_module(policy->trust, subject->digest))
		return error_raise(SIMPLER_EPERM,
		                   "%s is revoked on this node: '%s/revoked' names it; use another "
		                   "version of it",
		                   what, policy->directory);
	if (!signature || !trust_revokes_key(policy->trust, &signature->key))
		return SIMPLER_OK;
	digest_hex(&signature->key, hex);
	return error_raise(SIMPLER_EPERM,
	                   "%s is signed by key %s, which is revoked on this node: '%s/revoked' "
	                   "names it; have the module signed by another key",
	                   what, hex, policy->directory);
}

static simpler_status judge_signature(const struct policy *policy,
                                      const struct policy_subject *subject,
                                      const struct signature *signature, const char *what)
{
	const struct public_key *key;
	char hex[DIGEST_HEX_BYTES];

	if (!signature)
		return error_raise(SIMPLER_EPERM,
		                   "%s is not signed, and this node takes signed modules only "
		                   "(--code signed); sign it with \"simpler sign\" and a key that "
		                   "is trusted here",
		                   what);
	digest_hex(&signature->key, hex);
	key = trust_find(policy->trust, &signature->key);
	if (!key)
		return error_raise(SIMPLER_EPERM,
		                   "%s is signed by key %s, which this node does not trust (--code "
		                   "signed); put the public key into '%s' on the node, or sign "
		                   "with one that is there",
		                   what, hex, policy->directory);
	if (!key_verify(key, subject->digest, signature))
		return error_raise(SIMPLER_EPERM,
		                   "%s: the signature that comes with it, of key %s, is of other "
		                   "bytes or was damaged (--code signed); sign the module again",
		                   what, hex);
	return SIMPLER_OK;
}

static simpler_status judge_mode(const struct policy *policy, const struct policy_subject *subject,
                                 const struct signature *signature, const char *what)
{
	if (policy->mode == POLICY_NONE)
		return error_raise(SIMPLER_EPERM,
		                   "%s is refused: this node takes no code from anybody (--code "
		                   "none); start its daemon with another --code",
		                   what);
	if (policy->mode == POLICY_ANY || subject->library)
		return SIMPLER_OK;
	if (policy->mode == POLICY_NAMED)
		return error_raise(SIMPLER_EPERM,
		                   "%s is refused: this node runs nothing but libraries that are "
		                   "installed on it (--code named); name one of those, or start "
		                   "its daemon with --code signed or any",
		                   what);
	return judge_signature(policy, subject, signature, what);
}

static simpler_status judge(const struct policy *policy, const struct policy_subject *subject)
{
	struct signature signature;
	const struct signature *found = subject->signature.size > 0 ? &signature : NULL;
	char what[WHAT_BYTES];
	simpler_status status = SIMPLER_OK;

	describe(subject, what);
	if (policy->broken[0] != '\0')
		return error_raise(SIMPLER_EPERM,
		                   "%s is refused, as all code is: the node's trust directory "
		                   "cannot be used any more; its log says why",
		                   what);
	if (found)
		status = signature_unpack(subject->signature, &signature);
	if (status == SIMPLER_OK)
		status = judge_revoked(policy, subject, found, what);
	return status == SIMPLER_OK ? judge_mode(policy, subject, found, what) : status;
}

static simpler_status ask(struct policy *policy, const struct policy_subject *subject, bool *broken)
{
	simpler_status status;

	pthread_mutex_lock(&policy->lock);
	refresh(policy);
	*broken = policy->broken[0] != '\0';
	status = judge(policy, subject);
	pthread_mutex_unlock(&policy->lock);
	return status;
}

static void log_refusal(void)
{
	simpler_log(SIMPLER_LOG_WARN, "%s", simpler_last_error_step(0));
}

simpler_status policy_check(struct policy *policy, const struct policy_subject *subject)
{
	bool broken;
	simpler_status status = ask(policy, subject, &broken);

	if (status == SIMPLER_EPERM)
		log_refusal();
	return status;
}

bool policy_revokes(struct policy *policy, const struct policy_subject *subject)
{
	bool broken;
	bool revoked = ask(policy, subject, &broken) == SIMPLER_EPERM && !broken;

	if (revoked)
		log_refusal();
	return revoked;
}
