/*
 * Two tables of callables: by key, in the order of keys, and by id, each id with a list of its
 * versions. Their modules are in a store of their own, with a lock of its own, which is never taken
 * under this one.
 *
 * An offer looks whether the callable is known, then gets its module ready without the lock, then
 * publishes under it, where another offer may have been faster. A callable that was visible is
 * never freed, at most put aside, which is what makes the pointers in a catalog_entry good without
 * the lock.
 */
#include "catalog/catalog.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1 /* an element that found no memory has no table: hh.tbl is NULL */
#include <uthash.h>
#include <utlist.h>

#include "base/error.h"
#include "catalog/module_store.h"

struct callable {
	struct catalog_entry entry;
	const struct stored_module *module;
	UT_hash_handle hh;            /* in catalog.callables */
	struct callable *prev, *next; /* in family.versions; `next` also in catalog.gone */
	unsigned deaths;              /* of engines that loaded it, since one did not die of it */
	uint8_t signature[SIGNATURE_BYTES];
	uint8_t state[];
};

/* All versions of one id, the last pushed first; never empty. */
struct family {
	uint64_t callable_id;
	struct callable *versions;
	UT_hash_handle hh;
};

struct catalog {
	size_t limit; /* of callables */
	struct policy *policy;
	struct module_store *modules;
	pthread_mutex_t lock; /* guards all below */
	struct callable *callables;
	struct callable *gone; /* were visible once */
	size_t gone_count;
	struct family *families;
	uint64_t last_key;
};

static simpler_status no_memory(void)
{
	return error_raise(SIMPLER_ENOMEM, "no memory for a callable");
}

/* --- the tables of callables, all of it under the lock --- */

/* uthash's macros are long when they are expanded. */
/* NOLINTBEGIN(readability-function-size) */
static struct family *find_family(struct catalog *catalog, uint64_t callable_id)
{
	struct family *family;

	HASH_FIND(hh, catalog->families, &callable_id, sizeof(callable_id), family);
	return family;
}

static struct callable *find_key(struct catalog *catalog, uint64_t key)
{
	struct callable *callable;

	HASH_FIND(hh, catalog->callables, &key, sizeof(key), callable);
	return callable;
}

/* False when memory is out. */
static bool put_family(struct catalog *catalog, struct family *family)
{
	HASH_ADD(hh, catalog->families, callable_id, sizeof(family->callable_id), family);
	return family->hh.tbl != NULL;
}

static bool put_callable(struct catalog *catalog, struct callable *callable)
{
	HASH_ADD(hh, catalog->callables, entry.key, sizeof(callable->entry.key), callable);
	return callable->hh.tbl != NULL;
}
/* NOLINTEND(readability-function-size) */

static struct callable *find_version(const struct family *family, uint64_t version)
{
	struct callable *callable;

	if (!family)
		return NULL;
	DL_FOREACH (family->versions, callable) {
		if (callable->entry.version == version)
			return callable;
	}
	return NULL;
}

static struct family *make_family(struct catalog *catalog, uint64_t callable_id)
{
	struct family *family = find_family(catalog, callable_id);

	if (family)
		return family;
	family = calloc(1, sizeof(*family));
	if (!family)
		return NULL;
	family->callable_id = callable_id;
	if (put_family(catalog, family))
		return family;
	free(family);
	return NULL;
}

static void drop_family_if_empty(struct catalog *catalog, struct family *family)
{
	if (family->versions)
		return;
	HASH_DEL(catalog->families, family);
	free(family);
}

static simpler_status add_callable(struct catalog *catalog, struct callable *callable)
{
	struct family *family;

	if (HASH_COUNT(catalog->callables) + catalog->gone_count >= catalog->limit)
		return error_raise(SIMPLER_ENOSPACE,
		                   "there are %zu callables here, and no more than that can be",
		                   catalog->limit);
	family = make_family(catalog, callable->entry.callable_id);
	if (!family)
		return no_memory();
	callable->entry.key = catalog->last_key + 1;
	if (!put_callable(catalog, callable)) {
		drop_family_if_empty(catalog, family);
		return no_memory();
	}
	DL_PREPEND(family->versions, callable);
	catalog->last_key++;
	return SIMPLER_OK;
}

/* Takes it out of the tables; what is left of it is the caller's. */
static void remove_callable(struct catalog *catalog, struct callable *callable)
{
	struct family *family = find_family(catalog, callable->entry.callable_id);

	assert(family);
	HASH_DEL(catalog->callables, callable);
	DL_DELETE(family->versions, callable);
	drop_family_if_empty(catalog, family);
}

/*
 * The callable that an offer names, when it is known: pushed again, it is the newest now.
 *
 * Two digests with the same first 8 bytes are the same version to the wire, so the second is
 * refused.
 */
