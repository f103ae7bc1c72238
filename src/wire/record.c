/*
 * Fields follow each other without gaps, in the order of the structs; a variable part is preceded
 * by its length, except that an outcome's text is all that remains. What may come on the same ring
 * or socket as something else begins with its kind. A record must end where its last field ends, so
 * that every record has exactly one encoding.
 */
#include "wire/record.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "wire/cursor.h"
#include "wire/tensor.h"

/* --- kinds --- */

static void put_kind(struct writer *writer, enum record_kind kind)
{
	uint32_t word = (uint32_t)kind;

	put(writer, &word, sizeof(word));
}

static enum record_kind get_kind(struct reader *reader)
{
	uint32_t word;

	get(reader, &word, sizeof(word));
	return word <= RECORD_SEGMENT ? (enum record_kind)word : RECORD_NONE;
}

enum record_kind record_kind_of(const void *bytes, size_t size)
{
	struct reader reader = read_from(bytes, size);

	return get_kind(&reader);
}

/* --- task --- */

static void put_config(struct writer *writer, const struct record_config *config)
{
	size_t prefix = strlen(config->output_prefix);

	put(writer, &config->block_dim, sizeof(config->block_dim));
	put(writer, &config->aicpu_thread_num, sizeof(config->aicpu_thread_num));
	put(writer, &config->enable_pmu, sizeof(config->enable_pmu));
	put_byte(writer, config->enable_l2_swimlane);
	put_byte(writer, config->enable_dump_tensor);
	put_byte(writer, prefix);
	put(writer, config->output_prefix, prefix);
}

static simpler_status get_config(struct reader *reader, struct record_config *out)
{
	simpler_status status;

	get(reader, &out->block_dim, sizeof(out->block_dim));
	get(reader, &out->aicpu_thread_num, sizeof(out->aicpu_thread_num));
	get(reader, &out->enable_pmu, sizeof(out->enable_pmu));
	status = get_bool(reader, "a task", &out->enable_l2_swimlane);
	if (status == SIMPLER_OK)
		status = get_bool(reader, "a task", &out->enable_dump_tensor);
	if (status == SIMPLER_OK)
		status = get_string(reader, "a task", RECORD_PREFIX_MAX, out->output_prefix);
	return status;
}

static void put_tensor(struct writer *writer, const struct record_tensor *tensor)
{
	assert(tensor->ndim <= SIMPLER_MAX_DIMS);
	put(writer, &tensor->segment, sizeof(tensor->segment));
	put_byte(writer, tensor->dtype);
	put_byte(writer, tensor->tag);
	put_byte(writer, tensor->ndim);
	put_byte(writer, tensor->strided);
	put(writer, &tensor->offset, sizeof(tensor->offset));
	put(writer, &tensor->nbytes, sizeof(tensor->nbytes));
	put(writer, tensor->shape, tensor->ndim * sizeof(tensor->shape[0]));
	if (tensor->strided)
		put(writer, tensor->strides, tensor->ndim * sizeof(tensor->strides[0]));
}

static simpler_tensor view_of(const struct record_tensor *tensor)
{
	static uint8_t somewhere; /* only an empty tensor may be nowhere */
	simpler_tensor view = { .data = &somewhere,
		                .dtype = (simpler_dtype)tensor->dtype,
		                .ndim = tensor->ndim };

	memcpy(view.shape, tensor->shape, tensor->ndim * sizeof(view.shape[0]));
	if (tensor->strided)
		memcpy(view.strides, tensor->strides, tensor->ndim * sizeof(view.strides[0]));
	return view;
}

/* The bytes that it spans and those of them before its offset. */
static simpler_status measure_tensor(const struct record_tensor *tensor,
                                     struct tensor_footprint *out)
{
	simpler_tensor view = view_of(tensor);
	uint64_t nbytes;

