/* Ports: what they are made of, their peers, and what the loop does for one. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include <rdma/fi_cm.h>
#include <rdma/fi_errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "fabric/library.h"
#include "fabric/loop.h"
#include "os/watched.h"

#define RECEIVE        (-1)
#define EVENTS_AT_ONCE 16u
/* Of the queue that completions come in: the provider waits when it is full. */
#define QUEUE_EVENTS 1024u
/* So often nothing is to have come in a row until nothing more is waited for; and how often to look
 * at most, whatever comes. */
#define DRAIN_IDLE 64
#define DRAIN_MOST 4096

static const uint8_t magic[4] = { 's', 'f', 'm', 1 };

/* --- making one --- */

static void close_fid(struct fid *fid)
{
	if (fid)
		(void)fi_close(fid);
}

void port_release(struct fabric_port *port)
{
	struct fabric_peer *peer, *next;

	DL_FOREACH_SAFE (port->peers, peer, next)
		free(peer);
	if (port->ep)
		close_fid(&port->ep->fid);
	region_close_all(port);
	if (port->av)
		close_fid(&port->av->fid);
	if (port->cq)
		close_fid(&port->cq->fid);
	if (port->domain)
		close_fid(&port->domain->fid);
	for (uint32_t i = 0; port->receives && i < port->options.receives; i++)
		free(port->receives[i]);
	free(port->receives);
	free(port);
}

static simpler_status make_receives(struct fabric_port *port)
{
	size_t size =
		sizeof(struct receive) + sizeof(struct message_head) + port->options.message_bytes;

	if (port->options.receives == 0)
		return SIMPLER_OK;
	port->receives = calloc(port->options.receives, sizeof(struct receive *));
	for (uint32_t i = 0; port->receives && i < port->options.receives; i++) {
		struct receive *receive = malloc(size);

		if (!receive)
			return error_raise(SIMPLER_ENOMEM, "out of memory for messages");
		receive->kind = RECEIVE;
		receive->port = port;
		receive->next = port->unposted;
		port->unposted = receive;
		port->receives[i] = receive;
	}
	return port->receives ? SIMPLER_OK
	                      : error_raise(SIMPLER_ENOMEM, "out of memory for messages");
}

static simpler_status take_name(struct fabric_port *port)
{
	struct fabric_address *name = &port->head.from;
	size_t size = sizeof(name->bytes);
	int error = fi_getname(&port->ep->fid, name->bytes, &size);

	if (error)
		return provider_error(SIMPLER_ESYSTEM, error, "a fabric's address is not known");
	assert(size <= sizeof(name->bytes));
	name->size = (uint8_t)size;
	memcpy(port->head.magic, magic, sizeof(magic));
	return SIMPLER_OK;
}

static int make_objects(struct fabric_port *port)
{
	struct fi_info *info = port->fabric->info;
	struct fi_cq_attr cq = { .format = FI_CQ_FORMAT_DATA,
		                 .wait_obj = FI_WAIT_FD,
		                 .size = QUEUE_EVENTS };
	struct fi_av_attr av = { .type = FI_AV_TABLE };
	int error = fi_domain(port->fabric->fabric, info, &port->domain, NULL);

	if (!error)
		error = fi_av_open(port->domain, &av, &port->av, NULL);
	if (!error)
		error = fi_cq_open(port->domain, &cq, &port->cq, NULL);
	if (!error)
		error = fi_endpoint(port->domain, info, &port->ep, NULL);
	if (!error)
		error = fi_ep_bind(port->ep, &port->av->fid, 0);
	if (!error)
		error = fi_ep_bind(port->ep, &port->cq->fid, FI_TRANSMIT | FI_RECV);
	if (!error)
		error = fi_enable(port->ep);
	return error ? error : fi_control(&port->cq->fid, FI_GETWAIT, &port->fd);
}

static simpler_status join(struct fabric_port *port)
{
	struct fabric *fabric = port->fabric;
	bool fits;

	pthread_mutex_lock(&fabric->lock);
	fits = fabric->port_count < FABRIC_PORTS_MAX;
	if (fits) {
		DL_APPEND(fabric->ports, port);
		fabric->port_count++;
		fabric_wake(fabric);
	}
	pthread_mutex_unlock(&fabric->lock);
	return fits ? SIMPLER_OK
	            : error_raise(SIMPLER_ENOSPACE, "the limit of %u ports of a fabric is reached",
	                          FABRIC_PORTS_MAX);
}

simpler_status fabric_port_open(struct fabric *fabric, const struct fabric_port_options *options,
                                struct fabric_port **out)
{
	struct fabric_port *port = calloc(1, sizeof(*port));
	simpler_status status = SIMPLER_OK;
	int error;

