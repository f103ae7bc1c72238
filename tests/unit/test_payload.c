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
		.name = "accumulate",
		.state = { captured, sizeof(captured) },
	};

	assert_int_equal(digest_compute(module_bytes, sizeof(module_bytes), &payload.module),
	                 SIMPLER_OK);
	if (whole)
		payload.module_bytes = (simpler_bytes){ module_bytes, sizeof(module_bytes) };
	return payload;
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

static void expect_same(const struct payload *have, const struct payload *want)
{
	assert_int_equal(have->kind, want->kind);
	assert_int_equal(have->abi, want->abi);
	assert_memory_equal(&have->module, &want->module, sizeof(want->module));
	assert_string_equal(have->name, want->name);
	assert_int_equal(have->state.size, want->state.size);
	if (want->state.size)
		assert_memory_equal(have->state.data, want->state.data, want->state.size);
	assert_int_equal(have->module_bytes.size, want->module_bytes.size);
	if (want->module_bytes.size)
		assert_memory_equal(have->module_bytes.data, want->module_bytes.data,
		                    want->module_bytes.size);
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
	struct payload whole = sample(true), by_digest = sample(false), largest = sample(false);
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
	free(much);
}

/* The table in payload.h, so that other implementations can rely on it. */
static void the_layout_is_the_documented_one(void **state)
{
	struct payload payload = sample(false);
	size_t size;
	uint8_t *bytes = encoded(&payload, &size);
	static const uint8_t head[16] = { 'S', 'M', 'P', 'C', 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0 };
	static const uint8_t lengths[16] = { 10, 0, 0, 0, 5 };

	(void)state;
	assert_int_equal(size, 64 + 10 + 5);
	assert_memory_equal(bytes, head, sizeof(head));
	assert_memory_equal(bytes + 16, payload.module.bytes, 32);
	assert_memory_equal(bytes + 48, lengths, sizeof(lengths));
	assert_memory_equal(bytes + 64, "accumulate", 10);
	assert_memory_equal(bytes + 74, captured, 5);
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

static const struct {
	const char *name;
	size_t offset, size;
	uint64_t value;
	simpler_status status;
	const char *says;
} changes[] = {
	{ "magic", 0, 4, 0, SIMPLER_EINVAL, "no callable payload" },
	{ "payload version", 4, 4, 2, SIMPLER_EVERSION, "version 2, this side has 1" },
	{ "kind 0", 8, 4, 0, SIMPLER_EINVAL, "unknown kind 0" },
	{ "kind 4", 8, 4, 4, SIMPLER_EINVAL, "unknown kind 4" },
	{ "large kind", 8, 4, 0x80000001, SIMPLER_EINVAL, "unknown kind" },
	{ "callable ABI", 12, 4, 9, SIMPLER_EVERSION, "ABI 9, this side has 1" },
	{ "module digest", 16, 8, 0, SIMPLER_EINVAL, "damaged" },
	{ "no name", 48, 4, 0, SIMPLER_EINVAL, "0 bytes, not 1 to 63" },
	{ "name too long", 48, 4, 64, SIMPLER_EINVAL, "64 bytes, not 1 to 63" },
	{ "huge name", 48, 4, 0xffffffff, SIMPLER_EINVAL, "not 1 to 63" },
	{ "state too long", 52, 4, 65537, SIMPLER_EINVAL, "65537 bytes, at most 65536" },
	{ "huge state", 52, 4, 0xffffffff, SIMPLER_EINVAL, "at most 65536" },
	{ "module too long", 56, 8, MODULE_MAX_BYTES + 1, SIMPLER_EINVAL, "at most" },
	{ "huge module", 56, 8, UINT64_MAX, SIMPLER_EINVAL, "at most" },
	{ "module that wraps", 56, 8, UINT64_MAX - 70, SIMPLER_EINVAL, "at most" },
	{ "shorter module", 56, 8, 3, SIMPLER_EINVAL, "its lengths say" },
	{ "by digest, yet bytes", 56, 8, 0, SIMPLER_EINVAL, "its lengths say" },
	{ "a NUL in the name", 66, 1, 0, SIMPLER_EINVAL, "no identifier" },
	{ "a path for a name", 66, 1, '/', SIMPLER_EINVAL, "no identifier" },
	{ "a digit first", 64, 1, '1', SIMPLER_EINVAL, "no identifier" },
	{ "changed module", 64 + 10 + 5, 1, 'X', SIMPLER_EINVAL, "damaged" },
};

static void bad_payloads_are_refused_with_the_reason(void **state)
{
	struct payload payload = sample(true), decoded;

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		size_t size;
		uint8_t *bytes = encoded(&payload, &size);
		simpler_status status;

		for (size_t j = 0; j < changes[i].size; j++)
			bytes[changes[i].offset + j] = (uint8_t)(changes[i].value >> (8 * j));
		status = payload_decode(bytes, size, &decoded);
		if (status != changes[i].status)
			fail_msg("%s: %s", changes[i].name, simpler_status_name(status));
		if (!strstr(simpler_last_error(), changes[i].says))
			fail_msg("%s: %s", changes[i].name, simpler_last_error());
		free(bytes);
	}
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
		cmocka_unit_test(no_prefix_is_a_payload),
		cmocka_unit_test(trailing_bytes_are_an_error),
		cmocka_unit_test(bad_payloads_are_refused_with_the_reason),
		cmocka_unit_test(nothing_at_all_is_no_payload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
