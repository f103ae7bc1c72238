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

simpler_status dl_open(int fd, void **object)
{
	char path[32];
	const char *words;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (*object)
		return SIMPLER_OK;
	words = dlerror();
	return error_raise(SIMPLER_EINVAL, "the module does not load: %s",
	                   words ? without_path(words, path) : "the dynamic loader gave no reason");
}

void *dl_symbol(void *object, const char *name)
{
	return dlsym(object, name);
}
