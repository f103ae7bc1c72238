#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "wire/args.h"

static int64_t elements[16];

static simpler_tensor vector(int64_t count)
{
	simpler_tensor tensor;

	assert_int_equal(simpler_tensor_init_1d(&tensor, elements, SIMPLER_INT64, count),
	                 SIMPLER_OK);
	return tensor;
}

static int create(void **state)
{
	*state = simpler_args_create();
	return *state ? 0 : -1;
}

static int destroy(void **state)
{
	simpler_args_destroy(*state);
	return 0;
}

static void what_was_added_is_read_back(void **state)
{
	simpler_args *args = *state;
	simpler_tensor first = vector(3), second = vector(5), out;
	simpler_tag tag;
	uint64_t scalar;

	assert_int_equal(simpler_args_add_tensor(args, &first, SIMPLER_INPUT, SIMPLER_SHARED), 0);
	assert_int_equal(simpler_args_add_tensor(args, &second, SIMPLER_INOUT, SIMPLER_STAGED), 0);
	assert_int_equal(simpler_args_add_scalar(args, UINT64_MAX), SIMPLER_OK);
	assert_int_equal(simpler_args_tensor_count(args), 2);
	assert_int_equal(simpler_args_scalar_count(args), 1);
	assert_int_equal(simpler_args_tensor(args, 1, &out), SIMPLER_OK);
	assert_int_equal(out.shape[0], 5);
	assert_ptr_equal(out.data, elements);
	assert_int_equal(simpler_args_tag(args, 1, &tag), SIMPLER_OK);
	assert_int_equal(tag, SIMPLER_INOUT);
	assert_int_equal(simpler_args_scalar(args, 0, &scalar), SIMPLER_OK);
	assert_int_equal(scalar, UINT64_MAX);
}

/* Fails with EINVAL and a message that has both numbers. */
static void assert_out_of_range(simpler_status status, const char *index, const char *count)
{
	assert_int_equal(status, SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), index));
	assert_non_null(strstr(simpler_last_error(), count));
}

static void R20_an_index_out_of_range_names_index_and_count(void **state)
{
	simpler_args *args = *state;
	simpler_tensor tensor = vector(1);
	simpler_tag tag;
	uint64_t scalar;

	assert_out_of_range(simpler_args_tensor(args, 0, &tensor), "index 0", "are 0 tensors");
	assert_int_equal(simpler_args_add_tensor(args, &tensor, SIMPLER_INPUT, SIMPLER_SHARED), 0);
	assert_out_of_range(simpler_args_tensor(args, 1, &tensor), "index 1", "is 1 tensor");
	assert_out_of_range(simpler_args_tag(args, 7, &tag), "index 7", "is 1 tensor");
	assert_int_equal(simpler_args_add_scalar(args, 1), SIMPLER_OK);
	assert_int_equal(simpler_args_add_scalar(args, 2), SIMPLER_OK);
	assert_out_of_range(simpler_args_scalar(args, 2, &scalar), "index 2", "are 2 scalars");
	assert_out_of_range(simpler_args_scalar(args, SIZE_MAX, &scalar), "scalar index", "2");
}

static void R10_tensors_come_first_then_scalars(void **state)
{
	simpler_args *args = *state;
	simpler_tensor tensor = vector(1);

	assert_int_equal(simpler_args_add_scalar(args, 1), SIMPLER_OK);
	assert_int_equal(simpler_args_add_tensor(args, &tensor, SIMPLER_INPUT, SIMPLER_SHARED),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "add all tensors first, then the scalars"));
	assert_int_equal(simpler_args_tensor_count(args), 0);
}

