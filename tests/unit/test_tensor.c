#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "simpler/tensor.h"

static float elements[64];

struct init_case {
	const char *name;
	void *data;
	int dtype;
	uint32_t ndim;
	int64_t shape[SIMPLER_MAX_DIMS];
	const char *refused; /* a part of the message; NULL: it is valid */
	uint64_t count, nbytes;
	int64_t strides[SIMPLER_MAX_DIMS];
};

#define BIG (INT64_C(1) << 32)

static const struct init_case init_cases[] = {
	{ "a scalar", elements, SIMPLER_FLOAT32, 0, { 0 }, NULL, 1, 4, { 0 } },
	{ "a vector", elements, SIMPLER_FLOAT32, 1, { 64 }, NULL, 64, 256, { 1 } },
	{ "a matrix", elements, SIMPLER_INT16, 2, { 3, 4 }, NULL, 12, 24, { 4, 1 } },
	{ "three", elements, SIMPLER_BOOL, 3, { 2, 3, 4 }, NULL, 24, 24, { 12, 4, 1 } },
	{ "most dimensions",
	  elements,
	  SIMPLER_UINT8,
	  8,
	  { 1, 2, 1, 2, 1, 2, 1, 2 },
	  NULL,
	  16,
	  16,
	  { 16, 8, 8, 4, 4, 2, 2, 1 } },
	{ "empty", elements, SIMPLER_FLOAT64, 2, { 3, 0 }, NULL, 0, 0, { 1, 1 } },
	{ "empty, nowhere", NULL, SIMPLER_FLOAT64, 1, { 0 }, NULL, 0, 0, { 1 } },
	{ "the largest",
	  elements,
	  SIMPLER_INT8,
	  1,
	  { INT64_MAX },
	  NULL,
	  INT64_MAX,
	  INT64_MAX,
	  { 1 } },
	{ "too many dimensions", elements, SIMPLER_INT8, 9, { 1 }, "9 dimensions", 0, 0, { 0 } },
	{ "very many dimensions",
	  elements,
	  SIMPLER_INT8,
	  UINT32_MAX,
	  { 1 },
	  "at most 8",
	  0,
	  0,
	  { 0 } },
	{ "a negative one", elements, SIMPLER_INT8, 2, { 1, -3 }, "dimension 1", 0, 0, { 0 } },
	{ "the least", elements, SIMPLER_INT8, 1, { INT64_MIN }, "negative", 0, 0, { 0 } },
	{ "no dtype", elements, 13, 1, { 1 }, "13 is no element type", 0, 0, { 0 } },
	{ "a negative dtype", elements, -1, 1, { 1 }, "-1 is no element type", 0, 0, { 0 } },
	{ "nowhere", NULL, SIMPLER_INT64, 1, { 2 }, "16 bytes is a NULL pointer", 0, 0, { 0 } },
	{ "a scalar nowhere", NULL, SIMPLER_INT64, 0, { 0 }, "NULL pointer", 0, 0, { 0 } },
	{ "64 bits of elements", elements, SIMPLER_INT8, 2, { BIG, BIG }, "63 bits", 0, 0, { 0 } },
	{ "63 bits of elements",
	  elements,
	  SIMPLER_INT8,
	  2,
	  { BIG, BIG / 2 },
	  "63 bits",
	  0,
	  0,
	  { 0 } },
	{ "62 bits of int16",
	  elements,
	  SIMPLER_INT16,
	  2,
	  { BIG, BIG / 4 },
	  "63 bits",
	  0,
	  0,
	  { 0 } },
	{ "the largest of int16",
	  elements,
	  SIMPLER_INT16,
	  1,
	  { INT64_MAX },
	  "63 bits",
	  0,
	  0,
	  { 0 } },
	{ "wrapping to a small size",
	  elements,
	  SIMPLER_INT8,
	  4,
	  { BIG, BIG, BIG, BIG },
	  "63 bits",
	  0,
	  0,
	  { 0 } },
	{ "empty, with strides that do not fit",
	  elements,
	  SIMPLER_INT8,
	  3,
	  { 0, BIG, BIG },
	  "63 bits",
	  0,
	  0,
	  { 0 } },
};

static void check_valid(const struct init_case *each, const simpler_tensor *tensor)
{
	assert_ptr_equal(tensor->data, each->data);
	assert_int_equal(tensor->dtype, each->dtype);
	assert_int_equal(tensor->ndim, each->ndim);
	assert_memory_equal(tensor->shape, each->shape, each->ndim * sizeof(int64_t));
	assert_memory_equal(tensor->strides, each->strides, each->ndim * sizeof(int64_t));
	assert_int_equal(simpler_tensor_count(tensor), each->count);
	assert_int_equal(simpler_tensor_bytes(tensor), each->nbytes);
	assert_true(simpler_tensor_is_contiguous(tensor));
}

