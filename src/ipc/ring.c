/*
 * Two positions in shared memory, each written by one side only: `written` by the producer,
 * `taken` by the consumer. Each side also keeps its own position in its own memory and goes by
 * that one, so that the other side can lie only about itself; a lie is either a distance that no
 * ring can have, which is refused, or costs the liar its own records.
 *
 * A push rings only where the consumer had taken all before it. Else the consumer is on its way to
 * the others, and looks for this one after the last of them:
 *
 *   producer:  written += record;  then taken == where the record begins?  ring
 *   consumer:  taken += record;    then written != taken?                  another
 *
 * All four are sequentially consistent, so whichever comes last sees the other side's write. With
 * many records under way that spares most of them the ring, and the system call that may be in it.
 */
#include "ipc/ring.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/inject.h"

#define UNIT      8u /* records begin at multiples of it, so a length never straddles the end */
#define LEAST     4096u
#define LINE_REST (64 - sizeof(uint64_t))

/* Each on cache lines of its own. */
struct ring_shared {
	struct doorbell_pair bells; /* the consumer waits at them */
	_Atomic uint64_t written;
	uint8_t pad_written[LINE_REST];
	_Atomic uint64_t taken;
	uint8_t pad_taken[LINE_REST];
};

size_t ring_bytes(uint64_t capacity)
{
	assert(capacity >= LEAST && (capacity & (capacity - 1)) == 0);
	return sizeof(struct ring_shared) + (size_t)capacity;
}

void ring_init(void *memory, uint64_t capacity)
{
	assert(capacity >= LEAST && (capacity & (capacity - 1)) == 0);
	memset(memory, 0, sizeof(struct ring_shared));
}

void ring_attach(struct ring *ring, void *memory, uint64_t capacity)
{
	ring->shared = memory;
	ring->data = (uint8_t *)memory + sizeof(struct ring_shared);
	ring->capacity = capacity;
	ring->position = 0;
}

struct doorbell_pair *ring_bells(struct ring *ring)
{
	return &ring->shared->bells;
}

/* Bytes that a record takes up: its length, itself, and padding. False when that is more than the
 * ring can ever hold. */
static bool footprint(const struct ring *ring, uint64_t size, uint64_t *out)
{
	return size > 0 && size <= UINT32_MAX &&
	       checked_align(size + sizeof(uint32_t), UNIT, out) && *out <= ring->capacity;
}

static _Atomic uint32_t *length_at(struct ring *ring, uint64_t position)
{
	return (_Atomic uint32_t *)(void *)(ring->data + (position & (ring->capacity - 1)));
}

/* How many of `size` bytes at `position` lie before the end of the memory. */
static size_t before_end(const struct ring *ring, uint64_t position, size_t size)
{
	size_t left = (size_t)(ring->capacity - (position & (ring->capacity - 1)));

	return size < left ? size : left;
}

static void copy_in(struct ring *ring, uint64_t position, const uint8_t *bytes, size_t size)
{
	size_t first = before_end(ring, position, size);

	memcpy(ring->data + (position & (ring->capacity - 1)), bytes, first);
	memcpy(ring->data, bytes + first, size - first);
}

static void copy_out(struct ring *ring, uint64_t position, uint8_t *bytes, size_t size)
{
	size_t first = before_end(ring, position, size);

	memcpy(bytes, ring->data + (position & (ring->capacity - 1)), first);
	memcpy(bytes + first, ring->data, size - first);
}

/* Whether `bytes` can be what lies between two positions. */
static bool is_distance(const struct ring *ring, uint64_t bytes)
{
	return bytes <= ring->capacity && bytes % UNIT == 0;
}

simpler_status ring_put(struct ring *ring, const void *record, size_t size)
{
	uint64_t need, waiting;

	if (!footprint(ring, size, &need))
		return error_raise(SIMPLER_EINVAL,
		                   "a record of %zu bytes cannot go into a ring of %llu", size,
		                   (unsigned long long)ring->capacity);
	waiting = ring->position - atomic_load_explicit(&ring->shared->taken, memory_order_acquire);
	if (!is_distance(ring, waiting))
		return error_raise(SIMPLER_EPROTOCOL,
		                   "the ring's consumer has a position that it cannot have");
	if (need > ring->capacity - waiting || INJECT("ring.push"))
		return error_raise(SIMPLER_ENOSPACE,
		                   "the ring is full: %llu of %llu bytes wait to be taken",
		                   (unsigned long long)waiting, (unsigned long long)ring->capacity);
	atomic_store_explicit(length_at(ring, ring->position), (uint32_t)size,
	                      memory_order_relaxed);
	copy_in(ring, ring->position + sizeof(uint32_t), record, size);
	ring->position += need;
	atomic_store(&ring->shared->written, ring->position);
	(void)INJECT("ring.pushed");
	return SIMPLER_OK;
}

simpler_status ring_push(struct ring *ring, const void *record, size_t size)
{
	uint64_t begin = ring->position;
	simpler_status status = ring_put(ring, record, size);

	if (status == SIMPLER_OK && atomic_load(&ring->shared->taken) == begin)
		doorbell_pair_ring(&ring->shared->bells);
	return status;
}

bool ring_has_room(struct ring *ring, size_t size)
{
	uint64_t need, waiting = ring->position - atomic_load(&ring->shared->taken);

	return footprint(ring, size, &need) &&
	       (!is_distance(ring, waiting) || need <= ring->capacity - waiting);
}

simpler_status ring_pop(struct ring *ring, void *record, size_t capacity, size_t *size)
{
	uint64_t need, waiting;
	uint32_t length;

	*size = 0;
	waiting = atomic_load(&ring->shared->written) - ring->position;
	if (waiting == 0)
		return SIMPLER_OK;
	if (!is_distance(ring, waiting))
		return error_raise(SIMPLER_EPROTOCOL,
		                   "the ring's producer has a position that it cannot have");
	length = atomic_load_explicit(length_at(ring, ring->position), memory_order_relaxed);
	if (!footprint(ring, length, &need) || need > waiting)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a record of %u bytes among %llu in the ring makes no sense",
		                   length, (unsigned long long)waiting);
	if (length > capacity)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a record of %u bytes in the ring is over the limit of %zu",
		                   length, capacity);
	(void)INJECT("ring.pop");
	copy_out(ring, ring->position + sizeof(length), record, length);
	ring->position += need;
	atomic_store(&ring->shared->taken, ring->position);
	*size = length;
	return SIMPLER_OK;
}

bool ring_has_record(struct ring *ring)
{
	return atomic_load(&ring->shared->written) != ring->position;
}
