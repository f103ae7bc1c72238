/* simpler verify: whether a module's signature is good, and of a key that is trusted. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "catalog/key.h"
#include "catalog/module_read.h"
#include "catalog/trust.h"
#include "commands.h"
#include "module_digest.h"

const char verify_usage[] =
	"Usage: simpler verify --trust DIR MODULE\n"
	"       simpler verify --pub FILE MODULE\n"
	"Check the signature beside a module, MODULE.sig, and print the id of its key.\n"
	"\n"
	"  --trust DIR  it has to be of a key in the trust directory, and neither key nor module\n"
	"               may be revoked there: what a node with \"--code signed --trust DIR\" asks\n"
	"  --pub FILE   it has to be of this public key\n"
	"\n"
	"The exit status is 0 when the signature is good, else 1.\n";

static simpler_status not_trusted(const struct digest *signer, const char *where)
{
	char hex[DIGEST_HEX_BYTES];

	digest_hex(signer, hex);
	return error_raise(SIMPLER_EPERM, "it is signed by key %s, which is not that of '%s'", hex,
	                   where);
}

static simpler_status check_revoked(const struct trust *trust, const struct digest *module,
                                    const struct digest *signer, const char *directory)
{
	char hex[DIGEST_HEX_BYTES];

	if (trust_revokes_module(trust, module))
		return error_raise(SIMPLER_EPERM, "the module is revoked in '%s/revoked'",
		                   directory);
	if (!trust_revokes_key(trust, signer))
		return SIMPLER_OK;
	digest_hex(signer, hex);
	return error_raise(SIMPLER_EPERM,
	                   "it is signed by key %s, which is revoked in "
	                   "'%s/revoked'",
	                   hex, directory);
}

static simpler_status find_trusted(const char *directory, const struct digest *module,
                                   const struct digest *signer, struct public_key *out)
{
	const struct public_key *found = NULL;
	struct trust *trust;
	simpler_status status = trust_load(directory, &trust);

	if (status != SIMPLER_OK)
		return status;
	status = check_revoked(trust, module, signer, directory);
	if (status == SIMPLER_OK)
		found = trust_find(trust, signer);
	if (found)
		*out = *found;
	else if (status == SIMPLER_OK)
		status = not_trusted(signer, directory);
	trust_free(trust);
	return status;
}

static simpler_status read_expected(const char *path, const struct digest *signer,
                                    struct public_key *out)
{
	struct digest id;
	simpler_status status = key_read_public(path, out);

	if (status == SIMPLER_OK)
		status = key_id(out, &id);
	if (status == SIMPLER_OK && memcmp(&id, signer, sizeof(id)) != 0)
		status = not_trusted(signer, path);
	return status;
}

static simpler_status verify(const char *path, const char *trust, const char *pub)
{
	char hex[DIGEST_HEX_BYTES];
	struct signature signature;
	struct public_key key;
	struct digest module;
	simpler_status status = module_digest(path, &module);

	if (status == SIMPLER_OK)
		status = module_read_signature(path, &module, &signature);
	if (status == SIMPLER_OK)
		status = trust ? find_trusted(trust, &module, &signature.key, &key)
		               : read_expected(pub, &signature.key, &key);
	if (status == SIMPLER_OK && !key_verify(&key, &module, &signature))
		status = error_raise(SIMPLER_EPERM, "the signature is damaged, or not of the key "
		                                    "that it names");
	if (status != SIMPLER_OK)
		return error_context("'%s' is not to be trusted", path);
	digest_hex(&signature.key, hex);
	printf("%s: signed by key %s\n", path, hex);
	return SIMPLER_OK;
}

int command_verify(int argc, char **argv)
{
	static const struct option options[] = {
		{ "trust", required_argument, NULL, 256 },
		{ "pub", required_argument, NULL, 257 },
		{ NULL, 0, NULL, 0 },
	};
	const char *trust = NULL, *pub = NULL;
	int found;

	while ((found = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (found == 256)
			trust = optarg;
		else if (found == 257)
			pub = optarg;
		else
			return usage_bad_option("verify", found, argv);
	}
	if (!trust == !pub)
		return usage_error("verify", "one of --trust DIR and --pub FILE is wanted");
	if (argc - optind != 1)
		return usage_error("verify", "one module is wanted, not %d", argc - optind);
	return verify(argv[optind], trust, pub) == SIMPLER_OK ? EXIT_SUCCESS : complain("verify");
}
