/*
 * The fabric transport: one-sided writes and reads of libfabric, into the node's memory and out of
 * it, without a thread of the node in between.
 *
 * Bytes that lie in one piece here and there are one operation of the fabric's, which makes pieces
 * of it. Elements that do not lie in one piece are packed into a bounce buffer, and unpacked from
 * one, up to BOUNCE_BYTES at a time; each run of the span there is an operation of its own, one
 * after the other.
 *
 * The transport has a port of its own, towards the session's endpoint at the node. After an error,
 * when the port went down as an operation did not let go of its memory in time, and when the
 * session has another endpoint, the next move opens another; the last move that has used the one
 * before abandons that.
 *
 *   start() --> operation --> operation ... --> done     each begun when the one before has ended,
 *                   `-- cancel() or an error ----^       by the fabric's loop
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fabric/fabric.h"
#include "transport/transport.h"

#define BOUNCE_BYTES ((uint64_t)1 << 20)

/* A port, while it is up. */
struct link {
	struct fabric_port *port;
	struct fabric_peer *peer;
	uint32_t uses; /* moves, and one for the transport until it takes another */
};

struct fabric_transport {
	struct transport transport;
	struct fabric *fabric;
	pthread_mutex_t lock; /* guards, beside what moves say of it: */
	struct fabric_address node;
	struct link *link; /* NULL: none is up */
};

/* A move in progress. */
struct fabric_passage {
	struct fabric_op op; /* first */
	struct transport_move *move;
	struct link *link;
	struct fabric_place place;
	bool active;      /* under the lock: `op` is in progress */
	uint64_t run, at; /* of the span: which one, and how much of it is done */
	uint64_t size;    /* of the operation */
	uint8_t *bounce;  /* NULL: none is needed */
};

static struct fabric_transport *fabric_of(struct transport *transport)
{
	return (struct fabric_transport *)transport;
}

/* --- where storage is --- */

static simpler_status find(struct fabric_transport *fabric, const struct transport_storage *storage,
                           struct fabric_place *out)
{
	simpler_bytes desc = transport_storage_desc(storage, FABRIC_TRANSPORT);
	simpler_status status = fabric_place_decode(desc.data, desc.size, out);
	bool is_there;

	if (status != SIMPLER_OK)
		return status;
	pthread_mutex_lock(&fabric->lock);
	is_there = fabric_address_equal(&out->address, &fabric->node);
	pthread_mutex_unlock(&fabric->lock);
	if (out->nbytes != storage->handle.nbytes ||
	    out->provider != fabric_provider(fabric->fabric) || !is_there)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "the node says that a tensor of %llu bytes is reached by "
		                   "another endpoint of a fabric than this session's, or is of "
		                   "%llu bytes",
		                   (unsigned long long)storage->handle.nbytes,
		                   (unsigned long long)out->nbytes);
	return SIMPLER_OK;
}

static bool fabric_reaches(struct transport *transport, const struct transport_storage *storage)
{
	(void)transport;
	return storage->handle.nbytes == 0 ||
	       transport_storage_desc(storage, FABRIC_TRANSPORT).size > 0;
}

/* --- ports --- */

/* Under the lock. */
static void leave(struct link *link)
{
	if (--link->uses > 0)
		return;
	fabric_port_abandon(link->port);
	free(link);
}

/* Under the lock. A connection that an error has cost may cost the next move, too, which gets a
 * port that knows nothing of it. */
static void forget(struct fabric_transport *fabric, const struct link *link)
{
	if (!link || fabric->link != link)
		return;
	leave(fabric->link);
	fabric->link = NULL;
}

