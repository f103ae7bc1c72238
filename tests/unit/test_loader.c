#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/host_program.h"
#include "ipc/loader.h"
#include "ipc/program_function.h"
#include "module_image.h"
#include "simpler/version.h"

static int create(void **state)
{
	*state = loader_create();
	return *state ? 0 : -1;
}

static int destroy(void **state)
{
	loader_destroy(*state);
	return 0;
}

/* `module` says which module it is: its digest is that number all over. */
static simpler_status install(struct loader *loader, uint64_t key, const char *name, int module,
                              int fd, const char *captured)
{
	struct record_install install = {
		.callable = key,
		.kind = SIMPLER_KIND_SUB,
		.has_module = fd >= 0,
		.state = (const uint8_t *)captured,
		.state_size = captured ? (uint32_t)strlen(captured) : 0,
	};

	memset(install.module_digest, module, sizeof(install.module_digest));
	(void)snprintf(install.name, sizeof(install.name), "%s", name);
	return loader_install(loader, &install, fd);
}

static simpler_status run(struct loader *loader, uint64_t key)
{
	const struct loaded_callable *callable = loader_find(loader, key);

	assert_non_null(callable);
	return callable->run.sub(NULL, callable->state);
}

static void assert_closed(int fd)
{
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void an_installed_callable_runs_with_its_captured_state(void **state)
{
	struct loader *loader = *state;
	char captured[] = "a";
	const struct loaded_callable *callable;

	assert_null(loader_find(loader, 5));
	assert_int_equal(install(loader, 5, "tell_state", 1, module_image("plain"), captured),
	                 SIMPLER_OK);
	captured[0] = 'z'; /* it was copied */
	callable = loader_find(loader, 5);
	assert_non_null(callable);
	assert_string_equal(callable->name, "tell_state");
	assert_int_equal(callable->kind, SIMPLER_KIND_SUB);
	assert_int_equal(callable->state.size, 1);
	assert_int_equal(run(loader, 5), SIMPLER_USER_STATUS + 'a');
	assert_null(loader_find(loader, 6));
}

static void the_same_module_twice_loads_once(void **state)
{
	struct loader *loader = *state;
	int first = module_image("plain"), second = module_image("plain");
	const struct loaded_callable *one, *two, *three;

	assert_int_equal(install(loader, 1, "tell_state", 1, first, "a"), SIMPLER_OK);
	assert_int_equal(install(loader, 2, "tell_state", 1, second, "b"), SIMPLER_OK);
	assert_int_equal(install(loader, 3, "succeed", 1, -1, NULL), SIMPLER_OK);
	assert_closed(second);
	one = loader_find(loader, 1);
	two = loader_find(loader, 2);
	three = loader_find(loader, 3);
	assert_int_equal(one->module_fd, first);
	assert_int_equal(two->module_fd, first);
	assert_int_equal(three->module_fd, first);
	assert_true(one->run.sub == two->run.sub);
	assert_int_equal(run(loader, 1), SIMPLER_USER_STATUS + 'a');
	assert_int_equal(run(loader, 2), SIMPLER_USER_STATUS + 'b');
	assert_int_equal(run(loader, 3), SIMPLER_OK);
}

static void a_taken_key_keeps_what_it_has(void **state)
{
	struct loader *loader = *state;
	int other = module_image("plain");

	assert_int_equal(install(loader, 1, "succeed", 1, module_image("plain"), NULL), SIMPLER_OK);
	assert_int_equal(install(loader, 1, "tell_state", 2, other, NULL), SIMPLER_EEXIST);
	assert_closed(other);
	assert_int_equal(run(loader, 1), SIMPLER_OK);
}

/* Keys of one bucket. */
static void what_is_forgotten_leaves_the_others_and_its_place(void **state)
{
	struct loader *loader = *state;
	const uint64_t keys[] = { 1, 1 + 1024, 1 + 2048 };
	int other = module_image("plain");

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(install(loader, keys[i], "tell_state", 1,
		                         i == 0 ? module_image("plain") : -1,
		                         i == 0   ? "a"
		                         : i == 1 ? "b"
		                                  : "c"),
		                 SIMPLER_OK);
	loader_forget(loader, keys[1]);
	loader_forget(loader, keys[1]);
	loader_forget(loader, 77);
	assert_null(loader_find(loader, keys[1]));
	assert_int_equal(run(loader, keys[0]), SIMPLER_USER_STATUS + 'a');
	assert_int_equal(run(loader, keys[2]), SIMPLER_USER_STATUS + 'c');
	/* The module stays, and nothing is found under what marks an empty place. */
	assert_int_equal(install(loader, 1 + 4096, "tell_state", 1, other, "d"), SIMPLER_OK);
	assert_closed(other);
	assert_int_equal(run(loader, 1 + 4096), SIMPLER_USER_STATUS + 'd');
	loader_forget(loader, keys[0]);
	assert_null(loader_find(loader, UINT64_MAX));
	loader_forget(loader, UINT64_MAX);
	assert_int_equal(run(loader, keys[2]), SIMPLER_USER_STATUS + 'c');
}

static void a_missing_entry_is_named(void **state)
{
	struct loader *loader = *state;

	assert_int_equal(install(loader, 1, "nothing", 1, module_image("plain"), NULL),
	                 SIMPLER_ENOTFOUND);
	assert_non_null(strstr(simpler_last_error(), "simpler_entry_nothing"));
	assert_non_null(strstr(simpler_last_error(), "installing sub task 'nothing'"));
	assert_null(loader_find(loader, 1));
	/* The module itself is good and stays. */
	assert_int_equal(install(loader, 1, "succeed", 1, -1, NULL), SIMPLER_OK);
}

static const struct {
	const char *module, *callable;
	const char *says; /* what is missing, in our words */
} missing[] = {
	{ "needs_absent", "needs_absent", "needs the library 'libabsent.so.3', which is not" },
	{ "needs_future", "needs_future", "needs 'GLIBC_9.99' of the library 'libc.so.6'" },
	{ "undefined_symbol", "call_nobody",
	  "needs the symbol 'a_function_that_nobody_defines', which neither "
	  "simpler-host " SIMPLER_VERSION " nor the libraries" },
	{ "needs_newer", "needs_newer",
	  "needs the symbol 'simpler_of_a_later_version', which simpler " SIMPLER_VERSION
	  " does not have: it was built against a newer version" },
};

static void what_a_module_needs_and_nobody_has_is_named(void **state)
{
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		int fd = module_image(missing[i].module);

		assert_int_equal(install(*state, 1, missing[i].callable, 1, fd, NULL),
		                 SIMPLER_EINVAL);
		if (!strstr(simpler_last_error(), missing[i].says))
			fail_msg("%s: %s", missing[i].module, simpler_last_error());
		assert_null(strstr(simpler_last_error(), "/proc/self/fd"));
		assert_closed(fd);
	}
}

