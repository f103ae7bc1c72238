/*
 * How errors travel inside the library.
 *
 * The function that first knows the cause calls error_raise() and returns its status; each caller
 * that knows something worth telling adds one line with error_context(); all others pass the
 * status on. The chain lives in the thread. To cross a thread or a process it is copied as a value
 * with error_save() and error_restore().
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "simpler/status.h"

#define ERROR_TEXT_BYTES 3072
#define ERROR_STEP_BYTES 1024 /* longest single step, its terminator included */
#define ERROR_MAX_STEPS  16

/* A chain of steps, the root cause first, as NUL-terminated strings one behind the other. When it
 * is full, further outer steps are dropped: the cause is what must survive. A plain value. */
struct error {
	simpler_status status;
	uint32_t steps;
	uint32_t used;
	char text[ERROR_TEXT_BYTES];
};

/* Begin a new chain in this thread. Returns `status`. The text says what was wrong and what to do.
 */
simpler_status error_raise(simpler_status status, const char *format, ...) SIMPLER_PRINTF(2, 3);
/* As error_raise(), followed by ": " and the text of `errno_value`. */
simpler_status error_raise_errno(simpler_status status, int errno_value, const char *format, ...)
	SIMPLER_PRINTF(3, 4);
/* Add an outer step to the thread's chain. Returns the chain's status. */
simpler_status error_context(const char *format, ...) SIMPLER_PRINTF(1, 2);

/* Forget the thread's error, so that what is found later is known to be new. */
void error_clear(void);
void error_save(struct error *out);
simpler_status error_restore(const struct error *error);

/* The same on a value, for those who build a chain for somebody else. */
void error_init(struct error *error, simpler_status status, const char *format, ...)
	SIMPLER_PRINTF(3, 4);
void error_add(struct error *error, const char *format, ...) SIMPLER_PRINTF(2, 3);
/* A step from bytes that another process sent: cut to size, control bytes replaced. */
void error_init_untrusted(struct error *error, simpler_status status, const char *bytes,
                          size_t size);
void error_add_untrusted(struct error *error, const char *bytes, size_t size);
/* Step `index`, 0 the cause; NULL past the end. */
const char *error_step(const struct error *error, size_t index);

/* Compilers do not see into error.c. Without this they, and clang's analyzer, follow paths on which
 * a failure was raised and SIMPLER_OK came back, and warn of what was not set there. error.c
 * removes the macros again, to define the functions. */
static inline simpler_status error_is_failure(simpler_status status)
{
	return status == SIMPLER_OK ? SIMPLER_EINTERNAL : status;
}
#define error_raise(...)       error_is_failure((error_raise)(__VA_ARGS__))
#define error_raise_errno(...) error_is_failure((error_raise_errno)(__VA_ARGS__))
#define error_context(...)     error_is_failure((error_context)(__VA_ARGS__))

#endif
