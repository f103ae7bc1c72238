/* Whose code is taken in: every sort of subject under every mode, and a trust directory in the
 * course of its life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "catalog/policy.h"
#include "catalog/trust.h"
#include "temporary_directory.h"

static struct temporary_directory directory;
/* Of the first two the public halves are in the directory, and the second is revoked there. */
static struct private_key trusted, withdrawn, stranger;
static struct digest module, other_module, bad_module;
static char good_list[512];

static void hex_of_key(const struct private_key *key, char out[DIGEST_HEX_BYTES])
{
	struct digest id;

	assert_int_equal(key_id(&key->pair, &id), SIMPLER_OK);
	digest_hex(&id, out);
}

static void add_key(const struct private_key *key, const char *name)
{
	char public_name[64], private_name[64];

	(void)snprintf(public_name, sizeof(public_name), "%s.pub", name);
	(void)snprintf(private_name, sizeof(private_name), "%s.key", name);
	assert_int_equal(key_write_pair(key, temporary_path(&directory, private_name),
	                                temporary_path(&directory, public_name)),
	                 SIMPLER_OK);
}

static void revoke(const char *text)
{
	assert_true(temporary_write(&directory, "revoked", text));
	assert_int_equal(chmod(temporary_path(&directory, "revoked"), 0644), 0);
}

static int set_up(void **state)
{
	char key[DIGEST_HEX_BYTES], revoked[DIGEST_HEX_BYTES];

	(void)state;
	assert_true(temporary_directory_make(&directory));
	assert_int_equal(key_generate(&trusted), SIMPLER_OK);
	assert_int_equal(key_generate(&withdrawn), SIMPLER_OK);
	assert_int_equal(key_generate(&stranger), SIMPLER_OK);
	assert_int_equal(digest_compute("module", 6, &module), SIMPLER_OK);
	assert_int_equal(digest_compute("another", 7, &other_module), SIMPLER_OK);
	assert_int_equal(digest_compute("bad", 3, &bad_module), SIMPLER_OK);
	add_key(&trusted, "trusted");
	add_key(&withdrawn, "withdrawn");
	hex_of_key(&withdrawn, key);
	digest_hex(&bad_module, revoked);
	(void)snprintf(good_list, sizeof(good_list),
	               "# lost on a train\nkey %s\n\nmodule %s  \r\n# the end", key, revoked);
	revoke(good_list);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	temporary_directory_remove(&directory);
	return 0;
}

/* --- every sort of subject under every mode --- */

enum sort {
	UNSIGNED,
	SIGNED,
	OF_ANOTHER_MODULE,    /* a good signature, of other bytes */
	DAMAGED,              /* one bit of it */
	IN_ANOTHERS_NAME,     /* of a stranger who says that it is the trusted key's */
	BY_STRANGER,          /* of a key that is not in the directory */
	BY_WITHDRAWN,         /* of a revoked key */
	REVOKED_AND_UNSIGNED, /* a revoked module */
	REVOKED_AND_SIGNED,
	LIBRARY,
	UNREAD_LIBRARY, /* whose bytes nobody has looked at yet */
	REVOKED_LIBRARY,
};

struct made {
	struct policy_subject subject;
	uint8_t signature[SIGNATURE_BYTES];
};

static void sign(const struct private_key *key, const struct digest *what, struct made *out)
{
	struct signature signature;

	assert_int_equal(key_sign(key, what, &signature), SIMPLER_OK);
	signature_pack(&signature, out->signature);
	out->subject.signature = (simpler_bytes){ out->signature, sizeof(out->signature) };
}

static void make(enum sort sort, struct made *out)
{
	struct digest id;

	*out = (struct made){ .subject.digest = &module };
	switch (sort) {
	case UNSIGNED:
		break;
	case OF_ANOTHER_MODULE:
		sign(&trusted, &other_module, out);
		break;
	case DAMAGED:
		sign(&trusted, &module, out);
		out->signature[SIGNATURE_BYTES - 20] ^= 4;
		break;
	case IN_ANOTHERS_NAME:
		sign(&stranger, &module, out);
		assert_int_equal(key_id(&trusted.pair, &id), SIMPLER_OK);
		memcpy(out->signature, id.bytes, sizeof(id.bytes));
		break;
	case BY_STRANGER:
		sign(&stranger, &module, out);
		break;
	case BY_WITHDRAWN:
		sign(&withdrawn, &module, out);
		break;
	case REVOKED_AND_SIGNED:
		sign(&trusted, &bad_module, out);
		out->subject.digest = &bad_module;
		break;
	case REVOKED_AND_UNSIGNED:
		out->subject.digest = &bad_module;
		break;
	case UNREAD_LIBRARY:
		out->subject = (struct policy_subject){ .library = "kernels" };
		break;
	case LIBRARY:
		out->subject.library = "kernels";
		break;
	case REVOKED_LIBRARY:
		out->subject = (struct policy_subject){ "kernels", &bad_module, { NULL, 0 } };
		break;
	default:
		sign(&trusted, &module, out);
	}
}

