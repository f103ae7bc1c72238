/* Which provider there is for an address. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rdma/fi_errno.h>

#include "fabric/library.h"
#include "fabric/loop.h"

/* Queues are small: soft-RoCE has no room for more, and operations wait here for their turn. */
#define QUEUE_ENTRIES 64u

static const char *const stacks[] = {
	[FABRIC_VERBS] = "verbs;ofi_rxm", [FABRIC_TCP] = "tcp;ofi_rxm"
};

simpler_status provider_error(simpler_status status, int error, const char *what)
{
	return error_raise(status, "%s: %s", what, libfabric.strerror(error < 0 ? -error : error));
}

static struct fi_info *make_hints(const char *stack)
{
	struct fi_info *hints = libfabric.dupinfo(NULL);

	if (!hints)
		return NULL;
	hints->fabric_attr->prov_name = strdup(stack);
	hints->ep_attr->type = FI_EP_RDM;
	hints->caps = FI_MSG | FI_RMA | FI_READ | FI_WRITE | FI_SEND | FI_RECV | FI_REMOTE_READ |
	              FI_REMOTE_WRITE;
	hints->domain_attr->threading = FI_THREAD_SAFE;
	hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
	hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
	hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
	hints->domain_attr->av_type = FI_AV_TABLE;
	/* Not FI_MR_LOCAL: ofi_rxm registers what an operation uses here, if `verbs` needs it, and
	 * gives it back afterwards: there is no cache of registrations, see settings.c. */
	hints->domain_attr->mr_mode = FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
	hints->tx_attr->size = QUEUE_ENTRIES;
	hints->rx_attr->size = QUEUE_ENTRIES;
	/* The order in which a write's pieces and what follows them are seen. */
	hints->tx_attr->msg_order = FI_ORDER_SAS;
	return hints;
}

static int look(const char *stack, const char *address, struct fi_info **out)
{
	struct fi_info *hints = make_hints(stack);
	int error;

	if (!hints)
		return -FI_ENOMEM;
	error = libfabric.getinfo(FI_VERSION(1, 11), address, NULL, FI_SOURCE | FI_NUMERICHOST,
	                          hints, out);
	libfabric.freeinfo(hints);
	return error;
}

static simpler_status check_address(const char *address)
{
	const char *zeros = address;

	while (*zeros == '0' || *zeros == '.' || *zeros == ':')
		zeros++;
	if (address[0] == '\0' || *zeros == '\0')
		return error_raise(SIMPLER_EINVAL,
		                   "'%s' is no address of this machine that others reach it at; "
		                   "name one, as 192.0.2.1 is",
		                   address);
	return SIMPLER_OK;
}

/* Whether the address is one of this machine: libfabric looks only when an endpoint is made. */
static simpler_status try_bind(const struct fi_info *info, const char *address)
{
	const struct sockaddr *bound = info->src_addr;
	int fd = socket(bound->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;

	if (fd < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot open a socket");
	if (bind(fd, bound, (socklen_t)info->src_addrlen) != 0)
		error = errno;
	(void)close(fd);
	return error == 0 ? SIMPLER_OK
	                  : error_raise_errno(SIMPLER_EUNAVAILABLE, error,
	                                      "the fabric cannot be bound to %s", address);
}

struct search {
	const struct fabric_options *options;
	enum fabric_provider provider;
	struct fi_info *found;
};

static simpler_status search(void *context)
{
	struct search *search = context;
	unsigned wanted = search->options->provider;
	int error = -FI_ENODATA;

	for (unsigned each = FABRIC_VERBS; each <= FABRIC_TCP && error != 0; each++) {
		if (wanted != FABRIC_ANY && wanted != each)
			continue;
		search->provider = (enum fabric_provider)each;
		error = look(stacks[each], search->options->address, &search->found);
	}
	if (error == 0)
		return SIMPLER_OK;
	search->found = NULL;
	return error_raise(
		SIMPLER_EUNAVAILABLE, "libfabric has no provider %s for the address %s: %s",
		wanted == FABRIC_ANY ? "verbs or tcp" : fabric_provider_name(search->provider),
		search->options->address, libfabric.strerror(-error));
}

simpler_status provider_find(const struct fabric_options *options, enum fabric_provider *provider,
                             struct fi_info **out)
{
	struct search found = { .options = options };
	simpler_status status = check_address(options->address);

	if (status == SIMPLER_OK)
		status = library_load();
	if (status == SIMPLER_OK) /* providers begin, and load what is theirs */
		status = library_keep_handlers(search, &found);
	if (status != SIMPLER_OK)
		return status;
	status = try_bind(found.found, options->address);
	if (status != SIMPLER_OK) {
		libfabric.freeinfo(found.found);
		return status;
	}
	*provider = found.provider;
	*out = found.found;
	return SIMPLER_OK;
}
