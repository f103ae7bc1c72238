/* Places in a fabric: what is written is read, and what makes no sense is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/fabric.h"

static const struct fabric_place good = { .provider = FABRIC_TCP,
	                                  .address = { 4, { 9, 8, 7, 6 } },
	                                  .key = 0x1122334455667788,
	                                  .base = 4096,
	                                  .nbytes = 100,
	                                  .landing = 0x01020304 };

static void a_place_is_its_bytes_in_little_endian(void **state)
{
	static const uint8_t want[] = { 1, 0,  0,    0,    2,    4,    0,    0,    4,    3,
		                        2, 1,  0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		                        0, 16, 0,    0,    0,    0,    0,    0,    100,  0,
		                        0, 0,  0,    0,    0,    0,    9,    8,    7,    6 };
	uint8_t bytes[FABRIC_PLACE_MAX];
	struct fabric_place out;

	(void)state;
	assert_int_equal(fabric_place_encode(&good, bytes), sizeof(want));
	assert_memory_equal(bytes, want, sizeof(want));
	assert_int_equal(fabric_place_decode(bytes, sizeof(want), &out), SIMPLER_OK);
	assert_int_equal(out.provider, FABRIC_TCP);
	assert_true(fabric_address_equal(&out.address, &good.address));
	assert_true(out.key == good.key && out.base == good.base && out.nbytes == good.nbytes);
	assert_int_equal(out.landing, good.landing);
}

static void a_place_of_another_size_is_refused(void **state)
{
	uint8_t bytes[FABRIC_PLACE_MAX + 1] = { 0 };
	size_t size = fabric_place_encode(&good, bytes);
	struct fabric_place out;

	(void)state;
	for (size_t each = 0; each <= sizeof(bytes); each++) {
		if (each != size)
			assert_int_equal(fabric_place_decode(bytes, each, &out), SIMPLER_EPROTOCOL);
	}
}

static void a_place_that_cannot_be_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} cases[] = { { 0, 2 }, { 4, 0 }, { 4, 3 }, { 5, 0 }, { 5, 65 }, { 6, 1 }, { 35, 0x80 } };
	uint8_t bytes[FABRIC_PLACE_MAX];
	struct fabric_place out, far = good;
	size_t size = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size = fabric_place_encode(&good, bytes);
		bytes[cases[i].at] = cases[i].byte;
		assert_int_equal(fabric_place_decode(bytes, size, &out), SIMPLER_EPROTOCOL);
	}
	far.base = UINT64_MAX - 50;
	size = fabric_place_encode(&far, bytes);
	assert_int_equal(fabric_place_decode(bytes, size, &out), SIMPLER_EPROTOCOL);
}

static void the_longest_address_fits(void **state)
{
	struct fabric_place in = good, out;
	uint8_t bytes[FABRIC_PLACE_MAX];

	(void)state;
	in.address.size = FABRIC_ADDRESS_MAX;
	memset(in.address.bytes, 5, FABRIC_ADDRESS_MAX);
	assert_int_equal(fabric_place_encode(&in, bytes), FABRIC_PLACE_MAX);
	assert_int_equal(fabric_place_decode(bytes, FABRIC_PLACE_MAX, &out), SIMPLER_OK);
	assert_true(fabric_address_equal(&in.address, &out.address));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_its_bytes_in_little_endian),
		cmocka_unit_test(a_place_of_another_size_is_refused),
		cmocka_unit_test(a_place_that_cannot_be_is_refused),
		cmocka_unit_test(the_longest_address_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