static void R12_an_oversize_inline_argument_is_an_error(void **state)
{
	static uint8_t bytes[SIMPLER_INLINE_MAX + 1];
	simpler_args *args = *state;
	simpler_tensor fits, over;

	assert_int_equal(simpler_tensor_init_1d(&fits, bytes, SIMPLER_UINT8, SIMPLER_INLINE_MAX),
	                 SIMPLER_OK);
	assert_int_equal(
		simpler_tensor_init_1d(&over, bytes, SIMPLER_UINT8, SIMPLER_INLINE_MAX + 1),
		SIMPLER_OK);
	assert_int_equal(simpler_args_add_tensor(args, &fits, SIMPLER_INPUT, SIMPLER_INLINE), 0);
	assert_int_equal(simpler_args_add_tensor(args, &over, SIMPLER_INPUT, SIMPLER_STAGED), 0);
	assert_int_equal(simpler_args_add_tensor(args, &over, SIMPLER_INPUT, SIMPLER_INLINE),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "1048577 bytes"));
	assert_non_null(strstr(simpler_last_error(), "1048576"));
	assert_non_null(strstr(simpler_last_error(), "tensor 2"));
}

static const struct {
	const char *name;
	int64_t stride;
	int dtype, tag, backing;
	const char *message;
} refused[] = {
	{ "no dtype", 1, 50, SIMPLER_INPUT, SIMPLER_SHARED, "50 is no element type" },
	{ "strided, inline", 2, SIMPLER_INT64, SIMPLER_INPUT, SIMPLER_INLINE, "not contiguous" },
	{ "strided, staged", 2, SIMPLER_INT64, SIMPLER_INPUT, SIMPLER_STAGED, "not contiguous" },
	{ "strides that do not fit", INT64_MAX, SIMPLER_INT64, SIMPLER_INPUT, SIMPLER_SHARED,
	  "span a size in bytes that does not fit 63 bits" },
	{ "strides the other way that do not fit", INT64_MIN, SIMPLER_INT64, SIMPLER_INPUT,
	  SIMPLER_SHARED, "does not fit 63 bits" },
	{ "strides that lead below address 0", INT64_MIN / 16, SIMPLER_INT64, SIMPLER_INPUT,
	  SIMPLER_SHARED, "below address 0" },
	{ "overlapping, OUTPUT", 0, SIMPLER_INT64, SIMPLER_OUTPUT, SIMPLER_SHARED,
	  "overlap, and OUTPUT writes" },
	{ "overlapping, INOUT", 0, SIMPLER_INT64, SIMPLER_INOUT, SIMPLER_SHARED,
	  "overlap, and INOUT writes" },
	{ "overlapping, OUTPUT_EXISTING", 0, SIMPLER_INT64, SIMPLER_OUTPUT_EXISTING, SIMPLER_SHARED,
	  "overlap, and OUTPUT_EXISTING writes" },
	{ "no tag", 1, SIMPLER_INT64, 5, SIMPLER_SHARED, "5 is no tag" },
	{ "a negative tag", 1, SIMPLER_INT64, -1, SIMPLER_SHARED, "-1 is no tag" },
	{ "no backing", 1, SIMPLER_INT64, SIMPLER_INPUT, 4, "4 is no backing" },
	{ "strided, no backing", 2, SIMPLER_INT64, SIMPLER_INPUT, 4, "4 is no backing" },
	{ "of a node", 1, SIMPLER_INT64, SIMPLER_INPUT, SIMPLER_REMOTE,
	  "simpler_args_add_handle()" },
};

static simpler_tensor vector_of_stride(int64_t stride)
{
	simpler_tensor tensor = vector(2);

	tensor.strides[0] = stride;
	return tensor;
}

static void bad_tensors_are_refused(void **state)
{
	simpler_args *args = *state;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		simpler_tensor tensor = vector_of_stride(refused[i].stride);

		print_message("  %s\n", refused[i].name);
		tensor.dtype = (simpler_dtype)refused[i].dtype;
		simpler_args_reset(args);
		assert_int_equal(simpler_args_add_tensor(args, &tensor, (simpler_tag)refused[i].tag,
		                                         (simpler_backing)refused[i].backing),
		                 SIMPLER_EINVAL);
		assert_non_null(strstr(simpler_last_error(), refused[i].message));
		assert_int_equal(simpler_args_tensor_count(args), 0);
	}
	simpler_args_reset(args);
	assert_int_equal(simpler_args_add_tensor(args, NULL, SIMPLER_INPUT, SIMPLER_SHARED),
	                 SIMPLER_EINVAL);
}

