/*
 * Operations. One is in the port's list from its start on; with each piece that completes the next
 * is posted; when all have, or none is to be posted any more and none is in flight, it moves to the
 * list of those that have ended, whose `done` the loop calls.
 */
#include <utlist.h>

#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include "base/clock.h"
#include "fabric/library.h"
#include "fabric/loop.h"

/* --- ending --- */

/* Also while the provider makes a connection, which it does by itself, and over and over again when
 * nobody takes it. */
static void begin_waiting(struct fabric_op *op)
{
	if (op->waits)
		return;
	DL_APPEND2(op->port->waiting, op, waits_prev, waits_next);
	op->peer->waiting++;
	op->waits = true;
}

static void stop_waiting(struct fabric_op *op)
{
	if (!op->waits)
		return;
	DL_DELETE2(op->port->waiting, op, waits_prev, waits_next);
	op->peer->waiting--;
	op->waits = false;
}

static bool is_over(const struct fabric_op *op)
{
	return op->in_flight == 0 && (op->ending || op->posted == op->nbytes) &&
	       (op->ending || op->pieces > 0 || op->kind != FABRIC_SEND);
}

static void settle(struct fabric_op *op)
{
	if (!is_over(op))
		return;
	stop_waiting(op);
	DL_DELETE(op->port->ops, op);
	DL_APPEND(op->port->ended, op);
}

/* With the error of this thread. */
static void begin_end(struct fabric_op *op)
{
	if (op->ending)
		return;
	op->ending = true;
	error_save(&op->error);
	op->give_up_at = clock_now() + FABRIC_GRACE_MS * CLOCK_MS;
	if (op->give_up_at < op->port->look_at)
		op->port->look_at = op->give_up_at;
	stop_waiting(op);
}

bool op_end_all(struct fabric_port *port)
{
	struct fabric *fabric = port->fabric;
	bool any = false;

	pthread_mutex_lock(&fabric->lock);
	while (port->ended) {
		struct fabric_op *op = port->ended;

		DL_DELETE(port->ended, op);
		pthread_mutex_unlock(&fabric->lock);
		any = true;
		op->done(op, op->ending ? &op->error : NULL);
		pthread_mutex_lock(&fabric->lock);
	}
	pthread_mutex_unlock(&fabric->lock);
	return any;
}

/* --- posting --- */

static ssize_t post_write(struct fabric_op *op, uint64_t size)
{
	struct iovec iov = { op->local + op->posted, (size_t)size };
	struct fi_rma_iov there = { op->remote + op->posted, (size_t)size, op->key };
	const struct fi_msg_rma message = { .msg_iov = &iov,
		                            .iov_count = 1,
		                            .addr = op->peer->at,
		                            .rma_iov = &there,
		                            .rma_iov_count = 1,
		                            .context = op,
		                            .data = op->data };

	return fi_writemsg(op->port->ep, &message,
	                   FI_COMPLETION | (op->carries ? FI_REMOTE_CQ_DATA : 0) |
	                           (op->delivered ? FI_DELIVERY_COMPLETE : FI_TRANSMIT_COMPLETE));
}

static ssize_t post_message(struct fabric_op *op)
{
	const struct iovec iov[3] = { { &op->port->head, sizeof(op->port->head) },
		                      { op->head, op->head_bytes },
		                      { op->local, (size_t)op->nbytes } };
	const struct fi_msg message = { .msg_iov = iov,
		                        .iov_count = op->nbytes > 0       ? 3
		                                     : op->head_bytes > 0 ? 2
		                                                          : 1,
		                        .addr = op->peer->at,
		                        .context = op };

	return fi_sendmsg(op->port->ep, &message, FI_COMPLETION | FI_TRANSMIT_COMPLETE);
}

static ssize_t post(struct fabric_op *op, uint64_t size)
{
	switch (op->kind) {
	case FABRIC_WRITE:
		return post_write(op, size);
	case FABRIC_READ:
		return fi_read(op->port->ep, op->local + op->posted, (size_t)size, NULL,
		               op->peer->at, op->remote + op->posted, op->key, op);
	case FABRIC_SEND:
	default:
		return post_message(op);
	}
}

