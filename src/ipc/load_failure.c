/*
 * The dynamic loader finds all that a module needs, or does not load it: it alone knows where it
 * looks, and what the libraries have that it found. What it missed is told by its words and the
 * module's own list of needs together: the words begin with the name of a library that was not
 * found, and end with the symbol that nobody has. So nothing is tried again to find out, and the
 * language that the words are in does not matter.
 *
 *     libabsent.so.3: cannot open shared object file: No such file or directory
 *     /lib/libc.so.6: version `GLIBC_9.99' not found (required by /proc/self/fd/5)
 *     undefined symbol: absent_function, version ABSENT_1.0
 */
#include "ipc/load_failure.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "catalog/module_needs.h"
#include "ipc/host_program.h"
#include "os/memory.h"
#include "simpler/version.h"

#define OURS "simpler_" /* what begins with this is ours to have */

static bool begins_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
	size_t size = strlen(text), end_size = strlen(end);

	return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* --- libraries --- */

/* A library that was found, and is no good, is named by its path. */
static bool is_not_found(const char *words, const char *library)
{
	return begins_with(words, library) && begins_with(words + strlen(library), ": ");
}

static simpler_status explain_library(const struct module_needs *needs, const char *words)
{
	for (size_t i = 0; i < needs->library_count; i++) {
		if (is_not_found(words, needs->libraries[i]))
			return error_raise(SIMPLER_EINVAL,
			                   "the module needs the library '%s', which is not "
			                   "installed on this machine; install it, or link what "
			                   "the module uses of it into the module",
			                   needs->libraries[i]);
	}
	return SIMPLER_OK;
}

static simpler_status explain_version(const struct module_needs *needs, const char *words)
{
	for (size_t i = 0; i < needs->version_count; i++) {
		const struct module_version *version = &needs->versions[i];
		char quoted[256];
		int size = snprintf(quoted, sizeof(quoted), "`%s'", version->name);

		if (size < 0 || (size_t)size >= sizeof(quoted) || !strstr(words, quoted))
			continue;
		return error_raise(SIMPLER_EINVAL,
		                   "the module needs '%s' of the library '%s', and the one on this "
		                   "machine is older and lacks it; build the module on a machine "
		                   "with as old a library as this one's",
		                   version->name, version->library);
	}
	return SIMPLER_OK;
}

/* --- symbols --- */

static bool is_symbol(const char *words, const struct module_symbol *symbol)
{
	char end[ERROR_STEP_BYTES];
	int size = snprintf(end, sizeof(end), ": %s%s%s", symbol->name,
	                    symbol->version ? ", version " : "",
	                    symbol->version ? symbol->version->name : "");

	return size > 0 && (size_t)size < sizeof(end) && ends_with(words, end);
}

static simpler_status raise_symbol(const struct module_symbol *symbol)
{
	if (begins_with(symbol->name, OURS) && host_program_is_own())
		return error_raise(SIMPLER_EINVAL,
		                   "the module needs the symbol '%s', which this program does not "
		                   "export; if it links libsimpler.a, link it with "
		                   "-Wl,--export-dynamic-symbol='simpler_*', and else with a newer "
		                   "simpler than %s",
		                   symbol->name, SIMPLER_VERSION);
	if (begins_with(symbol->name, OURS))
		return error_raise(SIMPLER_EINVAL,
		                   "the module needs the symbol '%s', which simpler %s does not "
		                   "have: it was built against a newer version; update this "
		                   "machine's, or build it against %s",
		                   symbol->name, SIMPLER_VERSION, SIMPLER_VERSION);
	if (symbol->version)
		return error_raise(
			SIMPLER_EINVAL,
			"the module needs the symbol '%s' in version '%s' of the library "
			"'%s', and the one on this machine does not have it",
			symbol->name, symbol->version->name, symbol->version->library);
	return error_raise(
		SIMPLER_EINVAL,
		"the module needs the symbol '%s', which neither simpler-host %s nor the "
		"libraries that the module names have; link the module with what has it",
		symbol->name, SIMPLER_VERSION);
}

static simpler_status explain_symbol(const struct module_needs *needs, const char *words)
{
	struct module_symbol symbol;
	size_t at = 0;

	while (module_needs_symbol(needs, &at, &symbol)) {
		if (!symbol.weak && is_symbol(words, &symbol))
			return raise_symbol(&symbol);
	}
	return SIMPLER_OK;
}

/* SIMPLER_OK: it is none of these. */
static simpler_status explain(const void *bytes, size_t size, const char *words)
{
	struct module_needs needs;
	simpler_status status;

	/* What cannot be read has no words of its own here: the dynamic loader's stay. */
	if (module_needs_read(bytes, size, &needs) != SIMPLER_OK)
		return SIMPLER_OK;
	status = explain_library(&needs, words);
	if (!status)
		status = explain_version(&needs, words);
	return status ? status : explain_symbol(&needs, words);
}

simpler_status load_failure_explain(int fd)
{
	char words[ERROR_STEP_BYTES];
	simpler_status status = SIMPLER_OK;
	void *bytes = NULL;
	uint64_t size = 0;

	(void)snprintf(words, sizeof(words), "%s", simpler_last_error_step(0));
	if (memory_size(fd, &size) == SIMPLER_OK &&
	    memory_map_readable(fd, size, &bytes) == SIMPLER_OK) {
		status = explain(bytes, (size_t)size, words);
		memory_unmap(bytes, size);
	}
	return status ? status : error_raise(SIMPLER_EINVAL, "the module does not load: %s", words);
}
