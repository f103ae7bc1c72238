/* A device driver whose table ends too early. */
#include <simpler/device.h>

static const simpler_device_ops ops = { SIMPLER_DEVICE_ABI, 16, "short", .count = 0 };
SIMPLER_DEVICE_DRIVER(ops)
