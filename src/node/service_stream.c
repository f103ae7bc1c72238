/* TensorPool: the bytes of tensors in and out, in chunks. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "node/fabric_ports.h"
#include "node/stream.h"

#define CHUNK_BYTES ((uint64_t)1 << 20)

/* --- PullTensor and ReadTensor: on_open, on_message, then on_sent for each chunk but the last ---
 */

/* The bytes of a pull, pinned until it has ended and gRPC has let go of what it sends from there.
 */
struct pinned {
	struct pool *pool;
	struct pool_view view;
	_Atomic uint32_t users;
};

struct pull {
	struct stream stream;
	struct pool_view view;      /* pinned; handle 0: not yet */
	struct pinned *pinned;      /* once something was sent without a copy */
	struct span span;           /* what is read of it */
	uint64_t sent;              /* of the span's packed bytes */
	bool whole;                 /* PullTensor, where every chunk repeats the handle */
	struct fabric_region *lent; /* to the client, which reads it by itself; or NULL */
};

static void drop_pinned(void *context)
{
	struct pinned *pinned = context;

	if (atomic_fetch_sub(&pinned->users, 1) > 1)
		return;
	pool_unpin(pinned->pool, pinned->view.handle);
	free(pinned);
}

/* The pin becomes the pull's and that of what it sends. NULL when memory is out. */
static struct pinned *share_pin(struct node *node, struct pull *pull)
{
	struct pinned *pinned = pull->pinned;

	if (!pinned) {
		pinned = malloc(sizeof(*pinned));
		if (!pinned)
			return NULL;
		pinned->pool = node->pool;
		pinned->view = pull->view;
		atomic_init(&pinned->users, 1);
		pull->pinned = pinned;
	}
	atomic_fetch_add(&pinned->users, 1);
	return pinned;
}

static void pull_open(struct rpc_call *call)
{
	stream_open(call, sizeof(struct pull));
}

/* Bytes in one piece are sent from where they lie. */
static simpler_status frame_in_place(struct node *node, struct pull *pull, struct msg_chunk *chunk,
                                     uint64_t size, struct rpc_buffer *out)
{
	struct pinned *pinned = share_pin(node, pull);
	simpler_status status;

	if (!pinned)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a transfer");
	chunk->data.size = (size_t)size;
	status = msg_chunk_encode_head(chunk, out);
	if (status == SIMPLER_OK)
		rpc_buffer_attach(out, pull->view.bytes + pull->span.offset + pull->sent,
		                  (size_t)size, drop_pinned, pinned);
	else
		drop_pinned(pinned);
	return status;
}

static simpler_status frame_packed(const struct pull *pull, const struct msg_chunk *chunk,
                                   uint64_t size, struct rpc_buffer *out)
{
	uint8_t *data;
	simpler_status status = msg_chunk_frame(chunk, (size_t)size, out, &data);

	if (status == SIMPLER_OK)
		span_read(&pull->span, pull->view.bytes, pull->sent, data, (size_t)size);
	return status;
}

static simpler_status pull_send(struct rpc_call *call, struct pull *pull)
{
	uint64_t left = span_bytes(&pull->span) - pull->sent;
	uint64_t size = left < CHUNK_BYTES ? left : CHUNK_BYTES;
	struct msg_chunk chunk = { .has_handle = pull->whole || pull->sent == 0,
		                   .offset = pull->sent,
		                   .last = size == left };
	struct node_places places;
	struct rpc_buffer buffer;
	simpler_status status;

	if (chunk.has_handle)
		node_fill_handle(node_of(call), &pull->view, &places, &chunk.handle);
	status = pull->span.runs == 1 && size > 0
	                 ? frame_in_place(node_of(call), pull, &chunk, size, &buffer)
	                 : frame_packed(pull, &chunk, size, &buffer);
	if (status != SIMPLER_OK)
		return status;
	pull->sent += size;
	rpc_send(call, &buffer);
	return SIMPLER_OK;
}

static simpler_status check_span(const struct span *span, const struct pool_view *view)
{
	if (span_end(span) <= view->nbytes)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL, "span ends at %llu, past the tensor's %llu bytes",
	                   (unsigned long long)span_end(span), (unsigned long long)view->nbytes);
}