	if (tensor_check(&view, &nbytes) != SIMPLER_OK || nbytes != tensor->nbytes)
		return malformed("a task", "a tensor's type and shape do not make its bytes");
	*out = (struct tensor_footprint){ .span = nbytes };
	if (tensor->strided && tensor_footprint(&view, out) != SIMPLER_OK)
		return malformed("a task", "a tensor's strides span more than 63 bits");
	return SIMPLER_OK;
}

/* All that a tensor can be judged by without knowing its segment. */
static simpler_status check_tensor(const struct record_tensor *tensor)
{
	struct tensor_footprint footprint;
	simpler_status status;
	uint64_t end;

	if (tensor->tag > SIMPLER_NO_DEP)
		return malformed("a task", "a tensor's tag is unknown");
	status = measure_tensor(tensor, &footprint);
	if (status != SIMPLER_OK)
		return status;
	if (footprint.before > tensor->offset)
		return malformed("a task", "a tensor's strides lead below offset 0");
	if (!checked_add(tensor->offset - footprint.before, footprint.span, &end))
		return malformed("a task", "a tensor's end does not fit 64 bits");
	return SIMPLER_OK;
}

static simpler_status get_tensor(struct reader *reader, struct record_tensor *out)
{
	simpler_status status;

	get(reader, &out->segment, sizeof(out->segment));
	out->dtype = get_byte(reader);
	out->tag = get_byte(reader);
	out->ndim = get_byte(reader);
	status = get_bool(reader, "a task", &out->strided);
	get(reader, &out->offset, sizeof(out->offset));
	get(reader, &out->nbytes, sizeof(out->nbytes));
	if (status != SIMPLER_OK)
		return status;
	if (out->ndim > SIMPLER_MAX_DIMS)
		return malformed("a task", "a tensor has too many dimensions");
	get(reader, out->shape, out->ndim * sizeof(out->shape[0]));
	if (out->strided)
		get(reader, out->strides, out->ndim * sizeof(out->strides[0]));
	return check_tensor(out);
}

size_t record_task_encode(const struct record_task *task, void *bytes, size_t capacity)
{
	struct writer writer = write_to(bytes, capacity);

	assert(task->tensor_count <= SIMPLER_MAX_TENSORS);
	assert(task->scalar_count <= SIMPLER_MAX_SCALARS);
	put_kind(&writer, RECORD_TASK);
	put(&writer, &task->token, sizeof(task->token));
	put(&writer, &task->callable, sizeof(task->callable));
	put_config(&writer, &task->config);
	put(&writer, &task->tensor_count, sizeof(task->tensor_count));
	put(&writer, &task->scalar_count, sizeof(task->scalar_count));
	for (size_t i = 0; i < task->tensor_count; i++)
		put_tensor(&writer, &task->tensors[i]);
	put(&writer, task->scalars, task->scalar_count * sizeof(task->scalars[0]));
	return written(&writer);
}

simpler_status record_task_decode(const void *bytes, size_t size, struct record_task *out)
{
	struct reader reader = read_from(bytes, size);
	simpler_status status;

	if (get_kind(&reader) != RECORD_TASK)
		return malformed("a task", "it is of another kind");
	get(&reader, &out->token, sizeof(out->token));
	get(&reader, &out->callable, sizeof(out->callable));
	status = get_config(&reader, &out->config);
	get(&reader, &out->tensor_count, sizeof(out->tensor_count));
	get(&reader, &out->scalar_count, sizeof(out->scalar_count));
	if (status != SIMPLER_OK)
		return status;
	if (out->tensor_count > SIMPLER_MAX_TENSORS)
		return malformed("a task", "it has too many tensors");
	if (out->scalar_count > SIMPLER_MAX_SCALARS)
		return malformed("a task", "it has too many scalars");
	for (size_t i = 0; i < out->tensor_count; i++) {
		status = get_tensor(&reader, &out->tensors[i]);
		if (status != SIMPLER_OK)
			return status;
	}
	get(&reader, out->scalars, out->scalar_count * sizeof(out->scalars[0]));
	return get_end(&reader, "a task");
}

