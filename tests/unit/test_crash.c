#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/crash.h"
#include "ipc/loader.h"
#include "module_image.h"
#include "os/elf_symbols.h"

#define DIGEST_BYTE 0x1a
#define DIGEST_TEXT "module 1a1a1a1a1a1a1a1a"

struct fixture {
	struct crash_area *area;
	int module_fd; /* the owner's own */
};

static int create(void **state)
{
	static struct fixture fixture;
	int fd;

	if (memory_create("crash", sizeof(struct crash_area), &fd) ||
	    memory_map(fd, sizeof(struct crash_area), (void **)&fixture.area))
		return -1;
	(void)close(fd);
	fixture.module_fd = module_image("crashing");
	*state = &fixture;
	return 0;
}

static int destroy(void **state)
{
	struct fixture *fixture = *state;

	memory_unmap(fixture->area, sizeof(struct crash_area));
	(void)close(fixture->module_fd);
	return 0;
}

/* --- a process that crashes --- */

/* `captured` is handed to the callable as its state. */
static void run_callable(struct crash_area *area, const char *module, const char *name,
                         simpler_bytes captured)
{
	struct loader *loader = loader_create();
	struct record_install install = {
		.callable = 1,
		.kind = SIMPLER_KIND_SUB,
		.has_module = true,
		.state = captured.data,
		.state_size = (uint32_t)captured.size,
	};
	const struct loaded_callable *callable;

	memset(install.module_digest, DIGEST_BYTE, sizeof(install.module_digest));
	(void)snprintf(install.name, sizeof(install.name), "%s", name);
	crash_watch(area, loader);
	if (loader_install(loader, &install, module_image(module)) != SIMPLER_OK)
		_exit(90);
	callable = loader_find(loader, 1);
	(void)callable->run.sub(NULL, callable->state);
	_exit(91);
}

static pid_t fork_quiet(void)
{
	const struct rlimit no_core = { 0, 0 };
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		(void)setrlimit(RLIMIT_CORE, &no_core);
	return pid;
}

static int wait_for(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int crash_with_state(struct fixture *fixture, const char *module, const char *name,
                            simpler_bytes captured)
{
	pid_t pid = fork_quiet();

	if (pid == 0)
		run_callable(fixture->area, module, name, captured);
	return wait_for(pid);
}

static int crash(struct fixture *fixture, const char *name)
{
	return crash_with_state(fixture, "crashing", name, simpler_no_state());
}

static void assert_killed(int status, int signal_number)
{
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), signal_number);
}

/* --- its owner --- */

static int find_module(void *context, const uint8_t digest[RECORD_DIGEST_BYTES])
{
	const struct fixture *fixture = context;

	for (size_t i = 0; i < RECORD_DIGEST_BYTES; i++)
		assert_int_equal(digest[i], DIGEST_BYTE);
	return fixture->module_fd;
}

/* The words, as a program prints them. */
static const char *explain(struct fixture *fixture, struct error *error)
{
	struct crash_report report;
	char fault[CRASH_TEXT_BYTES];

	assert_true(crash_take(fixture->area, &report));
	crash_fault_text(&report, fault);
	error_init(error, SIMPLER_ECRASHED, "it died%s", fault);
	crash_explain(&report, find_module, fixture, error);
	(void)error_restore(error);
	(void)error_context("an outer step");
	return simpler_last_error();
}

/* All of `parts`, in this order. */
static void assert_in_order(const char *text, const char *const *parts)
{
	for (const char *rest = text; *parts; parts++) {
		rest = strstr(rest, *parts);
		if (!rest)
			fail_msg("no \"%s\" where it should be, in:\n%s", *parts, text);
		rest += strlen(*parts);
	}
}

