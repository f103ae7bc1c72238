/*
 * A task goes in three steps: place its tensors, have memory for them and fill it; launch; copy the
 * results out. The memory goes back to the cache in any case, and no step after a failed one is
 * taken.
 */
#include "device/chip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "device/block_cache.h"
#include "device/placement.h"
#include "device/registry.h"
#include "device/transfer.h"
#include "wire/args.h"

struct chip {
	const simpler_device_ops *ops;
	simpler_device *device;
	uint32_t index;
	struct block_cache cache;
	struct transfer transfer;
	/* Of the task at hand. Here, as they are large and a stack is not. */
	struct placement placement;
	void *blocks[SIMPLER_MAX_TENSORS];
	uint32_t blocks_taken;
	struct simpler_args args; /* as the kernel gets them */
};

/* --- opening --- */

static simpler_status check_index(const simpler_device_ops *ops, uint32_t index)
{
	uint32_t count = 0;
	simpler_status status = ops->count(&count);

	if (!status && index >= count)
		return error_raise(SIMPLER_ENOTFOUND,
		                   "there is no %s %" PRIu32 ": this machine has %" PRIu32
		                   ", counted from 0",
		                   ops->name, index, count);
	return status;
}

static simpler_status open_device(const char *device, struct chip *chip)
{
	simpler_status status = registry_find(device, &chip->ops);

	if (!status)
		status = check_index(chip->ops, chip->index);
	if (!status)
		status = chip->ops->open(chip->index, &chip->device);
	if (!status && !chip->device)
		return error_raise(SIMPLER_EINTERNAL,
		                   "the driver '%s' opened nothing and gave no error",
		                   chip->ops->name);
	return status;
}

simpler_status chip_open(const char *device, uint32_t index, struct chip **out)
{
	struct chip *chip = calloc(1, sizeof(*chip));
	simpler_status status;

	if (!chip)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a chip");
	chip->index = index;
	status = open_device(device, chip);
	if (status) {
		free(chip);
		return status;
	}
	block_cache_init(&chip->cache, chip->ops, chip->device);
	transfer_init(&chip->transfer, chip->ops, chip->device);
	*out = chip;
	return SIMPLER_OK;
}

void chip_close(struct chip *chip)
{
	if (!chip)
		return;
	transfer_release(&chip->transfer);
	block_cache_release(&chip->cache);
	chip->ops->close(chip->device);
	free(chip);
}

/* --- a task's memory --- */

static simpler_status take_blocks(struct chip *chip)
{
	const struct placement *placement = &chip->placement;

	for (chip->blocks_taken = 0; chip->blocks_taken < placement->block_count;
	     chip->blocks_taken++) {
		uint32_t i = chip->blocks_taken;

		if (block_cache_take(&chip->cache, placement->blocks[i], &chip->blocks[i]))
			return error_context("device memory for the task's tensors");
	}
	return SIMPLER_OK;
}

static void give_blocks(struct chip *chip)
{
	while (chip->blocks_taken > 0) {
		uint32_t i = --chip->blocks_taken;

		block_cache_give(&chip->cache, chip->blocks[i], chip->placement.blocks[i]);
	}
}

/* Where a tensor lies on the device; NULL for an empty one. */
static uint8_t *address_of(const struct chip *chip, const struct placed *placed)
{
	if (placed->block == PLACEMENT_NO_BLOCK)
		return NULL;
	return (uint8_t *)chip->blocks[placed->block] + placed->offset;
}

/* --- moving tensors --- */

/* How many of a tensor's bytes lie before `done`, up to which its block was copied already; and
 * note that all of it is now. */
static uint64_t skip_copied(const struct placed *placed, uint64_t *done)
{
	uint64_t end = placed->offset + placed->layout.bytes;
	uint64_t skip = *done > placed->offset ? *done - placed->offset : 0;

	if (end > *done)
		*done = end;
	return skip;
}

