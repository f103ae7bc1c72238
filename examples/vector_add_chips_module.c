/*
 * What runs on chips, and on a node that has some: the kernel, and an orchestration function that
 * hands half of the work to each of two chips.
 * Build: cc -shared -fPIC -o vector_add_chips_module.so vector_add_chips_module.c
 */
#include <unistd.h>

#include <simpler/module.h>

#include "vector_add_chips.h"

/* z = x + y on float32. Block i of n takes the i-th n-th of the elements. The first block notes
 * which process this chip is. */
static simpler_status add_vectors(const simpler_block *block, const simpler_args *args,
                                  simpler_bytes state)
{
	simpler_tensor x, y, z, ran_in;
	int64_t count, from, to;

	(void)state;
	if (simpler_args_tensor(args, 0, &x) != SIMPLER_OK ||
	    simpler_args_tensor(args, 1, &y) != SIMPLER_OK ||
	    simpler_args_tensor(args, 2, &z) != SIMPLER_OK ||
	    simpler_args_tensor(args, 3, &ran_in) != SIMPLER_OK)
		return simpler_last_status();
	if (x.dtype != SIMPLER_FLOAT32 || y.dtype != SIMPLER_FLOAT32 || z.dtype != SIMPLER_FLOAT32)
		return simpler_fail(SIMPLER_EINVAL, "'add_vectors' wants float32");
	count = (int64_t)simpler_tensor_count(&x);
	from = count * block->index / block->count;
	to = count * (block->index + 1) / block->count;
	for (int64_t i = from; i < to; i++)
		((float *)z.data)[i] = ((float *)x.data)[i] + ((float *)y.data)[i];
	if (block->index == 0) {
		*(int64_t *)ran_in.data = getpid();
		simpler_log(SIMPLER_LOG_INFO, "kernel add_vectors: %lld elements in %d blocks",
		            (long long)count, (int)block->count);
	}
	return SIMPLER_OK;
}
SIMPLER_CHIP(add_vectors);

static simpler_status add_on_chips(simpler_orch *orch, const simpler_args *args,
                                   const simpler_config *config, simpler_bytes state)
{
	simpler_chip kernel;
	simpler_status status = simpler_orch_chip(orch, "add_vectors", simpler_no_state(), &kernel);

	(void)config;
	(void)state;
	return status == SIMPLER_OK ? add_on_two_chips(orch, kernel, args) : status;
}
SIMPLER_ORCH(add_on_chips);
