/* From node to node, and to other programs. */
#include <assert.h>
#include <string.h>

#include "worker/pending.h"
#include "worker/tensor_table.h"

/* --- to another node --- */

static struct pending *begin_bring(simpler_worker *worker, simpler_tensor_handle handle,
                                   simpler_worker_id node, const simpler_tensor_options *options)
{
	static const char what[] = "bringing a tensor to a node";
	simpler_status status = pending_check(worker, &options);
	struct pending_storage call = { .worker = worker, .node = node, .options = options };
	struct exec_storage *from;
	struct pending *pending;

	if (status == SIMPLER_OK)
		status = tensor_table_find(worker->core->tensors, handle, &from);
	if (status != SIMPLER_OK)
		return pending_refuse(what);
	call.nbytes = from->nbytes;
	pending = pending_make_storage(what, &call);
	if (!pending) {
		exec_storage_drop(from);
		return NULL;
	}
	pending->from = from;
	remote_begin_bring(&pending->op, from);
	return pending;
}

simpler_status simpler_tensor_bring(simpler_worker *worker, simpler_tensor_handle handle,
                                    simpler_worker_id node, const simpler_tensor_options *options,
                                    simpler_tensor_handle *out)
{
	simpler_status status = pending_check_place(out, "the handle");

	return status == SIMPLER_OK
	               ? pending_finish_storage(begin_bring(worker, handle, node, options), out)
	               : status;
}

simpler_status simpler_tensor_bring_async(simpler_worker *worker, simpler_tensor_handle handle,
                                          simpler_worker_id node,
                                          const simpler_tensor_options *options,
                                          simpler_tensor_handle *brought, simpler_completion **out)
{
	simpler_status status = pending_check_places(brought, out);

	return status == SIMPLER_OK
	               ? pending_give_storage(begin_bring(worker, handle, node, options), brought,
	                                      out)
	               : status;
}

/* --- grants --- */

static void publish(const struct msg_import *from, simpler_tensor_grant *to)
{
	static_assert(sizeof(to->token) == sizeof(from->grant.token) &&
	                      sizeof(to->node_id) == sizeof(from->grant.handle.node_id),
	              "a grant has room for what the wire has");
	*to = (simpler_tensor_grant){ .handle_id = from->grant.handle.handle_id,
		                      .nbytes = from->grant.handle.nbytes,
		                      .writable = from->grant.write };
	memcpy(to->address, from->address, strlen(from->address) + 1);
	memcpy(to->node_id, from->grant.handle.node_id, sizeof(to->node_id));
	memcpy(to->token, from->grant.token, sizeof(to->token));
}

/* It may come from anywhere. */
static simpler_status take(const simpler_tensor_grant *from, struct msg_import *to)
{
	if (!from)
		return error_raise(SIMPLER_EINVAL, "a grant is needed, not NULL");
	if (!memchr(from->address, '\0', sizeof(from->address)) ||
	    !memchr(from->node_id, '\0', sizeof(from->node_id)))
		return error_raise(SIMPLER_EINVAL,
		                   "this is no grant that simpler_tensor_export() has filled in");
	*to = (struct msg_import){ .grant = { .handle = { .handle_id = from->handle_id,
		                                          .nbytes = from->nbytes },
		                              .write = from->writable } };
	memcpy(to->address, from->address, sizeof(from->address));
	memcpy(to->grant.handle.node_id, from->node_id, sizeof(from->node_id));
	memcpy(to->grant.token, from->token, sizeof(from->token));
	return SIMPLER_OK;
}

static void keep_grant(struct pending *pending, void *out)
{
	publish(&pending->op.import, out);
}

static struct pending *begin_export(simpler_worker *worker, simpler_tensor_handle handle,
                                    bool writable, const simpler_tensor_options *options,
                                    simpler_tensor_grant *out)
{
	static const char what[] = "exporting a tensor";
	struct exec_storage *storage;
	struct pending *pending;

	if (pending_check(worker, &options) != SIMPLER_OK ||
	    pending_check_place(out, "the grant") != SIMPLER_OK ||
	    tensor_table_find(worker->core->tensors, handle, &storage) != SIMPLER_OK)
		return pending_refuse(what);
	if (writable && !storage->writable) {
		(void)error_raise(SIMPLER_EPERM,
		                  "the handle is for reading only, and cannot be exported for "
		                  "writing");
		exec_storage_drop(storage);
		return pending_refuse(what);
	}
	pending = pending_make(what, storage, options);
	if (!pending)
		return NULL;
	pending->keep = keep_grant;
	pending->kept = out;
	remote_begin_export(&pending->op, writable, options->ttl_ms);
	return pending;
}

