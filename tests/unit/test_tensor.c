#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "random.h"
#include "wire/tensor.h"

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

/* --- where the elements lie --- */

static const struct footprint_case {
	const char *name;
	int dtype;
	uint32_t ndim;
	int64_t shape[4], strides[4];
	struct tensor_footprint footprint;
	bool overlaps;
} footprints[] = {
	/* before, span, pitch, width */
	{ "a scalar", SIMPLER_INT64, 0, { 0 }, { 0 }, { 0, 8, 0, 0 }, false },
	{ "a vector", SIMPLER_INT64, 1, { 5 }, { 1 }, { 0, 40, 0, 0 }, false },
	{ "backwards", SIMPLER_INT64, 1, { 5 }, { -1 }, { 32, 40, 0, 0 }, false },
	{ "one element, any stride", SIMPLER_INT8, 1, { 1 }, { INT64_MIN }, { 0, 1, 0, 0 }, false },
	{ "empty, any stride", SIMPLER_INT8, 2, { 0, 9 }, { 1, INT64_MIN }, { 0 }, false },
	{ "a matrix", SIMPLER_INT16, 2, { 3, 4 }, { 4, 1 }, { 0, 24, 0, 0 }, false },
	{ "its transpose", SIMPLER_INT16, 2, { 4, 3 }, { 1, 4 }, { 0, 24, 0, 0 }, false },
	{ "upside down", SIMPLER_INT16, 2, { 3, 4 }, { -4, 1 }, { 16, 24, 0, 0 }, false },
	{ "a column", SIMPLER_INT32, 1, { 10 }, { 8 }, { 0, 292, 32, 4 }, false },
	{ "a column, upwards", SIMPLER_INT32, 1, { 10 }, { -8 }, { 288, 292, 32, 4 }, false },
	{ "columns", SIMPLER_INT32, 2, { 10, 3 }, { 8, 1 }, { 0, 300, 32, 12 }, false },
	{ "columns, transposed", SIMPLER_INT32, 2, { 3, 10 }, { 1, 8 }, { 0, 300, 32, 12 }, false },
	{ "columns, leftwards", SIMPLER_INT32, 2, { 10, 3 }, { 8, -1 }, { 8, 300, 32, 12 }, false },
	{ "columns of matrices one behind the other",
	  SIMPLER_INT8,
	  3,
	  { 3, 10, 2 },
	  { 80, 8, 1 },
	  { 0, 234, 8, 2 },
	  false },
	{ "planes of a cube",
	  SIMPLER_INT8,
	  3,
	  { 4, 5, 6 },
	  { 60, 6, 1 },
	  { 0, 210, 60, 30 },
	  false },
	{ "the middle of a cube",
	  SIMPLER_INT8,
	  3,
	  { 4, 5, 6 },
	  { 100, 10, 1 },
	  { 0, 346, 0, 0 },
	  false },
	{ "a row repeated", SIMPLER_INT8, 2, { 9, 4 }, { 0, 1 }, { 0, 4, 0, 0 }, true },
	{ "a column repeated", SIMPLER_INT8, 2, { 9, 4 }, { 0, 3 }, { 0, 10, 3, 1 }, true },
	{ "an element repeated", SIMPLER_INT64, 1, { 9 }, { 0 }, { 0, 8, 0, 0 }, true },
	{ "windows", SIMPLER_INT8, 2, { 5, 3 }, { 1, 1 }, { 0, 7, 0, 0 }, true },
	{ "windows of rows", SIMPLER_INT8, 3, { 3, 2, 2 }, { 8, 8, 1 }, { 0, 26, 8, 2 }, true },
	{ "interlocking", SIMPLER_INT8, 2, { 3, 2 }, { 2, 3 }, { 0, 8, 0, 0 }, true },
	{ "the longest span",
	  SIMPLER_INT8,
	  1,
	  { 2 },
	  { INT64_MAX - 1 },
	  { 0, INT64_MAX, INT64_MAX - 1, 1 },
	  false },
	{ "the longest span backwards",
	  SIMPLER_INT8,
	  1,
	  { 2 },
	  { 1 - INT64_MAX },
	  { INT64_MAX - 1, INT64_MAX, INT64_MAX - 1, 1 },
	  false },
};

static simpler_tensor strided(const struct footprint_case *each)
{
	simpler_tensor tensor = { .dtype = (simpler_dtype)each->dtype, .ndim = each->ndim };

	memcpy(tensor.shape, each->shape, sizeof(each->shape));
	memcpy(tensor.strides, each->strides, sizeof(each->strides));
	return tensor;
}

static void telling_which_bytes_elements_have(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(footprints) / sizeof(footprints[0]); i++) {
		simpler_tensor tensor = strided(&footprints[i]);
		struct tensor_footprint out;

		print_message("  %s\n", footprints[i].name);
		assert_int_equal(tensor_footprint(&tensor, &out), SIMPLER_OK);
		assert_int_equal(out.before, footprints[i].footprint.before);
		assert_int_equal(out.span, footprints[i].footprint.span);
		assert_int_equal(out.pitch, footprints[i].footprint.pitch);
		assert_int_equal(out.width, footprints[i].footprint.width);
		assert_int_equal(tensor_may_overlap(&tensor), footprints[i].overlaps);
	}
}

