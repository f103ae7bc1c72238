/* What the end-to-end tests run on nodes. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <simpler/module.h>

/* All tensors and scalars, unchanged, for a task below. */
static simpler_args *hand_on(const simpler_args *args)
{
	simpler_args *copy = simpler_args_create();

	for (size_t i = 0; i < simpler_args_tensor_count(args); i++) {
		simpler_tensor tensor;
		simpler_tag tag;

		(void)simpler_args_tensor(args, i, &tensor);
		(void)simpler_args_tag(args, i, &tag);
		(void)simpler_args_add_tensor(copy, &tensor, tag, SIMPLER_SHARED);
	}
	for (size_t i = 0; i < simpler_args_scalar_count(args); i++) {
		uint64_t value;

		(void)simpler_args_scalar(args, i, &value);
		(void)simpler_args_add_scalar(copy, value);
	}
	return copy;
}

/* To a sub task of this module. */
static simpler_status forward(simpler_orch *orch, const simpler_args *args, const char *sub_name)
{
	simpler_args *copy = hand_on(args);
	simpler_sub sub;
	simpler_status status = simpler_orch_sub(orch, sub_name, simpler_no_state(), &sub);

	if (status == SIMPLER_OK)
		status = simpler_submit_sub(orch, sub, copy, NULL, NULL);
	simpler_args_destroy(copy);
	return status;
}

#define SUB_TASK(name)                                                                             \
	static simpler_status name##_sub(const simpler_args *args, simpler_bytes state);           \
	SIMPLER_SUB(name##_sub);                                                                   \
	static simpler_status name(simpler_orch *orch, const simpler_args *args,                   \
	                           const simpler_config *config, simpler_bytes state)              \
	{                                                                                          \
		(void)config;                                                                      \
		(void)state;                                                                       \
		return forward(orch, args, #name "_sub");                                          \
	}                                                                                          \
	SIMPLER_ORCH(name);                                                                        \
	static simpler_status name##_sub(const simpler_args *args, simpler_bytes state)

/* out[0] = the captured int64 */
static simpler_status read_state(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	simpler_tensor out;
	int64_t captured;

	(void)orch;
	(void)config;
	if (state.size != sizeof(captured))
		return simpler_fail(SIMPLER_EINVAL, "%zu bytes of state, not %zu", state.size,
		                    sizeof(captured));
	if (simpler_args_tensor(args, 0, &out) != SIMPLER_OK)
		return simpler_last_status();
	memcpy(&captured, state.data, sizeof(captured));
	memcpy(out.data, &captured, sizeof(captured));
	return SIMPLER_OK;
}
SIMPLER_ORCH(read_state);

/* every element += scalar 0 */
SUB_TASK(shift)
{
	simpler_tensor tensor;
	uint64_t by = 0;

	(void)state;
	if (simpler_args_tensor(args, 0, &tensor) != SIMPLER_OK ||
	    simpler_args_scalar(args, 0, &by) != SIMPLER_OK)
		return simpler_last_status();
	for (uint64_t i = 0; i < simpler_tensor_count(&tensor); i++)
		((int64_t *)tensor.data)[i] += (int64_t)by;
	return SIMPLER_OK;
}

/* sum of the bytes of every tensor but the last, into the last, an int64 */
SUB_TASK(sum_bytes)
{
	size_t last = simpler_args_tensor_count(args) - 1;
	simpler_tensor tensor;
	int64_t sum = 0;

	(void)state;
	for (size_t i = 0; i < last; i++) {
		(void)simpler_args_tensor(args, i, &tensor);
		for (uint64_t k = 0; k < simpler_tensor_bytes(&tensor); k++)
			sum += ((const uint8_t *)tensor.data)[k];
	}
	(void)simpler_args_tensor(args, last, &tensor);
	memcpy(tensor.data, &sum, sizeof(sum));
	return SIMPLER_OK;
}

SUB_TASK(out_of_range)
{
	simpler_tensor tensor;

	(void)state;
	return simpler_args_tensor(args, 1, &tensor);
}

SUB_TASK(fail)
{
	(void)args;
	(void)state;
	return simpler_fail((simpler_status)1042, "row %d of %s is singular", 3, "A");
}

SUB_TASK(crash)
{
	(void)args;
	(void)state;
	/* AddressSanitizer would make an exit of it. */
	(void)signal(SIGSEGV, SIG_DFL);
	(void)raise(SIGSEGV);
	return SIMPLER_OK;
}

SUB_TASK(leave)
{
	(void)args;
	(void)state;
	_exit(3);
}

static simpler_status wait_for_fifo(const simpler_args *args)
{
	simpler_tensor path, out;
	char byte;
	int fifo;

	if (simpler_args_tensor(args, 0, &path) != SIMPLER_OK ||
	    simpler_args_tensor(args, 1, &out) != SIMPLER_OK)
		return simpler_last_status();
	fifo = open(path.data, O_RDONLY);
	if (fifo < 0 || read(fifo, &byte, 1) != 1)
		return simpler_fail(SIMPLER_EUSER, "the fifo gave no byte");
	close(fifo);
	++*(int64_t *)out.data;
	return SIMPLER_OK;
}

/* Runs until somebody writes to the fifo whose path is in tensor 0, then adds 1 to tensor 1. */
SUB_TASK(hold)
{
	(void)state;
	return wait_for_fifo(args);
}

/* Writes 0xff over all that it shares with its parent but tensors. */
SUB_TASK(scribble)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], *rest;
	uintptr_t begin, end;

	(void)args;
	(void)state;
	while (maps && fgets(line, sizeof(line), maps)) {
		begin = strtoul(line, &rest, 16); /* "BEGIN-END ..." */
		end = strtoul(rest + 1, NULL, 16);
		if (strstr(line, "simpler-mailboxes"))
			memset((void *)begin, 0xff, end - begin);
	}
	return SIMPLER_OK;
}

