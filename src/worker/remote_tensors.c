/*
 * The public functions on tensors of nodes. Each is an operation of exec/remote_storage.h under a
 * completion; those that block wait for it in this file's own way, which has the calling thread do
 * the RPC client's work meanwhile instead of being woken by it.
 *
 * A pending operation has a reference on its storage, so that what is freed meanwhile stays until
 * it is over.
 */
#include "simpler/remote_tensor.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "exec/remote_storage.h"
#include "wire/tensor.h"
#include "worker/completion.h"
#include "worker/tensor_table.h"

struct pending {
	struct simpler_completion completion; /* first */
	struct remote_op op;
	_Atomic bool ended; /* what remote_attend() looks at */
};

static const simpler_tensor_options defaults = SIMPLER_TENSOR_OPTIONS_INIT;

/* --- pending operations --- */

static bool is_own(const simpler_completion *completion)
{
	(void)completion;
	return false;
}

static void cancel(simpler_completion *completion)
{
	struct pending *pending = (struct pending *)completion;

	/* The end is told under the same lock, so there is something to cancel until then. */
	pthread_mutex_lock(&completion->lock);
	if (!completion->ended)
		remote_op_cancel(&pending->op);
	pthread_mutex_unlock(&completion->lock);
}

static simpler_status cancel_task(simpler_completion *completion, simpler_task task)
{
	(void)completion;
	(void)task;
	return error_raise(SIMPLER_ENOTFOUND, "no run is behind this completion, and so no task");
}

static void wait_for(struct pending *pending)
{
	simpler_completion *completion = &pending->completion;

	pthread_mutex_lock(&completion->lock);
	while (!completion->ended)
		(void)pthread_cond_wait(&completion->changed, &completion->lock);
	pthread_mutex_unlock(&completion->lock);
}

static void release(struct pending *pending)
{
	exec_storage_drop(&pending->op.storage->storage);
	remote_op_release(&pending->op);
	completion_release(&pending->completion);
	free(pending);
}

static void destroy(simpler_completion *completion)
{
	struct pending *pending = (struct pending *)completion;

	wait_for(pending);
	release(pending);
}

static const struct completion_ops ops = { is_own, cancel, cancel_task, destroy };

static void on_done(struct remote_op *op, const struct error *error)
{
	struct pending *pending = (struct pending *)((char *)op - offsetof(struct pending, op));

	/* Whoever attends looks at it when this returns, and does nothing with the rest before
	 * wait_for(). */
	atomic_store(&pending->ended, true);
	completion_end(&pending->completion, error);
}

/* Takes the caller's reference on the storage, also on failure, which is NULL. */
static struct pending *make_pending(struct exec_storage *storage,
                                    const simpler_tensor_options *options)
{
	struct pending *pending = malloc(sizeof(*pending));

	if (!pending) {
		exec_storage_drop(storage);
		(void)error_raise(SIMPLER_ENOMEM, "out of memory for an operation on a tensor");
		return NULL;
	}
	completion_init(&pending->completion, &ops);
	pending->op.done = on_done;
	pending->op.storage = remote_storage_of(storage);
	pending->op.deadline = clock_after_ms(options->timeout_ms);
	atomic_init(&pending->ended, false);
	remote_op_init(&pending->op);
	return pending;
}

/* Wait for it, release it, and tell how it went. `child` is the node's. */
static simpler_status finish(struct pending *pending, struct exec_child *child)
{
	simpler_status status;

	if (!atomic_load(&pending->ended))
		(void)remote_attend(child, &pending->ended);
	wait_for(pending);
	status = pending->completion.status == SIMPLER_OK
	                 ? SIMPLER_OK
	                 : error_restore(&pending->completion.error);
	release(pending);
	return status;
}

/* --- what is checked first --- */

static simpler_status check_call(const simpler_worker *worker,
                                 const simpler_tensor_options **options)
{
	if (!worker)
		return error_raise(SIMPLER_EINVAL, "the worker is NULL; create it first");
	if (worker->state != WORKER_READY)
		return error_raise(SIMPLER_ESTATE,
		                   "this worker is not initialized; call "
		                   "simpler_worker_init() and check what it returns");
	if (!*options)
		*options = &defaults;
	if ((*options)->struct_size != sizeof(**options))
		return error_raise(SIMPLER_EINVAL,
		                   "tensor options have size %zu instead of %zu; begin them with "
		                   "SIMPLER_TENSOR_OPTIONS_INIT",
		                   (*options)->struct_size, sizeof(**options));
	return SIMPLER_OK;
}

static simpler_status find_node(const simpler_worker *worker, simpler_worker_id id,
                                struct exec_child **out)
{
	const struct worker_core *core = worker->core;