/* The constructor counts itself. */
static void a_refused_module_has_run_no_constructor(void **state)
{
	(void)state;
	assert_int_equal(unsetenv("SIMPLER_TEST_CONSTRUCTED"), 0);
	assert_int_equal(install(*state, 1, "needs_absent", 1, module_image("needs_absent"), NULL),
	                 SIMPLER_EINVAL);
	assert_null(getenv("SIMPLER_TEST_CONSTRUCTED"));
	assert_int_equal(install(*state, 1, "needs_weak", 2, module_image("needs_weak"), NULL),
	                 SIMPLER_OK);
	assert_non_null(getenv("SIMPLER_TEST_CONSTRUCTED"));
}

static void a_weak_symbol_may_be_missing(void **state)
{
	struct loader *loader = *state;

	assert_int_equal(install(loader, 1, "needs_weak", 1, module_image("needs_weak"), NULL),
	                 SIMPLER_OK);
	assert_int_equal(run(loader, 1), SIMPLER_OK);
}

static void what_is_no_shared_object_is_refused(void **state)
{
	struct loader *loader = *state;
	int fd;

	assert_int_equal(memory_create("text", 13, &fd), SIMPLER_OK);
	assert_int_equal(memory_write(fd, 0, "not an object", 13), SIMPLER_OK);
	assert_int_equal(install(loader, 1, "succeed", 1, fd, NULL), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "the module does not load: "));
	assert_closed(fd);
}

