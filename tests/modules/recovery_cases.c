/*
 * Tasks that count where only they count: in a tensor that stays on the node. Its elements are
 *
 *   [STARTS]  how often a task began    [ENDS]  how often one ended
 *   [GO]      nonzero: those that wait may end
 */
#include <sched.h>
#include <unistd.h>

#include <simpler/module.h>

enum { STARTS, ENDS, GO };

/* As another process may look at it at any moment. */
static volatile int64_t *elements(const simpler_args *args)
{
	simpler_tensor tensor;

	return simpler_args_tensor(args, 0, &tensor) == SIMPLER_OK ? tensor.data : NULL;
}

static simpler_status count(simpler_orch *orch, const simpler_args *args,
                            const simpler_config *config, simpler_bytes state)
{
	volatile int64_t *counter = elements(args);

	(void)orch;
	(void)config;
	(void)state;
	counter[STARTS]++;
	counter[ENDS]++;
	return SIMPLER_OK;
}
SIMPLER_ORCH(count);

static simpler_status count_and_wait(simpler_orch *orch, const simpler_args *args,
                                     const simpler_config *config, simpler_bytes state)
{
	volatile int64_t *counter = elements(args);

	(void)orch;
	(void)config;
	(void)state;
	counter[STARTS]++;
	while (counter[GO] == 0 && !simpler_should_stop())
		(void)sched_yield();
	counter[ENDS]++;
	return SIMPLER_OK;
}
SIMPLER_ORCH(count_and_wait);

/* out[0] = the square of the scalar; out[1] = this process. It takes a moment if the second scalar
 * says so. */
static simpler_status square(simpler_orch *orch, const simpler_args *args,
                             const simpler_config *config, simpler_bytes state)
{
	volatile int64_t *out = elements(args);
	uint64_t value = 0, moment = 0;

	(void)orch;
	(void)config;
	(void)state;
	(void)simpler_args_scalar(args, 0, &value);
	(void)simpler_args_scalar(args, 1, &moment);
	for (uint64_t i = 0; i < moment && !simpler_should_stop(); i++)
		(void)sched_yield();
	out[0] = (int64_t)(value * value);
	out[1] = getpid();
	return SIMPLER_OK;
}
SIMPLER_ORCH(square);

/* out[0] = 1, and never ends by itself on the node whose engine has the scalar as its parent. */
static simpler_status wait_below(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	volatile int64_t *out = elements(args);
	uint64_t parent = 0;

	(void)orch;
	(void)config;
	(void)state;
	(void)simpler_args_scalar(args, 0, &parent);
	while ((uint64_t)getppid() == parent && !simpler_should_stop())
		(void)sched_yield();
	out[0] = 1;
	return SIMPLER_OK;
}
SIMPLER_ORCH(wait_below);
