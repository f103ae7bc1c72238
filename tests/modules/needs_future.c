#include <simpler/module.h>

int future_function(void);

static simpler_status needs_future(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return future_function() ? SIMPLER_EUSER : SIMPLER_OK;
}

SIMPLER_SUB(needs_future);
