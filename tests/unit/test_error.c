/* How errors are told: base/error.h, simpler/status.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "base/error.h"

/* --- statuses --- */

static void every_status_has_its_name_and_a_text(void **state)
{
	(void)state;
	assert_string_equal(simpler_status_name(SIMPLER_OK), "SIMPLER_OK");
	assert_string_equal(simpler_status_name(SIMPLER_ESTALE), "SIMPLER_ESTALE");
	assert_string_equal(simpler_status_name(SIMPLER_EINTERNAL), "SIMPLER_EINTERNAL");
	assert_string_equal(simpler_status_text(SIMPLER_EDEADLINE), "the deadline passed");
	for (int i = SIMPLER_OK; i <= SIMPLER_EINTERNAL; i++) {
		assert_memory_equal(simpler_status_name((simpler_status)i), "SIMPLER_", 8);
		assert_true(strlen(simpler_status_text((simpler_status)i)) > 0);
	}
}

static void a_status_that_is_none_still_has_a_name(void **state)
{
	static const int strange[] = { -1, INT32_MIN, SIMPLER_EINTERNAL + 1, 999, 1000, INT32_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		assert_non_null(simpler_status_name((simpler_status)strange[i]));
		assert_non_null(simpler_status_text((simpler_status)strange[i]));
	}
	assert_string_equal(simpler_status_name((simpler_status)1234), "a status of user code");
}

/* --- chains --- */

static void the_chain_reads_from_the_outermost_step_to_the_cause(void **state)
{
	(void)state;
	assert_int_equal(error_raise(SIMPLER_EINVAL, "expected %d rows", 3), SIMPLER_EINVAL);
	assert_string_equal(simpler_last_error(), "SIMPLER_EINVAL: expected 3 rows");
	assert_int_equal(error_context("task %d", 1), SIMPLER_EINVAL);
	assert_int_equal(error_context("run 7 failed"), SIMPLER_EINVAL);
	assert_int_equal(simpler_last_status(), SIMPLER_EINVAL);
	assert_string_equal(simpler_last_error(), "run 7 failed\n"
	                                          "  task 1\n"
	                                          "  cause: SIMPLER_EINVAL: expected 3 rows");
	assert_string_equal(simpler_last_error_step(0), "expected 3 rows");
	assert_string_equal(simpler_last_error_step(2), "run 7 failed");
	assert_null(simpler_last_error_step(3));
}

static void raising_begins_a_new_chain(void **state)
{
	(void)state;
	error_raise(SIMPLER_EINVAL, "first");
	error_context("around it");
	error_raise(SIMPLER_ENOMEM, "second");
	assert_string_equal(simpler_last_error(), "SIMPLER_ENOMEM: second");
	assert_null(simpler_last_error_step(1));
}

static void an_error_of_the_system_says_which(void **state)
{
	(void)state;
	assert_int_equal(error_raise_errno(SIMPLER_ESYSTEM, ENOENT, "opening '%s'", "/x"),
	                 SIMPLER_ESYSTEM);
	assert_string_equal(simpler_last_error_step(0), "opening '/x': No such file or directory");
}

static void clearing_leaves_nothing(void **state)
{
	(void)state;
	error_raise(SIMPLER_EINVAL, "something");
	error_clear();
	assert_int_equal(simpler_last_status(), SIMPLER_OK);
	assert_string_equal(simpler_last_error(), "");
	assert_null(simpler_last_error_step(0));
}

static void a_message_over_the_limit_is_cut_and_says_so(void **state)
{
	char text[2 * ERROR_STEP_BYTES];
	const char *step;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	simpler_fail(SIMPLER_EUSER, "%s", text);
	step = simpler_last_error_step(0);
	assert_int_equal(strlen(step), ERROR_STEP_BYTES - 1);
	assert_string_equal(step + strlen(step) - 4, "x...");
}

static void a_full_chain_keeps_the_cause_and_drops_outer_steps(void **state)
{
	struct error error;
	char text[ERROR_STEP_BYTES];

	(void)state;
	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_init(&error, SIMPLER_EINVAL, "the cause");
	for (int i = 0; i < 3 * ERROR_MAX_STEPS; i++)
		error_add(&error, "step %d", i);
	assert_int_equal(error.steps, ERROR_MAX_STEPS);
	assert_string_equal(error_step(&error, 0), "the cause");
	error_init(&error, SIMPLER_EINVAL, "the cause");
	for (int i = 0; i < ERROR_MAX_STEPS; i++)
		error_add(&error, "%s", text);
	assert_int_equal(error.steps, 3);
	assert_true(error.used <= ERROR_TEXT_BYTES);
	assert_string_equal(error_step(&error, 0), "the cause");
	assert_null(error_step(&error, error.steps));
}

