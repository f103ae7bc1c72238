/*
 * TensorPool.ImportTensor. A tensor of this node gets another handle, at once. One of another node
 * is read from that node's daemon, straight into storage of the importing session: the parent only
 * brokered the grant, and no byte goes through it.
 *
 * Such an import is a call here and a stream there. The call is answered by the stream's end, in
 * the thread of the connections, and has the stream cancelled when its client cancels it, is gone,
 * or its deadline passes, and when the other node has been silent for too long, which the daemon's
 * thread looks for; the stream's end answers it then, too. The call's state lasts until the call is
 * over, which is after its answer.
 *
 * Where both nodes have a fabric, the stream brings no bytes but says where they are, for as long
 * as it lasts. They are read by a move of the fabric's transport, and the stream is cancelled when
 * that has ended. Its end and the move's bring the import to an end, whichever comes last; after a
 * move that failed, a second stream brings the bytes. While it moves the fabric sees to it that it
 * does not for ever.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "node/fabric_ports.h"
#include "node/node.h"
#include "transport/transport.h"

/* Those that wait for another node. */
struct node_imports {
	pthread_mutex_t lock; /* guards `all`, the links, and `silent` while one is in there */
	struct import *all;
};

struct import {
	struct import *prev, *next;
	_Atomic int64_t heard; /* when something came last (base/clock.h) */
	bool silent;           /* it was ended because nothing did */
	struct rpc_call *call;
	uint64_t session; /* entered */
	struct peer *peer;
	char node_id[MSG_NODE_ID_MAX + 1]; /* whose tensor it is, and where that was asked for */
	char address[MSG_ADDRESS_MAX + 1];
	struct pool_view view; /* pinned */
	uint64_t received;
	bool last;     /* the last chunk has come */
	bool answered; /* with the handle */
	simpler_status wrong;
	struct error why; /* what came made no sense, when `wrong` is not SIMPLER_OK */

	struct msg_handle source; /* of the grant, with its token: for a second stream */
	uint8_t token[MSG_TOKEN_BYTES];
	bool asks;                      /* the stream, for a place, and none has come */
	struct transport_storage place; /* of the source, and how it is read */
	struct transport_move move;
	simpler_status ended; /* how the stream has, */
	struct error end;     /* when not SIMPLER_OK */

	pthread_mutex_t lock; /* guards the rest */
	struct rpc_client_call *stream;
	struct transport *moving; /* NULL: nothing moves by the fabric */
	bool over;                /* the stream is */
	bool given_up;            /* the client has */
	bool moved, failed;       /* the bytes have, by the fabric; or have not */
};

/* --- by the fabric --- */

static void conclude(struct import *import);

static void tell_failure(const struct import *import, const char *why)
{
	struct fabric_ports *ports = node_of(import->call)->fabric;

	simpler_log(fabric_ports_fell_back(ports) ? SIMPLER_LOG_WARN : SIMPLER_LOG_DEBUG,
	            "an import from node '%s' goes on by a stream, as the fabric failed: %s",
	            import->node_id, why);
}

static void on_moved(struct transport_move *move, const struct error *error)
{
	struct import *import = (struct import *)((char *)move - offsetof(struct import, move));
	bool last;

	if (error)
		tell_failure(import, error_step(error, 0));
	else
		simpler_log(SIMPLER_LOG_DEBUG, "%llu bytes came from node '%s' by the fabric",
		            (unsigned long long)import->view.nbytes, import->node_id);
	pthread_mutex_lock(&import->lock);
	import->moving = NULL;
	import->moved = !error;
	import->failed = error != NULL;
	last = import->over;
	if (!last)
		rpc_client_call_cancel(import->stream);
	pthread_mutex_unlock(&import->lock);
	if (last)
		conclude(import);
}

/* Whether the chunk says where to read, instead of bringing bytes. */
static bool is_place(const struct import *import, const struct msg_chunk *chunk)
{
	return import->asks && import->received == 0 && chunk->has_handle &&
	       chunk->data.size == 0 && !chunk->last &&
	       strcmp(chunk->handle.also, FABRIC_TRANSPORT) == 0;
}

/* Nothing leads there, and the next stream does not ask. */
static void do_without(struct import *import)
{
	tell_failure(import, "it knows too many other nodes");
	pthread_mutex_lock(&import->lock);
	import->failed = true;
	rpc_client_call_cancel(import->stream);
	pthread_mutex_unlock(&import->lock);
}

