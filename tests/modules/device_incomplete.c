/* A device driver without functions. */
#include <simpler/device.h>

static const simpler_device_ops ops = { SIMPLER_DEVICE_ABI, sizeof(ops), "empty", .count = 0 };
SIMPLER_DEVICE_DRIVER(ops)
