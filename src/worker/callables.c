#include "worker/callables.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/memory.h"
#include "simpler/version.h"

#define BUCKETS 1024u

struct entry {
	struct exec_callable callable;
	uint64_t hash;
	struct entry *next; /* of its bucket */
	uint8_t state[];
};

struct callables {
	pthread_rwlock_t lock;
	struct module *modules;
	struct entry *entries[CALLABLES_MAX]; /* entry of key k at k - 1 */
	size_t count;
	struct entry *buckets[BUCKETS]; /* by hash_of() */
};

struct callables *callables_create(void)
{
	struct callables *table = calloc(1, sizeof(*table));

	if (table)
		(void)pthread_rwlock_init(&table->lock, NULL);
	return table;
}

static void release_module(struct module *module)
{
	if (module->exec.bytes)
		memory_unmap((void *)(uintptr_t)module->exec.bytes, module->exec.size);
	if (module->exec.fd >= 0)
		(void)close(module->exec.fd);
	free(module);
}

void callables_destroy(struct callables *table)
{
	while (table->modules) {
		struct module *module = table->modules;

		table->modules = module->next;
		release_module(module);
	}
	for (size_t i = 0; i < table->count; i++)
		free(table->entries[i]);
	(void)pthread_rwlock_destroy(&table->lock);
	free(table);
}

/* --- modules --- */

/* Under either lock. */
static struct module *search_modules(struct callables *table, const struct digest *digest)
{
	struct module *module = table->modules;

	while (module && memcmp(&module->exec.digest, digest, sizeof(*digest)) != 0)
		module = module->next;
	return module;
}

static struct module *find_module(struct callables *table, const struct digest *digest)
{
	struct module *module;

	pthread_rwlock_rdlock(&table->lock);
	module = search_modules(table, digest);
	pthread_rwlock_unlock(&table->lock);
	return module;
}

static struct module *publish_module(struct callables *table, struct module *module)
{
	struct module *faster;

	pthread_rwlock_wrlock(&table->lock);
	faster = search_modules(table, &module->exec.digest);
	if (!faster) {
		module->owner = table;
		module->next = table->modules;
		table->modules = module;
	}
	pthread_rwlock_unlock(&table->lock);
	if (!faster)
		return module;
	release_module(module);
	return faster;
}

static simpler_status map_image(struct module *module)
{
	void *base;
	simpler_status status = memory_map_readable(module->exec.fd, module->exec.size, &base);

	if (status == SIMPLER_OK)
		module->exec.bytes = base;
	return status;
}

simpler_status callables_add_module(struct callables *table, const void *bytes, size_t size,
                                    struct module **out)
{
	struct digest digest;
	struct module *module;
	simpler_status status;

	status = digest_compute(bytes, size, &digest);
	if (status != SIMPLER_OK)
		return status;
	*out = find_module(table, &digest);
	if (*out)
		return SIMPLER_OK;
	module = calloc(1, sizeof(*module));
	if (!module)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a module");
	module->exec.digest = digest;
	module->exec.fd = -1;
	module->exec.size = size;
	status = module_file_parse(bytes, size, &module->file);
	if (status == SIMPLER_OK)
		status = memory_create_image("simpler-module", bytes, size, &module->exec.fd);
	if (status == SIMPLER_OK)
		status = map_image(module);
	if (status != SIMPLER_OK) {
		release_module(module);
		return status;
	}
	*out = publish_module(table, module);
	return SIMPLER_OK;
}

simpler_status callables_adopt_module(struct callables *table, const struct digest *digest, int fd,
                                      struct module **out)
{
	struct module *module;
	uint64_t size;
	simpler_status status;

	*out = find_module(table, digest);
	if (*out)
		return SIMPLER_OK;
	status = memory_size(fd, &size);
	if (status != SIMPLER_OK)
		return status;
	module = calloc(1, sizeof(*module));
	if (!module)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a module");
	module->exec.digest = *digest;
	module->exec.size = (size_t)size;
	module->exec.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (module->exec.fd < 0)
		status = error_raise_errno(SIMPLER_ESYSTEM, errno, "keeping a module's descriptor");
	if (status == SIMPLER_OK)
		status = map_image(module);
	if (status == SIMPLER_OK)
		status = module_file_parse(module->exec.bytes, module->exec.size, &module->file);
	if (status != SIMPLER_OK) {
		release_module(module);
		return status;
	}
	*out = publish_module(table, module);
	return SIMPLER_OK;
}

/* --- callables --- */