static void shared_tensors_keep_their_strides(void **state)
{
	static const struct {
		int64_t stride;
		simpler_tag tag;
	} taken[] = {
		{ 7, SIMPLER_INPUT }, { -1, SIMPLER_INOUT }, { 2, SIMPLER_OUTPUT },
		{ 0, SIMPLER_INPUT }, { 0, SIMPLER_NO_DEP }, { -3, SIMPLER_OUTPUT_EXISTING },
	};
	simpler_args *args = *state;
	simpler_tensor out;

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		simpler_tensor tensor = vector_of_stride(taken[i].stride);

		assert_int_equal(
			simpler_args_add_tensor(args, &tensor, taken[i].tag, SIMPLER_SHARED),
			SIMPLER_OK);
		assert_int_equal(simpler_args_tensor(args, i, &out), SIMPLER_OK);
		assert_int_equal(out.strides[0], taken[i].stride);
		assert_ptr_equal(out.data, elements);
	}
}

static void an_output_may_be_left_for_the_submit_to_allocate(void **state)
{
	static const int64_t shape[] = { 3, 4 };
	simpler_args *args = *state;
	simpler_tensor made, tensor = vector(3), out;
	simpler_tag tag;

	assert_int_equal(simpler_args_add_output(args, SIMPLER_FLOAT32, 2, shape, &made),
	                 SIMPLER_OK);
	assert_int_equal(simpler_args_add_tensor(args, &tensor, SIMPLER_INPUT, SIMPLER_SHARED), 0);
	assert_int_equal(simpler_args_add_output(args, SIMPLER_INT8, 0, NULL, &made), SIMPLER_OK);
	assert_int_equal(simpler_args_tensor_count(args), 3);
	assert_ptr_equal(args->made[0], &made);
	assert_null(args->made[1]);
	assert_ptr_equal(args->made[2], &made);
	assert_int_equal(args->backings[0], SIMPLER_SHARED);
	assert_int_equal(simpler_args_tag(args, 0, &tag), SIMPLER_OK);
	assert_int_equal(tag, SIMPLER_OUTPUT);
	assert_int_equal(simpler_args_tensor(args, 0, &out), SIMPLER_OK);
	assert_null(out.data);
	assert_int_equal(out.strides[0], 4);
	simpler_args_reset(args);
	assert_int_equal(simpler_args_add_tensor(args, &tensor, SIMPLER_INPUT, SIMPLER_SHARED), 0);
	assert_null(args->made[0]); /* of before the reset */
}

static void an_output_that_cannot_be_is_refused(void **state)
{
	static const struct {
		const char *name;
		int dtype;
		int64_t length;
		bool has_made;
		const char *message;
	} cases[] = {
		{ "nowhere to describe it", SIMPLER_INT8, 1, false, "`made` is a NULL pointer" },
		{ "no dtype", 77, 1, true, "77 is no element type" },
		{ "a negative dimension", SIMPLER_INT8, -1, true, "must not be negative" },
		{ "too large", SIMPLER_INT64, INT64_MAX, true, "63 bits" },
	};
	simpler_args *args = *state;
	simpler_tensor made, tensor = { .dtype = SIMPLER_INT8, .ndim = 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("  %s\n", cases[i].name);
		simpler_args_reset(args);
		assert_int_equal(simpler_args_add_output(args, (simpler_dtype)cases[i].dtype, 1,
		                                         &cases[i].length,
		                                         cases[i].has_made ? &made : NULL),
		                 SIMPLER_EINVAL);
		assert_non_null(strstr(simpler_last_error(), cases[i].message));
		assert_non_null(strstr(simpler_last_error(), "tensor 0"));
		assert_int_equal(simpler_args_tensor_count(args), 0);
	}
	simpler_args_reset(args);
	assert_int_equal(simpler_args_add_output(args, SIMPLER_INT8, 1, NULL, &made),
	                 SIMPLER_EINVAL);
	simpler_args_reset(args);
	assert_int_equal(simpler_args_add_scalar(args, 1), SIMPLER_OK);
	assert_int_equal(simpler_args_add_output(args, SIMPLER_INT8, 0, NULL, &made),
	                 SIMPLER_EINVAL);
	simpler_args_reset(args);
	/* No address means the runtime's only where that was asked for. */
	assert_int_equal(simpler_args_add_tensor(args, &tensor, SIMPLER_OUTPUT, SIMPLER_SHARED),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "NULL pointer"));
}

