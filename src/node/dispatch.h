/*
 * What a task's tensors are bound to on this node, from the request until the answer: inline bytes
 * to scratch storage of the pool, all of a dispatch in one piece; handles to their storage, pinned.
 */
#ifndef NODE_DISPATCH_H
#define NODE_DISPATCH_H

#include "node/node.h"

struct bound_tensor {
	uint64_t handle; /* pinned; 0: its bytes are in the scratch storage */
	uint32_t segment;
	uint64_t offset, nbytes;   /* of the tensor's bytes, in the segment */
	uint8_t *bytes;            /* they, as they are mapped here */
	uint64_t view_offset;      /* of its first byte in the handle's storage; 0 without one */
	struct node_places places; /* for its handle in the answer */
	struct msg_shape shape;
};

struct bound_tensors {
	uint64_t scratch; /* 0: none */
	uint32_t count;
	struct bound_tensor tensors[SIMPLER_MAX_TENSORS];
};

/*
 * Bind the request's tensors for its session, copy inline bytes in, and write the task's tensor
 * records.
 *
 * @return what the pool says, SIMPLER_EPERM among it for a tag that writes what may be read only;
 *         SIMPLER_ENOTFOUND for another node's handle; SIMPLER_EINVAL when the
 *         view goes beyond the storage, or is not aligned to its type. Nothing is bound then.
 */
simpler_status bind_tensors(struct node *node, uint64_t session, const struct msg_dispatch *request,
                            struct bound_tensors *out, struct record_task *task);
void unbind_tensors(struct node *node, struct bound_tensors *bound);

/* OUTPUT, INOUT and OUTPUT_EXISTING tensors, in argument order: inline ones as bytes of scratch
 * storage, others as their handles, the lease kept. They must be encoded before they are unbound.
 */
void bound_outputs(struct node *node, struct bound_tensors *bound, struct msg_outcome *out);

#endif
