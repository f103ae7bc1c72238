#include "program_library.h"

simpler_status library_double(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor tensor;

	(void)state;
	if (simpler_args_tensor(args, 0, &tensor) != SIMPLER_OK)
		return simpler_last_status();
	for (int64_t i = 0; i < tensor.shape[0]; i++)
		((int64_t *)tensor.data)[i] *= 2;
	return SIMPLER_OK;
}
