/* Ranges of a tensor: what is refused, and that packed bytes come and go as one copies them byte by
 * byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"
#include "wire/span.h"

static void a_span_is_checked_before_it_is_used(void **state)
{
	static const struct {
		const char *name;
		struct span span;
		simpler_status status;
		uint64_t bytes, end;
	} cases[] = {
		{ "one run", { 5, 7, 0, 1 }, SIMPLER_OK, 7, 12 },
		{ "one run needs no pitch", { 5, 7, UINT64_MAX, 1 }, SIMPLER_OK, 7, 12 },
		{ "rows", { 64, 16, 32, 3 }, SIMPLER_OK, 48, 144 },
		{ "rows that touch", { 0, 16, 16, 3 }, SIMPLER_OK, 48, 48 },
		{ "rows that overlap", { 0, 16, 15, 2 }, SIMPLER_EINVAL, 0, 0 },
		{ "no runs", { UINT64_MAX, 16, 0, 0 }, SIMPLER_OK, 0, 0 },
		{ "runs of nothing", { UINT64_MAX, 0, 0, UINT64_MAX }, SIMPLER_OK, 0, 0 },
		{ "up to 2^63 - 1", { INT64_MAX - 7, 7, 0, 1 }, SIMPLER_OK, 7, INT64_MAX },
		{ "beyond it", { INT64_MAX - 6, 7, 0, 1 }, SIMPLER_EINVAL, 0, 0 },
		{ "offset overflows", { UINT64_MAX, 7, 0, 1 }, SIMPLER_EINVAL, 0, 0 },
		{ "runs overflow", { 0, 1, 2, UINT64_MAX }, SIMPLER_EINVAL, 0, 0 },
		{ "pitch overflows", { 0, 1, UINT64_MAX, 3 }, SIMPLER_EINVAL, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (span_check(&cases[i].span) != cases[i].status)
			fail_msg("%s", cases[i].name);
		if (cases[i].status == SIMPLER_OK &&
		    (span_bytes(&cases[i].span) != cases[i].bytes ||
		     span_end(&cases[i].span) != cases[i].end))
			fail_msg("%s: %llu bytes, ends at %llu", cases[i].name,
			         (unsigned long long)span_bytes(&cases[i].span),
			         (unsigned long long)span_end(&cases[i].span));
	}
}

#define STORAGE 4096u

/* The packed byte `at`, found the slow way. */
static uint64_t where(const struct span *span, uint64_t at)
{
	uint64_t run = 0;

	for (; at >= span->run_bytes; at -= span->run_bytes)
		run++;
	return span->offset + run * span->pitch + at;
}

static struct span some_span(void)
{
	struct span span = { .run_bytes = 1 + random_below(60), .runs = 1 + random_below(20) };

	span.pitch = span.run_bytes + random_below(60);
	span.offset = random_below(STORAGE + 1 - (uint32_t)span_end(&span));
	return span;
}

static void parts_of_a_span_are_copied_as_byte_by_byte(void **state)
{
	static uint8_t storage[STORAGE], expected[STORAGE], packed[STORAGE];
	uint64_t rounds = random_begin("span", 2000);

	(void)state;
	for (uint64_t round = 0; round < rounds; round++) {
		struct span span = some_span();
		uint32_t from = random_below((uint32_t)span_bytes(&span) + 1);
		uint32_t size = random_below((uint32_t)span_bytes(&span) - from + 1);

		for (uint32_t i = 0; i < STORAGE; i++)
			expected[i] = storage[i] = (uint8_t)random_below(256);
		span_read(&span, storage, from, packed, size);
		for (uint32_t i = 0; i < size; i++)
			assert_int_equal(packed[i], storage[where(&span, from + i)]);
		for (uint32_t i = 0; i < size; i++) {
			packed[i] = (uint8_t)~packed[i];
			expected[where(&span, from + i)] = packed[i];
		}
		span_write(&span, storage, from, packed, size);
		assert_memory_equal(storage, expected, STORAGE);
	}
}

static void nothing_is_copied_of_an_empty_span(void **state)
{
	const struct span none = { .offset = UINT64_MAX };
	uint8_t byte = 7;

	(void)state;
	span_read(&none, &byte, 0, NULL, 0);
	span_write(&none, &byte, 0, NULL, 0);
	assert_int_equal(byte, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_span_is_checked_before_it_is_used),
		cmocka_unit_test(parts_of_a_span_are_copied_as_byte_by_byte),
		cmocka_unit_test(nothing_is_copied_of_an_empty_span),
	};

	return cmocka_run_group_tests_name("span", tests, NULL, NULL);
}
