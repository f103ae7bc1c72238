/*
 * libfabric's messages over tcp;ofi_rxm: fi_send() and fi_recv(), one thread at each end, which
 * makes all of the progress. It polls its completion queue for a while and then sleeps on
 * FI_WAIT_FD.
 *
 * Sends report no completion. A client's buffer is free again when its record has come back; a
 * server's when the client has sent as many as may be under way after it, since it sent the last of
 * them only after it had the echo.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <stdlib.h>
#include <string.h>

#include "bare_echo.h"

#define VERSION     FI_VERSION(1, 17)
#define MESSAGE_MAX ((size_t)16 << 10)
#define RING        ((size_t)BARE_MOST_UNDER_WAY)
#define SPIN_NS     4000.0 /* as our doorbells do */
#define LOOKS       16     /* at the queue, between two looks at the clock */

struct end {
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_cq *queue;
	struct fid_av *addresses;
	struct fid_ep *endpoint;
	int wait_fd;
	fi_addr_t peer;
	size_t next; /* of the ring of sends */
	struct fi_context contexts[RING];
	char (*sends)[MESSAGE_MAX], (*receives)[MESSAGE_MAX];
};

static struct fi_info *find_provider(void)
{
	struct fi_info *hints = fi_allocinfo(), *info = NULL;

	hints->caps = FI_MSG;
	hints->mode = FI_CONTEXT;
	hints->ep_attr->type = FI_EP_RDM;
	hints->domain_attr->threading = FI_THREAD_DOMAIN;
	hints->fabric_attr->prov_name = strdup("tcp;ofi_rxm");
	(void)fi_getinfo(VERSION, "127.0.0.1", NULL, FI_SOURCE, hints, &info);
	fi_freeinfo(hints);
	return info;
}

static bool post(struct end *end, size_t index)
{
	return fi_recv(end->endpoint, end->receives[index], MESSAGE_MAX, NULL, FI_ADDR_UNSPEC,
	               &end->contexts[index]) == 0;
}

static bool open_queue(struct end *end)
{
	struct fi_cq_attr attributes = { .size = 4 * RING,
		                         .format = FI_CQ_FORMAT_MSG,
		                         .wait_obj = FI_WAIT_FD };

	return fi_cq_open(end->domain, &attributes, &end->queue, NULL) == 0 &&
	       fi_control(&end->queue->fid, FI_GETWAIT, &end->wait_fd) == 0;
}

static bool open_endpoint(struct end *end, struct fi_info *info)
{
	struct fi_av_attr attributes = { .type = FI_AV_TABLE };

	return fi_av_open(end->domain, &attributes, &end->addresses, NULL) == 0 &&
	       fi_endpoint(end->domain, info, &end->endpoint, NULL) == 0 &&
	       fi_ep_bind(end->endpoint, &end->addresses->fid, 0) == 0 &&
	       fi_ep_bind(end->endpoint, &end->queue->fid, FI_RECV) == 0 &&
	       fi_ep_bind(end->endpoint, &end->queue->fid, FI_TRANSMIT | FI_SELECTIVE_COMPLETION) ==
	               0 &&
	       fi_enable(end->endpoint) == 0;
}

/* Of which a process has one. */
static struct end *open_end(void)
{
	static struct end only;
	struct end *end = &only;
	struct fi_info *info = find_provider();
	bool good = info != NULL;

	good = good && (end->sends = malloc(RING * MESSAGE_MAX)) != NULL &&
	       (end->receives = malloc(RING * MESSAGE_MAX)) != NULL &&
	       fi_fabric(info->fabric_attr, &end->fabric, NULL) == 0 &&
	       fi_domain(end->fabric, info, &end->domain, NULL) == 0 && open_queue(end) &&
	       open_endpoint(end, info);
	for (size_t i = 0; good && i < RING; i++)
		good = post(end, i);
	fi_freeinfo(info);
	return good ? end : NULL;
}

/* Without taking anything from the queue. */
static void make_progress(struct end *end)
{
	(void)fi_cq_read(end->queue, NULL, 0);
}

static bool send_message(struct end *end, const void *bytes, size_t size)
{
	char *buffer = end->sends[end->next++ % RING];
	ssize_t result;

	memcpy(buffer, bytes, size);
	while ((result = fi_send(end->endpoint, buffer, size, NULL, end->peer, NULL)) == -FI_EAGAIN)
		make_progress(end);
	return result == 0;
}

static void sleep_until_readable(struct end *end)
{
	struct fid *queue = &end->queue->fid;
	struct pollfd wait = { .fd = end->wait_fd, .events = POLLIN };

	if (fi_trywait(end->fabric, &queue, 1) == 0)
		(void)poll(&wait, 1, -1);
}

/* The next message: which buffer it is in, and its size. The buffer is to be posted again. */
static bool receive(struct end *end, size_t *index, size_t *size)
{
	double until = bare_now() + SPIN_NS;
	struct fi_cq_msg_entry entry;
	ssize_t count;

	for (unsigned looks = 1; (count = fi_cq_read(end->queue, &entry, 1)) == -FI_EAGAIN;
	     looks++) {
		if (looks % LOOKS == 0 && bare_now() >= until)
			sleep_until_readable(end);
	}
	if (count != 1)
		return false;
	*index = (size_t)((struct fi_context *)entry.op_context - end->contexts);
	*size = entry.len;
	return true;
}

/* --- server --- */

/* Whose address is its first message. */
static bool meet_client(struct end *end)
{
	size_t index, size;

	return receive(end, &index, &size) &&
	       fi_av_insert(end->addresses, end->receives[index], 1, &end->peer, 0, NULL) == 1 &&
	       post(end, index);
}

static void serve(int out)
{
	struct end *end = open_end();
	char address[BARE_ADDRESS] = { 0 };
	size_t size = sizeof(address), index;

	if (!end || fi_getname(&end->endpoint->fid, address, &size) != 0 ||
	    !bare_process_write(out, address, sizeof(address)) || !meet_client(end))
		return;
	while (receive(end, &index, &size)) {
		if (!send_message(end, end->receives[index], size) || !post(end, index))
			return;
	}
}

/* --- client --- */

static void *connect_to(const char address[BARE_ADDRESS])
{
	struct end *end = open_end();
	char own[BARE_ADDRESS] = { 0 };
	size_t size = sizeof(own);

	if (!end || fi_av_insert(end->addresses, address, 1, &end->peer, 0, NULL) != 1 ||
	    fi_getname(&end->endpoint->fid, own, &size) != 0 ||
	    !send_message(end, own, sizeof(own)))
		return NULL;
	return end;
}

static bool take(struct end *end, size_t expected)
{
	size_t index, size;

	return receive(end, &index, &size) && size == expected && post(end, index);
}

static bool one(void *client, size_t size)
{
	char record[BARE_RECORD_MAX] = { 0 };

	return send_message(client, record, size) && take(client, size);
}

static bool many(void *client, const struct bare_load *load)
{
	struct end *end = client;
	const size_t all = load->count / load->batch, window = load->outstanding / load->batch;
	const size_t size = load->size * load->batch;
	char message[MESSAGE_MAX] = { 0 };
	size_t sent = 0;

	if (size > MESSAGE_MAX)
		return false;
	for (size_t received = 0; received < all; received++) {
		for (; sent < all && sent - received < window; sent++) {
			if (!send_message(end, message, size))
				return false;
		}
		if (!take(end, size))
			return false;
	}
	return true;
}

static const struct bare_kind kind = { "fabric", serve, connect_to, one, many };
const struct bare_kind *const echo_fabric = &kind;
