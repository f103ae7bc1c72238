#include "os/dl.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* The loader's words begin with a path that says nothing to a reader. */
static const char *without_path(const char *words, const char *path)
{
	size_t size = strlen(path);

	if (strncmp(words, path, size) == 0 && strncmp(words + size, ": ", 2) == 0)
		return words + size + 2;
	return words;
}

/* NULL, or why not; good until the next call. */
static const char *load(const char *path, void **object)
{
	const char *words;

	*object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (*object)
		return NULL;
	words = dlerror();
	return words ? without_path(words, path) : "the dynamic loader gave no reason";
}

simpler_status dl_open(int fd, void **object)
{
	const char *words;
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	words = load(path, object);
	return words ? error_raise(SIMPLER_EINVAL, "%s", words) : SIMPLER_OK;
}

simpler_status dl_open_path(const char *path, void **object)
{
	const char *words = load(path, object);

	if (!words)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL, "the shared object '%s' does not load: %s", path, words);
}

void *dl_symbol(void *object, const char *name)
{
	return dlsym(object, name);
}

bool dl_path_of(const void *address, char *path, size_t capacity)
{
	Dl_info info;

	if (dladdr(address, &info) == 0 || !info.dli_fname)
		return false;
	return (size_t)snprintf(path, capacity, "%s", info.dli_fname) < capacity;
}
