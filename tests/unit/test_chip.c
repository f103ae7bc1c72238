#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stop.h"
#include "device/block_cache.h"
#include "device/chip.h"
#include "device/sim.h"
#include "device/sim_pool.h"
#include "device/transfer.h"
#include "test_modules.h"

#define MAX_BLOCKS 1000

/* --- what a test starts from --- */

struct rig {
	struct chip *chip;
	simpler_args *args;
};

static struct chip *open_chip(const char *device)
{
	struct chip *chip = NULL;

	if (chip_open(device, 0, &chip))
		fail_msg("%s", simpler_last_error());
	assert_non_null(chip);
	return chip;
}

static int set_up(void **state)
{
	static struct rig rig;

	(void)unsetenv(SIM_MEMORY_VARIABLE);
	rig.chip = open_chip("sim");
	rig.args = simpler_args_create();
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	(void)unsetenv(SIM_MEMORY_VARIABLE);
	(void)stop_watch_process(NULL);
	simpler_args_destroy(rig->args);
	chip_close(rig->chip);
	return 0;
}

static void add(simpler_args *args, const simpler_tensor *tensor, simpler_tag tag)
{
	if (simpler_args_add_tensor(args, tensor, tag, SIMPLER_SHARED))
		fail_msg("%s", simpler_last_error());
}

static simpler_tensor vector(void *data, simpler_dtype dtype, int64_t count)
{
	simpler_tensor tensor;

	assert_int_equal(simpler_tensor_init_1d(&tensor, data, dtype, count), SIMPLER_OK);
	return tensor;
}

static simpler_status run(struct rig *rig, simpler_chip_function *kernel, int32_t blocks,
                          int32_t threads)
{
	simpler_config config = SIMPLER_CONFIG_INIT;

	config.block_dim = blocks;
	config.aicpu_thread_num = threads;
	return chip_run(rig->chip, "kernel", kernel, simpler_no_state(), &config, rig->args);
}

static void assert_error_has(const char *text)
{
	if (!strstr(simpler_last_error(), text))
		fail_msg("'%s' lacks '%s'", simpler_last_error(), text);
}

static struct chip_stats stats_of(const struct rig *rig)
{
	struct chip_stats stats;

	chip_stats(rig->chip, &stats);
	return stats;
}

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

/* --- tags --- */

#define CELLS 100

/* Of tensor 0: what the first cell was, and where. */
static int32_t found;
static const void *found_at;

/* For one block. */
static simpler_status look_and_overwrite(const simpler_block *block, const simpler_args *args,
                                         simpler_bytes state)
{
	simpler_tensor cells;

	(void)block;
	(void)state;
	if (simpler_args_tensor(args, 0, &cells))
		return simpler_last_status();
	found_at = cells.data;
	found = ((int32_t *)cells.data)[CELLS - 1];
	for (int i = 0; i < CELLS; i++)
		((int32_t *)cells.data)[i] = 2;
	return SIMPLER_OK;
}

static simpler_status overwrite_and_fail(const simpler_block *block, const simpler_args *args,
                                         simpler_bytes state)
{
	(void)look_and_overwrite(block, args, state);
	return simpler_fail(SIMPLER_EUSER, "too late");
}

static const struct {
	simpler_tag tag;
	bool in, out;
} tags[] = {
	{ SIMPLER_INPUT, true, false },  { SIMPLER_OUTPUT, false, true },
	{ SIMPLER_INOUT, true, true },   { SIMPLER_OUTPUT_EXISTING, false, true },
	{ SIMPLER_NO_DEP, true, false },
};
#define TAG_COUNT (sizeof(tags) / sizeof(tags[0]))

static void bytes_move_as_tags_say(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < TAG_COUNT; i++) {
		int32_t host[CELLS];
		simpler_tensor tensor = vector(host, SIMPLER_INT32, CELLS);
		struct chip_stats before = stats_of(rig), after;

		for (int cell = 0; cell < CELLS; cell++)
			host[cell] = 1;
		simpler_args_reset(rig->args);
		add(rig->args, &tensor, tags[i].tag);
		found = 0;
		assert_int_equal(run(rig, look_and_overwrite, 1, 1), SIMPLER_OK);
		after = stats_of(rig);
		assert_int_equal(after.bytes_in - before.bytes_in, tags[i].in ? sizeof(host) : 0);
		assert_int_equal(after.bytes_out - before.bytes_out,
		                 tags[i].out ? sizeof(host) : 0);
		if (tags[i].in)
			assert_int_equal(found, 1);
		assert_ptr_not_equal(found_at, host);
		for (int cell = 0; cell < CELLS; cell++)
			assert_int_equal(host[cell], tags[i].out ? 2 : 1);
	}
}

