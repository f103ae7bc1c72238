/* The records of lanes: what we write we read, and whatever else comes is refused, or read within
 * its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "rpc/lane_bytes.h"
#include "rpc/lane_record.h"
#include "wire/little_endian.h"

#define ROOM 65536

static uint8_t bytes[ROOM];
static size_t size;

/* The only record that is in `bytes`. */
static struct lane_record record_of(void)
{
	const uint8_t *next = bytes;
	struct lane_record record;
	size_t left = size;

	assert_int_equal(lane_next_record(&next, &left, &record), SIMPLER_OK);
	assert_int_equal(left, 0);
	assert_ptr_equal(next, bytes + size);
	return record;
}

static void write_dispatch(const struct msg_dispatch *dispatch)
{
	size = lane_dispatch_bytes(dispatch);
	assert_in_range(size, 1, ROOM);
	memset(bytes, 0xa5, sizeof(bytes));
	lane_dispatch_encode(dispatch, 0x1122334455667788, 1500, bytes);
	assert_int_equal(bytes[size], 0xa5);
}

static simpler_status read_dispatch(struct msg_dispatch *out)
{
	const struct lane_record record = record_of();
	uint64_t timeout;

	return lane_dispatch_decode(&record, out, &timeout);
}

static void assert_refused(simpler_status status, const char *text)
{
	assert_int_equal(status, SIMPLER_EINVAL);
	if (!strstr(simpler_last_error(), text))
		fail_msg("want '%s', have '%s'", text, simpler_last_error());
}

/* --- dispatches --- */

static const uint8_t digest[RECORD_DIGEST_BYTES] = { 1, 2, 3 };
static const int64_t elements[] = { 1, -2, 3, -4, 5, 6 };

static struct msg_dispatch plain(void)
{
	return (struct msg_dispatch){
		.task_id = 1,
		.config = { .block_dim = MSG_BLOCK_DIM, .aicpu_thread_num = MSG_AICPU_THREAD_NUM },
	};
}

static struct msg_dispatch full(void)
{
	struct msg_dispatch dispatch = {
		.task_id = UINT64_MAX,
		.callable_id = 3,
		.callable_version = 4,
		.config = { 1, 2, 3, true, true, "/tmp/out" },
		.scalar_count = 3,
		.tensor_count = 4,
		.scalars = { 0, UINT64_MAX, 7 },
		.digest = { digest, sizeof(digest) },
		.kind = SIMPLER_KIND_ORCH,
		.session_life = 6,
		.repeated = true,
	};

	dispatch.tensors[0] =
		(struct msg_tensor_ref){ .shape = { 2, { 2, 3 }, SIMPLER_INT64, SIMPLER_INOUT },
		                         .inline_data = { elements, sizeof(elements) } };
	dispatch.tensors[1] = (struct msg_tensor_ref){
		.is_handle = true,
		.handle = { .handle_id = 0x8000000000000001, .nbytes = 4096 },
		.offset = 64,
		.shape = { 1, { 4 }, SIMPLER_FLOAT32, SIMPLER_INPUT },
	};
	/* Written only, so no bytes come; and one that needs padding. */
	dispatch.tensors[2] =
		(struct msg_tensor_ref){ .shape = { 1, { 5 }, SIMPLER_UINT8, SIMPLER_OUTPUT } };
	dispatch.tensors[3] =
		(struct msg_tensor_ref){ .shape = { 1, { 5 }, SIMPLER_UINT8, SIMPLER_INPUT },
		                         .inline_data = { "bytes", 5 } };
	return dispatch;
}

