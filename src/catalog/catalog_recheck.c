/* Callables that came in by a policy which has changed since. */
#include <string.h>
#include <utlist.h>

#include "catalog/callable.h"

/* With the lock held. */
static void revoke(struct catalog *catalog, struct callable *callable, struct aftermath *aftermath)
{
	struct owner *owner;

	LL_FOREACH (callable->owners, owner)
		departures_add(&catalog->departures,
		               (struct departure){ .session = owner->session,
		                                   .callable_id = callable->entry.callable_id,
		                                   .version = callable->entry.version,
		                                   .revoked = true });
	catalog->owner_count -= owners_clear(&callable->owners);
	catalog_consider(catalog, callable, aftermath);
}

/* One that is pinned, so it is there. False when another signature has come, and passed, since it
 * was judged. */
static bool revoke_entry(struct catalog *catalog, const struct catalog_entry *entry)
{
	struct aftermath aftermath = { NULL, NULL };
	struct callable *callable;
	bool same;

	pthread_mutex_lock(&catalog->lock);
	callable = table_find_key(&catalog->table, entry->key);
	same = memcmp(callable->entry.signature, entry->signature, sizeof(entry->signature)) == 0;
	if (same)
		revoke(catalog, callable, &aftermath);
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
	return same;
}

static bool is_revoked(struct catalog *catalog, const struct catalog_entry *entry)
{
	const struct payload payload = catalog_payload(entry);
	const struct policy_subject subject = catalog_subject(&payload, &entry->module);

	return policy_revokes(catalog->policy, &subject);
}

size_t catalog_recheck(struct catalog *catalog)
{
	struct catalog_entry entry = { .key = 0 };
	size_t count = 0;

	while (catalog_next(catalog, entry.key, &entry)) {
		if (entry.state != CATALOG_WITHDRAWN && is_revoked(catalog, &entry) &&
		    revoke_entry(catalog, &entry))
			count++;
		catalog_unpin(catalog, entry.key);
	}
	return count;
}
