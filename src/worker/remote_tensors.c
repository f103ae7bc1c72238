/* The public functions on tensors of nodes. */
#include "base/clock.h"
#include "wire/tensor.h"
#include "worker/pending.h"
#include "worker/tensor_table.h"

/* --- allocating and freeing --- */

static void begin_alloc(struct pending *pending, void *context)
{
	(void)context;
	remote_begin_alloc(&pending->op);
}

simpler_status simpler_tensor_alloc(simpler_worker *worker, simpler_worker_id node,
                                    simpler_dtype dtype, uint32_t ndim, const int64_t *shape,
                                    const simpler_tensor_options *options,
                                    simpler_tensor_handle *out)
{
	simpler_status status = pending_check(worker, &options);
	simpler_tensor tensor;
	uint64_t nbytes;

	if (status != SIMPLER_OK)
		return status;
	if (!out)
		return error_raise(SIMPLER_EINVAL, "a place for the handle is needed, not NULL");
	status = tensor_describe(&tensor, dtype, ndim, shape, &nbytes);
	if (status == SIMPLER_OK)
		status = pending_store(&(struct pending_storage){ .worker = worker,
		                                                  .node = node,
		                                                  .nbytes = nbytes,
		                                                  .options = options,
		                                                  .begin = begin_alloc },
		                       out);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("allocating a tensor");
}

simpler_status simpler_tensor_free(simpler_worker *worker, simpler_tensor_handle handle,
                                   const simpler_tensor_options *options)
{
	simpler_status status = pending_check(worker, &options);
	struct exec_storage *storage;
	struct exec_child *child;
	struct pending *pending;

	if (status == SIMPLER_OK)
		status = tensor_table_remove(worker->core->tensors, handle, &storage);
	/* Tasks have it: the last one frees it. */
	if (status != SIMPLER_OK || exec_storage_drop_unless_last(storage))
		return status;
	child = storage->child;
	pending = pending_make(storage, options);
	if (!pending)
		return SIMPLER_ENOMEM;
	remote_begin_free(&pending->op);
	status = pending_finish(pending, child);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("freeing a tensor");
}

simpler_status simpler_tensor_refresh(simpler_worker *worker, simpler_tensor_handle handle,
                                      const simpler_tensor_options *options)
{
	simpler_status status = pending_check(worker, &options);
	struct exec_storage *storage;
	struct exec_child *child;
	struct pending *pending;

	if (status == SIMPLER_OK)
		status = tensor_table_find(worker->core->tensors, handle, &storage);
	if (status != SIMPLER_OK)
		return status;
	pending = pending_make(storage, options);
	if (!pending)
		return SIMPLER_ENOMEM;
	child = storage->child;
	remote_begin_refresh(&pending->op, options->ttl_ms);
	status = pending_finish(pending, child);
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

simpler_status simpler_tensor_map(simpler_worker *worker, simpler_tensor_handle handle, void **out)
{
	const simpler_tensor_options *options = NULL;
	simpler_status status = pending_check(worker, &options);
	struct exec_storage *storage;

	if (status == SIMPLER_OK && !out)
		status = error_raise(SIMPLER_EINVAL, "a place for the address is needed, not NULL");
	if (status == SIMPLER_OK)
		status = tensor_table_find(worker->core->tensors, handle, &storage);
	if (status != SIMPLER_OK)
		return status;
	status = remote_map(storage, out);
	if (status != SIMPLER_OK)
		status = error_context("mapping a tensor on %s", storage->child->name);
	exec_storage_drop(storage);
	return status;
}

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
	simpler_status status = pending_check(call->worker, &call->options);
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
	pending = pending_make(storage, call->options);
	if (pending)
		remote_begin_move(&pending->op, call->write, &span, call->local,
		                  call->options->transport);
	return pending;
}

static simpler_status move_and_wait(struct move_call *call)
{
	struct pending *pending = begin_move(call);

	return pending ? pending_finish(pending, pending->op.storage->storage.child)
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
