/*
 * Heat in a rod, computed where the rod is. Build:
 *
 *     cc -shared -fPIC -o resident_heat_module.so resident_heat_module.c
 */
#include <simpler/module.h>

static simpler_status get_rod(const simpler_args *args, simpler_tensor *rod)
{
	if (simpler_args_tensor(args, 0, rod) != SIMPLER_OK)
		return simpler_last_status();
	if (rod->dtype != SIMPLER_FLOAT64 || rod->ndim != 1 || rod->shape[0] < 2)
		return simpler_fail(SIMPLER_EINVAL,
		                    "a rod is two float64 elements or more in a row");
	return SIMPLER_OK;
}

/* So many steps: every point gives a quarter of the difference to each of its neighbours. */
static simpler_status spread_heat(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor rod;
	uint64_t steps;

	(void)state;
	if (get_rod(args, &rod) != SIMPLER_OK || simpler_args_scalar(args, 0, &steps) != SIMPLER_OK)
		return simpler_last_status();
	for (uint64_t step = 0; step < steps; step++) {
		double *heat = rod.data, flow = 0;

		for (int64_t i = 0; i < rod.shape[0]; i++) {
			double in = flow;

			flow = i + 1 < rod.shape[0] ? (heat[i] - heat[i + 1]) / 4 : 0;
			heat[i] += in - flow;
		}
	}
	return SIMPLER_OK;
}
SIMPLER_SUB(spread_heat);

/* The node's orchestration function hands its own tensor on: the sub task works on it in place. */
static simpler_status spread(simpler_orch *orch, const simpler_args *args,
                             const simpler_config *config, simpler_bytes state)
{
	simpler_args *passed_on = simpler_args_create();
	simpler_tensor rod;
	uint64_t steps;
	simpler_sub sub;
	simpler_status status = get_rod(args, &rod);

	(void)config;
	(void)state;
	if (status == SIMPLER_OK)
		status = simpler_args_scalar(args, 0, &steps);
	if (status == SIMPLER_OK)
		status = simpler_orch_sub(orch, "spread_heat", simpler_no_state(), &sub);
	if (status == SIMPLER_OK) {
		(void)simpler_args_add_tensor(passed_on, &rod, SIMPLER_INOUT, SIMPLER_SHARED);
		(void)simpler_args_add_scalar(passed_on, steps);
		status = simpler_submit_sub(orch, sub, passed_on, NULL, NULL);
	}
	simpler_args_destroy(passed_on);
	return status;
}
SIMPLER_ORCH(spread);

/* All the heat of the rod, tensor 0, into tensor 1. */
static simpler_status total(simpler_orch *orch, const simpler_args *args,
                            const simpler_config *config, simpler_bytes state)
{
	simpler_tensor rod, out;
	double sum = 0;

	(void)orch;
	(void)config;
	(void)state;
	if (get_rod(args, &rod) != SIMPLER_OK || simpler_args_tensor(args, 1, &out) != SIMPLER_OK)
		return simpler_last_status();
	for (int64_t i = 0; i < rod.shape[0]; i++)
		sum += ((const double *)rod.data)[i];
	((double *)out.data)[0] = sum;
	return SIMPLER_OK;
}
SIMPLER_ORCH(total);