	if (id >= core->child_count)
		return error_raise(SIMPLER_EINVAL, "worker %u is not a child here; there are %u",
		                   id, core->child_count);
	*out = core->children[id].child;
	if ((*out)->make_storage)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL,
	                   "%s is a process of this machine and has no storage of its own; its "
	                   "tensors are in this worker's heap: use simpler_alloc()",
	                   (*out)->name);
}

/* --- allocating and freeing --- */

static simpler_status alloc_on(simpler_worker *worker, simpler_worker_id node, uint64_t nbytes,
                               const simpler_tensor_options *options, simpler_tensor_handle *out)
{
	struct exec_storage *storage;
	struct exec_child *child;
	struct pending *pending;
	simpler_status status = find_node(worker, node, &child);

	if (status == SIMPLER_OK)
		status = child->make_storage(child, nbytes, &storage);
	if (status != SIMPLER_OK)
		return status;
	storage->writable = !options->read_only;
	remote_storage_of(storage)->ttl_ms = options->ttl_ms;
	exec_storage_hold(storage); /* the table's, besides the operation's */
	pending = make_pending(storage, options);
	if (pending) {
		remote_begin_alloc(&pending->op);
		status = finish(pending, child);
	} else {
		status = SIMPLER_ENOMEM;
	}
	if (status == SIMPLER_OK)
		status = tensor_table_add(worker->core->tensors, storage, node, out);
	if (status != SIMPLER_OK)
		exec_storage_drop(storage);
	return status;
}

simpler_status simpler_tensor_alloc(simpler_worker *worker, simpler_worker_id node,
                                    simpler_dtype dtype, uint32_t ndim, const int64_t *shape,
                                    const simpler_tensor_options *options,
                                    simpler_tensor_handle *out)
{
	simpler_status status = check_call(worker, &options);
	simpler_tensor tensor;
	uint64_t nbytes;

	if (status != SIMPLER_OK)
		return status;
	if (!out)
		return error_raise(SIMPLER_EINVAL, "a place for the handle is needed, not NULL");
	status = tensor_describe(&tensor, dtype, ndim, shape, &nbytes);
	if (status == SIMPLER_OK)
		status = alloc_on(worker, node, nbytes, options, out);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("allocating a tensor");
}

simpler_status simpler_tensor_free(simpler_worker *worker, simpler_tensor_handle handle,
                                   const simpler_tensor_options *options)
{
	simpler_status status = check_call(worker, &options);
	struct exec_storage *storage;
	struct exec_child *child;
	struct pending *pending;

	if (status == SIMPLER_OK)
		status = tensor_table_remove(worker->core->tensors, handle, &storage);
	/* Tasks have it: the last one frees it. */
	if (status != SIMPLER_OK || exec_storage_drop_unless_last(storage))
		return status;
	child = storage->child;
	pending = make_pending(storage, options);
	if (!pending)
		return SIMPLER_ENOMEM;
	remote_begin_free(&pending->op);
	status = finish(pending, child);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("freeing a tensor");
}

simpler_status simpler_tensor_refresh(simpler_worker *worker, simpler_tensor_handle handle,
                                      const simpler_tensor_options *options)
{
	simpler_status status = check_call(worker, &options);
	struct exec_storage *storage;
	struct exec_child *child;
	struct pending *pending;

	if (status == SIMPLER_OK)
		status = tensor_table_find(worker->core->tensors, handle, &storage);
	if (status != SIMPLER_OK)
		return status;
	pending = make_pending(storage, options);
	if (!pending)
		return SIMPLER_ENOMEM;
	child = storage->child;
	remote_begin_refresh(&pending->op, options->ttl_ms);
	status = finish(pending, child);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("refreshing a tensor's lease");
}

simpler_status simpler_tensor_look(simpler_worker *worker, simpler_tensor_handle handle,
                                   uint64_t *nbytes, simpler_worker_id *node)
{
	struct exec_storage *storage;
	simpler_status status;

	if (!worker)
		return error_raise(SIMPLER_EINVAL, "the worker is NULL; create it first");
	status = tensor_table_find(worker->core->tensors, handle, &storage);
	if (status != SIMPLER_OK)
		return status;
	if (nbytes)
		*nbytes = storage->nbytes;
	if (node)
		*node = tensor_handle_child(handle);
	exec_storage_drop(storage);
	return SIMPLER_OK;
}

/* --- bytes --- */

