/* Keys, signatures over modules, and the files in which both lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "catalog/hex.h"
#include "catalog/key.h"
#include "catalog/module_read.h"
#include "temporary_directory.h"

/* Made by openssl(1): "openssl pkey -pubout", and "openssl pkeyutl -sign -rawin" over the purpose,
 * its zero byte and the SHA-256 of "abc", with the private key 00 01 02 ... 1f. */
static const char vector_private[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
	"-----END PRIVATE KEY-----\n";
static const char vector_public[] = "-----BEGIN PUBLIC KEY-----\n"
				    "MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n"
				    "-----END PUBLIC KEY-----\n";
static const char vector_file[] =
	"simpler module signature 1\n"
	"module ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"
	"key 56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c\n"
	"signature "
	"0d9b3f0f60c562976a92855903eff88a1fca27259dbdf47ce61c46d4ef3b8551"
	"d6cb0528fd3ce6e7e0df42699fe9963505864e87389186aaf77c78773bb96501\n";

static struct temporary_directory directory;
static struct private_key vector;
static struct digest module;

static int set_up(void **state)
{
	(void)state;
	if (!temporary_directory_make(&directory) ||
	    !temporary_write(&directory, "vector.key", vector_private))
		return 1;
	if (key_read_private(temporary_path(&directory, "vector.key"), &vector) != SIMPLER_OK)
		return 1;
	return digest_compute("abc", 3, &module) == SIMPLER_OK ? 0 : 1;
}

static int tear_down(void **state)
{
	(void)state;
	temporary_directory_remove(&directory);
	return 0;
}

/* --- signing and verifying --- */

static void a_signature_is_the_one_that_openssl_makes(void **state)
{
	struct signature_file file = { .module = module };
	char text[SIGNATURE_TEXT_SIZE];

	(void)state;
	assert_int_equal(key_sign(&vector, &module, &file.signature), SIMPLER_OK);
	signature_file_write(&file, text);
	assert_int_equal(sizeof(text), strlen(vector_file));
	assert_memory_equal(text, vector_file, sizeof(text));
}

static void what_a_key_signed_its_public_half_verifies(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		struct private_key key, stranger;
		struct signature signature;

		assert_int_equal(key_generate(&key), SIMPLER_OK);
		assert_int_equal(key_generate(&stranger), SIMPLER_OK);
		assert_int_equal(key_sign(&key, &module, &signature), SIMPLER_OK);
		assert_true(key_verify(&key.pair, &module, &signature));
		assert_false(key_verify(&stranger.pair, &module, &signature));
	}
}

