/* DispatchReq with its CallConfigWire, and DispatchResp. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "rpc/codec.h"
#include "rpc/messages_tensor.h"
#include "rpc/utf8.h"

typedef Simpler__Distributed__V1__CallConfigWire pb_config;
typedef Simpler__Distributed__V1__DispatchReq pb_request;
typedef Simpler__Distributed__V1__DispatchResp pb_response;

/* --- config_blob --- */

simpler_status msg_config_check(const struct record_config *config)
{
	const struct {
		const char *name;
		int32_t value;
	} numbers[] = {
		{ "block_dim", config->block_dim },
		{ "aicpu_thread_num", config->aicpu_thread_num },
		{ "enable_pmu", config->enable_pmu },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (numbers[i].value < 0)
			return error_raise(SIMPLER_EINVAL, "%s is negative: %" PRId32,
			                   numbers[i].name, numbers[i].value);
	}
	if ((config->enable_l2_swimlane || config->enable_dump_tensor || config->enable_pmu) &&
	    config->output_prefix[0] == '\0')
		return error_raise(SIMPLER_EINVAL,
		                   "a diagnostic flag is set without output_prefix, which says "
		                   "where its output goes");
	return take_text(config->output_prefix, RECORD_PREFIX_MAX, "output_prefix");
}

static simpler_status take_config(ProtobufCBinaryData blob, struct bump *bump,
                                  struct record_config *out)
{
	pb_config *config = codec_unpack(&simpler__distributed__v1__call_config_wire__descriptor,
	                                 blob.data, blob.len, bump);
	simpler_status status =
		config ? take_text(config->output_prefix, RECORD_PREFIX_MAX, "output_prefix")
		       : SIMPLER_EINVAL;

	if (status == SIMPLER_OK) {
		*out = (struct record_config){
			.block_dim = config->block_dim ? config->block_dim : MSG_BLOCK_DIM,
			.aicpu_thread_num = config->aicpu_thread_num ? config->aicpu_thread_num
			                                             : MSG_AICPU_THREAD_NUM,
			.enable_pmu = config->enable_pmu,
			.enable_l2_swimlane = config->enable_l2_swimlane != 0,
			.enable_dump_tensor = config->enable_dump_tensor != 0,
		};
		memcpy(out->output_prefix, config->output_prefix,
		       strlen(config->output_prefix) + 1);
		status = msg_config_check(out);
	}
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("config_blob cannot be used");
}

/* Three numbers, two flags and the prefix, each with its tag and length. */
#define CONFIG_MAX (3 * 11 + 2 * 2 + 3 + RECORD_PREFIX_MAX)

static ProtobufCBinaryData put_config(const struct record_config *config, uint8_t room[CONFIG_MAX])
{
	pb_config message;
	ProtobufCBinaryData blob = { 0, room };

	simpler__distributed__v1__call_config_wire__init(&message);
	message.block_dim = config->block_dim;
	message.aicpu_thread_num = config->aicpu_thread_num;
	message.enable_l2_swimlane = config->enable_l2_swimlane;
	message.enable_dump_tensor = config->enable_dump_tensor;
	message.enable_pmu = config->enable_pmu;
	message.output_prefix = (char *)config->output_prefix;
	assert(protobuf_c_message_get_packed_size(&message.base) <= CONFIG_MAX);
	blob.len = protobuf_c_message_pack(&message.base, room);
	return blob;
}

/* --- DispatchReq --- */

static simpler_status check_count(const char *field, size_t count, size_t limit)
{
	if (count <= limit)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL, "%s has %zu entries; at most %zu are allowed", field,
	                   count, limit);
}

static simpler_status check_request(const pb_request *message)
{
	simpler_status status;

	if (message->n_tensor_args > 0)
		return error_raise(SIMPLER_EINVAL,
		                   "tensor_args carries addresses of the sender, which mean "
		                   "nothing here; send tensor_refs with inline_data, or with a "
		                   "handle from AllocTensor");
	status = check_count("scalar_args", message->n_scalar_args, SIMPLER_MAX_SCALARS);
	if (status == SIMPLER_OK)
		status = check_count("tensor_refs", message->n_tensor_refs, SIMPLER_MAX_TENSORS);
	if (status != SIMPLER_OK)
		return status;
	if (message->callable_digest.len != 0 &&
	    message->callable_digest.len != RECORD_DIGEST_BYTES)
		return error_raise(SIMPLER_EINVAL, "callable_digest has %zu bytes instead of %d",
		                   message->callable_digest.len, RECORD_DIGEST_BYTES);
	if (message->callable_kind > SIMPLER_KIND_CHIP)
		return error_raise(SIMPLER_EINVAL, "callable_kind %" PRIu32 " is none that we know",
		                   message->callable_kind);
	return SIMPLER_OK;
}

static simpler_status take_request(const pb_request *message, struct bump *bump,
                                   struct msg_dispatch *out)
{
	simpler_status status = check_request(message);