static void a_full_dispatch_reads_as_it_was_written(void **state)
{
	static struct msg_dispatch out;
	const struct msg_dispatch in = full();
	struct lane_record record;
	uint64_t timeout;

	(void)state;
	write_dispatch(&in);
	assert_int_equal(size % 8, 0);
	record = record_of();
	assert_int_equal(record.kind, LANE_DISPATCH);
	assert_int_equal(record.tag, 0x1122334455667788);
	assert_int_equal(lane_dispatch_decode(&record, &out, &timeout), SIMPLER_OK);
	assert_int_equal(timeout, 1500);
	assert_int_equal(out.task_id, in.task_id);
	assert_int_equal(out.callable_id, 3);
	assert_int_equal(out.callable_version, 4);
	assert_int_equal(out.session_life, 6);
	assert_int_equal(out.kind, SIMPLER_KIND_ORCH);
	assert_true(out.repeated);
	assert_int_equal(out.digest.size, sizeof(digest));
	assert_memory_equal(out.digest.data, digest, sizeof(digest));
	assert_memory_equal(&out.config, &in.config, sizeof(in.config));
	assert_int_equal(out.scalar_count, 3);
	assert_memory_equal(out.scalars, in.scalars, 3 * sizeof(in.scalars[0]));
	assert_int_equal(out.tensor_count, 4);
	assert_int_equal(out.tensors[0].inline_data.size, sizeof(elements));
	assert_memory_equal(out.tensors[0].inline_data.data, elements, sizeof(elements));
	assert_int_equal(out.tensors[0].shape.shape[1], 3);
	assert_true(out.tensors[1].is_handle);
	assert_int_equal(out.tensors[1].handle.handle_id, 0x8000000000000001);
	assert_int_equal(out.tensors[1].handle.nbytes, 4096);
	assert_int_equal(out.tensors[1].offset, 64);
	assert_string_equal(out.tensors[1].handle.node_id, "");
	assert_int_equal(out.tensors[2].inline_data.size, 0);
	assert_int_equal(out.tensors[3].inline_data.size, 5);
	assert_memory_equal(out.tensors[3].inline_data.data, "bytes", 5);
}

static void what_is_left_out_has_its_default(void **state)
{
	static struct msg_dispatch out;
	struct msg_dispatch in = plain();

	(void)state;
	memset(&out, 0xa5, sizeof(out));
	write_dispatch(&in);
	assert_int_equal(size, LANE_HEAD_BYTES + 48);
	assert_int_equal(read_dispatch(&out), SIMPLER_OK);
	assert_int_equal(out.config.block_dim, MSG_BLOCK_DIM);
	assert_int_equal(out.config.aicpu_thread_num, MSG_AICPU_THREAD_NUM);
	assert_string_equal(out.config.output_prefix, "");
	assert_false(out.repeated || out.config.enable_l2_swimlane);
	assert_int_equal(out.digest.size, 0);
	/* As in config_blob: 0 is what nobody has said. */
	in.config.block_dim = 0;
	in.config.aicpu_thread_num = 0;
	write_dispatch(&in);
	assert_int_equal(read_dispatch(&out), SIMPLER_OK);
	assert_int_equal(out.config.block_dim, MSG_BLOCK_DIM);
	assert_int_equal(out.config.aicpu_thread_num, MSG_AICPU_THREAD_NUM);
}

static void the_most_of_everything_is_read(void **state)
{
	static struct msg_dispatch in, out;

	(void)state;
	in = plain();
	in.scalar_count = SIMPLER_MAX_SCALARS;
	in.tensor_count = SIMPLER_MAX_TENSORS;
	memset(in.config.output_prefix, 'p', RECORD_PREFIX_MAX);
	in.config.output_prefix[RECORD_PREFIX_MAX] = '\0';
	for (uint32_t i = 0; i < SIMPLER_MAX_SCALARS; i++)
		in.scalars[i] = i;
	for (uint32_t i = 0; i < SIMPLER_MAX_TENSORS; i++) {
		in.tensors[i] = (struct msg_tensor_ref){ .shape = { SIMPLER_MAX_DIMS,
			                                            { 1, 1, 1, 1, 1, 1, 1, 1 },
			                                            SIMPLER_UINT8,
			                                            SIMPLER_INPUT },
			                                 .inline_data = { "x", 1 } };
	}
	write_dispatch(&in);
	assert_int_equal(read_dispatch(&out), SIMPLER_OK);
	assert_string_equal(out.config.output_prefix, in.config.output_prefix);
	assert_int_equal(out.scalars[SIMPLER_MAX_SCALARS - 1], SIMPLER_MAX_SCALARS - 1);
	assert_memory_equal(out.tensors[SIMPLER_MAX_TENSORS - 1].inline_data.data, "x", 1);
}

