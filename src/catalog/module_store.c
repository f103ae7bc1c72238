/*
 * Modules are in the order of their last use, so that the first that nobody uses is the one to go.
 * What is on its way in has its room reserved from the beginning.
 *
 * What came in a message or is read from a file is made under a lock of its own, so that no module
 * is made twice at the same time. Uploads are not under it, since they take as long as their
 * clients please: the second of two of the same module is dropped when it ends.
 */
#include "catalog/module_store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "base/error.h"
#include "base/log.h"
#include "catalog/module_disk.h"
#include "catalog/module_image.h"
#include "catalog/module_saver.h"
#include "os/memory.h"

#define SAVED "a saved module" /* what messages call it */

struct module {
	struct stored_module stored; /* first, so that a pointer to it is one to the module */
	_Atomic bool tried;
	size_t users;
	struct module *prev, *next; /* `next` also in a list of evicted ones */
};

struct module_store {
	struct module_store_options options;
	struct module_disk *disk; /* NULL: none; and so the saver */
	struct module_saver *saver;
	pthread_mutex_t adding; /* see above; taken before `lock` */
	pthread_mutex_t lock;   /* guards all below */
	struct module *modules; /* the last used one last */
	size_t count;           /* with those on their way in */
	uint64_t bytes;
	size_t uploads;
};

struct module_upload {
	struct module_store *store;
	struct digest digest; /* as announced */
	struct module_image image;
};

static void free_module(struct module *module)
{
	if (module->stored.bytes.data)
		memory_unmap((void *)(uintptr_t)module->stored.bytes.data,
		             module->stored.bytes.size);
	if (module->stored.fd >= 0)
		(void)close(module->stored.fd);
	free(module);
}

/* --- room --- */

/* With the lock held. */
static bool has_room(const struct module_store *store, uint64_t size)
{
	return store->count < store->options.modules && size <= store->options.bytes &&
	       store->bytes <= store->options.bytes - size;
}

static struct module *least_used(struct module_store *store)
{
	struct module *module;

	DL_FOREACH (store->modules, module) {
		if (module->users == 0)
			return module;
	}
	return NULL;
}

static void take_out(struct module_store *store, struct module *module)
{
	DL_DELETE(store->modules, module);
	store->count--;
	store->bytes -= module->stored.bytes.size;
}

/* With the lock held. */
static struct module_store_stats take_stock(const struct module_store *store)
{
	struct module_store_stats stats = { store->count, store->count, store->bytes,
		                            store->bytes };
	const struct module *module;

	DL_FOREACH (store->modules, module) {
		if (module->users > 0)
			continue;
		stats.in_use--;
		stats.bytes_in_use -= module->stored.bytes.size;
	}
	return stats;
}

void module_store_stats(struct module_store *store, struct module_store_stats *out)
{
	pthread_mutex_lock(&store->lock);
	*out = take_stock(store);
	pthread_mutex_unlock(&store->lock);
}

static simpler_status raise_full(const struct module_store *store, uint64_t size)
{
	const struct module_store_options *options = &store->options;
	struct module_store_stats stats = take_stock(store);

	return error_raise(SIMPLER_ENOSPACE,
	                   "a module of %" PRIu64 " bytes finds no room: %zu modules are in use "
	                   "with %" PRIu64 " bytes, and there can be %zu with %" PRIu64
	                   "; unregister callables that are not needed",
	                   size, stats.in_use, stats.bytes_in_use, options->modules,
	                   options->bytes);
}

/* Reserve room for a module of this size. */
static simpler_status reserve(struct module_store *store, uint64_t size)
{
	struct module *evicted = NULL, *module, *next;
	simpler_status status = SIMPLER_OK;

	pthread_mutex_lock(&store->lock);
	while (size <= store->options.bytes && !has_room(store, size) &&
	       (module = least_used(store)) != NULL) {
		take_out(store, module);
		LL_PREPEND(evicted, module);
	}
	if (has_room(store, size)) {
		store->count++;
		store->bytes += size;
	} else {
		status = raise_full(store, size);
	}
	pthread_mutex_unlock(&store->lock);
	LL_FOREACH_SAFE (evicted, module, next)
		free_module(module);
	return status;
}

static void release(struct module_store *store, uint64_t size)
{
	pthread_mutex_lock(&store->lock);
	store->count--;
	store->bytes -= size;
	pthread_mutex_unlock(&store->lock);
}

