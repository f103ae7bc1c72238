/* The small things that everything stands on: log, clock, bump allocator, checked arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <unistd.h>

#include "base/bump.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "simpler/callable.h"
#include "simpler/version.h"

/* --- checked arithmetic --- */

static void arithmetic_says_when_the_result_does_not_fit(void **state)
{
	static const struct {
		uint64_t a, b;
		bool sum_fits, product_fits;
	} cases[] = {
		{ 0, 0, true, true },
		{ UINT64_MAX, 0, true, true },
		{ 0, UINT64_MAX, true, true },
		{ UINT64_MAX, 1, false, true },
		{ UINT64_MAX - 1, 1, true, true },
		{ UINT64_C(1) << 32, UINT64_C(1) << 32, true, false },
		{ UINT64_C(1) << 32, UINT32_MAX, true, true },
		{ UINT64_MAX, UINT64_MAX, false, false },
		{ UINT64_MAX / 3, 3, true, true },
		{ UINT64_MAX / 3 + 1, 3, true, false },
	};
	uint64_t result;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(checked_add(cases[i].a, cases[i].b, &result), cases[i].sum_fits);
		assert_true(!cases[i].sum_fits || result - cases[i].b == cases[i].a);
		assert_int_equal(checked_mul(cases[i].a, cases[i].b, &result),
		                 cases[i].product_fits);
		assert_true(!cases[i].product_fits || result == cases[i].a * cases[i].b);
	}
}

static void aligning_rounds_up_or_does_not_fit(void **state)
{
	static const struct {
		uint64_t value, unit, aligned;
		bool fits;
	} cases[] = {
		{ 0, 64, 0, true },
		{ 1, 64, 64, true },
		{ 64, 64, 64, true },
		{ 65, 64, 128, true },
		{ 7, 1, 7, true },
		{ UINT64_MAX - 63, 64, UINT64_MAX - 63, true },
		{ UINT64_MAX - 62, 64, 0, false },
		{ UINT64_MAX, 4096, 0, false },
	};
	uint64_t aligned;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(checked_align(cases[i].value, cases[i].unit, &aligned),
		                 cases[i].fits);
		assert_true(!cases[i].fits || aligned == cases[i].aligned);
	}
}

/* --- bump allocator --- */

static void bump_memory_is_aligned_and_does_not_overlap(void **state)
{
	struct bump bump;
	uint8_t *taken[400];

	(void)state;
	bump_init(&bump, SIZE_MAX);
	for (size_t i = 0; i < 400; i++) {
		taken[i] = bump_alloc(&bump, i * 3);
		assert_non_null(taken[i]);
		assert_int_equal((uintptr_t)taken[i] % 16, 0);
		memset(taken[i], (int)(i % 251), i * 3);
	}
	for (size_t i = 0; i < 400; i++) {
		for (size_t k = 0; k < i * 3; k++)
			assert_int_equal(taken[i][k], i % 251);
	}
	bump_release(&bump);
}

static void bump_keeps_to_its_limit(void **state)
{
	struct bump bump;

	(void)state;
	bump_init(&bump, 100000);
	assert_non_null(bump_alloc(&bump, 99999));
	assert_null(bump_alloc(&bump, 2));
	assert_non_null(bump_alloc(&bump, 1));
	assert_non_null(bump_alloc(&bump, 0));
	assert_null(bump_alloc(&bump, 1));
	assert_null(bump_alloc(&bump, SIZE_MAX));
	bump_release(&bump);
}

static void bump_refuses_a_size_that_cannot_be(void **state)
{
	struct bump bump;

	(void)state;
	bump_init(&bump, SIZE_MAX);
	assert_null(bump_alloc(&bump, SIZE_MAX));
	assert_null(bump_alloc(&bump, SIZE_MAX - 15));
	assert_non_null(bump_alloc(&bump, 16));
	bump_release(&bump);
}

/* --- clock --- */

static void a_deadline_saturates(void **state)
{
	int64_t before = clock_now(), in_a_second = clock_after_ms(1000), after = clock_now();

	(void)state;
	assert_true(before <= after);
	assert_true(in_a_second >= before + CLOCK_S && in_a_second <= after + CLOCK_S);
	assert_true(clock_after_ms(UINT64_MAX) == CLOCK_NEVER);
	assert_true(clock_after_ms((uint64_t)INT64_MAX / 1000000) == CLOCK_NEVER);
	assert_true(clock_after_ms((uint64_t)INT64_MAX / 2000000) < CLOCK_NEVER);
	assert_true(clock_unix_ms() > UINT64_C(1600000000000));
}

/* --- log --- */

/* What `write_lines` sends to standard error. */
static void capture(void (*write_lines)(void), char *text, size_t capacity)
{
	FILE *file = tmpfile();
	int original = dup(STDERR_FILENO);
	size_t size;

	assert_non_null(file);
	assert_true(original >= 0);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	write_lines();
	assert_true(dup2(original, STDERR_FILENO) >= 0);
	assert_int_equal(close(original), 0);
	rewind(file);
	size = fread(text, 1, capacity - 1, file);
	text[size] = '\0';
	assert_int_equal(fclose(file), 0);
}

static void write_two_levels(void)
{
	simpler_log_set_level(SIMPLER_LOG_INFO);
	log_set_role("sub worker %d", 3);
	simpler_log(SIMPLER_LOG_INFO, "one\ntwo %s", "three");
	simpler_log(SIMPLER_LOG_DEBUG, "not seen");
}

