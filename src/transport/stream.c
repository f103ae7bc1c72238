/*
 * The stream transport: bytes in chunks of a gRPC stream.
 *
 * A chunk goes out as a head and the tensor's own memory, which gRPC reads where it is; elements
 * that do not lie in one piece are packed into the chunk first. Chunks that come in are copied
 * straight from what the socket gave to where they belong.
 *
 * All but the first chunk go out on the RPC client's thread, when the one before has been taken in:
 * so the window of the connection, and not this process's memory, bounds what is on its way.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/rpc.h"
#include "transport/transport.h"

#define CHUNK_BYTES ((uint64_t)1 << 20)

struct stream {
	struct transport transport;
	struct rpc_channel *channel;
	pthread_mutex_t lock; /* guards `call` and `closed` of all moves */
};

static struct stream *stream_of(const struct transport_move *move)
{
	return (struct stream *)move->transport;
}

/* --- ending --- */

static void fail(struct transport_move *move, enum rpc_code code, const char *text)
{
	if (move->failed)
		return;
	move->failed = true;
	if (!text || text[0] == '\0')
		text = rpc_code_name(code);
	error_init_untrusted(&move->error, rpc_status_of(code), text, strlen(text));
}

static void fail_here(struct transport_move *move)
{
	if (move->failed)
		return;
	move->failed = true;
	error_save(&move->error);
}

static void finish(struct transport_move *move)
{
	move->done(move, move->failed ? &move->error : NULL);
}

static void on_end(void *context, enum rpc_code code, const char *text)
{
	struct transport_move *move = context;
	struct stream *stream = stream_of(move);

	pthread_mutex_lock(&stream->lock);
	move->call = NULL;
	pthread_mutex_unlock(&stream->lock);
	if (code != RPC_OK)
		fail(move, code, text);
	else if (move->moved != move->local.bytes)
		fail(move, RPC_DATA_LOSS,
		     move->write ? "the node took fewer bytes than were to be written"
		                 : "the node sent fewer bytes than were asked for");
	finish(move);
}

/* --- writing --- */

static simpler_status pack(struct transport_move *move, uint64_t size, struct rpc_buffer *message)
{
	uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);

	if (!bytes) {
		rpc_buffer_release(message);
		return error_raise(SIMPLER_ENOMEM, "out of memory for a chunk");
	}
	transport_gather(move, bytes, size);
	rpc_buffer_attach(message, bytes, (size_t)size, free, bytes);
	return SIMPLER_OK;
}

/* What the node itself said of where it is, it needs not be told. */
static struct msg_handle named(const struct transport_move *move)
{
	struct msg_handle handle = move->storage->handle;

	handle.transport_desc.size = 0;
	handle.also[0] = '\0';
	return handle;
}

static bool writes_all(const struct transport_move *move)
{
	return move->span.offset == 0 && move->local.bytes == move->storage->handle.nbytes;
}

static simpler_status next_chunk(struct transport_move *move, struct rpc_client_call *call,
                                 struct rpc_buffer *message)
{
	uint64_t left = move->local.bytes - move->moved, piece;
	uint64_t size = left < CHUNK_BYTES ? left : CHUNK_BYTES;
	struct msg_chunk chunk = { .offset = move->moved };
	bool in_one_piece = move->local.ndim == 0;
	simpler_status status;

	/* The first one says where to; the others continue it. */
	chunk.has_handle = move->moved == 0;
	if (chunk.has_handle)
		chunk.handle = named(move);
	chunk.has_span = chunk.has_handle && !writes_all(move);
	chunk.span = move->span;
	chunk.data.size = (size_t)size;
	chunk.last = size == left;
	status = msg_chunk_encode_head(&chunk, message);
	if (status != SIMPLER_OK)
		return status;
	if (in_one_piece && size > 0)
		rpc_stream_lend(call, message, transport_next(move, size, &piece), (size_t)size);
	else
		status = pack(move, size, message);
	if (status != SIMPLER_OK)
		return status;
	move->moved += size;
	atomic_fetch_add_explicit(&move->transport->sent, size, memory_order_relaxed);
	return SIMPLER_OK;
}

/* From here on the node may answer. */
static void close_move(struct transport_move *move)
{
	struct stream *stream = stream_of(move);

	pthread_mutex_lock(&stream->lock);
	move->closed = true;
	pthread_mutex_unlock(&stream->lock);
}

static void on_chunk_sent(void *context, struct rpc_client_call *call)
{
	struct transport_move *move = context;
	struct rpc_buffer message;

	if (move->closed || move->failed)
		return;
	if (move->moved == move->local.bytes) {
		close_move(move);
		rpc_stream_close_send(call);
	} else if (next_chunk(move, call, &message) == SIMPLER_OK) {
		rpc_stream_send(call, &message);
	} else {
		fail_here(move);
		rpc_client_call_cancel(call);
	}
}

/* The answer: the handle, with its id where this push has allocated. */
static void on_pushed(void *context, struct rpc_client_call *call, const uint8_t *data, size_t size)
{
	struct transport_move *move = context;
	struct msg_handle answer;
	struct bump bump;

	(void)call;
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_handle_decode(data, size, &bump, &answer) != SIMPLER_OK) {
		fail_here(move);
	} else if (answer.handle_id == 0 || answer.nbytes != move->storage->handle.nbytes) {
		fail(move, RPC_DATA_LOSS, "the node answered a push with another tensor");
	} else if (move->storage->handle.handle_id == 0) {
		transport_storage_take(move->storage, &answer);
	}
	bump_release(&bump);
}