/* --- using --- */

/* With the lock held: it was used last. */
static void put_last(struct module_store *store, struct module *module)
{
	if (!module->next)
		return;
	DL_DELETE(store->modules, module);
	DL_APPEND(store->modules, module);
}

/* With the lock held; NULL when it is not known, else with one more user. */
static struct module *use(struct module_store *store, const struct digest *digest)
{
	struct module *module;

	DL_FOREACH (store->modules, module) {
		if (memcmp(&module->stored.digest, digest, sizeof(*digest)) != 0)
			continue;
		module->users++;
		put_last(store, module);
		return module;
	}
	return NULL;
}

static struct module *use_known(struct module_store *store, const struct digest *digest)
{
	struct module *module;

	pthread_mutex_lock(&store->lock);
	module = use(store, digest);
	pthread_mutex_unlock(&store->lock);
	return module;
}

void module_store_leave(struct module_store *store, const struct stored_module *stored)
{
	struct module *module = (struct module *)(uintptr_t)stored;

	pthread_mutex_lock(&store->lock);
	assert(module->users > 0);
	module->users--;
	put_last(store, module);
	pthread_mutex_unlock(&store->lock);
}

static void saved(void *context, void *module)
{
	struct module *of = module;

	module_store_leave(context, &of->stored);
}

/* --- making --- */

/* An image that is all there becomes a module, with one user. Owns `fd`, also on failure. */
static simpler_status make_module(const struct digest *digest, int fd, uint64_t size,
                                  struct module **out)
{
	struct module *module = calloc(1, sizeof(*module));
	void *base = NULL;
	simpler_status status;

	if (!module) {
		(void)close(fd);
		return error_raise(SIMPLER_ENOMEM, "no memory for a module");
	}
	module->stored.fd = fd;
	module->stored.digest = *digest;
	module->users = 1;
	status = memory_map_readable(fd, size, &base);
	if (!status) {
		module->stored.bytes = (simpler_bytes){ base, (size_t)size };
		status = module_file_parse(base, (size_t)size, &module->stored.file);
	}
	if (status)
		free_module(module);
	else
		*out = module;
	return status;
}

/* Into the room that was reserved for it, unless another one was faster, who is used then. */
static struct module *publish(struct module_store *store, struct module *module, bool *fresh)
{
	struct module *known;

	assert(module);
	pthread_mutex_lock(&store->lock);
	known = use(store, &module->stored.digest);
	if (known) {
		store->count--;
		store->bytes -= module->stored.bytes.size;
	} else {
		DL_APPEND(store->modules, module);
	}
	pthread_mutex_unlock(&store->lock);
	*fresh = !known;
	if (!known)
		return module;
	free_module(module);
	return known;
}

/* Seal the image, which is gone then. */
static simpler_status build(struct module_image *image, const struct digest *expected,
                            struct module **out)
{
	uint64_t size = image->size;
	struct digest digest;
	char have[17], want[17];
	int fd = -1;
	simpler_status status = module_image_end(image, &digest, &fd);

	if (status)
		return status;
	if (memcmp(&digest, expected, sizeof(digest)) == 0)
		return make_module(&digest, fd, size, out);
	(void)close(fd);
	digest_short(&digest, have);
	digest_short(expected, want);
	return error_raise(SIMPLER_EINVAL,
	                   "the module's bytes have the digest %s..., and %s... was expected; they "
	                   "were damaged on the way",
	                   have, want);
}

/* Make what is in the image, which has its room, known. The image is gone, whatever this returns,
 * and the room on failure. */
static simpler_status complete(struct module_store *store, struct module_image *image,
                               const struct digest *expected, struct module **out, bool *fresh)
{
	uint64_t size = image->size;
	struct module *module = NULL;
	simpler_status status = build(image, expected, &module);

	if (status)
		release(store, size);
	else
		*out = publish(store, module, fresh);
	return status;
}

static simpler_status begin(struct module_store *store, struct module_image *image, uint64_t size)
{
	simpler_status status = module_image_begin(image, size);

	if (status)
		return status;
	status = reserve(store, size);
	if (status)
		module_image_drop(image);
	return status;
}

static void break_off(struct module_store *store, struct module_image *image)
{
	release(store, image->size);
	module_image_drop(image);
}

