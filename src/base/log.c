#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES  2048
#define LEVEL_UNSET (-1)

static _Atomic int current_level = LEVEL_UNSET;
static char role[48] = "simpler"; /* written before there are threads */

static const char *const level_names[] = { "error", "warn", "info", "debug" };

const char *log_level_name(simpler_log_level level)
{
	return level >= SIMPLER_LOG_ERROR && level <= SIMPLER_LOG_DEBUG ? level_names[level]
	                                                                : "unknown";
}

bool log_parse_level(const char *text, simpler_log_level *out)
{
	for (int i = SIMPLER_LOG_ERROR; i <= SIMPLER_LOG_DEBUG; i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*out = (simpler_log_level)i;
			return true;
		}
	}
	return false;
}

void log_set_role(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(role, sizeof(role), format, arguments);
	va_end(arguments);
}

void simpler_log_set_level(simpler_log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

static int read_level(void)
{
	int level = atomic_load_explicit(&current_level, memory_order_relaxed);
	simpler_log_level parsed = SIMPLER_LOG_WARN;
	const char *text;

	if (level != LEVEL_UNSET)
		return level;
	text = getenv("SIMPLER_LOG");
	if (text)
		(void)log_parse_level(text, &parsed);
	/* Only if still unset: a concurrent simpler_log_set_level() wins. */
	if (atomic_compare_exchange_strong(&current_level, &level, (int)parsed))
		return (int)parsed;
	return level;
}

bool simpler_log_enabled(simpler_log_level level)
{
	return (int)level <= read_level();
}

/* "05:06:07.089 info  [sub worker 0 pid 4711] " */
static size_t write_prefix(char *line, simpler_log_level level)
{
	struct timespec now;
	struct tm broken_down;
	int written;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (!gmtime_r(&now.tv_sec, &broken_down))
		memset(&broken_down, 0, sizeof(broken_down));
	written = snprintf(line, LINE_BYTES, "%02d:%02d:%02d.%03ld %-5s [%s pid %ld] ",
	                   broken_down.tm_hour, broken_down.tm_min, broken_down.tm_sec,
	                   now.tv_nsec / 1000000, log_level_name(level), role, (long)getpid());
	return written > 0 ? (size_t)written : 0;
}

void simpler_log(simpler_log_level level, const char *format, ...)
{
	char line[LINE_BYTES];
	size_t prefix, size;
	va_list arguments;
	int wanted;

	if (!simpler_log_enabled(level))
		return;
	prefix = write_prefix(line, level);
	va_start(arguments, format);
	wanted = vsnprintf(line + prefix, sizeof(line) - prefix, format, arguments);
	va_end(arguments);
	if (wanted < 0)
		return;
	size = strlen(line);
	for (size_t i = prefix; i < size; i++) {
		if (line[i] == '\n')
			line[i] = ' ';
	}
	line[size] = '\n'; /* over the terminator: write() takes a length */
	/* Nobody to tell when standard error is gone. */
	if (write(STDERR_FILENO, line, size + 1) < 0)
		return;
}
