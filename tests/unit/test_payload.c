#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "catalog/module_file.h"
#include "catalog/payload.h"
#include "simpler/version.h"

static const char module_bytes[] = "these could be a module";
static const char captured[] = { 1, 0, 2, 0, 3 };

static struct payload sample(bool whole)
{
	struct payload payload = {
		.kind = SIMPLER_KIND_ORCH,
		.abi = SIMPLER_CALLABLE_ABI,
		.origin = { .source = ORIGIN_MODULE },
		.name = "accumulate",
		.state = { captured, sizeof(captured) },
	};

	assert_int_equal(digest_compute(module_bytes, sizeof(module_bytes), &payload.origin.module),
	                 SIMPLER_OK);
	if (whole)
		payload.module_bytes = (simpler_bytes){ module_bytes, sizeof(module_bytes) };
	return payload;
}

static struct payload sample_library(void)
{
	return (struct payload){
		.kind = SIMPLER_KIND_SUB,
		.abi = SIMPLER_CALLABLE_ABI,
		.origin = { .source = ORIGIN_LIBRARY, .library = "lib-linear_2.so" },
		.name = "solve",
		.state = { captured, sizeof(captured) },
	};
}

/* In memory that ends where the payload does, so that a byte too far is noticed. */
static uint8_t *encoded(const struct payload *payload, size_t *size)
{
	uint8_t *bytes;

	*size = payload_size(payload);
	bytes = malloc(*size);
	assert_non_null(bytes);
	payload_encode(payload, bytes);
	return bytes;
}

static void expect_same_bytes(simpler_bytes have, simpler_bytes want)
{
	assert_int_equal(have.size, want.size);
	if (want.size)
		assert_memory_equal(have.data, want.data, want.size);
}

static void expect_same(const struct payload *have, const struct payload *want)
{
	assert_int_equal(have->kind, want->kind);
	assert_int_equal(have->abi, want->abi);
	assert_int_equal(have->origin.source, want->origin.source);
	assert_memory_equal(&have->origin.module, &want->origin.module,
	                    sizeof(want->origin.module));
	assert_string_equal(have->origin.library, want->origin.library);
	assert_string_equal(have->name, want->name);
	expect_same_bytes(have->state, want->state);
	expect_same_bytes(have->signature, want->signature);
	expect_same_bytes(have->module_bytes, want->module_bytes);
}

static void expect_round_trip(const struct payload *payload)
{
	struct payload decoded;
	size_t size;
	uint8_t *bytes = encoded(payload, &size);

	assert_int_equal(payload_decode(bytes, size, &decoded), SIMPLER_OK);
	expect_same(&decoded, payload);
	free(bytes);
}

static void what_is_encoded_is_decoded(void **state)
{
	static const uint8_t signature[SIGNATURE_BYTES] = { 1, 2, 3 };
	struct payload whole = sample(true), by_digest = sample(false), largest = sample(false);
	struct payload library = sample_library();
	uint8_t *much = calloc(1, SIMPLER_STATE_MAX);

	(void)state;
	assert_non_null(much);
	expect_round_trip(&whole);
	expect_round_trip(&by_digest);
	by_digest.state = simpler_no_state();
	expect_round_trip(&by_digest);
	memset(largest.name, 'n', SIMPLER_NAME_MAX);
	largest.state = (simpler_bytes){ much, SIMPLER_STATE_MAX };
	expect_round_trip(&largest);
	whole.signature = (simpler_bytes){ signature, sizeof(signature) };
	expect_round_trip(&whole);
	expect_round_trip(&library);
	memset(library.origin.library, 'l', ORIGIN_LIBRARY_MAX);
	expect_round_trip(&library);
	free(much);
}

