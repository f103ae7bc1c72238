/*
 * An operation on a tensor of a node under a completion, which has a reference on the storage, so
 * that what is freed meanwhile stays until it is over. Public functions come in two forms, with and
 * without waiting, of one that begins it.
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
	const char *what;   /* it is, for its error: "writing a tensor" */
	_Atomic bool ended; /* what remote_attend() looks at */
	/* Called when it has succeeded, before its end is told; or NULL. */
	void (*keep)(struct pending *pending, void *kept);
	void *kept;
	/* What it reads from elsewhere, with a reference; or NULL. */
	struct exec_storage *from;
	/* Of new storage: the handle, which names nothing any more if that does not come about. */
	struct tensor_table *table;
	simpler_tensor_handle made;
};

/* The defaults for NULL. SIMPLER_EINVAL, SIMPLER_ESTATE. */
simpler_status pending_check(const simpler_worker *worker, const simpler_tensor_options **options);
/* That there is a place for what a call gives out: "the handle". */
simpler_status pending_check_place(const void *place, const char *what);
simpler_status pending_check_places(const simpler_tensor_handle *handle,
                                    simpler_completion *const *completion);
/* Takes the caller's reference on the storage, also on failure, which is NULL. The operation is
 * then to be begun. */
struct pending *pending_make(const char *what, struct exec_storage *storage,
                             const simpler_tensor_options *options);
/* One on the storage of a handle. */
struct pending *pending_on(const char *what, simpler_worker *worker, simpler_tensor_handle handle,
                           const simpler_tensor_options *options);
/* One that is over: there was nothing to wait for. */
struct pending *pending_make_ended(const char *what);

/* New storage on a node. The handle is there at once, and names it once it is there. */
struct pending_storage {
	simpler_worker *worker;
	simpler_worker_id node;
	uint64_t nbytes;
	const simpler_tensor_options *options;
};
struct pending *pending_make_storage(const char *what, const struct pending_storage *call);

/* What a public function does with an operation that was begun, and with NULL, which is the failure
 * that was raised: wait for it, release it, and tell how it went; or give it out. */
simpler_status pending_finish(struct pending *pending);
simpler_status pending_give(struct pending *pending, simpler_completion **out);
/* The same of one of pending_make_storage(). */
simpler_status pending_finish_storage(struct pending *pending, simpler_tensor_handle *out);
simpler_status pending_give_storage(struct pending *pending, simpler_tensor_handle *handle,
                                    simpler_completion **out);

/* For those who raised a failure instead of beginning it. */
struct pending *pending_refuse(const char *what);

#endif
