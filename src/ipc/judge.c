#include "ipc/judge.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

static bool may_be_returned(simpler_status status)
{
	int value = (int)status;

	return (value >= SIMPLER_OK && value <= SIMPLER_EINTERNAL) || value >= SIMPLER_USER_STATUS;
}

simpler_status judge_returned(const char *name, simpler_status returned)
{
	bool explained = simpler_last_status() == returned && simpler_last_error_step(0);
	char words[ERROR_STEP_BYTES / 2] = "";

	if (returned == SIMPLER_OK)
		return SIMPLER_OK;
	if (may_be_returned(returned))
		return explained ? returned
		                 : error_raise(returned, "'%s' returned %d and gave no message",
		                               name, (int)returned);
	if (explained)
		(void)snprintf(words, sizeof(words), ": %s", simpler_last_error_step(0));
	return error_raise(SIMPLER_EUSER, "'%s' returned %d, which is no status%s", name,
	                   (int)returned, words);
}
