/*
 * An operation on a tensor of a node under a completion, which has a reference on the storage, so
 * that what is freed meanwhile stays until it is over.
 *
 *   remote_tensors.c   allocating, freeing, writing, reading
 *   remote_sharing.c   from node to node, and to other programs
 */
#ifndef WORKER_PENDING_H
#define WORKER_PENDING_H

#include "exec/remote_storage.h"
#include "simpler/remote_tensor.h"
#include "worker/completion.h"

struct pending {
	struct simpler_completion completion; /* first */
	struct remote_op op;
	_Atomic bool ended; /* what remote_attend() looks at */
	/* What its caller wants of it when it has succeeded, before it is released; or NULL. */
	void (*keep)(struct pending *pending, void *kept);
	void *kept;
};

/* The defaults for NULL. SIMPLER_EINVAL, SIMPLER_ESTATE. */
simpler_status pending_check(const simpler_worker *worker, const simpler_tensor_options **options);
/* Takes the caller's reference on the storage, also on failure, which is NULL. The operation is
 * then to be begun. */
struct pending *pending_make(struct exec_storage *storage, const simpler_tensor_options *options);
/* Wait for it, release it, and tell how it went. `child` is a node's. */
simpler_status pending_finish(struct pending *pending, struct exec_child *child);

/* New storage on a node, which `begin` has come about: a handle of it. */
struct pending_storage {
	simpler_worker *worker;
	simpler_worker_id node;
	uint64_t nbytes;
	const simpler_tensor_options *options;
	void (*begin)(struct pending *pending, void *context);
	void *context;
};
simpler_status pending_store(const struct pending_storage *call, simpler_tensor_handle *out);

#endif