static simpler_status begin_move(struct import *import, const struct msg_chunk *chunk)
{
	struct node *node = node_of(import->call);
	struct transport *transport;
	struct fabric_place place;
	simpler_status status = fabric_place_decode(chunk->handle.also_desc.data,
	                                            chunk->handle.also_desc.size, &place);

	import->asks = false;
	if (status != SIMPLER_OK)
		return status;
	if (chunk->handle.nbytes != import->view.nbytes)
		return error_raise(SIMPLER_EPROTOCOL, "the grant names another size");
	transport = fabric_ports_towards(node->fabric, &place.address);
	if (!transport) {
		do_without(import);
		return SIMPLER_OK;
	}
	transport_storage_take(&import->place, &chunk->handle);
	import->move.write = import->move.lands = import->move.attended = false;
	import->move.storage = &import->place;
	import->move.span = (struct span){ .run_bytes = import->view.nbytes, .runs = 1 };
	import->move.local = (struct layout){ .data = import->view.bytes,
		                              .bytes = import->view.nbytes,
		                              .run = import->view.nbytes };
	import->move.deadline = rpc_call_deadline(import->call);
	import->move.done = on_moved;
	transport_move_init(&import->move);
	pthread_mutex_lock(&import->lock);
	import->moving = transport;
	if (import->given_up)
		transport_cancel(transport, &import->move, true);
	pthread_mutex_unlock(&import->lock);
	transport_start(transport, &import->move);
	return SIMPLER_OK;
}

/* --- all of them --- */

struct node_imports *node_imports_create(void)
{
	struct node_imports *imports = calloc(1, sizeof(*imports));

	if (imports)
		(void)pthread_mutex_init(&imports->lock, NULL);
	return imports;
}

void node_imports_destroy(struct node_imports *imports)
{
	if (!imports)
		return;
	(void)pthread_mutex_destroy(&imports->lock);
	free(imports);
}

/* --- silence --- */

static int64_t patience(const struct node *node)
{
	return node->options->import_timeout * CLOCK_S;
}

static void list(struct node *node, struct import *import)
{
	int64_t now = clock_now();

	atomic_store(&import->heard, now);
	pthread_mutex_lock(&node->imports->lock);
	DL_APPEND(node->imports->all, import);
	pthread_mutex_unlock(&node->imports->lock);
	node_look_at(node, now + patience(node));
}

static void unlist(struct node *node, struct import *import)
{
	pthread_mutex_lock(&node->imports->lock);
	DL_DELETE(node->imports->all, import);
	pthread_mutex_unlock(&node->imports->lock);
}

static void cancel_stream(struct import *import)
{
	pthread_mutex_lock(&import->lock);
	if (import->stream && !import->over)
		rpc_client_call_cancel(import->stream);
	pthread_mutex_unlock(&import->lock);
}

static bool is_moving(struct import *import)
{
	bool moving;

	pthread_mutex_lock(&import->lock);
	moving = import->moving != NULL;
	pthread_mutex_unlock(&import->lock);
	return moving;
}

int64_t node_expire_imports(struct node *node)
{
	int64_t now = clock_now(), next = CLOCK_NEVER;
	struct import *import;

	pthread_mutex_lock(&node->imports->lock);
	DL_FOREACH (node->imports->all, import) {
		int64_t due;

		if (import->silent)
			continue;
		if (is_moving(import))
			atomic_store(&import->heard, now);
		due = atomic_load(&import->heard) + patience(node);
		if (due <= now) {
			import->silent = true;
			cancel_stream(import);
		} else if (due < next) {
			next = due;
		}
	}
	pthread_mutex_unlock(&node->imports->lock);
	return next;
}

/* --- what comes --- */

static simpler_status take_chunk(struct import *import, const struct msg_chunk *chunk,
                                 struct msg_parts *data)
{
	uint64_t left = import->view.nbytes - import->received;
	const uint8_t *bytes;
	size_t size;

	if (import->last || chunk->offset != import->received || chunk->data.size > left)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "%zu bytes at offset %llu came where %llu were to come at %llu",
		                   chunk->data.size, (unsigned long long)chunk->offset,
		                   (unsigned long long)left, (unsigned long long)import->received);
	for (; (bytes = msg_parts_next(data, SIZE_MAX, &size)) != NULL; import->received += size)
		memcpy(import->view.bytes + import->received, bytes, size);
	import->last = chunk->last;
	return SIMPLER_OK;
}

