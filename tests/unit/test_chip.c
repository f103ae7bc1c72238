#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>

#include "chip_rig.h"
#include "device/block_cache.h"

/* --- tags --- */
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

static void add_part(struct rig *rig, const struct part *part, uint8_t *matrix)
{
	uint8_t *first = matrix + part->at;
	simpler_tensor tensor = { .data = first,
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
		add_part(rig, &sharings[i].parts[0], matrix);
		add_part(rig, &sharings[i].parts[1], matrix);
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

static void vectors_that_overlap_have_memory_for_all_their_bytes(void **state)
{
	enum { FIRST = 1000, BEGIN = 500, ALL = 40000 };
	static uint8_t bytes[ALL];
	struct rig *rig = *state;
	simpler_tensor first = vector(bytes, SIMPLER_UINT8, FIRST);
	simpler_tensor second = vector(bytes + BEGIN, SIMPLER_UINT8, ALL - BEGIN);

	memset(bytes, 1, sizeof(bytes));
	add(rig->args, &second, SIMPLER_INOUT);
	add(rig->args, &first, SIMPLER_INOUT);
	if (run(rig, note_places, 1, 1))
		fail_msg("%s", simpler_last_error());
	for (int i = 0; i < ALL; i++)
		assert_int_equal(bytes[i], i >= BEGIN && i < FIRST ? 3 : 2);
	assert_int_equal(stats_of(rig).bytes_in, ALL);
	assert_int_equal(stats_of(rig).allocations, 1);
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
	/* A block serves no smaller request: what fits without the cache fits with it. */
	assert_int_equal(run_with(rig, 300 * KIB, BLOCK_CACHE_UNIT + 1), SIMPLER_OK);
	assert_int_equal(run_with(rig, 200 * KIB, 100), SIMPLER_OK);
	assert_int_equal(stats_of(rig).allocations, 4);
	/* A task that finds no room beside what is kept has the oldest go until it does: all four
	 * here, asking each time. */
	assert_int_equal(run_with(rig, 1024 * KIB, 0), SIMPLER_OK);
	assert_int_equal(stats_of(rig).allocations, 4 + 5);
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

int main(void)
{
#define CHIP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CHIP_TEST(bytes_move_as_tags_say),
		CHIP_TEST(a_failed_kernel_leaves_the_hosts_bytes_alone),
		CHIP_TEST(strided_tensors_are_packed_and_unpacked),
		CHIP_TEST(a_row_read_again_and_again_is_packed_as_often),
		CHIP_TEST(arguments_that_share_bytes_share_them_on_the_device),
		CHIP_TEST(vectors_that_overlap_have_memory_for_all_their_bytes),
		CHIP_TEST(the_devices_capacity_is_a_limit_with_numbers),
		CHIP_TEST(the_default_capacity_is_256_mib),
		CHIP_TEST(memory_is_kept_for_tasks_of_the_same_sizes),
		CHIP_TEST(what_is_kept_is_bounded),
		CHIP_TEST(the_simulations_memory_is_a_sane_number),
		CHIP_TEST(what_is_no_memory_of_the_device_is_refused),
		CHIP_TEST(chips_have_memory_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