static void the_first_error_sticks_until_reset(void **state)
{
	simpler_args *args = *state;
	simpler_tensor tensor = vector(2);

	tensor.shape[0] = -4;
	assert_int_equal(simpler_args_add_tensor(args, &tensor, SIMPLER_INPUT, SIMPLER_SHARED),
	                 SIMPLER_EINVAL);
	(void)simpler_fail(SIMPLER_ESTALE, "something else");
	assert_int_equal(simpler_args_add_scalar(args, 1), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "-4"));
	assert_int_equal(simpler_args_scalar_count(args), 0);
	assert_int_equal(args->error.status, SIMPLER_EINVAL);

	simpler_args_reset(args);
	assert_int_equal(args->error.status, SIMPLER_OK);
	assert_int_equal(simpler_args_add_scalar(args, 1), SIMPLER_OK);
}

static void there_is_room_for_so_many_and_no_more(void **state)
{
	simpler_args *args = *state;
	simpler_tensor tensor = vector(1);

	for (int i = 0; i < SIMPLER_MAX_TENSORS; i++)
		assert_int_equal(
			simpler_args_add_tensor(args, &tensor, SIMPLER_INPUT, SIMPLER_SHARED), 0);
	assert_int_equal(simpler_args_add_tensor(args, &tensor, SIMPLER_INPUT, SIMPLER_SHARED),
	                 SIMPLER_ENOSPACE);
	simpler_args_reset(args);
	for (int i = 0; i < SIMPLER_MAX_SCALARS; i++)
		assert_int_equal(simpler_args_add_scalar(args, 0), SIMPLER_OK);
	assert_int_equal(simpler_args_add_scalar(args, 0), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "128"));
}

static void no_arguments_read_as_empty(void **state)
{
	uint64_t scalar;

	(void)state;
	assert_int_equal(simpler_args_tensor_count(NULL), 0);
	assert_int_equal(simpler_args_scalar_count(NULL), 0);
	assert_int_equal(simpler_args_scalar(NULL, 0, &scalar), SIMPLER_EINVAL);
	assert_int_equal(simpler_args_add_scalar(NULL, 0), SIMPLER_EINVAL);
	simpler_args_reset(NULL);
	simpler_args_destroy(NULL);
}

static _Alignas(64) uint8_t memory[256];
static const struct memory_segment segments[] = { { 1, memory, sizeof(memory) },
	                                          { 7, memory, 64 } };

