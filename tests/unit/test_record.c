/* The records of wire/record.h: what goes in comes out; what is malformed is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>

#include "wire/record.h"

/* A copy that ends where its memory ends, so that a sanitizer sees a read past it. */
static uint8_t *exactly(const void *bytes, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, size);
	return copy;
}

/* --- tasks --- */

static uint8_t bytes[RECORD_INSTALL_MAX], again[RECORD_INSTALL_MAX];

static struct record_task small_task(void)
{
	return (struct record_task){
		.token = UINT64_C(0x1122334455667788),
		.callable = 9,
		.config = { .block_dim = 24,
		            .aicpu_thread_num = 3,
		            .enable_pmu = -1,
		            .enable_dump_tensor = true,
		            .output_prefix = "out/p" },
		.tensor_count = 2,
		.scalar_count = 1,
		.tensors = { { .segment = 1,
		               .dtype = SIMPLER_INT64,
		               .tag = SIMPLER_INOUT,
		               .ndim = 2,
		               .offset = 4096,
		               .nbytes = 48,
		               .shape = { 2, 3 } },
		             { .segment = 1,
		               .dtype = SIMPLER_BOOL,
		               .tag = SIMPLER_NO_DEP,
		               .offset = UINT64_MAX - 1,
		               .nbytes = 1 } },
		.scalars = { UINT64_MAX },
	};
}

/* 3 x 2 of the 64 columns and rows of a matrix of bytes, upside down: 133 bytes, 130 of them before
 * the offset. */
static struct record_task strided_task(void)
{
	return (struct record_task){
		.tensor_count = 1,
		.tensors = { { .segment = 1,
		               .dtype = SIMPLER_INT8,
		               .ndim = 2,
		               .offset = 130,
		               .nbytes = 6,
		               .shape = { 3, 2 },
		               .strided = true,
		               .strides = { -64, -2 } } },
	};
}

static void fill_tensor(struct record_tensor *tensor)
{
	*tensor = (struct record_tensor){ .segment = UINT32_MAX,
		                          .dtype = SIMPLER_UINT16,
		                          .tag = SIMPLER_OUTPUT_EXISTING,
		                          .ndim = SIMPLER_MAX_DIMS,
		                          .nbytes = 512,
		                          .strided = true };
	for (size_t i = 0; i < SIMPLER_MAX_DIMS; i++) {
		tensor->shape[i] = 2;
		tensor->strides[i] = 1000;
	}
}

static void largest_task(struct record_task *task)
{
	memset(task, 0, sizeof(*task));
	memset(task->config.output_prefix, 'p', RECORD_PREFIX_MAX);
	task->tensor_count = SIMPLER_MAX_TENSORS;
	task->scalar_count = SIMPLER_MAX_SCALARS;
	for (size_t i = 0; i < SIMPLER_MAX_TENSORS; i++)
		fill_tensor(&task->tensors[i]);
	for (size_t i = 0; i < SIMPLER_MAX_SCALARS; i++)
		task->scalars[i] = i;
}

static void assert_same_tensor(const struct record_tensor *a, const struct record_tensor *b)
{
	assert_int_equal(a->segment, b->segment);
	assert_int_equal(a->dtype, b->dtype);
	assert_int_equal(a->tag, b->tag);
	assert_int_equal(a->ndim, b->ndim);
	assert_true(a->offset == b->offset && a->nbytes == b->nbytes);
	assert_memory_equal(a->shape, b->shape, a->ndim * sizeof(a->shape[0]));
	assert_int_equal(a->strided, b->strided);
	if (a->strided)
		assert_memory_equal(a->strides, b->strides, a->ndim * sizeof(a->strides[0]));
}