static void an_unknown_module_must_come_along(void **state)
{
	assert_int_equal(install(*state, 1, "succeed", 9, -1, NULL), SIMPLER_EPROTOCOL);
}

/* The dynamic loader knows objects by /proc/self/fd/N: a failed one's N is used again. */
static void a_descriptor_used_again_gives_the_new_module(void **state)
{
	struct loader *loader = *state;
	int bad = module_image("undefined_symbol"), good;

	assert_int_equal(install(loader, 1, "call_nobody", 1, bad, NULL), SIMPLER_EINVAL);
	good = module_image("plain");
	assert_int_equal(good, bad);
	assert_int_equal(install(loader, 1, "succeed", 2, good, NULL), SIMPLER_OK);
	assert_int_equal(run(loader, 1), SIMPLER_OK);
}

static void the_module_behind_a_descriptor_is_known(void **state)
{
	struct loader *loader = *state;
	uint8_t digest[RECORD_DIGEST_BYTES] = { 0 }, expected[RECORD_DIGEST_BYTES];
	int one = module_image("plain"), two = module_image("plain");

	assert_int_equal(install(loader, 1, "succeed", 7, one, NULL), SIMPLER_OK);
	assert_false(loader_module_digest(loader, two, digest));
	assert_int_equal(install(loader, 2, "succeed", 8, two, NULL), SIMPLER_OK);
	for (int i = 0; i < 2; i++) {
		memset(expected, 7 + i, sizeof(expected));
		assert_true(loader_module_digest(loader, i == 0 ? one : two, digest));
		assert_memory_equal(digest, expected, sizeof(expected));
	}
	assert_false(loader_module_digest(loader, -1, digest));
}

/* --- readers beside the installing thread --- */

#define KEYS 3000 /* more than there are buckets */

struct readers {
	struct loader *loader;
	_Atomic uint64_t installed;
};

static void *find_all(void *argument)
{
	struct readers *readers = argument;
	uint64_t key = 1, wrong = 0;

	while (key <= KEYS) {
		uint64_t installed = atomic_load(&readers->installed);

		for (; key <= installed; key++) {
			const struct loaded_callable *callable = loader_find(readers->loader, key);

			wrong += !callable || callable->key != key || callable->state.size != 3;
		}
		(void)loader_find(readers->loader, key); /* on its way, or not there yet */
	}
	return (void *)(uintptr_t)wrong;
}

static void finding_needs_no_lock(void **state)
{
	struct readers readers = { .loader = *state };
	pthread_t threads[2];
	void *wrong;

	assert_int_equal(
		install(readers.loader, KEYS + 1, "succeed", 1, module_image("plain"), NULL),
		SIMPLER_OK);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, find_all, &readers), 0);
	for (uint64_t key = 1; key <= KEYS; key++) {
		assert_int_equal(install(readers.loader, key, "tell_state", 1, -1, "abc"),
		                 SIMPLER_OK);
		atomic_store(&readers.installed, key);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
}

/* --- functions of this program --- */

static simpler_status own_function(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	return (simpler_status)(SIMPLER_USER_STATUS + state.size);
}

static struct record_install an_own_function(uint64_t key)
{
	simpler_sub_function *function = own_function;
	struct record_install install = { .callable = key,
		                          .kind = SIMPLER_KIND_SUB,
		                          .source = RECORD_FROM_PROGRAM,
		                          .name = "own_function",
		                          .state = (const uint8_t *)"abc",
		                          .state_size = 3 };
	const void *address;

	memcpy(&address, &function, sizeof(address));
	assert_int_equal(program_function_locate(address, &install.function), SIMPLER_OK);
	return install;
}

