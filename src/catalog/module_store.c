/*
 * New modules are built one at a time, under a lock of their own, so that room that was found stays
 * and no module is built twice. Looking for a known one never waits for that.
 */
#include "catalog/module_store.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "base/error.h"
#include "os/memory.h"

struct module {
	struct stored_module stored; /* first, so that a pointer to it is one to the module */
	size_t users;
	struct module *prev, *next;
};

struct module_store {
	size_t limit;
	uint64_t byte_limit;
	pthread_mutex_t adding; /* held while a module is built; taken before `lock` */
	pthread_mutex_t lock;   /* guards all below */
	struct module *modules;
	size_t count;
	uint64_t bytes;
};

static void free_module(struct module *module)
{
	if (module->stored.bytes)
		memory_unmap((void *)(uintptr_t)module->stored.bytes, module->stored.size);
	if (module->stored.fd >= 0)
		(void)close(module->stored.fd);
	free(module);
}

static simpler_status fill(struct stored_module *stored, simpler_bytes bytes)
{
	void *base = NULL;
	simpler_status status = module_file_parse(bytes.data, bytes.size, &stored->file);

	if (!status)
		status = memory_create_image("simpler-module", bytes.data, bytes.size, &stored->fd);
	if (!status)
		status = memory_map_readable(stored->fd, bytes.size, &base);
	stored->bytes = base;
	return status;
}

static simpler_status make_module(const struct payload *payload, struct module **out)
{
	struct module *module = calloc(1, sizeof(*module));
	simpler_status status;

	if (!module)
		return error_raise(SIMPLER_ENOMEM, "no memory for a module");
	module->stored.fd = -1;
	module->stored.digest = payload->origin.module;
	module->stored.size = payload->module_bytes.size;
	module->users = 1;
	status = fill(&module->stored, payload->module_bytes);
	if (status)
		free_module(module);
	else
		*out = module;
	return status;
}

/* NULL when it is not known; else with one more user. */
static const struct stored_module *use_known(struct module_store *store,
                                             const struct digest *digest)
{
	struct module *module;

	pthread_mutex_lock(&store->lock);
	DL_FOREACH (store->modules, module) {
		if (memcmp(&module->stored.digest, digest, sizeof(*digest)) == 0) {
			module->users++;
			break;
		}
	}
	pthread_mutex_unlock(&store->lock);
	return module ? &module->stored : NULL;
}

static simpler_status unknown(const struct digest *digest)
{
	char text[DIGEST_HEX_BYTES];

	digest_hex(digest, text);
	return error_raise(SIMPLER_ENOTFOUND,
	                   "module %s is not known here; send the payload with the module's bytes",
	                   text);
}

/* Room only grows until the caller, who is adding, takes it. */
static simpler_status check_room(struct module_store *store, size_t size)
{
	size_t count;
	uint64_t bytes;

	pthread_mutex_lock(&store->lock);
	count = store->count;
	bytes = store->bytes;
	pthread_mutex_unlock(&store->lock);
	if (count >= store->limit)
		return error_raise(SIMPLER_ENOSPACE,
		                   "there are %zu modules here, and no more than %zu can be", count,
		                   store->limit);
	if (size > store->byte_limit || bytes > store->byte_limit - size)
		return error_raise(SIMPLER_ENOSPACE,
		                   "a module of %zu bytes finds no room: the modules here take "
		                   "%" PRIu64 " of at most %" PRIu64,
		                   size, bytes, store->byte_limit);
	return SIMPLER_OK;
}

static void publish(struct module_store *store, struct module *module)
{
	pthread_mutex_lock(&store->lock);
	DL_APPEND(store->modules, module);
	store->count++;
	store->bytes += module->stored.size;
	pthread_mutex_unlock(&store->lock);
}

/* With `adding` held. */
static simpler_status add(struct module_store *store, const struct payload *payload,
                          const struct stored_module **out)
{
	struct module *module;
	simpler_status status = check_room(store, payload->module_bytes.size);

	if (!status)
		status = make_module(payload, &module);
	if (status)
		return status;
	publish(store, module);
	*out = &module->stored;
	return SIMPLER_OK;
}

simpler_status module_store_use(struct module_store *store, const struct payload *payload,
                                const struct stored_module **out)
{
	simpler_status status = SIMPLER_OK;

	*out = use_known(store, &payload->origin.module);
	if (*out)
		return SIMPLER_OK;
	if (payload->module_bytes.size == 0)
		return unknown(&payload->origin.module);
	pthread_mutex_lock(&store->adding);
	*out = use_known(store, &payload->origin.module);
	if (!*out)
		status = add(store, payload, out);
	pthread_mutex_unlock(&store->adding);
	return status;
}

void module_store_leave(struct module_store *store, const struct stored_module *stored)
{
	struct module *module = (struct module *)(uintptr_t)stored;
	bool last;

	pthread_mutex_lock(&store->lock);
	assert(module->users > 0);
	last = --module->users == 0;
	if (last) {
		DL_DELETE(store->modules, module);
		store->count--;
		store->bytes -= stored->size;
	}
	pthread_mutex_unlock(&store->lock);
	if (last)
		free_module(module);
}

struct module_store *module_store_create(size_t limit, uint64_t byte_limit)
{
	struct module_store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	store->limit = limit;
	store->byte_limit = byte_limit;
	(void)pthread_mutex_init(&store->adding, NULL);
	(void)pthread_mutex_init(&store->lock, NULL);
	return store;
}

void module_store_destroy(struct module_store *store)
{
	assert(!store->modules && store->count == 0 && store->bytes == 0);
	(void)pthread_mutex_destroy(&store->lock);
	(void)pthread_mutex_destroy(&store->adding);
	free(store);
}