static void on_chunk(void *context, struct rpc_client_call *stream, const struct rpc_part *parts,
                     size_t count)
{
	struct import *import = context;
	struct msg_parts data;
	struct msg_chunk chunk;
	simpler_status status;
	struct bump bump;

	atomic_store(&import->heard, clock_now());
	if (import->wrong != SIMPLER_OK)
		return;
	bump_init(&bump, MSG_BUMP_LIMIT(0));
	status = msg_chunk_decode_parts(parts, count, &bump, &chunk, &data);
	if (status == SIMPLER_OK)
		status = is_place(import, &chunk) ? begin_move(import, &chunk)
		                                  : take_chunk(import, &chunk, &data);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		return;
	import->wrong = status;
	error_save(&import->why);
	rpc_client_call_cancel(stream);
}

static void on_request_sent(void *context, struct rpc_client_call *stream)
{
	(void)context;
	rpc_stream_close_send(stream);
}

/* --- the end --- */

static simpler_status judge(struct import *import, enum rpc_code code, const char *text)
{
	if (import->wrong != SIMPLER_OK)
		return error_restore(&import->why);
	if (code != RPC_OK && import->silent)
		return error_raise(SIMPLER_EDEADLINE,
		                   "nothing came from it for %u s, which is the limit",
		                   node_of(import->call)->options->import_timeout);
	if (code != RPC_OK)
		return error_raise(rpc_status_of(code), "%s", text && *text ? text : "it failed");
	if (!import->last || import->received != import->view.nbytes)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "%llu of %llu bytes came: the grant names another size",
		                   (unsigned long long)import->received,
		                   (unsigned long long)import->view.nbytes);
	return SIMPLER_OK;
}

static void answer(struct import *import)
{
	struct node *node = node_of(import->call);
	struct node_places places;
	struct rpc_buffer buffer;
	struct msg_handle handle;
	simpler_status status = node_keep_handle(node, import->view.handle, &places, &handle);

	if (status == SIMPLER_OK)
		status = msg_handle_encode(&handle, &buffer);
	import->answered = status == SIMPLER_OK;
	reply(import->call, status, &buffer);
}

static void on_stream_end(void *context, enum rpc_code code, const char *text)
{
	struct import *import = context;
	bool last;

	unlist(node_of(import->call), import);
	import->ended = judge(import, code, text);
	if (import->ended != SIMPLER_OK)
		error_save(&import->end);
	pthread_mutex_lock(&import->lock);
	import->over = true;
	last = !import->moving;
	if (!last) /* without the stream nothing is there to be read */
		transport_cancel(import->moving, &import->move, true);
	pthread_mutex_unlock(&import->lock);
	if (last)
		conclude(import);
}

/* Of a call that had no stream yet, begin() answers. */
static void import_cancelled(struct rpc_call *call)
{
	struct import *import = rpc_call_state(call);

	if (!import)
		return;
	pthread_mutex_lock(&import->lock);
	import->given_up = true;
	if (import->moving)
		transport_cancel(import->moving, &import->move, true);
	if (import->stream && !import->over)
		rpc_client_call_cancel(import->stream);
	pthread_mutex_unlock(&import->lock);
}

/* The storage is the client's once it is told of it. */
static void import_end(struct rpc_call *call, bool cancelled)
{
	struct import *import = rpc_call_state(call);
	struct node *node = node_of(call);

	if (!import)
		return;
	if (import->view.handle != 0) {
		if (cancelled || !import->answered)
			(void)pool_free(node->pool, import->session, import->view.handle);
		pool_unpin(node->pool, import->view.handle);
	}
	if (import->peer)
		peers_give(node->peers, import->peer);
	node_leave(node, import->session);
	(void)pthread_mutex_destroy(&import->lock);
	free(import);
}

/* --- the beginning --- */

static const struct rpc_stream_handlers handlers = {
	.on_parts = on_chunk,
	.on_sent = on_request_sent,
	.on_end = on_stream_end,
};

static simpler_status make_storage(struct node *node, struct import *import,
                                   const struct msg_import *request)
{
	struct pool_view view;
	simpler_status status = node_alloc(node, import->session, request->grant.handle.nbytes,
	                                   request->ttl_ms, &view);

	if (status == SIMPLER_OK)
		status = pool_pin(node->pool, import->session, view.handle, POOL_WRITE,
		                  &import->view);
	return status;
}

