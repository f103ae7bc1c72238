/* What tests/rdma runs on its nodes: orchestration functions that hand their arguments to a sub
 * task. All tensors of one call are of uint64 and of one length. */
#include <simpler/module.h>

struct operand {
	uint64_t *at, count;
};

static simpler_status operand(const simpler_args *args, size_t index, struct operand *out)
{
	simpler_tensor tensor;
	simpler_status status = simpler_args_tensor(args, index, &tensor);

	if (status == SIMPLER_OK) {
		out->at = tensor.data;
		out->count = simpler_tensor_count(&tensor);
	}
	return status;
}

/* a, b, c: b = 3a + i; c += b. */
static simpler_status mix_sub(const simpler_args *args, simpler_bytes state)
{
	struct operand a, b, c;

	(void)state;
	if (operand(args, 0, &a) != SIMPLER_OK || operand(args, 1, &b) != SIMPLER_OK ||
	    operand(args, 2, &c) != SIMPLER_OK)
		return simpler_last_status();
	for (uint64_t i = 0; i < a.count; i++) {
		b.at[i] = 3 * a.at[i] + i;
		c.at[i] += b.at[i];
	}
	return SIMPLER_OK;
}
SIMPLER_SUB(mix_sub);

/* c: c = ~c. */
static simpler_status invert_sub(const simpler_args *args, simpler_bytes state)
{
	struct operand c;

	(void)state;
	if (operand(args, 0, &c) != SIMPLER_OK)
		return simpler_last_status();
	for (uint64_t i = 0; i < c.count; i++)
		c.at[i] = ~c.at[i];
	return SIMPLER_OK;
}
SIMPLER_SUB(invert_sub);

static simpler_status hand_on(simpler_orch *orch, const char *name, const simpler_args *args)
{
	simpler_sub sub;
	simpler_status status = simpler_orch_sub(orch, name, simpler_no_state(), &sub);

	return status == SIMPLER_OK ? simpler_submit_sub(orch, sub, args, NULL, NULL) : status;
}

static simpler_status mix(simpler_orch *orch, const simpler_args *args,
                          const simpler_config *config, simpler_bytes state)
{
	(void)config;
	(void)state;
	return hand_on(orch, "mix_sub", args);
}
SIMPLER_ORCH(mix);

static simpler_status invert(simpler_orch *orch, const simpler_args *args,
                             const simpler_config *config, simpler_bytes state)
{
	(void)config;
	(void)state;
	return hand_on(orch, "invert_sub", args);
}
SIMPLER_ORCH(invert);
