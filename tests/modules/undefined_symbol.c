#include <simpler/module.h>

simpler_status a_function_that_nobody_defines(void);

static simpler_status call_nobody(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return a_function_that_nobody_defines();
}

SIMPLER_SUB(call_nobody);
