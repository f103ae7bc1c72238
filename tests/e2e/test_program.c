/*
 * A program that serves itself: its own functions run in its children. Every result is read from a
 * tensor of this process. Built twice, against the shared library and against the static parts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "program_library.h"
#include "simpler/simpler.h"
#include "test_modules.h"

#define CELLS 16

/* Set: this process, which was started to serve, does not, and writes what comes of it there. */
#define FORGETFUL "SIMPLER_TEST_FORGETFUL"

/* --- functions of the program --- */

static int64_t *cells_of(const simpler_args *args, int64_t *count)
{
	simpler_tensor tensor;

	if (simpler_args_tensor(args, 0, &tensor) != SIMPLER_OK)
		return NULL;
	*count = (int64_t)simpler_tensor_count(&tensor);
	return tensor.data;
}

static int64_t of_the_program = 1;

/* Adds the captured number to cell 0; cell 1 shows the variable, which it then changes. */
static simpler_status add_captured(const simpler_args *args, simpler_bytes state)
{
	int64_t count, added, *cells = cells_of(args, &count);

	if (!cells || state.size != sizeof(added))
		return simpler_fail(SIMPLER_EINVAL, "%zu bytes were captured", state.size);
	memcpy(&added, state.data, sizeof(added));
	cells[0] += added;
	cells[1] = of_the_program++;
	cells[2] = getpid();
	return SIMPLER_OK;
}

/* Not static: that makes no difference. */
simpler_status add_one_to_all(const simpler_args *args, simpler_bytes state);

simpler_status add_one_to_all(const simpler_args *args, simpler_bytes state)
{
	int64_t count = 0, *cells = cells_of(args, &count);

	(void)state;
	for (int64_t i = 0; i < count; i++)
		cells[i]++;
	return SIMPLER_OK;
}

static simpler_status add_one_on_chip(const simpler_block *block, const simpler_args *args,
                                      simpler_bytes state)
{
	int64_t count = 0, *cells = cells_of(args, &count);

	(void)state;
	for (int64_t i = block->index; i < count; i += block->count)
		cells[i]++;
	return SIMPLER_OK;
}

/* Where nothing is, and the compiler does not know. */
static volatile uintptr_t nowhere = 16;

__attribute__((noinline)) static void write_to_nowhere(void)
{
	*(volatile int *)nowhere = 1;
}

__attribute__((noinline)) static simpler_status crashes(const simpler_args *args,
                                                        simpler_bytes state)
{
	(void)args;
	(void)state;
	write_to_nowhere();
	nowhere++; /* no tail call */
	return SIMPLER_OK;
}

/* How many threads the process has that this one was forked from. */
static simpler_status count_threads_above(const simpler_args *args, simpler_bytes state)
{
	int64_t count, *cells = cells_of(args, &count);
	char path[64];
	DIR *folder;

	(void)state;
	(void)snprintf(path, sizeof(path), "/proc/%ld/task", (long)getppid());
	folder = opendir(path);
	if (!cells || !folder)
		return simpler_fail(SIMPLER_ENOTFOUND, "%s", path);
	for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
		cells[0] += entry->d_name[0] != '.';
	(void)closedir(folder);
	return SIMPLER_OK;
}

/* --- orchestration --- */

/* The tensor of `args` with another's view of it: INOUT, in place. */
static simpler_args *in_place(const simpler_args *args)
{
	simpler_args *copy = simpler_args_create();
	simpler_tensor tensor;

	if (simpler_args_tensor(args, 0, &tensor) == SIMPLER_OK)
		(void)simpler_args_add_tensor(copy, &tensor, SIMPLER_INOUT, SIMPLER_SHARED);
	return copy;
}

/* In a worker below: two functions of the program, one of its library, one kernel. */
static simpler_status orchestrate_below(simpler_orch *orch, const simpler_args *args,
                                        const simpler_config *config, simpler_bytes state)
{
	simpler_args *copy = in_place(args);
	simpler_sub add, doubles, again;
	simpler_chip kernel;
	simpler_status status =
		simpler_orch_program_sub(orch, add_captured, "add_captured", state, &add);

	(void)config;
	if (status == SIMPLER_OK)
		status = simpler_orch_program_sub(orch, library_double, "library_double",
		                                  simpler_no_state(), &doubles);
	if (status == SIMPLER_OK)
		status =
			simpler_orch_program_sub(orch, add_captured, "add_captured", state, &again);
	if (status == SIMPLER_OK && again.id != add.id)
		status = simpler_fail(SIMPLER_EINVAL, "two handles of one function");
	if (status == SIMPLER_OK)
		status = simpler_orch_program_chip(orch, add_one_on_chip, "add_one_on_chip",
		                                   simpler_no_state(), &kernel);
	if (status == SIMPLER_OK)
		status = simpler_submit_sub(orch, add, copy, NULL, NULL);
	if (status == SIMPLER_OK)
		status = simpler_submit_sub(orch, doubles, copy, NULL, NULL);
	if (status == SIMPLER_OK)
		status = simpler_submit_chip(orch, kernel, copy, NULL, NULL);
	simpler_args_destroy(copy);
	return status;
}