static const struct {
	const char *name;
	int signal;
	const char *parts[6];
} crashes[] = {
	{ "write_null",
	  SIGSEGV,
	  { "an outer step\n  in write_null at crashing.c:111 (" DIGEST_TEXT ")\n",
	    "  in write_to at crashing.c:101 (" DIGEST_TEXT ")\n",
	    "  cause: SIMPLER_ECRASHED: it died: address not mapped, at address 0x10" } },
#ifdef __x86_64__ /* others divide by zero and go on */
	{ "divide",
	  SIGFPE,
	  { "an outer step\n  in divide at crashing.c:121 (",
	    ")\n  cause: SIMPLER_ECRASHED: it died: integer division by zero" } },
#endif
	{ "give_up",
	  SIGABRT,
	  { "an outer step\n  in give_up at crashing.c:131 (", "  in abort + 0x", "libc.so",
	    ": raised by itself, as abort() and assert() do" } },
	{ "overflow_stack",
	  SIGSEGV,
	  { "an outer step\n  in recurse at crashing.c:141 (", " times or more\n",
	    ": the stack overflowed, at address 0x" } },
	{ "call_null",
	  SIGSEGV,
	  { "an outer step\n  in call_null at crashing.c:161 (", "  at 0x0, of no known object\n",
	    ": address not mapped, calling or jumping to 0x0" } },
	{ "crash_in_callback",
	  SIGSEGV,
	  { "an outer step\n  in crash_in_callback at crashing.c:181 (", "qsort",
	    "  in compare at crashing.c:171 (", "  in write_to at crashing.c:101 (", "0x10" } },
	{ "crash_in_thread",
	  SIGSEGV,
	  { "an outer step\n  in run_thread at crashing.c:191 (",
	    "  in write_to at crashing.c:101 (", "0x10" } },
	{ "raise_sigsys",
	  SIGSYS,
	  { "an outer step\n  in raise_sigsys at crashing.c:201 (", "it died: raised by itself" } },
	{ "touch_past_the_end",
	  SIGBUS,
	  { "an outer step\n  in touch_past_the_end at crashing.c:211 (",
	    ": no memory behind the mapping, or past a file's end, at address 0x" } },
	{ "lose_the_stack",
	  SIGSEGV,
	  { "an outer step\n  in lose_the_stack at crashing.c:22",
	    "; the stack could not be read further\n", ": address not mapped, at address 0x" } },
	{ "hand_it_on",
	  SIGSEGV,
	  { "an outer step\n  in hand_it_on at crashing.c:251 (",
	    "  in write_to at crashing.c:101 (", "0x10" } },
	{ "crash_deep_down",
	  SIGSEGV,
	  { "an outer step\n  in deep6 at crashing.c:",
	    ", called through 4 more frames\n  in deep5 at crashing.c:",
	    "  in write_to at crashing.c:101 (", "0x10" } },
};

static void a_crash_is_told_with_its_cause_and_its_calls(void **state)
{
	struct error error;

	for (size_t i = 0; i < sizeof(crashes) / sizeof(*crashes); i++) {
		assert_killed(crash(*state, crashes[i].name), crashes[i].signal);
		assert_in_order(explain(*state, &error), crashes[i].parts);
		assert_true(error.steps <= 9);
	}
}

static void without_debug_information_functions_are_named(void **state)
{
	static const char *const parts[] = { "  in write_null + 0x", "(" DIGEST_TEXT " + 0x",
		                             "  in write_to + 0x", NULL };
	struct fixture *fixture = *state;
	struct fixture bare = { fixture->area, module_image("crashing_bare") };
	struct error error;

	assert_killed(crash_with_state(fixture, "crashing_bare", "write_null", simpler_no_state()),
	              SIGSEGV);
	assert_in_order(explain(&bare, &error), parts);
	(void)close(bare.module_fd);
}

static void a_module_that_the_owner_lacks_is_told_by_its_digest(void **state)
{
	static const char *const parts[] = { "  in " DIGEST_TEXT " + 0x",
		                             "\n  in " DIGEST_TEXT " + 0x", NULL };
	struct fixture *fixture = *state;
	struct fixture without = { fixture->area, -1 };
	struct error error;

	assert_killed(crash(fixture, "write_null"), SIGSEGV);
	assert_in_order(explain(&without, &error), parts);
}

/* The module is not installed yet while it runs. */
static void a_crash_in_a_constructor_is_told(void **state)
{
	static const char *const parts[] = { "  in run_early ", "(" DIGEST_TEXT, "  in abort + 0x",
		                             NULL };
	struct fixture *fixture = *state;
	struct fixture other = { fixture->area, module_image("constructor") };
	struct error error;

	assert_killed(crash_with_state(fixture, "constructor", "harmless", simpler_no_state()),
	              SIGABRT);
	assert_in_order(explain(&other, &error), parts);
	(void)close(other.module_fd);
}

__attribute__((noinline)) static void die_in_the_program(void)
{
	abort();
}

/* A callable handed one of our functions something bad: whose call it was must be told. */
static void calls_of_the_program_are_told_below_a_callable(void **state)
{
	static const char *const parts[] = {
		"an outer step\n  in call_the_program at crashing.c:231",
		"  in die_in_the_program ", "  in abort + 0x", NULL
	};
	void (*function)(void) = die_in_the_program;
	simpler_bytes captured = { (const uint8_t *)&function, sizeof(function) };
	struct error error;

	assert_killed(crash_with_state(*state, "crashing", "call_the_program", captured), SIGABRT);
	assert_in_order(explain(*state, &error), parts);
}

