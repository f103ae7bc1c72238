/*
 * The simulated device, "sim": memory of its own in this process, and threads that call the kernel.
 *
 * Its memory is a mapping of a fixed capacity, 256 MiB or what SIM_MEMORY_VARIABLE says, that is
 * committed as blocks are allocated. The host's memory is reachable to a kernel all the same, since
 * it runs in the process; nothing it is handed points there.
 *
 * An address that is no block of the device is refused, as hardware would.
 */
#ifndef DEVICE_SIM_H
#define DEVICE_SIM_H

#include "simpler/device.h"

#define SIM_MEMORY_VARIABLE "SIMPLER_SIM_MEMORY" /* bytes; K, M, G behind the number multiply */
#define SIM_MEMORY_DEFAULT  (UINT64_C(256) << 20)
#define SIM_DEVICES         256 /* nothing limits them but sense */

extern const simpler_device_ops sim_device;

#endif
