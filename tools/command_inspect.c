/* simpler inspect: what a module offers, read from its file. None of its code runs. */
#include <getopt.h>
#include <stdlib.h>

#include "base/error.h"
#include "catalog/digest.h"
#include "catalog/module_file.h"
#include "catalog/module_read.h"
#include "commands.h"

const char inspect_usage[] =
	"Usage: simpler inspect MODULE\n"
	"List the callables of a module, a shared object, without running any of its code.\n"
	"\n"
	"Printed are the file's size, its SHA-256, which is what nodes know the module by, the\n"
	"callable ABI that it was compiled against, and kind and name of each callable.\n";

static void print_module(const char *path, size_t size, const struct digest *digest,
                         const struct module_file *file)
{
	char hex[DIGEST_HEX_BYTES];

	digest_hex(digest, hex);
	printf("module   %s\nsize     %zu bytes\nsha-256  %s\n\n", path, size, hex);
	printf("%-22s  %3s  %s\n", "KIND", "ABI", "NAME");
	for (size_t i = 0; i < file->count; i++)
		/* A module of any other ABI was refused when it was parsed. */
		printf("%-22s  %3d  %s\n", simpler_kind_name(file->entries[i].kind),
		       SIMPLER_CALLABLE_ABI, file->entries[i].name);
}

static simpler_status inspect(const char *path)
{
	static struct module_file file; /* some 17 KB */
	struct digest digest;
	uint8_t *bytes;
	size_t size;
	simpler_status status = module_read(path, &bytes, &size);

	if (status != SIMPLER_OK)
		return status;
	status = module_file_parse(bytes, size, &file);
	if (status == SIMPLER_OK)
		status = digest_compute(bytes, size, &digest);
	free(bytes);
	if (status != SIMPLER_OK)
		return error_context("'%s' is no module that can be used here", path);
	print_module(path, size, &digest, &file);
	return SIMPLER_OK;
}

int command_inspect(int argc, char **argv)
{
	static const struct option none[] = { { NULL, 0, NULL, 0 } };
	int found = getopt_long(argc, argv, "+:", none, NULL);

	if (found != -1)
		return usage_bad_option("inspect", found, argv);
	if (argc - optind != 1)
		return usage_error("inspect", "one module is wanted, not %d", argc - optind);
	return inspect(argv[optind]) == SIMPLER_OK ? EXIT_SUCCESS : complain("inspect");
}
