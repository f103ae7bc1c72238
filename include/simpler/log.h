/* One line to standard error, with the time, the process and its role in front of it. */
#ifndef SIMPLER_LOG_H
#define SIMPLER_LOG_H

#include <stdbool.h>

#include "simpler/export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum simpler_log_level {
	SIMPLER_LOG_ERROR = 0,
	SIMPLER_LOG_WARN = 1,
	SIMPLER_LOG_INFO = 2,
	SIMPLER_LOG_DEBUG = 3
} simpler_log_level;

/**
 * Lines above this level are dropped. The default is SIMPLER_LOG_WARN, or what the environment
 * variable SIMPLER_LOG says (error, warn, info, debug). A daemon's --log-level holds for all its
 * processes. Thread-safe.
 */
SIMPLER_API void simpler_log_set_level(simpler_log_level level);
/** Whether a line of this level would be written: for what is dear to find out for a line alone.
 *  Thread-safe. */
SIMPLER_API bool simpler_log_enabled(simpler_log_level level);

/** Write one line; thread-safe, in one write(), cut at 2 KiB. A line feed in it becomes a space. */
SIMPLER_API void simpler_log(simpler_log_level level, const char *format, ...) SIMPLER_PRINTF(2, 3);

#ifdef __cplusplus
}
#endif

#endif
