#include "worker/callables.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/program_function.h"
#include "os/memory.h"
#include "simpler/version.h"

#define BUCKETS 1024u

/* Where a callable is from: a module, or else a function of this program. */
struct source {
	const struct module *module;
	const void *function;
};

struct entry {
	struct exec_callable callable;
	struct source source;
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

simpler_status callables_add_module(struct callables *table, const struct digest *digest,
                                    simpler_bytes bytes, const struct signature *signature,
                                    struct module **out)
{
	struct module *module;
	simpler_status status;

	*out = find_module(table, digest);
	if (*out)
		return SIMPLER_OK;
	module = calloc(1, sizeof(*module));
	if (!module)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a module");
	module->exec.digest = *digest;
	module->exec.fd = -1;
	module->exec.size = bytes.size;
	module->exec.is_signed = signature != NULL;
	if (signature)
		signature_pack(signature, module->exec.signature);
	status = module_file_parse(bytes.data, bytes.size, &module->file);
	if (status == SIMPLER_OK)
		status = memory_create_image("simpler-module", bytes.data, bytes.size,
		                             &module->exec.fd);
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

static uint64_t hash_of(const struct source *source, const char *name, simpler_kind kind,
                        simpler_bytes state)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	hash = mix(hash, &source->module, sizeof(source->module));
	hash = mix(hash, &source->function, sizeof(source->function));
	hash = mix(hash, &kind, sizeof(kind));
	hash = mix(hash, name, strlen(name));
	return mix(hash, state.data, state.size);
}

static struct entry *find_same(struct callables *table, const struct source *source,
                               const char *name, simpler_kind kind, simpler_bytes state,
                               uint64_t hash)
{
	for (struct entry *each = table->buckets[hash % BUCKETS]; each; each = each->next) {
		const struct exec_callable *callable = &each->callable;

		if (each->hash == hash && each->source.module == source->module &&
		    each->source.function == source->function && callable->kind == kind &&
		    strcmp(callable->name, name) == 0 && callable->state.size == state.size &&
		    (state.size == 0 || memcmp(callable->state.data, state.data, state.size) == 0))
			return each;
	}
	return NULL;
}

static simpler_status check_source(const struct source *source, const char *name, simpler_kind kind)
{
	if (source->module)
		return module_file_find(&source->module->file, name, kind);
	if (!module_name_valid(name, strlen(name)))
		return error_raise(SIMPLER_EINVAL,
		                   "'%.80s' is no name of a callable; give an identifier of 1 to "
		                   "%d ASCII bytes, such as the function's",
		                   name, RECORD_NAME_MAX);
	return SIMPLER_OK;
}

static simpler_status locate(const void *function, struct exec_callable *callable,
                             struct origin *out)
{
	struct record_function *found = &callable->function;
	simpler_status status = program_function_locate(function, found);

	if (status != SIMPLER_OK)
		return error_context("registering the function '%s'", callable->name);
	callable->source = RECORD_FROM_PROGRAM;
	*out = (struct origin){ .source = ORIGIN_PROGRAM, .offset = found->offset };
	memcpy(out->object.bytes, found->identity, sizeof(out->object.bytes));
	return SIMPLER_OK;
}

/* All else of it is known. */
static simpler_status identify(const struct source *source, struct exec_callable *callable)
{
	struct origin origin = { .source = ORIGIN_MODULE };
	simpler_status status = SIMPLER_OK;

	if (source->module) {
		callable->module = &source->module->exec;
		origin.module = callable->module->digest;
	} else {
		status = locate(source->function, callable, &origin);
	}
	return status == SIMPLER_OK
	               ? digest_callable(callable->kind, SIMPLER_CALLABLE_ABI, &origin,
	                                 callable->name, callable->state, &callable->digest)
	               : status;
}

static simpler_status make_entry(const struct source *source, const char *name, simpler_kind kind,
                                 simpler_bytes state, struct entry **out)
{
	struct entry *entry;
	simpler_status status = check_source(source, name, kind);

	if (status != SIMPLER_OK)
		return status;
	entry = calloc(1, sizeof(*entry) + state.size);
	if (!entry)
		return error_raise(SIMPLER_ENOMEM, "out of memory for callable '%s'", name);
	entry->source = *source;
	entry->callable.kind = kind;
	/* It was checked, so it fits. */
	memcpy(entry->callable.name, name, strlen(name) + 1);
	entry->callable.state.data = entry->state;
	entry->callable.state.size = state.size;
	if (state.size > 0)
		memcpy(entry->state, state.data, state.size);
	status = identify(source, &entry->callable);
	if (status == SIMPLER_OK)
		*out = entry;
	else
		free(entry);
	return status;
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

static simpler_status add(struct callables *table, const struct source *source, const char *name,
                          simpler_kind kind, simpler_bytes state, const struct exec_callable **out)
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
	hash = hash_of(source, name, kind, state);
	pthread_rwlock_rdlock(&table->lock);
	same = find_same(table, source, name, kind, state, hash);
	pthread_rwlock_unlock(&table->lock);
	if (same) {
		*out = &same->callable;
		return SIMPLER_OK;
	}
	status = make_entry(source, name, kind, state, &entry);
	if (status != SIMPLER_OK)
		return status;
	entry->hash = hash;
	pthread_rwlock_wrlock(&table->lock);
	same = find_same(table, source, name, kind, state, hash);
	if (!same)
		status = add_entry(table, entry);
	pthread_rwlock_unlock(&table->lock);
	if (same || status != SIMPLER_OK)
		free(entry);
	if (status == SIMPLER_OK)
		*out = same ? &same->callable : &entry->callable;
	return status;
}

simpler_status callables_add(struct callables *table, const struct module *module, const char *name,
                             simpler_kind kind, simpler_bytes state,
                             const struct exec_callable **out)
{
	const struct source source = { .module = module };

	return add(table, &source, name, kind, state, out);
}

simpler_status callables_add_function(struct callables *table, const void *function,
                                      const char *name, simpler_kind kind, simpler_bytes state,
                                      const struct exec_callable **out)
{
	const struct source source = { .function = function };

	return add(table, &source, name, kind, state, out);
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
