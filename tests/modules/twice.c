/*
 * A module: an orchestration function that hands its arguments to a sub task, which doubles every
 * int64 in its first tensor. It builds with nothing but the headers, as C and as C++:
 *
 *     cc -shared -fPIC -Iinclude -o twice.so tests/modules/twice.c
 */
#include <simpler/module.h>

static simpler_status twice(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor tensor;
	simpler_status status = simpler_args_tensor(args, 0, &tensor);
	int64_t *elements;

	(void)state;
	if (status != SIMPLER_OK)
		return status;
	if (tensor.dtype != SIMPLER_INT64)
		return simpler_fail(SIMPLER_EINVAL, "'twice' expects int64 elements, got %s",
		                    simpler_dtype_name(tensor.dtype));
	elements = (int64_t *)tensor.data;
	for (uint64_t i = 0; i < simpler_tensor_count(&tensor); i++)
		elements[i] *= 2;
	return SIMPLER_OK;
}
SIMPLER_SUB(twice);

static simpler_status twice_below(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	simpler_sub callable;
	simpler_status status = simpler_orch_sub(orch, "twice", simpler_no_state(), &callable);

	(void)config;
	(void)state;
	if (status != SIMPLER_OK)
		return status;
	return simpler_submit_sub(orch, callable, args, NULL, NULL);
}
SIMPLER_ORCH(twice_below);