/* Under the lock. */
static simpler_status make_link(struct fabric_transport *fabric, struct link **out)
{
	const struct fabric_port_options options = { .landed = NULL };
	struct link *link = calloc(1, sizeof(*link));
	simpler_status status;

	if (!link)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a transfer");
	status = fabric_port_open(fabric->fabric, &options, &link->port);
	if (status != SIMPLER_OK) {
		free(link);
		return status;
	}
	link->uses = 1;
	status = fabric_peer_open(link->port, &fabric->node, &link->peer);
	if (status == SIMPLER_OK)
		*out = link;
	else
		leave(link);
	return status;
}

/* Under the lock. */
static simpler_status take_link(struct fabric_transport *fabric, struct link **out)
{
	simpler_status status = SIMPLER_OK;

	if (fabric->link && !fabric_port_is_up(fabric->link->port))
		forget(fabric, fabric->link);
	if (!fabric->link)
		status = make_link(fabric, &fabric->link);
	if (status != SIMPLER_OK)
		return status;
	fabric->link->uses++;
	*out = fabric->link;
	return SIMPLER_OK;
}

/* --- the end --- */

static void finish(struct fabric_passage *passage, const struct error *error)
{
	struct transport_move *move = passage->move;
	struct fabric_transport *fabric = fabric_of(move->transport);

	pthread_mutex_lock(&fabric->lock);
	move->passage = NULL;
	if (error)
		forget(fabric, passage->link);
	if (passage->link)
		leave(passage->link);
	pthread_mutex_unlock(&fabric->lock);
	if (error)
		move->error = *error;
	move->failed = error != NULL;
	free(passage->bounce);
	free(passage);
	move->done(move, move->failed ? &move->error : NULL);
}

static void fail_here(struct fabric_passage *passage)
{
	struct error error;

	error_save(&error);
	finish(passage, &error);
}

/* --- operations --- */

static bool is_packed(const struct fabric_passage *passage)
{
	return passage->bounce != NULL;
}

/* What the next operation moves. */
static void lay_out(struct fabric_passage *passage)
{
	struct transport_move *move = passage->move;
	uint64_t left = move->span.run_bytes - passage->at;

	if (is_packed(passage)) {
		passage->size = left < BOUNCE_BYTES ? left : BOUNCE_BYTES;
		passage->op.local = passage->bounce;
		if (move->write)
			transport_gather(move, passage->bounce, passage->size);
	} else {
		passage->op.local = transport_next(move, left, &passage->size);
	}
	passage->op.nbytes = passage->size;
	passage->op.remote = passage->place.base + move->span.offset +
	                     passage->run * move->span.pitch + passage->at;
}

/* False when it was cancelled. */
static bool begin(struct fabric_passage *passage)
{
	struct fabric_transport *fabric = fabric_of(passage->move->transport);
	bool cancelled;

	lay_out(passage);
	pthread_mutex_lock(&fabric->lock);
	cancelled = atomic_load(&passage->move->cancelled);
	passage->active = !cancelled;
	if (!cancelled)
		fabric_start(&passage->op);
	pthread_mutex_unlock(&fabric->lock);
	return !cancelled;
}

static void next(struct fabric_passage *passage)
{
	if (passage->move->moved == passage->move->local.bytes) {
		finish(passage, NULL);
	} else if (!begin(passage)) {
		(void)error_raise(SIMPLER_ECANCELLED, "it was cancelled");
		fail_here(passage);
	}
}

static void count(struct fabric_passage *passage)
{
	struct transport_move *move = passage->move;
	_Atomic uint64_t *counter =
		move->write ? &move->transport->sent : &move->transport->received;

	atomic_fetch_add_explicit(counter, passage->size, memory_order_relaxed);
	move->moved += passage->size;
	passage->at += passage->size;
	if (passage->at == move->span.run_bytes) {
		passage->run++;
		passage->at = 0;
	}
}