/* Nothing of our own above the first function of ours is told. */
static void a_crash_of_the_program_itself_is_one_frame_of_it(void **state)
{
	struct fixture *fixture = *state;
	pid_t pid = fork_quiet();
	struct crash_report report;
	struct error error;

	if (pid == 0) {
		crash_watch(fixture->area, NULL);
		die_in_the_program();
	}
	assert_killed(wait_for(pid), SIGABRT);
	assert_true(crash_take(fixture->area, &report));
	assert_true(report.frame_count > 4);
	error_init(&error, SIMPLER_ECRASHED, "cause");
	crash_explain(&report, NULL, NULL, &error);
	assert_true(error.steps >= 2 && error.steps < report.frame_count);
	for (uint32_t i = 1; i < error.steps; i++)
		assert_null(strstr(error_step(&error, i), "test_crash"));
}

static void a_signal_that_was_sent_is_told_with_its_sender(void **state)
{
	struct fixture *fixture = *state;
	char byte, sender[64];
	const char *parts[] = { sender, NULL };
	struct error error;
	int ready[2];
	pid_t pid;

	(void)snprintf(sender, sizeof(sender), "it died: sent by process %ld", (long)getpid());
	assert_int_equal(pipe(ready), 0);
	pid = fork_quiet();
	if (pid == 0) {
		crash_watch(fixture->area, NULL);
		if (write(ready[1], "", 1) != 1)
			_exit(92);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	assert_int_equal(kill(pid, SIGSEGV), 0);
	assert_killed(wait_for(pid), SIGSEGV);
	assert_in_order(explain(fixture, &error), parts);
}

static void crash_in_a_child(struct crash_area *area)
{
	pid_t pid;

	crash_watch(area, NULL);
	pid = fork_quiet();
	if (pid == 0)
		abort();
	_exit(WTERMSIG(wait_for(pid)));
}

static void a_crash_of_a_child_is_not_its_parents(void **state)
{
	struct fixture *fixture = *state;
	pid_t pid = fork_quiet();
	struct crash_report report;
	int status;

	if (pid == 0)
		crash_in_a_child(fixture->area);
	status = wait_for(pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), SIGABRT);
	assert_false(crash_take(fixture->area, &report));
}

static void a_callable_that_handles_its_faults_is_left_to_it(void **state)
{
	struct fixture *fixture = *state;
	struct crash_report report;
	int status = crash(fixture, "handle_by_itself");

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_false(crash_take(fixture->area, &report));
}

static void what_was_taken_is_gone_and_the_next_is_recorded(void **state)
{
	struct fixture *fixture = *state;
	struct crash_report report;

	assert_false(crash_take(fixture->area, &report));
	assert_killed(crash(fixture, "write_null"), SIGSEGV);
	assert_true(crash_take(fixture->area, &report));
	assert_int_equal(report.signal, SIGSEGV);
	assert_int_equal(report.address, 16);
	assert_false(crash_take(fixture->area, &report));
	assert_killed(crash(fixture, "give_up"), SIGABRT);
	assert_true(crash_take(fixture->area, &report));
	assert_int_equal(report.signal, SIGABRT);
}

/* --- what a hostile worker leaves --- */

static const struct {
	size_t offset, size;
	uint64_t value;
	bool good;
} changes[] = {
#define FIELD(field) offsetof(struct crash_report, field), sizeof(((struct crash_report *)0)->field)
	{ FIELD(signal), SIGSEGV, true },
	{ FIELD(signal), SIGKILL, false },
	{ FIELD(signal), UINT32_MAX, false },
	{ FIELD(complete), 2, false },
	{ FIELD(frame_count), CRASH_MAX_FRAMES + 1, false },
	{ FIELD(frame_count), UINT32_MAX, false },
	{ FIELD(frame_count), 0, true },
	{ FIELD(object_count), CRASH_MAX_OBJECTS + 1, false },
	{ FIELD(object_count), 0, false }, /* a frame names one */
	{ FIELD(frames[0].object), 1, false },
	{ FIELD(frames[0].object), CRASH_NO_OBJECT, true },
	{ FIELD(frames[0].call_site), 2, false },
	{ FIELD(frames[0].address), UINT64_MAX, true },
	{ FIELD(objects[0].kind), 0, false },
	{ FIELD(objects[0].kind), CRASH_OURS + 1, false },
	{ FIELD(objects[0].name[1]), '\n', false },
	{ FIELD(objects[0].name[1]), 0x7f, false },
#undef FIELD
};

