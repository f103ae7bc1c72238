#include "worker/tensor_table.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/error.h"

#define FIRST_ENTRIES 64u
#define MAX_ENTRIES   (1u << 20)
#define NO_ENTRY      UINT32_MAX

struct entry {
	struct exec_storage *storage; /* NULL: free */
	simpler_worker_id node;
	uint32_t generation; /* of the handle that is out, or was last */
	uint32_t next_free;
};

struct tensor_table {
	uint32_t serial;      /* told apart from all other tables of this process by it */
	pthread_mutex_t lock; /* guards all below */
	struct entry *entries;
	uint32_t count, capacity, first_free;
};

static _Atomic uint32_t serials;

struct tensor_table *tensor_table_create(void)
{
	struct tensor_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->serial = atomic_fetch_add(&serials, 1) + 1;
	table->first_free = NO_ENTRY;
	(void)pthread_mutex_init(&table->lock, NULL);
	return table;
}

void tensor_table_destroy(struct tensor_table *table)
{
	for (uint32_t i = 0; i < table->count; i++) {
		struct exec_storage *storage = table->entries[i].storage;

		if (storage) {
			storage->abandoned = true;
			exec_storage_drop(storage);
		}
	}
	(void)pthread_mutex_destroy(&table->lock);
	free(table->entries);
	free(table);
}

/* With the lock: an entry that is free. */
static simpler_status take_entry(struct tensor_table *table, uint32_t *out)
{
	struct entry *more;

	if (table->first_free != NO_ENTRY) {
		*out = table->first_free;
		table->first_free = table->entries[*out].next_free;
		return SIMPLER_OK;
	}
	if (table->count == MAX_ENTRIES)
		return error_raise(SIMPLER_ENOSPACE,
		                   "%u handles of tensors on nodes are in use, the most there can "
		                   "be; free some",
		                   MAX_ENTRIES);
	if (table->count == table->capacity) {
		uint32_t capacity = table->capacity ? 2 * table->capacity : FIRST_ENTRIES;

		more = realloc(table->entries, capacity * sizeof(*more));
		if (!more)
			return error_raise(SIMPLER_ENOMEM, "out of memory for a tensor's handle");
		table->entries = more;
		table->capacity = capacity;
	}
	*out = table->count++;
	table->entries[*out] = (struct entry){ .generation = 0 };
	return SIMPLER_OK;
}

simpler_status tensor_table_add(struct tensor_table *table, struct exec_storage *storage,
                                simpler_worker_id node, simpler_tensor_handle *out)
{
	simpler_status status;
	uint32_t slot;

	pthread_mutex_lock(&table->lock);
	status = take_entry(table, &slot);
	if (status == SIMPLER_OK) {
		struct entry *entry = &table->entries[slot];

		entry->storage = storage;
		entry->node = node;
		entry->generation++;
		*out = (simpler_tensor_handle){ .node = (uint64_t)table->serial << 32 | node,
			                        .slot = slot,
			                        .generation = entry->generation };
	}
	pthread_mutex_unlock(&table->lock);
	return status;
}

/* With the lock. */
static struct entry *look_up(const struct tensor_table *table, simpler_tensor_handle handle)
{
	struct entry *entry;

	if (handle.node >> 32 != table->serial || handle.slot >= table->count)
		return NULL;
	entry = &table->entries[handle.slot];
	return entry->storage && entry->generation == handle.generation &&
	                       entry->node == tensor_handle_child(handle)
	               ? entry
	               : NULL;
}

static simpler_status stale(simpler_tensor_handle handle)
{
	if (handle.node == 0)
		return error_raise(SIMPLER_ESTALE,
		                   "the handle is empty: nothing was allocated for it, or its "
		                   "submit failed");
	return error_raise(
		SIMPLER_ESTALE,
		"handle %u.%u names no tensor of this worker: it was freed, or is another "
		"worker's",
		handle.slot, handle.generation);
}

simpler_status tensor_table_find(struct tensor_table *table, simpler_tensor_handle handle,
                                 struct exec_storage **out)
{
	const struct entry *entry;

	pthread_mutex_lock(&table->lock);
	entry = look_up(table, handle);
	if (entry) {
		*out = entry->storage;
		exec_storage_hold(*out);
	}
	pthread_mutex_unlock(&table->lock);
	return entry ? SIMPLER_OK : stale(handle);
}

simpler_status tensor_table_remove(struct tensor_table *table, simpler_tensor_handle handle,
                                   struct exec_storage **out)
{
	struct entry *entry;

	pthread_mutex_lock(&table->lock);
	entry = look_up(table, handle);
	if (entry) {
		*out = entry->storage;
		entry->storage = NULL;
		/* One that has had all its generations is not used again. */
		if (entry->generation < UINT32_MAX) {
			entry->next_free = table->first_free;
			table->first_free = handle.slot;
		}
	}
	pthread_mutex_unlock(&table->lock);
	return entry ? SIMPLER_OK : stale(handle);
}