/* What the refusal says under none, named, signed and any; NULL: it passes. */
static const struct {
	const char *name;
	enum sort sort;
	const char *refused[4];
} cases[] = {
	{ "an unsigned module",
	  UNSIGNED,
	  { "--code none", "--code named", "is not signed", NULL } },
	{ "a signed module", SIGNED, { "--code none", "--code named", NULL, NULL } },
	{ "a signature of another module",
	  OF_ANOTHER_MODULE,
	  { "--code none", "--code named", "of other bytes or was damaged", NULL } },
	{ "a damaged signature",
	  DAMAGED,
	  { "--code none", "--code named", "of other bytes or was damaged", NULL } },
	{ "a signature in another's name",
	  IN_ANOTHERS_NAME,
	  { "--code none", "--code named", "of other bytes or was damaged", NULL } },
	{ "a key that is not trusted",
	  BY_STRANGER,
	  { "--code none", "--code named", "does not trust", NULL } },
	{ "a revoked key",
	  BY_WITHDRAWN,
	  { "is revoked", "is revoked", "is revoked", "is revoked" } },
	{ "a revoked module",
	  REVOKED_AND_UNSIGNED,
	  { "is revoked", "is revoked", "is revoked", "is revoked" } },
	{ "a revoked module, signed",
	  REVOKED_AND_SIGNED,
	  { "is revoked", "is revoked", "is revoked", "is revoked" } },
	{ "a library", LIBRARY, { "--code none", NULL, NULL, NULL } },
	{ "a library that nobody read", UNREAD_LIBRARY, { "--code none", NULL, NULL, NULL } },
	{ "a revoked library",
	  REVOKED_LIBRARY,
	  { "is revoked", "is revoked", "is revoked", "is revoked" } },
};

/* What to say to whoever reads it: what it is about, and of which key. */
static void assert_names_all(const struct made *made)
{
	char hex[DIGEST_HEX_BYTES];
	struct signature signature;

	if (made->subject.library)
		assert_non_null(strstr(simpler_last_error(), "library 'kernels'"));
	if (made->subject.digest) {
		digest_hex(made->subject.digest, hex);
		assert_non_null(strstr(simpler_last_error(), hex));
	}
	if (strstr(simpler_last_error(), "key")) {
		if (made->subject.signature.size == 0)
			return;
		assert_int_equal(signature_unpack(made->subject.signature, &signature), SIMPLER_OK);
		digest_hex(&signature.key, hex);
		if (strstr(simpler_last_error(), "signed by key"))
			assert_non_null(strstr(simpler_last_error(), hex));
	}
}

static void check_case(enum policy_mode mode, size_t index)
{
	const char *refused = cases[index].refused[mode];
	struct policy *policy;
	struct made made;
	simpler_status status;

	make(cases[index].sort, &made);
	assert_int_equal(policy_create(mode, directory.path, &policy), SIMPLER_OK);
	status = policy_check(policy, &made.subject);
	if (status != (refused ? SIMPLER_EPERM : SIMPLER_OK) ||
	    (refused && !strstr(simpler_last_error(), refused)))
		fail_msg("%s under %s: %s", cases[index].name, policy_mode_name(mode),
		         status ? simpler_last_error() : "passes");
	if (refused)
		assert_names_all(&made);
	policy_destroy(policy);
}

static void R18_every_sort_of_code_is_judged_by_every_mode(void **state)
{
	(void)state;
	for (int mode = POLICY_NONE; mode <= POLICY_ANY; mode++) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			check_case((enum policy_mode)mode, i);
	}
}

static void without_a_trust_directory_nothing_is_revoked(void **state)
{
	struct policy *policy;
	struct made made;

	(void)state;
	assert_int_equal(policy_create(POLICY_ANY, NULL, &policy), SIMPLER_OK);
	make(REVOKED_AND_UNSIGNED, &made);
	assert_int_equal(policy_check(policy, &made.subject), SIMPLER_OK);
	policy_destroy(policy);
}

static void modes_have_names(void **state)
{
	(void)state;
	for (int mode = POLICY_NONE; mode <= POLICY_ANY; mode++) {
		enum policy_mode parsed;

		assert_true(policy_parse_mode(policy_mode_name((enum policy_mode)mode), &parsed));
		assert_int_equal(parsed, mode);
	}
}

