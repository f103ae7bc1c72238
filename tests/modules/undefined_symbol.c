#include <simpler/module.h>

simpler_status a_function_that_nobody_defines(void);

static simpler_status call_nobody(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return a_function_that_nobody_defines();
}

SIMPLER_SUB(call_nobody);

static simpler_status call_nobody_above(simpler_orch *orch, const simpler_args *args,
                                        const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)config;
	return call_nobody(args, state);
}

SIMPLER_ORCH(call_nobody_above);