/* In a worker below, which has no module to look into. */
static simpler_status asks_by_name(simpler_orch *orch, const simpler_args *args,
                                   const simpler_config *config, simpler_bytes state)
{
	simpler_sub sub;

	(void)args;
	(void)config;
	return simpler_orch_sub(orch, "add_captured", state, &sub);
}

/* Of this process: a graph out of what is in the state. */
struct plan {
	simpler_sub subs[4];
	size_t sub_count;
	simpler_chip chip;
	simpler_orch_fn orch_fn;
};

static simpler_status submit_plan(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	const struct plan *plan = state.data;
	simpler_args *copy = in_place(args);
	simpler_status status = SIMPLER_OK;

	(void)config;
	for (size_t i = 0; i < plan->sub_count && status == SIMPLER_OK; i++)
		status = simpler_submit_sub(orch, plan->subs[i], copy, NULL, NULL);
	if (status == SIMPLER_OK && plan->chip.id)
		status = simpler_submit_chip(orch, plan->chip, copy, NULL, NULL);
	if (status == SIMPLER_OK && plan->orch_fn.id)
		status = simpler_submit_next_level(orch, plan->orch_fn, copy, NULL, NULL);
	simpler_args_destroy(copy);
	return status;
}

/* --- the fixture --- */

struct fixture {
	simpler_worker *worker;
	simpler_tensor tensor; /* of the shared heap, all 0 */
	int64_t *cells;
	simpler_args *args;
};

static void create(struct fixture *fixture, unsigned level)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	const int64_t shape[] = { CELLS };

	options.level = level;
	assert_int_equal(simpler_worker_create(&options, &fixture->worker), SIMPLER_OK);
	assert_int_equal(simpler_alloc(fixture->worker, SIMPLER_INT64, 1, shape, &fixture->tensor),
	                 SIMPLER_OK);
	fixture->cells = fixture->tensor.data;
	memset(fixture->cells, 0, CELLS * sizeof(int64_t));
	fixture->args = simpler_args_create();
	assert_int_equal(simpler_args_add_tensor(fixture->args, &fixture->tensor, SIMPLER_INOUT,
	                                         SIMPLER_SHARED),
	                 SIMPLER_OK);
}

