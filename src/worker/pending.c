/* Those that block have the calling thread do the work of the RPC client's thread meanwhile, or of
 * the fabric's, instead of being woken by it. */
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
	if (pending->from)
		exec_storage_drop(pending->from);
	if (pending->op.storage) {
		exec_storage_drop(&pending->op.storage->storage);
		remote_op_release(&pending->op);
	}
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

/* The program may have freed it meanwhile. */
static void withdraw(const struct pending *pending)
{
	struct exec_storage *storage;

	if (pending->table &&
	    tensor_table_remove(pending->table, pending->made, &storage) == SIMPLER_OK)
		exec_storage_drop(storage); /* not the last: the operation has one */
}

static void on_done(struct remote_op *op, const struct error *error)
{
	struct pending *pending = (struct pending *)((char *)op - offsetof(struct pending, op));
	struct error told;

	if (error) {
		told = *error;
		error_add(&told, "%s", pending->what);
		withdraw(pending);
	} else if (pending->keep) {
		pending->keep(pending, pending->kept);
	}
	/* Whoever attends looks at it when this returns, and does nothing with the rest before
	 * wait_for(). */
	atomic_store(&pending->ended, true);
	completion_end(&pending->completion, error ? &told : NULL);
}

/* --- beginning --- */

struct pending *pending_refuse(const char *what)
{
	(void)error_context("%s", what);
	return NULL;
}

static struct pending *make(const char *what)
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!pending) {
		(void)error_raise(SIMPLER_ENOMEM, "out of memory for an operation on a tensor");
		return pending_refuse(what);
	}
	completion_init(&pending->completion, &ops);
	pending->what = what;
	return pending;
}

struct pending *pending_make(const char *what, struct exec_storage *storage,
                             const simpler_tensor_options *options)
{
	struct pending *pending = make(what);

	if (!pending) {
		exec_storage_drop(storage);
		return NULL;
	}
	pending->op.done = on_done;
	pending->op.storage = remote_storage_of(storage);
	pending->op.deadline = clock_after_ms(options->timeout_ms);
	remote_op_init(&pending->op);
	return pending;
}

struct pending *pending_make_ended(const char *what)
{
	struct pending *pending = make(what);

	if (!pending)
		return NULL;
	atomic_store(&pending->ended, true);
	completion_end(&pending->completion, NULL);
	return pending;
}

struct pending *pending_on(const char *what, simpler_worker *worker, simpler_tensor_handle handle,
                           const simpler_tensor_options *options)
{
	struct exec_storage *storage;

	if (tensor_table_find(worker->core->tensors, handle, &storage) != SIMPLER_OK)
		return pending_refuse(what);
	return pending_make(what, storage, options);
}

/* --- ending --- */

simpler_status pending_finish(struct pending *pending)
{
	simpler_status status;

	if (!pending)
		return simpler_last_status();
	if (!atomic_load(&pending->ended))
		(void)remote_attend(&pending->op, &pending->ended);
	wait_for(pending);
	status = pending->completion.status == SIMPLER_OK
	                 ? SIMPLER_OK
	                 : error_restore(&pending->completion.error);
	release(pending);
	return status;
}

simpler_status pending_give(struct pending *pending, simpler_completion **out)
{
	if (!pending)
		return simpler_last_status();
	*out = &pending->completion;
	return SIMPLER_OK;
}

simpler_status pending_finish_storage(struct pending *pending, simpler_tensor_handle *out)
{
	const simpler_tensor_handle made = pending ? pending->made : (simpler_tensor_handle){ 0 };
	simpler_status status = pending_finish(pending);

	if (status == SIMPLER_OK)
		*out = made;
	return status;
}

simpler_status pending_give_storage(struct pending *pending, simpler_tensor_handle *handle,
                                    simpler_completion **out)
{
	if (pending)
		*handle = pending->made;
	return pending_give(pending, out);
}

/* --- what all of them check --- */

simpler_status pending_check_place(const void *place, const char *what)
{
	return place ? SIMPLER_OK
	             : error_raise(SIMPLER_EINVAL, "a place for %s is needed, not NULL", what);
}

simpler_status pending_check_places(const simpler_tensor_handle *handle,
                                    simpler_completion *const *completion)
{
	simpler_status status = pending_check_place(handle, "the handle");

	return status == SIMPLER_OK ? pending_check_place(completion, "the completion") : status;
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

static simpler_status make_storage(const struct pending_storage *call, struct exec_storage **out)
{
	struct exec_child *child;
	simpler_status status = find_node(call->worker, call->node, &child);

	if (status == SIMPLER_OK)
		status = child->make_storage(child, call->nbytes, out);
	if (status != SIMPLER_OK)
		return status;
	(*out)->writable = !call->options->read_only;
	remote_storage_of(*out)->ttl_ms = call->options->ttl_ms;
	return SIMPLER_OK;
}

struct pending *pending_make_storage(const char *what, const struct pending_storage *call)
{
	struct tensor_table *table = call->worker->core->tensors;
	struct exec_storage *storage;
	struct pending *pending;

	if (make_storage(call, &storage) != SIMPLER_OK)
		return pending_refuse(what);
	exec_storage_hold(storage); /* the table's, besides the operation's */
	pending = pending_make(what, storage, call->options);
	if (pending && tensor_table_add(table, storage, call->node, &pending->made) == SIMPLER_OK) {
		pending->table = table;
		return pending;
	}
	exec_storage_drop(storage);
	if (!pending)
		return NULL;
	release(pending);
	return pending_refuse(what);
}
