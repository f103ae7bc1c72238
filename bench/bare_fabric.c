#include "bare_fabric.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#define VERSION FI_VERSION(1, 11)
#define SPIN_NS 50000.0 /* as our loop does */
#define LOOKS   16      /* at the queue, between two looks at the clock */

struct end {
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_cq *queue;
	struct fid_av *addresses;
	struct fid_ep *endpoint;
	int wait_fd;
	uint8_t *bytes;
};

/* What the server tells. */
struct place {
	char address[64];
	uint64_t key, base;
};

struct order {
	uint64_t size, count;
	bool read;
};

static struct fi_info *find_provider(void)
{
	struct fi_info *hints = fi_allocinfo(), *info = NULL;

	hints->caps = FI_RMA;
	hints->ep_attr->type = FI_EP_RDM;
	hints->domain_attr->threading = FI_THREAD_DOMAIN;
	hints->domain_attr->mr_mode = FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
	hints->fabric_attr->prov_name = strdup("tcp;ofi_rxm");
	(void)fi_getinfo(VERSION, "127.0.0.1", NULL, FI_SOURCE, hints, &info);
	fi_freeinfo(hints);
	return info;
}

static bool open_endpoint(struct end *end, struct fi_info *info)
{
	struct fi_cq_attr queue = { .format = FI_CQ_FORMAT_CONTEXT, .wait_obj = FI_WAIT_FD };
	struct fi_av_attr addresses = { .type = FI_AV_TABLE };

	return fi_fabric(info->fabric_attr, &end->fabric, NULL) == 0 &&
	       fi_domain(end->fabric, info, &end->domain, NULL) == 0 &&
	       fi_cq_open(end->domain, &queue, &end->queue, NULL) == 0 &&
	       fi_control(&end->queue->fid, FI_GETWAIT, &end->wait_fd) == 0 &&
	       fi_av_open(end->domain, &addresses, &end->addresses, NULL) == 0 &&
	       fi_endpoint(end->domain, info, &end->endpoint, NULL) == 0 &&
	       fi_ep_bind(end->endpoint, &end->addresses->fid, 0) == 0 &&
	       fi_ep_bind(end->endpoint, &end->queue->fid, FI_TRANSMIT | FI_RECV) == 0 &&
	       fi_enable(end->endpoint) == 0;
}

static bool open_end(struct end *end)
{
	struct fi_info *info = find_provider();
	bool good = info && open_endpoint(end, info);

	end->bytes = malloc(BARE_FABRIC_MOST);
	if (end->bytes)
		memset(end->bytes, 1, BARE_FABRIC_MOST);
	fi_freeinfo(info);
	return good && end->bytes;
}

/* Until there is an event: poll for a while, then sleep. */
static bool wait_event(struct end *end)
{
	double until = bare_now() + SPIN_NS;
	struct fid *queue = &end->queue->fid;
	struct pollfd wait = { .fd = end->wait_fd, .events = POLLIN };
	struct fi_cq_entry entry;
	ssize_t count;

	for (unsigned looks = 1; (count = fi_cq_read(end->queue, &entry, 1)) == -FI_EAGAIN;
	     looks++) {
		if (looks % LOOKS != 0 || bare_now() < until)
			continue;
		if (fi_trywait(end->fabric, &queue, 1) == 0 && poll(&wait, 1, -1) > 0)
			until = bare_now() + SPIN_NS;
	}
	return count == 1;
}

/* --- server --- */

static void serve(int out)
{
	struct end end = { .bytes = NULL };
	struct place place = { .address = { 0 } };
	size_t size = sizeof(place.address);
	struct fid_mr *region;

	if (!open_end(&end) || fi_getname(&end.endpoint->fid, place.address, &size) != 0 ||
	    fi_mr_reg(end.domain, end.bytes, BARE_FABRIC_MOST, FI_REMOTE_READ | FI_REMOTE_WRITE, 0,
	              7, 0, &region, NULL) != 0)
		return;
	place.key = fi_mr_key(region);
	if (bare_process_write(out, &place, sizeof(place)))
		(void)wait_event(&end); /* of which there are none: it makes progress */
}

/* --- client --- */

static bool transfer(struct end *end, fi_addr_t peer, const struct place *place,
                     const struct order *order)
{
	struct iovec local = { end->bytes, (size_t)order->size };
	struct fi_rma_iov there = { place->base, (size_t)order->size, place->key };
	const struct fi_msg_rma message = { .msg_iov = &local,
		                            .iov_count = 1,
		                            .addr = peer,
		                            .rma_iov = &there,
		                            .rma_iov_count = 1 };
	ssize_t result;

	do {
		result = order->read ? fi_readmsg(end->endpoint, &message, FI_COMPLETION)
		                     : fi_writemsg(end->endpoint, &message,
		                                   FI_COMPLETION | FI_DELIVERY_COMPLETE);
		if (result == -FI_EAGAIN)
			(void)fi_cq_read(end->queue, NULL, 0);
	} while (result == -FI_EAGAIN);
	return result == 0 && wait_event(end);
}

static double carry_out(struct end *end, fi_addr_t peer, const struct place *place,
                        const struct order *order)
{
	double began = bare_now();

	for (uint64_t i = 0; i < order->count; i++) {
		if (!transfer(end, peer, place, order))
			return -1;
	}
	return bare_now() - began;
}

static void take_orders(const struct place *place, int in, int out)
{
	struct end end = { .bytes = NULL };
	struct order order;
	fi_addr_t peer;
	double took;

	if (!open_end(&end) || fi_av_insert(end.addresses, place->address, 1, &peer, 0, NULL) != 1)
		return;
	while (bare_process_read(in, &order, sizeof(order))) {
		took = carry_out(&end, peer, place, &order);
		if (!bare_process_write(out, &took, sizeof(took)))
			return;
	}
}

/* --- the caller's side --- */

bool bare_fabric_start(struct bare_fabric *fabric)
{
	struct place place;
	bool good;

	if (!bare_process_split(&fabric->server))
		return false;
	if (fabric->server.pid == 0) {
		bare_process_end_with(fabric->server.in);
		serve(fabric->server.out);
		_Exit(1);
	}
	good = bare_process_read(fabric->server.in, &place, sizeof(place)) &&
	       bare_process_split(&fabric->client);
	if (!good) {
		bare_process_stop(&fabric->server);
		return false;
	}
	if (fabric->client.pid == 0) {
		take_orders(&place, fabric->client.in, fabric->client.out);
		_Exit(1);
	}
	return true;
}

void bare_fabric_stop(struct bare_fabric *fabric)
{
	bare_process_stop(&fabric->client);
	bare_process_stop(&fabric->server);
}

bool bare_fabric_run(struct bare_fabric *fabric, bool read, size_t size, uint64_t count,
                     double *nanoseconds)
{
	const struct order order = { .size = size, .count = count, .read = read };

	return bare_process_write(fabric->client.out, &order, sizeof(order)) &&
	       bare_process_read(fabric->client.in, nanoseconds, sizeof(*nanoseconds)) &&
	       *nanoseconds >= 0;
}
