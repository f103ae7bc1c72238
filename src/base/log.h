/* What the library adds to simpler/log.h for its own processes. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "simpler/log.h"

/* The role that this process's lines carry, such as "sub worker 0". Call before there are threads;
 * the default is "simpler". */
void log_set_role(const char *format, ...) SIMPLER_PRINTF(1, 2);

/* "error", "warn", "info", "debug" to a level; false for any other text. */
bool log_parse_level(const char *text, simpler_log_level *out);
const char *log_level_name(simpler_log_level level);

#endif