static void every_flipped_bit_spoils_it(void **state)
{
	struct signature signature;

	(void)state;
	assert_int_equal(key_sign(&vector, &module, &signature), SIMPLER_OK);
	for (size_t bit = 0; bit < 8 * sizeof(signature.ed25519); bit++) {
		struct signature flipped = signature;

		flipped.ed25519[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(key_verify(&vector.pair, &module, &flipped));
	}
	for (size_t bit = 0; bit < 8 * sizeof(module.bytes); bit++) {
		struct digest flipped = module;

		flipped.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(key_verify(&vector.pair, &flipped, &signature));
	}
	for (size_t bit = 0; bit < 8 * sizeof(vector.pair.bytes); bit++) {
		struct public_key flipped = vector.pair;

		flipped.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(key_verify(&flipped, &module, &signature));
	}
}

static void what_is_signed_begins_with_what_it_is_for(void **state)
{
	uint8_t message[SIGNATURE_MESSAGE_BYTES];

	(void)state;
	signature_message(&module, message);
	assert_int_equal(sizeof(message), 24 + 1 + 32);
	assert_memory_equal(message, "simpler.module.signature\0", 25);
	assert_memory_equal(message + 25, module.bytes, 32);
}

static void it_packs_into_96_bytes_and_back(void **state)
{
	struct signature signature, again;
	uint8_t bytes[SIGNATURE_BYTES];

	(void)state;
	assert_int_equal(sizeof(bytes), 96);
	assert_int_equal(key_sign(&vector, &module, &signature), SIMPLER_OK);
	signature_pack(&signature, bytes);
	assert_memory_equal(bytes, signature.key.bytes, 32);
	assert_memory_equal(bytes + 32, signature.ed25519, 64);
	assert_int_equal(signature_unpack((simpler_bytes){ bytes, sizeof(bytes) }, &again),
	                 SIMPLER_OK);
	assert_memory_equal(&again, &signature, sizeof(again));
	assert_int_equal(signature_unpack((simpler_bytes){ bytes, sizeof(bytes) - 1 }, &again),
	                 SIMPLER_EINVAL);
	assert_int_equal(signature_unpack((simpler_bytes){ NULL, 0 }, &again), SIMPLER_EINVAL);
}

/* --- the file beside a module --- */

static void a_signature_file_is_read_as_it_was_written(void **state)
{
	struct signature_file file;
	char text[SIGNATURE_TEXT_SIZE];

	(void)state;
	assert_int_equal(signature_file_parse(vector_file, strlen(vector_file), &file), SIMPLER_OK);
	assert_memory_equal(&file.module, &module, sizeof(module));
	assert_true(key_verify(&vector.pair, &file.module, &file.signature));
	signature_file_write(&file, text);
	assert_memory_equal(text, vector_file, sizeof(text));
}

static const struct {
	const char *name;
	size_t at, cut; /* replace one byte at `at`, or keep `cut` bytes */
	char with;
	simpler_status status;
	const char *told;
} broken_files[] = {
	{ "nothing", 0, 0, 0, SIMPLER_EINVAL, "first line" },
	{ "other text", 0, SIGNATURE_TEXT_SIZE, 'S', SIMPLER_EINVAL, "first line" },
	{ "half of the first line", 0, 13, 's', SIMPLER_EINVAL, "first line" },
	{ "a later version", 25, SIGNATURE_TEXT_SIZE, '2', SIMPLER_EVERSION, "version" },
	{ "a first line alone", 0, 27, 's', SIMPLER_EINVAL, "cut short" },
	{ "one byte less", 0, SIGNATURE_TEXT_SIZE - 1, 's', SIMPLER_EINVAL, "cut short" },
	{ "another word for the module", 27, SIGNATURE_TEXT_SIZE, 'M', SIMPLER_EINVAL, "line 2" },
	{ "no digit in the module", 40, SIGNATURE_TEXT_SIZE, 'g', SIMPLER_EINVAL, "line 2" },
	{ "an upper-case digit", 40, SIGNATURE_TEXT_SIZE, 'A', SIMPLER_EINVAL, "line 2" },
	{ "no digit in the key", 110, SIGNATURE_TEXT_SIZE, ' ', SIMPLER_EINVAL, "line 3" },
	{ "no line feed behind the key", 167, SIGNATURE_TEXT_SIZE, '0', SIMPLER_EINVAL, "line 3" },
	{ "a zero byte in the signature", 200, SIGNATURE_TEXT_SIZE, '\0', SIMPLER_EINVAL,
	  "line 4" },
	{ "another end", SIGNATURE_TEXT_SIZE - 1, SIGNATURE_TEXT_SIZE, ' ', SIMPLER_EINVAL,
	  "line 4" },
};

static void a_broken_signature_file_is_told_with_its_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(broken_files) / sizeof(broken_files[0]); i++) {
		struct signature_file file;
		char text[SIGNATURE_TEXT_SIZE];

		memcpy(text, vector_file, sizeof(text));
		text[broken_files[i].at] = broken_files[i].with;
		assert_int_equal(signature_file_parse(text, broken_files[i].cut, &file),
		                 broken_files[i].status);
		if (!strstr(simpler_last_error(), broken_files[i].told))
			fail_msg("%s: %s", broken_files[i].name, simpler_last_error());
	}
}

static void the_signature_beside_a_module_is_found_and_has_to_be_of_it(void **state)
{
	const char *path = temporary_path(&directory, "module.so");
	struct digest other = { { 1 } };
	struct signature signature;

	(void)state;
	assert_int_equal(module_read_signature(path, &module, &signature), SIMPLER_ENOTFOUND);
	assert_true(temporary_write(&directory, "module.so.sig", vector_file));
	assert_int_equal(module_read_signature(path, &module, &signature), SIMPLER_OK);
	assert_true(key_verify(&vector.pair, &module, &signature));
	assert_int_equal(module_read_signature(path, &other, &signature), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "module.so.sig' is the signature of other"));
	assert_true(temporary_write(&directory, "module.so.sig", "simpler module signature\n"));
	assert_int_equal(module_read_signature(path, &module, &signature), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "module.so.sig': this is no signature file"));
}

/* --- key files --- */

static void a_pair_of_key_files_is_written_and_read(void **state)
{
	struct private_key key, read_private;
	struct public_key read_public;
	struct digest id, again;
	struct stat found;

	(void)state;
	assert_int_equal(key_generate(&key), SIMPLER_OK);
	assert_int_equal(key_write_pair(&key, temporary_path(&directory, "new.key"),
	                                temporary_path(&directory, "new.pub")),
	                 SIMPLER_OK);
	assert_int_equal(stat(temporary_path(&directory, "new.key"), &found), 0);
	assert_int_equal(found.st_mode & 0777, 0600);
	assert_int_equal(key_read_private(temporary_path(&directory, "new.key"), &read_private),
	                 SIMPLER_OK);
	assert_int_equal(key_read_public(temporary_path(&directory, "new.pub"), &read_public),
	                 SIMPLER_OK);
	assert_memory_equal(&read_private, &key, sizeof(key));
	assert_memory_equal(&read_public, &key.pair, sizeof(read_public));
	assert_int_equal(key_id(&read_public, &id), SIMPLER_OK);
	assert_int_equal(digest_compute(key.pair.bytes, 32, &again), SIMPLER_OK);
	assert_memory_equal(&id, &again, sizeof(id));
	key_forget(&read_private);
	assert_memory_not_equal(&read_private, &key, sizeof(key));
}