static void assert_same_task(const struct record_task *a, const struct record_task *b)
{
	assert_true(a->token == b->token && a->callable == b->callable);
	assert_int_equal(a->config.block_dim, b->config.block_dim);
	assert_int_equal(a->config.aicpu_thread_num, b->config.aicpu_thread_num);
	assert_int_equal(a->config.enable_pmu, b->config.enable_pmu);
	assert_int_equal(a->config.enable_l2_swimlane, b->config.enable_l2_swimlane);
	assert_int_equal(a->config.enable_dump_tensor, b->config.enable_dump_tensor);
	assert_string_equal(a->config.output_prefix, b->config.output_prefix);
	assert_int_equal(a->tensor_count, b->tensor_count);
	assert_int_equal(a->scalar_count, b->scalar_count);
	for (size_t i = 0; i < a->tensor_count; i++)
		assert_same_tensor(&a->tensors[i], &b->tensors[i]);
	assert_memory_equal(a->scalars, b->scalars, a->scalar_count * sizeof(a->scalars[0]));
}

static void a_task_comes_out_as_it_went_in(void **state)
{
	struct record_task tasks[4] = { small_task(), strided_task() }, out;

	(void)state;
	largest_task(&tasks[2]);
	for (size_t i = 0; i < 4; i++) { /* the last is all zero */
		size_t size = record_task_encode(&tasks[i], bytes, RECORD_TASK_MAX);

		assert_true(size > 0);
		assert_int_equal(record_task_decode(bytes, size, &out), SIMPLER_OK);
		assert_same_task(&out, &tasks[i]);
	}
}

static void a_task_needs_all_of_its_room(void **state)
{
	struct record_task task = small_task();
	size_t size = record_task_encode(&task, bytes, sizeof(bytes));

	(void)state;
	for (size_t room = 0; room < size; room++) {
		uint8_t *exact = exactly(bytes, room);

		assert_int_equal(record_task_encode(&task, exact, room), 0);
		free(exact);
	}
	assert_int_equal(record_task_encode(&task, again, size), size);
	assert_memory_equal(bytes, again, size);
}

static void a_task_cut_anywhere_or_with_a_tail_is_refused(void **state)
{
	struct record_task task = small_task(), out;
	size_t size = record_task_encode(&task, bytes, sizeof(bytes));

	(void)state;
	for (size_t cut = 0; cut <= size + 1; cut++) {
		uint8_t *exact = exactly(bytes, cut);

		assert_int_equal(record_task_decode(exact, cut, &out),
		                 cut == size ? SIMPLER_OK : SIMPLER_EPROTOCOL);
		free(exact);
	}
}

/* Offsets in small_task() encoded: kind 0, token 4, callable 12, config 20, counts 40, tensors 48;
 * and in strided_task(), which has no prefix. */
#define PREFIX_AT  34
#define COUNTS_AT  40
#define TENSOR_AT  48
#define TENSOR2_AT 88
#define STRIDED_AT 43

struct change {
	const char *name;
	size_t at, size;
	uint64_t value;
};

/* Each of them alone makes the record one that is refused. */
static void refuse_each(const struct record_task *task, const struct change *changes, size_t count)
{
	struct record_task out;
	size_t size = record_task_encode(task, bytes, sizeof(bytes));

	for (size_t i = 0; i < count; i++) {
		uint8_t *exact = exactly(bytes, size);

		memcpy(exact + changes[i].at, &changes[i].value, changes[i].size);
		if (record_task_decode(exact, size, &out) != SIMPLER_EPROTOCOL)
			fail_msg("%s was accepted", changes[i].name);
		free(exact);
	}
}