static const struct {
	const char *name;
	struct record_tensor tensor;
	const char *refused; /* NULL: it is valid */
	size_t at;
} record_cases[] = {
	{ "all of it",
	  { .segment = 1,
	    .dtype = SIMPLER_INT64,
	    .ndim = 1,
	    .offset = 0,
	    .nbytes = 256,
	    .shape = { 32 } },
	  NULL,
	  0 },
	{ "the end of it",
	  { .segment = 1,
	    .dtype = SIMPLER_INT64,
	    .ndim = 1,
	    .offset = 248,
	    .nbytes = 8,
	    .shape = { 1 } },
	  NULL,
	  248 },
	{ "a byte over",
	  { .segment = 1,
	    .dtype = SIMPLER_INT8,
	    .ndim = 1,
	    .offset = 249,
	    .nbytes = 8,
	    .shape = { 8 } },
	  "not within the 256",
	  0 },
	{ "of a smaller segment",
	  { .segment = 7,
	    .dtype = SIMPLER_INT8,
	    .ndim = 1,
	    .offset = 60,
	    .nbytes = 8,
	    .shape = { 8 } },
	  "not within the 64",
	  0 },
	{ "past the end",
	  { .segment = 1,
	    .dtype = SIMPLER_INT8,
	    .ndim = 1,
	    .offset = 257,
	    .nbytes = 1,
	    .shape = { 1 } },
	  "not within",
	  0 },
	{ "an end that wraps",
	  { .segment = 1,
	    .dtype = SIMPLER_INT8,
	    .ndim = 1,
	    .offset = UINT64_MAX - 3,
	    .nbytes = 8,
	    .shape = { 8 } },
	  "not within",
	  0 },
	{ "no such segment",
	  { .segment = 2,
	    .dtype = SIMPLER_INT8,
	    .ndim = 1,
	    .offset = 0,
	    .nbytes = 8,
	    .shape = { 8 } },
	  "memory segment 2",
	  0 },
	{ "a larger shape",
	  { .segment = 1,
	    .dtype = SIMPLER_INT64,
	    .ndim = 1,
	    .offset = 0,
	    .nbytes = 8,
	    .shape = { 2 } },
	  "does not make its 8 bytes",
	  0 },
	{ "a smaller shape",
	  { .segment = 1,
	    .dtype = SIMPLER_INT64,
	    .ndim = 1,
	    .offset = 0,
	    .nbytes = 16,
	    .shape = { 1 } },
	  "does not make",
	  0 },
	{ "elements, no bytes",
	  { .segment = 1,
	    .dtype = SIMPLER_INT64,
	    .ndim = 1,
	    .offset = 0,
	    .nbytes = 0,
	    .shape = { 1 } },
	  "does not make",
	  0 },
	{ "a shape that wraps",
	  { .segment = 1,
	    .dtype = 4,
	    .ndim = 2,
	    .offset = 0,
	    .nbytes = 8,
	    .shape = { INT64_MAX, INT64_MAX } },
	  "does not make",
	  0 },
	{ "an unknown dtype",
	  { .segment = 1, .dtype = 200, .ndim = 1, .offset = 0, .nbytes = 8, .shape = { 8 } },
	  "does not make",
	  0 },
	{ "empty, and nowhere",
	  { .segment = 99,
	    .dtype = SIMPLER_INT64,
	    .ndim = 1,
	    .offset = 5000,
	    .nbytes = 0,
	    .shape = { 0 } },
	  NULL,
	  SIZE_MAX },
	{ "every fourth to the end",
	  { .segment = 1,
	    .dtype = SIMPLER_INT8,
	    .ndim = 1,
	    .offset = 3,
	    .nbytes = 64,
	    .shape = { 64 },
	    .strided = true,
	    .strides = { 4 } },
	  NULL,
	  3 },
	{ "every fourth, past it",
	  { .segment = 1,
	    .dtype = SIMPLER_INT8,
	    .ndim = 1,
	    .offset = 4,
	    .nbytes = 64,
	    .shape = { 64 },
	    .strided = true,
	    .strides = { 4 } },
	  "253 bytes at 4 are not within the 256",
	  0 },
	{ "backwards, all of it",
	  { .segment = 1,
	    .dtype = SIMPLER_INT64,
	    .ndim = 1,
	    .offset = 248,
	    .nbytes = 256,
	    .shape = { 32 },
	    .strided = true,
	    .strides = { -1 } },
	  NULL,
	  248 },
	{ "backwards, below it",
	  { .segment = 1,
	    .dtype = SIMPLER_INT64,
	    .ndim = 1,
	    .offset = 240,
	    .nbytes = 256,
	    .shape = { 32 },
	    .strided = true,
	    .strides = { -1 } },
	  "begins 248 bytes before its offset of 240",
	  0 },
	{ "backwards, past the end",
	  { .segment = 1,
	    .dtype = SIMPLER_INT64,
	    .ndim = 1,
	    .offset = 249,
	    .nbytes = 256,
	    .shape = { 32 },
	    .strided = true,
	    .strides = { -1 } },
	  "not within",
	  0 },
	{ "a column and the one before, upwards",
	  { .segment = 1,
	    .dtype = SIMPLER_INT8,
	    .ndim = 2,
	    .offset = 241,
	    .nbytes = 32,
	    .shape = { 16, 2 },
	    .strided = true,
	    .strides = { -16, -1 } },
	  NULL,
	  241 },
	{ "the same element over and over",
	  { .segment = 1,
	    .dtype = SIMPLER_INT64,
	    .ndim = 1,
	    .offset = 248,
	    .nbytes = 8 * UINT64_C(1000),
	    .shape = { 1000 },
	    .strided = true,
	    .strides = { 0 } },
	  NULL,
	  248 },
	{ "strides that wrap",
	  { .segment = 1,
	    .dtype = SIMPLER_INT64,
	    .ndim = 2,
	    .offset = 0,
	    .nbytes = 32,
	    .shape = { 2, 2 },
	    .strided = true,
	    .strides = { INT64_MAX, INT64_MAX } },
	  "more than 63 bits",
	  0 },
	{ "the longest stride",
	  { .segment = 1,
	    .dtype = SIMPLER_INT8,
	    .ndim = 1,
	    .offset = 0,
	    .nbytes = 2,
	    .shape = { 2 },
	    .strided = true,
	    .strides = { INT64_MIN } },
	  "more than 63 bits",
	  0 },
	{ "any stride where nothing is stepped over",
	  { .segment = 1,
	    .dtype = SIMPLER_INT8,
	    .ndim = 2,
	    .offset = 0,
	    .nbytes = 2,
	    .shape = { 1, 2 },
	    .strided = true,
	    .strides = { INT64_MIN, 1 } },
	  NULL,
	  0 },
	{ "empty, strided, and nowhere",
	  { .segment = 99,
	    .dtype = SIMPLER_INT64,
	    .ndim = 2,
	    .offset = 5000,
	    .nbytes = 0,
	    .shape = { 2, 0 },
	    .strided = true,
	    .strides = { 1000000, 1 } },
	  NULL,
	  SIZE_MAX },
};