/* --- stop --- */

size_t record_stop_encode(const struct record_stop *stop, void *bytes, size_t capacity)
{
	struct writer writer = write_to(bytes, capacity);

	put_kind(&writer, RECORD_STOP);
	put(&writer, &stop->token, sizeof(stop->token));
	return written(&writer);
}

simpler_status record_stop_decode(const void *bytes, size_t size, struct record_stop *out)
{
	struct reader reader = read_from(bytes, size);

	if (get_kind(&reader) != RECORD_STOP)
		return malformed("a stop", "it is of another kind");
	get(&reader, &out->token, sizeof(out->token));
	return get_end(&reader, "a stop");
}

/* --- forget --- */

size_t record_forget_encode(const struct record_forget *forget, void *bytes, size_t capacity)
{
	struct writer writer = write_to(bytes, capacity);

	put_kind(&writer, RECORD_FORGET);
	put(&writer, &forget->callable, sizeof(forget->callable));
	return written(&writer);
}

simpler_status record_forget_decode(const void *bytes, size_t size, struct record_forget *out)
{
	struct reader reader = read_from(bytes, size);

	if (get_kind(&reader) != RECORD_FORGET)
		return malformed("an order to forget", "it is of another kind");
	get(&reader, &out->callable, sizeof(out->callable));
	return get_end(&reader, "an order to forget");
}

/* --- outcome --- */

void record_outcome_fill(struct record_outcome *outcome, uint64_t token, simpler_status status)
{
	outcome->token = token;
	if (status != SIMPLER_OK) {
		error_save(&outcome->error);
		return;
	}
	outcome->error.status = SIMPLER_OK;
	outcome->error.steps = 0;
	outcome->error.used = 0;
}

size_t record_outcome_encode(const struct record_outcome *outcome, void *bytes, size_t capacity)
{
	struct writer writer = write_to(bytes, capacity);
	int32_t status = (int32_t)outcome->error.status;

	put(&writer, &outcome->token, sizeof(outcome->token));
	put(&writer, &status, sizeof(status));
	put(&writer, outcome->error.text, outcome->error.used);
	return written(&writer);
}

/* Every step ends with a NUL, the last one too. */
static simpler_status get_steps(struct reader *reader, struct error *out)
{
	while (reader->left > 0) {
		const uint8_t *end = memchr(reader->next, '\0', reader->left);
		size_t size;

		if (!end)
			return malformed("an outcome", "a message has no end");
		if (out->steps == ERROR_MAX_STEPS)
			return malformed("an outcome", "it has too many messages");
		size = (size_t)(end - reader->next);
		error_add_untrusted(out, (const char *)take(reader, size + 1), size);
	}
	return SIMPLER_OK;
}

simpler_status record_outcome_decode(const void *bytes, size_t size, struct record_outcome *out)
{
	struct reader reader = read_from(bytes, size);
	int32_t status;

	get(&reader, &out->token, sizeof(out->token));
	get(&reader, &status, sizeof(status));
	if (!reader.complete)
		return malformed("an outcome", "it is too short");
	if (reader.left > ERROR_TEXT_BYTES)
		return malformed("an outcome", "its messages are over their limit");
	if (status == SIMPLER_OK && reader.left > 0)
		return malformed("an outcome", "a success has a message");
	/* Any other value may be a user's own. */
	out->error.status = (simpler_status)status;
	out->error.steps = 0;
	out->error.used = 0;
	return get_steps(&reader, &out->error);
}

/* --- install --- */