/* Each byte once, whatever tensors share it. */
static simpler_status copy_all_in(struct chip *chip)
{
	uint64_t done[SIMPLER_MAX_TENSORS] = { 0 };

	for (uint32_t i = 0; i < chip->placement.tensor_count; i++) {
		uint32_t index = chip->placement.order[i];
		const struct placed *placed = &chip->placement.tensors[index];

		if (!placed->reads || placed->block == PLACEMENT_NO_BLOCK)
			continue;
		if (transfer_in(&chip->transfer, &placed->layout, address_of(chip, placed),
		                skip_copied(placed, &done[placed->block])))
			return error_context("copying tensor %" PRIu32 " to the device", index);
	}
	return SIMPLER_OK;
}

static simpler_status copy_all_out(struct chip *chip)
{
	uint64_t done[SIMPLER_MAX_TENSORS] = { 0 };

	for (uint32_t i = 0; i < chip->placement.tensor_count; i++) {
		uint32_t index = chip->placement.order[i];
		const struct placed *placed = &chip->placement.tensors[index];

		if (!placed->writes || placed->block == PLACEMENT_NO_BLOCK)
			continue;
		if (transfer_out(&chip->transfer, &placed->layout, address_of(chip, placed),
		                 skip_copied(placed, &done[placed->block])))
			return error_context("copying tensor %" PRIu32 " from the device", index);
	}
	return SIMPLER_OK;
}

/* --- running --- */

static simpler_status choose_config(const simpler_config *config, simpler_config *chosen)
{
	static const simpler_config defaults = SIMPLER_CONFIG_INIT;

	*chosen = config ? *config : defaults;
	if (chosen->block_dim >= 1 && chosen->aicpu_thread_num >= 1)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL,
	                   "the config has %" PRId32 " blocks (block_dim) and %" PRId32
	                   " threads (aicpu_thread_num): a kernel needs one of each at least",
	                   chosen->block_dim, chosen->aicpu_thread_num);
}

/* The task's arguments, with tensors as they lie on the device. */
static void fill_args(struct chip *chip, const struct simpler_args *args)
{
	simpler_args_reset(&chip->args);
	for (uint32_t i = 0; i < args->tensor_count; i++) {
		simpler_tensor *tensor = &chip->args.tensors[i];
		const simpler_tensor *host = &args->tensors[i];

		/* Its shape was checked when the host's was. */
		(void)simpler_tensor_init(tensor, address_of(chip, &chip->placement.tensors[i]),
		                          host->dtype, host->ndim, host->shape);
		chip->args.tags[i] = args->tags[i];
		chip->args.backings[i] = args->backings[i];
	}
	chip->args.tensor_count = args->tensor_count;
	memcpy(chip->args.scalars, args->scalars, args->scalar_count * sizeof(args->scalars[0]));
	chip->args.scalar_count = args->scalar_count;
}

static simpler_status launch(struct chip *chip, simpler_device_launch *launch,
                             const struct simpler_args *args)
{
	simpler_status status = take_blocks(chip);

	if (!status)
		status = copy_all_in(chip);
	if (!status) {
		fill_args(chip, args);
		status = chip->ops->launch(chip->device, launch);
	}
	if (!status && simpler_should_stop())
		status = error_raise(SIMPLER_ECANCELLED, "stopped before its results were out");
	if (!status)
		status = copy_all_out(chip);
	return status;
}

/* The driver's words on freeing must not replace those on the failure. */
static void clean_up(struct chip *chip, simpler_status status)
{
	struct error error;

	if (status)
		error_save(&error);
	give_blocks(chip);
	if (status)
		(void)error_restore(&error);
}

simpler_status chip_run(struct chip *chip, const char *name, simpler_chip_function *kernel,
                        simpler_bytes state, const simpler_config *config, const simpler_args *args)
{
	simpler_config chosen;
	simpler_device_launch with = {
		.struct_size = sizeof(with),
		.name = name,
		.kernel = kernel,
		.config = &chosen,
		.args = &chip->args,
		.state = state,
		.should_stop = simpler_should_stop,
	};
	simpler_status status = choose_config(config, &chosen);

	if (!status)
		status = placement_make(&chip->placement, args);
	if (status)
		return status;
	status = launch(chip, &with, args);
	clean_up(chip, status);
	return status;
}

void chip_stats(const struct chip *chip, struct chip_stats *out)
{
	out->bytes_in = chip->transfer.bytes_in;
	out->bytes_out = chip->transfer.bytes_out;
	out->kept_bytes = chip->cache.bytes;
	out->allocations = chip->cache.allocations;
}
