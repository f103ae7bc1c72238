#include "rpc/lane_record.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "rpc/messages_tensor.h"
#include "rpc/utf8.h"
#include "wire/little_endian.h"

#define HELLO_BYTES   8u
#define OUTCOME_BYTES 16u
/* A dispatch up to its digest, of a tensor up to its shape, of a handle, and of a config up to its
 * prefix. */
#define DISPATCH_BYTES 48u
#define TENSOR_BYTES   8u
#define HANDLE_BYTES   24u
#define CONFIG_BYTES   16u
/* Where in the head, and in a dispatch, they are that lane_dispatch_stamp() changes. */
#define HEAD_TAG         8u
#define DISPATCH_TIMEOUT 32u

static size_t padded(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

static simpler_status malformed(const char *what)
{
	return error_raise(SIMPLER_EINVAL, "a record of a lane is malformed: %s", what);
}

/* --- batches --- */

simpler_status lane_next_record(const uint8_t **bytes, size_t *size, struct lane_record *out)
{
	const uint8_t *head = *bytes;
	uint32_t whole;

	if (*size < LANE_HEAD_BYTES)
		return malformed("it is shorter than its head");
	whole = load_le32(head);
	if (whole < LANE_HEAD_BYTES || whole > *size || whole % 8 != 0)
		return malformed("its size is none that it can have");
	if (head[4] < LANE_HELLO || head[4] > LANE_GOODBYE || load_le16(head + 6) != 0)
		return malformed("its kind is none that we know");
	*out = (struct lane_record){ .kind = (enum lane_record_kind)head[4],
		                     .flags = head[5],
		                     .tag = load_le64(head + HEAD_TAG),
		                     .body = head + LANE_HEAD_BYTES,
		                     .size = whole - LANE_HEAD_BYTES };
	*bytes += whole;
	*size -= whole;
	return SIMPLER_OK;
}

static uint8_t *put_head(uint8_t *bytes, size_t size, enum lane_record_kind kind, uint8_t flags,
                         uint64_t tag)
{
	assert(size % 8 == 0 && size <= UINT32_MAX);
	store_le32(bytes, (uint32_t)size);
	bytes[4] = (uint8_t)kind;
	bytes[5] = flags;
	store_le16(bytes + 6, 0);
	store_le64(bytes + HEAD_TAG, tag);
	return bytes + LANE_HEAD_BYTES;
}

/* `size` bytes and their padding. */
static uint8_t *put_padded(uint8_t *to, const void *bytes, size_t size)
{
	if (size > 0)
		memcpy(to, bytes, size);
	memset(to + size, 0, padded(size) - size);
	return to + padded(size);
}

/* What is left of a body. */
struct body {
	const uint8_t *next;
	size_t left;
};

/* NULL when there are not as many, of which the caller is told by nobody else. */
static const uint8_t *take(struct body *body, size_t size)
{
	const uint8_t *bytes = body->next;

	if (size > body->left)
		return NULL;
	body->next += size;
	body->left -= size;
	return bytes;
}

/* With their padding. */
static const uint8_t *take_padded(struct body *body, uint64_t size)
{
	return size <= body->left ? take(body, padded((size_t)size)) : NULL;
}

/* --- hello --- */

size_t lane_hello_bytes(void)
{
	return LANE_HEAD_BYTES + HELLO_BYTES;
}

void lane_hello_encode(const struct lane_hello *hello, uint8_t *bytes)
{
	uint8_t *body = put_head(bytes, lane_hello_bytes(), LANE_HELLO, 0, 0);

	store_le32(body, LANE_VERSION);
	store_le32(body + 4, hello->credits);
}

simpler_status lane_hello_decode(const struct lane_record *record, struct lane_hello *out)
{
	if (record->kind != LANE_HELLO || record->size < HELLO_BYTES)
		return malformed("a lane begins with another record than it should");
	if (load_le32(record->body) != LANE_VERSION)
		return error_raise(SIMPLER_EINVAL,
		                   "the lane is of version %" PRIu32 "; known is %u",
		                   load_le32(record->body), LANE_VERSION);
	out->credits = load_le32(record->body + 4);
	if (out->credits == 0 || out->credits > LANE_CREDITS_MAX)
		return malformed("its credits are none that can be");
	return SIMPLER_OK;
}

/* --- dispatch: config --- */

enum { SWIMLANE = 1, DUMP_TENSOR = 2 };

static bool is_default(const struct record_config *config)
{
	return config->block_dim == MSG_BLOCK_DIM &&
	       config->aicpu_thread_num == MSG_AICPU_THREAD_NUM && config->enable_pmu == 0 &&
	       !config->enable_l2_swimlane && !config->enable_dump_tensor &&
	       config->output_prefix[0] == '\0';
}

static size_t config_bytes(const struct record_config *config)
{
	return is_default(config) ? 0 : CONFIG_BYTES + padded(strlen(config->output_prefix));
}

static uint8_t *put_config(uint8_t *to, const struct record_config *config)
{
	size_t prefix = strlen(config->output_prefix);

	store_le32(to, (uint32_t)config->block_dim);
	store_le32(to + 4, (uint32_t)config->aicpu_thread_num);
	store_le32(to + 8, (uint32_t)config->enable_pmu);
	to[12] = (uint8_t)((config->enable_l2_swimlane ? SWIMLANE : 0) |
	                   (config->enable_dump_tensor ? DUMP_TENSOR : 0));
	to[13] = (uint8_t)prefix;
	store_le16(to + 14, 0);
	return put_padded(to + CONFIG_BYTES, config->output_prefix, prefix);
}

static simpler_status take_config(struct body *body, struct record_config *out)
{
	const uint8_t *fixed = take(body, CONFIG_BYTES);
	const uint8_t *prefix = fixed ? take_padded(body, fixed[13]) : NULL;
	int32_t block_dim, thread_num;

	if (!prefix || fixed[12] > (SWIMLANE | DUMP_TENSOR) || load_le16(fixed + 14) != 0 ||
	    memchr(prefix, '\0', fixed[13]))
		return malformed("its config");
	block_dim = (int32_t)load_le32(fixed);
	thread_num = (int32_t)load_le32(fixed + 4);
	*out = (struct record_config){
		.block_dim = block_dim != 0 ? block_dim : MSG_BLOCK_DIM,
		.aicpu_thread_num = thread_num != 0 ? thread_num : MSG_AICPU_THREAD_NUM,
		.enable_pmu = (int32_t)load_le32(fixed + 8),
		.enable_l2_swimlane = (fixed[12] & SWIMLANE) != 0,
		.enable_dump_tensor = (fixed[12] & DUMP_TENSOR) != 0,
	};
	memcpy(out->output_prefix, prefix, fixed[13]);
	return msg_config_check(out);
}

static void set_default(struct record_config *config)
{
	config->block_dim = MSG_BLOCK_DIM;
	config->aicpu_thread_num = MSG_AICPU_THREAD_NUM;
	config->enable_pmu = 0;
	config->enable_l2_swimlane = config->enable_dump_tensor = false;
	config->output_prefix[0] = '\0';
}

/* --- dispatch: tensors --- */

static size_t tensor_bytes(const struct msg_tensor_ref *ref)
{
	return TENSOR_BYTES + ref->shape.ndim * 8 +
	       (ref->is_handle ? HANDLE_BYTES : 8 + padded(ref->inline_data.size));
}

static uint8_t *put_tensor(uint8_t *to, const struct msg_tensor_ref *ref)
{
	to[0] = ref->is_handle;
	to[1] = (uint8_t)ref->shape.dtype;
	to[2] = (uint8_t)ref->shape.tag;
	to[3] = (uint8_t)ref->shape.ndim;
	store_le32(to + 4, ref->is_handle ? ref->landed : 0);
	to += TENSOR_BYTES;
	for (uint32_t i = 0; i < ref->shape.ndim; i++, to += 8)
		store_le64(to, (uint64_t)ref->shape.shape[i]);
	if (!ref->is_handle) {
		store_le64(to, ref->inline_data.size);
		return put_padded(to + 8, ref->inline_data.data, ref->inline_data.size);
	}
	store_le64(to, ref->handle.handle_id);
	store_le64(to + 8, ref->handle.nbytes);
	store_le64(to + 16, ref->offset);
	return to + HANDLE_BYTES;
}

static simpler_status take_handle_of(struct body *body, struct msg_tensor_ref *out,
                                     uint64_t *offset)
{
	const uint8_t *fixed = take(body, HANDLE_BYTES);

	if (!fixed)
		return malformed("it ends in a handle");
	memset(&out->handle, 0, sizeof(out->handle));
	out->handle.handle_id = load_le64(fixed);
	out->handle.nbytes = load_le64(fixed + 8);
	*offset = load_le64(fixed + 16);
	return SIMPLER_OK;
}

static simpler_status take_inline(struct body *body, struct msg_tensor_ref *out)
{
	const uint8_t *size = take(body, 8);
	const uint8_t *bytes = size ? take_padded(body, load_le64(size)) : NULL;

	if (!bytes)
		return malformed("it ends in an inline tensor");
	out->inline_data = (simpler_bytes){ bytes, (size_t)load_le64(size) };
	return SIMPLER_OK;
}

static simpler_status take_tensor(struct body *body, struct msg_tensor_ref *out)
{
	const uint8_t *fixed = take(body, TENSOR_BYTES);
	const uint8_t *extents = fixed ? take(body, (size_t)fixed[3] * 8) : NULL;
	uint64_t nbytes, offset = 0;
	int64_t shape[UINT8_MAX];
	simpler_status status;

	if (!extents)
		return malformed("it ends in a tensor");
	if (fixed[0] > 1 || (fixed[0] == 0 && load_le32(fixed + 4) != 0))
		return malformed("a tensor of it is of no kind that we know");
	for (uint32_t i = 0; i < fixed[3]; i++)
		shape[i] = (int64_t)load_le64(extents + (size_t)i * 8);
	status = take_shape(shape, fixed[3], fixed[1], fixed[2], &out->shape, &nbytes);
	if (status != SIMPLER_OK)
		return status;
	out->is_handle = fixed[0] == 1;
	out->landed = load_le32(fixed + 4);
	out->inline_data = (simpler_bytes){ NULL, 0 };
	status = out->is_handle ? take_handle_of(body, out, &offset) : take_inline(body, out);
	return status == SIMPLER_OK ? check_ref(out, offset, nbytes) : status;
}

/* --- dispatch --- */

size_t lane_dispatch_bytes(const struct msg_dispatch *dispatch)
{
	size_t size = LANE_HEAD_BYTES + DISPATCH_BYTES + dispatch->digest.size +
	              config_bytes(&dispatch->config) + (size_t)dispatch->scalar_count * 8;

	for (uint32_t i = 0; i < dispatch->tensor_count; i++)
		size += tensor_bytes(&dispatch->tensors[i]);
	return size;
}

void lane_dispatch_encode(const struct msg_dispatch *dispatch, uint64_t tag, uint64_t timeout_us,
                          uint8_t *bytes)
{
	uint8_t *to = put_head(bytes, lane_dispatch_bytes(dispatch), LANE_DISPATCH, 0, tag);
	bool has_config = !is_default(&dispatch->config);

	assert(dispatch->digest.size == 0 || dispatch->digest.size == RECORD_DIGEST_BYTES);
	store_le64(to, dispatch->task_id);
	store_le64(to + 8, dispatch->callable_id);
	store_le64(to + 16, dispatch->callable_version);
	store_le64(to + 24, dispatch->session_life);
	store_le64(to + DISPATCH_TIMEOUT, timeout_us);
	store_le16(to + 40, (uint16_t)dispatch->scalar_count);
	store_le16(to + 42, (uint16_t)dispatch->tensor_count);
	to[44] = (uint8_t)dispatch->kind;
	to[45] = dispatch->repeated;
	to[46] = dispatch->digest.size != 0;
	to[47] = has_config;
	to = put_padded(to + DISPATCH_BYTES, dispatch->digest.data, dispatch->digest.size);
	if (has_config)
		to = put_config(to, &dispatch->config);
	for (uint32_t i = 0; i < dispatch->scalar_count; i++, to += 8)
		store_le64(to, dispatch->scalars[i]);
	for (uint32_t i = 0; i < dispatch->tensor_count; i++)
		to = put_tensor(to, &dispatch->tensors[i]);
	assert(to == bytes + lane_dispatch_bytes(dispatch));
}

void lane_dispatch_stamp(uint8_t *bytes, uint64_t tag, uint64_t timeout_us)
{
	store_le64(bytes + HEAD_TAG, tag);
	store_le64(bytes + LANE_HEAD_BYTES + DISPATCH_TIMEOUT, timeout_us);
}

/* The fields in front. */
static simpler_status take_fixed(const uint8_t *fixed, struct msg_dispatch *out,
                                 uint64_t *timeout_us)
{
	out->task_id = load_le64(fixed);
	out->callable_id = load_le64(fixed + 8);
	out->callable_version = load_le64(fixed + 16);
	out->session_life = load_le64(fixed + 24);
	*timeout_us = load_le64(fixed + DISPATCH_TIMEOUT);
	out->scalar_count = load_le16(fixed + 40);
	out->tensor_count = load_le16(fixed + 42);
	out->kind = fixed[44];
	out->repeated = fixed[45] == 1;
	if (fixed[45] > 1 || fixed[46] > 1 || fixed[47] > 1)
		return malformed("a flag is neither 0 nor 1");
	if (out->scalar_count > SIMPLER_MAX_SCALARS || out->tensor_count > SIMPLER_MAX_TENSORS)
		return error_raise(SIMPLER_EINVAL,
		                   "a dispatch with %" PRIu32 " scalars and %" PRIu32
		                   " tensors; at most %d and %d are allowed",
		                   out->scalar_count, out->tensor_count, SIMPLER_MAX_SCALARS,
		                   SIMPLER_MAX_TENSORS);
	if (out->kind > SIMPLER_KIND_CHIP)
		return error_raise(SIMPLER_EINVAL, "kind %" PRIu32 " is none that we know",
		                   out->kind);
	return SIMPLER_OK;
}

static simpler_status take_scalars(struct body *body, struct msg_dispatch *out)
{
	const uint8_t *scalars = take(body, (size_t)out->scalar_count * 8);

	if (!scalars)
		return malformed("it ends in its scalars");
	for (uint32_t i = 0; i < out->scalar_count; i++)
		out->scalars[i] = load_le64(scalars + (size_t)i * 8);
	return SIMPLER_OK;
}

static simpler_status take_tensors(struct body *body, struct msg_dispatch *out)
{
	for (uint32_t i = 0; i < out->tensor_count; i++) {
		if (take_tensor(body, &out->tensors[i]) != SIMPLER_OK)
			return error_context("tensor_refs[%" PRIu32 "] cannot be used", i);
	}
	return body->left == 0 ? SIMPLER_OK : malformed("bytes follow its end");
}

simpler_status lane_dispatch_decode(const struct lane_record *record, struct msg_dispatch *out,
                                    uint64_t *timeout_us)
{
	struct body body = { record->body, record->size };
	const uint8_t *fixed = take(&body, DISPATCH_BYTES);
	simpler_status status;

	if (record->kind != LANE_DISPATCH || record->flags != 0 || !fixed)
		return malformed("it is no dispatch");
	status = take_fixed(fixed, out, timeout_us);
	if (status != SIMPLER_OK)
		return status;
	out->digest = (simpler_bytes){ NULL, 0 };
	if (fixed[46]) {
		out->digest.data = take(&body, RECORD_DIGEST_BYTES);
		out->digest.size = RECORD_DIGEST_BYTES;
		if (!out->digest.data)
			return malformed("it ends in its digest");
	}
	if (!fixed[47])
		set_default(&out->config);
	else if (take_config(&body, &out->config) != SIMPLER_OK)
		status = error_context("config_blob cannot be used");
	if (status == SIMPLER_OK)
		status = take_scalars(&body, out);
	return status == SIMPLER_OK ? take_tensors(&body, out) : status;
}

/* --- outcome --- */

size_t lane_outcome_bytes(const struct lane_outcome *outcome)
{
	return LANE_HEAD_BYTES + OUTCOME_BYTES + padded(outcome->size);
}

void lane_outcome_encode(const struct lane_outcome *outcome, uint64_t tag, uint8_t *bytes)
{
	uint8_t *to = put_head(bytes, lane_outcome_bytes(outcome), LANE_OUTCOME,
	                       outcome->ask_elsewhere ? LANE_FLAG_ASK_ELSEWHERE : 0, tag);

	store_le32(to, (uint32_t)outcome->code);
	store_le32(to + 4, (uint32_t)outcome->note);
	store_le64(to + 8, outcome->size);
	(void)put_padded(to + OUTCOME_BYTES, outcome->bytes, outcome->size);
}

simpler_status lane_outcome_decode(const struct lane_record *record, struct lane_outcome *out)
{
	struct body body = { record->body, record->size };
	const uint8_t *fixed = take(&body, OUTCOME_BYTES);

	if (record->kind != LANE_OUTCOME || !fixed)
		return malformed("it is no outcome");
	if (load_le32(fixed) > RPC_UNAUTHENTICATED || load_le32(fixed + 4) > RPC_NOTE_LOST ||
	    record->flags > LANE_FLAG_ASK_ELSEWHERE)
		return malformed("its code is none that we know");
	out->code = (enum rpc_code)load_le32(fixed);
	out->note = (enum rpc_note)load_le32(fixed + 4);
	out->ask_elsewhere = record->flags == LANE_FLAG_ASK_ELSEWHERE;
	out->size = (size_t)load_le64(fixed + 8);
	out->bytes = take_padded(&body, load_le64(fixed + 8));
	if (!out->bytes || body.left != 0)
		return malformed("its bytes are not as many as it says");
	return SIMPLER_OK;
}

/* --- goodbye --- */

size_t lane_goodbye_bytes(void)
{
	return LANE_HEAD_BYTES;
}

void lane_goodbye_encode(uint8_t *bytes)
{
	(void)put_head(bytes, lane_goodbye_bytes(), LANE_GOODBYE, 0, 0);
}

simpler_status lane_goodbye_decode(const struct lane_record *record)
{
	if (record->kind != LANE_GOODBYE || record->size != 0)
		return malformed("a lane ends with another record than it should");
	return SIMPLER_OK;
}
