/* What a test expects of the library's functions. After <cmocka.h>. */
#ifndef TESTS_SUPPORT_STATUSES_H
#define TESTS_SUPPORT_STATUSES_H

#include <string.h>

#include "simpler/status.h"

static inline void assert_ok(simpler_status status)
{
	if (status != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
}

static inline void assert_fails(simpler_status status, simpler_status expected, const char *text)
{
	if (status != expected || !strstr(simpler_last_error(), text))
		fail_msg("%s instead of %s saying '%s': %s", simpler_status_name(status),
		         simpler_status_name(expected), text, simpler_last_error());
}

#endif