static void put_source(struct writer *writer, const struct record_install *install)
{
	const struct record_function *function = &install->function;
	size_t object = strlen(function->object);

	put_byte(writer, install->source);
	if (install->source == RECORD_FROM_MODULE) {
		put_byte(writer, install->has_module);
		put(writer, install->module_digest, sizeof(install->module_digest));
		return;
	}
	put_byte(writer, object);
	put(writer, function->object, object);
	put(writer, function->identity, sizeof(function->identity));
	put(writer, &function->offset, sizeof(function->offset));
}

static simpler_status get_source(struct reader *reader, struct record_install *out)
{
	struct record_function *function = &out->function;
	uint8_t source = get_byte(reader);
	simpler_status status;

	if (source > RECORD_FROM_PROGRAM)
		return malformed("an install", "its source is unknown");
	out->source = (enum record_source)source;
	out->has_module = false;
	if (out->source == RECORD_FROM_MODULE) {
		status = get_bool(reader, "an install", &out->has_module);
		get(reader, out->module_digest, sizeof(out->module_digest));
		return status;
	}
	status = get_string(reader, "an install", RECORD_OBJECT_MAX, function->object);
	get(reader, function->identity, sizeof(function->identity));
	get(reader, &function->offset, sizeof(function->offset));
	return status;
}

size_t record_install_encode(const struct record_install *install, void *bytes, size_t capacity)
{
	struct writer writer = write_to(bytes, capacity);
	size_t name = strlen(install->name);

	assert(install->state_size <= SIMPLER_STATE_MAX);
	put_kind(&writer, RECORD_INSTALL);
	put(&writer, &install->callable, sizeof(install->callable));
	put_byte(&writer, install->kind);
	put_source(&writer, install);
	put_byte(&writer, name);
	put(&writer, install->name, name);
	put(&writer, &install->state_size, sizeof(install->state_size));
	put(&writer, install->state, install->state_size);
	return written(&writer);
}

simpler_status record_install_decode(const void *bytes, size_t size, struct record_install *out)
{
	struct reader reader = read_from(bytes, size);
	simpler_status status;

	if (get_kind(&reader) != RECORD_INSTALL)
		return malformed("an install", "it is of another kind");
	get(&reader, &out->callable, sizeof(out->callable));
	out->kind = get_byte(&reader);
	status = get_source(&reader, out);
	if (status == SIMPLER_OK)
		status = get_string(&reader, "an install", RECORD_NAME_MAX, out->name);
	get(&reader, &out->state_size, sizeof(out->state_size));
	if (status != SIMPLER_OK)
		return status;
	if (out->kind < SIMPLER_KIND_SUB || out->kind > SIMPLER_KIND_CHIP)
		return malformed("an install", "its kind is unknown");
	if (out->state_size > SIMPLER_STATE_MAX)
		return malformed("an install", "its state is over its limit");
	out->state = take(&reader, out->state_size);
	return get_end(&reader, "an install");
}

/* --- segment --- */

size_t record_segment_encode(const struct record_segment *segment, void *bytes, size_t capacity)
{
	struct writer writer = write_to(bytes, capacity);

	put_kind(&writer, RECORD_SEGMENT);
	put(&writer, &segment->id, sizeof(segment->id));
	put(&writer, &segment->bytes, sizeof(segment->bytes));
	return written(&writer);
}

simpler_status record_segment_decode(const void *bytes, size_t size, struct record_segment *out)
{
	struct reader reader = read_from(bytes, size);
	simpler_status status;

	if (get_kind(&reader) != RECORD_SEGMENT)
		return malformed("a segment", "it is of another kind");
	get(&reader, &out->id, sizeof(out->id));
	get(&reader, &out->bytes, sizeof(out->bytes));
	status = get_end(&reader, "a segment");
	if (status == SIMPLER_OK && out->id < RECORD_FIRST_SEGMENT)
		return malformed("a segment", "its number is one of those that are there at birth");
	if (status == SIMPLER_OK && out->bytes > INT64_MAX)
		return malformed("a segment", "it has more than 2^63-1 bytes");
	return status;
}
