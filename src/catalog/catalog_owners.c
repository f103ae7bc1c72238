/* What owners do with their callables: commit, abort, unregister, leave, or let the time pass. */
#include <assert.h>
#include <inttypes.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/error.h"
#include "catalog/callable.h"

/* All of these with the lock held. */

/* The session's callable of this version, or its newest; NULL when it owns none. */
static struct callable *find_owned(const struct family *family, uint64_t session, uint64_t version,
                                   struct owner **out)
{
	struct callable *callable;

	*out = NULL;
	if (!family)
		return NULL;
	DL_FOREACH (family->versions, callable) {
		if (version == 0 || callable->entry.version == version)
			*out = owners_find(callable->owners, session);
		if (*out)
			return callable;
	}
	return NULL;
}

static simpler_status raise_not_owned(const struct catalog *catalog, const struct family *family,
                                      uint64_t callable_id, uint64_t version)
{
	if (departures_revoked(&catalog->departures, callable_id, version))
		return catalog_raise_revoked(callable_id);
	if (family_find(family, version) || (family && version == 0) ||
	    departures_have_any(&catalog->departures, callable_id, version))
		return error_raise(SIMPLER_ESTATE,
		                   "callable %" PRIu64 " version %" PRIu64
		                   " is not this session's: it has not prepared it here, has "
		                   "unregistered it, or has not committed it within %u s",
		                   callable_id, version, CATALOG_PREPARED_MS / 1000);
	return error_raise(SIMPLER_ENOTFOUND,
	                   "callable %" PRIu64 " version %" PRIu64
	                   " is not known here; prepare it first",
	                   callable_id, version);
}

static void remove_owner(struct catalog *catalog, struct callable *callable, uint64_t session,
                         struct aftermath *aftermath)
{
	if (!owners_remove(&callable->owners, session))
		return;
	catalog->owner_count--;
	departures_add(&catalog->departures,
	               (struct departure){ .session = session,
	                                   .callable_id = callable->entry.callable_id,
	                                   .version = callable->entry.version });
	catalog_consider(catalog, callable, aftermath);
}

/* --- one callable --- */

static simpler_status commit(struct catalog *catalog, uint64_t session, uint64_t callable_id,
                             uint64_t version, struct aftermath *aftermath)
{
	struct family *family = table_find_family(&catalog->table, callable_id);
	struct owner *owner;
	struct callable *callable = find_owned(family, session, version, &owner);

	if (!callable)
		return raise_not_owned(catalog, family, callable_id, version);
	if (callable->entry.state == CATALOG_PENDING)
		return error_raise(SIMPLER_ESTATE,
		                   "callable %" PRIu64 " is still being prepared; commit it when "
		                   "that was answered",
		                   callable_id);
	owner->until = CLOCK_NEVER;
	return catalog_own(catalog, callable, session, true, aftermath);
}

simpler_status catalog_commit(struct catalog *catalog, uint64_t session, uint64_t callable_id,
                              uint64_t version)
{
	struct aftermath aftermath = { NULL, NULL };
	simpler_status status;

	pthread_mutex_lock(&catalog->lock);
	status = commit(catalog, session, callable_id, version, &aftermath);
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
	return status;
}

static simpler_status give_up(struct catalog *catalog, uint64_t session, uint64_t callable_id,
                              uint64_t version, struct aftermath *aftermath)
{
	struct family *family = table_find_family(&catalog->table, callable_id);
	struct owner *owner;
	struct callable *callable = find_owned(family, session, version, &owner);

	if (!callable && departures_have(&catalog->departures, session, callable_id, version))
		return SIMPLER_OK;
	if (!callable)
		return raise_not_owned(catalog, family, callable_id, version);
	if (owner->until == CLOCK_NEVER)
		return error_raise(SIMPLER_ESTATE,
		                   "callable %" PRIu64 " version %" PRIu64
		                   " is committed; unregister it instead",
		                   callable_id, callable->entry.version);
	remove_owner(catalog, callable, session, aftermath);
	return SIMPLER_OK;
}

