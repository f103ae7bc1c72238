/* What test_local runs. The first tensor of a task is its report: element 0 counts how often it
 * began, element 1 is the pid that it ran in, element 2 lets it end. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <simpler/module.h>

enum { BEGAN, PID, GO };

static void moment(void)
{
	const struct timespec one = { 0, 200000 };

	(void)nanosleep(&one, NULL);
}

/* Written by this process, read by another. */
static int64_t *begin(const simpler_args *args)
{
	simpler_tensor tensor;
	int64_t *report;

	if (simpler_args_tensor(args, 0, &tensor) != SIMPLER_OK)
		return NULL;
	report = tensor.data;
	__atomic_store_n(&report[PID], (int64_t)getpid(), __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&report[BEGAN], 1, __ATOMIC_SEQ_CST);
	return report;
}

#define SUB_TASK(name)                                                                             \
	static simpler_status name(const simpler_args *args, simpler_bytes state);                 \
	SIMPLER_SUB(name);                                                                         \
	static simpler_status name(const simpler_args *args, simpler_bytes state)

SUB_TASK(count)
{
	(void)state;
	(void)begin(args);
	return SIMPLER_OK;
}

/* No descriptor can be opened or polled in this process any more. */
SUB_TASK(take_descriptors_away)
{
	const struct rlimit none = { 0, 0 };

	(void)state;
	(void)begin(args);
	return setrlimit(RLIMIT_NOFILE, &none) == 0 ? SIMPLER_OK : SIMPLER_ESYSTEM;
}

SUB_TASK(nothing)
{
	(void)args;
	(void)state;
	return SIMPLER_OK;
}

/* Ends when it may, or when it should. */
SUB_TASK(wait_to_go)
{
	int64_t *report = begin(args);

	(void)state;
	while (__atomic_load_n(&report[GO], __ATOMIC_SEQ_CST) == 0) {
		if (simpler_should_stop())
			return simpler_fail(SIMPLER_ECANCELLED, "told to stop");
		moment();
	}
	return SIMPLER_OK;
}

/* Ends when it may, and no sooner. */
SUB_TASK(hear_nothing)
{
	int64_t *report = begin(args);

	(void)state;
	while (__atomic_load_n(&report[GO], __ATOMIC_SEQ_CST) == 0)
		moment();
	return SIMPLER_OK;
}

/* Not known to the compiler, which would know better than to do it. */
static volatile uintptr_t no_address = 16;

static void write_nowhere(void)
{
	*(volatile int *)no_address = 1;
}

/* Dies once it may. */
SUB_TASK(wait_and_crash)
{
	int64_t *report = begin(args);

	(void)state;
	while (__atomic_load_n(&report[GO], __ATOMIC_SEQ_CST) == 0)
		moment();
	write_nowhere();
	return SIMPLER_OK;
}

SUB_TASK(leave)
{
	(void)begin(args);
	(void)state;
	exit(3);
}

SUB_TASK(fork_and_return)
{
	(void)begin(args);
	(void)state;
	return fork() < 0 ? SIMPLER_ESYSTEM : SIMPLER_OK;
}

/* Writes 0xff over all that it shares with its parent but tensors. */
SUB_TASK(scribble)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], *rest;
	uintptr_t first, end;

	(void)args;
	(void)state;
	while (maps && fgets(line, sizeof(line), maps)) {
		first = strtoul(line, &rest, 16); /* "BEGIN-END ..." */
		end = strtoul(rest + 1, NULL, 16);
		if (strstr(line, "simpler-mailboxes"))
			memset((void *)first, 0xff, end - first);
	}
	if (maps)
		fclose(maps);
	return SIMPLER_OK;
}

static simpler_status double_all(const simpler_block *block, const simpler_args *args,
                                 simpler_bytes state)
{
	simpler_tensor tensor;
	simpler_status status = simpler_args_tensor(args, 0, &tensor);

	(void)state;
	for (uint64_t i = (uint64_t)block->index; i < simpler_tensor_count(&tensor);
	     i += (uint64_t)block->count)
		((int64_t *)tensor.data)[i] *= 2;
	return status;
}
SIMPLER_CHIP(double_all);

static simpler_status crash_on_chip(const simpler_block *block, const simpler_args *args,
                                    simpler_bytes state)
{
	(void)block;
	(void)args;
	(void)state;
	write_nowhere();
	return SIMPLER_OK;
}
SIMPLER_CHIP(crash_on_chip);

static simpler_status orchestrate(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)args;
	(void)config;
	(void)state;
	return SIMPLER_OK;
}
SIMPLER_ORCH(orchestrate);
