/*
 * Readers never wait: a cell is put in front of its bucket's list when it is complete, and is never
 * taken out again. A callable that is forgotten leaves its cell to the next one of the bucket.
 * Modules are looked for by the installing side and by the handler of a crash, which may interrupt
 * it anywhere.
 */
#include "ipc/loader.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/load_failure.h"
#include "ipc/program_function.h"
#include "os/dl.h"

#define BUCKETS      1024 /* a power of two */
#define ENTRY_PREFIX "simpler_entry_"

#define VACANT UINT64_MAX /* the key of a cell that waits for its next entry */

struct entry {
	struct loaded_callable callable;
	uint8_t state[];
};

struct cell {
	_Atomic uint64_t key; /* written behind `entry` */
	struct entry *entry;  /* NULL while the cell is vacant */
	struct cell *next;    /* never changes */
};

struct module {
	uint8_t digest[RECORD_DIGEST_BYTES];
	int fd;
	void *object;
	struct module *next;
};

struct loader {
	_Atomic(struct module *) modules;
	_Atomic(struct module *) loading; /* the dynamic loader has it */
	_Atomic(struct cell *) buckets[BUCKETS];
	pthread_mutex_t writing; /* held to change a bucket */
};

struct loader *loader_create(void)
{
	struct loader *loader = calloc(1, sizeof(*loader));

	if (loader)
		(void)pthread_mutex_init(&loader->writing, NULL);
	return loader;
}

/* The objects stay loaded and so their descriptors open. */
void loader_destroy(struct loader *loader)
{
	if (!loader)
		return;
	for (struct module *module = atomic_exchange(&loader->modules, NULL), *next; module;
	     module = next) {
		next = module->next;
		free(module);
	}
	for (size_t i = 0; i < BUCKETS; i++) {
		struct cell *cell = atomic_load(&loader->buckets[i]);

		while (cell) {
			struct cell *next = cell->next;

			free(cell->entry);
			free(cell);
			cell = next;
		}
	}
	(void)pthread_mutex_destroy(&loader->writing);
	free(loader);
}

static _Atomic(struct cell *) *bucket_of(struct loader *loader, uint64_t key)
{
	/* Keys may count up or be taken from a digest: mix the high bits in. */
	return &loader->buckets[(key ^ key >> 32) & (BUCKETS - 1)];
}

static struct cell *find_cell(struct loader *loader, uint64_t key)
{
	struct cell *cell = atomic_load_explicit(bucket_of(loader, key), memory_order_acquire);

	while (cell && atomic_load_explicit(&cell->key, memory_order_acquire) != key)
		cell = cell->next;
	return cell;
}

const struct loaded_callable *loader_find(struct loader *loader, uint64_t key)
{
	struct cell *cell = key != VACANT ? find_cell(loader, key) : NULL;

	return cell ? &cell->entry->callable : NULL;
}

static struct module *find_module(struct loader *loader, const uint8_t *digest)
{
	struct module *module = atomic_load(&loader->modules);

	while (module && memcmp(module->digest, digest, RECORD_DIGEST_BYTES) != 0)
		module = module->next;
	return module;
}

bool loader_module_digest(const struct loader *loader, int fd, uint8_t digest[RECORD_DIGEST_BYTES])
{
	const struct module *module = atomic_load(&loader->loading);

	if (!module || module->fd != fd)
		module = atomic_load(&loader->modules);
	while (module && module->fd != fd)
		module = module->next;
	if (module)
		memcpy(digest, module->digest, RECORD_DIGEST_BYTES);
	return module != NULL;
}

/* Its constructors run meanwhile, and may crash. */
static simpler_status open_module(struct loader *loader, struct module *module)
{
	simpler_status status;

	atomic_store(&loader->loading, module);
	status = dl_open(module->fd, &module->object);
	atomic_store(&loader->loading, NULL);
	return status ? load_failure_explain(module->fd) : SIMPLER_OK;
}

/* Owns `fd`, also on failure. */
static simpler_status load_module(struct loader *loader, const uint8_t *digest, int fd,
                                  struct module **out)
{
	struct module *module = calloc(1, sizeof(*module));
	simpler_status status;

	if (module) {
		memcpy(module->digest, digest, sizeof(module->digest));
		module->fd = fd;
		status = open_module(loader, module);
	} else {
		status = error_raise(SIMPLER_ENOMEM, "out of memory for a module");
	}
	if (status) {
		(void)close(fd);
		free(module);
		return status;
	}
	module->next = atomic_load(&loader->modules);
	atomic_store(&loader->modules, module);
	*out = module;
	return SIMPLER_OK;
}

static simpler_status get_module(struct loader *loader, const struct record_install *install,
                                 int fd, struct module **out)
{
	*out = find_module(loader, install->module_digest);
	if (!*out && fd < 0)
		return error_raise(SIMPLER_EPROTOCOL, "the module is not known here and did not "
		                                      "come along");
	if (!*out)
		return load_module(loader, install->module_digest, fd, out);
	if (fd >= 0)
		(void)close(fd);
	return SIMPLER_OK;
}