static void on_done(struct fabric_op *op, const struct error *error)
{
	struct fabric_passage *passage = (struct fabric_passage *)op;
	struct transport_move *move = passage->move;
	struct fabric_transport *fabric = fabric_of(move->transport);

	pthread_mutex_lock(&fabric->lock);
	passage->active = false;
	pthread_mutex_unlock(&fabric->lock);
	if (error) {
		finish(passage, error);
		return;
	}
	if (!move->write && is_packed(passage))
		transport_scatter(move, passage->bounce, passage->size);
	if (op->carries)
		move->storage->landed += op->pieces;
	count(passage);
	next(passage);
}

/* --- the transport --- */

static simpler_status prepare(struct fabric_transport *fabric, struct transport_move *move,
                              struct fabric_passage *passage)
{
	uint64_t bounce = move->local.bytes < BOUNCE_BYTES ? move->local.bytes : BOUNCE_BYTES;
	simpler_status status = find(fabric, move->storage, &passage->place);

	if (status != SIMPLER_OK)
		return status;
	if (move->local.ndim > 0) {
		passage->bounce = malloc((size_t)bounce);
		if (!passage->bounce)
			return error_raise(SIMPLER_ENOMEM, "out of memory for a transfer");
	}
	pthread_mutex_lock(&fabric->lock);
	status = take_link(fabric, &passage->link);
	if (status == SIMPLER_OK)
		move->passage = passage;
	pthread_mutex_unlock(&fabric->lock);
	if (status != SIMPLER_OK)
		return status;
	passage->op.kind = move->write ? FABRIC_WRITE : FABRIC_READ;
	passage->op.peer = passage->link->peer;
	passage->op.key = passage->place.key;
	passage->op.carries = move->write && move->lands;
	passage->op.data = passage->place.landing;
	passage->op.delivered = !move->lands;
	passage->op.attended = move->attended;
	passage->op.deadline = move->deadline;
	passage->op.done = on_done;
	return SIMPLER_OK;
}

static void fabric_begin(struct transport *transport, struct transport_move *move)
{
	struct fabric_passage *passage;

	move->transport = transport;
	if (move->local.bytes == 0) {
		move->done(move, NULL);
		return;
	}
	passage = calloc(1, sizeof(*passage));
	if (!passage) {
		(void)error_raise(SIMPLER_ENOMEM, "out of memory for a transfer");
		error_save(&move->error);
		move->done(move, &move->error);
		return;
	}
	passage->move = move;
	if (prepare(fabric_of(transport), move, passage) == SIMPLER_OK)
		next(passage);
	else
		fail_here(passage);
}

static void fabric_stop(struct transport *transport, struct transport_move *move, bool lost)
{
	struct fabric_transport *fabric = fabric_of(transport);

	(void)lost;
	pthread_mutex_lock(&fabric->lock);
	atomic_store(&move->cancelled, true);
	if (move->passage && move->passage->active)
		fabric_cancel(&move->passage->op);
	pthread_mutex_unlock(&fabric->lock);
}

static void fabric_end(struct transport *transport)
{
	struct fabric_transport *fabric = fabric_of(transport);

	if (fabric->link)
		leave(fabric->link);
	(void)pthread_mutex_destroy(&fabric->lock);
	free(fabric);
}

static const struct transport_ops fabric_ops = { FABRIC_TRANSPORT, fabric_reaches, fabric_begin,
	                                         fabric_stop, fabric_end };

simpler_status fabric_transport_create(struct fabric *fabric, const struct fabric_address *node,
                                       struct transport **out)
{
	struct fabric_transport *made = calloc(1, sizeof(*made));

	if (!made)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a transport");
	made->transport.ops = &fabric_ops;
	made->fabric = fabric;
	made->node = *node;
	(void)pthread_mutex_init(&made->lock, NULL);
	*out = &made->transport;
	return SIMPLER_OK;
}

void fabric_transport_turn(struct transport *transport, const struct fabric_address *node)
{
	struct fabric_transport *fabric = fabric_of(transport);

	pthread_mutex_lock(&fabric->lock);
	fabric->node = *node;
	forget(fabric, fabric->link);
	pthread_mutex_unlock(&fabric->lock);
}