static void keys_are_never_overwritten(void **state)
{
	struct public_key left;

	(void)state;
	assert_true(temporary_write(&directory, "kept.pub", vector_public));
	assert_int_equal(key_write_pair(&vector, temporary_path(&directory, "kept.key"),
	                                temporary_path(&directory, "kept.pub")),
	                 SIMPLER_EEXIST);
	assert_non_null(strstr(simpler_last_error(), "kept.pub"));
	/* And no half of a pair is left. */
	assert_int_not_equal(access(temporary_path(&directory, "kept.key"), F_OK), 0);
	assert_int_equal(key_read_public(temporary_path(&directory, "kept.pub"), &left),
	                 SIMPLER_OK);
	assert_memory_equal(&left, &vector.pair, sizeof(left));
	assert_int_equal(key_write_pair(&vector, temporary_path(&directory, "vector.key"),
	                                temporary_path(&directory, "other.pub")),
	                 SIMPLER_EEXIST);
	assert_non_null(strstr(simpler_last_error(), "vector.key"));
	assert_int_not_equal(access(temporary_path(&directory, "other.pub"), F_OK), 0);
}

/* An Ed448 key, and an Ed25519 key under a pass phrase. */
static const char ed448_public[] =
	"-----BEGIN PUBLIC KEY-----\n"
	"MEMwBQYDK2VxAzoAxRluJXmLQJG/lSAeNas7CjxL9w9hlbTiPbwYhJsjJXfdYLXt\n"
	"2su3lpIjGwRAJYK1dFGzcb+qe12A\n"
	"-----END PUBLIC KEY-----\n";
static const char encrypted_private[] =
	"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
	"MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAilp3650+eIlQICCAAw\n"
	"DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEENNxLgZKxH/cAfi/BKd1XL4EQE0O\n"
	"wCuXvovPeSk//IBiI+ZXw+wBLa+x2FHTxelhcT+BCgeVY9cIkvl9o/ktZYrF3hhH\n"
	"g7lxcuHORpSsesyIKzA=\n"
	"-----END ENCRYPTED PRIVATE KEY-----\n";

static void what_is_no_public_key_of_the_sort_is_refused(void **state)
{
	char twice[2 * sizeof(vector_public)];
	const char *const bad[] = { "", "-----BEGIN PUBLIC KEY-----\n", vector_private,
		                    ed448_public, twice };
	struct public_key key;

	(void)state;
	(void)snprintf(twice, sizeof(twice), "%s%s", vector_public, vector_public);
	assert_true(key_parse_public(vector_public, &key));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(key_parse_public(bad[i], &key));
}

static void a_file_that_is_no_key_is_named(void **state)
{
	static const struct {
		const char *name, *text;
		simpler_status status;
	} files[] = {
		{ "absent.key", NULL, SIMPLER_ENOTFOUND },
		{ "empty.key", "", SIMPLER_EINVAL },
		{ "public.key", vector_public, SIMPLER_EINVAL },
		{ "encrypted.key", encrypted_private, SIMPLER_EINVAL },
	};
	struct private_key key;
	struct public_key half;

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (files[i].text)
			assert_true(temporary_write(&directory, files[i].name, files[i].text));
		assert_int_equal(key_read_private(temporary_path(&directory, files[i].name), &key),
		                 files[i].status);
		assert_non_null(strstr(simpler_last_error(), files[i].name));
	}
	assert_int_equal(key_read_public(temporary_path(&directory, "vector.key"), &half),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "vector.key"));
	assert_int_equal(key_read_public(directory.path, &half), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "no regular file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signature_is_the_one_that_openssl_makes),
		cmocka_unit_test(what_a_key_signed_its_public_half_verifies),
		cmocka_unit_test(every_flipped_bit_spoils_it),
		cmocka_unit_test(what_is_signed_begins_with_what_it_is_for),
		cmocka_unit_test(it_packs_into_96_bytes_and_back),
		cmocka_unit_test(a_signature_file_is_read_as_it_was_written),
		cmocka_unit_test(a_broken_signature_file_is_told_with_its_line),
		cmocka_unit_test(the_signature_beside_a_module_is_found_and_has_to_be_of_it),
		cmocka_unit_test(a_pair_of_key_files_is_written_and_read),
		cmocka_unit_test(keys_are_never_overwritten),
		cmocka_unit_test(what_is_no_public_key_of_the_sort_is_refused),
		cmocka_unit_test(a_file_that_is_no_key_is_named),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
