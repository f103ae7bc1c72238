/* The messages of callables, modules and sessions. */
#include "rpc/messages.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "rpc/codec.h"
#include "rpc/messages_tensor.h"

#define PB(name)           Simpler__Distributed__V1__##name
#define PB_TYPE(name)      (&simpler__distributed__v1__##name##__descriptor)
#define PB_INIT(name, out) simpler__distributed__v1__##name##__init(out)

static simpler_status check_digest(simpler_bytes digest, const char *field)
{
	if (digest.size == RECORD_DIGEST_BYTES)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL, "%s has %zu bytes instead of %d", field, digest.size,
	                   RECORD_DIGEST_BYTES);
}

/* --- callables --- */

simpler_status msg_callable_ref_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                       struct msg_callable_ref *out)
{
	PB(CallableRef) *message = codec_unpack(PB_TYPE(callable_ref), bytes, size, bump);

	if (!message)
		return SIMPLER_EINVAL;
	*out = (struct msg_callable_ref){ message->callable_id, message->version };
	return SIMPLER_OK;
}

simpler_status msg_callable_ref_encode(const struct msg_callable_ref *ref, struct rpc_buffer *out)
{
	PB(CallableRef) message;

	PB_INIT(callable_ref, &message);
	message.callable_id = ref->callable_id;
	message.version = ref->version;
	return codec_pack(&message.base, out);
}

simpler_status msg_callable_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                   struct msg_callable *out)
{
	PB(CallablePayload) *message = codec_unpack(PB_TYPE(callable_payload), bytes, size, bump);

	if (!message)
		return SIMPLER_EINVAL;
	*out = (struct msg_callable){ .callable_id = message->callable_id,
		                      .version = message->version,
		                      .payload = take_bytes(message->pickled),
		                      .digest = take_bytes(message->digest) };
	return out->digest.size == 0 ? SIMPLER_OK : check_digest(out->digest, "digest");
}

simpler_status msg_callable_encode(const struct msg_callable *callable, struct rpc_buffer *out)
{
	PB(CallablePayload) message;

	PB_INIT(callable_payload, &message);
	message.callable_id = callable->callable_id;
	message.version = callable->version;
	message.pickled = put_bytes(callable->payload);
	message.digest = put_bytes(callable->digest);
	return codec_pack(&message.base, out);
}

/* --- modules --- */

static simpler_bytes digest_of(const PB(ModuleRef) * ref)
{
	return ref ? take_bytes(ref->digest) : (simpler_bytes){ NULL, 0 };
}

simpler_status msg_module_ref_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                     struct msg_module_ref *out)
{
	PB(ModuleRef) *message = codec_unpack(PB_TYPE(module_ref), bytes, size, bump);
	simpler_status status;

	if (!message)
		return SIMPLER_EINVAL;
	status = check_digest(digest_of(message), "digest");
	if (status == SIMPLER_OK)
		memcpy(out->digest, message->digest.data, sizeof(out->digest));
	return status;
}

simpler_status msg_module_ref_encode(const struct msg_module_ref *ref, struct rpc_buffer *out)
{
	PB(ModuleRef) message;

	PB_INIT(module_ref, &message);
	message.digest = put_bytes((simpler_bytes){ ref->digest, sizeof(ref->digest) });
	return codec_pack(&message.base, out);
}

simpler_status msg_module_chunk_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                       struct msg_module_chunk *out)
{
	PB(ModuleChunk) *message = codec_unpack(PB_TYPE(module_chunk), bytes, size, bump);
	uint64_t end;

	if (!message)
		return SIMPLER_EINVAL;
	if (!checked_add(message->offset, message->data.len, &end))
		return error_raise(SIMPLER_EINVAL,
		                   "offset %" PRIu64 " with %zu bytes of data goes past 2^64",
		                   message->offset, message->data.len);
	*out = (struct msg_module_chunk){
		.digest = digest_of(message->module),
		.nbytes = message->nbytes,
		.signature = take_bytes(message->signature),
		.offset = message->offset,
		.data = take_bytes(message->data),
	};
	return message->module ? check_digest(out->digest, "module.digest") : SIMPLER_OK;
}

simpler_status msg_module_chunk_encode(const struct msg_module_chunk *chunk, struct rpc_buffer *out)
{
	PB(ModuleChunk) message;
	PB(ModuleRef) module;

	PB_INIT(module_chunk, &message);
	PB_INIT(module_ref, &module);
	if (chunk->digest.size > 0) {
		module.digest = put_bytes(chunk->digest);
		message.module = &module;
	}
	message.nbytes = chunk->nbytes;
	message.signature = put_bytes(chunk->signature);
	message.offset = chunk->offset;
	message.data = put_bytes(chunk->data);
	return codec_pack(&message.base, out);
}