static void a_task_with_a_field_out_of_bounds_is_refused(void **state)
{
	static const struct change changes[] = {
		{ "a stop", 0, 4, RECORD_STOP },
		{ "kind 0", 0, 4, RECORD_NONE },
		{ "an unknown kind", 0, 4, 0x10001 },
		{ "a flag of 2", 32, 1, 2 },
		{ "a flag of 255", 33, 1, 255 },
		{ "a prefix as long as can be", PREFIX_AT, 1, 255 },
		{ "a prefix shorter than sent", PREFIX_AT, 1, 4 },
		{ "a NUL in the prefix", PREFIX_AT + 2, 1, 0 },
		{ "one tensor more", COUNTS_AT, 4, 3 },
		{ "one tensor less", COUNTS_AT, 4, 1 },
		{ "tensors over the limit", COUNTS_AT, 4, SIMPLER_MAX_TENSORS + 1 },
		{ "tensors beyond counting", COUNTS_AT, 4, UINT32_MAX },
		{ "scalars over the limit", COUNTS_AT + 4, 4, SIMPLER_MAX_SCALARS + 1 },
		{ "scalars whose bytes wrap 32 bits", COUNTS_AT + 4, 4, 0x20000001 },
		{ "scalars beyond counting", COUNTS_AT + 4, 4, UINT32_MAX },
		{ "an unknown element type", TENSOR_AT + 4, 1, SIMPLER_BOOL + 1 },
		{ "a wider element type", TENSOR2_AT + 4, 1, SIMPLER_INT64 },
		{ "an unknown tag", TENSOR_AT + 5, 1, SIMPLER_NO_DEP + 1 },
		{ "nine dimensions", TENSOR_AT + 6, 1, 9 },
		{ "a strided flag of 2", TENSOR_AT + 7, 1, 2 },
		{ "strides where there are none", TENSOR_AT + 7, 1, 1 },
		{ "an end over 64 bits", TENSOR_AT + 8, 8, UINT64_MAX - 47 },
		{ "fewer bytes than the shape makes", TENSOR_AT + 16, 8, 47 },
		{ "bytes beyond counting", TENSOR_AT + 16, 8, UINT64_MAX },
		{ "a negative dimension", TENSOR_AT + 24, 8, UINT64_MAX },
		{ "a dimension that makes more bytes", TENSOR_AT + 32, 8, 4 },
		{ "dimensions whose product wraps", TENSOR_AT + 24, 8, UINT64_C(1) << 62 },
	};
	struct record_task task = small_task();

	(void)state;
	refuse_each(&task, changes, sizeof(changes) / sizeof(changes[0]));
}

static void a_task_with_strides_out_of_bounds_is_refused(void **state)
{
	static const struct change changes[] = {
		{ "no strides", STRIDED_AT + 7, 1, 0 },
		{ "one byte below 0", STRIDED_AT + 8, 8, 129 },
		{ "an end over 64 bits", STRIDED_AT + 8, 8, UINT64_MAX },
		{ "another size than the shape's", STRIDED_AT + 16, 8, 131 },
		{ "a longer first stride", STRIDED_AT + 40, 8, (uint64_t)-65 },
		{ "a longer second stride", STRIDED_AT + 48, 8, (uint64_t)-3 },
		{ "the longest stride", STRIDED_AT + 40, 8, UINT64_C(1) << 63 },
		{ "a span of 63 bits", STRIDED_AT + 40, 8, INT64_MAX / 2 },
		{ "a span of 64 bits", STRIDED_AT + 40, 8, INT64_MAX },
	};
	struct record_task task = strided_task(), out;

	(void)state;
	refuse_each(&task, changes, sizeof(changes) / sizeof(changes[0]));
	task.tensors[0].offset = UINT64_MAX - 3; /* the last that fits: 2 are behind */
	assert_int_equal(
		record_task_decode(bytes, record_task_encode(&task, bytes, sizeof(bytes)), &out),
		SIMPLER_OK);
}

/* --- stops --- */

static void a_stop_comes_out_as_it_went_in(void **state)
{
	struct record_stop in = { .token = UINT64_MAX - 5 }, out;
	size_t size = record_stop_encode(&in, bytes, RECORD_STOP_MAX);

	(void)state;
	assert_true(size > 0);
	assert_int_equal(record_stop_decode(bytes, size, &out), SIMPLER_OK);
	assert_true(out.token == in.token);
	for (size_t cut = 0; cut <= size + 1; cut++) {
		uint8_t *exact = exactly(bytes, cut);

		assert_int_equal(record_stop_decode(exact, cut, &out),
		                 cut == size ? SIMPLER_OK : SIMPLER_EPROTOCOL);
		assert_int_equal(record_stop_encode(&in, exact, cut), cut >= size ? size : 0);
		free(exact);
	}
}

