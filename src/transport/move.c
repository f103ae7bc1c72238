#include <string.h>

#include "transport/transport.h"

static simpler_bytes keep(uint8_t room[TRANSPORT_DESC_MAX], simpler_bytes desc)
{
	size_t size = desc.size > TRANSPORT_DESC_MAX ? 0 : desc.size;

	if (size > 0)
		memcpy(room, desc.data, size);
	return (simpler_bytes){ room, size };
}

void transport_storage_take(struct transport_storage *storage, const struct msg_handle *answer)
{
	storage->handle = *answer;
	storage->handle.transport_desc = keep(storage->desc, answer->transport_desc);
	storage->handle.also_desc = keep(storage->also, answer->also_desc);
	storage->landed = 0;
}

void transport_storage_copy(struct transport_storage *to, const struct transport_storage *from)
{
	*to = *from;
	to->handle.transport_desc.data = to->desc;
	to->handle.also_desc.data = to->also;
}

simpler_bytes transport_storage_desc(const struct transport_storage *storage, const char *transport)
{
	if (strcmp(storage->handle.transport, transport) == 0)
		return (simpler_bytes){ storage->desc, storage->handle.transport_desc.size };
	if (strcmp(storage->handle.also, transport) == 0)
		return (simpler_bytes){ storage->also, storage->handle.also_desc.size };
	return (simpler_bytes){ NULL, 0 };
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
	move->passage = NULL;
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
