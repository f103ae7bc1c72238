/* The life of a callable from its settling to its end, and how it is found. See catalog/callable.h.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/error.h"
#include "catalog/callable.h"
#include "catalog/library.h"

/* --- what the lock is not held for --- */

void catalog_free_callable(struct catalog *catalog, struct callable *callable)
{
	module_store_leave(catalog->modules, callable->module);
	free(callable);
}

void catalog_finish(struct catalog *catalog, struct aftermath *aftermath)
{
	struct callable *callable, *next_callable;
	struct catalog_waiter *waiter, *next_waiter;

	LL_FOREACH_SAFE (aftermath->gone, callable, next_callable)
		catalog_free_callable(catalog, callable);
	/* Each may be gone when it was told. */
	LL_FOREACH_SAFE (aftermath->told, waiter, next_waiter)
		waiter->done(waiter);
}

/* --- states; with the lock held --- */

static void tell_all(struct callable *callable, struct aftermath *aftermath)
{
	struct catalog_waiter *waiter, *next;

	DL_FOREACH_SAFE (callable->waiters, waiter, next) {
		DL_DELETE(callable->waiters, waiter);
		waiter->key = 0;
		LL_PREPEND(aftermath->told, waiter);
	}
}

/* Without memory for it an engine remembers it for longer than need be. */
static void note_gone(struct catalog *catalog, uint64_t key)
{
	struct gone *gone = malloc(sizeof(*gone));

	if (!gone)
		return;
	gone->key = key;
	LL_PREPEND(catalog->gone, gone);
}

void catalog_consider(struct catalog *catalog, struct callable *callable,
                      struct aftermath *aftermath)
{
	if (callable->entry.state == CATALOG_PENDING || callable->owners)
		return;
	callable->entry.state = CATALOG_WITHDRAWN;
	if (callable->pins > 0)
		return;
	table_remove(&catalog->table, callable);
	note_gone(catalog, callable->entry.key);
	tell_all(callable, aftermath);
	LL_PREPEND(aftermath->gone, callable);
}

/* What its owners have made of it, once it is loaded. */
static void take_state(struct callable *callable)
{
	callable->entry.state =
		owners_any_committed(callable->owners) ? CATALOG_VISIBLE : CATALOG_PREPARED;
}

static struct owner *add_owner(struct catalog *catalog, struct callable *callable, uint64_t session)
{
	struct owner *owner;

	if (catalog->owner_count >= catalog->options.owners) {
		error_raise(SIMPLER_ENOSPACE,
		            "the callables here have %zu owners, and no more than that can be; end "
		            "sessions that are not needed",
		            catalog->options.owners);
		return NULL;
	}
	owner = owners_add(&callable->owners, session);
	if (owner)
		catalog->owner_count++;
	else
		error_raise(SIMPLER_ENOMEM, "no memory for the owner of a callable");
	return owner;
}

static int64_t prepared_until(const struct catalog *catalog)
{
	return catalog->options.now() + CATALOG_PREPARED_MS * CLOCK_MS;
}

simpler_status catalog_own(struct catalog *catalog, struct callable *callable, uint64_t session,
                           bool commit, struct aftermath *aftermath)
{
	struct owner *owner = owners_find(callable->owners, session);
	bool owned = owner && owner->until == CLOCK_NEVER;

	if (!owner)
		owner = add_owner(catalog, callable, session);
	if (!owner)
		return simpler_last_status();
	if (!owned)
		owner->until = commit ? CLOCK_NEVER : prepared_until(catalog);
	if (commit)
		table_renew(&catalog->table, callable);
	if (callable->entry.state == CATALOG_WITHDRAWN)
		tell_all(callable, aftermath);
	/* Visible for another, it stays so, also when that one leaves. */
	if (callable->entry.state == CATALOG_WITHDRAWN ||
	    (callable->entry.state == CATALOG_PREPARED && commit))
		take_state(callable);
	return SIMPLER_OK;
}

/* Now that it is loaded, they have the whole time to decide. */
static void begin_to_count(struct catalog *catalog, struct callable *callable)
{
	struct owner *owner;

	LL_FOREACH (callable->owners, owner) {
		if (owner->until != CLOCK_NEVER)
			owner->until = prepared_until(catalog);
	}
}

static void fail(struct catalog *catalog, struct callable *callable)
{
	catalog->owner_count -= owners_clear(&callable->owners);
	table_fail(&catalog->table, callable);
}

void catalog_settle(struct catalog *catalog, uint64_t key, bool installed)
{
	struct aftermath aftermath = { NULL, NULL };
	struct callable *callable;

	pthread_mutex_lock(&catalog->lock);
	callable = table_find_key(&catalog->table, key);
	if (callable && installed)
		callable->deaths = 0;
	if (callable && callable->entry.state == CATALOG_PENDING) {
		take_state(callable);
		if (installed)
			begin_to_count(catalog, callable);
		else
			fail(catalog, callable);
		catalog_consider(catalog, callable, &aftermath);
	}
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
}