static uint64_t next_piece(const struct fabric_op *op)
{
	uint64_t left = op->nbytes - op->posted,
		 most = op->port->fabric->info->ep_attr->max_msg_size;

	if (op->kind == FABRIC_SEND)
		return left;
	if (most > FABRIC_PIECE_BYTES)
		most = FABRIC_PIECE_BYTES;
	return left < most ? left : most;
}

static bool has_more(const struct fabric_op *op)
{
	return !op->ending &&
	       (op->posted < op->nbytes || (op->kind == FABRIC_SEND && op->pieces == 0));
}

/* As much as there is room for. */
static void push(struct fabric_op *op)
{
	while (has_more(op) && op->in_flight < FABRIC_PIECES_AHEAD) {
		uint64_t size = next_piece(op);
		ssize_t error = post(op, size);

		if (error == -FI_EAGAIN) {
			begin_waiting(op);
			return;
		}
		if (error != 0) {
			(void)provider_error(SIMPLER_EUNAVAILABLE, (int)error,
			                     "the fabric does not take an operation");
			begin_end(op);
			return;
		}
		op->posted += size;
		op->pieces++;
		op->in_flight++;
	}
	stop_waiting(op);
}

void op_retry(struct fabric_port *port)
{
	struct fabric_op *op, *next;

	port->round++;
	DL_FOREACH_SAFE2 (port->waiting, op, next, waits_next) {
		struct fabric_peer *peer = op->peer;

		if (peer->refused_in == port->round) /* the first one keeps its turn */
			continue;
		push(op);
		if (op->waits)
			peer->refused_in = port->round;
		settle(op);
	}
}

/* --- what the loop hears --- */

void op_completed(struct fabric_op *op)
{
	op->in_flight--;
	op->peer->heard_at = op->since = clock_now();
	if (!op->waits)
		push(op);
	settle(op);
}

/* IBV_WC_REM_ACCESS_ERR of libibverbs, which libfabric hands on as it is. */
#define VERBS_REMOTE_ACCESS 10

static simpler_status status_of(const struct fabric *fabric, const struct fi_cq_err_entry *entry)
{
	if (fabric->provider == FABRIC_VERBS && entry->prov_errno == VERBS_REMOTE_ACCESS)
		return SIMPLER_EPERM;
	switch (entry->err) {
	case FI_EKEYREJECTED:
	case FI_EACCES:
	case FI_EPERM:
		return SIMPLER_EPERM;
	case FI_ENOMEM:
		return SIMPLER_ENOMEM;
	case FI_EMSGSIZE:
	case FI_ETRUNC:
		return SIMPLER_ENOSPACE;
	default:
		return SIMPLER_EUNAVAILABLE;
	}
}

/* With `verbs` no operation fails without its connection, which ofi_rxm keeps all the same: nothing
 * but closing the endpoint gets rid of it. */
static void look_at_connection(struct fabric_port *port)
{
	if (port->fabric->provider == FABRIC_VERBS)
		port->broken = true;
}

void op_failed(struct fabric_op *op, const struct fi_cq_err_entry *entry)
{
	static const char *const what[] = {
		[FABRIC_WRITE] = "a write", [FABRIC_READ] = "a read", [FABRIC_SEND] = "a message"
	};

	op->in_flight--;
	if (!op->ending)
		(void)error_raise(status_of(op->port->fabric, entry),
		                  "%s by the fabric failed: %s (the other side is gone, or refuses "
		                  "the key)",
		                  what[op->kind], libfabric.strerror(entry->err));
	look_at_connection(op->port);
	begin_end(op);
	settle(op);
}

/* --- time --- */

/* Until when one is patient with a peer of which nothing is heard: until a connection is there, and
 * later, with what is on its way. */
static int64_t patience(const struct fabric_op *op)
{
	int64_t since = op->since;

	if (op->peer->heard_at > since)
		since = op->peer->heard_at;
	return since + (op->in_flight > 0 ? FABRIC_STALL_MS : FABRIC_CONNECT_MS) * CLOCK_MS;
}

/* Until when the pieces of one that is ending may take. Where others would go down with the port,
 * it has its turn behind what its peer is being sent, as long as that gets there. */