static void start(struct fixture *fixture)
{
	if (simpler_worker_init(fixture->worker) != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	create(fixture, 3);
	assert_int_equal(simpler_worker_add_subs(fixture->worker, 2, NULL), SIMPLER_OK);
	assert_int_equal(simpler_worker_add_chips(fixture->worker, 1, "sim", NULL), SIMPLER_OK);
	start(fixture);
	*state = fixture;
	return 0;
}

/* Level 4 over one worker of level 3 with a sub worker and a chip. */
static int set_up_below(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	simpler_local_options below = SIMPLER_LOCAL_OPTIONS_INIT;

	assert_non_null(fixture);
	below.sub_workers = below.chips = 1;
	create(fixture, 4);
	assert_int_equal(simpler_worker_add_local(fixture->worker, &below, NULL), SIMPLER_OK);
	start(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	simpler_args_destroy(fixture->args);
	simpler_worker_close(fixture->worker);
	free(fixture);
	return 0;
}

static simpler_status run(struct fixture *fixture, const struct plan *plan)
{
	return simpler_run(fixture->worker, submit_plan, fixture->args, NULL,
	                   (simpler_bytes){ plan, sizeof(*plan) });
}

static void run_well(struct fixture *fixture, const struct plan *plan)
{
	if (run(fixture, plan) != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
}

static void assert_says(const char *part)
{
	if (!strstr(simpler_last_error(), part))
		fail_msg("'%s' is not in: %s", part, simpler_last_error());
}

static simpler_bytes bytes_of(const int64_t *number)
{
	return (simpler_bytes){ number, sizeof(*number) };
}

/* --- tests --- */

static void R07_what_a_function_of_the_program_captures_is_a_copy(void **state)
{
	struct fixture *fixture = *state;
	int64_t added = 7;
	struct plan plan = { .sub_count = 1 };

	assert_int_equal(simpler_program_sub(fixture->worker, add_captured, "add_captured",
	                                     bytes_of(&added), &plan.subs[0]),
	                 SIMPLER_OK);
	added = 100;
	of_the_program = 50;
	run_well(fixture, &plan);
	assert_int_equal(fixture->cells[0], 7);
	assert_int_equal(fixture->cells[1], 1); /* as the program's file has it */
	assert_int_equal(of_the_program, 50);
	assert_true(fixture->cells[2] > 0 && fixture->cells[2] != getpid());
	of_the_program = 1;
}

static void R08_functions_of_program_library_and_module_work_on_one_tensor(void **state)
{
	struct fixture *fixture = *state;
	const int64_t three = 3;
	struct plan plan = { .sub_count = 4 };
	simpler_module *module;

	assert_int_equal(
		simpler_module_load(fixture->worker, TEST_MODULES_DIR "/worker_cases.so", &module),
		SIMPLER_OK);
	assert_int_equal(simpler_program_sub(fixture->worker, add_captured, "add_captured",
	                                     bytes_of(&three), &plan.subs[0]),
	                 SIMPLER_OK);
	assert_int_equal(simpler_program_sub(fixture->worker, library_double, "library_double",
	                                     simpler_no_state(), &plan.subs[1]),
	                 SIMPLER_OK);
	assert_int_equal(simpler_module_sub(module, "add_one", simpler_no_state(), &plan.subs[2]),
	                 SIMPLER_OK);
	assert_int_equal(simpler_program_sub(fixture->worker, add_one_to_all, "add_one_to_all",
	                                     simpler_no_state(), &plan.subs[3]),
	                 SIMPLER_OK);
	assert_int_equal(simpler_program_chip(fixture->worker, add_one_on_chip, "add_one_on_chip",
	                                      simpler_no_state(), &plan.chip),
	                 SIMPLER_OK);
	run_well(fixture, &plan);
	assert_int_equal(fixture->cells[0], 3 * 2 + 1 + 1 + 1);
	assert_int_equal(fixture->cells[CELLS - 1], 3);
}

static void a_worker_below_runs_functions_of_the_program(void **state)
{
	struct fixture *fixture = *state;
	const int64_t five = 5;
	struct plan plan = { .sub_count = 0 };

	assert_int_equal(simpler_program_orch_fn(fixture->worker, orchestrate_below,
	                                         "orchestrate_below", bytes_of(&five),
	                                         &plan.orch_fn),
	                 SIMPLER_OK);
	for (int i = 0; i < 3; i++) {
		memset(fixture->cells, 0, CELLS * sizeof(int64_t));
		run_well(fixture, &plan);
		assert_int_equal(fixture->cells[0], 5 * 2 + 1);
	}
}

/* The same orchestration function, here. */
static void functions_are_found_from_within_a_run_of_the_program(void **state)
{
	struct fixture *fixture = *state;
	const int64_t five = 5;

	if (simpler_run(fixture->worker, orchestrate_below, fixture->args, NULL, bytes_of(&five)) !=
	    SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
	assert_int_equal(fixture->cells[0], 5 * 2 + 1);
}

static void a_function_of_the_program_finds_no_module_of_its_own(void **state)
{
	struct fixture *fixture = *state;
	struct plan plan = { .sub_count = 0 };

	assert_int_equal(simpler_program_orch_fn(fixture->worker, asks_by_name, "asks_by_name",
	                                         simpler_no_state(), &plan.orch_fn),
	                 SIMPLER_OK);
	assert_int_equal(run(fixture, &plan), SIMPLER_ESTATE);
	assert_says("simpler_orch_program_sub()");
}

static void a_crash_tells_file_and_line_up_to_the_function_that_was_registered(void **state)
{
	struct fixture *fixture = *state;
	const int64_t one = 1;
	struct plan bad = { .sub_count = 1 }, good = { .sub_count = 1 };

	assert_int_equal(simpler_program_sub(fixture->worker, crashes, "crashes",
	                                     simpler_no_state(), &bad.subs[0]),
	                 SIMPLER_OK);
	assert_int_equal(run(fixture, &bad), SIMPLER_ECRASHED);
	assert_says("in write_to_nowhere at test_program.c:");
#ifdef PROGRAM_IS_SHARED
	assert_says("in crashes at test_program.c:");
#endif
	assert_int_equal(simpler_program_sub(fixture->worker, add_captured, "add_captured",
	                                     bytes_of(&one), &good.subs[0]),
	                 SIMPLER_OK);
	run_well(fixture, &good);
	assert_int_equal(fixture->cells[0], 1);
}

static void children_are_forked_from_a_process_of_one_thread(void **state)
{
	struct fixture *fixture = *state;
	struct plan plan = { .sub_count = 1 };

	assert_int_equal(simpler_program_sub(fixture->worker, count_threads_above,
	                                     "count_threads_above", simpler_no_state(),
	                                     &plan.subs[0]),
	                 SIMPLER_OK);
	run_well(fixture, &plan);
	assert_int_equal(fixture->cells[0], 1);
}

static void the_same_function_name_and_state_give_the_same_handle(void **state)
{
	struct fixture *fixture = *state;
	const int64_t one = 1, two = 2, one_more = 1;
	simpler_sub first, same, other_state, other_name, other_function;
	simpler_worker *worker = fixture->worker;

	(void)simpler_program_sub(worker, add_captured, "f", bytes_of(&one), &first);
	(void)simpler_program_sub(worker, add_captured, "f", bytes_of(&one_more), &same);
	(void)simpler_program_sub(worker, add_captured, "f", bytes_of(&two), &other_state);
	(void)simpler_program_sub(worker, add_captured, "g", bytes_of(&one), &other_name);
	(void)simpler_program_sub(worker, add_one_to_all, "f", bytes_of(&one), &other_function);
	assert_int_equal(first.id, same.id);
	assert_true(first.id != other_state.id && first.id != other_name.id &&
	            first.id != other_function.id);
}

static void what_is_no_function_or_has_no_name_is_refused(void **state)
{
	char too_long[65];
	const char *const names[] = { "", "two words", "1st", "semi;colon", too_long };
	struct fixture *fixture = *state;
	simpler_sub_function *nobody = NULL, *data;
	static uint8_t bytes[16];
	void *address = bytes;
	simpler_sub sub;

	memset(too_long, 'n', sizeof(too_long));
	too_long[sizeof(too_long) - 1] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(simpler_program_sub(fixture->worker, add_captured, names[i],
		                                     simpler_no_state(), &sub),
		                 SIMPLER_EINVAL);
		assert_says("identifier");
	}
	assert_int_equal(
		simpler_program_sub(fixture->worker, nobody, "nobody", simpler_no_state(), &sub),
		SIMPLER_EINVAL);
	memcpy(&data, &address, sizeof(data));
	assert_int_equal(
		simpler_program_sub(fixture->worker, data, "data", simpler_no_state(), &sub),
		SIMPLER_EINVAL);
	assert_says("registering the function 'data'");
	assert_int_equal(simpler_program_sub(NULL, add_captured, "f", simpler_no_state(), &sub),
	                 SIMPLER_EINVAL);
	assert_int_equal(
		simpler_orch_program_sub(NULL, add_captured, "f", simpler_no_state(), &sub),
		SIMPLER_EINVAL);
}

static void a_library_that_the_program_loaded_later_is_named(void **state)
{
	struct fixture *fixture = *state;
	void *object = dlopen(PROGRAM_LATE_LIBRARY, RTLD_NOW | RTLD_LOCAL), *symbol;
	simpler_sub_function *function;
	struct plan plan = { .sub_count = 1 };

	assert_non_null(object);
	symbol = dlsym(object, "library_double");
	memcpy(&function, &symbol, sizeof(function));
	assert_int_equal(simpler_program_sub(fixture->worker, function, "library_double",
	                                     simpler_no_state(), &plan.subs[0]),
	                 SIMPLER_OK);
	assert_int_equal(run(fixture, &plan), SIMPLER_ENOTFOUND);
	assert_says("libprogram_late.so, which is not loaded here");
	assert_int_equal(dlclose(object), 0);
}

/* --- threads --- */

static void *hold_lock(void *context)
{
	pthread_mutex_t *lock = context;

	pthread_mutex_lock(lock);
	pthread_mutex_unlock(lock);
	return NULL;
}

static void threads_that_run_when_children_start_do_not_matter(void **state)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	const int64_t one = 1;
	struct plan plan = { .sub_count = 1 };
	struct fixture fixture;
	pthread_t threads[4];

	(void)state;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hold_lock, &lock), 0);
	create(&fixture, 3);
	assert_int_equal(simpler_worker_add_subs(fixture.worker, 2, NULL), SIMPLER_OK);
	assert_int_equal(simpler_program_sub(fixture.worker, add_captured, "add_captured",
	                                     bytes_of(&one), &plan.subs[0]),
	                 SIMPLER_OK);
	start(&fixture);
	run_well(&fixture, &plan);
	assert_int_equal(fixture.cells[0], 1);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	/* And nothing is left behind: it was reaped when close returns. */
	simpler_args_destroy(fixture.args);
	const pid_t ran_in = (pid_t)fixture.cells[2];
	simpler_worker_close(fixture.worker);
	assert_int_equal(kill(ran_in, 0), -1);
}

