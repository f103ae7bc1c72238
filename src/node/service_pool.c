/* TensorPool: storage under handles, and its bytes in and out in chunks. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "node/node.h"

#define CHUNK_BYTES ((uint64_t)1 << 20)

static void reply_view(struct rpc_call *call, const struct pool_view *view)
{
	struct rpc_buffer buffer;
	struct msg_handle handle;

	node_fill_handle(node_of(call), view, &handle);
	reply(call, msg_handle_encode(&handle, &buffer), &buffer);
}

/* --- AllocTensor, RefreshTensor, FreeTensor --- */

static void alloc_tensor(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct pool_view view;
	struct msg_alloc alloc;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_alloc_decode(data, size, &bump, &alloc);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = pool_alloc(node_of(call)->pool, alloc.nbytes, alloc.ttl_ms, &view);
	if (status == SIMPLER_OK)
		reply_view(call, &view);
	else
		reply_error(call);
}

static void refresh_tensor(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct node *node = node_of(call);
	struct msg_refresh refresh;
	struct pool_view view;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_refresh_decode(data, size, &bump, &refresh);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = node_check_handle(node, &refresh.handle);
	if (status == SIMPLER_OK)
		status = pool_refresh(node->pool, refresh.handle.handle_id, refresh.ttl_ms, &view);
	if (status == SIMPLER_OK)
		reply_view(call, &view);
	else
		reply_error(call);
}

static void free_tensor(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct node *node = node_of(call);
	struct rpc_buffer buffer;
	struct msg_handle handle;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_free_decode(data, size, &bump, &handle);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = node_check_handle(node, &handle);
	if (status == SIMPLER_OK)
		status = pool_free(node->pool, handle.handle_id);
	if (status == SIMPLER_OK)
		status = msg_empty_encode(&buffer);
	reply(call, status, &buffer);
}

/* --- PullTensor: on_open, on_message, then on_sent for each chunk but the last --- */

struct pull {
	struct pool_view view; /* pinned; handle 0: not yet */
	uint64_t sent;         /* bytes */
};

static void *open_state(struct rpc_call *call, size_t size)
{
	void *state = calloc(1, size);

	rpc_call_set_state(call, state);
	if (state) {
		rpc_receive(call);
		return state;
	}
	error_raise(SIMPLER_ENOMEM, "out of memory for a transfer");
	reply_error(call);
	return NULL;
}

static void pull_open(struct rpc_call *call)
{
	(void)open_state(call, sizeof(struct pull));
}

static simpler_status pull_send(struct rpc_call *call, struct pull *pull)
{
	struct node *node = node_of(call);
	uint64_t left = pull->view.nbytes - pull->sent;
	uint64_t size = left < CHUNK_BYTES ? left : CHUNK_BYTES;
	struct msg_chunk chunk = { .has_handle = true, .offset = pull->sent, .last = size == left };
	struct rpc_buffer buffer;
	simpler_status status;

	node_fill_handle(node, &pull->view, &chunk.handle);
	chunk.data = (simpler_bytes){ node->arena + pull->view.offset + pull->sent, (size_t)size };
	status = msg_chunk_encode(&chunk, &buffer);
	if (status != SIMPLER_OK)
		return status;
	pull->sent += size;
	rpc_send(call, &buffer);
	return SIMPLER_OK;
}

static void pull_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct node *node = node_of(call);
	struct pull *pull = rpc_call_state(call);
	struct msg_handle handle;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_handle_decode(data, size, &bump, &handle);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = node_check_handle(node, &handle);
	if (status == SIMPLER_OK)
		status = pool_pin(node->pool, handle.handle_id, &pull->view);
	if (status == SIMPLER_OK)
		status = pull_send(call, pull);
	if (status != SIMPLER_OK)
		reply_error(call);
}

static void pull_sent(struct rpc_call *call)
{
	struct pull *pull = rpc_call_state(call);

	if (pull->sent == pull->view.nbytes)
		rpc_finish(call, RPC_OK, NULL, NULL);
	else if (pull_send(call, pull) != SIMPLER_OK)
		reply_error(call);
}

