#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "chip_rig.h"
#include "device/sim_pool.h"
#include "test_modules.h"

#define MAX_BLOCKS 1000

/* --- launching --- */

static struct {
	_Atomic int32_t runs[MAX_BLOCKS];    /* of each block */
	atomic_bool inside[SIM_MAX_THREADS]; /* a block runs in this thread */
	_Atomic int32_t wrong;               /* blocks that were told nonsense */
	_Atomic int32_t total;
	int32_t blocks, threads; /* as configured */
} seen;

static void forget_blocks(int32_t blocks, int32_t threads)
{
	memset(&seen, 0, sizeof(seen));
	seen.blocks = blocks;
	seen.threads = threads;
}

static simpler_status note_block(const simpler_block *block, const simpler_args *args,
                                 simpler_bytes state)
{
	(void)args;
	(void)state;
	if (block->count != seen.blocks || block->thread_count != seen.threads ||
	    block->index < 0 || block->index >= seen.blocks || block->thread < 0 ||
	    block->thread >= seen.threads || atomic_exchange(&seen.inside[block->thread], true)) {
		atomic_fetch_add(&seen.wrong, 1);
		return SIMPLER_OK;
	}
	atomic_fetch_add(&seen.runs[block->index], 1);
	atomic_fetch_add(&seen.total, 1);
	atomic_store(&seen.inside[block->thread], false);
	return SIMPLER_OK;
}

static void each_block_runs_exactly_once(void **state)
{
	static const struct {
		int32_t blocks, threads;
	} launches[] = {
		{ 1, 1 },    { 1, 4 },     { 2, 2 },    { 24, 1 },  { 24, 3 }, { 3, 24 },
		{ 1000, 3 }, { 1000, 64 }, { 1000, 1 }, { 64, 64 }, { 24, 3 }, /* fewer threads than
		                                                                  there are by now
		                                                                */
	};

	for (size_t i = 0; i < sizeof(launches) / sizeof(launches[0]); i++) {
		forget_blocks(launches[i].blocks, launches[i].threads);
		assert_int_equal(run(*state, note_block, launches[i].blocks, launches[i].threads),
		                 SIMPLER_OK);
		assert_int_equal(seen.wrong, 0);
		for (int32_t block = 0; block < MAX_BLOCKS; block++)
			assert_int_equal(seen.runs[block], block < launches[i].blocks);
	}
}

static void a_launch_without_a_config_has_the_defaults(void **state)
{
	struct rig *rig = *state;

	forget_blocks(24, 3);
	assert_int_equal(
		chip_run(rig->chip, "kernel", note_block, simpler_no_state(), NULL, rig->args),
		SIMPLER_OK);
	assert_int_equal(seen.total, 24);
	assert_int_equal(seen.wrong, 0);
}

static pthread_barrier_t meeting;

static simpler_status meet(const simpler_block *block, const simpler_args *args,
                           simpler_bytes state)
{
	(void)block;
	(void)args;
	(void)state;
	(void)pthread_barrier_wait(&meeting);
	return SIMPLER_OK;
}

static void blocks_run_in_as_many_threads_as_configured(void **state)
{
	for (int32_t threads = 2; threads <= 8; threads += 3) {
		pthread_barrier_init(&meeting, NULL, (unsigned)threads);
		/* None of them could end if they did not run side by side. */
		assert_int_equal(run(*state, meet, 4 * threads, threads), SIMPLER_OK);
		pthread_barrier_destroy(&meeting);
	}
}

static void impossible_launches_are_refused(void **state)
{
	static const struct {
		int32_t blocks, threads;
		const char *words;
	} launches[] = {
		{ 0, 3, "0 blocks" },
		{ -5, 3, "-5 blocks" },
		{ 24, 0, "0 threads" },
		{ 24, -1, "-1 threads" },
		{ 24, SIM_MAX_THREADS + 1, "65 threads" },
		{ 1, INT32_MAX, "a simulated device has 64" },
	};

	for (size_t i = 0; i < sizeof(launches) / sizeof(launches[0]); i++) {
		forget_blocks(launches[i].blocks, launches[i].threads);
		assert_int_equal(run(*state, note_block, launches[i].blocks, launches[i].threads),
		                 SIMPLER_EINVAL);
		assert_error_has(launches[i].words);
		assert_int_equal(seen.total + seen.wrong, 0);
	}
}