/* --- a program that does not do what it should --- */

static void a_program_that_forgets_to_serve_is_not_started_over_and_over(void **state)
{
	char path[] = "/tmp/simpler-test-XXXXXX", text[1024] = "";
	int fd = mkstemp(path);
	struct fixture fixture;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(setenv(FORGETFUL, path, 1), 0);
	create(&fixture, 3);
	assert_int_equal(simpler_worker_add_subs(fixture.worker, 1, NULL), SIMPLER_OK);
	assert_int_not_equal(simpler_worker_init(fixture.worker), SIMPLER_OK);
	assert_says("first statement of main()");
	assert_int_equal(unsetenv(FORGETFUL), 0);
	simpler_args_destroy(fixture.args);
	simpler_worker_close(fixture.worker);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	/* One process came that far, and no further. */
	assert_non_null(strstr(text, "this process was started to run tasks"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	(void)close(fd);
	assert_int_equal(unlink(path), 0);
}

/* What a program does that does not begin with simpler_program_serve(), in the helper. */
static int forget(const char *path)
{
	FILE *file = fopen(path, "a");
	simpler_worker *worker;

	if (!file || simpler_worker_create(NULL, &worker) != SIMPLER_OK)
		return EXIT_FAILURE;
	if (simpler_worker_add_subs(worker, 1, NULL) == SIMPLER_OK)
		(void)simpler_worker_init(worker);
	(void)fprintf(file, "%s\n", simpler_last_error_step(0));
	(void)fclose(file);
	simpler_worker_close(worker);
	return EXIT_SUCCESS;
}

/* With an argument: a program that is served by simpler-host, as ever. */
static void a_program_that_does_not_serve_itself_is_told_so(void **state)
{
	struct fixture *fixture = *state;
	const int64_t one = 1;
	simpler_sub sub;

	assert_int_equal(simpler_program_sub(fixture->worker, add_captured, "add_captured",
	                                     bytes_of(&one), &sub),
	                 SIMPLER_ESTATE);
	assert_says("make simpler_program_serve() the first statement of main()");
}

int main(int argc, char **argv)
{
#define CASE(name)  cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define BELOW(name) cmocka_unit_test_setup_teardown(name, set_up_below, tear_down)
	static const struct CMUnitTest unserved[] = {
		CASE(a_program_that_does_not_serve_itself_is_told_so),
	};
	static const struct CMUnitTest tests[] = {
		CASE(R07_what_a_function_of_the_program_captures_is_a_copy),
		CASE(R08_functions_of_program_library_and_module_work_on_one_tensor),
		BELOW(a_worker_below_runs_functions_of_the_program),
		CASE(functions_are_found_from_within_a_run_of_the_program),
		BELOW(a_function_of_the_program_finds_no_module_of_its_own),
		CASE(a_crash_tells_file_and_line_up_to_the_function_that_was_registered),
		CASE(children_are_forked_from_a_process_of_one_thread),
		CASE(the_same_function_name_and_state_give_the_same_handle),
		CASE(what_is_no_function_or_has_no_name_is_refused),
		CASE(a_library_that_the_program_loaded_later_is_named),
		cmocka_unit_test(threads_that_run_when_children_start_do_not_matter),
		cmocka_unit_test(a_program_that_forgets_to_serve_is_not_started_over_and_over),
	};

	if (getenv(FORGETFUL))
		return forget(getenv(FORGETFUL));
	if (argc == 2 && strcmp(argv[1], "unserved") == 0)
		return cmocka_run_group_tests(unserved, NULL, NULL);
	simpler_program_serve();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