static void a_failed_kernel_leaves_the_hosts_bytes_alone(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < TAG_COUNT; i++) {
		int32_t host[CELLS];
		simpler_tensor tensor = vector(host, SIMPLER_INT32, CELLS);

		for (int cell = 0; cell < CELLS; cell++)
			host[cell] = 1;
		simpler_args_reset(rig->args);
		add(rig->args, &tensor, tags[i].tag);
		assert_int_equal(run(rig, overwrite_and_fail, 1, 1), SIMPLER_EUSER);
		assert_error_has("too late");
		for (int cell = 0; cell < CELLS; cell++)
			assert_int_equal(host[cell], 1);
	}
	assert_int_equal(stats_of(rig).bytes_out, 0);
}

/* --- strides --- */

#define PLANE_BYTES ((size_t)3 << 20)

/* Adds 1 to each byte of tensor 0, after it has compared them with tensor 1, which is contiguous.
 * For one block. */
static simpler_status compare_and_add(const simpler_block *block, const simpler_args *args,
                                      simpler_bytes state)
{
	simpler_tensor given, wanted;
	uint8_t *bytes;

	(void)block;
	(void)state;
	if (simpler_args_tensor(args, 0, &given) || simpler_args_tensor(args, 1, &wanted))
		return simpler_last_status();
	bytes = given.data;
	if (!simpler_tensor_is_contiguous(&given))
		return simpler_fail(SIMPLER_EUSER, "it is not contiguous");
	if (memcmp(bytes, wanted.data, simpler_tensor_bytes(&given)) != 0)
		return simpler_fail(SIMPLER_EUSER, "the bytes differ");
	for (uint64_t i = 0; i < simpler_tensor_bytes(&given); i++)
		bytes[i]++;
	return SIMPLER_OK;
}

static uint8_t *element(const simpler_tensor *tensor, uint64_t number)
{
	int64_t offset = 0, size = (int64_t)simpler_dtype_size(tensor->dtype);

	for (uint32_t i = tensor->ndim; i-- > 0;) {
		offset += (int64_t)(number % (uint64_t)tensor->shape[i]) * tensor->strides[i];
		number /= (uint64_t)tensor->shape[i];
	}
	return (uint8_t *)tensor->data + offset * size;
}