static void a_dispatch_that_waited_gets_its_tag_and_its_time(void **state)
{
	static struct msg_dispatch out;
	const struct msg_dispatch in = full();
	struct lane_record record;
	uint64_t timeout;

	(void)state;
	write_dispatch(&in);
	lane_dispatch_stamp(bytes, 5, 70);
	record = record_of();
	assert_int_equal(record.tag, 5);
	assert_int_equal(lane_dispatch_decode(&record, &out, &timeout), SIMPLER_OK);
	assert_int_equal(timeout, 70);
	assert_int_equal(out.task_id, in.task_id);
	assert_int_equal(out.session_life, in.session_life);
}

/* --- what is refused --- */

/* Offsets in a record of full(), and of what has none of its options. */
#define BODY       LANE_HEAD_BYTES
#define SCALARS    (BODY + 40)
#define TENSORS    (BODY + 42)
#define KIND       (BODY + 44)
#define REPEATED   (BODY + 45)
#define HAS_DIGEST (BODY + 46)
#define HAS_CONFIG (BODY + 47)
#define CONFIG     (BODY + 48 + RECORD_DIGEST_BYTES)
#define FLAGS_OF   (CONFIG + 12)
#define PREFIX     (CONFIG + 16)
#define TENSOR     (PREFIX + 8 + 3 * 8)
#define EXTENTS    (TENSOR + 8)
#define INLINE     (EXTENTS + 16)
#define HANDLE     (INLINE + 8 + sizeof(elements))

static void no_malformed_dispatch_is_taken(void **state)
{
	static const struct {
		size_t at, width;
		uint64_t value;
		const char *text;
	} cases[] = {
		{ 5, 1, 1, "no dispatch" },
		{ SCALARS, 2, SIMPLER_MAX_SCALARS + 1, "at most" },
		{ SCALARS, 2, 0xffff, "at most" },
		{ SCALARS, 2, SIMPLER_MAX_SCALARS, "scalars" },
		{ TENSORS, 2, SIMPLER_MAX_TENSORS + 1, "at most" },
		{ TENSORS, 2, 5, "tensor" },
		{ TENSORS, 2, 3, "bytes follow" },
		{ KIND, 1, SIMPLER_KIND_CHIP + 1, "kind" },
		{ REPEATED, 1, 2, "flag" },
		{ HAS_DIGEST, 1, 2, "flag" },
		{ HAS_CONFIG, 1, 2, "flag" },
		{ CONFIG, 4, 0x80000000, "block_dim" },
		{ CONFIG + 4, 4, 0xffffffff, "aicpu_thread_num" },
		{ CONFIG + 8, 4, 0x80000000, "enable_pmu" },
		{ FLAGS_OF, 1, 4, "config" },
		{ FLAGS_OF + 1, 1, 0, "output_prefix" },
		{ FLAGS_OF + 2, 2, 1, "config" },
		{ PREFIX, 1, 0xff, "output_prefix" },
		{ PREFIX + 3, 1, 0, "config" },
		{ TENSOR, 1, 2, "tensor" },
		{ TENSOR + 1, 1, 255, "dtype" },
		{ TENSOR + 2, 1, SIMPLER_NO_DEP + 1, "tag" },
		{ TENSOR + 3, 1, SIMPLER_MAX_DIMS + 1, "dimensions" },
		{ TENSOR + 3, 1, 255, "tensor" },
		{ TENSOR + 4, 4, 1, "tensor" },
		{ EXTENTS, 8, (uint64_t)-1, "negative" },
		{ EXTENTS, 8, INT64_MAX, "2^63" },
		{ EXTENTS, 8, 3, "inline_data" },
		{ INLINE, 8, UINT64_MAX, "inline" },
		{ INLINE, 8, UINT64_MAX - 7, "inline" },
		{ INLINE, 8, 1 << 20, "inline" },
		{ INLINE, 8, 47, "inline_data" },
		{ HANDLE + 8 + 8 + 16, 8, UINT64_MAX, "offset" },
	};
	static struct msg_dispatch out;
	const struct msg_dispatch in = full();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t value[8];

		write_dispatch(&in);
		store_le64(value, cases[i].value);
		memcpy(bytes + cases[i].at, value, cases[i].width);
		print_message("byte %zu is %llx\n", cases[i].at,
		              (unsigned long long)cases[i].value);
		assert_refused(read_dispatch(&out), cases[i].text);
	}
}

