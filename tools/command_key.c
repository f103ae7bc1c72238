/* simpler key: makes a key that signs modules. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "catalog/key.h"
#include "commands.h"

#define PATH_BYTES 4096

const char key_usage[] =
	"Usage: simpler key new NAME\n"
	"Make a key that signs modules, and print its id.\n"
	"\n"
	"The private half goes to NAME.key, which nobody but you can read, without a pass phrase:\n"
	"keep it where modules are signed. The public half goes to NAME.pub: put it into the "
	"trust\n"
	"directories of the nodes that shall take what the key signs. Both are PEM files, which\n"
	"openssl(1) reads, too. No file is overwritten.\n";

static simpler_status make_key(const char *private_path, const char *public_path, struct digest *id)
{
	struct private_key key;
	simpler_status status = key_generate(&key);

	if (status == SIMPLER_OK)
		status = key_id(&key.pair, id);
	if (status == SIMPLER_OK)
		status = key_write_pair(&key, private_path, public_path);
	key_forget(&key);
	return status;
}

static int new_key(const char *name)
{
	char private_path[PATH_BYTES], public_path[PATH_BYTES], hex[DIGEST_HEX_BYTES];
	struct digest id;

	if (name[0] == '-')
		return usage_error("key",
		                   "'%s': a name that begins with '-' looks like an option; write "
		                   "./%s",
		                   name, name);
	if (strlen(name) == 0 || strlen(name) > PATH_BYTES - sizeof(".key"))
		return usage_error("key",
		                   "'%s': expected the path of two files without .key and "
		                   ".pub",
		                   name);
	(void)snprintf(private_path, sizeof(private_path), "%s.key", name);
	(void)snprintf(public_path, sizeof(public_path), "%s.pub", name);
	if (make_key(private_path, public_path, &id) != SIMPLER_OK)
		return complain("key");
	digest_hex(&id, hex);
	printf("key      %s\nprivate  %s\npublic   %s\n", hex, private_path, public_path);
	return EXIT_SUCCESS;
}

int command_key(int argc, char **argv)
{
	static const struct option none[] = { { NULL, 0, NULL, 0 } };
	int found = getopt_long(argc, argv, ":", none, NULL);

	if (found != -1)
		return usage_bad_option("key", found, argv);
	if (argc - optind < 1)
		return usage_error("key", "what to do with a key is missing: new");
	if (strcmp(argv[optind], "new") != 0)
		return usage_error("key",
		                   "'%s' is nothing that can be done with a key; there is: "
		                   "new",
		                   argv[optind]);
	if (argc - optind != 2)
		return usage_error("key", "new: one name is wanted, not %d", argc - optind - 1);
	return new_key(argv[optind + 1]);
}