simpler_status simpler_tensor_export(simpler_worker *worker, simpler_tensor_handle handle,
                                     bool writable, const simpler_tensor_options *options,
                                     simpler_tensor_grant *out)
{
	return pending_finish(begin_export(worker, handle, writable, options, out));
}

simpler_status simpler_tensor_export_async(simpler_worker *worker, simpler_tensor_handle handle,
                                           bool writable, const simpler_tensor_options *options,
                                           simpler_tensor_grant *grant, simpler_completion **out)
{
	simpler_status status = pending_check_place(out, "the completion");

	return status == SIMPLER_OK
	               ? pending_give(begin_export(worker, handle, writable, options, grant), out)
	               : status;
}

static struct pending *begin_import(simpler_worker *worker, simpler_worker_id node,
                                    const simpler_tensor_grant *grant,
                                    const simpler_tensor_options *options)
{
	static const char what[] = "importing a tensor";
	struct pending_storage call = { .worker = worker, .node = node };
	struct msg_import import;
	simpler_status status = pending_check(worker, &options);
	simpler_tensor_options checked;
	struct pending *pending;

	if (status == SIMPLER_OK)
		status = take(grant, &import);
	if (status != SIMPLER_OK)
		return pending_refuse(what);
	checked = *options;
	checked.read_only = options->read_only || !grant->writable;
	call.options = &checked;
	call.nbytes = grant->nbytes;
	pending = pending_make_storage(what, &call);
	if (!pending)
		return NULL;
	pending->op.import = import;
	remote_begin_import(&pending->op);
	return pending;
}

simpler_status simpler_tensor_import(simpler_worker *worker, simpler_worker_id node,
                                     const simpler_tensor_grant *grant,
                                     const simpler_tensor_options *options,
                                     simpler_tensor_handle *out)
{
	simpler_status status = pending_check_place(out, "the handle");

	return status == SIMPLER_OK
	               ? pending_finish_storage(begin_import(worker, node, grant, options), out)
	               : status;
}

simpler_status simpler_tensor_import_async(simpler_worker *worker, simpler_worker_id node,
                                           const simpler_tensor_grant *grant,
                                           const simpler_tensor_options *options,
                                           simpler_tensor_handle *handle, simpler_completion **out)
{
	simpler_status status = pending_check_places(handle, out);

	return status == SIMPLER_OK
	               ? pending_give_storage(begin_import(worker, node, grant, options), handle,
	                                      out)
	               : status;
}

static struct pending *begin_release(simpler_worker *worker, simpler_tensor_handle handle,
                                     const simpler_tensor_grant *grant,
                                     const simpler_tensor_options *options)
{
	static const char what[] = "releasing a grant";
	struct msg_import import;
	struct pending *pending;

	if (pending_check(worker, &options) != SIMPLER_OK || take(grant, &import) != SIMPLER_OK)
		return pending_refuse(what);
	pending = pending_on(what, worker, handle, options);
	if (!pending)
		return NULL;
	pending->op.import = import;
	remote_begin_release(&pending->op);
	return pending;
}

simpler_status simpler_tensor_release_grant(simpler_worker *worker, simpler_tensor_handle handle,
                                            const simpler_tensor_grant *grant,
                                            const simpler_tensor_options *options)
{
	return pending_finish(begin_release(worker, handle, grant, options));
}

simpler_status simpler_tensor_release_grant_async(simpler_worker *worker,
                                                  simpler_tensor_handle handle,
                                                  const simpler_tensor_grant *grant,
                                                  const simpler_tensor_options *options,
                                                  simpler_completion **out)
{
	simpler_status status = pending_check_place(out, "the completion");

	return status == SIMPLER_OK
	               ? pending_give(begin_release(worker, handle, grant, options), out)
	               : status;
}