static void a_function_of_the_program_runs_and_has_no_module(void **state)
{
	struct loader *loader = *state;
	struct record_install install = an_own_function(7);
	simpler_sub_function *function = own_function;
	uint64_t address = 0;

	/* What crosses is no address: see R01. */
	memcpy(&address, &function, sizeof(function));
	assert_true(install.function.offset != address);
	assert_string_equal(install.function.object, "");
	assert_int_equal(loader_install(loader, &install, -1), SIMPLER_OK);
	assert_int_equal(run(loader, 7), SIMPLER_USER_STATUS + 3);
	assert_int_equal(loader_find(loader, 7)->module_fd, -1);
}

static void a_function_of_a_library_is_found_by_the_librarys_name(void **state)
{
	struct record_function found;
	int (*function)(const char *, ...) = printf;
	const void *address, *again;

	(void)state;
	memcpy(&address, &function, sizeof(address));
	assert_int_equal(program_function_locate(address, &found), SIMPLER_OK);
	assert_int_equal(program_function_find(&found, &again), SIMPLER_OK);
	assert_ptr_equal(again, address);
}

static void in_an_unknown_library(struct record_function *function)
{
	strcpy(function->object, "libnowhere.so.3");
}

static void of_another_build(struct record_function *function)
{
	function->identity[31] ^= 1;
}

static void before_the_code(struct record_function *function)
{
	function->offset = 0;
}

static void behind_the_object(struct record_function *function)
{
	function->offset = UINT64_MAX / 2;
}

static void where_the_address_wraps(struct record_function *function)
{
	function->offset = UINT64_MAX;
}

static void a_function_that_is_not_here_is_refused_with_the_reason(void **state)
{
	static const struct {
		void (*change)(struct record_function *function);
		simpler_status status;
		const char *says;
	} cases[] = {
		{ in_an_unknown_library, SIMPLER_ENOTFOUND,
		  "libnowhere.so.3, which is not loaded here" },
		{ of_another_build, SIMPLER_EVERSION, "the program is of another build here" },
		{ before_the_code, SIMPLER_EPROTOCOL, "outside of its code" },
		{ behind_the_object, SIMPLER_EPROTOCOL, "outside of its code" },
		{ where_the_address_wraps, SIMPLER_EPROTOCOL, "outside of its code" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct record_install install = an_own_function(7);

		cases[i].change(&install.function);
		assert_int_equal(loader_install(*state, &install, -1), cases[i].status);
		if (!strstr(simpler_last_error(), cases[i].says))
			fail_msg("'%s' is not in: %s", cases[i].says, simpler_last_error());
		assert_null(loader_find(*state, 7));
	}
}

/* The last one: what it says of this process is not undone. */
static void a_program_that_exports_nothing_to_modules_is_told_how_to(void **state)
{
	host_program_set_own();
	assert_int_equal(install(*state, 1, "needs_newer", 1, module_image("needs_newer"), NULL),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "which this program does not export"));
	assert_non_null(strstr(simpler_last_error(), "--export-dynamic-symbol='simpler_*'"));
}

#define WITH_LOADER(test) cmocka_unit_test_setup_teardown(test, create, destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOADER(an_installed_callable_runs_with_its_captured_state),
		WITH_LOADER(the_same_module_twice_loads_once),
		WITH_LOADER(a_taken_key_keeps_what_it_has),
		WITH_LOADER(what_is_forgotten_leaves_the_others_and_its_place),
		WITH_LOADER(a_missing_entry_is_named),
		WITH_LOADER(what_a_module_needs_and_nobody_has_is_named),
		WITH_LOADER(a_refused_module_has_run_no_constructor),
		WITH_LOADER(a_weak_symbol_may_be_missing),
		WITH_LOADER(what_is_no_shared_object_is_refused),
		WITH_LOADER(an_unknown_module_must_come_along),
		WITH_LOADER(a_descriptor_used_again_gives_the_new_module),
		WITH_LOADER(the_module_behind_a_descriptor_is_known),
		WITH_LOADER(finding_needs_no_lock),
		WITH_LOADER(a_function_of_the_program_runs_and_has_no_module),
		cmocka_unit_test(a_function_of_a_library_is_found_by_the_librarys_name),
		WITH_LOADER(a_function_that_is_not_here_is_refused_with_the_reason),
		WITH_LOADER(a_program_that_exports_nothing_to_modules_is_told_how_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
