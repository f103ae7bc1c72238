/* What the kernel says of a process: a line of one of its files in /proc. */
#ifndef SUPPORT_PROC_LINE_H
#define SUPPORT_PROC_LINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <string.h>
#include <sys/types.h>

/* What follows `name` in the line that begins with it. The test fails when there is none. */
static inline const char *proc_line(pid_t pid, const char *of, const char *name, char line[256])
{
	char path[64];
	bool found = false;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, of);
	file = fopen(path, "r");
	assert_non_null(file);
	while (!found && fgets(line, 256, file))
		found = strncmp(line, name, strlen(name)) == 0;
	(void)fclose(file);
	assert_true(found);
	return line + strlen(name);
}

#endif
