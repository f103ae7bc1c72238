#include "dag/storage.h"

#include <assert.h>

#include "base/error.h"

struct scope {
	struct slot slot;
	struct storage *first, *last; /* those open in it, in the order they were added */
};

struct storage {
	struct slot slot;
	void *payload;
	struct scope *scope; /* NULL once it is unnamed */
	struct storage *before, *after;
	size_t holders;
};

struct storage_hold {
	struct storage_hold *next; /* in the task's list */
	struct storage *storage;
};

void storages_init(struct storages *all)
{
	*all = (struct storages){ .unused = { NULL, NULL } };
	slots_init(&all->scopes, sizeof(struct scope));
	slots_init(&all->storages, sizeof(struct storage));
	slab_init(&all->holds, sizeof(struct storage_hold));
}

void storages_release(struct storages *all)
{
	slots_release(&all->scopes);
	slots_release(&all->storages);
	slab_release(&all->holds);
}

static struct storage *find_open(const struct storages *all, dag_storage_id id)
{
	struct storage *storage = slots_find(&all->storages, id);

	return storage && storage->scope ? storage : NULL;
}

static simpler_status raise_gone(const char *what, uint64_t id)
{
	return error_raise(SIMPLER_ESTALE,
	                   "%s %llu of the graph was closed or released already; use it before",
	                   what, (unsigned long long)id);
}

simpler_status storages_open_scope(struct storages *all, dag_scope_id *out)
{
	struct scope *scope;

	if (!slots_reserve(&all->scopes))
		return error_raise(SIMPLER_ENOMEM, "out of memory for a scope of the graph");
	scope = slots_take(&all->scopes);
	scope->first = scope->last = NULL;
	*out = slot_id(&scope->slot);
	return SIMPLER_OK;
}

simpler_status storages_add(struct storages *all, dag_scope_id scope_id, void *payload,
                            dag_storage_id *out)
{
	struct scope *scope = slots_find(&all->scopes, scope_id);
	struct storage *storage;

	if (!scope)
		return raise_gone("scope", scope_id);
	if (!slots_reserve(&all->storages))
		return error_raise(SIMPLER_ENOMEM, "out of memory for a storage of the graph");
	storage = slots_take(&all->storages);
	storage->payload = payload;
	storage->scope = scope;
	storage->before = scope->last;
	storage->after = NULL;
	storage->holders = 0;
	if (scope->last)
		scope->last->after = storage;
	else
		scope->first = storage;
	scope->last = storage;
	*out = slot_id(&storage->slot);
	return SIMPLER_OK;
}

static void leave_scope(struct storage *storage, struct scope *scope)
{
	if (storage->before)
		storage->before->after = storage->after;
	else
		scope->first = storage->after;
	if (storage->after)
		storage->after->before = storage->before;
	else
		scope->last = storage->before;
}

/* From here on no id finds it; it is unused unless it is held. */
static void end_storage(struct storages *all, struct storage *storage)
{
	storage->scope = NULL;
	if (storage->holders == 0)
		slot_queue_put(&all->unused, &storage->slot);
}

simpler_status storages_end(struct storages *all, dag_storage_id id)
{
	struct storage *storage = find_open(all, id);

	if (!storage)
		return raise_gone("storage", id);
	leave_scope(storage, storage->scope);
	end_storage(all, storage);
	return SIMPLER_OK;
}

simpler_status storages_close_scope(struct storages *all, dag_scope_id id)
{
	struct scope *scope = slots_find(&all->scopes, id);

	if (!scope)
		return raise_gone("scope", id);
	for (struct storage *each = scope->first; each; each = each->after)
		end_storage(all, each);
	slots_give(&all->scopes, &scope->slot);
	return SIMPLER_OK;
}

simpler_status storages_check(const struct storages *all, const dag_storage_id *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!find_open(all, ids[i]))
			return raise_gone("storage", ids[i]);
	}
	return SIMPLER_OK;
}

bool storages_reserve(struct storages *all, size_t count)
{
	return slab_reserve(&all->holds, all->holds.taken + count);
}

void storages_hold(struct storages *all, const dag_storage_id *ids, size_t count,
                   struct storage_hold **list)
{
	for (size_t i = 0; i < count; i++) {
		struct storage_hold *hold = slab_take(&all->holds);

		*hold = (struct storage_hold){ .next = *list, .storage = find_open(all, ids[i]) };
		assert(hold->storage);
		hold->storage->holders++;
		*list = hold;
	}
}

void storages_let_go(struct storages *all, struct storage_hold **list)
{
	while (*list) {
		struct storage_hold *hold = *list;
		struct storage *storage = hold->storage;

		*list = hold->next;
		slab_give(&all->holds, hold);
		if (--storage->holders == 0 && !storage->scope)
			slot_queue_put(&all->unused, &storage->slot);
	}
}

bool storages_next_unused(struct storages *all, dag_storage_id *id, void **payload)
{
	/* A slot is the first member of its storage. */
	struct storage *storage = (struct storage *)slot_queue_take(&all->unused);

	if (!storage)
		return false;
	*id = slot_id(&storage->slot);
	*payload = storage->payload;
	slots_give(&all->storages, &storage->slot);
	return true;
}