static simpler_status check_span(const struct exec_storage *storage, const simpler_span *span,
                                 uint64_t nbytes, struct span *out)
{
	simpler_status status;

	*out = (struct span){ .run_bytes = nbytes, .runs = 1 };
	if (span)
		*out = (struct span){ span->offset, span->run_bytes, span->pitch, span->runs };
	status = span_check(out);
	if (status != SIMPLER_OK)
		return status;
	if (span_bytes(out) != nbytes)
		return error_raise(SIMPLER_EINVAL,
		                   "the span has %llu bytes, and the tensor of this process %llu",
		                   (unsigned long long)span_bytes(out), (unsigned long long)nbytes);
	if (span_end(out) > storage->nbytes)
		return error_raise(
			SIMPLER_EINVAL, "the span ends at byte %llu, and the storage has %llu",
			(unsigned long long)span_end(out), (unsigned long long)storage->nbytes);
	return SIMPLER_OK;
}

static simpler_status check_move(const struct exec_storage *storage, bool write,
                                 const simpler_span *span, const simpler_tensor *local,
                                 struct span *out)
{
	struct tensor_footprint print;
	uint64_t nbytes;
	simpler_status status = tensor_check(local, &nbytes);

	if (status == SIMPLER_OK)
		status = tensor_footprint(local, &print);
	if (status == SIMPLER_OK)
		status = check_span(storage, span, nbytes, out);
	if (status != SIMPLER_OK)
		return status;
	if (write && !storage->writable)
		return error_raise(SIMPLER_EPERM, "the handle is for reading only");
	if (!write && tensor_may_overlap(local))
		return error_raise(SIMPLER_EINVAL,
		                   "elements of the tensor overlap, and are to be read into; give "
		                   "each its own bytes");
	return SIMPLER_OK;
}

struct move_call {
	simpler_worker *worker;
	simpler_tensor_handle handle;
	bool write;
	const simpler_span *span;
	const simpler_tensor *local;
	const simpler_tensor_options *options;
};

/* NULL, with the reason raised, when nothing was begun. */
static struct pending *begin_move(struct move_call *call)
{
	simpler_status status = check_call(call->worker, &call->options);
	struct exec_storage *storage;
	struct pending *pending;
	struct span span;

	if (status == SIMPLER_OK)
		status = tensor_table_find(call->worker->core->tensors, call->handle, &storage);
	if (status != SIMPLER_OK)
		return NULL;
	status = check_move(storage, call->write, call->span, call->local, &span);
	if (status != SIMPLER_OK) {
		exec_storage_drop(storage);
		return NULL;
	}
	pending = make_pending(storage, call->options);
	if (pending)
		remote_begin_move(&pending->op, call->write, &span, call->local,
		                  call->options->transport);
	return pending;
}

static simpler_status move_and_wait(struct move_call *call)
{
	struct pending *pending = begin_move(call);

	return pending ? finish(pending, pending->op.storage->storage.child)
	               : simpler_last_status();
}

static simpler_status move_async(struct move_call *call, simpler_completion **out)
{
	struct pending *pending;

	if (!out)
		return error_raise(SIMPLER_EINVAL,
		                   "a place for the completion is needed, not NULL");
	pending = begin_move(call);
	if (!pending)
		return simpler_last_status();
	*out = &pending->completion;
	return SIMPLER_OK;
}

simpler_status simpler_tensor_write(simpler_worker *worker, simpler_tensor_handle handle,
                                    const simpler_span *span, const simpler_tensor *local,
                                    const simpler_tensor_options *options)
{
	struct move_call call = { worker, handle, true, span, local, options };
	simpler_status status = move_and_wait(&call);

	return status == SIMPLER_OK ? SIMPLER_OK : error_context("writing a tensor");
}

simpler_status simpler_tensor_read(simpler_worker *worker, simpler_tensor_handle handle,
                                   const simpler_span *span, const simpler_tensor *local,
                                   const simpler_tensor_options *options)
{
	struct move_call call = { worker, handle, false, span, local, options };
	simpler_status status = move_and_wait(&call);

	return status == SIMPLER_OK ? SIMPLER_OK : error_context("reading a tensor");
}

simpler_status simpler_tensor_write_async(simpler_worker *worker, simpler_tensor_handle handle,
                                          const simpler_span *span, const simpler_tensor *local,
                                          const simpler_tensor_options *options,
                                          simpler_completion **out)
{
	struct move_call call = { worker, handle, true, span, local, options };
	simpler_status status = move_async(&call, out);

	return status == SIMPLER_OK ? SIMPLER_OK : error_context("writing a tensor");
}

simpler_status simpler_tensor_read_async(simpler_worker *worker, simpler_tensor_handle handle,
                                         const simpler_span *span, const simpler_tensor *local,
                                         const simpler_tensor_options *options,
                                         simpler_completion **out)
{
	struct move_call call = { worker, handle, false, span, local, options };
	simpler_status status = move_async(&call, out);

	return status == SIMPLER_OK ? SIMPLER_OK : error_context("reading a tensor");
}
