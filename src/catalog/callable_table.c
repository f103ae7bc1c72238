#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#include "catalog/callable.h"

/* uthash's macros are long when they are expanded. */
/* NOLINTBEGIN(readability-function-size) */
struct family *table_find_family(const struct callable_table *table, uint64_t callable_id)
{
	struct family *family;

	HASH_FIND(hh, table->families, &callable_id, sizeof(callable_id), family);
	return family;
}

struct callable *table_find_key(const struct callable_table *table, uint64_t key)
{
	struct callable *callable;

	HASH_FIND(hh, table->callables, &key, sizeof(key), callable);
	return callable;
}

/* False when memory is out. */
static bool put_family(struct callable_table *table, struct family *family)
{
	HASH_ADD(hh, table->families, callable_id, sizeof(family->callable_id), family);
	return family->hh.tbl != NULL;
}

static bool put_callable(struct callable_table *table, struct callable *callable)
{
	HASH_ADD(hh, table->callables, entry.key, sizeof(callable->entry.key), callable);
	return callable->hh.tbl != NULL;
}
/* NOLINTEND(readability-function-size) */

size_t table_count(const struct callable_table *table)
{
	return HASH_COUNT(table->callables);
}

struct callable *family_find(const struct family *family, uint64_t version)
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

static struct family *make_family(struct callable_table *table, uint64_t callable_id)
{
	struct family *family = table_find_family(table, callable_id);

	if (family)
		return family;
	family = calloc(1, sizeof(*family));
	if (!family)
		return NULL;
	family->callable_id = callable_id;
	if (put_family(table, family))
		return family;
	free(family);
	return NULL;
}

static void drop_family_if_empty(struct callable_table *table, struct family *family)
{
	if (family->versions)
		return;
	HASH_DEL(table->families, family);
	free(family);
}

bool table_add(struct callable_table *table, struct callable *callable)
{
	struct family *family = make_family(table, callable->entry.callable_id);

	if (!family)
		return false;
	callable->entry.key = table->last_key + 1;
	if (!put_callable(table, callable)) {
		drop_family_if_empty(table, family);
		return false;
	}
	DL_PREPEND(family->versions, callable);
	table->last_key++;
	return true;
}

static void leave_family(struct callable_table *table, struct callable *callable)
{
	struct family *family = table_find_family(table, callable->entry.callable_id);

	assert(family);
	DL_DELETE(family->versions, callable);
	drop_family_if_empty(table, family);
}

void table_fail(struct callable_table *table, struct callable *callable)
{
	leave_family(table, callable);
	callable->failed = true;
}

void table_remove(struct callable_table *table, struct callable *callable)
{
	HASH_DEL(table->callables, callable);
	if (!callable->failed)
		leave_family(table, callable);
}

void table_renew(struct callable_table *table, struct callable *callable)
{
	struct family *family = table_find_family(table, callable->entry.callable_id);

	assert(family);
	DL_DELETE(family->versions, callable);
	DL_PREPEND(family->versions, callable);
}
