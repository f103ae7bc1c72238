/* What the benchmarks dispatch: nothing, on the node and one level further down. */
#include <simpler/module.h>
#include <unistd.h>

static simpler_status noop_sub(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return SIMPLER_OK;
}
SIMPLER_SUB(noop_sub);

static simpler_status noop(simpler_orch *orch, const simpler_args *args,
                           const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)args;
	(void)config;
	(void)state;
	return SIMPLER_OK;
}
SIMPLER_ORCH(noop);

static simpler_status pause_for_ever(simpler_orch *orch, const simpler_args *args,
                                     const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)args;
	(void)config;
	(void)state;
	while (!simpler_should_stop())
		(void)pause();
	return SIMPLER_OK;
}
SIMPLER_ORCH(pause_for_ever);

static simpler_status one_sub(simpler_orch *orch, const simpler_args *args,
                              const simpler_config *config, simpler_bytes state)
{
	simpler_sub sub;
	simpler_status status = simpler_orch_sub(orch, "noop_sub", simpler_no_state(), &sub);

	(void)args;
	(void)config;
	(void)state;
	return status == SIMPLER_OK ? simpler_submit_sub(orch, sub, NULL, NULL, NULL) : status;
}
SIMPLER_ORCH(one_sub);
