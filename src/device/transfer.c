#include "device/transfer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void transfer_init(struct transfer *transfer, const simpler_device_ops *ops, simpler_device *device)
{
	memset(transfer, 0, sizeof(*transfer));
	transfer->ops = ops;
	transfer->device = device;
}

void transfer_release(struct transfer *transfer)
{
	free(transfer->buffer);
	transfer->buffer = NULL;
}

static simpler_status copy_in(struct transfer *transfer, uint8_t *to, const uint8_t *from,
                              uint64_t bytes)
{
	simpler_status status = SIMPLER_OK;

	if (bytes > 0)
		status = transfer->ops->copy_in(transfer->device, to, from, bytes);
	if (!status)
		transfer->bytes_in += bytes;
	return status;
}

static simpler_status copy_out(struct transfer *transfer, uint8_t *to, const uint8_t *from,
                               uint64_t bytes)
{
	simpler_status status = SIMPLER_OK;

	if (bytes > 0)
		status = transfer->ops->copy_out(transfer->device, to, from, bytes);
	if (!status)
		transfer->bytes_out += bytes;
	return status;
}

static simpler_status have_buffer(struct transfer *transfer)
{
	if (!transfer->buffer)
		transfer->buffer = malloc(TRANSFER_BUFFER_BYTES);
	if (!transfer->buffer)
		return error_raise(SIMPLER_ENOMEM, "out of memory to pack a strided tensor");
	return SIMPLER_OK;
}

/* Bytes of the next piece of a layout: as many whole runs as fill the buffer, or one that is too
 * long for it. */
static uint64_t piece_of(const struct layout *layout, uint64_t left)
{
	uint64_t whole = TRANSFER_BUFFER_BYTES / layout->run * layout->run;

	if (whole == 0)
		return layout->run;
	return whole < left ? whole : left;
}

static simpler_status pack_in(struct transfer *transfer, const struct layout *layout, uint8_t *to)
{
	simpler_status status = have_buffer(transfer);
	struct layout_walk walk;

	layout_walk_begin(&walk, layout);
	for (uint64_t done = 0, piece; !status && done < layout->bytes; done += piece) {
		const uint8_t *from = transfer->buffer;

		piece = piece_of(layout, layout->bytes - done);
		if (piece > TRANSFER_BUFFER_BYTES)
			from = layout_walk_next(&walk);
		else
			for (uint64_t at = 0; at < piece; at += layout->run)
				memcpy(transfer->buffer + at, layout_walk_next(&walk), layout->run);
		status = copy_in(transfer, to + done, from, piece);
	}
	return status;
}

static simpler_status unpack_out(struct transfer *transfer, const struct layout *layout,
                                 const uint8_t *from)
{
	simpler_status status = have_buffer(transfer);
	struct layout_walk walk;

	layout_walk_begin(&walk, layout);
	for (uint64_t done = 0, piece; !status && done < layout->bytes; done += piece) {
		piece = piece_of(layout, layout->bytes - done);
		if (piece > TRANSFER_BUFFER_BYTES) {
			status = copy_out(transfer, layout_walk_next(&walk), from + done, piece);
			continue;
		}
		status = copy_out(transfer, transfer->buffer, from + done, piece);
		for (uint64_t at = 0; !status && at < piece; at += layout->run)
			memcpy(layout_walk_next(&walk), transfer->buffer + at, layout->run);
	}
	return status;
}

simpler_status transfer_in(struct transfer *transfer, const struct layout *layout,
                           uint8_t *device_bytes, uint64_t skip)
{
	if (skip >= layout->bytes)
		return SIMPLER_OK;
	if (layout_is_contiguous(layout))
		return copy_in(transfer, device_bytes + skip, layout->data + skip,
		               layout->bytes - skip);
	assert(skip == 0);
	return pack_in(transfer, layout, device_bytes);
}

simpler_status transfer_out(struct transfer *transfer, const struct layout *layout,
                            const uint8_t *device_bytes, uint64_t skip)
{
	if (skip >= layout->bytes)
		return SIMPLER_OK;
	if (layout_is_contiguous(layout))
		return copy_out(transfer, layout->data + skip, device_bytes + skip,
		                layout->bytes - skip);
	assert(skip == 0);
	return unpack_out(transfer, layout, device_bytes);
}
