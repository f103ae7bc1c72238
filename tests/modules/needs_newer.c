#include <simpler/module.h>

simpler_status simpler_of_a_later_version(void);

static simpler_status needs_newer(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return simpler_of_a_later_version();
}

SIMPLER_SUB(needs_newer);
