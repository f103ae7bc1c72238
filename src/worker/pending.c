/* Those that block have the calling thread do the RPC client's work meanwhile, instead of being
 * woken by the thread that does. */
#include "worker/pending.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "worker/tensor_table.h"

static const simpler_tensor_options defaults = SIMPLER_TENSOR_OPTIONS_INIT;

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

struct pending *pending_make(struct exec_storage *storage, const simpler_tensor_options *options)
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
	pending->keep = NULL;
	remote_op_init(&pending->op);
	return pending;
}

simpler_status pending_finish(struct pending *pending, struct exec_child *child)
{
	simpler_status status;

	if (!atomic_load(&pending->ended))
		(void)remote_attend(child, &pending->ended);
	wait_for(pending);
	status = pending->completion.status == SIMPLER_OK
	                 ? SIMPLER_OK
	                 : error_restore(&pending->completion.error);
	if (status == SIMPLER_OK && pending->keep)
		pending->keep(pending, pending->kept);
	release(pending);
	return status;
}

simpler_status pending_check(const simpler_worker *worker, const simpler_tensor_options **options)
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

simpler_status pending_store(const struct pending_storage *call, simpler_tensor_handle *out)
{
	struct exec_storage *storage;
	struct exec_child *child;
	struct pending *pending;
	simpler_status status = find_node(call->worker, call->node, &child);

	if (status == SIMPLER_OK)
		status = child->make_storage(child, call->nbytes, &storage);
	if (status != SIMPLER_OK)
		return status;
	storage->writable = !call->options->read_only;
	remote_storage_of(storage)->ttl_ms = call->options->ttl_ms;
	exec_storage_hold(storage); /* the table's, besides the operation's */
	pending = pending_make(storage, call->options);
	if (pending) {
		call->begin(pending, call->context);
		status = pending_finish(pending, child);
	} else {
		status = SIMPLER_ENOMEM;
	}
	if (status == SIMPLER_OK)
		status = tensor_table_add(call->worker->core->tensors, storage, call->node, out);
	if (status != SIMPLER_OK)
		exec_storage_drop(storage);
	return status;
}