static void every_dispatch_that_is_cut_is_refused(void **state)
{
	static struct msg_dispatch out;
	const struct msg_dispatch in = full();
	uint64_t timeout;

	(void)state;
	for (size_t left = 8; left + LANE_HEAD_BYTES <= lane_dispatch_bytes(&in); left += 8) {
		size_t cut = lane_dispatch_bytes(&in) - left;
		/* Apart, so that a sanitizer sees a look behind the end. */
		uint8_t *copy = malloc(cut - LANE_HEAD_BYTES + 1);
		struct lane_record record;

		write_dispatch(&in);
		store_le32(bytes, (uint32_t)cut);
		size = cut;
		record = record_of();
		memcpy(copy, record.body, record.size);
		record.body = copy;
		assert_int_equal(lane_dispatch_decode(&record, &out, &timeout), SIMPLER_EINVAL);
		free(copy);
	}
}

static void an_inline_tensor_has_its_limit(void **state)
{
	static uint8_t large[SIMPLER_INLINE_MAX + 8 + 256];
	static struct msg_dispatch in, out;
	struct lane_record record;
	const uint8_t *next = large;
	uint64_t timeout;

	(void)state;
	in = plain();
	in.tensor_count = 1;
	for (unsigned over = 0; over < 2; over++) {
		size_t count = SIMPLER_INLINE_MAX + over;
		uint8_t *data = calloc(1, count);
		size_t left;

		in.tensors[0] = (struct msg_tensor_ref){
			.shape = { 1, { (int64_t)count }, SIMPLER_UINT8, SIMPLER_INPUT },
			.inline_data = { data, count }
		};
		left = lane_dispatch_bytes(&in);
		assert_in_range(left, 1, sizeof(large));
		lane_dispatch_encode(&in, 1, 0, large);
		next = large;
		assert_int_equal(lane_next_record(&next, &left, &record), SIMPLER_OK);
		if (over)
			assert_refused(lane_dispatch_decode(&record, &out, &timeout),
			               "travel inline");
		else
			assert_int_equal(lane_dispatch_decode(&record, &out, &timeout), SIMPLER_OK);
		free(data);
	}
}

/* --- hellos and outcomes --- */

