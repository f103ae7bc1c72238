/* simpler sign: puts a signature file beside each of some modules. */
#include <getopt.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/error.h"
#include "catalog/key.h"
#include "catalog/small_file.h"
#include "commands.h"
#include "module_digest.h"

const char sign_usage[] =
	"Usage: simpler sign --key FILE MODULE...\n"
	"Sign modules: write MODULE.sig beside each, in the place of an older one.\n"
	"\n"
	"  --key FILE  the private key, as \"simpler key new\" makes it\n"
	"\n"
	"A program that loads MODULE sends the signature along. It is of the module's bytes, so\n"
	"sign again when they change. None of the module's code runs.\n";

static simpler_status sign(const struct private_key *key, const char *path)
{
	struct signature_file file;
	char text[SIGNATURE_TEXT_SIZE], signature[SIGNATURE_PATH_MAX], hex[DIGEST_HEX_BYTES];
	simpler_status status = module_digest(path, &file.module);

	if (status == SIMPLER_OK)
		status = signature_path(path, signature, sizeof(signature));
	if (status == SIMPLER_OK)
		status = key_sign(key, &file.module, &file.signature);
	if (status != SIMPLER_OK)
		return status;
	signature_file_write(&file, text);
	status = small_file_replace(signature, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH, text,
	                            sizeof(text));
	digest_hex(&file.module, hex);
	if (status == SIMPLER_OK)
		printf("%s  %s\n", hex, signature);
	return status;
}

static int sign_all(const char *key_path, char **modules)
{
	struct private_key key;
	int result = EXIT_SUCCESS;

	if (key_read_private(key_path, &key) != SIMPLER_OK)
		return complain("sign");
	for (; *modules; modules++) {
		if (sign(&key, *modules) != SIMPLER_OK)
			result = complain("sign");
	}
	key_forget(&key);
	return result;
}

int command_sign(int argc, char **argv)
{
	static const struct option options[] = {
		{ "key", required_argument, NULL, 256 },
		{ NULL, 0, NULL, 0 },
	};
	const char *key = NULL;
	int found;

	while ((found = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (found != 256)
			return usage_bad_option("sign", found, argv);
		key = optarg;
	}
	if (!key)
		return usage_error("sign", "--key FILE is missing");
	if (argc == optind)
		return usage_error("sign", "a module is missing");
	return sign_all(key, argv + optind);
}
