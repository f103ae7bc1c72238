/* A device driver that gives nothing. */
#include <simpler/device.h>

SIMPLER_API const simpler_device_ops *simpler_device_driver(void);

const simpler_device_ops *simpler_device_driver(void)
{
	return 0;
}