static void a_hello_reads_as_it_was_written(void **state)
{
	static const struct {
		uint32_t version, credits;
		simpler_status status;
	} cases[] = {
		{ LANE_VERSION, 1, SIMPLER_OK },
		{ LANE_VERSION, LANE_CREDITS_MAX, SIMPLER_OK },
		{ LANE_VERSION, 0, SIMPLER_EINVAL },
		{ LANE_VERSION, LANE_CREDITS_MAX + 1, SIMPLER_EINVAL },
		{ LANE_VERSION + 1, 1, SIMPLER_EINVAL },
		{ 0, 1, SIMPLER_EINVAL },
	};
	struct lane_hello hello;
	struct lane_record record;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hello.credits = cases[i].credits;
		size = lane_hello_bytes();
		lane_hello_encode(&hello, bytes);
		store_le32(bytes + LANE_HEAD_BYTES, cases[i].version);
		record = record_of();
		hello.credits = 77;
		assert_int_equal(lane_hello_decode(&record, &hello), cases[i].status);
		if (cases[i].status == SIMPLER_OK)
			assert_int_equal(hello.credits, cases[i].credits);
	}
	store_le32(bytes, LANE_HEAD_BYTES);
	size = LANE_HEAD_BYTES;
	record = record_of();
	assert_int_equal(lane_hello_decode(&record, &hello), SIMPLER_EINVAL);
}

static void an_outcome_reads_as_it_was_written(void **state)
{
	static const struct lane_outcome cases[] = {
		{ RPC_OK, RPC_NOTE_NONE, false, NULL, 0 },
		{ RPC_OK, RPC_NOTE_NONE, false, (const uint8_t *)"\x08\x09", 2 },
		{ RPC_UNAVAILABLE, RPC_NOTE_NOT_RUN, false, (const uint8_t *)"the node drains",
		  15 },
		{ RPC_UNAUTHENTICATED, RPC_NOTE_LOST, false, (const uint8_t *)"12345678", 8 },
		{ RPC_UNAVAILABLE, RPC_NOTE_NONE, true, NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lane_outcome out;
		struct lane_record record;

		size = lane_outcome_bytes(&cases[i]);
		lane_outcome_encode(&cases[i], i, bytes);
		record = record_of();
		assert_int_equal(record.tag, i);
		assert_int_equal(lane_outcome_decode(&record, &out), SIMPLER_OK);
		assert_int_equal(out.code, cases[i].code);
		assert_int_equal(out.note, cases[i].note);
		assert_int_equal(out.ask_elsewhere, cases[i].ask_elsewhere);
		assert_int_equal(out.size, cases[i].size);
		if (out.size > 0)
			assert_memory_equal(out.bytes, cases[i].bytes, out.size);
	}
}

static void no_malformed_outcome_is_taken(void **state)
{
	static const struct lane_outcome in = { RPC_NOT_FOUND, RPC_NOTE_LOST, false,
		                                (const uint8_t *)"12345", 5 };
	static const struct {
		size_t at, width;
		uint64_t value;
	} cases[] = {
		{ 4, 1, LANE_DISPATCH },
		{ 5, 1, LANE_FLAG_ASK_ELSEWHERE + 1 },
		{ BODY, 4, RPC_UNAUTHENTICATED + 1 },
		{ BODY, 4, UINT32_MAX },
		{ BODY + 4, 4, RPC_NOTE_LOST + 1 },
		{ BODY + 8, 8, 9 },
		{ BODY + 8, 8, 0 },
		{ BODY + 8, 8, UINT64_MAX },
		{ BODY + 8, 8, UINT64_MAX - 6 },
		{ 0, 4, LANE_HEAD_BYTES },
		{ 0, 4, LANE_HEAD_BYTES + 16 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lane_outcome out;
		struct lane_record record;
		uint8_t value[8];

		size = lane_outcome_bytes(&in);
		lane_outcome_encode(&in, 1, bytes);
		store_le64(value, cases[i].value);
		memcpy(bytes + cases[i].at, value, cases[i].width);
		size = load_le32(bytes);
		record = record_of();
		assert_refused(lane_outcome_decode(&record, &out), "malformed");
	}
}

/* --- batches --- */

static void no_malformed_head_is_taken(void **state)
{
	static const struct {
		size_t at, width;
		uint64_t value;
		size_t size;
	} cases[] = {
		{ 0, 4, 24, 15 },                           /* no room for a head */
		{ 0, 4, 0, 24 },                            /* it would never end */
		{ 0, 4, 8, 24 },          { 0, 4, 20, 24 }, /* not padded */
		{ 0, 4, 32, 24 },                           /* longer than the batch */
		{ 0, 4, 0xfffffff8, 24 }, { 4, 1, 0, 24 },  { 4, 1, LANE_GOODBYE + 1, 24 },
		{ 6, 2, 1, 24 },          { 7, 1, 1, 24 },
	};
	const struct lane_hello hello = { 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t value[8], *copy = malloc(cases[i].size);
		const uint8_t *next = copy;
		size_t left = cases[i].size;
		struct lane_record record;

		lane_hello_encode(&hello, bytes);
		store_le64(value, cases[i].value);
		memcpy(bytes + cases[i].at, value, cases[i].width);
		memcpy(copy, bytes, cases[i].size);
		assert_refused(lane_next_record(&next, &left, &record), "malformed");
		assert_ptr_equal(next, copy);
		free(copy);
	}
}

static void a_batch_is_read_record_by_record(void **state)
{
	const struct lane_outcome outcome = { RPC_OK, RPC_NOTE_NONE, false, (const uint8_t *)"abc",
		                              3 };
	struct lane_bytes batch = { 0 };
	struct lane_record record;
	const uint8_t *next;
	size_t left, each = lane_outcome_bytes(&outcome);

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		uint8_t *room = lane_bytes_room(&batch, each);

		assert_non_null(room);
		lane_outcome_encode(&outcome, i, room);
		batch.size += each;
	}
	next = batch.bytes;
	left = batch.size;
	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(lane_next_record(&next, &left, &record), SIMPLER_OK);
		assert_int_equal(record.tag, i);
	}
	assert_int_equal(left, 0);
	/* Cut into batches: whole records, as many as there is room for, and one at least. */
	assert_int_equal(lane_bytes_cut(batch.bytes, batch.size, batch.size), batch.size);
	assert_int_equal(lane_bytes_cut(batch.bytes, batch.size, batch.size - 1),
	                 batch.size - each);
	assert_int_equal(lane_bytes_cut(batch.bytes, batch.size, 3 * each + 7), 3 * each);
	assert_int_equal(lane_bytes_cut(batch.bytes, batch.size, 3 * each), 3 * each);
	assert_int_equal(lane_bytes_cut(batch.bytes, batch.size, 1), each);
	assert_int_equal(lane_bytes_cut(batch.bytes, each, 1), each);
	lane_bytes_release(&batch);
}