/* The function's address, which the exported variable simpler_entry_NAME of the module holds. */
static simpler_status resolve(const struct module *module, const char *name, const void **address)
{
	char entry_name[sizeof(ENTRY_PREFIX) + RECORD_NAME_MAX];
	const void *entry;

	(void)snprintf(entry_name, sizeof(entry_name), "%s%s", ENTRY_PREFIX, name);
	entry = dl_symbol(module->object, entry_name);
	if (!entry)
		return error_raise(SIMPLER_ENOTFOUND, "the module lacks the symbol '%s'",
		                   entry_name);
	memcpy(address, entry, sizeof(*address));
	return SIMPLER_OK;
}

/* A function's address is one of data, too, wherever there are shared objects. */
static simpler_status set_function(const void *address, const struct record_install *install,
                                   struct loaded_callable *out)
{
	out->kind = (simpler_kind)install->kind;
	switch (out->kind) {
	case SIMPLER_KIND_SUB:
		memcpy(&out->run.sub, &address, sizeof(address));
		return SIMPLER_OK;
	case SIMPLER_KIND_ORCH:
		memcpy(&out->run.orch, &address, sizeof(address));
		return SIMPLER_OK;
	case SIMPLER_KIND_CHIP:
		memcpy(&out->run.chip, &address, sizeof(address));
		return SIMPLER_OK;
	}
	return error_raise(SIMPLER_EPROTOCOL, "%u is no kind of callable", install->kind);
}

/* A vacant cell of the bucket, or a new one in it; NULL when memory is out. */
static struct cell *get_cell(_Atomic(struct cell *) *bucket)
{
	struct cell *first = atomic_load_explicit(bucket, memory_order_relaxed), *cell = first;

	while (cell && cell->entry)
		cell = cell->next;
	if (cell)
		return cell;
	cell = calloc(1, sizeof(*cell));
	if (!cell)
		return NULL;
	atomic_init(&cell->key, VACANT);
	cell->next = first;
	atomic_store_explicit(bucket, cell, memory_order_release);
	return cell;
}

/* False when memory is out. */
static bool publish(struct loader *loader, struct entry *entry)
{
	struct cell *cell;

	pthread_mutex_lock(&loader->writing);
	cell = get_cell(bucket_of(loader, entry->callable.key));
	if (cell) {
		cell->entry = entry;
		atomic_store_explicit(&cell->key, entry->callable.key, memory_order_release);
	}
	pthread_mutex_unlock(&loader->writing);
	return cell != NULL;
}

void loader_forget(struct loader *loader, uint64_t key)
{
	struct cell *cell;

	if (key == VACANT)
		return;
	pthread_mutex_lock(&loader->writing);
	cell = find_cell(loader, key);
	if (cell) {
		atomic_store_explicit(&cell->key, VACANT, memory_order_relaxed);
		free(cell->entry);
		cell->entry = NULL;
	}
	pthread_mutex_unlock(&loader->writing);
}

/* `module` is NULL for a function of the program. */
static simpler_status add_callable(struct loader *loader, const struct module *module,
                                   const void *address, const struct record_install *install)
{
	struct entry *entry = calloc(1, sizeof(*entry) + install->state_size);
	struct loaded_callable *callable;
	simpler_status status;

	if (!entry)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a callable");
	callable = &entry->callable;
	status = set_function(address, install, callable);
	if (status) {
		free(entry);
		return status;
	}
	callable->key = install->callable;
	if (install->state_size > 0)
		memcpy(entry->state, install->state, install->state_size);
	callable->state.data = entry->state;
	callable->state.size = install->state_size;
	(void)snprintf(callable->name, sizeof(callable->name), "%s", install->name);
	callable->module_fd = module ? module->fd : -1;
	if (module)
		memcpy(callable->module_digest, module->digest, sizeof(callable->module_digest));
	if (publish(loader, entry))
		return SIMPLER_OK;
	free(entry);
	return error_raise(SIMPLER_ENOMEM, "out of memory for a callable");
}

static simpler_status install_from_module(struct loader *loader,
                                          const struct record_install *install, int module_fd)
{
	struct module *module;
	const void *address;
	simpler_status status = get_module(loader, install, module_fd, &module);

	if (status == SIMPLER_OK)
		status = resolve(module, install->name, &address);
	return status == SIMPLER_OK ? add_callable(loader, module, address, install) : status;
}

static simpler_status install_from_program(struct loader *loader,
                                           const struct record_install *install)
{
	const void *address;
	simpler_status status = program_function_find(&install->function, &address);

	return status == SIMPLER_OK ? add_callable(loader, NULL, address, install) : status;
}

simpler_status loader_install(struct loader *loader, const struct record_install *install,
                              int module_fd)
{
	simpler_status status;

	if (install->callable == VACANT || loader_find(loader, install->callable)) {
		if (module_fd >= 0)
			(void)close(module_fd);
		status = error_raise(SIMPLER_EEXIST, "the key %" PRIu64 " is taken",
		                     install->callable);
	} else if (install->source == RECORD_FROM_MODULE) {
		status = install_from_module(loader, install, module_fd);
	} else {
		status = install_from_program(loader, install);
	}
	if (status)
		return error_context("installing %s '%s'",
		                     simpler_kind_name((simpler_kind)install->kind), install->name);
	return SIMPLER_OK;
}