static simpler_status check_arguments(const simpler_block *block, const simpler_args *args,
                                      simpler_bytes state)
{
	simpler_tensor tensor;
	simpler_tag tag;
	uint64_t scalar;

	(void)block;
	if (simpler_args_tensor_count(args) != 3 || simpler_args_scalar_count(args) != 2 ||
	    state.size != 5 || memcmp(state.data, "state", 5) != 0)
		return simpler_fail(SIMPLER_EUSER, "counts or state");
	if (simpler_args_scalar(args, 1, &scalar) || scalar != 77)
		return simpler_fail(SIMPLER_EUSER, "scalar");
	if (simpler_args_tensor(args, 0, &tensor) || tensor.data || tensor.ndim != 1)
		return simpler_fail(SIMPLER_EUSER, "the empty tensor");
	if (simpler_args_tensor(args, 1, &tensor) || tensor.ndim != 0 ||
	    tensor.dtype != SIMPLER_FLOAT64 || *(double *)tensor.data != 2.5)
		return simpler_fail(SIMPLER_EUSER, "the single element");
	if (simpler_args_tag(args, 2, &tag) || tag != SIMPLER_NO_DEP ||
	    simpler_args_tensor(args, 2, &tensor) || tensor.ndim != 2 || tensor.shape[1] != 3 ||
	    (uintptr_t)tensor.data % SIMPLER_DEVICE_ALIGNMENT != 0)
		return simpler_fail(SIMPLER_EUSER, "the matrix");
	return SIMPLER_OK;
}

static void a_kernel_gets_its_arguments_and_state(void **state)
{
	struct rig *rig = *state;
	const int64_t shape[] = { 2, 3 };
	simpler_bytes captured = { "state", 5 };
	uint8_t cells[6] = { 0 };
	double number = 2.5;
	simpler_tensor empty = vector(NULL, SIMPLER_INT64, 0), single, matrix;

	assert_int_equal(simpler_tensor_init(&single, &number, SIMPLER_FLOAT64, 0, NULL), 0);
	assert_int_equal(simpler_tensor_init(&matrix, cells, SIMPLER_UINT8, 2, shape), 0);
	add(rig->args, &empty, SIMPLER_INOUT);
	add(rig->args, &single, SIMPLER_INPUT);
	add(rig->args, &matrix, SIMPLER_NO_DEP);
	(void)simpler_args_add_scalar(rig->args, 5);
	(void)simpler_args_add_scalar(rig->args, 77);
	if (chip_run(rig->chip, "kernel", check_arguments, captured, NULL, rig->args))
		fail_msg("%s", simpler_last_error());
	assert_int_equal(stats_of(rig).bytes_in, sizeof(number) + sizeof(cells));
	assert_int_equal(stats_of(rig).bytes_out, 0);
}

/* --- failing blocks --- */

static struct {
	int32_t first, last; /* blocks that fail */
	simpler_status status;
	bool silent; /* leave no message */
} failing;

static simpler_status fail_some(const simpler_block *block, const simpler_args *args,
                                simpler_bytes state)
{
	(void)note_block(block, args, state);
	if (block->index < failing.first || block->index > failing.last) {
		/* A message of a block that succeeds explains no other. */
		(void)simpler_fail(failing.status, "block %d is fine", (int)block->index);
		return SIMPLER_OK;
	}
	if (failing.silent)
		return failing.status;
	return simpler_fail(failing.status, "block %d is hot", (int)block->index);
}