static void a_burst_is_not_kept(void **state)
{
	struct lane_bytes batch = { 0 };
	size_t small;

	(void)state;
	assert_non_null(lane_bytes_room(&batch, 100));
	small = batch.capacity;
	batch.size = 100;
	lane_bytes_clear(&batch);
	assert_int_equal(batch.size, 0);
	assert_int_equal(batch.capacity, small);
	assert_non_null(lane_bytes_room(&batch, (size_t)32 << 20));
	lane_bytes_clear(&batch);
	assert_int_equal(batch.capacity, 0);
	lane_bytes_release(&batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_dispatch_reads_as_it_was_written),
		cmocka_unit_test(what_is_left_out_has_its_default),
		cmocka_unit_test(the_most_of_everything_is_read),
		cmocka_unit_test(a_dispatch_that_waited_gets_its_tag_and_its_time),
		cmocka_unit_test(no_malformed_dispatch_is_taken),
		cmocka_unit_test(every_dispatch_that_is_cut_is_refused),
		cmocka_unit_test(an_inline_tensor_has_its_limit),
		cmocka_unit_test(a_hello_reads_as_it_was_written),
		cmocka_unit_test(an_outcome_reads_as_it_was_written),
		cmocka_unit_test(no_malformed_outcome_is_taken),
		cmocka_unit_test(no_malformed_head_is_taken),
		cmocka_unit_test(a_batch_is_read_record_by_record),
		cmocka_unit_test(a_burst_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