/* The client can read it by a fabric, and so can this node have it read. */
static bool can_lend(const struct node *node, const struct pull *pull, const struct msg_read *read)
{
	return node->fabric && !read->has_span && pull->view.nbytes > 0 &&
	       strcmp(read->fabric, fabric_provider_name(fabric_ports_provider(node->fabric))) == 0;
}

/* One chunk that says where it is; then nothing until the client goes. False when it cannot be. */
static bool lend(struct rpc_call *call, struct pull *pull)
{
	struct node *node = node_of(call);
	struct msg_chunk chunk = { .has_handle = true };
	struct node_places places;
	struct fabric_place place;
	struct rpc_buffer buffer;

	if (fabric_ports_lend(node->fabric, pull->view.bytes, pull->view.nbytes, &pull->lent,
	                      &place) != SIMPLER_OK)
		return false;
	node_fill_handle(node, &pull->view, &places, &chunk.handle);
	(void)snprintf(chunk.handle.also, sizeof(chunk.handle.also), "%s", FABRIC_TRANSPORT);
	chunk.handle.also_desc =
		(simpler_bytes){ places.fabric, fabric_place_encode(&place, places.fabric) };
	if (msg_chunk_encode_head(&chunk, &buffer) != SIMPLER_OK) {
		reply_error(call);
		return true;
	}
	rpc_send(call, &buffer);
	return true;
}

static void pull_begin(struct rpc_call *call, struct pull *pull, simpler_status status)
{
	if (status == SIMPLER_OK)
		status = check_span(&pull->span, &pull->view);
	if (status == SIMPLER_OK)
		status = pull_send(call, pull);
	if (status != SIMPLER_OK)
		reply_error(call);
}

static struct span all_of(const struct pool_view *view)
{
	return (struct span){ .run_bytes = view->nbytes, .runs = 1 };
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
		status = pool_pin(node->pool, pull->stream.session, handle.handle_id, POOL_READ,
		                  &pull->view);
	pull->whole = true;
	pull->span = all_of(&pull->view);
	pull_begin(call, pull, status);
}

/* By right of its session, or of the grant whose token it has. */
static simpler_status read_pin(struct node *node, struct pull *pull, const struct msg_read *read)
{
	simpler_status status = node_check_handle(node, &read->handle);

	if (status != SIMPLER_OK)
		return status;
	if (read->token.size > 0)
		return pool_pin_granted(node->pool, read->handle.handle_id, read->token.data,
		                        &pull->view);
	return pool_pin(node->pool, pull->stream.session, read->handle.handle_id, POOL_READ,
	                &pull->view);
}

static void read_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct pull *pull = rpc_call_state(call);
	struct msg_read read;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_read_decode(data, size, &bump, &read);
	if (status == SIMPLER_OK)
		status = read_pin(node_of(call), pull, &read);
	bump_release(&bump);
	if (status == SIMPLER_OK && can_lend(node_of(call), pull, &read) && lend(call, pull))
		return;
	if (status == SIMPLER_OK)
		pull->span = read.has_span ? read.span : all_of(&pull->view);
	pull_begin(call, pull, status);
}

static void pull_sent(struct rpc_call *call)
{
	struct pull *pull = rpc_call_state(call);

	if (pull->lent)
		return;
	if (pull->sent == span_bytes(&pull->span))
		rpc_finish(call, RPC_OK, NULL, NULL);
	else if (pull_send(call, pull) != SIMPLER_OK)
		reply_error(call);
}

static void pull_half_close(struct rpc_call *call)
{
	rpc_finish(call, RPC_INVALID_ARGUMENT, "this method takes one message, got none", NULL);
}

static void pull_end(struct rpc_call *call, bool cancelled)
{
	struct pull *pull = rpc_call_state(call);

	(void)cancelled;
	if (pull && pull->lent)
		fabric_region_close(pull->lent);
	if (pull && pull->pinned)
		drop_pinned(pull->pinned);
	else if (pull && pull->view.handle != 0)
		pool_unpin(node_of(call)->pool, pull->view.handle);
	stream_close(call);
}

/* --- PushTensor: on_open, on_message for each chunk, then on_half_close --- */

struct push {
	struct stream stream;
	struct pool_view view; /* pinned; handle 0: no chunk has come */
	uint64_t named;        /* the handle id that chunks carry: 0 when this push allocates */
	struct span span;      /* what it writes */
	bool allocated;        /* by this push, so freed if it fails or nobody hears of it */
	bool answered;         /* with the handle */
	bool complete;         /* the last chunk has come */
};

