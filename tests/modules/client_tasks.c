/*
 * What the tests in tests/clients dispatch. All tensors are int64.
 *
 *     add_below        (a, b, sum)    a sub task stores a + b in sum
 *     scale_below      (t)            a sub task multiplies by its captured state, an int64
 *     gate, gate_below (flags), i     raise flag i + 1, then wait until somebody raises flag 0
 *     refuse           (...)          fails with a message of its own
 *     crash_below      (...)          the sub task dies of a signal
 *
 * `gate` waits in the orchestration function itself, `gate_below` in a sub task. It ends by itself
 * after GATE_SECONDS, so that a node which runs one task after the other fails a test instead of
 * hanging it.
 */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <simpler/module.h>

#define GATE_SECONDS 30

static simpler_status int64s(const simpler_args *args, size_t index, simpler_tensor *out)
{
	simpler_status status = simpler_args_tensor(args, index, out);

	if (status == SIMPLER_OK && out->dtype != SIMPLER_INT64)
		return simpler_fail(SIMPLER_EINVAL, "tensor %zu: expected int64, got %s", index,
		                    simpler_dtype_name(out->dtype));
	return status;
}

static simpler_status add(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor in[2], out;
	simpler_status status = int64s(args, 0, &in[0]);

	(void)state;
	if (status == SIMPLER_OK)
		status = int64s(args, 1, &in[1]);
	if (status == SIMPLER_OK)
		status = int64s(args, 2, &out);
	if (status != SIMPLER_OK)
		return status;
	for (uint64_t i = 0; i < simpler_tensor_count(&out); i++)
		((int64_t *)out.data)[i] =
			((const int64_t *)in[0].data)[i] + ((const int64_t *)in[1].data)[i];
	return SIMPLER_OK;
}
SIMPLER_SUB(add);

static simpler_status scale(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor tensor;
	simpler_status status = int64s(args, 0, &tensor);
	int64_t factor;

	if (status != SIMPLER_OK)
		return status;
	if (state.size != sizeof(factor))
		return simpler_fail(SIMPLER_EINVAL, "expected a captured int64, got %zu bytes",
		                    state.size);
	memcpy(&factor, state.data, sizeof(factor));
	for (uint64_t i = 0; i < simpler_tensor_count(&tensor); i++)
		((int64_t *)tensor.data)[i] *= factor;
	return SIMPLER_OK;
}
SIMPLER_SUB(scale);

static simpler_status gate_wait(const simpler_args *args)
{
	struct timespec now, pause = { 0, 500000 };
	simpler_tensor flags;
	_Atomic int64_t *flag;
	uint64_t index;
	time_t until;
	simpler_status status = int64s(args, 0, &flags);

	if (status == SIMPLER_OK)
		status = simpler_args_scalar(args, 0, &index);
	if (status != SIMPLER_OK)
		return status;
	if (index >= simpler_tensor_count(&flags) - 1)
		return simpler_fail(SIMPLER_EINVAL, "there is no flag %llu",
		                    (unsigned long long)index + 1);
	flag = (_Atomic int64_t *)flags.data;
	atomic_store(&flag[index + 1], 1);
	clock_gettime(CLOCK_MONOTONIC, &now);
	until = now.tv_sec + GATE_SECONDS;
	while (atomic_load(&flag[0]) == 0) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= until)
			return simpler_fail(SIMPLER_EDEADLINE, "nobody opened the gate");
		nanosleep(&pause, NULL);
	}
	return SIMPLER_OK;
}

static simpler_status gate_sub(const simpler_args *args, simpler_bytes state)
{
	(void)state;
	return gate_wait(args);
}
SIMPLER_SUB(gate_sub);

static simpler_status gate(simpler_orch *orch, const simpler_args *args,
                           const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)config;
	(void)state;
	return gate_wait(args);
}
SIMPLER_ORCH(gate);

static simpler_status crash(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	raise(SIGKILL);
	return SIMPLER_OK;
}
SIMPLER_SUB(crash);

/* Hand the arguments, as they are, to a sub task of this module. */
static simpler_status hand_down(simpler_orch *orch, const char *name, const simpler_args *args,
                                simpler_bytes state)
{
	simpler_sub callable;
	simpler_status status = simpler_orch_sub(orch, name, state, &callable);

	if (status != SIMPLER_OK)
		return status;
	return simpler_submit_sub(orch, callable, args, NULL, NULL);
}

static simpler_status add_below(simpler_orch *orch, const simpler_args *args,
                                const simpler_config *config, simpler_bytes state)
{
	(void)config;
	return hand_down(orch, "add", args, state);
}
SIMPLER_ORCH(add_below);

static simpler_status scale_below(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	(void)config;
	return hand_down(orch, "scale", args, state);
}
SIMPLER_ORCH(scale_below);

static simpler_status gate_below(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	(void)config;
	return hand_down(orch, "gate_sub", args, state);
}
SIMPLER_ORCH(gate_below);

static simpler_status crash_below(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	(void)config;
	return hand_down(orch, "crash", args, state);
}
SIMPLER_ORCH(crash_below);

static simpler_status refuse(simpler_orch *orch, const simpler_args *args,
                             const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)config;
	(void)state;
	return simpler_fail(SIMPLER_USER_STATUS + 7, "refused with %zu tensors",
	                    simpler_args_tensor_count(args));
}
SIMPLER_ORCH(refuse);