/* The table in payload.h, so that other implementations can rely on it. */
static void the_layout_is_the_documented_one(void **state)
{
	struct payload payload = sample(false);
	size_t size;
	uint8_t *bytes = encoded(&payload, &size);
	static const uint8_t head[32] = { 'S', 'M', 'P', 'C', 2, 0,  0, 0, 2, 0, 0, 0, 1, 0, 0,
		                          0,   1,   0,   0,   0, 10, 0, 0, 0, 0, 0, 0, 0, 5 };
	static const uint8_t lengths[16] = { 0 };

	(void)state;
	assert_int_equal(size, 80 + 10 + 5);
	assert_memory_equal(bytes, head, sizeof(head));
	assert_memory_equal(bytes + 32, payload.origin.module.bytes, 32);
	assert_memory_equal(bytes + 64, lengths, sizeof(lengths));
	assert_memory_equal(bytes + 80, "accumulate", 10);
	assert_memory_equal(bytes + 90, captured, 5);
	free(bytes);
}

/* Of a library, whose name stands between name and state. */
static void the_layout_of_a_library_is_the_documented_one(void **state)
{
	struct payload payload = sample_library();
	size_t size;
	uint8_t *bytes = encoded(&payload, &size);

	(void)state;
	assert_int_equal(size, 80 + 5 + 15 + 5);
	assert_int_equal(bytes[16], 2);
	assert_int_equal(bytes[20], 5);
	assert_int_equal(bytes[24], 15);
	assert_memory_equal(bytes + 80, "solvelib-linear_2.so", 20);
	assert_memory_equal(bytes + 100, captured, 5);
	free(bytes);
}

static void no_prefix_is_a_payload(void **state)
{
	struct payload payload = sample(true), decoded;
	size_t size;
	uint8_t *bytes = encoded(&payload, &size);

	(void)state;
	for (size_t cut = 0; cut < size; cut++) {
		uint8_t *shorter = malloc(cut ? cut : 1);

		assert_non_null(shorter);
		memcpy(shorter, bytes, cut);
		assert_int_equal(payload_decode(shorter, cut, &decoded), SIMPLER_EINVAL);
		free(shorter);
	}
	free(bytes);
}

static void trailing_bytes_are_an_error(void **state)
{
	struct payload payload = sample(false), decoded;
	size_t size;
	uint8_t *bytes = encoded(&payload, &size), *longer = malloc(size + 1);

	(void)state;
	assert_non_null(longer);
	memcpy(longer, bytes, size);
	longer[size] = 0;
	assert_int_equal(payload_decode(longer, size + 1, &decoded), SIMPLER_EINVAL);
	free(longer);
	free(bytes);
}

struct change {
	const char *name;
	size_t offset, size;
	uint64_t value;
	simpler_status status;
	const char *says;
};