static void describing_a_shape(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(init_cases) / sizeof(init_cases[0]); i++) {
		const struct init_case *each = &init_cases[i];
		simpler_tensor tensor = { .ndim = 77 };
		simpler_status status = simpler_tensor_init(
			&tensor, each->data, (simpler_dtype)each->dtype, each->ndim, each->shape);

		print_message("  %s\n", each->name);
		if (!each->refused) {
			assert_int_equal(status, SIMPLER_OK);
			check_valid(each, &tensor);
			continue;
		}
		assert_int_equal(status, SIMPLER_EINVAL);
		assert_non_null(strstr(simpler_last_error(), each->refused));
		assert_int_equal(tensor.ndim, 77); /* untouched */
	}
}

static void null_pointers_are_refused(void **state)
{
	simpler_tensor tensor;

	(void)state;
	assert_int_equal(simpler_tensor_init(NULL, elements, SIMPLER_INT8, 0, NULL),
	                 SIMPLER_EINVAL);
	assert_int_equal(simpler_tensor_init(&tensor, elements, SIMPLER_INT8, 1, NULL),
	                 SIMPLER_EINVAL);
	assert_int_equal(simpler_tensor_count(NULL), 0);
	assert_int_equal(simpler_tensor_bytes(NULL), 0);
	assert_false(simpler_tensor_is_contiguous(NULL));
}

static const struct {
	const char *name;
	uint32_t ndim;
	int64_t shape[3], strides[3];
	bool contiguous;
} stride_cases[] = {
	{ "row-major", 3, { 2, 3, 4 }, { 12, 4, 1 }, true },
	{ "a transposed matrix", 2, { 4, 3 }, { 1, 4 }, false },
	{ "a column", 1, { 4 }, { 4 }, false },
	{ "rows with gaps", 2, { 2, 3 }, { 4, 1 }, false },
	{ "any stride where there is nothing to step over", 3, { 2, 1, 4 }, { 4, 99, 1 }, true },
	{ "repeated", 2, { 2, 3 }, { 0, 1 }, false },
	{ "backwards", 1, { 4 }, { -1 }, false },
	{ "any stride of an empty one", 2, { 0, 4 }, { 7, 7 }, true },
};

static void telling_contiguous_from_strided(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(stride_cases) / sizeof(stride_cases[0]); i++) {
		simpler_tensor tensor = { .data = elements,
			                  .dtype = SIMPLER_FLOAT32,
			                  .ndim = stride_cases[i].ndim };

		print_message("  %s\n", stride_cases[i].name);
		memcpy(tensor.shape, stride_cases[i].shape, sizeof(stride_cases[i].shape));
		memcpy(tensor.strides, stride_cases[i].strides, sizeof(stride_cases[i].strides));
		assert_int_equal(simpler_tensor_is_contiguous(&tensor), stride_cases[i].contiguous);
	}
}

/* The thread's last error belongs to what failed, not to who asks about a tensor. */
static void asking_leaves_the_last_error(void **state)
{
	simpler_tensor invalid = { .dtype = (simpler_dtype)99 };

	(void)state;
	(void)simpler_fail(SIMPLER_ESTALE, "kept");
	assert_int_equal(simpler_tensor_count(&invalid), 0);
	assert_int_equal(simpler_tensor_bytes(&invalid), 0);
	assert_false(simpler_tensor_is_contiguous(&invalid));
	assert_string_equal(simpler_last_error_step(0), "kept");
}

static const struct {
	int dtype;
	const char *name;
	size_t size;
} dtypes[] = {
	{ 0, "float32", 4 },
	{ 1, "float16", 2 },
	{ 2, "int32", 4 },
	{ 3, "int16", 2 },
	{ 4, "int8", 1 },
	{ 5, "uint8", 1 },
	{ 6, "bfloat16", 2 },
	{ 7, "int64", 8 },
	{ 8, "uint64", 8 },
	{ 9, "uint16", 2 },
	{ 10, "uint32", 4 },
	{ 11, "float64", 8 },
	{ 12, "bool", 1 },
	{ 13, "unknown", 0 },
	{ -1, "unknown", 0 },
	{ INT32_MAX, "unknown", 0 },
	{ INT32_MIN, "unknown", 0 },
};

static void element_types_have_the_wires_numbers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
		simpler_dtype dtype = (simpler_dtype)dtypes[i].dtype;

		assert_string_equal(simpler_dtype_name(dtype), dtypes[i].name);
		assert_int_equal(simpler_dtype_size(dtype), dtypes[i].size);
	}
}

static void tags_have_the_wires_numbers(void **state)
{
	static const char *const names[] = { "INPUT",           "OUTPUT", "INOUT",
		                             "OUTPUT_EXISTING", "NO_DEP", "unknown" };

	(void)state;
	for (int i = 0; i < 6; i++)
		assert_string_equal(simpler_tag_name((simpler_tag)i), names[i]);
	assert_string_equal(simpler_tag_name((simpler_tag)-1), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(describing_a_shape),
		cmocka_unit_test(null_pointers_are_refused),
		cmocka_unit_test(telling_contiguous_from_strided),
		cmocka_unit_test(asking_leaves_the_last_error),
		cmocka_unit_test(element_types_have_the_wires_numbers),
		cmocka_unit_test(tags_have_the_wires_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
