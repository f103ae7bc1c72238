/*
 * A producer and a consumer of one ring, and a third who writes into the shared memory under both.
 * Whatever it writes, each side either refuses, or keeps to its bounds and moves on by a whole
 * record. The input is a list of steps: see step(). Seeds: make-ipc-seeds.
 */
#include <stdlib.h>
#include <string.h>

#include "ipc/ring.h"

#define CAPACITY 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *next;
	size_t left;
};

struct world {
	uint8_t *memory;
	struct ring producer, consumer;
};

static uint32_t read_number(struct input *input, size_t bytes)
{
	uint32_t number = 0;

	for (; bytes > 0 && input->left > 0; bytes--, input->left--)
		number = number << 8 | *input->next++;
	return number;
}

static uint64_t whole_record(size_t size)
{
	return (size + sizeof(uint32_t) + 7) / 8 * 8;
}

static void push(struct world *world, size_t size)
{
	uint64_t before = world->producer.position;
	uint8_t *record = calloc(1, size + 1);
	simpler_status status;

	if (!record)
		return;
	status = ring_push(&world->producer, record, size);
	free(record);
	if (world->producer.position - before != (status == SIMPLER_OK ? whole_record(size) : 0))
		abort();
}

static void pop(struct world *world, size_t limit)
{
	uint64_t before = world->consumer.position;
	uint8_t *record = malloc(limit + 1); /* never NULL, and the byte more is looked after */
	simpler_status status;
	size_t size;

	if (!record)
		return;
	record[limit] = 0xa5;
	status = ring_pop(&world->consumer, record, limit, &size);
	if (size > limit || record[limit] != 0xa5 || (status != SIMPLER_OK && size > 0))
		abort();
	free(record);
	if (world->consumer.position - before != (size > 0 ? whole_record(size) : 0))
		abort();
}

static void scribble(struct world *world, size_t at, struct input *input)
{
	size_t size = read_number(input, 1) % 9;

	for (size_t i = 0; i < size; i++)
		world->memory[(at + i) % ring_bytes(CAPACITY)] = (uint8_t)read_number(input, 1);
}

/* One byte says what to do, two say where or how much. */
static void step(struct world *world, struct input *input)
{
	uint32_t what = read_number(input, 1), much = read_number(input, 2);

	switch (what % 3) {
	case 0:
		pop(world, much % (CAPACITY + 8));
		break;
	case 1:
		push(world, much % (CAPACITY + 8));
		break;
	default:
		scribble(world, much, input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct world world = { .memory = aligned_alloc(64, ring_bytes(CAPACITY)) };

	if (!world.memory)
		return 0;
	memset(world.memory, 0, ring_bytes(CAPACITY));
	ring_init(world.memory, CAPACITY);
	ring_attach(&world.producer, world.memory, CAPACITY);
	ring_attach(&world.consumer, world.memory, CAPACITY);
	while (input.left > 0)
		step(&world, &input);
	free(world.memory);
	return 0;
}
