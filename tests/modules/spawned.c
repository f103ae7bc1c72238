/* What test_spawn and test_loader run. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <simpler/module.h>

/* Adds the scalar to every int64 of the tensor, and the captured int64 if there is one. */
static simpler_status add(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor tensor;
	uint64_t scalar;
	int64_t captured = 0;
	simpler_status status = simpler_args_tensor(args, 0, &tensor);

	if (!status)
		status = simpler_args_scalar(args, 0, &scalar);
	if (status)
		return status;
	if (tensor.dtype != SIMPLER_INT64)
		return simpler_fail(SIMPLER_EINVAL, "'add' expects int64 elements, got %s",
		                    simpler_dtype_name(tensor.dtype));
	if (state.size == sizeof(captured))
		memcpy(&captured, state.data, sizeof(captured));
	for (uint64_t i = 0; i < simpler_tensor_count(&tensor); i++)
		((int64_t *)tensor.data)[i] += (int64_t)scalar + captured;
	return SIMPLER_OK;
}

/* Returns its first scalar; with a second one it leaves a message, too. */
static simpler_status end_with(const simpler_args *args, simpler_bytes state)
{
	uint64_t status = 0;

	(void)state;
	(void)simpler_args_scalar(args, 0, &status);
	if (simpler_args_scalar_count(args) > 1)
		return simpler_fail((simpler_status)status, "the reason");
	return (simpler_status)status;
}

/* Writes its pid to the tensor, and then does not return. */
static simpler_status hang(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor tensor;

	(void)state;
	if (simpler_args_tensor(args, 0, &tensor) == SIMPLER_OK)
		*(volatile int64_t *)tensor.data = getpid();
	while (pause() == -1)
		continue;
	return SIMPLER_OK;
}

static simpler_status die(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	(void)raise(SIGKILL);
	return SIMPLER_OK;
}

/* Closes what it did not open. */
static simpler_status close_all(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	for (int fd = STDERR_FILENO + 1; fd < 64; fd++)
		(void)close(fd);
	return SIMPLER_OK;
}

static simpler_status orchestrate(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)args;
	(void)config;
	(void)state;
	return SIMPLER_OK;
}

SIMPLER_SUB(add);
SIMPLER_SUB(end_with);
SIMPLER_SUB(hang);
SIMPLER_SUB(die);
SIMPLER_SUB(close_all);
SIMPLER_ORCH(orchestrate);
