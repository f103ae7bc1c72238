#include <string.h>

#include "transport/transport.h"

void transport_storage_take(struct transport_storage *storage, const struct msg_handle *answer)
{
	size_t size = answer->transport_desc.size;

	if (size > sizeof(storage->desc))
		size = 0;
	storage->handle = *answer;
	if (size > 0)
		memcpy(storage->desc, answer->transport_desc.data, size);
	storage->handle.transport_desc = (simpler_bytes){ storage->desc, size };
}

void transport_move_init(struct transport_move *move)
{
	move->transport = NULL;
	move->moved = 0;
	layout_walk_begin(&move->walk, &move->local);
	move->run = NULL;
	move->run_left = 0;
	move->makes = move->closed = move->failed = false;
	atomic_init(&move->cancelled, false);
	move->call = NULL;
}

uint8_t *transport_next(struct transport_move *move, uint64_t most, uint64_t *size)
{
	uint8_t *at;

	if (move->run_left == 0) {
		move->run = layout_walk_next(&move->walk);
		move->run_left = move->run ? move->local.run : 0;
	}
	*size = move->run_left < most ? move->run_left : most;
	at = move->run_left > 0 ? move->run : NULL;
	if (*size > 0)
		move->run += *size;
	move->run_left -= *size;
	return at;
}

void transport_gather(struct transport_move *move, uint8_t *to, uint64_t size)
{
	while (size > 0) {
		uint64_t step;
		const uint8_t *from = transport_next(move, size, &step);

		memcpy(to, from, (size_t)step);
		to += step;
		size -= step;
	}
}

void transport_scatter(struct transport_move *move, const uint8_t *from, uint64_t size)
{
	while (size > 0) {
		uint64_t step;
		uint8_t *to = transport_next(move, size, &step);

		memcpy(to, from, (size_t)step);
		from += step;
		size -= step;
	}
}