static simpler_status open_stream(struct node *node, struct import *import)
{
	struct rpc_client_call *stream;
	simpler_status status =
		import->peer ? SIMPLER_OK : peers_take(node->peers, import->address, &import->peer);

	if (status != SIMPLER_OK)
		return status;
	stream = rpc_client_call_create(peer_channel(import->peer), MSG_READ_TENSOR, CLOCK_NEVER);
	if (!stream)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a transfer");
	pthread_mutex_lock(&import->lock);
	import->stream = stream;
	pthread_mutex_unlock(&import->lock);
	return SIMPLER_OK;
}

static simpler_status begin_stream(struct node *node, struct import *import, bool by_fabric)
{
	struct msg_read read = { .handle = import->source,
		                 .token = { import->token, MSG_TOKEN_BYTES } };
	struct rpc_buffer buffer;
	simpler_status status;

	import->asks = by_fabric;
	if (by_fabric)
		(void)snprintf(read.fabric, sizeof(read.fabric), "%s",
		               fabric_provider_name(fabric_ports_provider(node->fabric)));
	status = msg_read_encode(&read, &buffer);
	if (status != SIMPLER_OK)
		return status;
	status = open_stream(node, import);
	if (status != SIMPLER_OK) {
		rpc_buffer_release(&buffer);
		return status;
	}
	list(node, import);
	rpc_stream_begin(import->stream, &buffer, &handlers, import);
	return SIMPLER_OK;
}

static simpler_status read_remote(struct node *node, struct import *import,
                                  const struct msg_import *request)
{
	simpler_status status = make_storage(node, import, request);

	if (status != SIMPLER_OK)
		return status;
	import->source = request->grant.handle;
	import->source.transport_desc.size = 0;
	import->source.also[0] = '\0';
	memcpy(import->token, request->grant.token, MSG_TOKEN_BYTES);
	return begin_stream(node, import, node->fabric != NULL);
}

/* The fabric has failed, and the client still waits: true when a stream is under way instead. */
static bool goes_on(struct import *import)
{
	bool again;

	pthread_mutex_lock(&import->lock);
	again = import->failed && !import->given_up;
	if (again)
		import->over = import->failed = false;
	pthread_mutex_unlock(&import->lock);
	return again && begin_stream(node_of(import->call), import, false) == SIMPLER_OK;
}

static void conclude(struct import *import)
{
	if (goes_on(import))
		return;
	if (import->moved || import->ended == SIMPLER_OK) {
		answer(import);
		return;
	}
	(void)error_restore(&import->end);
	error_context("importing from node '%s' at %s", import->node_id, import->address);
	reply_error(import->call);
}

/* Another handle of storage that is here: at once. */
static simpler_status import_here(struct node *node, struct import *import,
                                  const struct msg_import *request)
{
	struct pool_view view;
	simpler_status status =
		pool_import(node->pool, import->session, request->grant.handle.handle_id,
	                    request->grant.token, request->ttl_ms, &view);

	if (status == SIMPLER_OK)
		status = pool_pin(node->pool, import->session, view.handle, POOL_READ,
		                  &import->view);
	if (status == SIMPLER_OK)
		answer(import);
	return status;
}

static void begin(struct rpc_call *call, uint64_t session, const struct msg_import *request)
{
	struct node *node = node_of(call);
	struct import *import = calloc(1, sizeof(*import));
	bool here = strcmp(request->grant.handle.node_id, node->id) == 0;

	if (!import) {
		error_raise(SIMPLER_ENOMEM, "out of memory for a transfer");
		reply_error(call);
		node_leave(node, session);
		return;
	}
	import->call = call;
	import->session = session;
	memcpy(import->node_id, request->grant.handle.node_id, sizeof(import->node_id));
	memcpy(import->address, request->address, sizeof(import->address));
	(void)pthread_mutex_init(&import->lock, NULL);
	rpc_call_set_state(call, import);
	if ((here ? import_here(node, import, request) : read_remote(node, import, request)) !=
	    SIMPLER_OK)
		reply_error(call);
}

static void import_tensor(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct msg_import request;
	simpler_status status;
	uint64_t session;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_import_decode(data, size, &bump, &request);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = node_enter(call, &session);
	if (status != SIMPLER_OK)
		reply_error(call);
	else
		begin(call, session, &request);
}

const struct rpc_method node_import_methods[NODE_IMPORT_METHODS] = {
	{ .path = MSG_IMPORT_TENSOR,
	  .on_message = import_tensor,
	  .on_cancel = import_cancelled,
	  .on_end = import_end },
};