	assert(options->message_bytes <= FABRIC_MESSAGE_MAX);
	if (!port)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a fabric's port");
	port->fabric = fabric;
	port->options = *options;
	port->look_at = CLOCK_NEVER;
	error = make_objects(port);
	if (error)
		status = provider_error(SIMPLER_ESYSTEM, error, "cannot open a port of a fabric");
	if (status == SIMPLER_OK)
		status = take_name(port);
	if (status == SIMPLER_OK)
		status = make_receives(port);
	if (status == SIMPLER_OK)
		status = join(port);
	if (status == SIMPLER_OK)
		*out = port;
	else
		port_release(port);
	return status;
}

/* --- ending one --- */

/* What has come by `verbs` is read before the endpoint is closed: ofi_rxm 1.17 gives the buffers of
 * what it finds then back to a connection that is freed, and the process dies of it. It does not
 * tell of all that it reads. */
static void drain(struct fabric_port *port)
{
	struct fi_cq_data_entry events[EVENTS_AT_ONCE];
	struct fi_cq_err_entry error = { 0 };
	int idle = 0;

	for (int i = 0; i < DRAIN_MOST && idle < DRAIN_IDLE; i++) {
		ssize_t count = fi_cq_read(port->cq, events, EVENTS_AT_ONCE);

		if (count == -FI_EAVAIL)
			(void)fi_cq_readerr(port->cq, &error, 0);
		idle = count == -FI_EAGAIN ? idle + 1 : 0;
	}
}

/* The answer to a read that has come in part is given back twice by the provider tcp 1.17 when its
 * endpoint is closed, and the process dies of the second time. Not so when its connection breaks.
 */
static void break_off_reads(struct fabric_port *port)
{
	const struct fabric_op *op;

	DL_FOREACH (port->ops, op) {
		if (op->kind == FABRIC_READ && op->in_flight > 0)
			break;
	}
	if (!op)
		return;
	watched_shut_connections(port->fd);
	drain(port);
}

void port_take_down(struct fabric_port *port, const char *why)
{
	if (port->down)
		return;
	if (port->fabric->provider == FABRIC_VERBS)
		drain(port);
	else
		break_off_reads(port);
	(void)fi_close(&port->ep->fid);
	port->ep = NULL;
	port->down = true;
	op_abandon(port, why);
	(void)pthread_cond_broadcast(&port->fabric->changed);
}

void fabric_port_shut(struct fabric_port *port)
{
	struct fabric *fabric = port->fabric;

	pthread_mutex_lock(&fabric->lock);
	port->shutting = true;
	fabric_wake(fabric);
	while (!port->down)
		(void)pthread_cond_wait(&fabric->changed, &fabric->lock);
	pthread_mutex_unlock(&fabric->lock);
}

void fabric_port_close(struct fabric_port *port)
{
	struct fabric *fabric = port->fabric;
	pthread_mutex_lock(&fabric->lock);
	port->shutting = port->closing = true;
	fabric_wake(fabric);
	while (!port->gone)
		(void)pthread_cond_wait(&fabric->changed, &fabric->lock);
	pthread_mutex_unlock(&fabric->lock);
	port_release(port);
}

void fabric_port_abandon(struct fabric_port *port)
{
	struct fabric *fabric = port->fabric;

	pthread_mutex_lock(&fabric->lock);
	port->shutting = port->closing = port->abandoned = true;
	fabric_wake(fabric);
	pthread_mutex_unlock(&fabric->lock);
}

bool fabric_port_is_up(struct fabric_port *port)
{
	bool up;

	pthread_mutex_lock(&port->fabric->lock);
	up = !port->down && !port->shutting;
	pthread_mutex_unlock(&port->fabric->lock);
	return up;
}

const struct fabric_address *fabric_port_address(const struct fabric_port *port)
{
	return &port->head.from;
}

/* --- peers --- */

static simpler_status insert(struct fabric_port *port, const struct fabric_address *address,
                             struct fabric_peer **out)
{
	struct fabric_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a peer");
	peer->port = port;
	peer->address = *address;
	if (fi_av_insert(port->av, address->bytes, 1, &peer->at, 0, NULL) != 1) {
		free(peer);
		return error_raise(SIMPLER_EPROTOCOL,
		                   "the fabric's provider %s takes no address of %u bytes such as "
		                   "the other side has",
		                   fabric_provider_name(port->fabric->provider), address->size);
	}
	DL_APPEND(port->peers, peer);
	*out = peer;
	return SIMPLER_OK;
}

/* libfabric reads as much of an address as one of its own has. */
static simpler_status check_address(const struct fabric_port *port,
                                    const struct fabric_address *address)
{
	const struct fabric_address *own = &port->head.from;

	if (address->size == own->size && address->bytes[0] == own->bytes[0] &&
	    address->bytes[1] == own->bytes[1])
		return SIMPLER_OK;
	return error_raise(SIMPLER_EPROTOCOL,
	                   "the other side's address in the fabric is of another family than "
	                   "that of this process");
}

