#include <simpler/module.h>

__attribute__((weak)) simpler_status simpler_of_a_later_version(void);

static simpler_status needs_weak(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return simpler_of_a_later_version ? simpler_of_a_later_version() : SIMPLER_OK;
}

SIMPLER_SUB(needs_weak);
