/* A device driver as somebody else writes it: memory from the C library, and one thread that runs
 * the blocks from the last to the first. It has two devices, the second of which is broken. */
#include <simpler/device.h>
#include <stdlib.h>
#include <string.h>

struct simpler_device {
	int blocks; /* allocated now */
};

static struct simpler_device only;

static simpler_status device_count(uint32_t *out)
{
	*out = 2;
	return SIMPLER_OK;
}

static simpler_status device_open(uint32_t index, simpler_device **out)
{
	if (index == 1)
		return simpler_fail(SIMPLER_EUNAVAILABLE, "the second test device is on fire");
	only.blocks = 0;
	*out = &only;
	return SIMPLER_OK;
}

static void device_close(simpler_device *device)
{
	/* What was handed out has come back: see simpler/device.h. */
	if (device->blocks != 0)
		abort();
}

static simpler_status device_alloc(simpler_device *device, uint64_t bytes, void **address)
{
	uint64_t units = (bytes + SIMPLER_DEVICE_ALIGNMENT - 1) / SIMPLER_DEVICE_ALIGNMENT;

	*address = aligned_alloc(SIMPLER_DEVICE_ALIGNMENT, units * SIMPLER_DEVICE_ALIGNMENT);
	if (!*address)
		return simpler_fail(SIMPLER_ENOSPACE, "%llu bytes are too many",
		                    (unsigned long long)bytes);
	device->blocks++;
	return SIMPLER_OK;
}

static void device_free(simpler_device *device, void *address)
{
	device->blocks--;
	free(address);
}

static simpler_status device_copy(simpler_device *device, void *to, const void *from,
                                  uint64_t bytes)
{
	(void)device;
	memcpy(to, from, bytes);
	return SIMPLER_OK;
}

static simpler_status device_launch(simpler_device *device, const simpler_device_launch *launch)
{
	simpler_block block = { 0, launch->config->block_dim, 0, launch->config->aicpu_thread_num };
	simpler_status status = SIMPLER_OK;

	(void)device;
	for (block.index = block.count; block.index-- > 0 && status == SIMPLER_OK;) {
		if (launch->should_stop())
			return simpler_fail(SIMPLER_ECANCELLED, "stopped");
		status = launch->kernel(&block, launch->args, launch->state);
	}
	return status;
}

static const simpler_device_ops ops = {
	SIMPLER_DEVICE_ABI, sizeof(ops), "test",      device_count, device_open,   device_close,
	device_alloc,       device_free, device_copy, device_copy,  device_launch,
};
SIMPLER_DEVICE_DRIVER(ops)