simpler_status fabric_peer_open(struct fabric_port *port, const struct fabric_address *address,
                                struct fabric_peer **out)
{
	struct fabric_peer *peer;
	simpler_status status = check_address(port, address);

	if (status != SIMPLER_OK)
		return status;
	pthread_mutex_lock(&port->fabric->lock);
	DL_FOREACH (port->peers, peer) {
		if (fabric_address_equal(&peer->address, address))
			break;
	}
	if (!peer)
		status = insert(port, address, &peer);
	if (status == SIMPLER_OK) {
		peer->uses++;
		*out = peer;
	}
	pthread_mutex_unlock(&port->fabric->lock);
	return status;
}

void fabric_peer_close(struct fabric_peer *peer)
{
	struct fabric_port *port = peer->port;

	pthread_mutex_lock(&port->fabric->lock);
	if (--peer->uses == 0) {
		(void)fi_av_remove(port->av, &peer->at, 1, 0);
		DL_DELETE(port->peers, peer);
		free(peer);
	}
	pthread_mutex_unlock(&port->fabric->lock);
}

/* --- what the loop does --- */

static void post_receives(struct fabric_port *port)
{
	size_t size = sizeof(struct message_head) + port->options.message_bytes;

	while (port->unposted) {
		struct receive *receive = port->unposted;

		if (fi_recv(port->ep, receive->bytes, size, NULL, FI_ADDR_UNSPEC, receive) != 0)
			return;
		port->unposted = receive->next;
	}
}

static void take_message(struct fabric_port *port, struct receive *receive, size_t size)
{
	struct message_head head;

	if (size >= sizeof(head)) {
		memcpy(&head, receive->bytes, sizeof(head));
		if (memcmp(head.magic, magic, sizeof(magic)) == 0 && head.from.size > 0 &&
		    head.from.size <= FABRIC_ADDRESS_MAX)
			port->options.received(port->options.context, &head.from,
			                       receive->bytes + sizeof(head), size - sizeof(head));
		else
			simpler_log(SIMPLER_LOG_DEBUG, "a fabric's message is none of ours");
	}
	receive->next = port->unposted;
	port->unposted = receive;
}

static void hear(struct fabric_port *port, const struct fi_cq_data_entry *event)
{
	struct fabric_op *op = event->op_context;

	if (event->flags & FI_REMOTE_WRITE) {
		if (port->options.landed)
			port->options.landed(port->options.context, (uint32_t)event->data);
	} else if (event->flags & FI_RECV) {
		take_message(port, event->op_context, event->len);
	} else {
		pthread_mutex_lock(&port->fabric->lock);
		op_completed(op);
		pthread_mutex_unlock(&port->fabric->lock);
	}
}

static void hear_error(struct fabric_port *port)
{
	struct fi_cq_err_entry entry = { 0 };
	struct receive *receive;

	if (fi_cq_readerr(port->cq, &entry, 0) != 1)
		return;
	simpler_log(SIMPLER_LOG_DEBUG, "a fabric's operation failed: %s",
	            libfabric.strerror(entry.err));
	if (!entry.op_context)
		return;
	receive = entry.op_context;
	if (receive->kind == RECEIVE) {
		receive->next = port->unposted;
		port->unposted = receive;
		return;
	}
	pthread_mutex_lock(&port->fabric->lock);
	op_failed(entry.op_context, &entry);
	pthread_mutex_unlock(&port->fabric->lock);
}

static bool read_events(struct fabric_port *port)
{
	struct fi_cq_data_entry events[EVENTS_AT_ONCE];
	ssize_t count = fi_cq_read(port->cq, events, EVENTS_AT_ONCE);

	if (count == -FI_EAVAIL) {
		hear_error(port);
		return true;
	}
	for (ssize_t i = 0; i < count; i++)
		hear(port, &events[i]);
	return count > 0;
}

bool port_step(struct fabric_port *port)
{
	bool busy = false;

	if (!port->down) {
		post_receives(port);
		busy = read_events(port);
		pthread_mutex_lock(&port->fabric->lock);
		op_retry(port);
		if (!op_expire(port, clock_now()))
			port_take_down(port, "this end of the fabric was shut, as an operation did "
			                     "not end in its time");
		else if (port->broken)
			port_take_down(port, "this end of the fabric was shut, as a connection "
			                     "has broken");
		pthread_mutex_unlock(&port->fabric->lock);
	}
	return op_end_all(port) || busy;
}

bool port_is_stuck(const struct fabric_port *port)
{
	return !port->down && (port->waiting || port->unposted);
}
