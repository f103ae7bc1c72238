/* Calls nothing, so that it loads in a process that exports nothing. */
#include <simpler/module.h>

/* Returns a status that tells the first captured byte. */
static simpler_status tell_state(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	return (simpler_status)(SIMPLER_USER_STATUS +
	                        (state.size > 0 ? *(const unsigned char *)state.data : 0));
}

static simpler_status succeed(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return SIMPLER_OK;
}

SIMPLER_SUB(tell_state);
SIMPLER_SUB(succeed);