static void strided_tensors_are_packed_and_unpacked(void **state)
{
	static const struct {
		const char *name;
		simpler_dtype dtype;
		uint32_t ndim;
		int64_t shape[3], strides[3];
		int64_t first; /* element, of the plane */
	} views[] = {
		{ "columns", SIMPLER_INT32, 2, { 6, 3 }, { 8, 1 }, 2 },
		{ "a transpose", SIMPLER_INT32, 2, { 8, 6 }, { 1, 8 }, 0 },
		{ "rows upside down", SIMPLER_INT16, 2, { 6, 8 }, { -8, 1 }, 40 },
		{ "rows from right to left", SIMPLER_INT64, 2, { 6, 8 }, { 8, -1 }, 7 },
		{ "both", SIMPLER_UINT8, 2, { 6, 8 }, { -8, -1 }, 47 },
		{ "every third element", SIMPLER_FLOAT64, 1, { 9 }, { 3 }, 0 },
		{ "a box", SIMPLER_FLOAT32, 3, { 2, 3, 4 }, { 48, 8, 1 }, 9 },
		{ "more rows than the buffer holds",
		  SIMPLER_UINT8,
		  2,
		  { 3000, 100 },
		  { 1000, 1 },
		  0 },
		{ "rows longer than the buffer",
		  SIMPLER_UINT8,
		  2,
		  { 3, 300000 },
		  { 300001, 1 },
		  7 },
		{ "single bytes", SIMPLER_UINT8, 1, { 400000 }, { 7 }, 3 },
	};
	struct rig *rig = *state;
	uint8_t *plane = malloc(PLANE_BYTES), *packed = malloc(PLANE_BYTES);
	uint8_t *expected = malloc(PLANE_BYTES);

	assert_true(plane && packed && expected);
	for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++) {
		size_t size = simpler_dtype_size(views[i].dtype);
		simpler_tensor view = { .data = plane + (size_t)views[i].first * size,
			                .dtype = views[i].dtype,
			                .ndim = views[i].ndim };
		simpler_tensor wanted;
		struct chip_stats before = stats_of(rig), after;
		uint64_t count;

		memcpy(view.shape, views[i].shape, sizeof(views[i].shape));
		memcpy(view.strides, views[i].strides, sizeof(views[i].strides));
		count = simpler_tensor_count(&view);
		for (size_t at = 0; at < PLANE_BYTES; at++)
			plane[at] = (uint8_t)(at * 31 + at / 251);
		memcpy(expected, plane, PLANE_BYTES);
		for (uint64_t n = 0; n < count; n++) {
			const uint8_t *from = element(&view, n);

			memcpy(packed + n * size, from, size);
			for (size_t byte = 0; byte < size; byte++)
				expected[(size_t)(from - plane) + byte]++;
		}
		wanted = vector(packed, SIMPLER_UINT8, (int64_t)(count * size));
		simpler_args_reset(rig->args);
		add(rig->args, &view, SIMPLER_INOUT);
		add(rig->args, &wanted, SIMPLER_INPUT);
		if (run(rig, compare_and_add, 1, 1))
			fail_msg("%s: %s", views[i].name, simpler_last_error());
		/* The elements are changed, and not a byte between them. */
		if (memcmp(plane, expected, PLANE_BYTES) != 0)
			fail_msg("%s: other bytes came back", views[i].name);
		after = stats_of(rig);
		assert_int_equal(after.bytes_in - before.bytes_in, 2 * count * size);
		assert_int_equal(after.bytes_out - before.bytes_out, count * size);
	}
	free(plane);
	free(packed);
	free(expected);
}

static void a_row_read_again_and_again_is_packed_as_often(void **state)
{
	struct rig *rig = *state;
	uint8_t row[] = { 1, 2, 3 }, rows[] = { 1, 2, 3, 1, 2, 3 };
	simpler_tensor again = { .data = row,
		                 .dtype = SIMPLER_UINT8,
		                 .ndim = 2,
		                 .shape = { 2, 3 },
		                 .strides = { 0, 1 } };
	simpler_tensor wanted = vector(rows, SIMPLER_UINT8, 6);

	add(rig->args, &again, SIMPLER_INPUT);
	add(rig->args, &wanted, SIMPLER_INPUT);
	if (run(rig, compare_and_add, 1, 1))
		fail_msg("%s", simpler_last_error());
}

/* --- arguments that share bytes --- */

/* Where tensors 0 and 1 were on the device. */
static struct {
	uintptr_t at[2];
	atomic_int launches;
} shared;

/* Writes its number to each byte of a tensor that may be written; and adds to the bytes of both of
 * two that are INOUT. For one block. */
static simpler_status note_places(const simpler_block *block, const simpler_args *args,
                                  simpler_bytes state)
{
	(void)block;
	(void)state;
	shared.launches++;
	for (size_t i = 0; i < 2; i++) {
		simpler_tensor tensor;
		simpler_tag tag;

		if (simpler_args_tensor(args, i, &tensor) || simpler_args_tag(args, i, &tag))
			return simpler_last_status();
		shared.at[i] = (uintptr_t)tensor.data;
		for (uint64_t at = 0; at < simpler_tensor_bytes(&tensor); at++) {
			if (tag == SIMPLER_INOUT)
				((uint8_t *)tensor.data)[at]++;
			else if (tag != SIMPLER_INPUT)
				((uint8_t *)tensor.data)[at] = (uint8_t)(100 + i);
		}
	}
	return SIMPLER_OK;
}

/* Of a matrix of 8 rows of 8 bytes. */
struct part {
	int64_t at, rows, columns, pitch;
	simpler_tag tag;
};