/* FNV-1a (Fowler, Noll, Vo) over everything that makes an entry itself. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
	const uint8_t *byte = bytes;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t hash_of(const struct module *module, const char *name, simpler_kind kind,
                        simpler_bytes state)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	hash = mix(hash, &module, sizeof(module));
	hash = mix(hash, &kind, sizeof(kind));
	hash = mix(hash, name, strlen(name));
	return mix(hash, state.data, state.size);
}

static struct entry *find_same(struct callables *table, const struct module *module,
                               const char *name, simpler_kind kind, simpler_bytes state,
                               uint64_t hash)
{
	for (struct entry *each = table->buckets[hash % BUCKETS]; each; each = each->next) {
		const struct exec_callable *callable = &each->callable;

		if (each->hash == hash && callable->module == &module->exec &&
		    callable->kind == kind && strcmp(callable->name, name) == 0 &&
		    callable->state.size == state.size &&
		    (state.size == 0 || memcmp(callable->state.data, state.data, state.size) == 0))
			return each;
	}
	return NULL;
}

static simpler_status make_entry(const struct module *module, const char *name, simpler_kind kind,
                                 simpler_bytes state, struct entry **out)
{
	const struct origin origin = { .source = ORIGIN_MODULE, .module = module->exec.digest };
	struct entry *entry;
	simpler_status status = module_file_find(&module->file, name, kind);

	if (status != SIMPLER_OK)
		return status;
	entry = calloc(1, sizeof(*entry) + state.size);
	if (!entry)
		return error_raise(SIMPLER_ENOMEM, "out of memory for callable '%s'", name);
	status = digest_callable(kind, SIMPLER_CALLABLE_ABI, &origin, name, state,
	                         &entry->callable.digest);
	if (status != SIMPLER_OK) {
		free(entry);
		return status;
	}
	entry->callable.kind = kind;
	entry->callable.module = &module->exec;
	/* module_file_find() knew it, so it fits. */
	memcpy(entry->callable.name, name, strlen(name) + 1);
	entry->callable.state.data = entry->state;
	entry->callable.state.size = state.size;
	if (state.size > 0)
		memcpy(entry->state, state.data, state.size);
	*out = entry;
	return SIMPLER_OK;
}

/* Under the write lock. */
static simpler_status add_entry(struct callables *table, struct entry *entry)
{
	struct entry **bucket = &table->buckets[entry->hash % BUCKETS];

	if (table->count == CALLABLES_MAX)
		return error_raise(
			SIMPLER_ENOSPACE,
			"a worker registers at most %u callables, and has; give them less "
			"various captured state",
			CALLABLES_MAX);
	table->entries[table->count++] = entry;
	entry->callable.key = table->count;
	entry->next = *bucket;
	*bucket = entry;
	return SIMPLER_OK;
}

simpler_status callables_add(struct callables *table, const struct module *module, const char *name,
                             simpler_kind kind, simpler_bytes state,
                             const struct exec_callable **out)
{
	uint64_t hash;
	struct entry *entry, *same;
	simpler_status status;

	if (!name)
		return error_raise(SIMPLER_EINVAL,
		                   "a callable's name is NULL; give the function's");
	if (!state.data && state.size > 0)
		return error_raise(SIMPLER_EINVAL, "captured state of '%s' has %zu bytes at NULL",
		                   name, state.size);
	/* Before any of it is read: a size that is -1 by mistake is an error and no crash. */
	if (state.size > SIMPLER_STATE_MAX)
		return error_raise(SIMPLER_ENOSPACE,
		                   "'%s' captures %zu bytes of state and at most %zu can be; pass "
		                   "larger data as a tensor",
		                   name, state.size, SIMPLER_STATE_MAX);
	hash = hash_of(module, name, kind, state);
	pthread_rwlock_rdlock(&table->lock);
	same = find_same(table, module, name, kind, state, hash);
	pthread_rwlock_unlock(&table->lock);
	if (same) {
		*out = &same->callable;
		return SIMPLER_OK;
	}
	status = make_entry(module, name, kind, state, &entry);
	if (status != SIMPLER_OK)
		return status;
	entry->hash = hash;
	pthread_rwlock_wrlock(&table->lock);
	same = find_same(table, module, name, kind, state, hash);
	if (!same)
		status = add_entry(table, entry);
	pthread_rwlock_unlock(&table->lock);
	if (same || status != SIMPLER_OK)
		free(entry);
	if (status == SIMPLER_OK)
		*out = same ? &same->callable : &entry->callable;
	return status;
}

const struct exec_callable *callables_at(struct callables *table, size_t index)
{
	const struct exec_callable *callable = NULL;

	pthread_rwlock_rdlock(&table->lock);
	if (index < table->count)
		callable = &table->entries[index]->callable;
	pthread_rwlock_unlock(&table->lock);
	return callable;
}

simpler_status callables_find(struct callables *table, uint64_t handle, simpler_kind kind,
                              const struct exec_callable **out)
{
	const struct exec_callable *callable = handle > 0 ? callables_at(table, handle - 1) : NULL;

	if (!callable)
		return error_raise(
			SIMPLER_ESTALE,
			"this worker gave out no %s with handle %llu; use a handle that it "
			"gave you, in the same process",
			simpler_kind_name(kind), (unsigned long long)handle);
	if (callable->kind != kind)
		return error_raise(SIMPLER_EKIND, "'%s' is of kind %s, and %s is needed here",
		                   callable->name, simpler_kind_name(callable->kind),
		                   simpler_kind_name(kind));
	*out = callable;
	return SIMPLER_OK;
}
