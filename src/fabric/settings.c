/*
 * libfabric is told some things by its environment only, which it reads when it is called for the
 * first time; in a process that has used it before, for something else, that is over.
 *
 * The environment is the program's, whose other threads may read it meanwhile. So it is not
 * changed, but replaced by a copy for that moment, which is never freed.
 */
#include "fabric/settings.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static const struct {
	char *text;
	bool whatever; /* the program's environment says; else that comes first */
} settings[] = {
	/* Or `verbs` keeps registrations that were closed, for who registers the same memory again,
	 * and with them their keys: which go on working, for writing, too. */
	{ "FI_MR_CACHE_MONITOR=disabled", true },
	/* Of how many peers at once a port's queue of completions has room for everything. With the
	 * default of 256, a queue is larger than soft-RoCE can have. */
	{ "FI_UNIVERSE_SIZE=64", false },
	/* Entries of a queue of receives, each with a buffer of 16 KiB. By `tcp` a port has one for
	 * all its connections, for which the default is 4096: 64 MiB for each session. */
	{ "FI_OFI_RXM_MSG_RX_SIZE=128", false },
};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

static bool names_same(const char *one, const char *other)
{
	size_t size = strcspn(other, "=") + 1;

	return strncmp(one, other, size) == 0;
}

static bool is_replaced(const char *text)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		if (settings[i].whatever && names_same(text, settings[i].text))
			return true;
	}
	return false;
}

/* Of two of the same name, the first one counts. */
static void fill(char **to, char **from)
{
	for (; *from; from++) {
		if (!is_replaced(*from))
			*to++ = *from;
	}
	for (size_t i = 0; i < SETTINGS; i++)
		*to++ = settings[i].text;
	*to = NULL;
}

simpler_status settings_apply(void (*work)(void))
{
	static char **copy; /* where tools that look for leaks find it */
	static char *nothing;
	char **before = environ, **from = before ? before : &nothing;
	size_t count = 0;

	while (from[count])
		count++;
	copy = calloc(count + SETTINGS + 1, sizeof(*copy));
	if (!copy)
		return error_raise(SIMPLER_ENOMEM, "out of memory for an environment");
	fill(copy, from);
	environ = copy;
	work();
	if (environ == copy) /* nobody has added to it */
		environ = before;
	return SIMPLER_OK;
}