static void strides_that_span_too_much_are_refused(void **state)
{
	static const struct footprint_case cases[] = {
		{ .dtype = SIMPLER_INT8, 1, { 2 }, { INT64_MAX } },
		{ .dtype = SIMPLER_INT8, 1, { 2 }, { INT64_MIN } },
		{ .dtype = SIMPLER_INT8, 1, { 3 }, { INT64_MAX / 2 + 1 } },
		{ .dtype = SIMPLER_INT8, 1, { 3 }, { INT64_MIN / 2 } },
		{ .dtype = SIMPLER_INT64, 1, { 2 }, { INT64_MAX / 4 } },
		{ .dtype = SIMPLER_INT8, 2, { 2, 2 }, { INT64_MAX / 2, INT64_MAX / 2 + 1 } },
		{ .dtype = SIMPLER_INT8, 2, { 2, 2 }, { INT64_MAX / 2 + 1, INT64_MIN / 2 } },
		{ .dtype = SIMPLER_INT8, 4, { 2, 2, 2, 2 }, { INT64_MIN, INT64_MIN, 1, 1 } },
		{ .dtype = SIMPLER_INT8, 1, { -1 }, { 1 } },
		{ .dtype = 99, 1, { 1 }, { 1 } },
	};
	struct tensor_footprint out;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		simpler_tensor tensor = strided(&cases[i]);

		assert_int_equal(tensor_footprint(&tensor, &out), SIMPLER_EINVAL);
		assert_int_equal(out.span, 0);
		assert_false(tensor_may_overlap(&tensor));
	}
	assert_int_equal(tensor_footprint(NULL, &out), SIMPLER_EINVAL);
}

#define FIELD 16384 /* bytes that random tensors lie in the middle of */

static uint8_t field[FIELD]; /* 0: no element has this byte; 1: one has; 3: several */

/* A few dimensions with strides that often touch, overlap or repeat. */
static simpler_tensor random_tensor(void)
{
	static const int64_t strides[] = { 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96 };
	simpler_tensor tensor = { .dtype = random_below(2) ? SIMPLER_INT8 : SIMPLER_INT32,
		                  .ndim = random_below(4) };

	for (uint32_t i = 0; i < tensor.ndim; i++) {
		tensor.shape[i] = random_below(5) + (random_below(8) > 0);
		tensor.strides[i] = strides[random_below(sizeof(strides) / sizeof(strides[0]))];
		if (random_below(4) == 0)
			tensor.strides[i] = -tensor.strides[i];
	}
	return tensor;
}

/* Note the bytes of each element in the field. */
static void mark(const simpler_tensor *tensor)
{
	uint64_t count = simpler_tensor_count(tensor);
	size_t size = simpler_dtype_size(tensor->dtype);

	memset(field, 0, sizeof(field));
	for (uint64_t n = 0; n < count; n++) {
		int64_t at = FIELD / 2;
		uint64_t left = n;

		for (uint32_t i = 0; i < tensor->ndim; i++) {
			at += (int64_t)(left % (uint64_t)tensor->shape[i]) * tensor->strides[i] *
			      (int64_t)size;
			left /= (uint64_t)tensor->shape[i];
		}
		for (size_t b = 0; b < size; b++)
			field[(size_t)at + b] |= field[(size_t)at + b] ? 2 : 1;
	}
}

/* The bytes of the field that have elements, against those that the footprint says. */
static void check_footprint(const struct tensor_footprint *footprint)
{
	uint64_t first = FIELD / 2 - footprint->before;

	for (uint64_t i = 0; i < FIELD; i++) {
		bool within = i >= first && i < first + footprint->span;
		bool in_row = within && (footprint->pitch == 0 ||
		                         (i - first) % footprint->pitch < footprint->width);

		if (field[i] > 0)
			assert_true(in_row);
		else if (footprint->pitch > 0)
			assert_false(in_row);
	}
	if (footprint->span > 0) /* no longer than need be */
		assert_true(field[first] > 0 && field[first + footprint->span - 1] > 0);
}

static void random_tensors_have_the_bytes_of_their_elements(void **state)
{
	uint64_t operations = random_begin("tensors", 30000);

	(void)state;
	for (uint64_t n = 0; n < operations; n++) {
		simpler_tensor tensor = random_tensor();
		struct tensor_footprint footprint;
		bool overlaps = false;

		assert_int_equal(tensor_footprint(&tensor, &footprint), SIMPLER_OK);
		assert_true(footprint.pitch == 0 ? footprint.width == 0
		                                 : footprint.width < footprint.pitch);
		tensor.data = field;
		mark(&tensor);
		check_footprint(&footprint);
		for (size_t i = 0; i < FIELD; i++)
			overlaps = overlaps || field[i] > 1;
		assert_true(tensor_may_overlap(&tensor) || !overlaps);
		/* In one dimension there is nothing to interlock. */
		assert_true(overlaps || !tensor_may_overlap(&tensor) || tensor.ndim > 1);
	}
}

static void describing_what_has_no_place_yet(void **state)
{
	static const int64_t shape[SIMPLER_MAX_DIMS + 1] = { 3, 4 };
	simpler_tensor tensor;
	uint64_t nbytes;

	(void)state;
	assert_int_equal(tensor_describe(&tensor, SIMPLER_FLOAT64, 2, shape, &nbytes), SIMPLER_OK);
	assert_null(tensor.data);
	assert_int_equal(nbytes, 96);
	assert_int_equal(tensor.strides[0], 4);
	assert_int_equal(tensor_describe(&tensor, SIMPLER_FLOAT64, 9, shape, &nbytes),
	                 SIMPLER_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(describing_a_shape),
		cmocka_unit_test(null_pointers_are_refused),
		cmocka_unit_test(telling_contiguous_from_strided),
		cmocka_unit_test(telling_which_bytes_elements_have),
		cmocka_unit_test(strides_that_span_too_much_are_refused),
		cmocka_unit_test(random_tensors_have_the_bytes_of_their_elements),
		cmocka_unit_test(describing_what_has_no_place_yet),
		cmocka_unit_test(asking_leaves_the_last_error),
		cmocka_unit_test(element_types_have_the_wires_numbers),
		cmocka_unit_test(tags_have_the_wires_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
