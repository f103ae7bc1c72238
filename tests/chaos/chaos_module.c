/* The callables of the chaos suite: one function (chaos_mix.h), run by each kind of process. Their
 * arguments are the tensors a, b and out, and the scalars salt and keep. */
#include <simpler/module.h>

#include "chaos_mix.h"

struct operands {
	simpler_tensor a, b, out;
	uint64_t salt, keep;
};

static simpler_status read_operands(const simpler_args *args, struct operands *of)
{
	if (simpler_args_tensor(args, 0, &of->a) != SIMPLER_OK ||
	    simpler_args_tensor(args, 1, &of->b) != SIMPLER_OK ||
	    simpler_args_tensor(args, 2, &of->out) != SIMPLER_OK ||
	    simpler_args_scalar(args, 0, &of->salt) != SIMPLER_OK ||
	    simpler_args_scalar(args, 1, &of->keep) != SIMPLER_OK)
		return simpler_last_status();
	return SIMPLER_OK;
}

static void mix(const struct operands *of, uint64_t first, uint64_t step)
{
	chaos_mix(of->out.data, of->a.data, of->b.data, simpler_tensor_count(&of->out), of->salt,
	          of->keep, first, step);
}

static simpler_status mix_sub(const simpler_args *args, simpler_bytes state)
{
	struct operands of;
	simpler_status status = read_operands(args, &of);

	(void)state;
	if (status == SIMPLER_OK)
		mix(&of, 0, 1);
	return status;
}
SIMPLER_SUB(mix_sub);

static simpler_status mix_chip(const simpler_block *block, const simpler_args *args,
                               simpler_bytes state)
{
	struct operands of;
	simpler_status status = read_operands(args, &of);

	(void)state;
	if (status == SIMPLER_OK)
		mix(&of, (uint64_t)block->index, (uint64_t)block->count);
	return status;
}
SIMPLER_CHIP(mix_chip);

static simpler_status mix_here(simpler_orch *orch, const simpler_args *args,
                               const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)config;
	return mix_sub(args, state);
}
SIMPLER_ORCH(mix_here);

/* The same arguments, in the memory that is shared below, with `out` used as `tag`. */
static simpler_args *hand_on(const struct operands *of)
{
	simpler_args *args = simpler_args_create();
	simpler_tag tag = of->keep ? SIMPLER_INOUT : SIMPLER_OUTPUT;

	(void)simpler_args_add_tensor(args, &of->a, SIMPLER_INPUT, SIMPLER_SHARED);
	(void)simpler_args_add_tensor(args, &of->b, SIMPLER_INPUT, SIMPLER_SHARED);
	(void)simpler_args_add_tensor(args, &of->out, tag, SIMPLER_SHARED);
	(void)simpler_args_add_scalar(args, of->salt);
	(void)simpler_args_add_scalar(args, of->keep);
	return args;
}

static simpler_status submit_sub(simpler_orch *orch, const struct operands *of)
{
	simpler_args *below = hand_on(of);
	simpler_sub sub;
	simpler_status status = simpler_orch_sub(orch, "mix_sub", simpler_no_state(), &sub);

	if (status == SIMPLER_OK)
		status = simpler_submit_sub(orch, sub, below, NULL, NULL);
	simpler_args_destroy(below);
	return status;
}

static simpler_status mix_by_sub(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	struct operands of;
	simpler_status status = read_operands(args, &of);

	(void)config;
	(void)state;
	return status == SIMPLER_OK ? submit_sub(orch, &of) : status;
}
SIMPLER_ORCH(mix_by_sub);

static simpler_status mix_by_chip(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	struct operands of;
	simpler_args *below;
	simpler_chip chip;
	simpler_status status = read_operands(args, &of);

	(void)config;
	(void)state;
	if (status != SIMPLER_OK)
		return status;
	below = hand_on(&of);
	status = simpler_orch_chip(orch, "mix_chip", simpler_no_state(), &chip);
	if (status == SIMPLER_OK)
		status = simpler_submit_chip(orch, chip, below, NULL, NULL);
	simpler_args_destroy(below);
	return status;
}
SIMPLER_ORCH(mix_by_chip);

/* Two sub tasks with a tensor of this level's heap between them: t from a and b, out from t and b.
 * See chaos_graph.c, which does the same. */
static simpler_status mix_deep(simpler_orch *orch, const simpler_args *args,
                               const simpler_config *config, simpler_bytes state)
{
	struct operands first, second;
	simpler_status status = read_operands(args, &first);
	int64_t count;

	(void)config;
	(void)state;
	if (status != SIMPLER_OK)
		return status;
	second = first;
	count = (int64_t)simpler_tensor_count(&first.out);
	status = simpler_orch_alloc(orch, SIMPLER_INT64, 1, &count, &first.out);
	first.keep = 0;
	second.a = first.out;
	if (status == SIMPLER_OK)
		status = submit_sub(orch, &first);
	return status == SIMPLER_OK ? submit_sub(orch, &second) : status;
}
SIMPLER_ORCH(mix_deep);

static simpler_status mix_fail(simpler_orch *orch, const simpler_args *args,
                               const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)args;
	(void)config;
	(void)state;
	return simpler_fail(SIMPLER_EUSER, "as it is meant to");
}
SIMPLER_ORCH(mix_fail);