enum sharing { APART, TOGETHER, REFUSED };

static const struct {
	const char *name;
	struct part parts[2];
	enum sharing sharing;
	int64_t distance; /* TOGETHER: of the second from the first, on the device as on the host */
	uint32_t in, out; /* bytes that move */
} sharings[] = {
	{ "a buffer in place",
	  { { 0, 8, 8, 8, SIMPLER_INPUT }, { 0, 8, 8, 8, SIMPLER_OUTPUT } },
	  TOGETHER,
	  0,
	  64,
	  64 },
	{ "a buffer read twice",
	  { { 0, 8, 8, 8, SIMPLER_INPUT }, { 0, 8, 8, 8, SIMPLER_INPUT } },
	  TOGETHER,
	  0,
	  64,
	  0 },
	{ "a buffer changed as two",
	  { { 0, 8, 8, 8, SIMPLER_INOUT }, { 0, 8, 8, 8, SIMPLER_INOUT } },
	  TOGETHER,
	  0,
	  64,
	  64 },
	{ "halves that overlap",
	  { { 0, 5, 8, 8, SIMPLER_INPUT }, { 24, 5, 8, 8, SIMPLER_OUTPUT } },
	  TOGETHER,
	  24,
	  40,
	  40 },
	{ "the later one first",
	  { { 24, 5, 8, 8, SIMPLER_INOUT }, { 0, 5, 8, 8, SIMPLER_INOUT } },
	  TOGETHER,
	  -24,
	  64,
	  64 },
	{ "a part within the whole",
	  { { 0, 8, 8, 8, SIMPLER_INOUT }, { 8, 1, 8, 8, SIMPLER_INPUT } },
	  TOGETHER,
	  8,
	  64,
	  64 },
	{ "halves that touch",
	  { { 0, 4, 8, 8, SIMPLER_INPUT }, { 32, 4, 8, 8, SIMPLER_OUTPUT } },
	  APART,
	  0,
	  32,
	  32 },
	{ "one view of columns twice",
	  { { 1, 8, 3, 8, SIMPLER_INPUT }, { 1, 8, 3, 8, SIMPLER_OUTPUT } },
	  TOGETHER,
	  0,
	  24,
	  24 },
	{ "columns side by side",
	  { { 0, 8, 4, 8, SIMPLER_INOUT }, { 4, 8, 4, 8, SIMPLER_OUTPUT } },
	  APART,
	  0,
	  32,
	  64 },
	{ "columns that overlap",
	  { { 0, 8, 5, 8, SIMPLER_INPUT }, { 4, 8, 4, 8, SIMPLER_OUTPUT } },
	  REFUSED,
	  0,
	  0,
	  0 },
	{ "the same, only read",
	  { { 0, 8, 5, 8, SIMPLER_INPUT }, { 4, 8, 4, 8, SIMPLER_NO_DEP } },
	  APART,
	  0,
	  40 + 32,
	  0 },
	{ "columns of the whole that is written",
	  { { 0, 8, 8, 8, SIMPLER_OUTPUT }, { 4, 8, 4, 8, SIMPLER_INPUT } },
	  REFUSED,
	  0,
	  0,
	  0 },
	{ "columns, and the whole that is written",
	  { { 4, 8, 4, 8, SIMPLER_INPUT }, { 0, 8, 8, 8, SIMPLER_OUTPUT } },
	  REFUSED,
	  0,
	  0,
	  0 },
	{ "columns, and bytes between two of their rows",
	  { { 0, 8, 4, 8, SIMPLER_INPUT }, { 12, 1, 4, 4, SIMPLER_OUTPUT } },
	  APART,
	  0,
	  32,
	  4 },
	{ "every other row and every third byte",
	  { { 0, 4, 8, 16, SIMPLER_INPUT }, { 0, 20, 1, 3, SIMPLER_OUTPUT } },
	  REFUSED,
	  0,
	  0,
	  0 },
	{ "an empty tensor within",
	  { { 0, 8, 8, 8, SIMPLER_INOUT }, { 8, 0, 8, 8, SIMPLER_INOUT } },
	  APART,
	  0,
	  64,
	  64 },
};

