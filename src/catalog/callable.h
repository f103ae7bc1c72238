/*
 * The catalog from inside: its callables in two tables, by key, in the order of keys, and by id,
 * each id with a list of its versions. Included by the files that the catalog consists of only.
 *
 * What happens under the catalog's lock may leave something to be done without it: callables to be
 * freed, which may unmap a module, and people to be told. That is collected in an aftermath. The
 * module store has a lock of its own, which is never taken under this one.
 */
#ifndef CATALOG_CALLABLE_H
#define CATALOG_CALLABLE_H

#include <pthread.h>

#define HASH_NONFATAL_OOM 1 /* an element that found no memory has no table: hh.tbl is NULL */
#include <uthash.h>

#include "catalog/catalog.h"
#include "catalog/module_store.h"
#include "catalog/owners.h"

struct callable {
	struct catalog_entry entry;
	const struct stored_module *module;
	struct owner *owners;
	size_t pins;
	/* It was not loaded, so it is nobody's any more and cannot be owned again: out of its
	 * family, and in the table by key until the last pin is gone. */
	bool failed;
	unsigned deaths; /* of engines that loaded it, since one did not die of it */
	struct catalog_waiter *waiters;
	UT_hash_handle hh;            /* in the table by key */
	struct callable *prev, *next; /* in family.versions; `next` also in aftermath.gone */
	uint8_t state[];
};

/* All versions of one id, the one committed last first; never empty. */
struct family {
	uint64_t callable_id;
	struct callable *versions;
	UT_hash_handle hh;
};

/* The key of a callable that is gone. */
struct gone {
	uint64_t key;
	struct gone *next;
};

struct callable_table {
	struct callable *callables;
	struct family *families;
	uint64_t last_key;
};

struct catalog {
	struct catalog_options options;
	struct policy *policy;
	struct module_store *modules;
	pthread_mutex_t lock; /* guards all below */
	struct callable_table table;
	size_t owner_count; /* of all callables */
	struct departures departures;
	struct gone *gone; /* not told yet */
};

/* --- callable_table.c --- */

struct family *table_find_family(const struct callable_table *table, uint64_t callable_id);
struct callable *table_find_key(const struct callable_table *table, uint64_t key);
size_t table_count(const struct callable_table *table);
/* NULL when it has none of this version. NULL is allowed for the family. */
struct callable *family_find(const struct family *family, uint64_t version);
/* Give it a key, as the newest of its id. False when memory is out. */
bool table_add(struct callable_table *table, struct callable *callable);
/* Take it out of its family: it has failed. */
void table_fail(struct callable_table *table, struct callable *callable);
/* What is left of it is the caller's. */
void table_remove(struct callable_table *table, struct callable *callable);
/* It is the newest of its id from now on. */
void table_renew(struct callable_table *table, struct callable *callable);

/* --- catalog.c --- */

struct aftermath {
	struct callable *gone;
	struct catalog_waiter *told;
};

/* What the policy is asked about, without the lock, as it may read files. `module` is the digest of
 * a library's file; NULL: not known yet. Points into the payload. */
struct policy_subject catalog_subject(const struct payload *payload, const struct digest *module);
/* SIMPLER_EPERM for one that was allowed once. */
simpler_status catalog_raise_revoked(uint64_t callable_id);

/* Without the lock. */
void catalog_finish(struct catalog *catalog, struct aftermath *aftermath);
/* Not under the lock. */
void catalog_free_callable(struct catalog *catalog, struct callable *callable);

/* The rest with the lock held. */

/* After it lost an owner or a pin, or was settled: withdrawn when nobody owns it, gone when nobody
 * has it pinned either. */
void catalog_consider(struct catalog *catalog, struct callable *callable,
                      struct aftermath *aftermath);
/* Make the session an owner, or see to it that it is: at least of what is prepared. Owned anew, it
 * is withdrawn no longer. SIMPLER_ENOSPACE naming the limit. */
simpler_status catalog_own(struct catalog *catalog, struct callable *callable, uint64_t session,
                           bool commit, struct aftermath *aftermath);

#endif