/* Have it written to disk, if modules are kept there. */
static void save(struct module_store *store, struct module *module)
{
	if (!store->saver)
		return;
	pthread_mutex_lock(&store->lock);
	module->users++; /* until it is saved */
	pthread_mutex_unlock(&store->lock);
	if (module_saver_add(store->saver, &module->stored.digest, module->stored.bytes, module))
		return;
	simpler_log(SIMPLER_LOG_WARN, "out of memory: a module is not kept across restarts");
	module_store_leave(store, &module->stored);
}

static simpler_status use_bytes(struct module_store *store, const struct digest *digest,
                                simpler_bytes bytes, struct module **out)
{
	struct module_image image;
	simpler_status status = begin(store, &image, bytes.size);
	bool fresh;

	if (status)
		return status;
	status = module_image_add(&image, 0, bytes);
	if (status) {
		break_off(store, &image);
		return status;
	}
	status = complete(store, &image, digest, out, &fresh);
	if (!status && fresh)
		save(store, *out);
	return status;
}

static simpler_status use_file(struct module_store *store, int fd, uint64_t size, const char *path,
                               const struct digest *expected, struct module **out)
{
	struct module_image image;
	simpler_status status = begin(store, &image, size);
	bool fresh;

	if (status)
		return status;
	status = module_image_read(&image, fd, path);
	if (!status)
		return complete(store, &image, expected, out, &fresh);
	break_off(store, &image);
	return status;
}

static simpler_status raise_unknown(const struct digest *digest)
{
	char text[DIGEST_HEX_BYTES];

	digest_hex(digest, text);
	return error_raise(SIMPLER_ENOTFOUND,
	                   "module %s is not known here; send the payload with the module's bytes, "
	                   "or a large module with PushModule",
	                   text);
}

/* What could not be used may be good all the same: for want of room, say. */
static bool is_whole(int fd, const struct digest *digest)
{
	struct digest actual;

	return module_image_digest(fd, SAVED, &actual) == SIMPLER_OK &&
	       memcmp(&actual, digest, sizeof(actual)) == 0;
}

/* With `adding` held. SIMPLER_ENOTFOUND when it is not on disk, or not what it should be. */
static simpler_status use_saved(struct module_store *store, const struct digest *digest,
                                struct module **out)
{
	simpler_status status;
	uint64_t size;
	bool damaged;
	int fd;

	if (!store->disk || !module_disk_find(store->disk, digest, &fd, &size))
		return raise_unknown(digest);
	status = use_file(store, fd, size, SAVED, digest, out);
	damaged = status && !is_whole(fd, digest);
	(void)close(fd);
	if (!damaged)
		return status;
	module_disk_drop(store->disk, digest);
	return raise_unknown(digest);
}

simpler_status module_store_use(struct module_store *store, const struct digest *digest,
                                simpler_bytes bytes, const struct stored_module **out)
{
	struct module *module = use_known(store, digest);
	simpler_status status = SIMPLER_OK;

	if (!module) {
		pthread_mutex_lock(&store->adding);
		module = use_known(store, digest);
		if (!module)
			status = bytes.size > 0 ? use_bytes(store, digest, bytes, &module)
			                        : use_saved(store, digest, &module);
		pthread_mutex_unlock(&store->adding);
	}
	if (!status)
		*out = &module->stored;
	return status;
}

bool module_store_is_tried(const struct stored_module *stored)
{
	return atomic_load(&((const struct module *)(const void *)stored)->tried);
}

void module_store_set_tried(const struct stored_module *stored)
{
	atomic_store(&((struct module *)(uintptr_t)stored)->tried, true);
}

simpler_status module_store_use_file(struct module_store *store, int fd, const char *path,
                                     const struct stored_module **out)
{
	struct module *module;
	struct digest digest;
	struct stat about;
	simpler_status status;

	if (fstat(fd, &about) != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "looking at '%s'", path);
	if (!S_ISREG(about.st_mode) || about.st_size <= 0 ||
	    (uint64_t)about.st_size > MODULE_MAX_BYTES)
		return error_raise(SIMPLER_EINVAL,
		                   "'%s' cannot be a module: it is empty, of more than %zu bytes, "
		                   "or no regular file",
		                   path, MODULE_MAX_BYTES);
	/* Looked at first, as one that is known needs no room. */
	status = module_image_digest(fd, path, &digest);
	if (status)
		return status;
	pthread_mutex_lock(&store->adding);
	module = use_known(store, &digest);
	if (!module)
		status = use_file(store, fd, (uint64_t)about.st_size, path, &digest, &module);
	pthread_mutex_unlock(&store->adding);
	if (!status)
		*out = &module->stored;
	return status;
}

