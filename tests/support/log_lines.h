/* What is written to standard error, the library's log among it, while a test collects it. What an
 * assertion says in the meantime would be lost, so there had better be none. */
#ifndef SUPPORT_LOG_LINES_H
#define SUPPORT_LOG_LINES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

struct log_lines {
	FILE *file;
	int standard_error;
};

static inline void log_lines_begin(struct log_lines *lines)
{
	lines->file = tmpfile();
	lines->standard_error = dup(STDERR_FILENO);
	assert_non_null(lines->file);
	assert_true(lines->standard_error >= 0);
	assert_true(dup2(fileno(lines->file), STDERR_FILENO) >= 0);
}

static inline void log_lines_end(struct log_lines *lines)
{
	assert_true(dup2(lines->standard_error, STDERR_FILENO) >= 0);
	(void)close(lines->standard_error);
}

/* Past the end: how many lines have this text. */
static inline unsigned log_lines_count(const struct log_lines *lines, const char *text)
{
	unsigned count = 0;
	char line[4096];

	rewind(lines->file);
	while (fgets(line, sizeof(line), lines->file))
		count += strstr(line, text) != NULL;
	return count;
}

static inline void log_lines_release(struct log_lines *lines)
{
	(void)fclose(lines->file);
}

#endif