static void build(struct rig *rig, const struct part *part, uint8_t *matrix)
{
	simpler_tensor tensor = { .data = matrix + part->at,
		                  .dtype = SIMPLER_UINT8,
		                  .ndim = 2,
		                  .shape = { part->rows, part->columns },
		                  .strides = { part->pitch, 1 } };

	add(rig->args, &tensor, part->tag);
}

/* What comes back: the same kernel, on the matrix itself. */
static void expect(uint8_t *matrix, const struct part *parts)
{
	for (size_t i = 0; i < 2; i++) {
		for (int64_t row = 0; row < parts[i].rows; row++) {
			for (int64_t column = 0; column < parts[i].columns; column++) {
				uint8_t *at = matrix + parts[i].at + row * parts[i].pitch + column;

				if (parts[i].tag == SIMPLER_INOUT)
					(*at)++;
				else if (parts[i].tag == SIMPLER_OUTPUT)
					*at = (uint8_t)(100 + i);
			}
		}
	}
}

static void arguments_that_share_bytes_share_them_on_the_device(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < sizeof(sharings) / sizeof(sharings[0]); i++) {
		uint8_t matrix[64], expected[64];
		struct chip_stats before = stats_of(rig), after;
		simpler_status status;

		for (size_t at = 0; at < sizeof(matrix); at++)
			matrix[at] = expected[at] = (uint8_t)at;
		simpler_args_reset(rig->args);
		build(rig, &sharings[i].parts[0], matrix);
		build(rig, &sharings[i].parts[1], matrix);
		shared.launches = 0;
		status = run(rig, note_places, 1, 1);
		after = stats_of(rig);
		if (status != (sharings[i].sharing == REFUSED ? SIMPLER_EINVAL : SIMPLER_OK) ||
		    shared.launches != (sharings[i].sharing != REFUSED))
			fail_msg("%s: %d %s", sharings[i].name, (int)status, simpler_last_error());
		if (status)
			assert_error_has("tensors 0 and 1 of a chip task share bytes");
		else
			expect(expected, sharings[i].parts);
		if (memcmp(matrix, expected, sizeof(matrix)) != 0)
			fail_msg("%s: other bytes came back", sharings[i].name);
		if (sharings[i].sharing == TOGETHER &&
		    (int64_t)(shared.at[1] - shared.at[0]) != sharings[i].distance)
			fail_msg("%s: at another distance", sharings[i].name);
		if (after.bytes_in - before.bytes_in != sharings[i].in ||
		    after.bytes_out - before.bytes_out != sharings[i].out)
			fail_msg("%s: %d bytes went in and %d out", sharings[i].name,
			         (int)(after.bytes_in - before.bytes_in),
			         (int)(after.bytes_out - before.bytes_out));
	}
}

/* --- the device's memory --- */

#define KIB ((size_t)1 << 10)

/* A chip with this much memory, in place of the rig's. */
static void open_with_memory(struct rig *rig, const char *memory)
{
	chip_close(rig->chip);
	(void)setenv(SIM_MEMORY_VARIABLE, memory, 1);
	rig->chip = open_chip("sim");
}

static simpler_status nothing(const simpler_block *block, const simpler_args *args,
                              simpler_bytes state)
{
	(void)block;
	(void)args;
	(void)state;
	return SIMPLER_OK;
}

/* Run a task with inputs of these many bytes. */
static simpler_status run_with(struct rig *rig, size_t first, size_t second)
{
	static uint8_t bytes[2][2048 * KIB];
	simpler_tensor one = vector(bytes[0], SIMPLER_UINT8, (int64_t)first);
	simpler_tensor other = vector(bytes[1], SIMPLER_UINT8, (int64_t)second);

	simpler_args_reset(rig->args);
	add(rig->args, &one, SIMPLER_INPUT);
	add(rig->args, &other, SIMPLER_INPUT);
	return run(rig, nothing, 1, 1);
}

