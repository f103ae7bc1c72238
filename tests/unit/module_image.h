/* A test module as a node would have it: a sealed memfd. */
#ifndef MODULE_IMAGE_H
#define MODULE_IMAGE_H

#include <stdio.h>

#include "os/memory.h"
#include "test_modules.h"

/* Of the module `name`; fails the test when that cannot be read. */
static inline int module_image(const char *name)
{
	static char bytes[1 << 20];
	char path[512];
	FILE *file;
	size_t size;
	int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s.so", TEST_MODULES_DIR, name);
	file = fopen(path, "rb");
	assert_non_null(file);
	size = fread(bytes, 1, sizeof(bytes), file);
	assert_true(size > 0 && size < sizeof(bytes));
	(void)fclose(file);
	assert_int_equal(memory_create_image(name, size, &fd), SIMPLER_OK);
	assert_int_equal(memory_write(fd, 0, bytes, size), SIMPLER_OK);
	assert_int_equal(memory_seal(fd), SIMPLER_OK);
	return fd;
}

#endif