static void pull_half_close(struct rpc_call *call)
{
	rpc_finish(call, RPC_INVALID_ARGUMENT, "PullTensor takes one TensorHandle, got none", NULL);
}

static void pull_end(struct rpc_call *call, bool cancelled)
{
	struct pull *pull = rpc_call_state(call);

	(void)cancelled;
	if (pull && pull->view.handle != 0)
		pool_unpin(node_of(call)->pool, pull->view.handle);
	free(pull);
}

/* The other side is gone; whatever is answered goes nowhere. */
static void give_up(struct rpc_call *call)
{
	rpc_finish(call, RPC_CANCELLED, "the client is gone", NULL);
}

/* --- PushTensor: on_open, on_message for each chunk, then on_half_close --- */

struct push {
	struct pool_view view; /* pinned; handle 0: no chunk has come */
	uint64_t named;        /* the handle id that chunks carry: 0 when this push allocates */
	struct span span;      /* what it writes */
	bool allocated;        /* by this push, so freed if it fails or nobody hears of it */
	bool answered;         /* with the handle */
	bool complete;         /* the last chunk has come */
};

static void push_open(struct rpc_call *call)
{
	(void)open_state(call, sizeof(struct push));
}

/* Storage of the size that the first handle tells. Clients that have all in one chunk may leave
 * that to the chunk. */
static simpler_status push_alloc(struct node *node, struct push *push,
                                 const struct msg_chunk *chunk)
{
	uint64_t nbytes = chunk->handle.nbytes;
	struct pool_view view;
	simpler_status status;

	if (nbytes == 0 && !chunk->last)
		return error_raise(SIMPLER_EINVAL,
		                   "a push to handle id 0 allocates, and its first chunk is not "
		                   "its last: give the size in handle.nbytes");
	if (nbytes == 0)
		nbytes = chunk->data.size;
	status = pool_alloc(node->pool, nbytes, 0, &view);
	if (status == SIMPLER_OK)
		status = pool_pin(node->pool, view.handle, &push->view);
	push->allocated = status == SIMPLER_OK;
	return status;
}

static simpler_status push_pin(struct node *node, struct push *push, const struct msg_chunk *chunk)
{
	simpler_status status;

	push->named = chunk->handle.handle_id;
	if (push->named == 0)
		return push_alloc(node, push, chunk);
	status = node_check_handle(node, &chunk->handle);
	return status == SIMPLER_OK ? pool_pin(node->pool, push->named, &push->view) : status;
}

/* What it writes is pinned: all of it, or the span that the first chunk has. */
static simpler_status push_aim(struct push *push, const struct msg_chunk *chunk)
{
	push->span = (struct span){ .run_bytes = push->view.nbytes, .runs = 1 };
	if (!chunk->has_span)
		return SIMPLER_OK;
	push->span = chunk->span;
	if (span_end(&push->span) <= push->view.nbytes)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL, "span ends at %llu, past the tensor's %llu bytes",
	                   (unsigned long long)span_end(&push->span),
	                   (unsigned long long)push->view.nbytes);
}

static simpler_status push_begin(struct node *node, struct push *push,
                                 const struct msg_chunk *chunk)
{
	simpler_status status;

	if (!chunk->has_handle)
		return error_raise(SIMPLER_EINVAL,
		                   "the first chunk of a push has no handle; send the tensor's, or "
		                   "one with id 0 and the size to allocate");
	status = push_pin(node, push, chunk);
	return status == SIMPLER_OK ? push_aim(push, chunk) : status;
}