static void a_line_has_a_time_a_level_a_role_and_no_line_feed(void **state)
{
	char text[4096], expected[128];

	(void)state;
	capture(write_two_levels, text, sizeof(text));
	(void)snprintf(expected, sizeof(expected), " info  [sub worker 3 pid %ld] one two three\n",
	               (long)getpid());
	assert_int_equal(strlen(text), strlen("05:06:07.089") + strlen(expected));
	assert_string_equal(text + strlen("05:06:07.089"), expected);
}

static void write_a_long_line(void)
{
	simpler_log(SIMPLER_LOG_ERROR, "%05000d", 7);
}

static void a_line_is_cut_at_two_kilobytes(void **state)
{
	char text[8192];

	(void)state;
	capture(write_a_long_line, text, sizeof(text));
	assert_int_equal(strlen(text), 2048);
	assert_int_equal(text[2047], '\n');
	assert_ptr_equal(strchr(text, '\n'), text + 2047);
}

static void levels_have_names(void **state)
{
	simpler_log_level level = SIMPLER_LOG_WARN;

	(void)state;
	for (int i = SIMPLER_LOG_ERROR; i <= SIMPLER_LOG_DEBUG; i++) {
		assert_true(log_parse_level(log_level_name((simpler_log_level)i), &level));
		assert_int_equal(level, i);
	}
	assert_false(log_parse_level("verbose", &level));
	assert_false(log_parse_level("", &level));
	assert_int_equal(level, SIMPLER_LOG_DEBUG);
	assert_string_equal(log_level_name((simpler_log_level)99), "unknown");
}

static void the_environment_gives_the_first_level(void **state)
{
	(void)state;
	assert_int_equal(setenv("SIMPLER_LOG", "error", 1), 0);
	assert_true(simpler_log_enabled(SIMPLER_LOG_ERROR));
	assert_false(simpler_log_enabled(SIMPLER_LOG_WARN));
	simpler_log_set_level(SIMPLER_LOG_DEBUG);
	assert_true(simpler_log_enabled(SIMPLER_LOG_DEBUG));
}

static void the_version_is_that_of_the_header(void **state)
{
	(void)state;
	assert_string_equal(simpler_version(), SIMPLER_VERSION);
}

/* --- being told to stop --- */

static _Atomic uint32_t process_flag, thread_flag;

static void *ask(void *answer)
{
	*(bool *)answer = simpler_should_stop();
	return NULL;
}

/* What code in another thread of this process is told. */
static bool elsewhere(void)
{
	pthread_t thread;
	bool answer;

	assert_int_equal(pthread_create(&thread, NULL, ask, &answer), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return answer;
}

static void a_thread_watches_its_own_flag_before_the_process_s(void **state)
{
	static const struct {
		uint32_t process, thread;
		bool here, elsewhere;
	} cases[] = {
		{ 0, 0, false, false },
		{ 1, 0, false, true },
		{ 0, 7, true, false },
		{ 1, UINT32_MAX, true, true },
	};

	(void)state;
	assert_null(stop_watch_process(&process_flag));
	assert_null(stop_watch_thread(&thread_flag));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		atomic_store(&process_flag, cases[i].process);
		atomic_store(&thread_flag, cases[i].thread);
		assert_int_equal(simpler_should_stop(), cases[i].here);
		assert_int_equal(elsewhere(), cases[i].elsewhere);
	}
	atomic_store(&thread_flag, 0);
	assert_ptr_equal(stop_watch_thread(NULL), &thread_flag);
	assert_true(simpler_should_stop()); /* the process's again */
	assert_ptr_equal(stop_watch_process(NULL), &process_flag);
}

static void what_no_task_runs_is_never_told_to_stop(void **state)
{
	(void)state;
	assert_false(simpler_should_stop());
	assert_false(elsewhere());
}

static void tasks_within_tasks_get_their_flags_back(void **state)
{
	static const _Atomic uint32_t inner = 1;
	const _Atomic uint32_t *outer;

	(void)state;
	atomic_store(&thread_flag, 0);
	assert_null(stop_watch_thread(&thread_flag));
	outer = stop_watch_thread(&inner);
	assert_ptr_equal(outer, &thread_flag);
	assert_true(simpler_should_stop());
	assert_ptr_equal(stop_watch_thread(outer), &inner);
	assert_false(simpler_should_stop());
	assert_ptr_equal(stop_watch_thread(NULL), &thread_flag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: the level is read from the environment once. */
		cmocka_unit_test(the_environment_gives_the_first_level),
		cmocka_unit_test(arithmetic_says_when_the_result_does_not_fit),
		cmocka_unit_test(aligning_rounds_up_or_does_not_fit),
		cmocka_unit_test(bump_memory_is_aligned_and_does_not_overlap),
		cmocka_unit_test(bump_keeps_to_its_limit),
		cmocka_unit_test(bump_refuses_a_size_that_cannot_be),
		cmocka_unit_test(a_deadline_saturates),
		cmocka_unit_test(a_line_has_a_time_a_level_a_role_and_no_line_feed),
		cmocka_unit_test(a_line_is_cut_at_two_kilobytes),
		cmocka_unit_test(levels_have_names),
		cmocka_unit_test(a_thread_watches_its_own_flag_before_the_process_s),
		cmocka_unit_test(what_no_task_runs_is_never_told_to_stop),
		cmocka_unit_test(tasks_within_tasks_get_their_flags_back),
		cmocka_unit_test(the_version_is_that_of_the_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
