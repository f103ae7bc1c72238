/* Catalog, the modules' part: streams of chunks in and out. See catalog/module_store.h. */
#include <string.h>

#include "base/error.h"
#include "node/stream.h"

#define CHUNK_BYTES ((size_t)1 << 20)

/* --- PushModule: on_open, on_message for each chunk, then on_half_close --- */

struct push {
	struct stream stream;
	bool begun;
	struct digest digest;
	uint64_t nbytes;
	struct module_upload *upload; /* NULL before the first chunk, and when it has ended */
};

static void push_open(struct rpc_call *call)
{
	stream_open(call, sizeof(struct push));
}

static void push_answer(struct rpc_call *call, const struct push *push)
{
	struct msg_module_ref ref;
	struct rpc_buffer buffer;

	memcpy(ref.digest, push->digest.bytes, sizeof(ref.digest));
	reply(call, msg_module_ref_encode(&ref, &buffer), &buffer);
}

static simpler_status push_begin(struct node *node, struct push *push,
                                 const struct msg_module_chunk *chunk)
{
	if (chunk->digest.size != DIGEST_BYTES)
		return error_raise(SIMPLER_EINVAL,
		                   "the first chunk of a module names none; send the module's "
		                   "digest, nbytes and signature with it");
	push->begun = true;
	push->nbytes = chunk->nbytes;
	memcpy(push->digest.bytes, chunk->digest.data, DIGEST_BYTES);
	return catalog_begin_upload(node->catalog, &push->digest, chunk->signature, chunk->nbytes,
	                            &push->upload);
}

/* Chunks after the first repeat what it said, or say nothing of it. */
static simpler_status push_continue(const struct push *push, const struct msg_module_chunk *chunk)
{
	if ((chunk->digest.size == DIGEST_BYTES &&
	     memcmp(chunk->digest.data, push->digest.bytes, DIGEST_BYTES) != 0) ||
	    (chunk->nbytes != 0 && chunk->nbytes != push->nbytes))
		return error_raise(
			SIMPLER_EINVAL,
			"a chunk is of another module than the first; one push is of one "
			"module");
	return SIMPLER_OK;
}

static simpler_status push_chunk(struct node *node, struct push *push,
                                 const struct msg_module_chunk *chunk)
{
	simpler_status status =
		push->begun ? push_continue(push, chunk) : push_begin(node, push, chunk);

	if (status == SIMPLER_OK && push->upload)
		status = module_upload_add(push->upload, chunk->offset, chunk->data);
	return status;
}

static void push_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct push *push = rpc_call_state(call);
	struct msg_module_chunk chunk;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_module_chunk_decode(data, size, &bump, &chunk);
	if (status == SIMPLER_OK)
		status = push_chunk(node_of(call), push, &chunk);
	bump_release(&bump);
	if (status != SIMPLER_OK)
		reply_error(call);
	else if (push->upload)
		rpc_receive(call);
	else
		push_answer(call, push); /* it is known: what else comes need not */
}

static void push_half_close(struct rpc_call *call)
{
	struct push *push = rpc_call_state(call);
	struct module_upload *upload = push->upload;

	if (!upload) {
		rpc_finish(call, RPC_INVALID_ARGUMENT, "PushModule takes chunks, got none", NULL);
		return;
	}
	push->upload = NULL;
	if (module_upload_end(upload) == SIMPLER_OK)
		push_answer(call, push);
	else
		reply_error(call);
}

static void push_end(struct rpc_call *call, bool cancelled)
{
	struct push *push = rpc_call_state(call);

	(void)cancelled;
	if (push && push->upload)
		module_upload_drop(push->upload);
	stream_close(call);
}

/* --- PullModule: on_open, on_message, then on_sent for each chunk but the last --- */

struct pull {
	struct stream stream;
	const struct stored_module *module; /* in use; NULL: not yet */
	size_t sent;                        /* bytes */
};

static void pull_open(struct rpc_call *call)
{
	stream_open(call, sizeof(struct pull));
}

static simpler_status pull_send(struct rpc_call *call, struct pull *pull)
{
	const struct stored_module *module = pull->module;
	size_t left = module->bytes.size - pull->sent;
	struct msg_module_chunk chunk = { .offset = pull->sent };
	struct rpc_buffer buffer;
	simpler_status status;

	if (pull->sent == 0) {
		chunk.digest = (simpler_bytes){ module->digest.bytes, DIGEST_BYTES };
		chunk.nbytes = module->bytes.size;
	}
	chunk.data = (simpler_bytes){ (const uint8_t *)module->bytes.data + pull->sent,
		                      left < CHUNK_BYTES ? left : CHUNK_BYTES };
	status = msg_module_chunk_encode(&chunk, &buffer);
	if (status != SIMPLER_OK)
		return status;
	pull->sent += chunk.data.size;
	rpc_send(call, &buffer);
	return SIMPLER_OK;
}

static void pull_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct pull *pull = rpc_call_state(call);
	struct msg_module_ref ref;
	struct digest digest;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_module_ref_decode(data, size, &bump, &ref);
	bump_release(&bump);
	if (status == SIMPLER_OK) {
		memcpy(digest.bytes, ref.digest, sizeof(digest.bytes));
		status = module_store_use(catalog_modules(node_of(call)->catalog), &digest,
		                          simpler_no_state(), &pull->module);
	}
	if (status == SIMPLER_OK)
		status = pull_send(call, pull);
	if (status != SIMPLER_OK)
		reply_error(call);
}

static void pull_sent(struct rpc_call *call)
{
	struct pull *pull = rpc_call_state(call);

	if (pull->sent == pull->module->bytes.size)
		rpc_finish(call, RPC_OK, NULL, NULL);
	else if (pull_send(call, pull) != SIMPLER_OK)
		reply_error(call);
}

static void pull_half_close(struct rpc_call *call)
{
	rpc_finish(call, RPC_INVALID_ARGUMENT, "PullModule takes one ModuleRef, got none", NULL);
}

static void pull_end(struct rpc_call *call, bool cancelled)
{
	struct pull *pull = rpc_call_state(call);

	(void)cancelled;
	if (pull && pull->module)
		module_store_leave(catalog_modules(node_of(call)->catalog), pull->module);
	stream_close(call);
}

/* Slow, as modules are digested when they come, and may be read from files when they go. */
const struct rpc_method node_module_methods[NODE_MODULE_METHODS] = {
	{ .path = MSG_PUSH_MODULE,
	  .streaming = true,
	  .slow = true,
	  .idle_ms = STREAM_IDLE_MS,
	  .on_open = push_open,
	  .on_message = push_message,
	  .on_half_close = push_half_close,
	  .on_cancel = stream_give_up,
	  .on_end = push_end },
	{ .path = MSG_PULL_MODULE,
	  .streaming = true,
	  .slow = true,
	  .idle_ms = STREAM_IDLE_MS,
	  .on_open = pull_open,
	  .on_message = pull_message,
	  .on_half_close = pull_half_close,
	  .on_sent = pull_sent,
	  .on_cancel = stream_give_up,
	  .on_end = pull_end },
};