/* --- sessions --- */

simpler_status msg_attach_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                 struct msg_attach *out)
{
	PB(AttachReq) *message = codec_unpack(PB_TYPE(attach_req), bytes, size, bump);

	if (!message)
		return SIMPLER_EINVAL;
	out->ttl_ms = message->ttl_ms;
	return SIMPLER_OK;
}

simpler_status msg_attach_encode(const struct msg_attach *attach, struct rpc_buffer *out)
{
	PB(AttachReq) message;

	PB_INIT(attach_req, &message);
	message.ttl_ms = attach->ttl_ms;
	return codec_pack(&message.base, out);
}

/* Those that we do not know are of no use, and no error. */
static uint32_t take_lane(const char *name)
{
	simpler_lane lane;

	return lane_by_name(name, &lane) ? UINT32_C(1) << lane : 0;
}

static size_t put_lanes(uint32_t lanes, char *names[SIMPLER_LANES])
{
	size_t count = 0;

	for (int lane = SIMPLER_LANE_UNARY; lane < SIMPLER_LANES; lane++) {
		if (lanes >> lane & 1)
			names[count++] = (char *)simpler_lane_name((simpler_lane)lane);
	}
	return count;
}

simpler_status msg_attached_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                   struct msg_attached *out)
{
	PB(AttachResp) *message = codec_unpack(PB_TYPE(attach_resp), bytes, size, bump);
	simpler_status status;

	if (!message)
		return SIMPLER_EINVAL;
	status = take_text(message->node_id, MSG_NODE_ID_MAX, "node_id");
	if (status == SIMPLER_OK)
		status = take_text(message->shm_address, MSG_SHM_ADDRESS_MAX, "shm_address");
	if (status != SIMPLER_OK)
		return status;
	*out = (struct msg_attached){ .boot_id = message->boot_id,
		                      .ttl_ms = message->ttl_ms,
		                      .known = message->known != 0,
		                      .session_life = message->session_life,
		                      .draining = message->draining != 0 };
	memcpy(out->node_id, message->node_id, strlen(message->node_id) + 1);
	memcpy(out->shm_address, message->shm_address, strlen(message->shm_address) + 1);
	for (size_t i = 0; i < message->n_lanes; i++)
		out->lanes |= take_lane(message->lanes[i]);
	return SIMPLER_OK;
}

simpler_status msg_attached_encode(const struct msg_attached *attached, struct rpc_buffer *out)
{
	PB(AttachResp) message;
	char *lanes[SIMPLER_LANES];

	PB_INIT(attach_resp, &message);
	message.node_id = (char *)attached->node_id;
	message.boot_id = attached->boot_id;
	message.ttl_ms = attached->ttl_ms;
	message.known = attached->known;
	message.shm_address = (char *)attached->shm_address;
	message.session_life = attached->session_life;
	message.draining = attached->draining;
	message.n_lanes = put_lanes(attached->lanes, lanes);
	message.lanes = lanes;
	return codec_pack(&message.base, out);
}

simpler_status msg_lane_batch_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                     const uint8_t **records, size_t *record_bytes)
{
	PB(LaneBatch) *message = codec_unpack(PB_TYPE(lane_batch), bytes, size, bump);

	if (!message)
		return SIMPLER_EINVAL;
	*records = message->records.data;
	*record_bytes = message->records.len;
	return SIMPLER_OK;
}

simpler_status msg_lane_batch_encode(const uint8_t *records, size_t size, struct rpc_buffer *out)
{
	PB(LaneBatch) message;

	PB_INIT(lane_batch, &message);
	message.records = put_bytes((simpler_bytes){ records, size });
	return codec_pack(&message.base, out);
}

simpler_status msg_stop_task_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                    struct msg_stop_task *out)
{
	PB(StopTaskReq) *message = codec_unpack(PB_TYPE(stop_task_req), bytes, size, bump);

	if (!message)
		return SIMPLER_EINVAL;
	out->task_id = message->task_id;
	return SIMPLER_OK;
}

simpler_status msg_stop_task_encode(const struct msg_stop_task *stop, struct rpc_buffer *out)
{
	PB(StopTaskReq) message;

	PB_INIT(stop_task_req, &message);
	message.task_id = stop->task_id;
	return codec_pack(&message.base, out);
}