static void the_devices_capacity_is_a_limit_with_numbers(void **state)
{
	struct rig *rig = *state;

	open_with_memory(rig, "1M");
	assert_int_equal(run_with(rig, 2048 * KIB, 0), SIMPLER_ENOSPACE);
	assert_error_has("asked for 2097152 bytes of simulated device 0: 0 of its 1048576 bytes");
	assert_int_equal(run_with(rig, 512 * KIB, 768 * KIB), SIMPLER_ENOSPACE);
	assert_error_has("asked for 786432 bytes of simulated device 0: 524288 of its 1048576");
	/* What the failed task had taken is free again. */
	assert_int_equal(run_with(rig, 512 * KIB, 512 * KIB), SIMPLER_OK);
	assert_int_equal(run_with(rig, 1024 * KIB, 0), SIMPLER_OK);
}

static void the_default_capacity_is_256_mib(void **state)
{
	struct rig *rig = *state;
	simpler_tensor tensor = vector(rig, SIMPLER_UINT8, (INT64_C(256) << 20) + 1);

	add(rig->args, &tensor, SIMPLER_OUTPUT); /* never touched: it does not fit */
	assert_int_equal(run(rig, nothing, 1, 1), SIMPLER_ENOSPACE);
	assert_error_has("0 of its 268435456 bytes are used");
}

static void memory_is_kept_for_tasks_of_the_same_sizes(void **state)
{
	struct rig *rig = *state;

	open_with_memory(rig, "1M");
	assert_int_equal(run_with(rig, 300 * KIB, 100), SIMPLER_OK);
	assert_int_equal(stats_of(rig).allocations, 2);
	assert_int_equal(stats_of(rig).kept_bytes, 300 * KIB + BLOCK_CACHE_UNIT);
	for (int i = 0; i < 3; i++)
		assert_int_equal(run_with(rig, 300 * KIB, 99), SIMPLER_OK);
	assert_int_equal(stats_of(rig).allocations, 2);
	/* Another size finds no room beside what is kept, which makes some: the third is asked for
	 * until both are gone. */
	assert_int_equal(run_with(rig, 1024 * KIB, 0), SIMPLER_OK);
	assert_int_equal(stats_of(rig).allocations, 5);
	assert_int_equal(stats_of(rig).kept_bytes, 1024 * KIB);
}

static void what_is_kept_is_bounded(void **state)
{
	struct rig *rig = *state;
	uint8_t *large = malloc(BLOCK_CACHE_BYTES + 1);
	simpler_tensor tensor;

	assert_non_null(large);
	for (size_t i = 1; i <= 2 * BLOCK_CACHE_BLOCKS; i++)
		assert_int_equal(run_with(rig, i * BLOCK_CACHE_UNIT, 0), SIMPLER_OK);
	/* The youngest ones are left. */
	assert_int_equal(stats_of(rig).kept_bytes,
	                 BLOCK_CACHE_UNIT * BLOCK_CACHE_BLOCKS * (3 * BLOCK_CACHE_BLOCKS + 1) / 2);
	for (uint64_t less = 0; less <= BLOCK_CACHE_UNIT; less += BLOCK_CACHE_UNIT) {
		tensor = vector(large, SIMPLER_UINT8, (int64_t)(BLOCK_CACHE_BYTES - less));
		simpler_args_reset(rig->args);
		add(rig->args, &tensor, SIMPLER_OUTPUT_EXISTING);
		assert_int_equal(run(rig, nothing, 1, 1), SIMPLER_OK);
		assert_int_equal(stats_of(rig).kept_bytes, BLOCK_CACHE_BYTES - less);
	}
	/* One that is over the limit is not kept, and drives nothing out. */
	tensor = vector(large, SIMPLER_UINT8, (int64_t)BLOCK_CACHE_BYTES + 1);
	simpler_args_reset(rig->args);
	add(rig->args, &tensor, SIMPLER_OUTPUT_EXISTING);
	assert_int_equal(run(rig, nothing, 1, 1), SIMPLER_OK);
	assert_int_equal(stats_of(rig).kept_bytes, BLOCK_CACHE_BYTES - BLOCK_CACHE_UNIT);
	free(large);
}