static void an_order_to_forget_comes_out_as_it_went_in(void **state)
{
	struct record_forget in = { .callable = UINT64_MAX - 5 }, out;
	size_t size = record_forget_encode(&in, bytes, RECORD_FORGET_MAX);
	struct record_stop stop;

	(void)state;
	assert_int_equal(record_kind_of(bytes, size), RECORD_FORGET);
	assert_int_equal(record_forget_decode(bytes, size, &out), SIMPLER_OK);
	assert_true(out.callable == in.callable);
	assert_int_equal(record_stop_decode(bytes, size, &stop), SIMPLER_EPROTOCOL);
	for (size_t cut = 0; cut <= size + 1; cut++) {
		uint8_t *exact = exactly(bytes, cut);

		assert_int_equal(record_forget_decode(exact, cut, &out),
		                 cut == size ? SIMPLER_OK : SIMPLER_EPROTOCOL);
		assert_int_equal(record_forget_encode(&in, exact, cut), cut >= size ? size : 0);
		free(exact);
	}
}

static void a_stop_and_a_task_are_told_apart(void **state)
{
	struct record_task task = small_task();
	struct record_stop stop = { .token = 1 };
	size_t size = record_stop_encode(&stop, bytes, sizeof(bytes));

	(void)state;
	assert_int_equal(record_kind_of(bytes, size), RECORD_STOP);
	assert_int_equal(record_task_decode(bytes, size, &task), SIMPLER_EPROTOCOL);
	task = small_task();
	size = record_task_encode(&task, bytes, sizeof(bytes));
	assert_int_equal(record_kind_of(bytes, size), RECORD_TASK);
	assert_int_equal(record_stop_decode(bytes, size, &stop), SIMPLER_EPROTOCOL);
}

static void what_is_neither_has_no_kind(void **state)
{
	static const uint32_t words[] = { 0, RECORD_SEGMENT + 1, UINT32_MAX, 0x01000000, 0x10002 };
	const uint32_t good = RECORD_TASK;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_int_equal(record_kind_of(&words[i], 4), RECORD_NONE);
	for (size_t size = 0; size < 4; size++) {
		uint8_t *exact = exactly(&good, size);

		assert_int_equal(record_kind_of(exact, size), RECORD_NONE);
		free(exact);
	}
}

/* --- outcomes --- */

static void an_outcome_comes_out_as_it_went_in(void **state)
{
	struct record_outcome in = { .token = 77 }, out;
	size_t size;

	(void)state;
	size = record_outcome_encode(&in, bytes, RECORD_OUTCOME_MAX);
	assert_int_equal(record_outcome_decode(bytes, size, &out), SIMPLER_OK);
	assert_int_equal(out.error.status, SIMPLER_OK);
	assert_int_equal(out.error.steps, 0);
	error_init(&in.error, (simpler_status)1234, "the cause");
	error_add(&in.error, "%s", "");
	error_add(&in.error, "the task");
	size = record_outcome_encode(&in, bytes, RECORD_OUTCOME_MAX);
	assert_int_equal(record_outcome_decode(bytes, size, &out), SIMPLER_OK);
	assert_int_equal(out.token, 77);
	assert_int_equal(out.error.status, 1234);
	assert_int_equal(out.error.steps, 3);
	assert_string_equal(error_step(&out.error, 0), "the cause");
	assert_string_equal(error_step(&out.error, 1), "");
	assert_string_equal(error_step(&out.error, 2), "the task");
}

