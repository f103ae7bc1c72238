#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "catalog/digest.h"

/* FIPS 180-4 examples. */
static const struct {
	const char *text, *hex;
} plain[] = {
	{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
	{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
	{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};

static const struct {
	int kind;
	uint32_t abi;
	enum origin_source source;
	const char *origin; /* the module's bytes, the library's name, or a program's build id */
	uint64_t offset;
	const char *name;
	unsigned first;
	size_t size;
	const char *object_hex, *hex;
	uint64_t version, id;
} vectors[] = {
#include "../vectors/callable_digest.inc"
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void plain_digests_are_sha256(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(plain); i++) {
		struct digest digest;
		char text[DIGEST_HEX_BYTES];

		assert_int_equal(digest_compute(plain[i].text, strlen(plain[i].text), &digest),
		                 SIMPLER_OK);
		digest_hex(&digest, text);
		assert_string_equal(text, plain[i].hex);
	}
}

static void no_bytes_at_all_have_a_digest(void **state)
{
	struct digest digest;
	char text[DIGEST_HEX_BYTES];

	(void)state;
	assert_int_equal(digest_compute(NULL, 0, &digest), SIMPLER_OK);
	digest_hex(&digest, text);
	assert_string_equal(text, plain[0].hex);
}

static uint8_t *make_state(unsigned first, size_t size)
{
	uint8_t *bytes = malloc(size + 1);

	assert_non_null(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(first + i);
	return bytes;
}

static struct origin make_origin(size_t i)
{
	struct origin origin = { .source = vectors[i].source, .offset = vectors[i].offset };
	const char *from = vectors[i].origin;
	char text[DIGEST_HEX_BYTES];

	switch (origin.source) {
	case ORIGIN_LIBRARY:
		memcpy(origin.library, from, strlen(from) + 1);
		break;
	case ORIGIN_MODULE:
		assert_int_equal(digest_compute(from, strlen(from), &origin.module), SIMPLER_OK);
		digest_hex(&origin.module, text);
		assert_string_equal(text, vectors[i].object_hex);
		break;
	case ORIGIN_PROGRAM:
		for (size_t at = 0; at < sizeof(origin.object.bytes); at++) {
			memcpy(text, vectors[i].object_hex + 2 * at, 2);
			text[2] = '\0';
			origin.object.bytes[at] = (uint8_t)strtoul(text, NULL, 16);
		}
		break;
	}
	return origin;
}

static void callables_have_the_digests_of_the_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		uint8_t *captured = make_state(vectors[i].first, vectors[i].size);
		struct origin origin = make_origin(i);
		struct digest digest;
		char text[DIGEST_HEX_BYTES];

		assert_int_equal(digest_callable((simpler_kind)vectors[i].kind, vectors[i].abi,
		                                 &origin, vectors[i].name,
		                                 (simpler_bytes){ captured, vectors[i].size },
		                                 &digest),
		                 SIMPLER_OK);
		digest_hex(&digest, text);
		assert_string_equal(text, vectors[i].hex);
		assert_true(digest_version(&digest) == vectors[i].version);
		assert_true(digest_id(&digest) == vectors[i].id);
		free(captured);
	}
}

static void id_0_is_made_1(void **state)
{
	struct digest digest = { { 5 } };

	(void)state;
	assert_true(digest_version(&digest) == 5);
	assert_true(digest_id(&digest) == 1);
}

static void short_text_is_the_first_16_digits(void **state)
{
	struct digest digest = { { 0x90, 0xaa, 0x17, 0x1c, 0xb2, 0x0d, 0x45, 0xef, 0xff } };
	char text[17];

	(void)state;
	digest_short(&digest, text);
	assert_string_equal(text, "90aa171cb20d45ef");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_digests_are_sha256),
		cmocka_unit_test(no_bytes_at_all_have_a_digest),
		cmocka_unit_test(callables_have_the_digests_of_the_vectors),
		cmocka_unit_test(id_0_is_made_1),
		cmocka_unit_test(short_text_is_the_first_16_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