/* --- reading --- */

static void take_chunk(struct transport_move *move, const struct msg_chunk *chunk,
                       struct msg_parts *data)
{
	const uint8_t *from;
	size_t size;

	if (chunk->offset != move->moved || chunk->data.size > move->local.bytes - move->moved) {
		fail(move, RPC_DATA_LOSS, "the node sent a chunk out of place");
		return;
	}
	while ((from = msg_parts_next(data, SIZE_MAX, &size)) != NULL)
		transport_scatter(move, from, size);
	move->moved += chunk->data.size;
	atomic_fetch_add_explicit(&move->transport->received, chunk->data.size,
	                          memory_order_relaxed);
}

static void on_parts(void *context, struct rpc_client_call *call, const struct rpc_part *parts,
                     size_t count)
{
	struct transport_move *move = context;
	struct msg_parts data;
	struct msg_chunk chunk;
	struct bump bump;

	if (move->failed)
		return;
	bump_init(&bump, MSG_BUMP_LIMIT(0));
	if (msg_chunk_decode_parts(parts, count, &bump, &chunk, &data) == SIMPLER_OK)
		take_chunk(move, &chunk, &data);
	else
		fail_here(move);
	bump_release(&bump);
	if (move->failed)
		rpc_client_call_cancel(call);
}

static void on_request_sent(void *context, struct rpc_client_call *call)
{
	(void)context;
	rpc_stream_close_send(call);
}

static bool reads_all(const struct transport_move *move)
{
	return writes_all(move);
}

static simpler_status request(const struct transport_move *move, struct rpc_buffer *message)
{
	const struct msg_read read = { .handle = named(move),
		                       .has_span = true,
		                       .span = move->span };

	return reads_all(move) ? msg_handle_encode(&read.handle, message)
	                       : msg_read_encode(&read, message);
}

/* --- the transport --- */

static const char *method_of(const struct transport_move *move)
{
	if (move->write)
		return MSG_PUSH_TENSOR;
	return reads_all(move) ? MSG_PULL_TENSOR : MSG_READ_TENSOR;
}

/* Known to cancel() from here on. */
static struct rpc_client_call *open_call(struct stream *stream, struct transport_move *move)
{
	struct rpc_client_call *call =
		rpc_client_call_create(stream->channel, method_of(move), move->deadline);

	if (!call) {
		(void)error_raise(SIMPLER_ENOMEM, "out of memory for a transfer");
		return NULL;
	}
	pthread_mutex_lock(&stream->lock);
	move->call = call;
	if (atomic_load(&move->cancelled))
		rpc_client_call_cancel(call);
	pthread_mutex_unlock(&stream->lock);
	return call;
}

static void stream_start(struct transport *transport, struct transport_move *move)
{
	static const struct rpc_stream_handlers writing = { .on_message = on_pushed,
		                                            .on_sent = on_chunk_sent,
		                                            .on_end = on_end };
	static const struct rpc_stream_handlers reading = { .on_parts = on_parts,
		                                            .on_sent = on_request_sent,
		                                            .on_end = on_end };
	struct rpc_client_call *call;
	struct rpc_buffer first;
	simpler_status status;

	move->transport = transport;
	move->makes = move->write && move->storage->handle.handle_id == 0;
	call = open_call((struct stream *)transport, move);
	if (!call) {
		fail_here(move);
		finish(move);
		return;
	}
	status = move->write ? next_chunk(move, call, &first) : request(move, &first);
	if (status != SIMPLER_OK) {
		fail_here(move);
		rpc_client_call_cancel(call); /* it ends all the same, and is begun for that */
	}
	rpc_stream_begin(call, status == SIMPLER_OK ? &first : NULL,
	                 move->write ? &writing : &reading, move);
}

static void stream_cancel(struct transport *transport, struct transport_move *move, bool lost)
{
	struct stream *stream = (struct stream *)transport;

	pthread_mutex_lock(&stream->lock);
	atomic_store(&move->cancelled, true);
	if (move->call && (lost || !move->makes || !move->closed))
		rpc_client_call_cancel(move->call);
	pthread_mutex_unlock(&stream->lock);
}

static void stream_close(struct transport *transport)
{
	struct stream *stream = (struct stream *)transport;

	(void)pthread_mutex_destroy(&stream->lock);
	free(stream);
}

static bool stream_reaches(struct transport *transport, const struct transport_storage *storage)
{
	(void)transport;
	(void)storage;
	return true;
}

static const struct transport_ops stream_ops = { "grpc", stream_reaches, stream_start,
	                                         stream_cancel, stream_close };

simpler_status stream_transport_create(struct rpc_channel *channel, struct transport **out)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a transport");
	stream->transport.ops = &stream_ops;
	stream->transport.allocates = true;
	stream->channel = channel;
	(void)pthread_mutex_init(&stream->lock, NULL);
	*out = &stream->transport;
	return SIMPLER_OK;
}