static void R01_positions_become_pointers_only_inside_a_segment(void **state)
{
	static struct record_task task;
	simpler_args *args = *state;

	for (size_t i = 0; i < sizeof(record_cases) / sizeof(record_cases[0]); i++) {
		size_t at = record_cases[i].at;
		simpler_status status;

		print_message("  %s\n", record_cases[i].name);
		task.tensor_count = 1;
		task.tensors[0] = record_cases[i].tensor;
		status = args_from_record(args, &task, segments, 2);
		if (!record_cases[i].refused) {
			assert_int_equal(status, SIMPLER_OK);
			assert_ptr_equal(args->tensors[0].data,
			                 at == SIZE_MAX ? NULL : memory + at);
			assert_null(args->made[0]);
			if (record_cases[i].tensor.strided)
				assert_memory_equal(args->tensors[0].strides,
				                    record_cases[i].tensor.strides,
				                    args->tensors[0].ndim * sizeof(int64_t));
			continue;
		}
		assert_int_equal(status, SIMPLER_EPROTOCOL);
		assert_non_null(strstr(simpler_last_error(), record_cases[i].refused));
		assert_non_null(strstr(simpler_last_error(), "tensor 0"));
	}
}

static void kinds_have_names(void **state)
{
	(void)state;
	assert_string_equal(simpler_kind_name(SIMPLER_KIND_SUB), "sub task");
	assert_string_equal(simpler_kind_name(SIMPLER_KIND_ORCH), "orchestration function");
	assert_string_equal(simpler_kind_name(SIMPLER_KIND_CHIP), "chip kernel");
	assert_string_equal(simpler_kind_name((simpler_kind)0), "unknown kind");
}

#define WITH_ARGS(test) cmocka_unit_test_setup_teardown(test, create, destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ARGS(what_was_added_is_read_back),
		WITH_ARGS(R20_an_index_out_of_range_names_index_and_count),
		WITH_ARGS(R10_tensors_come_first_then_scalars),
		WITH_ARGS(R12_an_oversize_inline_argument_is_an_error),
		WITH_ARGS(bad_tensors_are_refused),
		WITH_ARGS(shared_tensors_keep_their_strides),
		WITH_ARGS(an_output_may_be_left_for_the_submit_to_allocate),
		WITH_ARGS(an_output_that_cannot_be_is_refused),
		WITH_ARGS(the_first_error_sticks_until_reset),
		WITH_ARGS(there_is_room_for_so_many_and_no_more),
		cmocka_unit_test(no_arguments_read_as_empty),
		WITH_ARGS(R01_positions_become_pointers_only_inside_a_segment),
		cmocka_unit_test(kinds_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
