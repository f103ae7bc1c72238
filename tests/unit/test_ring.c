/* A ring in shared memory: records come out whole and in order; a lying other side is found out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/clock.h"
#include "base/error.h"
#include "ipc/ring.h"

#define CAPACITY 4096u

/* Where the two positions are: what a hostile process would write to. */
#define WRITTEN_AT sizeof(struct doorbell_pair)
#define TAKEN_AT   (sizeof(struct doorbell_pair) + 64)
#define DATA_AT    (sizeof(struct doorbell_pair) + 128)

struct both {
	uint8_t *memory;
	struct ring producer, consumer;
};

static struct both create(void)
{
	struct both both = { .memory = aligned_alloc(64, ring_bytes(CAPACITY)) };

	assert_non_null(both.memory);
	assert_int_equal(ring_bytes(CAPACITY), DATA_AT + CAPACITY);
	memset(both.memory, 0xee, ring_bytes(CAPACITY));
	ring_init(both.memory, CAPACITY);
	ring_attach(&both.producer, both.memory, CAPACITY);
	ring_attach(&both.consumer, both.memory, CAPACITY);
	return both;
}

static void write_u64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void write_u32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* A record of `size` bytes that tells its number in each of them. */
static void push_number(struct ring *ring, uint32_t number, size_t size)
{
	uint8_t record[CAPACITY];

	memset(record, (int)(number & 0xff), size);
	assert_int_equal(ring_push(ring, record, size), SIMPLER_OK);
}

static void pop_number(struct ring *ring, uint32_t number, size_t expected)
{
	uint8_t record[CAPACITY];
	size_t size;

	assert_int_equal(ring_pop(ring, record, sizeof(record), &size), SIMPLER_OK);
	assert_int_equal(size, expected);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(record[i], number & 0xff);
}

/* --- between two who keep to the rules --- */

static void an_empty_ring_has_no_record(void **state)
{
	struct both both = create();
	uint8_t record[8];
	size_t size = 1;

	(void)state;
	assert_int_equal(ring_pop(&both.consumer, record, sizeof(record), &size), SIMPLER_OK);
	assert_int_equal(size, 0);
	free(both.memory);
}

static void a_push_rings(void **state)
{
	struct both both = create();
	uint32_t ticket = doorbell_ticket(&ring_bells(&both.consumer)->resident);

	(void)state;
	push_number(&both.producer, 1, 1);
	assert_true(doorbell_ticket(&ring_bells(&both.consumer)->resident) != ticket);
	free(both.memory);
}

static void records_of_every_size_wrap_around_whole(void **state)
{
	struct both both = create();

	(void)state;
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t size = 1; size <= CAPACITY - 4; size++) {
			push_number(&both.producer, size, size);
			pop_number(&both.consumer, size, size);
		}
	}
	free(both.memory);
}

static void a_full_ring_takes_no_more_until_there_is_room(void **state)
{
	struct both both = create();
	uint8_t record[60] = { 0 };
	uint32_t pushed = 0, popped = 0;

	(void)state;
	for (; pushed < CAPACITY / 64; pushed++)
		push_number(&both.producer, pushed, 60);
	for (uint32_t i = 0; i < 300; i++) {
		assert_int_equal(ring_push(&both.producer, record, 1), SIMPLER_ENOSPACE);
		pop_number(&both.consumer, popped++, 60);
		push_number(&both.producer, pushed++, 60);
	}
	while (popped < pushed)
		pop_number(&both.consumer, popped++, 60);
	free(both.memory);
}

static void a_record_that_can_never_fit_is_refused(void **state)
{
	static const size_t sizes[] = { 0,          CAPACITY - 3, CAPACITY,
		                        UINT32_MAX, SIZE_MAX - 2, SIZE_MAX };
	struct both both = create();
	uint8_t record[1] = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		assert_int_equal(ring_push(&both.producer, record, sizes[i]), SIMPLER_EINVAL);
	free(both.memory);
}

static void an_initialized_ring_is_empty_again(void **state)
{
	struct both both = create();
	size_t size;
	uint8_t record[8];

	(void)state;
	push_number(&both.producer, 1, 8);
	ring_init(both.memory, CAPACITY);
	ring_attach(&both.consumer, both.memory, CAPACITY);
	assert_int_equal(ring_pop(&both.consumer, record, sizeof(record), &size), SIMPLER_OK);
	assert_int_equal(size, 0);
	free(both.memory);
}

/* --- against one who does not --- */

