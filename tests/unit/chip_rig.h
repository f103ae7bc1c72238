/* What tests of chips start from: an open chip, arguments, and kernels that several of them use. */
#ifndef TESTS_UNIT_CHIP_RIG_H
#define TESTS_UNIT_CHIP_RIG_H

#include <stdlib.h>
#include <string.h>

#include "base/stop.h"
#include "device/chip.h"
#include "device/sim.h"

struct rig {
	struct chip *chip;
	simpler_args *args;
};

static inline struct chip *open_chip(const char *device)
{
	struct chip *chip = NULL;

	if (chip_open(device, 0, &chip))
		fail_msg("%s", simpler_last_error());
	assert_non_null(chip);
	return chip;
}

static inline int set_up(void **state)
{
	static struct rig rig;

	(void)unsetenv(SIM_MEMORY_VARIABLE);
	rig.chip = open_chip("sim");
	rig.args = simpler_args_create();
	*state = &rig;
	return 0;
}

static inline int tear_down(void **state)
{
	struct rig *rig = *state;

	(void)unsetenv(SIM_MEMORY_VARIABLE);
	(void)stop_watch_process(NULL);
	simpler_args_destroy(rig->args);
	chip_close(rig->chip);
	return 0;
}

static inline void add(simpler_args *args, const simpler_tensor *tensor, simpler_tag tag)
{
	if (simpler_args_add_tensor(args, tensor, tag, SIMPLER_SHARED))
		fail_msg("%s", simpler_last_error());
}

static inline simpler_tensor vector(void *data, simpler_dtype dtype, int64_t count)
{
	simpler_tensor tensor;

	assert_int_equal(simpler_tensor_init_1d(&tensor, data, dtype, count), SIMPLER_OK);
	return tensor;
}

static inline simpler_status run(struct rig *rig, simpler_chip_function *kernel, int32_t blocks,
                                 int32_t threads)
{
	simpler_config config = SIMPLER_CONFIG_INIT;

	config.block_dim = blocks;
	config.aicpu_thread_num = threads;
	return chip_run(rig->chip, "kernel", kernel, simpler_no_state(), &config, rig->args);
}

static inline void assert_error_has(const char *text)
{
	if (!strstr(simpler_last_error(), text))
		fail_msg("'%s' lacks '%s'", simpler_last_error(), text);
}

static struct chip_stats stats_of(const struct rig *rig)
{
	struct chip_stats stats;

	chip_stats(rig->chip, &stats);
	return stats;
}

#define CELLS 100

/* Of tensor 0: what the first cell was, and where. */
static int32_t found;
static const void *found_at;

/* For one block. */
static inline simpler_status look_and_overwrite(const simpler_block *block,
                                                const simpler_args *args, simpler_bytes state)
{
	simpler_tensor cells;

	(void)block;
	(void)state;
	if (simpler_args_tensor(args, 0, &cells))
		return simpler_last_status();
	found_at = cells.data;
	found = ((int32_t *)cells.data)[CELLS - 1];
	for (int i = 0; i < CELLS; i++)
		((int32_t *)cells.data)[i] = 2;
	return SIMPLER_OK;
}

static inline simpler_status overwrite_and_fail(const simpler_block *block,
                                                const simpler_args *args, simpler_bytes state)
{
	(void)look_and_overwrite(block, args, state);
	return simpler_fail(SIMPLER_EUSER, "too late");
}

#endif
