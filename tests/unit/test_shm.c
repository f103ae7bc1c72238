/* What parents and daemons say about shared memory: what is written is read, and what makes no
 * sense is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/shm.h"

static void a_place_is_its_bytes_in_little_endian(void **state)
{
	static const uint8_t want[SHM_PLACE_BYTES] = { 1, 0, 0, 0, 4, 3, 2, 1, 0,    1, 0, 0,
		                                       0, 0, 0, 0, 7, 0, 0, 0, 0x40, 0, 0, 0 };
	const struct shm_place in = { 0x01020304, 256, 0x4000000007 };
	uint8_t bytes[SHM_PLACE_BYTES];
	struct shm_place out;

	(void)state;
	shm_place_encode(&in, bytes);
	assert_memory_equal(bytes, want, sizeof(bytes));
	assert_int_equal(shm_place_decode(bytes, sizeof(bytes), &out), SIMPLER_OK);
	assert_int_equal(out.segment, in.segment);
	assert_true(out.offset == in.offset && out.nbytes == in.nbytes);
}

static void a_place_that_cannot_be_is_refused(void **state)
{
	const struct shm_place good = { 1, 0, 8 }, far = { 1, INT64_MAX, 1 },
			       wrapped = { 1, UINT64_MAX, 2 };
	uint8_t bytes[SHM_PLACE_BYTES + 1] = { 0 };
	struct shm_place out;

	(void)state;
	shm_place_encode(&good, bytes);
	for (size_t size = 0; size <= sizeof(bytes); size++) {
		if (size != SHM_PLACE_BYTES)
			assert_int_equal(shm_place_decode(bytes, size, &out), SIMPLER_EPROTOCOL);
	}
	bytes[0] = 2;
	assert_int_equal(shm_place_decode(bytes, SHM_PLACE_BYTES, &out), SIMPLER_EPROTOCOL);
	assert_non_null(strstr(simpler_last_error(), "version 2; known is 1"));
	shm_place_encode(&far, bytes);
	assert_int_equal(shm_place_decode(bytes, SHM_PLACE_BYTES, &out), SIMPLER_EPROTOCOL);
	shm_place_encode(&wrapped, bytes);
	assert_int_equal(shm_place_decode(bytes, SHM_PLACE_BYTES, &out), SIMPLER_EPROTOCOL);
}

static void an_ask_names_a_session_and_what_it_wants(void **state)
{
	static const struct {
		struct shm_ask ask;
		size_t bytes;
	} asks[] = {
		{ { SHM_SEGMENT, UINT64_MAX - 1, 0 }, SHM_ASK_MAX - 4 },
		{ { SHM_LANE, 7, 511 }, SHM_ASK_MAX },
	};
	uint8_t bytes[SHM_ASK_MAX + 1];
	struct shm_ask out;

	(void)state;
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		const struct shm_ask *in = &asks[i].ask;
		size_t right = asks[i].bytes;

		memset(bytes, 0, sizeof(bytes));
		assert_int_equal(shm_ask_encode(in, bytes, right), right);
		assert_int_equal(shm_ask_encode(in, bytes, right - 1), 0);
		assert_int_equal(shm_ask_decode(bytes, right, &out), SIMPLER_OK);
		assert_true(out.wish == in->wish && out.session == in->session &&
		            out.bit == in->bit);
		for (size_t size = 0; size <= sizeof(bytes); size++) {
			if (size != right)
				assert_int_equal(shm_ask_decode(bytes, size, &out),
				                 SIMPLER_EPROTOCOL);
		}
	}
	(void)shm_ask_encode(&asks[0].ask, bytes, sizeof(bytes));
	bytes[4] = 2;
	assert_int_equal(shm_ask_decode(bytes, SHM_ASK_MAX - 4, &out), SIMPLER_EPROTOCOL);
	assert_non_null(strstr(simpler_last_error(), "what we do not know"));
	bytes[4] = 0;
	memset(bytes + 8, 0, 8);
	assert_int_equal(shm_ask_decode(bytes, SHM_ASK_MAX - 4, &out), SIMPLER_EPROTOCOL);
	assert_non_null(strstr(simpler_last_error(), "no session"));
	bytes[0] = 9;
	assert_int_equal(shm_ask_decode(bytes, SHM_ASK_MAX - 4, &out), SIMPLER_EPROTOCOL);
	assert_non_null(strstr(simpler_last_error(), "version 9"));
}

static void an_answer_is_memory_or_a_reason(void **state)
{
	struct shm_answer in = { .status = SIMPLER_OK, .segment = 1024, .bytes = 1 << 20 }, out;
	uint8_t bytes[SHM_ANSWER_MAX + 1];
	size_t size;

	(void)state;
	size = shm_answer_encode(&in, bytes, sizeof(bytes));
	assert_int_equal(shm_answer_decode(bytes, size, &out), SIMPLER_OK);
	assert_true(out.status == SIMPLER_OK && out.segment == 1024 && out.bytes == 1 << 20);
	for (size_t less = 0; less < size; less++)
		assert_int_equal(shm_answer_decode(bytes, less, &out), SIMPLER_EPROTOCOL);
	in.bytes = 0;
	size = shm_answer_encode(&in, bytes, sizeof(bytes));
	assert_int_equal(shm_answer_decode(bytes, size, &out), SIMPLER_EPROTOCOL);
	in.status = SIMPLER_ENOSPACE;
	memset(in.text, 'x', SHM_TEXT_MAX);
	in.text[3] = '\033';
	size = shm_answer_encode(&in, bytes, sizeof(bytes));
	assert_true(size > 0 && size <= SHM_ANSWER_MAX);
	assert_int_equal(shm_answer_decode(bytes, size, &out), SIMPLER_OK);
	assert_int_equal(out.status, SIMPLER_ENOSPACE);
	assert_int_equal(strlen(out.text), SHM_TEXT_MAX);
	assert_int_equal(out.text[3], '?');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_its_bytes_in_little_endian),
		cmocka_unit_test(a_place_that_cannot_be_is_refused),
		cmocka_unit_test(an_ask_names_a_session_and_what_it_wants),
		cmocka_unit_test(an_answer_is_memory_or_a_reason),
	};

	return cmocka_run_group_tests_name("shm", tests, NULL, NULL);
}