/* Returns in two processes. */
SUB_TASK(fork_and_return)
{
	(void)args;
	(void)state;
	return fork() < 0 ? SIMPLER_ESYSTEM : SIMPLER_OK;
}

/* More than a pipe holds, to standard output. */
SUB_TASK(shout)
{
	(void)args;
	(void)state;
	for (int i = 0; i < 3000; i++)
		printf("%0100d\n", i);
	fflush(stdout);
	return SIMPLER_OK;
}

static simpler_status close_all(simpler_orch *orch, const simpler_args *args,
                                const simpler_config *config, simpler_bytes state)
{
	(void)config;
	(void)state;
	for (int fd = 0; fd < 256; fd++)
		close(fd);
	return forward(orch, args, "shift_sub");
}
SIMPLER_ORCH(close_all);

/* out[0] = the worker process, out[1] = its parent */
static simpler_status tell_who(const simpler_args *args)
{
	int64_t ids[2] = { getpid(), getppid() };
	simpler_tensor out;

	if (simpler_args_tensor(args, 0, &out) != SIMPLER_OK)
		return simpler_last_status();
	memcpy(out.data, ids, sizeof(ids));
	return SIMPLER_OK;
}

/* --- on a chip --- */

#define CHIP_TASK(name)                                                                            \
	static simpler_status name##_kernel(const simpler_block *block, const simpler_args *args,  \
	                                    simpler_bytes state);                                  \
	SIMPLER_CHIP(name##_kernel);                                                               \
	static simpler_status name(simpler_orch *orch, const simpler_args *args,                   \
	                           const simpler_config *config, simpler_bytes state)              \
	{                                                                                          \
		(void)config;                                                                      \
		(void)state;                                                                       \
		return forward_to_chip(orch, args, #name "_kernel");                               \
	}                                                                                          \
	SIMPLER_ORCH(name);                                                                        \
	static simpler_status name##_kernel(const simpler_block *block, const simpler_args *args,  \
	                                    simpler_bytes state)

static simpler_status forward_to_chip(simpler_orch *orch, const simpler_args *args,
                                      const char *kernel)
{
	simpler_args *copy = hand_on(args);
	simpler_chip chip;
	simpler_status status = simpler_orch_chip(orch, kernel, simpler_no_state(), &chip);

	if (status == SIMPLER_OK)
		status = simpler_submit_chip(orch, chip, copy, NULL, NULL);
	simpler_args_destroy(copy);
	return status;
}

CHIP_TASK(hold_on_chip)
{
	(void)block;
	(void)state;
	return wait_for_fifo(args);
}

CHIP_TASK(who_on_chip)
{
	(void)block;
	(void)state;
	return tell_who(args);
}

/* --- the last, which a refusal of a name tells first --- */

SUB_TASK(who)
{
	(void)state;
	return tell_who(args);
}