/* Of a module with its bytes. */
static const struct change changes[] = {
	{ "magic", 0, 4, 0, SIMPLER_EINVAL, "no callable payload" },
	{ "payload version", 4, 4, 1, SIMPLER_EVERSION, "version 1, this side has 2" },
	{ "kind 0", 8, 4, 0, SIMPLER_EINVAL, "unknown kind 0" },
	{ "kind 4", 8, 4, 4, SIMPLER_EINVAL, "unknown kind 4" },
	{ "large kind", 8, 4, 0x80000001, SIMPLER_EINVAL, "unknown kind" },
	{ "callable ABI", 12, 4, 9, SIMPLER_EVERSION, "ABI 9, this side has 1" },
	{ "source 0", 16, 4, 0, SIMPLER_EINVAL, "unknown source 0" },
	{ "source 3", 16, 4, 3, SIMPLER_EINVAL, "unknown source 3" },
	{ "a library without name", 16, 4, 2, SIMPLER_EINVAL, "no library's name" },
	{ "no name", 20, 4, 0, SIMPLER_EINVAL, "0 bytes, not 1 to 63" },
	{ "name too long", 20, 4, 64, SIMPLER_EINVAL, "64 bytes, not 1 to 63" },
	{ "huge name", 20, 4, 0xffffffff, SIMPLER_EINVAL, "not 1 to 63" },
	{ "library too long", 24, 4, 64, SIMPLER_EINVAL, "64 bytes, at most 63" },
	{ "huge library", 24, 4, 0xffffffff, SIMPLER_EINVAL, "at most 63" },
	{ "state too long", 28, 4, 65537, SIMPLER_EINVAL, "65537 bytes, at most 65536" },
	{ "huge state", 28, 4, 0xffffffff, SIMPLER_EINVAL, "at most 65536" },
	{ "module digest", 32, 8, 0, SIMPLER_EINVAL, "damaged" },
	{ "module too long", 64, 8, PAYLOAD_MODULE_MAX + 1, SIMPLER_EINVAL, "at most" },
	{ "huge module", 64, 8, UINT64_MAX, SIMPLER_EINVAL, "at most" },
	{ "module that wraps", 64, 8, UINT64_MAX - 70, SIMPLER_EINVAL, "at most" },
	{ "shorter module", 64, 8, 3, SIMPLER_EINVAL, "its lengths say" },
	{ "by digest, yet bytes", 64, 8, 0, SIMPLER_EINVAL, "its lengths say" },
	{ "half a signature", 72, 4, 48, SIMPLER_EINVAL, "48 bytes, not 96" },
	{ "huge signature", 72, 4, 0xffffffff, SIMPLER_EINVAL, "not 96" },
	{ "not zero", 76, 4, 7, SIMPLER_EINVAL, "7 where a zero belongs" },
	{ "a NUL in the name", 82, 1, 0, SIMPLER_EINVAL, "no identifier" },
	{ "a path for a name", 82, 1, '/', SIMPLER_EINVAL, "no identifier" },
	{ "a digit first", 80, 1, '1', SIMPLER_EINVAL, "no identifier" },
	{ "changed module", 80 + 10 + 5, 1, 'X', SIMPLER_EINVAL, "damaged" },
};

/* Of a library; its name begins behind a name of 5 bytes. */
static const struct change library_changes[] = {
	{ "a module with a library", 16, 4, 1, SIMPLER_EINVAL, "module has a library's name" },
	{ "a module's digest", 32, 1, 1, SIMPLER_EINVAL, "library has a module's digest" },
	{ "a way up", 85, 2, '.' | '.' << 8, SIMPLER_EINVAL, "no plain name" },
	{ "a hidden file", 85, 1, '.', SIMPLER_EINVAL, "no plain name" },
	{ "a path", 88, 1, '/', SIMPLER_EINVAL, "no plain name" },
	{ "a NUL in the library", 88, 1, 0, SIMPLER_EINVAL, "no plain name" },
	{ "a blank in the library", 88, 1, ' ', SIMPLER_EINVAL, "no plain name" },
};

static void expect_refused(const struct payload *payload, const struct change *change)
{
	struct payload decoded;
	size_t size;
	uint8_t *bytes = encoded(payload, &size);
	simpler_status status;

	for (size_t i = 0; i < change->size; i++)
		bytes[change->offset + i] = (uint8_t)(change->value >> (8 * i));
	status = payload_decode(bytes, size, &decoded);
	if (status != change->status)
		fail_msg("%s: %s", change->name, simpler_status_name(status));
	if (!strstr(simpler_last_error(), change->says))
		fail_msg("%s: %s", change->name, simpler_last_error());
	free(bytes);
}

static void bad_payloads_are_refused_with_the_reason(void **state)
{
	struct payload module = sample(true), library = sample_library();

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		expect_refused(&module, &changes[i]);
	for (size_t i = 0; i < sizeof(library_changes) / sizeof(library_changes[0]); i++)
		expect_refused(&library, &library_changes[i]);
}

static void nothing_at_all_is_no_payload(void **state)
{
	struct payload decoded;

	(void)state;
	assert_int_equal(payload_decode(NULL, 0, &decoded), SIMPLER_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_encoded_is_decoded),
		cmocka_unit_test(the_layout_is_the_documented_one),
		cmocka_unit_test(the_layout_of_a_library_is_the_documented_one),
		cmocka_unit_test(no_prefix_is_a_payload),
		cmocka_unit_test(trailing_bytes_are_an_error),
		cmocka_unit_test(bad_payloads_are_refused_with_the_reason),
		cmocka_unit_test(nothing_at_all_is_no_payload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