simpler_status catalog_abort(struct catalog *catalog, uint64_t session, uint64_t callable_id,
                             uint64_t version)
{
	struct aftermath aftermath = { NULL, NULL };
	simpler_status status;

	pthread_mutex_lock(&catalog->lock);
	status = give_up(catalog, session, callable_id, version, &aftermath);
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
	return status;
}

static simpler_status unregister(struct catalog *catalog, uint64_t session, uint64_t callable_id,
                                 uint64_t version, uint64_t *key, struct aftermath *aftermath)
{
	struct family *family = table_find_family(&catalog->table, callable_id);
	struct owner *owner;
	struct callable *callable = find_owned(family, session, version, &owner);

	if (callable) {
		*key = callable->entry.key;
		remove_owner(catalog, callable, session, aftermath);
		return SIMPLER_OK;
	}
	if (!departures_have(&catalog->departures, session, callable_id, version))
		return raise_not_owned(catalog, family, callable_id, version);
	/* Again: whose answer was lost waits as before. */
	callable = family_find(family, version);
	*key = callable ? callable->entry.key : 0;
	return SIMPLER_OK;
}

simpler_status catalog_unregister(struct catalog *catalog, uint64_t session, uint64_t callable_id,
                                  uint64_t version, struct catalog_waiter *waiter, bool *waits)
{
	struct aftermath aftermath = { NULL, NULL };
	struct callable *callable;
	simpler_status status;
	uint64_t key = 0;

	*waits = false;
	waiter->key = 0;
	pthread_mutex_lock(&catalog->lock);
	status = unregister(catalog, session, callable_id, version, &key, &aftermath);
	callable = table_find_key(&catalog->table, key);
	if (!status && callable && callable->entry.state == CATALOG_WITHDRAWN) {
		waiter->key = key;
		DL_APPEND(callable->waiters, waiter);
		*waits = true;
	}
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
	return status;
}

bool catalog_stop_waiting(struct catalog *catalog, struct catalog_waiter *waiter)
{
	struct callable *callable;

	pthread_mutex_lock(&catalog->lock);
	callable = waiter->key ? table_find_key(&catalog->table, waiter->key) : NULL;
	if (callable)
		DL_DELETE(callable->waiters, waiter);
	waiter->key = 0;
	pthread_mutex_unlock(&catalog->lock);
	return callable != NULL;
}

/* --- all of them --- */

void catalog_leave(struct catalog *catalog, uint64_t session)
{
	struct aftermath aftermath = { NULL, NULL };
	struct callable *callable, *next;

	pthread_mutex_lock(&catalog->lock);
	HASH_ITER (hh, catalog->table.callables, callable, next)
		remove_owner(catalog, callable, session, &aftermath);
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
}

static void expire_owners(struct catalog *catalog, struct callable *callable, int64_t now,
                          struct aftermath *aftermath)
{
	struct owner *owner, *next;

	LL_FOREACH_SAFE (callable->owners, owner, next) {
		if (owner->until <= now)
			remove_owner(catalog, callable, owner->session, aftermath);
	}
}

int64_t catalog_expire(struct catalog *catalog)
{
	struct aftermath aftermath = { NULL, NULL };
	struct callable *callable, *next;
	int64_t now = catalog->options.now(), first = CLOCK_NEVER;

	pthread_mutex_lock(&catalog->lock);
	HASH_ITER (hh, catalog->table.callables, callable, next) {
		int64_t until;

		/* One that is being loaded is waited for by who prepared it. */
		if (callable->entry.state == CATALOG_PENDING)
			continue;
		expire_owners(catalog, callable, now, &aftermath);
		until = owners_first_until(callable->owners);
		first = until < first ? until : first;
	}
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
	return first;
}