/* --- the directory's life --- */

struct watched {
	struct policy *policy;
	struct made by_stranger, signed_well;
};

static void watch(struct watched *watched)
{
	assert_int_equal(policy_create(POLICY_SIGNED, directory.path, &watched->policy),
	                 SIMPLER_OK);
	make(BY_STRANGER, &watched->by_stranger);
	make(SIGNED, &watched->signed_well);
}

static void assert_refused(struct policy *policy, const struct made *made, const char *text)
{
	assert_int_equal(policy_check(policy, &made->subject), SIMPLER_EPERM);
	if (!strstr(simpler_last_error(), text))
		fail_msg("no '%s' in: %s", text, simpler_last_error());
}

static void R18_a_key_counts_from_when_its_file_is_there(void **state)
{
	struct watched watched;

	(void)state;
	watch(&watched);
	assert_refused(watched.policy, &watched.by_stranger, "does not trust");
	add_key(&stranger, "stranger");
	assert_int_equal(policy_check(watched.policy, &watched.by_stranger.subject), SIMPLER_OK);
	assert_int_equal(unlink(temporary_path(&directory, "stranger.pub")), 0);
	assert_refused(watched.policy, &watched.by_stranger, "does not trust");
	assert_int_equal(policy_check(watched.policy, &watched.signed_well.subject), SIMPLER_OK);
	assert_int_equal(unlink(temporary_path(&directory, "stranger.key")), 0);
	policy_destroy(watched.policy);
}

static void R18_what_is_revoked_is_refused_from_then_on(void **state)
{
	char text[2048], hex[DIGEST_HEX_BYTES];
	struct watched watched;

	(void)state;
	watch(&watched);
	assert_int_equal(policy_check(watched.policy, &watched.signed_well.subject), SIMPLER_OK);
	digest_hex(&module, hex);
	(void)snprintf(text, sizeof(text), "%s\nmodule %s\n", good_list, hex);
	revoke(text);
	assert_refused(watched.policy, &watched.signed_well, "is revoked");
	revoke(good_list);
	assert_int_equal(policy_check(watched.policy, &watched.signed_well.subject), SIMPLER_OK);
	hex_of_key(&trusted, hex);
	(void)snprintf(text, sizeof(text), "key %s\n", hex);
	revoke(text);
	assert_refused(watched.policy, &watched.signed_well, "is revoked");
	revoke(good_list);
	policy_destroy(watched.policy);
}

/* Whatever happens to the directory, nobody passes who would not have. */
static void a_directory_that_breaks_lets_nobody_pass_until_it_is_whole_again(void **state)
{
	struct watched watched;

	(void)state;
	watch(&watched);
	revoke("everything\n");
	assert_refused(watched.policy, &watched.signed_well, "its log says why");
	assert_refused(watched.policy, &watched.signed_well, "its log says why");
	revoke(good_list);
	assert_int_equal(policy_check(watched.policy, &watched.signed_well.subject), SIMPLER_OK);
	assert_true(temporary_write(&directory, "broken.pub", "no key\n"));
	assert_refused(watched.policy, &watched.signed_well, "its log says why");
	assert_int_equal(unlink(temporary_path(&directory, "broken.pub")), 0);
	assert_int_equal(policy_check(watched.policy, &watched.signed_well.subject), SIMPLER_OK);
	assert_int_equal(chmod(temporary_path(&directory, "trusted.pub"), 0666), 0);
	assert_refused(watched.policy, &watched.signed_well, "its log says why");
	assert_int_equal(chmod(temporary_path(&directory, "trusted.pub"), 0644), 0);
	assert_int_equal(policy_check(watched.policy, &watched.signed_well.subject), SIMPLER_OK);
	policy_destroy(watched.policy);
}

static void a_broken_directory_stops_even_the_mode_that_takes_all(void **state)
{
	struct policy *policy;
	struct made made;

	(void)state;
	make(UNSIGNED, &made);
	assert_int_equal(policy_create(POLICY_ANY, directory.path, &policy), SIMPLER_OK);
	assert_int_equal(policy_check(policy, &made.subject), SIMPLER_OK);
	revoke("key 12\n");
	assert_refused(policy, &made, "its log says why");
	revoke(good_list);
	assert_int_equal(policy_check(policy, &made.subject), SIMPLER_OK);
	policy_destroy(policy);
}

/* --- what is refused at the start --- */

