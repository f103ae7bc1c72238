/* Callables that came in by a policy which has changed since. */
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

/* One that is pinned, so it is there. */
static void revoke_key(struct catalog *catalog, uint64_t key)
{
	struct aftermath aftermath = { NULL, NULL };

	pthread_mutex_lock(&catalog->lock);
	revoke(catalog, table_find_key(&catalog->table, key), &aftermath);
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
}

size_t catalog_recheck(struct catalog *catalog)
{
	struct catalog_entry entry = { .key = 0 };
	size_t count = 0;

	while (catalog_next(catalog, entry.key, &entry)) {
		if (entry.state != CATALOG_WITHDRAWN &&
		    catalog_judge(catalog, &entry.payload, &entry.module) == SIMPLER_EPERM) {
			revoke_key(catalog, entry.key);
			count++;
		}
		catalog_unpin(catalog, entry.key);
	}
	return count;
}
