/* The public functions on tensors of nodes. */
#include "base/clock.h"
#include "wire/tensor.h"
#include "worker/pending.h"
#include "worker/tensor_table.h"

/* --- allocating --- */

struct alloc_call {
	simpler_worker *worker;
	simpler_worker_id node;
	simpler_dtype dtype;
	uint32_t ndim;
	const int64_t *shape;
	const simpler_tensor_options *options;
};

static struct pending *begin_alloc(const struct alloc_call *call)
{
	static const char what[] = "allocating a tensor";
	struct pending_storage storage = { .worker = call->worker,
		                           .node = call->node,
		                           .options = call->options };
	simpler_tensor tensor;
	struct pending *pending;
	simpler_status status = pending_check(call->worker, &storage.options);

	if (status == SIMPLER_OK)
		status = tensor_describe(&tensor, call->dtype, call->ndim, call->shape,
		                         &storage.nbytes);
	if (status != SIMPLER_OK)
		return pending_refuse(what);
	pending = pending_make_storage(what, &storage);
	if (pending)
		remote_begin_alloc(&pending->op);
	return pending;
}

simpler_status simpler_tensor_alloc(simpler_worker *worker, simpler_worker_id node,
                                    simpler_dtype dtype, uint32_t ndim, const int64_t *shape,
                                    const simpler_tensor_options *options,
                                    simpler_tensor_handle *out)
{
	const struct alloc_call call = { worker, node, dtype, ndim, shape, options };
	simpler_status status = pending_check_place(out, "the handle");

	return status == SIMPLER_OK ? pending_finish_storage(begin_alloc(&call), out) : status;
}

simpler_status simpler_tensor_alloc_async(simpler_worker *worker, simpler_worker_id node,
                                          simpler_dtype dtype, uint32_t ndim, const int64_t *shape,
                                          const simpler_tensor_options *options,
                                          simpler_tensor_handle *handle, simpler_completion **out)
{
	const struct alloc_call call = { worker, node, dtype, ndim, shape, options };
	simpler_status status = pending_check_places(handle, out);

	return status == SIMPLER_OK ? pending_give_storage(begin_alloc(&call), handle, out)
	                            : status;
}

/* --- freeing --- */

static struct pending *begin_free(simpler_worker *worker, simpler_tensor_handle handle,
                                  const simpler_tensor_options *options)
{
	static const char what[] = "freeing a tensor";
	simpler_status status = pending_check(worker, &options);
	struct exec_storage *storage;
	struct pending *pending;

	if (status == SIMPLER_OK)
		status = tensor_table_remove(worker->core->tensors, handle, &storage);
	if (status != SIMPLER_OK)
		return pending_refuse(what);
	/* Tasks have it: the last one frees it. */
	if (exec_storage_drop_unless_last(storage))
		return pending_make_ended(what);
	pending = pending_make(what, storage, options);
	if (pending)
		remote_begin_free(&pending->op);
	return pending;
}

simpler_status simpler_tensor_free(simpler_worker *worker, simpler_tensor_handle handle,
                                   const simpler_tensor_options *options)
{
	return pending_finish(begin_free(worker, handle, options));
}

simpler_status simpler_tensor_free_async(simpler_worker *worker, simpler_tensor_handle handle,
                                         const simpler_tensor_options *options,
                                         simpler_completion **out)
{
	simpler_status status = pending_check_place(out, "the completion");

	return status == SIMPLER_OK ? pending_give(begin_free(worker, handle, options), out)
	                            : status;
}

/* --- looking after it --- */

static struct pending *begin_refresh(simpler_worker *worker, simpler_tensor_handle handle,
                                     const simpler_tensor_options *options)
{
	static const char what[] = "refreshing a tensor's lease";
	struct pending *pending;

	if (pending_check(worker, &options) != SIMPLER_OK)
		return pending_refuse(what);
	pending = pending_on(what, worker, handle, options);
	if (pending)
		remote_begin_refresh(&pending->op, options->ttl_ms);
	return pending;
}

simpler_status simpler_tensor_refresh(simpler_worker *worker, simpler_tensor_handle handle,
                                      const simpler_tensor_options *options)
{
	return pending_finish(begin_refresh(worker, handle, options));
}

simpler_status simpler_tensor_refresh_async(simpler_worker *worker, simpler_tensor_handle handle,
                                            const simpler_tensor_options *options,
                                            simpler_completion **out)
{
	simpler_status status = pending_check_place(out, "the completion");

	return status == SIMPLER_OK ? pending_give(begin_refresh(worker, handle, options), out)
	                            : status;
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
	bool waits; /* for its end, next */
};

static struct pending *begin_move(struct move_call *call)
{
	const char *what = call->write ? "writing a tensor" : "reading a tensor";
	struct exec_storage *storage;
	struct pending *pending;
	struct span span;

	if (pending_check(call->worker, &call->options) != SIMPLER_OK ||
	    tensor_table_find(call->worker->core->tensors, call->handle, &storage) != SIMPLER_OK)
		return pending_refuse(what);
	if (check_move(storage, call->write, call->span, call->local, &span) != SIMPLER_OK) {
		exec_storage_drop(storage);
		return pending_refuse(what);
	}
	pending = pending_make(what, storage, call->options);
	if (!pending)
		return NULL;
	pending->op.attended = call->waits;
	remote_begin_move(&pending->op, call->write, &span, call->local, call->options->transport);
	return pending;
}

simpler_status simpler_tensor_write(simpler_worker *worker, simpler_tensor_handle handle,
                                    const simpler_span *span, const simpler_tensor *local,
                                    const simpler_tensor_options *options)
{
	struct move_call call = { worker, handle, true, span, local, options, true };

	return pending_finish(begin_move(&call));
}

simpler_status simpler_tensor_read(simpler_worker *worker, simpler_tensor_handle handle,
                                   const simpler_span *span, const simpler_tensor *local,
                                   const simpler_tensor_options *options)
{
	struct move_call call = { worker, handle, false, span, local, options, true };

	return pending_finish(begin_move(&call));
}

static simpler_status move_async(struct move_call *call, simpler_completion **out)
{
	simpler_status status = pending_check_place(out, "the completion");

	return status == SIMPLER_OK ? pending_give(begin_move(call), out) : status;
}

simpler_status simpler_tensor_write_async(simpler_worker *worker, simpler_tensor_handle handle,
                                          const simpler_span *span, const simpler_tensor *local,
                                          const simpler_tensor_options *options,
                                          simpler_completion **out)
{
	struct move_call call = { worker, handle, true, span, local, options, false };

	return move_async(&call, out);
}

simpler_status simpler_tensor_read_async(simpler_worker *worker, simpler_tensor_handle handle,
                                         const simpler_span *span, const simpler_tensor *local,
                                         const simpler_tensor_options *options,
                                         simpler_completion **out)
{
	struct move_call call = { worker, handle, false, span, local, options, false };

	return move_async(&call, out);
}