static void the_longest_chain_is_rendered_whole(void **state)
{
	struct error error;
	const char *rendered;

	(void)state;
	error_init(&error, SIMPLER_EUNAVAILABLE, "%0150d", 1);
	for (int i = 1; i < ERROR_MAX_STEPS; i++)
		error_add(&error, "%0150d", 1);
	assert_int_equal(error_restore(&error), SIMPLER_EUNAVAILABLE);
	rendered = simpler_last_error();
	assert_int_equal(rendered[strlen(rendered) - 1], '1');
	assert_non_null(strstr(rendered, "cause: SIMPLER_EUNAVAILABLE: 000"));
}

/* --- values --- */

static void a_saved_chain_comes_back_as_it_was(void **state)
{
	struct error saved;

	(void)state;
	error_raise(SIMPLER_ECRASHED, "killed by signal 11");
	error_context("task 4");
	error_save(&saved);
	error_raise(SIMPLER_EINVAL, "something else");
	assert_int_equal(error_restore(&saved), SIMPLER_ECRASHED);
	assert_string_equal(simpler_last_error(),
	                    "task 4\n  cause: SIMPLER_ECRASHED: killed by signal 11");
}

static void what_another_process_sent_is_made_harmless(void **state)
{
	static const char hostile[] = "a\nb\x1b[2Jc\x7f%s\0d";
	char longer[3 * ERROR_STEP_BYTES];
	struct error error;

	(void)state;
	memset(longer, 'z', sizeof(longer));
	error_init(&error, SIMPLER_EUSER, "cause");
	error_add_untrusted(&error, hostile, sizeof(hostile) - 1);
	error_add_untrusted(&error, longer, sizeof(longer));
	error_add_untrusted(&error, longer, 0);
	assert_string_equal(error_step(&error, 1), "a b [2Jc %s d");
	assert_int_equal(strlen(error_step(&error, 2)), ERROR_STEP_BYTES - 1);
	assert_string_equal(error_step(&error, 3), "");
}

/* --- user code --- */

static void user_code_fails_with_its_own_status_and_words(void **state)
{
	(void)state;
	assert_int_equal(simpler_fail((simpler_status)1007, "row %d is empty", 3), 1007);
	assert_string_equal(simpler_last_error(), "a status of user code: row 3 is empty");
	assert_int_equal(simpler_fail(SIMPLER_OK, "by mistake"), SIMPLER_EUSER);
}

static void *look_at_another_thread(void *argument)
{
	(void)argument;
	return simpler_last_status() == SIMPLER_OK && simpler_last_error()[0] == '\0' ? argument
	                                                                              : NULL;
}

static void each_thread_has_its_own_error(void **state)
{
	char marker;
	pthread_t thread;
	void *result;

	(void)state;
	error_raise(SIMPLER_EINVAL, "of this thread");
	assert_int_equal(pthread_create(&thread, NULL, look_at_another_thread, &marker), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &marker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status_has_its_name_and_a_text),
		cmocka_unit_test(a_status_that_is_none_still_has_a_name),
		cmocka_unit_test(the_chain_reads_from_the_outermost_step_to_the_cause),
		cmocka_unit_test(raising_begins_a_new_chain),
		cmocka_unit_test(an_error_of_the_system_says_which),
		cmocka_unit_test(clearing_leaves_nothing),
		cmocka_unit_test(a_message_over_the_limit_is_cut_and_says_so),
		cmocka_unit_test(a_full_chain_keeps_the_cause_and_drops_outer_steps),
		cmocka_unit_test(the_longest_chain_is_rendered_whole),
		cmocka_unit_test(a_saved_chain_comes_back_as_it_was),
		cmocka_unit_test(what_another_process_sent_is_made_harmless),
		cmocka_unit_test(user_code_fails_with_its_own_status_and_words),
		cmocka_unit_test(each_thread_has_its_own_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
