/*
 * Copies between a layout on the host and packed bytes on a device. Short runs are gathered in a
 * buffer first, so that a device is asked for few long copies and not for one per row.
 */
#ifndef DEVICE_TRANSFER_H
#define DEVICE_TRANSFER_H

#include "base/error.h"
#include "device/layout.h"
#include "simpler/device.h"

#define TRANSFER_BUFFER_BYTES (UINT64_C(256) << 10)

struct transfer {
	const simpler_device_ops *ops;
	simpler_device *device;
	uint64_t bytes_in, bytes_out; /* copied so far */
	uint8_t *buffer;              /* owned; NULL until first needed */
};

void transfer_init(struct transfer *transfer, const simpler_device_ops *ops,
                   simpler_device *device);
void transfer_release(struct transfer *transfer);

/* Copy to or from `device_bytes`, where the packed bytes of the layout begin, all but the first
 * `skip` of them. Only a contiguous layout can be cut: for others `skip` is 0 or all. */
simpler_status transfer_in(struct transfer *transfer, const struct layout *layout,
                           uint8_t *device_bytes, uint64_t skip);
simpler_status transfer_out(struct transfer *transfer, const struct layout *layout,
                            const uint8_t *device_bytes, uint64_t skip);

#endif