static simpler_status find_offered(struct catalog *catalog, uint64_t callable_id,
                                   const struct digest *digest, struct callable **out)
{
	struct family *family = find_family(catalog, callable_id);
	struct callable *callable = find_version(family, digest_version(digest));
	char text[DIGEST_HEX_BYTES];

	*out = callable;
	if (!callable)
		return SIMPLER_OK;
	if (memcmp(&callable->entry.digest, digest, sizeof(*digest)) != 0) {
		digest_hex(&callable->entry.digest, text);
		return error_raise(SIMPLER_EEXIST,
		                   "callable %" PRIu64 " version %" PRIu64
		                   " is taken by another callable with digest %s",
		                   callable_id, callable->entry.version, text);
	}
	DL_DELETE(family->versions, callable);
	DL_PREPEND(family->versions, callable);
	return SIMPLER_OK;
}

/* --- offering --- */

/* Not under the lock: it may unmap the module. */
static void free_callable(struct catalog *catalog, struct callable *callable)
{
	module_store_leave(catalog->modules, callable->module);
	free(callable);
}

static struct callable *make_callable(uint64_t callable_id, const struct digest *digest,
                                      const struct payload *payload,
                                      const struct stored_module *module)
{
	struct callable *callable = calloc(1, sizeof(*callable) + payload->state.size);

	if (!callable)
		return NULL;
	callable->module = module;
	callable->entry = (struct catalog_entry){
		.callable_id = callable_id,
		.version = digest_version(digest),
		.digest = *digest,
		.state = CATALOG_PENDING,
		.payload = *payload,
		.module_fd = module->fd,
	};
	if (payload->state.size)
		memcpy(callable->state, payload->state.data, payload->state.size);
	callable->entry.payload.state.data = callable->state;
	if (payload->signature.size)
		memcpy(callable->signature, payload->signature.data, payload->signature.size);
	callable->entry.payload.signature.data = callable->signature;
	callable->entry.payload.module_bytes = (simpler_bytes){ module->bytes, module->size };
	return callable;
}

/* Put a callable into the catalog, or find that another one was faster. */
static simpler_status publish(struct catalog *catalog, struct callable *callable,
                              struct catalog_entry *out, bool *fresh)
{
	struct callable *known;
	simpler_status status;

	pthread_mutex_lock(&catalog->lock);
	status =
		find_offered(catalog, callable->entry.callable_id, &callable->entry.digest, &known);
	if (!status && !known)
		status = add_callable(catalog, callable);
	*fresh = !status && !known;
	if (!status)
		*out = known ? known->entry : callable->entry;
	pthread_mutex_unlock(&catalog->lock);
	if (!*fresh)
		free_callable(catalog, callable);
	return status;
}

static simpler_status offer_new(struct catalog *catalog, uint64_t callable_id,
                                const struct digest *digest, const struct payload *payload,
                                struct catalog_entry *out, bool *fresh)
{
	struct callable *callable;
	const struct stored_module *module;
	simpler_status status = module_store_use(catalog->modules, payload, &module);

	if (status)
		return status;
	status = module_file_find(&module->file, payload->name, payload->kind);
	if (!status) {
		callable = make_callable(callable_id, digest, payload, module);
		if (callable)
			return publish(catalog, callable, out, fresh);
		status = no_memory();
	}
	module_store_leave(catalog->modules, module);
	return status;
}

static simpler_status check_policy(struct policy *policy, const struct payload *payload)
{
	struct policy_subject subject = { .signature = payload->signature };

	if (payload->origin.source == ORIGIN_LIBRARY)
		subject.library = payload->origin.library;
	else
		subject.digest = &payload->origin.module;
	return policy_check(policy, &subject);
}

/* The one way in for callables: whatever comes is decoded here, and judged by the policy. */
static simpler_status check_offer(struct catalog *catalog, uint64_t callable_id, uint64_t version,
                                  simpler_bytes pushed, struct payload *payload,
                                  struct digest *digest)
{
	simpler_status status;

	if (callable_id == 0)
		return error_raise(SIMPLER_EINVAL, "callable id 0 names nothing; choose another");
	status = payload_decode(pushed.data, pushed.size, payload);
	if (!status)
		status = check_policy(catalog->policy, payload);
	if (!status && payload->origin.source != ORIGIN_MODULE)
		return error_raise(SIMPLER_ENOTFOUND,
		                   "there is no library '%s' here: this node has none installed",
		                   payload->origin.library);
	if (!status)
		status = digest_callable(payload->kind, payload->abi, &payload->origin,
		                         payload->name, payload->state, digest);
	if (!status && version != 0 && version != digest_version(digest))
		status = error_raise(SIMPLER_EINVAL,
		                     "version %" PRIu64 " is not that of '%s', which is %" PRIu64
		                     ": the first 8 bytes of its digest, little-endian",
		                     version, payload->name, digest_version(digest));
	return status;
}

