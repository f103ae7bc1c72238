#include <stdlib.h>
#include <utlist.h>

#include <rdma/fi_errno.h>

#include "base/inject.h"
#include "fabric/library.h"
#include "fabric/loop.h"
#include "os/random.h"

struct fabric_region {
	struct fabric_port *port;
	struct fid_mr *mr;
	uint64_t base; /* as others name it */
	struct fabric_region *prev, *next;
};

/* The provider's own locks are enough, and registering may take long: not under the fabric's. */
static simpler_status register_memory(struct fabric_region *region, void *base, uint64_t nbytes,
                                      unsigned access)
{
	const struct fi_domain_attr *attr = region->port->fabric->info->domain_attr;
	uint64_t flags = (access & FABRIC_READABLE ? FI_REMOTE_READ : 0) |
	                 (access & FABRIC_WRITABLE ? FI_REMOTE_WRITE : 0);
	uint64_t key = 0;
	int error;

	if (!(attr->mr_mode & FI_MR_PROV_KEY)) {
		key = random_u64();
		if (attr->mr_key_size < sizeof(key))
			key &= (UINT64_C(1) << 8 * attr->mr_key_size) - 1;
	}
	error = INJECT("fabric.register") ? -FI_ENOMEM
	                                  : fi_mr_reg(region->port->domain, base, (size_t)nbytes,
	                                              flags, 0, key, 0, &region->mr, NULL);
	if (error)
		return error_raise(SIMPLER_ENOSPACE,
		                   "the fabric's provider %s cannot register %llu bytes more: %s; "
		                   "where it pins memory, 'ulimit -l' bounds it",
		                   fabric_provider_name(region->port->fabric->provider),
		                   (unsigned long long)nbytes, libfabric.strerror(-error));
	region->base = attr->mr_mode & FI_MR_VIRT_ADDR ? (uint64_t)(uintptr_t)base : 0;
	return SIMPLER_OK;
}

simpler_status fabric_region_open(struct fabric_port *port, void *base, uint64_t nbytes,
                                  unsigned access, struct fabric_region **out)
{
	struct fabric_region *region = calloc(1, sizeof(*region));
	simpler_status status;

	if (!region)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a region");
	region->port = port;
	status = register_memory(region, base, nbytes, access);
	if (status != SIMPLER_OK) {
		free(region);
		return status;
	}
	pthread_mutex_lock(&port->fabric->lock);
	DL_APPEND(port->regions, region);
	pthread_mutex_unlock(&port->fabric->lock);
	*out = region;
	return SIMPLER_OK;
}

static void release(struct fabric_region *region)
{
	(void)fi_close(&region->mr->fid);
	free(region);
}

void fabric_region_close(struct fabric_region *region)
{
	struct fabric_port *port = region->port;

	pthread_mutex_lock(&port->fabric->lock);
	DL_DELETE(port->regions, region);
	pthread_mutex_unlock(&port->fabric->lock);
	release(region);
}

void region_close_all(struct fabric_port *port)
{
	while (port->regions) {
		struct fabric_region *region = port->regions;

		DL_DELETE(port->regions, region);
		release(region);
	}
}

void fabric_region_place(const struct fabric_region *region, struct fabric_place *out)
{
	out->provider = region->port->fabric->provider;
	out->address = region->port->head.from;
	out->key = fi_mr_key(region->mr);
	out->base = region->base;
}