bool catalog_blame(struct catalog *catalog, uint64_t key)
{
	struct aftermath aftermath = { NULL, NULL };
	struct callable *callable;
	bool gone = false;

	pthread_mutex_lock(&catalog->lock);
	callable = table_find_key(&catalog->table, key);
	if (callable && callable->entry.state != CATALOG_PENDING)
		gone = ++callable->deaths == CATALOG_MOST_DEATHS;
	if (gone) {
		catalog->owner_count -= owners_clear(&callable->owners);
		catalog_consider(catalog, callable, &aftermath);
	}
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
	return gone;
}

bool catalog_take_gone(struct catalog *catalog, uint64_t *key)
{
	struct gone *gone;

	pthread_mutex_lock(&catalog->lock);
	gone = catalog->gone;
	if (gone)
		catalog->gone = gone->next;
	pthread_mutex_unlock(&catalog->lock);
	if (!gone)
		return false;
	*key = gone->key;
	free(gone);
	return true;
}

/* --- finding --- */

/* "11, 12, 13", newest first, cut to what fits. */
static void list_versions(const struct family *family, char *out, size_t capacity)
{
	const struct callable *callable;
	size_t used = 0;

	out[0] = '\0';
	DL_FOREACH (family->versions, callable) {
		int written;

		if (callable->entry.state != CATALOG_VISIBLE)
			continue;
		written = snprintf(out + used, capacity - used, "%s%" PRIu64, used ? ", " : "",
		                   callable->entry.version);
		if (written < 0 || (size_t)written >= capacity - used) {
			memcpy(out + capacity - sizeof("..."), "...", sizeof("..."));
			return;
		}
		used += (size_t)written;
	}
}

static struct callable *newest_visible(const struct family *family)
{
	struct callable *callable;

	DL_FOREACH (family->versions, callable) {
		if (callable->entry.state == CATALOG_VISIBLE)
			return callable;
	}
	return NULL;
}

simpler_status catalog_raise_revoked(uint64_t callable_id)
{
	return error_raise(SIMPLER_EPERM,
	                   "callable %" PRIu64 " was revoked: this node's policy does not allow "
	                   "its code any more, and the node's log says why",
	                   callable_id);
}

static simpler_status raise_unregistered(const struct catalog *catalog, uint64_t callable_id,
                                         uint64_t version)
{
	if (departures_revoked(&catalog->departures, callable_id, version))
		return catalog_raise_revoked(callable_id);
	if (version == 0)
		return error_raise(SIMPLER_ESTATE,
		                   "callable %" PRIu64 " was unregistered: all who had registered "
		                   "it did so or are gone; register it again",
		                   callable_id);
	return error_raise(SIMPLER_ESTATE,
	                   "callable %" PRIu64 " version %" PRIu64 " was unregistered: all who had "
	                   "registered it did so or are gone; register it again",
	                   callable_id, version);
}

/* There is one, and it is not visible. */
static simpler_status raise_invisible(const struct catalog *catalog,
                                      const struct callable *callable)
{
	const struct catalog_entry *entry = &callable->entry;

	if (entry->state == CATALOG_WITHDRAWN)
		return raise_unregistered(catalog, entry->callable_id, entry->version);
	if (entry->state == CATALOG_PREPARED)
		return error_raise(SIMPLER_ESTATE,
		                   "callable %" PRIu64
		                   " is prepared and not committed; use it when "
		                   "its commit was answered",
		                   entry->callable_id);
	return error_raise(SIMPLER_ESTATE,
	                   "callable %" PRIu64 " is still being installed; use it when that was "
	                   "answered",
	                   entry->callable_id);
}

/* Under the lock. */
static simpler_status not_found(const struct catalog *catalog, const struct family *family,
                                uint64_t callable_id, uint64_t version)
{
	const struct callable *callable;
	char versions[256];

	callable = version == 0 && family ? family->versions : family_find(family, version);
	if (callable)
		return raise_invisible(catalog, callable);
	if (departures_have_any(&catalog->departures, callable_id, version))
		return raise_unregistered(catalog, callable_id, version);
	if (!family)
		return error_raise(SIMPLER_ENOTFOUND,
		                   "callable %" PRIu64 " is not known here; push it first",
		                   callable_id);
	list_versions(family, versions, sizeof(versions));
	return error_raise(SIMPLER_ESTATE,
	                   "callable %" PRIu64 " is not known here in version %" PRIu64
	                   "; there are: %s",
	                   callable_id, version, versions[0] ? versions : "none yet");
}

