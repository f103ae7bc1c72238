/* What the tests of the public worker run. Tensor 0 is of int64; what a task does to it is its
 * name. */
#include <stdint.h>

#include <simpler/module.h>

static int64_t *cells_of(const simpler_args *args, int64_t *count)
{
	simpler_tensor tensor;

	if (simpler_args_tensor(args, 0, &tensor) != SIMPLER_OK)
		return NULL;
	*count = (int64_t)simpler_tensor_count(&tensor);
	return tensor.data;
}

#define SUB_TASK(name)                                                                             \
	static simpler_status name(const simpler_args *args, simpler_bytes state);                 \
	SIMPLER_SUB(name);                                                                         \
	static simpler_status name(const simpler_args *args, simpler_bytes state)

SUB_TASK(add_one)
{
	int64_t count, *cells = cells_of(args, &count);

	(void)state;
	if (!cells)
		return simpler_last_status();
	for (int64_t i = 0; i < count; i++)
		cells[i]++;
	return SIMPLER_OK;
}

SUB_TASK(nothing)
{
	(void)args;
	(void)state;
	return SIMPLER_OK;
}

SUB_TASK(fails)
{
	(void)args;
	(void)state;
	return simpler_fail(SIMPLER_ENOTFOUND, "there is no answer");
}

/* Where nothing is, and the compiler does not know. */
static volatile uintptr_t nowhere = 16;

SUB_TASK(writes_to_nowhere)
{
	(void)args;
	(void)state;
	*(volatile int *)nowhere = 1;
	return SIMPLER_OK;
}

/* Says that it runs, and goes on until it is told to stop. */
SUB_TASK(runs_until_stopped)
{
	int64_t count, *cells = cells_of(args, &count);

	(void)state;
	__atomic_store_n(&cells[0], 1, __ATOMIC_SEQ_CST);
	while (!simpler_should_stop())
		;
	__atomic_store_n(&cells[1], 1, __ATOMIC_SEQ_CST);
	return SIMPLER_OK;
}

SUB_TASK(runs_for_ever)
{
	int64_t count, *cells = cells_of(args, &count);

	(void)state;
	__atomic_store_n(&cells[0], 1, __ATOMIC_SEQ_CST);
	for (;;)
		;
	return SIMPLER_OK;
}

static simpler_status add_one_on_chip(const simpler_block *block, const simpler_args *args,
                                      simpler_bytes state)
{
	int64_t count = 0, *cells = cells_of(args, &count);

	(void)state;
	for (int64_t i = block->index; i < count; i += block->count)
		cells[i]++;
	return SIMPLER_OK;
}
SIMPLER_CHIP(add_one_on_chip);

static simpler_status submit_own(simpler_orch *orch, const char *name, const simpler_args *args)
{
	simpler_sub sub;
	simpler_args *copy = simpler_args_create();
	simpler_tensor tensor;
	simpler_status status = simpler_orch_sub(orch, name, simpler_no_state(), &sub);

	if (status == SIMPLER_OK)
		status = simpler_args_tensor(args, 0, &tensor);
	if (status == SIMPLER_OK)
		status = simpler_args_add_tensor(copy, &tensor, SIMPLER_INOUT, SIMPLER_SHARED);
	if (status == SIMPLER_OK)
		status = simpler_submit_sub(orch, sub, copy, NULL, NULL);
	simpler_args_destroy(copy);
	return status;
}

#define ORCH_TASK(name)                                                                            \
	static simpler_status name(simpler_orch *orch, const simpler_args *args,                   \
	                           const simpler_config *config, simpler_bytes state);             \
	SIMPLER_ORCH(name);                                                                        \
	static simpler_status name(simpler_orch *orch, const simpler_args *args,                   \
	                           const simpler_config *config, simpler_bytes state)

ORCH_TASK(node_adds_one)
{
	(void)config;
	(void)state;
	return submit_own(orch, "add_one", args);
}

ORCH_TASK(node_runs_for_ever)
{
	(void)config;
	(void)state;
	return submit_own(orch, "runs_for_ever", args);
}

ORCH_TASK(node_adds_one_on_a_chip)
{
	simpler_chip chip;
	simpler_args *copy = simpler_args_create();
	simpler_tensor tensor;
	simpler_status status =
		simpler_orch_chip(orch, "add_one_on_chip", simpler_no_state(), &chip);

	(void)config;
	(void)state;
	if (status == SIMPLER_OK)
		status = simpler_args_tensor(args, 0, &tensor);
	if (status == SIMPLER_OK)
		status = simpler_args_add_tensor(copy, &tensor, SIMPLER_INOUT, SIMPLER_SHARED);
	if (status == SIMPLER_OK)
		status = simpler_submit_chip(orch, chip, copy, NULL, NULL);
	simpler_args_destroy(copy);
	return status;
}