/* --- uploads --- */

static simpler_status enter_uploads(struct module_store *store)
{
	bool entered;

	pthread_mutex_lock(&store->lock);
	entered = store->uploads < store->options.uploads;
	if (entered)
		store->uploads++;
	pthread_mutex_unlock(&store->lock);
	if (entered)
		return SIMPLER_OK;
	return error_raise(SIMPLER_ENOSPACE,
	                   "%zu modules are being uploaded here, which is the limit; try again",
	                   store->options.uploads);
}

static void leave_uploads(struct module_upload *upload)
{
	struct module_store *store = upload->store;

	pthread_mutex_lock(&store->lock);
	store->uploads--;
	pthread_mutex_unlock(&store->lock);
	free(upload);
}

static simpler_status begin_upload(struct module_store *store, const struct digest *digest,
                                   uint64_t nbytes, struct module_upload **out)
{
	struct module_upload *upload = calloc(1, sizeof(*upload));
	simpler_status status;

	if (!upload)
		return error_raise(SIMPLER_ENOMEM, "no memory for an upload");
	upload->store = store;
	upload->digest = *digest;
	status = enter_uploads(store);
	if (status) {
		free(upload);
		return status;
	}
	status = begin(store, &upload->image, nbytes);
	if (status)
		leave_uploads(upload);
	else
		*out = upload;
	return status;
}

simpler_status module_upload_begin(struct module_store *store, const struct digest *digest,
                                   uint64_t nbytes, struct module_upload **out)
{
	const simpler_bytes none = { NULL, 0 };
	const struct stored_module *known;
	simpler_status status = module_store_use(store, digest, none, &known);

	*out = NULL;
	if (!status)
		module_store_leave(store, known);
	return status == SIMPLER_ENOTFOUND ? begin_upload(store, digest, nbytes, out) : status;
}

simpler_status module_upload_add(struct module_upload *upload, uint64_t offset, simpler_bytes piece)
{
	return module_image_add(&upload->image, offset, piece);
}

simpler_status module_upload_end(struct module_upload *upload)
{
	struct module_store *store = upload->store;
	struct module *module;
	bool fresh;
	simpler_status status = complete(store, &upload->image, &upload->digest, &module, &fresh);

	leave_uploads(upload);
	if (status)
		return status;
	if (fresh)
		save(store, module);
	module_store_leave(store, &module->stored);
	return SIMPLER_OK;
}

void module_upload_drop(struct module_upload *upload)
{
	break_off(upload->store, &upload->image);
	leave_uploads(upload);
}

/* --- the store itself --- */

static simpler_status open_disk(struct module_store *store)
{
	const struct module_store_options *options = &store->options;
	simpler_status status;

	if (!options->directory)
		return SIMPLER_OK;
	status = module_disk_open(options->directory, options->directory_bytes, &store->disk);
	return status ? status : module_saver_start(store->disk, saved, store, &store->saver);
}

simpler_status module_store_create(const struct module_store_options *options,
                                   struct module_store **out)
{
	struct module_store *store = calloc(1, sizeof(*store));
	simpler_status status;

	if (!store)
		return error_raise(SIMPLER_ENOMEM, "no memory for a module store");
	store->options = *options;
	(void)pthread_mutex_init(&store->adding, NULL);
	(void)pthread_mutex_init(&store->lock, NULL);
	status = open_disk(store);
	if (status)
		module_store_destroy(store);
	else
		*out = store;
	return status;
}

void module_store_destroy(struct module_store *store)
{
	struct module *module, *next;

	module_saver_stop(store->saver);
	module_disk_close(store->disk);
	DL_FOREACH_SAFE (store->modules, module, next) {
		assert(module->users == 0);
		take_out(store, module);
		free_module(module);
	}
	assert(store->count == 0 && store->bytes == 0 && store->uploads == 0);
	(void)pthread_mutex_destroy(&store->lock);
	(void)pthread_mutex_destroy(&store->adding);
	free(store);
}