static void the_first_failing_block_is_told(void **state)
{
	static const struct {
		int32_t blocks, threads, first, last;
		simpler_status status;
		bool silent;
		const char *cause, *step;
	} cases[] = {
		{ 1, 1, 0, 0, SIMPLER_EUSER, false, "block 0 is hot", "block 0 of 1" },
		{ 24, 1, 7, 7, SIMPLER_EINVAL, false, "block 7 is hot", "block 7 of 24" },
		{ 24, 3, 7, 7, SIMPLER_ENOSPACE, false, "block 7 is hot", "block 7 of 24" },
		{ 24, 3, 7, 23, SIMPLER_USER_STATUS, false, "block 7 is hot", "block 7 of 24" },
		{ 1000, 8, 500, 999, SIMPLER_EUSER, false, "block 500 is hot",
		  "block 500 of 1000" },
		{ 24, 3, 0, 23, SIMPLER_EUSER, false, "block 0 is hot", "block 0 of 24" },
		{ 24, 3, 23, 23, (simpler_status)1234, true, "returned 1234 and gave no message",
		  "block 23 of 24" },
		{ 5, 1, 4, 4, (simpler_status)-3, true, "returned -3", "block 4 of 5" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		failing.first = cases[i].first;
		failing.last = cases[i].last;
		failing.status = cases[i].status;
		failing.silent = cases[i].silent;
		forget_blocks(cases[i].blocks, cases[i].threads);
		assert_int_equal(run(*state, fail_some, cases[i].blocks, cases[i].threads),
		                 cases[i].status);
		assert_int_equal(simpler_last_status(), cases[i].status);
		if (!strstr(simpler_last_error_step(0), cases[i].cause))
			fail_msg("case %zu: %s", i, simpler_last_error());
		assert_error_has(cases[i].step);
		/* Those below it ran, and of the others only those that had begun. */
		for (int32_t block = 0; block <= cases[i].first; block++)
			assert_int_equal(seen.runs[block], 1);
		if (cases[i].threads == 1)
			assert_int_equal(seen.total, cases[i].first + 1);
	}
}

static atomic_int failed_so_far;
static bool backwards; /* the last block fails first */

/* Three blocks in three threads, which fail one after the other. */
static simpler_status fail_in_turn(const simpler_block *block, const simpler_args *args,
                                   simpler_bytes state)
{
	int turn = backwards ? 2 - block->index : block->index;

	(void)args;
	(void)state;
	(void)pthread_barrier_wait(&meeting);
	while (atomic_load(&failed_so_far) < turn)
		sched_yield();
	(void)simpler_fail(SIMPLER_EUSER, "block %d is hot", (int)block->index);
	atomic_fetch_add(&failed_so_far, 1);
	return SIMPLER_EUSER;
}

static void of_blocks_that_fail_together_the_lowest_is_told(void **state)
{
	pthread_barrier_init(&meeting, NULL, 3);
	/* Often, as each time they may overtake one another on their way out. */
	for (int i = 0; i < 100; i++) {
		backwards = i % 2;
		atomic_store(&failed_so_far, 0);
		assert_int_equal(run(*state, fail_in_turn, 3, 3), SIMPLER_EUSER);
		assert_string_equal(simpler_last_error_step(0), "block 0 is hot");
	}
	pthread_barrier_destroy(&meeting);
}

static void a_chip_is_usable_after_a_failure(void **state)
{
	failing.first = failing.last = 2;
	failing.status = SIMPLER_EUSER;
	failing.silent = false;
	forget_blocks(24, 3);
	assert_int_equal(run(*state, fail_some, 24, 3), SIMPLER_EUSER);
	forget_blocks(24, 3);
	assert_int_equal(run(*state, note_block, 24, 3), SIMPLER_OK);
	assert_int_equal(seen.total, 24);
}

/* --- stopping --- */

static _Atomic uint32_t stop_flag;
static int32_t stopping_block;

static simpler_status stop_at(const simpler_block *block, const simpler_args *args,
                              simpler_bytes state)
{
	(void)note_block(block, args, state);
	if (block->index == stopping_block)
		atomic_store(&stop_flag, 1);
	return block->index == 0 && simpler_args_tensor_count(args) > 0
	               ? look_and_overwrite(block, args, state)
	               : SIMPLER_OK;
}

static void a_stopped_task_begins_no_more_blocks(void **state)
{
	static const struct {
		int32_t blocks, threads, stopping, runs; /* runs: that begin, -1 for some */
	} cases[] = {
		{ 24, 1, 4, 5 },
		{ 24, 1, 23, 24 }, /* all have run, and yet it was stopped */
		{ 1000, 3, 4, -1 },
		{ 24, 3, -1, 0 }, /* stopped before it began */
	};
	struct rig *rig = *state;

	(void)stop_watch_process(&stop_flag);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int32_t host[CELLS] = { 0 };
		simpler_tensor tensor = vector(host, SIMPLER_INT32, CELLS);

		simpler_args_reset(rig->args);
		add(rig->args, &tensor, SIMPLER_OUTPUT);
		forget_blocks(cases[i].blocks, cases[i].threads);
		stopping_block = cases[i].stopping;
		atomic_store(&stop_flag, stopping_block < 0);
		assert_int_equal(run(rig, stop_at, cases[i].blocks, cases[i].threads),
		                 SIMPLER_ECANCELLED);
		assert_error_has("stopped");
		if (cases[i].runs >= 0)
			assert_int_equal(seen.total, cases[i].runs);
		else
			assert_in_range(seen.total, cases[i].stopping + 1, cases[i].blocks - 1);
		assert_int_equal(host[0], 0);
	}
	atomic_store(&stop_flag, 0);
	simpler_args_reset(rig->args);
	stopping_block = -1;
	forget_blocks(24, 3);
	assert_int_equal(run(rig, stop_at, 24, 3), SIMPLER_OK);
	assert_int_equal(seen.total, 24);
}

