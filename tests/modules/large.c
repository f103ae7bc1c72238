/*
 * A module that is too large for a message: its table takes 64 MiB. Orchestration function
 * `large_below` has a sub task multiply every int64 of the first tensor by what stands at both ends
 * of the table, which makes it six times as much.
 */
#include <simpler/module.h>

#define COUNT (8 << 20)

static const int64_t table[COUNT] = { [0] = 2, [COUNT - 1] = 3 };

static simpler_status large(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor tensor;
	simpler_status status = simpler_args_tensor(args, 0, &tensor);
	const volatile int64_t *ends = table;

	(void)state;
	if (status != SIMPLER_OK)
		return status;
	for (uint64_t i = 0; i < simpler_tensor_count(&tensor); i++)
		((int64_t *)tensor.data)[i] *= ends[0] * ends[COUNT - 1];
	return SIMPLER_OK;
}
SIMPLER_SUB(large);

static simpler_status large_below(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	simpler_sub callable;
	simpler_status status = simpler_orch_sub(orch, "large", simpler_no_state(), &callable);

	(void)config;
	(void)state;
	return status == SIMPLER_OK ? simpler_submit_sub(orch, callable, args, NULL, NULL) : status;
}
SIMPLER_ORCH(large_below);