static void the_simulations_memory_is_a_sane_number(void **state)
{
	static const char *const wrong[] = { "x",
		                             "-1",
		                             "12Q",
		                             "0",
		                             "100",
		                             "1MM",
		                             " 4M",
		                             "18446744073709551616",
		                             "18446744073709551615",
		                             "17179869184G" };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct chip *chip = NULL;

		(void)setenv(SIM_MEMORY_VARIABLE, wrong[i], 1);
		if (chip_open("sim", 0, &chip) != SIMPLER_EINVAL)
			fail_msg("'%s' is taken for a size", wrong[i]);
		assert_null(chip);
		assert_error_has(SIM_MEMORY_VARIABLE);
		assert_error_has(wrong[i]);
	}
	(void)setenv(SIM_MEMORY_VARIABLE, "64K", 1);
	chip_close(open_chip("sim"));
}

static void what_is_no_memory_of_the_device_is_refused(void **state)
{
	simpler_device *device = NULL;
	void *block = NULL;
	char host[64] = "";

	(void)state;
	assert_int_equal(sim_device.open(3, &device), SIMPLER_OK);
	assert_int_equal(sim_device.alloc(device, 1000, &block), SIMPLER_OK);
	assert_int_equal(sim_device.copy_in(device, block, host, 64), SIMPLER_OK);
	assert_int_equal(sim_device.copy_out(device, host, (char *)block + 900, 64), SIMPLER_OK);
	assert_int_equal(sim_device.copy_in(device, host, host, 1), SIMPLER_EINVAL);
	assert_error_has("simulated device 3");
	/* 1000 bytes are a block of 1024. */
	assert_int_equal(sim_device.copy_in(device, (char *)block + 1000, host, 25),
	                 SIMPLER_EINVAL);
	assert_int_equal(sim_device.copy_in(device, (char *)block - 1, host, 1), SIMPLER_EINVAL);
	assert_int_equal(sim_device.copy_out(device, host, block, UINT64_MAX), SIMPLER_EINVAL);
	sim_device.free(device, block);
	assert_int_equal(sim_device.copy_in(device, block, host, 1), SIMPLER_EINVAL);
	sim_device.close(device);
}

static void chips_have_memory_of_their_own(void **state)
{
	struct rig *rig = *state;
	struct chip *second = NULL, *first = rig->chip;
	int32_t host[CELLS] = { 0 };
	simpler_tensor tensor = vector(host, SIMPLER_INT32, CELLS);
	const void *at_first;

	assert_int_equal(chip_open("sim", SIM_DEVICES - 1, &second), SIMPLER_OK);
	add(rig->args, &tensor, SIMPLER_OUTPUT);
	assert_int_equal(run(rig, look_and_overwrite, 1, 1), SIMPLER_OK);
	at_first = found_at;
	rig->chip = second;
	assert_int_equal(run(rig, look_and_overwrite, 1, 1), SIMPLER_OK);
	assert_ptr_not_equal(found_at, at_first);
	rig->chip = first;
	chip_close(second);
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
	forget_blocks(24, 3);
	assert_int_equal(run(rig, stop_at, 24, 3), SIMPLER_OK);
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
		assert_error_has("opening chip");
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
		CHIP_TEST(a_chip_is_usable_after_a_failure),
		CHIP_TEST(bytes_move_as_tags_say),
		CHIP_TEST(a_failed_kernel_leaves_the_hosts_bytes_alone),
		CHIP_TEST(strided_tensors_are_packed_and_unpacked),
		CHIP_TEST(a_row_read_again_and_again_is_packed_as_often),
		CHIP_TEST(arguments_that_share_bytes_share_them_on_the_device),
		CHIP_TEST(the_devices_capacity_is_a_limit_with_numbers),
		CHIP_TEST(the_default_capacity_is_256_mib),
		CHIP_TEST(memory_is_kept_for_tasks_of_the_same_sizes),
		CHIP_TEST(what_is_kept_is_bounded),
		CHIP_TEST(the_simulations_memory_is_a_sane_number),
		CHIP_TEST(what_is_no_memory_of_the_device_is_refused),
		CHIP_TEST(chips_have_memory_of_their_own),
		CHIP_TEST(a_stopped_task_begins_no_more_blocks),
		CHIP_TEST(all_threads_of_a_kernel_see_that_it_is_to_stop),
		CHIP_TEST(devices_that_are_none_are_told_from_those_that_are),
		CHIP_TEST(a_driver_from_a_shared_object_runs_kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