static void the_largest_outcome_fits(void **state)
{
	struct record_outcome in = { .token = 1 }, out;
	size_t size;

	(void)state;
	error_init(&in.error, SIMPLER_EUSER, "%01023d", 1);
	error_add(&in.error, "%01023d", 2);
	error_add(&in.error, "%01023d", 3);
	assert_int_equal(in.error.used, ERROR_TEXT_BYTES);
	size = record_outcome_encode(&in, bytes, RECORD_OUTCOME_MAX);
	assert_true(size > ERROR_TEXT_BYTES);
	assert_int_equal(record_outcome_decode(bytes, size, &out), SIMPLER_OK);
	assert_int_equal(out.error.used, in.error.used);
	assert_memory_equal(out.error.text, in.error.text, in.error.used);
	assert_int_equal(record_outcome_encode(&in, bytes, size - 1), 0);
}

static void an_outcome_cut_inside_its_fields_or_a_message_is_refused(void **state)
{
	struct record_outcome in = { .token = 1 }, out;
	size_t size, message_ends;

	(void)state;
	error_init(&in.error, SIMPLER_EUSER, "one");
	message_ends = record_outcome_encode(&in, bytes, sizeof(bytes));
	error_add(&in.error, "two");
	size = record_outcome_encode(&in, bytes, sizeof(bytes));
	for (size_t cut = 0; cut <= size; cut++) {
		uint8_t *exact = exactly(bytes, cut);
		bool whole = cut == 12 || cut == message_ends || cut == size;

		assert_int_equal(record_outcome_decode(exact, cut, &out),
		                 whole ? SIMPLER_OK : SIMPLER_EPROTOCOL);
		free(exact);
	}
}

static void an_outcome_of_nonsense_is_refused(void **state)
{
	struct record_outcome in = { .token = 1 }, out;
	size_t size;

	(void)state;
	size = record_outcome_encode(&in, bytes, sizeof(bytes));
	memset(bytes + size, 0, sizeof(bytes) - size);
	/* A success with a message; more messages than can be; more text than can be. */
	assert_int_equal(record_outcome_decode(bytes, size + 1, &out), SIMPLER_EPROTOCOL);
	bytes[8] = SIMPLER_EUSER;
	assert_int_equal(record_outcome_decode(bytes, size + ERROR_MAX_STEPS, &out), SIMPLER_OK);
	assert_int_equal(record_outcome_decode(bytes, size + ERROR_MAX_STEPS + 1, &out),
	                 SIMPLER_EPROTOCOL);
	assert_int_equal(record_outcome_decode(bytes, size + ERROR_TEXT_BYTES + 1, &out),
	                 SIMPLER_EPROTOCOL);
}

static void messages_of_an_outcome_lose_their_control_characters(void **state)
{
	struct record_outcome in = { .token = 1 }, out;
	size_t size;

	(void)state;
	error_init(&in.error, SIMPLER_EUSER, "line\nfeed \x1b[31m");
	size = record_outcome_encode(&in, bytes, sizeof(bytes));
	assert_int_equal(record_outcome_decode(bytes, size, &out), SIMPLER_OK);
	assert_string_equal(error_step(&out.error, 0), "line feed  [31m");
}

/* --- installs --- */

static struct record_install an_install(const uint8_t *captured, uint32_t size)
{
	struct record_install install = { .callable = 5,
		                          .kind = SIMPLER_KIND_CHIP,
		                          .has_module = true,
		                          .name = "scale",
		                          .state_size = size,
		                          .state = captured };

	memset(install.module_digest, 0xd1, sizeof(install.module_digest));
	return install;
}

static void an_install_comes_out_as_it_went_in(void **state)
{
	static uint8_t captured[SIMPLER_STATE_MAX];
	static const uint32_t sizes[] = { 0, 1, SIMPLER_STATE_MAX };
	struct record_install out;

	(void)state;
	memset(captured, 0x5a, sizeof(captured));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct record_install in = an_install(captured, sizes[i]);
		size_t size;

		memset(in.name, 'n', i == 2 ? RECORD_NAME_MAX : 0);
		size = record_install_encode(&in, bytes, RECORD_INSTALL_MAX);
		assert_true(size > 0);
		assert_int_equal(record_install_decode(bytes, size, &out), SIMPLER_OK);
		assert_true(out.callable == 5 && out.kind == SIMPLER_KIND_CHIP && out.has_module);
		assert_memory_equal(out.module_digest, in.module_digest, RECORD_DIGEST_BYTES);
		assert_string_equal(out.name, in.name);
		assert_int_equal(out.state_size, sizes[i]);
		assert_memory_equal(out.state, captured, sizes[i]);
	}
}

