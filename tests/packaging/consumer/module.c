/* A module of somebody else, built with nothing but the installed headers. */
#include <simpler/module.h>

static simpler_status add(const simpler_args *args, simpler_bytes state)
{
	uint64_t a = 0;

	(void)state;
	return simpler_args_scalar(args, 0, &a);
}

SIMPLER_SUB(add);