static void a_consumer_sees_through_a_producer_that_lies(void **state)
{
	static const struct {
		const char *name;
		uint64_t written;
		uint32_t length;
	} lies[] = {
		{ "more than the ring can hold", CAPACITY + 8, 8 },
		{ "a position before the consumer's", UINT64_MAX - 7, 8 },
		{ "the largest position", UINT64_MAX, 8 },
		{ "a position between records", 12, 8 },
		{ "a record of no bytes", 16, 0 },
		{ "a record past the position", 16, 13 },
		{ "a record past the ring", CAPACITY, CAPACITY - 3 },
		{ "a record whose padding wraps", CAPACITY, UINT32_MAX },
		{ "a record over the consumer's limit", CAPACITY, 65 },
	};
	struct both both = create();
	uint8_t record[64];
	size_t size;

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		write_u64(both.memory + WRITTEN_AT, lies[i].written);
		write_u32(both.memory + DATA_AT, lies[i].length);
		if (ring_pop(&both.consumer, record, sizeof(record), &size) != SIMPLER_EPROTOCOL)
			fail_msg("%s was accepted", lies[i].name);
		assert_int_equal(size, 0);
	}
	free(both.memory);
}

static void a_producer_sees_through_a_consumer_that_lies(void **state)
{
	/* The producer is at 64. */
	static const uint64_t lies[] = { 72, 65, 63, UINT64_MAX, UINT64_MAX - CAPACITY };
	struct both both = create();
	uint8_t record[8] = { 0 };

	(void)state;
	push_number(&both.producer, 0, 60);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		write_u64(both.memory + TAKEN_AT, lies[i]);
		assert_int_equal(ring_push(&both.producer, record, 8), SIMPLER_EPROTOCOL);
	}
	free(both.memory);
}

static void a_side_goes_by_its_own_position(void **state)
{
	struct both both = create();

	(void)state;
	push_number(&both.producer, 1, 60);
	push_number(&both.producer, 2, 60);
	pop_number(&both.consumer, 1, 60);
	write_u64(both.memory + TAKEN_AT, 0);
	pop_number(&both.consumer, 2, 60);
	write_u64(both.memory + WRITTEN_AT, 0);
	push_number(&both.producer, 3, 60);
	pop_number(&both.consumer, 3, 60);
	free(both.memory);
}

/* --- a million records between two threads --- */

#define RECORDS 1000000u

static size_t size_of(uint32_t number)
{
	return sizeof(number) + number % 61;
}

static void *produce(void *argument)
{
	struct ring *ring = argument;
	struct spin_budget budget = { 0 };
	struct doorbell never = { 0 };
	uint8_t record[sizeof(uint32_t) + 61];

	for (uint32_t i = 0; i < RECORDS;) {
		simpler_status status;

		write_u32(record, i);
		memset(record + sizeof(i), (int)(i & 0xff), size_of(i) - sizeof(i));
		status = ring_push(ring, record, size_of(i));
		if (status == SIMPLER_OK)
			i++;
		else if (status == SIMPLER_ENOSPACE) /* a pause, as a real producer would do */
			(void)doorbell_wait(&never, 0, &budget, clock_now() + CLOCK_MS / 20);
		else
			return NULL;
	}
	return argument;
}

static bool is_record(const uint8_t *record, size_t size, uint32_t number)
{
	uint32_t told;

	memcpy(&told, record, sizeof(told));
	if (size != size_of(number) || told != number)
		return false;
	for (size_t i = sizeof(told); i < size; i++) {
		if (record[i] != (number & 0xff))
			return false;
	}
	return true;
}

static void consume(struct ring *ring)
{
	struct spin_budget budget = { 0 };
	uint8_t record[sizeof(uint32_t) + 61];
	size_t size;

	for (uint32_t i = 0; i < RECORDS;) {
		uint32_t ticket = doorbell_ticket(&ring_bells(ring)->resident);

		assert_int_equal(ring_pop(ring, record, sizeof(record), &size), SIMPLER_OK);
		if (size > 0)
			assert_true(is_record(record, size, i++));
		else
			assert_true(doorbell_wait(&ring_bells(ring)->resident, ticket, &budget,
			                          clock_after_ms(60000)));
	}
}

static void a_million_records_cross_in_order(void **state)
{
	struct both both = create();
	pthread_t thread;
	void *result;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, produce, &both.producer), 0);
	consume(&both.consumer);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_non_null(result);
	free(both.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_ring_has_no_record),
		cmocka_unit_test(a_push_rings),
		cmocka_unit_test(records_of_every_size_wrap_around_whole),
		cmocka_unit_test(a_full_ring_takes_no_more_until_there_is_room),
		cmocka_unit_test(a_record_that_can_never_fit_is_refused),
		cmocka_unit_test(an_initialized_ring_is_empty_again),
		cmocka_unit_test(a_consumer_sees_through_a_producer_that_lies),
		cmocka_unit_test(a_producer_sees_through_a_consumer_that_lies),
		cmocka_unit_test(a_side_goes_by_its_own_position),
		cmocka_unit_test(a_million_records_cross_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
