/* From node to node, and to other programs. */
#include <assert.h>
#include <string.h>

#include "worker/pending.h"
#include "worker/tensor_table.h"

/* --- to another node --- */

static void begin_bring(struct pending *pending, void *from)
{
	remote_begin_bring(&pending->op, from);
}

simpler_status simpler_tensor_bring(simpler_worker *worker, simpler_tensor_handle handle,
                                    simpler_worker_id node, const simpler_tensor_options *options,
                                    simpler_tensor_handle *out)
{
	simpler_status status = pending_check(worker, &options);
	struct pending_storage call = {
		.worker = worker, .node = node, .options = options, .begin = begin_bring
	};
	struct exec_storage *from;

	if (status == SIMPLER_OK && !out)
		status = error_raise(SIMPLER_EINVAL, "a place for the handle is needed, not NULL");
	if (status == SIMPLER_OK)
		status = tensor_table_find(worker->core->tensors, handle, &from);
	if (status != SIMPLER_OK)
		return status;
	call.nbytes = from->nbytes;
	call.context = from;
	status = pending_store(&call, out);
	exec_storage_drop(from);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("bringing a tensor to a node");
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

/* An operation on a tensor that is there. */
static struct pending *of_handle(simpler_worker *worker, simpler_tensor_handle handle,
                                 const simpler_tensor_options *options)
{
	struct exec_storage *storage;

	if (tensor_table_find(worker->core->tensors, handle, &storage) != SIMPLER_OK)
		return NULL;
	return pending_make(storage, options);
}

static void keep_grant(struct pending *pending, void *out)
{
	publish(&pending->op.import, out);
}

simpler_status simpler_tensor_export(simpler_worker *worker, simpler_tensor_handle handle,
                                     bool writable, const simpler_tensor_options *options,
                                     simpler_tensor_grant *out)
{
	simpler_status status = pending_check(worker, &options);
	struct pending *pending;

	if (status == SIMPLER_OK && !out)
		status = error_raise(SIMPLER_EINVAL, "a place for the grant is needed, not NULL");
	if (status != SIMPLER_OK)
		return status;
	pending = of_handle(worker, handle, options);
	if (!pending)
		return simpler_last_status();
	pending->keep = keep_grant;
	pending->kept = out;
	remote_begin_export(&pending->op, writable, options->ttl_ms);
	status = pending_finish(pending, pending->op.storage->storage.child);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("exporting a tensor");
}

static void begin_import(struct pending *pending, void *import)
{
	memcpy(&pending->op.import, import, sizeof(pending->op.import));
	remote_begin_import(&pending->op);
}

simpler_status simpler_tensor_import(simpler_worker *worker, simpler_worker_id node,
                                     const simpler_tensor_grant *grant,
                                     const simpler_tensor_options *options,
                                     simpler_tensor_handle *out)
{
	struct msg_import import;
	simpler_status status = pending_check(worker, &options);
	simpler_tensor_options checked;

	if (status == SIMPLER_OK && !out)
		status = error_raise(SIMPLER_EINVAL, "a place for the handle is needed, not NULL");
	if (status == SIMPLER_OK)
		status = take(grant, &import);
	if (status != SIMPLER_OK)
		return status;
	checked = *options;
	checked.read_only = options->read_only || !grant->writable;
	status = pending_store(&(struct pending_storage){ .worker = worker,
	                                                  .node = node,
	                                                  .nbytes = grant->nbytes,
	                                                  .options = &checked,
	                                                  .begin = begin_import,
	                                                  .context = &import },
	                       out);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("importing a tensor");
}

simpler_status simpler_tensor_release_grant(simpler_worker *worker, simpler_tensor_handle handle,
                                            const simpler_tensor_grant *grant,
                                            const simpler_tensor_options *options)
{
	struct msg_import import;
	simpler_status status = pending_check(worker, &options);
	struct pending *pending;

	if (status == SIMPLER_OK)
		status = take(grant, &import);
	if (status != SIMPLER_OK)
		return status;
	pending = of_handle(worker, handle, options);
	if (!pending)
		return simpler_last_status();
	pending->op.import = import;
	remote_begin_release(&pending->op);
	status = pending_finish(pending, pending->op.storage->storage.child);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("releasing a grant");
}
