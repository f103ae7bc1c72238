/* What the trial of a module, by simpler-host itself, finds out, and what it leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "module_image.h"
#include "node/trial.h"

#define PATIENCE_MS 30000

static simpler_status try_module(const char *name, uint64_t deadline_ms, struct error *outcome)
{
	struct engine_options options = { .program = getenv("SIMPLER_HOST"),
		                          .install_ms = deadline_ms };
	struct trial trial = TRIAL_NONE;
	int module = module_image(name);

	assert_int_equal(trial_start(&trial, &options, module), SIMPLER_OK);
	(void)close(module);
	while (!trial_finish(&trial, outcome)) {
		struct pollfd end = { .fd = trial.pidfd, .events = POLLIN };

		assert_int_equal(poll(&end, 1, PATIENCE_MS), 1);
	}
	assert_int_equal(trial.pidfd, -1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	return outcome->status;
}

static const struct {
	const char *module;
	simpler_status status;
	const char *says;
} cases[] = {
	{ "plain", SIMPLER_OK, NULL },
	{ "two_files", SIMPLER_OK, NULL },
	{ "needs_weak", SIMPLER_OK, NULL },
	{ "trial_crashes", SIMPLER_EINVAL, "loading it crashed: the process (pid " },
	{ "trial_crashes", SIMPLER_EINVAL, "was killed by signal 6" },
	{ "trial_exits", SIMPLER_EINVAL, "exited with status 3; a constructor returns" },
	{ "trial_kills_its_group", SIMPLER_EINVAL, "was killed by signal 9" },
	{ "trial_lowers_a_limit", SIMPLER_EINVAL,
	  "lowers the process's soft limit RLIMIT_NOFILE from " },
	{ "trial_lowers_a_limit", SIMPLER_EINVAL, " to 7; a constructor leaves limits as" },
	{ "trial_forgoes_core_dumps", SIMPLER_OK, NULL },
	{ "trial_ifunc", SIMPLER_EINVAL, "loading it crashed: " },
	{ "needs_absent", SIMPLER_EINVAL, "needs the library 'libabsent.so.3'" },
	{ "needs_future", SIMPLER_EINVAL, "needs 'GLIBC_9.99' of the library 'libc.so.6'" },
	{ "needs_newer", SIMPLER_EINVAL, "built against a newer version" },
	{ "undefined_symbol", SIMPLER_EINVAL, "'a_function_that_nobody_defines'" },
	{ "trial_lacks", SIMPLER_ENOTFOUND, "lacks the symbol 'simpler_entry_nowhere'" },
	{ "no_callables", SIMPLER_EINVAL, "declares no callables" },
};

static void what_loading_a_module_does_is_told_and_nothing_else_happens(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error outcome;

		if (try_module(cases[i].module, PATIENCE_MS, &outcome) != cases[i].status)
			fail_msg("%s: %s", cases[i].module, simpler_status_name(outcome.status));
		if (cases[i].says && !strstr(error_step(&outcome, 0), cases[i].says))
			fail_msg("%s: %s", cases[i].module, error_step(&outcome, 0));
	}
}

static const char *const endless[] = { "trial_hangs", "trial_stops" };

static void a_constructor_that_does_not_end_is_ended(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct error outcome;

		assert_int_equal(try_module(endless[i], 200, &outcome), SIMPLER_EINVAL);
		assert_string_equal(error_step(&outcome, 0),
		                    "loading it had not ended after 0.2 s: a constructor does not "
		                    "return, or stops the process");
	}
}

static void a_crash_is_told_with_the_calls_that_led_to_it(void **state)
{
	struct error outcome;
	bool named = false;

	(void)state;
	assert_int_equal(try_module("trial_crashes", PATIENCE_MS, &outcome), SIMPLER_EINVAL);
	for (size_t i = 1; i < outcome.steps; i++)
		named = named || (strstr(error_step(&outcome, i), "do_it") &&
		                  strstr(error_step(&outcome, i), "(module "));
	assert_true(named);
}

/* --- what a constructor leaves behind --- */

static int make_fifo(char *path, size_t size)
{
	int fifo;

	(void)snprintf(path, size, "/tmp/simpler-trial-%ld", (long)getpid());
	assert_int_equal(mkfifo(path, 0600), 0);
	fifo = open(path, O_RDONLY | O_NONBLOCK);
	assert_true(fifo >= 0);
	assert_int_equal(setenv("SIMPLER_TEST_FIFO", path, 1), 0);
	return fifo;
}

/* Whether nobody has it open for writing, whatever was written before. */
static bool has_no_writer(int fifo)
{
	char byte;
	ssize_t got;

	do
		got = read(fifo, &byte, 1);
	while (got > 0);
	return got == 0;
}

static void processes_that_a_constructor_started_are_gone_at_its_end(void **state)
{
	static const char *const modules[] = { "trial_leaves", "trial_leaves_and_hangs" };
	static const simpler_status statuses[] = { SIMPLER_OK, SIMPLER_EINVAL };
	char path[64];
	int fifo = make_fifo(path, sizeof(path));
	struct error outcome;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(try_module(modules[i], i == 0 ? PATIENCE_MS : 500, &outcome),
		                 statuses[i]);
		assert_true(has_no_writer(fifo));
	}
	(void)close(fifo);
	assert_int_equal(unlink(path), 0);
}

/* A front end that ends closes its end of the socket, however it ends. */
static void a_trial_that_nobody_waits_for_ends_with_all_it_has_started(void **state)
{
	struct engine_options options = { .program = getenv("SIMPLER_HOST"),
		                          .install_ms = PATIENCE_MS };
	struct trial trial = TRIAL_NONE;
	int module = module_image("trial_leaves_and_hangs");
	char path[64];
	int fifo = make_fifo(path, sizeof(path));
	struct pollfd started = { .fd = fifo, .events = POLLIN };

	(void)state;
	assert_int_equal(trial_start(&trial, &options, module), SIMPLER_OK);
	assert_int_equal(poll(&started, 1, PATIENCE_MS), 1);
	trial_abandon(&trial);
	assert_int_equal(trial.pidfd, -1);
	assert_true(has_no_writer(fifo));
	trial_abandon(&trial); /* there is none any more */
	(void)close(module);
	(void)close(fifo);
	assert_int_equal(unlink(path), 0);
}

static void a_program_that_cannot_be_executed_is_named(void **state)
{
	struct engine_options options = { .program = "/nonexistent/simpler-host",
		                          .install_ms = PATIENCE_MS };
	struct trial trial = TRIAL_NONE;
	int module = module_image("plain");

	(void)state;
	assert_int_equal(trial_start(&trial, &options, module), SIMPLER_ESYSTEM);
	assert_non_null(strstr(simpler_last_error(), "/nonexistent/simpler-host"));
	assert_int_equal(trial.pidfd, -1);
	(void)close(module);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_loading_a_module_does_is_told_and_nothing_else_happens),
		cmocka_unit_test(a_constructor_that_does_not_end_is_ended),
		cmocka_unit_test(a_crash_is_told_with_the_calls_that_led_to_it),
		cmocka_unit_test(processes_that_a_constructor_started_are_gone_at_its_end),
		cmocka_unit_test(a_trial_that_nobody_waits_for_ends_with_all_it_has_started),
		cmocka_unit_test(a_program_that_cannot_be_executed_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