static const struct {
	const char *file, *text;
	mode_t mode; /* of the file; 0: of the directory, which others can write to */
	simpler_status status;
	const char *told[2];
} starts[] = {
	{ "none.pub", "", 0644, SIMPLER_EINVAL, { "none.pub", "simpler key new" } },
	{ "none.pub", "-----BEGIN PUBLIC KEY-----\n", 0644, SIMPLER_EINVAL, { "none.pub" } },
	{ "revoked", "module 1234\n", 0644, SIMPLER_EINVAL, { "revoked", "line 1" } },
	{ "revoked", "# fine\n\nmodul 1234\n", 0644, SIMPLER_EINVAL, { "revoked", "line 3" } },
	{ "revoked", "# fine\n", 0666, SIMPLER_EPERM, { "revoked", "chmod go-w" } },
	{ "revoked", "# fine\n", 0664, SIMPLER_EPERM, { "revoked", "chmod go-w" } },
	{ "README", "no key\n", 0, SIMPLER_EPERM, { "simpler-test", "chmod go-w" } },
};

static void a_bad_trust_directory_is_refused_at_the_start(void **state)
{
	struct temporary_directory bad;

	(void)state;
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		struct policy *policy;
		mode_t mode = starts[i].mode;

		assert_true(temporary_directory_make(&bad));
		assert_true(temporary_write(&bad, starts[i].file, starts[i].text));
		assert_int_equal(mode ? chmod(temporary_path(&bad, starts[i].file), mode)
		                      : chmod(bad.path, 0777),
		                 0);
		assert_int_equal(policy_create(POLICY_ANY, bad.path, &policy), starts[i].status);
		for (size_t j = 0; j < 2 && starts[i].told[j]; j++)
			assert_non_null(strstr(simpler_last_error(), starts[i].told[j]));
		temporary_directory_remove(&bad);
	}
}

static void a_trust_directory_that_is_none_is_named(void **state)
{
	struct policy *policy;

	(void)state;
	assert_int_equal(policy_create(POLICY_ANY, temporary_path(&directory, "absent"), &policy),
	                 SIMPLER_ESYSTEM);
	assert_non_null(strstr(simpler_last_error(), "absent"));
	assert_int_equal(
		policy_create(POLICY_ANY, temporary_path(&directory, "trusted.pub"), &policy),
		SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "no directory"));
}

/* A list that is not there is an empty one; a link that leads nowhere is a mistake. */
static void a_link_to_a_list_that_is_gone_revokes_more_than_nothing(void **state)
{
	struct temporary_directory linked;
	struct policy *policy;

	(void)state;
	assert_true(temporary_directory_make(&linked));
	assert_int_equal(policy_create(POLICY_ANY, linked.path, &policy), SIMPLER_OK);
	policy_destroy(policy);
	assert_int_equal(symlink("gone", temporary_path(&linked, "revoked")), 0);
	assert_int_not_equal(policy_create(POLICY_ANY, linked.path, &policy), SIMPLER_OK);
	assert_non_null(strstr(simpler_last_error(), "revoked"));
	temporary_directory_remove(&linked);
}

static void files_of_another_user_are_refused(void **state)
{
	struct temporary_directory foreign;
	struct policy *policy;

	(void)state;
	if (geteuid() != 0)
		skip(); /* only root can give a file away */
	assert_true(temporary_directory_make(&foreign));
	assert_true(temporary_write(&foreign, "revoked", ""));
	assert_int_equal(chown(temporary_path(&foreign, "revoked"), 12345, 0), 0);
	assert_int_equal(policy_create(POLICY_ANY, foreign.path, &policy), SIMPLER_EPERM);
	assert_non_null(strstr(simpler_last_error(), "belongs to user 12345"));
	temporary_directory_remove(&foreign);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(R18_every_sort_of_code_is_judged_by_every_mode),
		cmocka_unit_test(without_a_trust_directory_nothing_is_revoked),
		cmocka_unit_test(modes_have_names),
		cmocka_unit_test(R18_a_key_counts_from_when_its_file_is_there),
		cmocka_unit_test(R18_what_is_revoked_is_refused_from_then_on),
		cmocka_unit_test(a_directory_that_breaks_lets_nobody_pass_until_it_is_whole_again),
		cmocka_unit_test(a_broken_directory_stops_even_the_mode_that_takes_all),
		cmocka_unit_test(a_bad_trust_directory_is_refused_at_the_start),
		cmocka_unit_test(a_trust_directory_that_is_none_is_named),
		cmocka_unit_test(a_link_to_a_list_that_is_gone_revokes_more_than_nothing),
		cmocka_unit_test(files_of_another_user_are_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