static void an_install_cut_anywhere_or_with_a_tail_is_refused(void **state)
{
	static const uint8_t captured[] = "captured";
	struct record_install in = an_install(captured, sizeof(captured)), out;
	size_t size = record_install_encode(&in, bytes, sizeof(bytes));

	(void)state;
	for (size_t cut = 0; cut <= size + 1; cut++) {
		uint8_t *exact = exactly(bytes, cut);

		assert_int_equal(record_install_decode(exact, cut, &out),
		                 cut == size ? SIMPLER_OK : SIMPLER_EPROTOCOL);
		assert_true(cut == size || record_install_encode(&in, exact, cut) == 0 ||
		            cut > size);
		free(exact);
	}
}

/* Offsets of an_install() encoded: what it is 0, callable 4, kind 12, source 13, module 14, digest
 * 15, name 47, state 53. */
static void an_install_with_a_field_out_of_bounds_is_refused(void **state)
{
	static const struct {
		const char *name;
		size_t at, size;
		uint64_t value;
	} changes[] = {
		{ "another record", 0, 4, RECORD_SEGMENT },
		{ "kind 0", 12, 1, 0 },
		{ "kind 4", 12, 1, 4 },
		{ "source 2", 13, 1, 2 },
		{ "another source's fields", 13, 1, RECORD_FROM_PROGRAM },
		{ "a module flag of 2", 14, 1, 2 },
		{ "a name over its limit", 47, 1, RECORD_NAME_MAX + 1 },
		{ "a name past the end", 47, 1, RECORD_NAME_MAX },
		{ "a NUL in the name", 48, 1, 0 },
		{ "one byte of state more", 53, 4, 10 },
		{ "one byte of state less", 53, 4, 8 },
		{ "state over its limit", 53, 4, SIMPLER_STATE_MAX + 1 },
		{ "state beyond counting", 53, 4, UINT32_MAX },
	};
	static const uint8_t captured[] = "captured";
	struct record_install in = an_install(captured, sizeof(captured)), out;
	size_t size = record_install_encode(&in, bytes, sizeof(bytes));

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint8_t *exact = exactly(bytes, size);

		memcpy(exact + changes[i].at, &changes[i].value, changes[i].size);
		if (record_install_decode(exact, size, &out) != SIMPLER_EPROTOCOL)
			fail_msg("%s was accepted", changes[i].name);
		free(exact);
	}
}

