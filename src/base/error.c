/*
 * The thread's last error and its rendering. Nothing here allocates: an error must be reportable
 * when memory is what ran out.
 */
#include "base/error.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#undef error_raise
#undef error_raise_errno
#undef error_context

static _Thread_local struct error last;
static _Thread_local char rendered[ERROR_TEXT_BYTES + ERROR_MAX_STEPS * 16];

/* Mark the cut of a step that vsnprintf() cut. */
static void mark_cut(char *step, size_t capacity)
{
	memcpy(step + capacity - sizeof("..."), "...", sizeof("..."));
}

static void add_step(struct error *error, const char *format, va_list arguments)
{
	char step[ERROR_STEP_BYTES];
	int wanted = vsnprintf(step, sizeof(step), format, arguments);
	size_t size;

	if (wanted < 0)
		snprintf(step, sizeof(step), "(a message that could not be formatted)");
	else if ((size_t)wanted >= sizeof(step))
		mark_cut(step, sizeof(step));
	size = strlen(step) + 1;
	if (error->steps == ERROR_MAX_STEPS || size > sizeof(error->text) - error->used)
		return;
	memcpy(error->text + error->used, step, size);
	error->used += (uint32_t)size;
	error->steps++;
}

static void begin(struct error *error, simpler_status status)
{
	error->status = status;
	error->steps = 0;
	error->used = 0;
}

void error_init(struct error *error, simpler_status status, const char *format, ...)
{
	va_list arguments;

	begin(error, status);
	va_start(arguments, format);
	add_step(error, format, arguments);
	va_end(arguments);
}

void error_add(struct error *error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add_step(error, format, arguments);
	va_end(arguments);
}

void error_add_untrusted(struct error *error, const char *bytes, size_t size)
{
	char step[ERROR_STEP_BYTES];
	size_t kept = size < sizeof(step) ? size : sizeof(step) - 1;

	for (size_t i = 0; i < kept; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		step[i] = byte < ' ' || byte == 0x7f ? ' ' : bytes[i];
	}
	step[kept] = '\0';
	if (kept < size)
		mark_cut(step, sizeof(step));
	error_add(error, "%s", step);
}

void error_init_untrusted(struct error *error, simpler_status status, const char *bytes,
                          size_t size)
{
	begin(error, status);
	error_add_untrusted(error, bytes, size);
}

const char *error_step(const struct error *error, size_t index)
{
	const char *step = error->text;

	if (index >= error->steps)
		return NULL;
	while (index-- > 0)
		step += strlen(step) + 1;
	return step;
}

simpler_status error_raise(simpler_status status, const char *format, ...)
{
	va_list arguments;

	assert(status != SIMPLER_OK);
	begin(&last, status);
	va_start(arguments, format);
	add_step(&last, format, arguments);
	va_end(arguments);
	return status;
}

simpler_status error_raise_errno(simpler_status status, int errno_value, const char *format, ...)
{
	char what[ERROR_STEP_BYTES / 2], why[128];
	va_list arguments;

	va_start(arguments, format);
	if (vsnprintf(what, sizeof(what), format, arguments) < 0)
		what[0] = '\0';
	va_end(arguments);
	if (strerror_r(errno_value, why, sizeof(why)) != 0)
		snprintf(why, sizeof(why), "error %d", errno_value);
	return error_raise(status, "%s: %s", what, why);
}

simpler_status error_context(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add_step(&last, format, arguments);
	va_end(arguments);
	return last.status;
}

void error_clear(void)
{
	begin(&last, SIMPLER_OK);
}

void error_save(struct error *out)
{
	*out = last;
}

simpler_status error_restore(const struct error *error)
{
	last = *error;
	return last.status;
}

simpler_status simpler_fail(simpler_status status, const char *format, ...)
{
	va_list arguments;

	if (!format)
		format = "(no message)";
	begin(&last, status == SIMPLER_OK ? SIMPLER_EUSER : status);
	va_start(arguments, format);
	add_step(&last, format, arguments);
	va_end(arguments);
	return last.status;
}

simpler_status simpler_last_status(void)
{
	return last.status;
}

const char *simpler_last_error_step(size_t step)
{
	return error_step(&last, step);
}

const char *simpler_last_error(void)
{
	size_t used = 0;

	rendered[0] = '\0';
	for (size_t i = last.steps; i-- > 0;) {
		bool outermost = i + 1 == last.steps, cause = i == 0;
		int written = snprintf(
			rendered + used, sizeof(rendered) - used, "%s%s%s%s%s", used ? "\n" : "",
			outermost ? "" : "  ", cause && !outermost ? "cause: " : "",
			cause ? simpler_status_name(last.status) : "", cause ? ": " : "");

		if (written < 0 || (size_t)written >= sizeof(rendered) - used)
			break;
		used += (size_t)written;
		written = snprintf(rendered + used, sizeof(rendered) - used, "%s",
		                   error_step(&last, i));
		if (written < 0 || (size_t)written >= sizeof(rendered) - used)
			break;
		used += (size_t)written;
	}
	return rendered;
}