/* Blocks but the first wait for the flag as a long kernel does, the first raises it. */
static simpler_status wait_for_stop(const simpler_block *block, const simpler_args *args,
                                    simpler_bytes state)
{
	(void)args;
	(void)state;
	(void)pthread_barrier_wait(&meeting);
	if (block->index == 0)
		atomic_store(&stop_flag, 1);
	while (!simpler_should_stop())
		;
	return SIMPLER_OK;
}

static void all_threads_of_a_kernel_see_that_it_is_to_stop(void **state)
{
	(void)stop_watch_process(&stop_flag);
	atomic_store(&stop_flag, 0);
	pthread_barrier_init(&meeting, NULL, 3);
	assert_int_equal(run(*state, wait_for_stop, 3, 3), SIMPLER_ECANCELLED);
	pthread_barrier_destroy(&meeting);
}

/* Stops the task by a flag that the launching thread alone watches, once another has joined it. */
static simpler_status stop_from_the_launching_thread(const simpler_block *block,
                                                     const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	if (block->index < 2)
		(void)pthread_barrier_wait(&meeting);
	if (block->thread == 0)
		atomic_store(&stop_flag, 1);
	return SIMPLER_OK;
}

static void a_thread_that_sees_the_stop_stops_the_others(void **state)
{
	simpler_status status;

	atomic_store(&stop_flag, 0);
	(void)stop_watch_thread(&stop_flag);
	pthread_barrier_init(&meeting, NULL, 2);
	/* So many blocks that the other thread is not through before. */
	status = run(*state, stop_from_the_launching_thread, 100000000, 2);
	(void)stop_watch_thread(NULL);
	pthread_barrier_destroy(&meeting);
	assert_int_equal(status, SIMPLER_ECANCELLED);
	assert_error_has("blocks were not run");
}

/* --- which device --- */

