/* A device driver from another time. */
#include <simpler/device.h>

static const simpler_device_ops ops = { .abi = SIMPLER_DEVICE_ABI + 1, .name = "later" };
SIMPLER_DEVICE_DRIVER(ops)