simpler_status catalog_offer(struct catalog *catalog, uint64_t callable_id, uint64_t version,
                             simpler_bytes pushed, struct catalog_entry *out, bool *fresh)
{
	struct payload payload;
	struct digest digest;
	struct callable *known = NULL;
	simpler_status status =
		check_offer(catalog, callable_id, version, pushed, &payload, &digest);

	*fresh = false;
	if (status)
		return status;
	pthread_mutex_lock(&catalog->lock);
	status = find_offered(catalog, callable_id, &digest, &known);
	if (!status && known)
		*out = known->entry;
	pthread_mutex_unlock(&catalog->lock);
	if (status || known)
		return status;
	return offer_new(catalog, callable_id, &digest, &payload, out, fresh);
}

void catalog_settle(struct catalog *catalog, uint64_t key, bool installed)
{
	struct callable *callable, *gone = NULL;

	pthread_mutex_lock(&catalog->lock);
	callable = find_key(catalog, key);
	if (callable && installed) {
		callable->entry.state = CATALOG_VISIBLE;
		callable->deaths = 0;
	} else if (callable && callable->entry.state == CATALOG_PENDING) {
		remove_callable(catalog, callable);
		gone = callable;
	}
	pthread_mutex_unlock(&catalog->lock);
	if (gone)
		free_callable(catalog, gone);
}

bool catalog_blame(struct catalog *catalog, uint64_t key)
{
	struct callable *callable;
	bool gone = false;

	pthread_mutex_lock(&catalog->lock);
	callable = find_key(catalog, key);
	if (callable && callable->entry.state == CATALOG_VISIBLE)
		gone = ++callable->deaths == CATALOG_MOST_DEATHS;
	if (gone) {
		remove_callable(catalog, callable);
		LL_PREPEND(catalog->gone, callable);
		catalog->gone_count++;
	}
	pthread_mutex_unlock(&catalog->lock);
	return gone;
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

/* Under the lock. */
static simpler_status not_found(const struct family *family, uint64_t callable_id, uint64_t version)
{
	char versions[256];

	if (!family)
		return error_raise(SIMPLER_ENOTFOUND,
		                   "callable %" PRIu64 " is not known here; push it first",
		                   callable_id);
	if (version == 0 || find_version(family, version))
		return error_raise(SIMPLER_ESTATE,
		                   "callable %" PRIu64 " is still being installed; use it when its "
		                   "push was answered",
		                   callable_id);
	list_versions(family, versions, sizeof(versions));
	return error_raise(SIMPLER_ESTATE,
	                   "callable %" PRIu64 " is not known here in version %" PRIu64
	                   "; there are: %s",
	                   callable_id, version, versions[0] ? versions : "none yet");
}

simpler_status catalog_find(struct catalog *catalog, uint64_t callable_id, uint64_t version,
                            struct catalog_entry *out)
{
	struct family *family;
	struct callable *callable = NULL;
	simpler_status status = SIMPLER_OK;

	pthread_mutex_lock(&catalog->lock);
	family = find_family(catalog, callable_id);
	if (family)
		callable = version ? find_version(family, version) : newest_visible(family);
	if (callable && callable->entry.state == CATALOG_VISIBLE)
		*out = callable->entry;
	else
		status = not_found(family, callable_id, version);
	pthread_mutex_unlock(&catalog->lock);
	return status;
}

bool catalog_get(struct catalog *catalog, uint64_t key, struct catalog_entry *out)
{
	struct callable *callable;

	pthread_mutex_lock(&catalog->lock);
	callable = find_key(catalog, key);
	if (callable)
		*out = callable->entry;
	pthread_mutex_unlock(&catalog->lock);
	return callable != NULL;
}

/* Elements of the table are in the order in which they were added, so in that of their keys. */
bool catalog_next(struct catalog *catalog, uint64_t after, struct catalog_entry *out)
{
	struct callable *callable;

	pthread_mutex_lock(&catalog->lock);
	callable = find_key(catalog, after);
	if (!callable)
		callable = catalog->callables;
	while (callable && callable->entry.key <= after)
		callable = callable->hh.next;
	if (callable)
		*out = callable->entry;
	pthread_mutex_unlock(&catalog->lock);
	return callable != NULL;
}

/* --- the catalog itself --- */

struct catalog *catalog_create(const struct catalog_limits *limits, struct policy *policy)
{
	struct catalog *catalog = calloc(1, sizeof(*catalog));

	if (!catalog)
		return NULL;
	catalog->limit = limits->callables;
	catalog->policy = policy;
	catalog->modules = module_store_create(limits->modules, limits->module_bytes);
	if (!catalog->modules) {
		free(catalog);
		return NULL;
	}
	(void)pthread_mutex_init(&catalog->lock, NULL);
	return catalog;
}

void catalog_destroy(struct catalog *catalog)
{
	struct callable *callable, *next;

	if (!catalog)
		return;
	HASH_ITER (hh, catalog->callables, callable, next) {
		remove_callable(catalog, callable);
		free_callable(catalog, callable);
	}
	LL_FOREACH_SAFE (catalog->gone, callable, next)
		free_callable(catalog, callable);
	module_store_destroy(catalog->modules);
	(void)pthread_mutex_destroy(&catalog->lock);
	free(catalog);
}
