/*
 * Why nothing is left lying, all of what follows being sequentially consistent:
 *
 *   deliverer:  put into the ring; hint not there? give it, and wake
 *   collector:  take the hint; look into the ring
 *
 * A deliverer that finds the hint there comes before the collector that takes it, and so has put
 * before that one looks. And who gave the hint wakes the collector.
 *
 *   producer:  wants_room = 1; room? else leave it stuck
 *   consumer:  take, which makes room; wants_room? take it back, and tell
 *
 * Whichever of the four comes last sees the other side's write.
 */
#include "ipc/lane_memory.h"

#include <assert.h>

#include "base/error.h"

/* Both on cache lines of their own, as the rings want it. */
static_assert(sizeof(struct lane_shared) % 64 == 0, "the rings behind it are aligned");

size_t lane_memory_bytes(void)
{
	return sizeof(struct lane_shared) + 2 * ring_bytes(LANE_RING_BYTES);
}

static void *dispatches_of(void *memory)
{
	return (uint8_t *)memory + sizeof(struct lane_shared);
}

static void *outcomes_of(void *memory)
{
	return (uint8_t *)dispatches_of(memory) + ring_bytes(LANE_RING_BYTES);
}

void lane_memory_init(void *memory)
{
	ring_init(dispatches_of(memory), LANE_RING_BYTES);
	ring_init(outcomes_of(memory), LANE_RING_BYTES);
}

static void attach(struct lane_end *end, void *memory, void *in, void *out)
{
	end->shared = memory;
	ring_attach(&end->in, in, LANE_RING_BYTES);
	ring_attach(&end->out, out, LANE_RING_BYTES);
	atomic_init(&end->stuck, false);
}

void lane_end_attach_client(struct lane_end *end, void *memory)
{
	attach(end, memory, outcomes_of(memory), dispatches_of(memory));
	end->wants_room = &end->shared->client_wants_room;
	end->other_wants_room = &end->shared->node_wants_room;
}

void lane_end_attach_node(struct lane_end *end, void *memory)
{
	attach(end, memory, dispatches_of(memory), outcomes_of(memory));
	end->wants_room = &end->shared->node_wants_room;
	end->other_wants_room = &end->shared->client_wants_room;
}

/* --- putting --- */

enum lane_put lane_end_put(struct lane_end *end, const uint8_t *bytes, size_t size)
{
	simpler_status status;

	assert(size <= LANE_BATCH_MAX);
	for (;;) {
		status = ring_put(&end->out, bytes, size);
		if (status != SIMPLER_ENOSPACE)
			return status == SIMPLER_OK ? LANE_PUT : LANE_BROKEN;
		end->bytes = bytes;
		end->size = size;
		atomic_store(&end->stuck, true);
		atomic_store(end->wants_room, 1);
		if (!ring_has_room(&end->out, size) || !atomic_exchange(&end->stuck, false))
			return LANE_STUCK;
	}
}

bool lane_end_put_rest(struct lane_end *end, enum lane_put *out)
{
	if (!atomic_load(&end->stuck) || !atomic_exchange(&end->stuck, false))
		return false;
	*out = lane_end_put(end, end->bytes, end->size);
	return *out != LANE_STUCK;
}

/* --- taking --- */

simpler_status lane_end_take(struct lane_end *end, uint8_t *bytes, size_t capacity, size_t *size,
                             bool *tells)
{
	simpler_status status = SIMPLER_OK;
	size_t one;

	assert(capacity >= LANE_BATCH_MAX);
	*size = 0;
	do {
		status = ring_pop(&end->in, bytes + *size, LANE_BATCH_MAX, &one);
		*size += one;
	} while (status == SIMPLER_OK && one > 0 && capacity - *size >= LANE_BATCH_MAX);
	*tells = atomic_load(end->other_wants_room) != 0 &&
	         atomic_exchange(end->other_wants_room, 0) != 0;
	return status;
}

/* --- the client's bells --- */

struct hint {
	_Atomic uint64_t *word;
	uint64_t bit;
};

static bool is_given(void *context)
{
	const struct hint *hint = context;

	return (atomic_load(hint->word) & hint->bit) != 0;
}

void lane_bells_tell(struct lane_bells *bells, uint32_t lane)
{
	struct hint hint = { &bells->hints[lane / 64], UINT64_C(1) << lane % 64 };

	if (is_given(&hint))
		return;
	(void)atomic_fetch_or(hint.word, hint.bit);
	doorbell_pair_wake(&bells->pair, is_given, &hint);
}

bool lane_bells_any(struct lane_bells *bells)
{
	bool any = false;

	for (uint32_t i = 0; i < LANE_BELLS_LANES / 64 && !any; i++)
		any = atomic_load(&bells->hints[i]) != 0;
	return any;
}

uint64_t lane_bells_take(struct lane_bells *bells, uint32_t word)
{
	_Atomic uint64_t *hints = &bells->hints[word];

	return atomic_load(hints) != 0 ? atomic_exchange(hints, 0) : 0;
}