static void devices_that_are_none_are_told_from_those_that_are(void **state)
{
	static const struct {
		const char *device;
		uint32_t index;
		simpler_status status;
		const char *words;
	} cases[] = {
		{ "npu", 0, SIMPLER_ENOTFOUND, "there is no device 'npu'; known are 'sim'" },
		{ "", 0, SIMPLER_ENOTFOUND, "known are 'sim'" },
		{ "SIM", 0, SIMPLER_ENOTFOUND, "known are 'sim'" },
		{ "sim", SIM_DEVICES, SIMPLER_ENOTFOUND,
		  "there is no sim 256: this machine has 256" },
		{ "./no such driver.so", 0, SIMPLER_EINVAL, "'./no such driver.so' does not load" },
		{ TEST_MODULES_DIR "/plain.so", 0, SIMPLER_EINVAL,
		  "is no device driver: it lacks" },
		{ TEST_MODULES_DIR "/device_other_abi.so", 0, SIMPLER_EVERSION, "device ABI 2" },
		{ TEST_MODULES_DIR "/device_short_table.so", 0, SIMPLER_EVERSION, "16 bytes" },
		{ TEST_MODULES_DIR "/device_no_table.so", 0, SIMPLER_EINVAL, "no table" },
		{ TEST_MODULES_DIR "/device_incomplete.so", 0, SIMPLER_EINVAL, "lacks a function" },
		{ TEST_MODULES_DIR "/device_driver.so", 2, SIMPLER_ENOTFOUND,
		  "this machine has 2" },
		{ TEST_MODULES_DIR "/device_driver.so", 1, SIMPLER_EUNAVAILABLE, "is on fire" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct chip *chip = NULL;

		if (chip_open(cases[i].device, cases[i].index, &chip) != cases[i].status)
			fail_msg("'%s': %s", cases[i].device, simpler_last_error());
		assert_null(chip);
		assert_error_has(cases[i].words);
	}
}

static void a_driver_from_a_shared_object_runs_kernels(void **state)
{
	struct rig *rig = *state;
	int32_t host[2 * CELLS];
	simpler_tensor every_other = { .data = host,
		                       .dtype = SIMPLER_INT32,
		                       .ndim = 1,
		                       .shape = { CELLS },
		                       .strides = { 2 } };

	chip_close(rig->chip);
	rig->chip = open_chip(TEST_MODULES_DIR "/device_driver.so");
	for (int cell = 0; cell < 2 * CELLS; cell++)
		host[cell] = 1;
	add(rig->args, &every_other, SIMPLER_INOUT);
	assert_int_equal(run(rig, look_and_overwrite, 1, 1), SIMPLER_OK);
	for (int cell = 0; cell < 2 * CELLS; cell++)
		assert_int_equal(host[cell], cell % 2 ? 1 : 2);
	forget_blocks(24, 3);
	assert_int_equal(run(rig, note_block, 24, 3), SIMPLER_OK);
	assert_int_equal(seen.total, 24);
	assert_int_equal(seen.wrong, 0);
	assert_int_equal(run(rig, overwrite_and_fail, 1, 1), SIMPLER_EUSER);
	assert_error_has("too late");
	assert_int_equal(host[1], 1);
}

int main(void)
{
#define CHIP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CHIP_TEST(each_block_runs_exactly_once),
		CHIP_TEST(a_launch_without_a_config_has_the_defaults),
		CHIP_TEST(blocks_run_in_as_many_threads_as_configured),
		CHIP_TEST(impossible_launches_are_refused),
		CHIP_TEST(a_kernel_gets_its_arguments_and_state),
		CHIP_TEST(the_first_failing_block_is_told),
		CHIP_TEST(of_blocks_that_fail_together_the_lowest_is_told),
		CHIP_TEST(a_chip_is_usable_after_a_failure),
		CHIP_TEST(a_stopped_task_begins_no_more_blocks),
		CHIP_TEST(all_threads_of_a_kernel_see_that_it_is_to_stop),
		CHIP_TEST(a_thread_that_sees_the_stop_stops_the_others),
		CHIP_TEST(devices_that_are_none_are_told_from_those_that_are),
		CHIP_TEST(a_driver_from_a_shared_object_runs_kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