static void a_segment_comes_out_as_it_went_in_and_nothing_else_does(void **state)
{
	static const struct {
		const char *name;
		struct record_segment segment;
		simpler_status status;
	} cases[] = {
		{ "the first", { RECORD_FIRST_SEGMENT, 4096 }, SIMPLER_OK },
		{ "the last", { UINT32_MAX, INT64_MAX }, SIMPLER_OK },
		{ "the end of one", { RECORD_FIRST_SEGMENT, 0 }, SIMPLER_OK },
		{ "one from birth", { RECORD_FIRST_SEGMENT - 1, 4096 }, SIMPLER_EPROTOCOL },
		{ "too many bytes", { UINT32_MAX, UINT64_MAX }, SIMPLER_EPROTOCOL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct record_segment out;
		size_t size = record_segment_encode(&cases[i].segment, bytes, RECORD_SEGMENT_MAX);

		assert_true(size > 0);
		assert_int_equal(record_kind_of(bytes, size), RECORD_SEGMENT);
		for (size_t cut = 0; cut <= size + 1; cut++) {
			simpler_status status = record_segment_decode(bytes, cut, &out);

			if (status != (cut == size ? cases[i].status : SIMPLER_EPROTOCOL))
				fail_msg("%s, %zu bytes: %d", cases[i].name, cut, status);
		}
		if (record_segment_decode(bytes, size, &out) == SIMPLER_OK)
			assert_true(out.id == cases[i].segment.id &&
			            out.bytes == cases[i].segment.bytes);
	}
}

static struct record_install an_install_of_the_program(const char *object)
{
	struct record_install install = { .callable = 5,
		                          .kind = SIMPLER_KIND_SUB,
		                          .source = RECORD_FROM_PROGRAM,
		                          .name = "scale",
		                          .function = { .offset = UINT64_C(0x123456789) } };

	(void)snprintf(install.function.object, sizeof(install.function.object), "%s", object);
	memset(install.function.identity, 0xd2, sizeof(install.function.identity));
	return install;
}

static void an_install_of_a_function_of_the_program_comes_out_as_it_went_in(void **state)
{
	char longest[RECORD_OBJECT_MAX + 1] = "";
	const char *const objects[] = { "", "libmath.so", longest };
	struct record_install out;

	(void)state;
	memset(longest, 'l', sizeof(longest) - 1);
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		struct record_install in = an_install_of_the_program(objects[i]);
		size_t size = record_install_encode(&in, bytes, RECORD_INSTALL_MAX);

		assert_true(size > 0);
		assert_int_equal(record_install_decode(bytes, size, &out), SIMPLER_OK);
		assert_int_equal(out.source, RECORD_FROM_PROGRAM);
		assert_false(out.has_module);
		assert_string_equal(out.function.object, objects[i]);
		assert_memory_equal(out.function.identity, in.function.identity,
		                    RECORD_DIGEST_BYTES);
		assert_true(out.function.offset == in.function.offset);
		assert_string_equal(out.name, in.name);
		for (size_t cut = 0; cut < size; cut++) {
			uint8_t *exact = exactly(bytes, cut);

			assert_int_equal(record_install_decode(exact, cut, &out),
			                 SIMPLER_EPROTOCOL);
			free(exact);
		}
	}
}

static void a_refusal_says_what_is_wrong(void **state)
{
	struct record_task task = small_task(), out;
	size_t size = record_task_encode(&task, bytes, sizeof(bytes));

	(void)state;
	bytes[TENSOR_AT + 5] = 5;
	assert_int_equal(record_task_decode(bytes, size, &out), SIMPLER_EPROTOCOL);
	assert_string_equal(simpler_last_error_step(0), "a task record of another process is "
	                                                "malformed: a tensor's tag is unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_task_comes_out_as_it_went_in),
		cmocka_unit_test(a_task_needs_all_of_its_room),
		cmocka_unit_test(a_task_cut_anywhere_or_with_a_tail_is_refused),
		cmocka_unit_test(a_task_with_a_field_out_of_bounds_is_refused),
		cmocka_unit_test(a_task_with_strides_out_of_bounds_is_refused),
		cmocka_unit_test(a_stop_comes_out_as_it_went_in),
		cmocka_unit_test(an_order_to_forget_comes_out_as_it_went_in),
		cmocka_unit_test(a_stop_and_a_task_are_told_apart),
		cmocka_unit_test(what_is_neither_has_no_kind),
		cmocka_unit_test(an_outcome_comes_out_as_it_went_in),
		cmocka_unit_test(the_largest_outcome_fits),
		cmocka_unit_test(an_outcome_cut_inside_its_fields_or_a_message_is_refused),
		cmocka_unit_test(an_outcome_of_nonsense_is_refused),
		cmocka_unit_test(messages_of_an_outcome_lose_their_control_characters),
		cmocka_unit_test(an_install_comes_out_as_it_went_in),
		cmocka_unit_test(an_install_cut_anywhere_or_with_a_tail_is_refused),
		cmocka_unit_test(an_install_with_a_field_out_of_bounds_is_refused),
		cmocka_unit_test(a_segment_comes_out_as_it_went_in_and_nothing_else_does),
		cmocka_unit_test(an_install_of_a_function_of_the_program_comes_out_as_it_went_in),
		cmocka_unit_test(a_refusal_says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