static struct crash_report good_report(void)
{
	struct crash_report report = {
		.signal = SIGSEGV,
		.complete = 1,
		.frame_count = 1,
		.object_count = 1,
		.objects = { { .kind = CRASH_FILE, .name = "/nowhere" } },
	};

	return report;
}

static void nonsense_is_not_taken(void **state)
{
	struct fixture *fixture = *state;
	struct crash_report taken;

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct crash_report report = good_report();

		memcpy((uint8_t *)&report + changes[i].offset, &changes[i].value, changes[i].size);
		fixture->area->report = report;
		atomic_store(&fixture->area->recorded, 1);
		if (crash_take(fixture->area, &taken) != changes[i].good)
			fail_msg("change %zu was taken for %s", i,
			         changes[i].good ? "bad" : "good");
		assert_int_equal(atomic_load(&fixture->area->recorded), 0);
	}
}

static void a_path_without_an_end_is_not_taken(void **state)
{
	struct crash_report report = good_report();

	(void)state;
	assert_true(crash_check(&report));
	memset(report.objects[0].name, 'a', sizeof(report.objects[0].name));
	assert_false(crash_check(&report));
	/* A digest is no text. */
	report.objects[0].kind = CRASH_MODULE;
	assert_true(crash_check(&report));
}

/* What is not a file of the worker's own is not opened: these would not come back, or be another
 * process's. */
static void paths_that_are_no_files_are_only_named(void **state)
{
	static const char *const paths[] = { "/dev/zero", "/proc/self/exe", "test_crash", "/" };

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct crash_report report = good_report();
		struct error error;
		char expected[64];

		(void)snprintf((char *)report.objects[0].name, CRASH_NAME_BYTES, "%s", paths[i]);
		report.frames[0].address = 0x1234;
		error_init(&error, SIMPLER_ECRASHED, "cause");
		crash_explain(&report, NULL, NULL, &error);
		(void)snprintf(expected, sizeof(expected), "in %s + 0x1234", paths[i]);
		assert_int_equal(error.steps, 2);
		assert_string_equal(error_step(&error, 1), expected);
	}
}

/* --- symbols --- */

static void symbols_of_a_file_that_was_cut_anywhere(void **state)
{
	static uint8_t bytes[1 << 20];
	struct fixture *fixture = *state;
	size_t size = (size_t)pread(fixture->module_fd, bytes, sizeof(bytes), 0), found = 0;
	const char *name;
	uint64_t offset;

	assert_true(size > 0 && size < sizeof(bytes));
	for (uint64_t address = 0; address < 0x4000; address += 8)
		found += elf_symbol_find(bytes, size, address, &name, &offset);
	assert_true(found > 10);
	/* On the heap, so that a sanitizer sees a step outside. */
	for (size_t cut = 0; cut < size; cut += 61) {
		uint8_t *copy = malloc(cut + 1);

		assert_non_null(copy);
		memcpy(copy, bytes, cut);
		if (elf_symbol_find(copy, cut, 0x1200, &name, &offset))
			assert_in_range((uintptr_t)name, (uintptr_t)copy, (uintptr_t)copy + cut);
		free(copy);
	}
}

#define WITH_AREA(test) cmocka_unit_test_setup_teardown(test, create, destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_AREA(a_crash_is_told_with_its_cause_and_its_calls),
		WITH_AREA(without_debug_information_functions_are_named),
		WITH_AREA(a_module_that_the_owner_lacks_is_told_by_its_digest),
		WITH_AREA(a_crash_in_a_constructor_is_told),
		WITH_AREA(calls_of_the_program_are_told_below_a_callable),
		WITH_AREA(a_crash_of_the_program_itself_is_one_frame_of_it),
		WITH_AREA(a_signal_that_was_sent_is_told_with_its_sender),
		WITH_AREA(a_crash_of_a_child_is_not_its_parents),
		WITH_AREA(a_callable_that_handles_its_faults_is_left_to_it),
		WITH_AREA(what_was_taken_is_gone_and_the_next_is_recorded),
		WITH_AREA(nonsense_is_not_taken),
		cmocka_unit_test(a_path_without_an_end_is_not_taken),
		cmocka_unit_test(paths_that_are_no_files_are_only_named),
		WITH_AREA(symbols_of_a_file_that_was_cut_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