static int64_t patience_at_end(const struct fabric_op *op, bool alone)
{
	int64_t heard = op->peer->heard_at + FABRIC_GRACE_MS * CLOCK_MS,
		most = op->give_up_at + FABRIC_STALL_MS * CLOCK_MS;

	if (alone || heard < op->give_up_at)
		return op->give_up_at;
	return heard < most ? heard : most;
}

/* `alone`: all that are in progress at its port are ending. */
static int64_t due(const struct fabric_op *op, bool alone)
{
	if (op->ending)
		return patience_at_end(op, alone);
	return patience(op) < op->deadline ? patience(op) : op->deadline;
}

static bool all_are_ending(const struct fabric_port *port)
{
	const struct fabric_op *op;

	DL_FOREACH (port->ops, op) {
		if (!op->ending)
			return false;
	}
	return true;
}

static void raise_late(const struct fabric_op *op, int64_t now)
{
	if (op->deadline <= now)
		(void)error_raise(SIMPLER_EDEADLINE,
		                  "the deadline passed when %llu of %llu bytes were on their way "
		                  "in the fabric",
		                  (unsigned long long)op->posted, (unsigned long long)op->nbytes);
	else
		(void)error_raise(
			SIMPLER_EUNAVAILABLE,
			"nothing has been heard of the other side of the fabric for %d ms",
			op->in_flight > 0 ? FABRIC_STALL_MS : FABRIC_CONNECT_MS);
}

bool op_expire(struct fabric_port *port, int64_t now)
{
	struct fabric_op *op, *next;
	bool all_let_go = true, alone;

	if (now < port->look_at)
		return true;
	port->look_at = CLOCK_NEVER;
	alone = all_are_ending(port);
	DL_FOREACH_SAFE (port->ops, op, next) {
		if (due(op, alone) <= now && op->ending)
			all_let_go = false;
		if (due(op, alone) <= now && !op->ending) {
			raise_late(op, now);
			begin_end(op);
		}
		if (due(op, alone) < port->look_at)
			port->look_at = due(op, alone);
		settle(op);
	}
	return all_let_go;
}

void op_abandon(struct fabric_port *port, const char *why)
{
	struct fabric_op *op, *next;

	DL_FOREACH_SAFE (port->ops, op, next) {
		(void)error_raise(SIMPLER_EUNAVAILABLE, "%s", why);
		begin_end(op);
		op->in_flight = 0;
		settle(op);
	}
	port->look_at = CLOCK_NEVER;
}

/* --- the caller's side --- */

void fabric_start(struct fabric_op *op)
{
	struct fabric_port *port = op->peer->port;
	struct fabric *fabric = port->fabric;

	op->port = port;
	op->pieces = op->in_flight = 0;
	op->posted = 0;
	op->ending = op->waits = false;
	pthread_mutex_lock(&fabric->lock);
	DL_APPEND(port->ops, op);
	op->since = clock_now();
	if (due(op, false) < port->look_at)
		port->look_at = due(op, false);
	if (port->down || port->shutting) {
		(void)error_raise(SIMPLER_EUNAVAILABLE, "this end of the fabric is shut");
		begin_end(op);
	} else if (op->kind == FABRIC_SEND && op->head_bytes + op->nbytes > FABRIC_MESSAGE_MAX) {
		(void)error_raise(SIMPLER_EINVAL, "a message of %llu bytes; at most %zu can be",
		                  (unsigned long long)(op->head_bytes + op->nbytes),
		                  FABRIC_MESSAGE_MAX);
		begin_end(op);
	} else if (op->peer->waiting == 0) {
		push(op);
	} else { /* it has its turn behind those */
		begin_waiting(op);
	}
	settle(op);
	if (!op->attended || fabric->role != FREE)
		fabric_wake(fabric);
	pthread_mutex_unlock(&fabric->lock);
}

void fabric_cancel(struct fabric_op *op)
{
	struct fabric *fabric = op->port->fabric;

	pthread_mutex_lock(&fabric->lock);
	if (!op->ending && !is_over(op)) {
		(void)error_raise(SIMPLER_ECANCELLED, "it was cancelled");
		begin_end(op);
		settle(op);
	}
	fabric_wake(fabric);
	pthread_mutex_unlock(&fabric->lock);
}