	if (status == SIMPLER_OK)
		status = take_config(message->config_blob, bump, &out->config);
	if (status != SIMPLER_OK)
		return status;
	out->task_id = message->task_id;
	out->callable_id = message->callable_id;
	out->callable_version = message->callable_version;
	out->digest = take_bytes(message->callable_digest);
	out->kind = message->callable_kind;
	out->session_life = message->session_life;
	out->repeated = message->repeated != 0;
	out->scalar_count = (uint32_t)message->n_scalar_args;
	out->tensor_count = (uint32_t)message->n_tensor_refs;
	for (uint32_t i = 0; i < out->scalar_count; i++)
		out->scalars[i] = message->scalar_args[i];
	for (uint32_t i = 0; i < out->tensor_count && status == SIMPLER_OK; i++)
		status = take_ref(message->tensor_refs[i], "tensor_refs", i, &out->tensors[i]);
	return status;
}

simpler_status msg_dispatch_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                   struct msg_dispatch *out)
{
	pb_request *message = codec_unpack(&simpler__distributed__v1__dispatch_req__descriptor,
	                                   bytes, size, bump);

	return message ? take_request(message, bump, out) : SIMPLER_EINVAL;
}

/* Room for references on their way into a message. */
struct ref_room {
	pb_ref refs[SIMPLER_MAX_TENSORS];
	struct handle_room handles[SIMPLER_MAX_TENSORS];
	pb_ref *pointers[SIMPLER_MAX_TENSORS];
};

static pb_ref **put_refs(const struct msg_tensor_ref *refs, uint32_t count, struct ref_room *room)
{
	assert(count <= SIMPLER_MAX_TENSORS);
	for (uint32_t i = 0; i < count; i++) {
		put_ref(&refs[i], &room->handles[i], &room->refs[i]);
		room->pointers[i] = &room->refs[i];
	}
	return room->pointers;
}

simpler_status msg_dispatch_encode(const struct msg_dispatch *dispatch, struct rpc_buffer *out)
{
	pb_request message;
	struct ref_room room;
	uint8_t config[CONFIG_MAX];

	assert(dispatch->scalar_count <= SIMPLER_MAX_SCALARS);
	simpler__distributed__v1__dispatch_req__init(&message);
	message.task_id = dispatch->task_id;
	message.callable_id = dispatch->callable_id;
	message.callable_version = dispatch->callable_version;
	message.config_blob = put_config(&dispatch->config, config);
	message.n_scalar_args = dispatch->scalar_count;
	message.scalar_args = (uint64_t *)dispatch->scalars;
	message.n_tensor_refs = dispatch->tensor_count;
	message.tensor_refs = put_refs(dispatch->tensors, dispatch->tensor_count, &room);
	message.callable_digest = put_bytes(dispatch->digest);
	message.callable_kind = dispatch->kind;
	message.session_life = dispatch->session_life;
	message.repeated = dispatch->repeated;
	return codec_pack(&message.base, out);
}

/* --- DispatchResp --- */

static simpler_status take_lines(const pb_response *message, struct msg_outcome *out)
{
	simpler_status status =
		check_count("remote_traceback", message->n_remote_traceback, MSG_MAX_LINES);

	for (size_t i = 0; i < message->n_remote_traceback && status == SIMPLER_OK; i++) {
		out->lines[i] = message->remote_traceback[i];
		status = take_text(out->lines[i], MSG_TEXT_MAX, "a line of remote_traceback");
	}
	out->line_count = (uint32_t)message->n_remote_traceback;
	return status;
}

static simpler_status take_response(const pb_response *message, struct msg_outcome *out)
{
	simpler_status status = take_text(message->error_msg, MSG_TEXT_MAX, "error_msg");

	if (status == SIMPLER_OK)
		status = take_lines(message, out);
	if (status == SIMPLER_OK)
		status = check_count("output_tensors", message->n_output_tensors,
		                     SIMPLER_MAX_TENSORS);
	if (status != SIMPLER_OK)
		return status;
	out->task_id = message->task_id;
	out->error_code = message->error_code;
	out->error_msg = message->error_msg;
	out->output_count = (uint32_t)message->n_output_tensors;
	for (uint32_t i = 0; i < out->output_count && status == SIMPLER_OK; i++)
		status =
			take_ref(message->output_tensors[i], "output_tensors", i, &out->outputs[i]);
	return status;
}

simpler_status msg_outcome_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                  struct msg_outcome *out)
{
	pb_response *message = codec_unpack(&simpler__distributed__v1__dispatch_resp__descriptor,
	                                    bytes, size, bump);

	return message ? take_response(message, out) : SIMPLER_EINVAL;
}

simpler_status msg_outcome_encode(const struct msg_outcome *outcome, struct rpc_buffer *out)
{
	struct bump bump;
	pb_response message;
	struct ref_room room;
	char *lines[MSG_MAX_LINES];
	simpler_status status;

	assert(outcome->line_count <= MSG_MAX_LINES);
	bump_init(&bump, (size_t)(MSG_MAX_LINES + 1) * (MSG_TEXT_MAX + 1));
	simpler__distributed__v1__dispatch_resp__init(&message);
	message.task_id = outcome->task_id;
	message.error_code = outcome->error_code;
	message.error_msg = put_text(outcome->error_msg, &bump);
	for (uint32_t i = 0; i < outcome->line_count; i++)
		lines[i] = put_text(outcome->lines[i], &bump);
	message.n_remote_traceback = outcome->line_count;
	message.remote_traceback = lines;
	message.n_output_tensors = outcome->output_count;
	message.output_tensors = put_refs(outcome->outputs, outcome->output_count, &room);
	status = codec_pack(&message.base, out);
	bump_release(&bump);
	return status;
}
