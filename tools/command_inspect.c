/* simpler inspect: what a module offers, read from its file. None of its code runs. */
#include <getopt.h>
#include <stdlib.h>

#include "base/error.h"
#include "catalog/digest.h"
#include "catalog/module_file.h"
#include "catalog/module_needs.h"
#include "catalog/module_read.h"
#include "commands.h"
#include "json.h"

const char inspect_usage[] =
	"Usage: simpler inspect [--json] MODULE\n"
	"List the callables of a module, a shared object, without running any of its code.\n"
	"\n"
	"Printed are the file's size, its SHA-256, which is what nodes know the module by, whose\n"
	"key signed it, the libraries that it needs, the callable ABI that it was compiled\n"
	"against, and kind and name of each callable. Whether the signature is good is what\n"
	"\"simpler verify\" tells.\n"
	"\n"
	"  --json  the same as one JSON object; see simpler(1)\n";

struct inspected {
	const char *path;
	size_t size;
	struct digest digest;
	struct module_file file;
	enum { UNSIGNED, SIGNED, SIGNED_WRONGLY } state; /* the last: no file that can be of it */
	struct digest key;
	uint8_t *bytes; /* which `needs` points into; NULL: they were not read */
	struct module_needs needs;
};

/* --- reading --- */

static simpler_status read_signature(struct inspected *out)
{
	struct signature signature;
	simpler_status status = module_read_signature(out->path, &out->digest, &signature);

	if (status == SIMPLER_OK) {
		out->state = SIGNED;
		out->key = signature.key;
	} else if (status == SIMPLER_EINVAL || status == SIMPLER_EVERSION) {
		out->state = SIGNED_WRONGLY;
	} else if (status != SIMPLER_ENOTFOUND) {
		return status;
	}
	return SIMPLER_OK;
}

static simpler_status inspect(const char *path, struct inspected *out)
{
	uint8_t *bytes;
	simpler_status status = module_read(path, &bytes, &out->size);

	if (status != SIMPLER_OK)
		return status;
	out->path = path;
	out->bytes = bytes;
	status = module_file_parse(out->bytes, out->size, &out->file);
	if (status == SIMPLER_OK)
		status = module_needs_read(out->bytes, out->size, &out->needs);
	if (status == SIMPLER_OK)
		status = digest_compute(out->bytes, out->size, &out->digest);
	if (status != SIMPLER_OK)
		return error_context("'%s' is no module that can be used here", path);
	return read_signature(out);
}

/* --- printing --- */

static void print_text(const struct inspected *module)
{
	const struct module_file *file = &module->file;
	char hex[DIGEST_HEX_BYTES];

	digest_hex(&module->digest, hex);
	printf("module   %s\nsize     %zu bytes\nsha-256  %s\n", module->path, module->size, hex);
	digest_hex(&module->key, hex);
	if (module->state == UNSIGNED)
		printf("signed   no\n");
	else if (module->state == SIGNED)
		printf("signed   by key %s, of these bytes\n", hex);
	else
		printf("signed   no: %s\n", simpler_last_error_step(0));
	for (size_t i = 0; i < module->needs.library_count; i++) {
		printf("%s", i == 0 ? "needs    " : "         ");
		print_untrusted(stdout, module->needs.libraries[i]);
		printf("\n");
	}
	printf("\n%-22s  %3s  %s\n", "KIND", "ABI", "NAME");
	for (size_t i = 0; i < file->count; i++)
		/* A module of any other ABI was refused when it was parsed. */
		printf("%-22s  %3d  %s\n", simpler_kind_name(file->entries[i].kind),
		       SIMPLER_CALLABLE_ABI, file->entries[i].name);
}

static const char *kind_word(simpler_kind kind)
{
	static const char *const words[] = { [SIMPLER_KIND_SUB] = "sub",
		                             [SIMPLER_KIND_ORCH] = "orch",
		                             [SIMPLER_KIND_CHIP] = "chip" };

	return words[kind];
}

static void print_json_signature(struct json *json, const struct inspected *module)
{
	char hex[DIGEST_HEX_BYTES];

	if (module->state == UNSIGNED) {
		json_null(json, "signature");
		return;
	}
	json_open_object(json, "signature");
	json_bool(json, "of_this_module", module->state == SIGNED);
	if (module->state == SIGNED) {
		digest_hex(&module->key, hex);
		json_string(json, "key", hex);
	} else {
		json_string(json, "error", simpler_last_error_step(0));
	}
	json_close_object(json);
}

static void print_json(const struct inspected *module)
{
	struct json json = { .stream = stdout };
	char hex[DIGEST_HEX_BYTES];

	digest_hex(&module->digest, hex);
	json_open_object(&json, NULL);
	json_string(&json, "module", module->path);
	json_number(&json, "size", module->size);
	json_string(&json, "sha256", hex);
	json_number(&json, "callable_abi", SIMPLER_CALLABLE_ABI);
	print_json_signature(&json, module);
	json_open_array(&json, "needs");
	for (size_t i = 0; i < module->needs.library_count; i++)
		json_string(&json, NULL, module->needs.libraries[i]);
	json_close_array(&json);
	json_open_array(&json, "callables");
	for (size_t i = 0; i < module->file.count; i++) {
		json_open_object(&json, NULL);
		json_string(&json, "kind", kind_word(module->file.entries[i].kind));
		json_string(&json, "name", module->file.entries[i].name);
		json_close_object(&json);
	}
	json_close_array(&json);
	json_close_object(&json);
}

int command_inspect(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 256 },
		{ NULL, 0, NULL, 0 },
	};
	static struct inspected module; /* some 17 KB */
	bool as_json = false;
	simpler_status status;
	int found;

	while ((found = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (found != 256)
			return usage_bad_option("inspect", found, argv);
		as_json = true;
	}
	if (argc - optind != 1)
		return usage_error("inspect", "one module is wanted, not %d", argc - optind);
	status = inspect(argv[optind], &module);
	if (status == SIMPLER_OK)
		(as_json ? print_json : print_text)(&module);
	free(module.bytes);
	return status == SIMPLER_OK ? EXIT_SUCCESS : complain("inspect");
}
