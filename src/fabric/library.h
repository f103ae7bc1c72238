/* The functions of libfabric that are not inline, out of a library that is loaded when the first
 * fabric is opened: see library.c. */
#ifndef FABRIC_LIBRARY_H
#define FABRIC_LIBRARY_H

#include <rdma/fabric.h>

#include "base/error.h"

struct libfabric {
	int (*getinfo)(uint32_t version, const char *node, const char *service, uint64_t flags,
	               const struct fi_info *hints, struct fi_info **info);
	void (*freeinfo)(struct fi_info *info);
	struct fi_info *(*dupinfo)(const struct fi_info *info);
	int (*fabric)(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context);
	const char *(*strerror)(int errnum);
};

/* Good from the first library_load() on that has not failed, in all threads that know of it. */
extern struct libfabric libfabric;

/* SIMPLER_EUNAVAILABLE when the machine has none. It stays loaded. */
simpler_status library_load(void);

/* Call `work` and leave the process's signal handlers as they were before. */
simpler_status library_keep_handlers(simpler_status (*work)(void *context), void *context);

#endif