/* Chunks after the first repeat the first one's handle or have none. */
static simpler_status push_continue(const struct push *push, const struct msg_chunk *chunk)
{
	if (push->complete)
		return error_raise(SIMPLER_EINVAL, "a chunk follows the one marked last");
	if (chunk->has_span)
		return error_raise(SIMPLER_EINVAL, "a chunk after the first has a span");
	if (chunk->has_handle && chunk->handle.handle_id != push->named &&
	    chunk->handle.handle_id != push->view.handle)
		return error_raise(
			SIMPLER_EINVAL,
			"a chunk names handle %llu in a push to %llu; one push fills one "
			"tensor",
			(unsigned long long)chunk->handle.handle_id,
			(unsigned long long)push->named);
	return SIMPLER_OK;
}

/* A push may take longer than a lease, so each chunk keeps it. */
static simpler_status push_copy(struct node *node, const struct push *push,
                                const struct msg_chunk *chunk)
{
	struct msg_handle unused;
	uint64_t end, most = span_bytes(&push->span);

	if (!checked_add(chunk->offset, chunk->data.size, &end) || end > most)
		return error_raise(
			SIMPLER_EINVAL, "%zu bytes at offset %llu go past the %s's %llu bytes",
			chunk->data.size, (unsigned long long)chunk->offset,
			most < push->view.nbytes ? "span" : "tensor", (unsigned long long)most);
	span_write(&push->span, node->arena + push->view.offset, chunk->offset, chunk->data.data,
	           chunk->data.size);
	return node_keep_handle(node, push->view.handle, &unused);
}

static simpler_status push_chunk(struct node *node, struct push *push,
                                 const struct msg_chunk *chunk)
{
	simpler_status status =
		push->view.handle == 0 ? push_begin(node, push, chunk) : push_continue(push, chunk);

	if (status == SIMPLER_OK)
		status = push_copy(node, push, chunk);
	push->complete = chunk->last;
	return status;
}

static void push_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct push *push = rpc_call_state(call);
	struct msg_chunk chunk;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_chunk_decode(data, size, &bump, &chunk);
	if (status == SIMPLER_OK)
		status = push_chunk(node_of(call), push, &chunk);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		rpc_receive(call);
	else
		reply_error(call);
}

static void push_half_close(struct rpc_call *call)
{
	struct node *node = node_of(call);
	struct push *push = rpc_call_state(call);
	struct rpc_buffer buffer;
	struct msg_handle handle;
	struct pool_view view;
	simpler_status status;

	if (push->view.handle == 0) {
		status = pool_alloc(node->pool, 0, 0, &view);
		if (status == SIMPLER_OK)
			node_fill_handle(node, &view, &handle);
	} else {
		status = node_keep_handle(node, push->view.handle, &handle);
	}
	if (status == SIMPLER_OK)
		status = msg_handle_encode(&handle, &buffer);
	push->answered = status == SIMPLER_OK;
	reply(call, status, &buffer);
}

/* The storage is the client's once it is told of it. One that cancels or goes at that moment is not
 * told, as far as can be known here; what it does not free goes when the lease is over. */
static void push_end(struct rpc_call *call, bool cancelled)
{
	struct pool *pool = node_of(call)->pool;
	struct push *push = rpc_call_state(call);

	if (push && push->allocated && (cancelled || !push->answered))
		(void)pool_free(pool, push->view.handle);
	if (push && push->view.handle != 0)
		pool_unpin(pool, push->view.handle);
	free(push);
}

const struct rpc_method node_pool_methods[NODE_POOL_METHODS] = {
	{ .path = MSG_ALLOC_TENSOR, .on_message = alloc_tensor },
	{ .path = MSG_REFRESH_TENSOR, .on_message = refresh_tensor },
	{ .path = MSG_FREE_TENSOR, .on_message = free_tensor },
	{ .path = MSG_PULL_TENSOR,
	  .streaming = true,
	  .on_open = pull_open,
	  .on_message = pull_message,
	  .on_half_close = pull_half_close,
	  .on_sent = pull_sent,
	  .on_cancel = give_up,
	  .on_end = pull_end },
	{ .path = MSG_PUSH_TENSOR,
	  .streaming = true,
	  .on_open = push_open,
	  .on_message = push_message,
	  .on_half_close = push_half_close,
	  .on_cancel = give_up,
	  .on_end = push_end },
};
