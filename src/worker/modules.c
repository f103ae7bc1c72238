#include "worker/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/memory.h"

struct modules {
	pthread_rwlock_t lock;
	struct module *first;
};

struct modules *modules_create(void)
{
	struct modules *modules = calloc(1, sizeof(*modules));

	if (modules)
		(void)pthread_rwlock_init(&modules->lock, NULL);
	return modules;
}

static void release(struct module *module)
{
	if (module->exec.bytes)
		memory_unmap((void *)(uintptr_t)module->exec.bytes, module->exec.size);
	if (module->exec.fd >= 0)
		(void)close(module->exec.fd);
	free(module);
}

void modules_destroy(struct modules *modules)
{
	while (modules->first) {
		struct module *module = modules->first;

		modules->first = module->next;
		release(module);
	}
	(void)pthread_rwlock_destroy(&modules->lock);
	free(modules);
}

static bool is_of(const struct module *module, const struct origin *origin)
{
	const struct origin *own = &module->exec.origin;

	return own->source == origin->source && strcmp(own->library, origin->library) == 0 &&
	       memcmp(&own->module, &origin->module, sizeof(origin->module)) == 0;
}

/* Under either lock. */
static struct module *search(struct modules *modules, const struct origin *origin)
{
	struct module *module = modules->first;

	while (module && !is_of(module, origin))
		module = module->next;
	return module;
}

static struct module *find(struct modules *modules, const struct origin *origin)
{
	struct module *module;

	pthread_rwlock_rdlock(&modules->lock);
	module = search(modules, origin);
	pthread_rwlock_unlock(&modules->lock);
	return module;
}

static struct module *publish(struct modules *modules, struct module *module)
{
	struct module *faster;

	pthread_rwlock_wrlock(&modules->lock);
	faster = search(modules, &module->exec.origin);
	if (!faster) {
		module->next = modules->first;
		modules->first = module;
	}
	pthread_rwlock_unlock(&modules->lock);
	if (!faster)
		return module;
	release(module);
	return faster;
}

static simpler_status map_image(struct module *module, int fd)
{
	struct exec_module *exec = &module->exec;
	uint64_t size;
	void *base;
	simpler_status status = memory_size(fd, &size);

	if (status != SIMPLER_OK)
		return status;
	exec->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (exec->fd < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "keeping a module's descriptor");
	exec->size = (size_t)size;
	status = memory_map_readable(exec->fd, exec->size, &base);
	if (status != SIMPLER_OK)
		return status;
	exec->bytes = base;
	return module_file_parse(exec->bytes, exec->size, &module->file);
}

static simpler_status make(const struct origin *origin, const struct digest *digest, int fd,
                           struct module **out)
{
	struct module *module = calloc(1, sizeof(*module));
	simpler_status status = SIMPLER_OK;

	if (!module)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a module");
	module->exec.origin = *origin;
	module->exec.fd = -1;
	if (fd >= 0) {
		module->exec.digest = *digest;
		status = map_image(module, fd);
	}
	if (status == SIMPLER_OK)
		*out = module;
	else
		release(module);
	return status;
}

simpler_status modules_add(struct modules *modules, const struct digest *digest, int fd,
                           const struct signature *signature, struct module **out)
{
	const struct origin origin = { .source = ORIGIN_MODULE, .module = *digest };
	struct module *module;
	simpler_status status;

	*out = find(modules, &origin);
	if (*out)
		return SIMPLER_OK;
	status = make(&origin, digest, fd, &module);
	if (status != SIMPLER_OK)
		return status;
	module->exec.is_signed = signature != NULL;
	if (signature)
		signature_pack(signature, module->exec.signature);
	*out = publish(modules, module);
	return SIMPLER_OK;
}

simpler_status modules_add_library(struct modules *modules, const char *name,
                                   const struct digest *digest, int fd, struct module **out)
{
	struct origin origin = { .source = ORIGIN_LIBRARY };
	struct module *module;
	simpler_status status;

	memcpy(origin.library, name, strlen(name));
	*out = find(modules, &origin);
	if (*out)
		return SIMPLER_OK;
	status = make(&origin, digest, fd, &module);
	if (status == SIMPLER_OK)
		*out = publish(modules, module);
	return status;
}