/* Under the lock. */
static void pin(struct callable *callable, struct catalog_entry *out)
{
	callable->pins++;
	*out = callable->entry;
}

simpler_status catalog_find(struct catalog *catalog, uint64_t callable_id, uint64_t version,
                            struct catalog_entry *out)
{
	struct family *family;
	struct callable *callable = NULL;
	simpler_status status = SIMPLER_OK;

	pthread_mutex_lock(&catalog->lock);
	family = table_find_family(&catalog->table, callable_id);
	if (family)
		callable = version ? family_find(family, version) : newest_visible(family);
	if (callable && callable->entry.state == CATALOG_VISIBLE)
		pin(callable, out);
	else
		status = not_found(catalog, family, callable_id, version);
	pthread_mutex_unlock(&catalog->lock);
	return status;
}

bool catalog_get(struct catalog *catalog, uint64_t key, struct catalog_entry *out)
{
	struct callable *callable;

	pthread_mutex_lock(&catalog->lock);
	callable = table_find_key(&catalog->table, key);
	if (callable && callable->failed)
		callable = NULL;
	if (callable)
		*out = callable->entry;
	pthread_mutex_unlock(&catalog->lock);
	return callable != NULL;
}

bool catalog_is_tried(struct catalog *catalog, uint64_t key)
{
	struct callable *callable;
	bool tried;

	pthread_mutex_lock(&catalog->lock);
	callable = table_find_key(&catalog->table, key);
	tried = callable && module_store_is_tried(callable->module);
	pthread_mutex_unlock(&catalog->lock);
	return tried;
}

void catalog_set_tried(struct catalog *catalog, uint64_t key)
{
	struct callable *callable;

	pthread_mutex_lock(&catalog->lock);
	callable = table_find_key(&catalog->table, key);
	if (callable)
		module_store_set_tried(callable->module);
	pthread_mutex_unlock(&catalog->lock);
}

/* Elements of the table are in the order in which they were added, so in that of their keys. */
bool catalog_next(struct catalog *catalog, uint64_t after, struct catalog_entry *out)
{
	struct callable *callable;

	pthread_mutex_lock(&catalog->lock);
	callable = table_find_key(&catalog->table, after);
	if (!callable)
		callable = catalog->table.callables;
	while (callable && (callable->entry.key <= after || callable->failed))
		callable = callable->hh.next;
	if (callable)
		pin(callable, out);
	pthread_mutex_unlock(&catalog->lock);
	return callable != NULL;
}

void catalog_unpin(struct catalog *catalog, uint64_t key)
{
	struct aftermath aftermath = { NULL, NULL };
	struct callable *callable;

	pthread_mutex_lock(&catalog->lock);
	callable = table_find_key(&catalog->table, key);
	assert(callable && callable->pins > 0);
	callable->pins--;
	catalog_consider(catalog, callable, &aftermath);
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
}

/* --- the catalog itself --- */

struct module_store *catalog_modules(struct catalog *catalog)
{
	return catalog->modules;
}

struct catalog *catalog_create(const struct catalog_options *options, struct policy *policy)
{
	struct catalog *catalog = calloc(1, sizeof(*catalog));
	simpler_status status;

	if (!catalog) {
		error_raise(SIMPLER_ENOMEM, "no memory for a catalog");
		return NULL;
	}
	catalog->options = *options;
	catalog->policy = policy;
	status = library_check(options->library_directories, options->library_directory_count);
	if (!status)
		status = module_store_create(&options->modules, &catalog->modules);
	if (status) {
		free(catalog);
		return NULL;
	}
	(void)pthread_mutex_init(&catalog->lock, NULL);
	return catalog;
}

void catalog_destroy(struct catalog *catalog)
{
	struct callable *callable, *next;
	uint64_t key;

	if (!catalog)
		return;
	HASH_ITER (hh, catalog->table.callables, callable, next) {
		assert(callable->pins == 0);
		table_remove(&catalog->table, callable);
		(void)owners_clear(&callable->owners);
		catalog_free_callable(catalog, callable);
	}
	while (catalog_take_gone(catalog, &key))
		continue;
	module_store_destroy(catalog->modules);
	(void)pthread_mutex_destroy(&catalog->lock);
	free(catalog);
}

void catalog_stats(struct catalog *catalog, struct catalog_stats *out)
{
	struct callable *callable, *next;

	*out = (struct catalog_stats){ .callables = 0 };
	pthread_mutex_lock(&catalog->lock);
	HASH_ITER (hh, catalog->table.callables, callable, next) {
		out->callables++;
		out->prepared += callable->entry.state == CATALOG_PREPARED;
	}
	pthread_mutex_unlock(&catalog->lock);
	module_store_stats(catalog->modules, &out->modules);
}

const struct catalog_options *catalog_limits(const struct catalog *catalog)
{
	return &catalog->options;
}
