#include "ipc/failed_installs.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"

struct failed_install {
	uint64_t key;
	struct error error;
	struct failed_install *next;
};

void failed_installs_note(struct failed_installs *failed, uint64_t key)
{
	struct failed_install *entry = malloc(sizeof(*entry));

	if (!entry) {
		simpler_log(SIMPLER_LOG_ERROR, "out of memory: %s", simpler_last_error());
		return;
	}
	entry->key = key;
	error_save(&entry->error);
	entry->next = failed->first;
	failed->first = entry;
}

simpler_status failed_installs_explain(const struct failed_installs *failed, uint64_t key)
{
	const struct failed_install *entry = failed->first;

	while (entry && entry->key != key)
		entry = entry->next;
	if (entry)
		return error_restore(&entry->error);
	return error_raise(SIMPLER_ENOTFOUND, "callable %" PRIu64 " was never installed here", key);
}

void failed_installs_forget(struct failed_installs *failed, uint64_t key)
{
	struct failed_install **link = &failed->first, *entry;

	while ((entry = *link) != NULL && entry->key != key)
		link = &entry->next;
	if (entry) {
		*link = entry->next;
		free(entry);
	}
}

void failed_installs_release(struct failed_installs *failed)
{
	while (failed->first)
		failed_installs_forget(failed, failed->first->key);
}