static void push_open(struct rpc_call *call)
{
	stream_open(call, sizeof(struct push));
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
	status = node_alloc(node, push->stream.session, nbytes, 0, &view);
	if (status == SIMPLER_OK)
		status = pool_pin(node->pool, push->stream.session, view.handle, POOL_WRITE,
		                  &push->view);
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
	if (status != SIMPLER_OK)
		return status;
	return pool_pin(node->pool, push->stream.session, push->named, POOL_WRITE, &push->view);
}

/* What it writes is pinned: all of it, or the span that the first chunk has. */
static simpler_status push_aim(struct push *push, const struct msg_chunk *chunk)
{
	push->span = chunk->has_span ? chunk->span : all_of(&push->view);
	return check_span(&push->span, &push->view);
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
                                const struct msg_chunk *chunk, struct msg_parts *data)
{
	struct pool_view view;
	uint64_t end, most = span_bytes(&push->span);
	const uint8_t *bytes;
	size_t size;

	if (!checked_add(chunk->offset, chunk->data.size, &end) || end > most)
		return error_raise(
			SIMPLER_EINVAL, "%zu bytes at offset %llu go past the %s's %llu bytes",
			chunk->data.size, (unsigned long long)chunk->offset,
			most < push->view.nbytes ? "span" : "tensor", (unsigned long long)most);
	for (uint64_t at = chunk->offset; (bytes = msg_parts_next(data, SIZE_MAX, &size)) != NULL;
	     at += size)
		span_write(&push->span, push->view.bytes, at, bytes, size);
	return pool_renew(node->pool, push->view.handle, &view);
}

static simpler_status push_chunk(struct node *node, struct push *push,
                                 const struct msg_chunk *chunk, struct msg_parts *data)
{
	simpler_status status =
		push->view.handle == 0 ? push_begin(node, push, chunk) : push_continue(push, chunk);

	if (status == SIMPLER_OK)
		status = push_copy(node, push, chunk, data);
	push->complete = chunk->last;
	return status;
}

/* Its bytes are copied once, from where they came in to where they belong. */
static void push_parts(struct rpc_call *call, const struct rpc_part *parts, size_t count)
{
	struct push *push = rpc_call_state(call);
	struct msg_parts data;
	struct msg_chunk chunk;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(0));
	status = msg_chunk_decode_parts(parts, count, &bump, &chunk, &data);
	if (status == SIMPLER_OK)
		status = push_chunk(node_of(call), push, &chunk, &data);
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
	struct node_places places;
	struct msg_handle handle;
	struct pool_view view;
	simpler_status status;

	if (push->view.handle == 0) {
		status = node_alloc(node, push->stream.session, 0, 0, &view);
		if (status == SIMPLER_OK)
			node_fill_handle(node, &view, &places, &handle);
	} else {
		status = node_keep_handle(node, push->view.handle, &places, &handle);
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
		(void)pool_free(pool, push->stream.session, push->view.handle);
	if (push && push->view.handle != 0)
		pool_unpin(pool, push->view.handle);
	stream_close(call);
}

const struct rpc_method node_stream_methods[NODE_STREAM_METHODS] = {
	{ .path = MSG_PULL_TENSOR,
	  .streaming = true,
	  .idle_ms = STREAM_IDLE_MS,
	  .on_open = pull_open,
	  .on_message = pull_message,
	  .on_half_close = pull_half_close,
	  .on_sent = pull_sent,
	  .on_cancel = stream_give_up,
	  .on_end = pull_end },
	{ .path = MSG_READ_TENSOR,
	  .streaming = true,
	  .idle_ms = STREAM_IDLE_MS,
	  .on_open = pull_open,
	  .on_message = read_message,
	  .on_half_close = pull_half_close,
	  .on_sent = pull_sent,
	  .on_cancel = stream_give_up,
	  .on_end = pull_end },
	{ .path = MSG_PUSH_TENSOR,
	  .streaming = true,
	  .idle_ms = STREAM_IDLE_MS,
	  .on_open = push_open,
	  .on_parts = push_parts,
	  .on_half_close = push_half_close,
	  .on_cancel = stream_give_up,
	  .on_end = push_end },
};
