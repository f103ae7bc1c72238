/*
 * Which drivers there are. Used in chip workers only, where a driver's code may run.
 */
#ifndef DEVICE_REGISTRY_H
#define DEVICE_REGISTRY_H

#include "base/error.h"
#include "simpler/device.h"

/*
 * The driver called `device`; or, if there is a '/' in that, the one in the shared object at this
 * path, which stays loaded for good. What it gives is complete and of our ABI.
 *
 * @return as chip_open().
 */
simpler_status registry_find(const char *device, const simpler_device_ops **out);

#endif
