/*
 * TensorPool: storage under handles, and grants of it.
 *
 * What a call makes is the client's once it is told of it. One that has given the call up is not
 * told, and could not free it, while Attach renews the lease: so it is taken back here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "node/node.h"

/* What each of these does, in its session. */
typedef simpler_status in_session(struct node *node, uint64_t session, const void *request,
                                  struct pool_view *out);

/* Answers with the handle that comes of it. */
static void answer_in_session(struct rpc_call *call, in_session *act, const void *request)
{
	struct node *node = node_of(call);
	struct pool_view view;
	uint64_t session;
	simpler_status status = node_enter(call, &session);

	if (status != SIMPLER_OK) {
		reply_error(call);
		return;
	}
	if (act(node, session, request, &view) == SIMPLER_OK)
		node_reply_handle(call, &view);
	else
		reply_error(call);
	node_leave(node, session);
}

/* What a call has made: its state, freed at its end. */
struct made {
	uint64_t session, handle; /* handle 0: nothing */
	uint8_t token[POOL_TOKEN_BYTES];
};

static simpler_status note_made(struct rpc_call *call)
{
	struct made *made = calloc(1, sizeof(*made));

	rpc_call_set_state(call, made);
	return made ? SIMPLER_OK : error_raise(SIMPLER_ENOMEM, "out of memory for a call");
}

/* --- AllocTensor, RefreshTensor, FreeTensor --- */

struct alloc {
	struct msg_alloc message;
	struct made *made;
};

static simpler_status act_alloc(struct node *node, uint64_t session, const void *request,
                                struct pool_view *out)
{
	const struct alloc *alloc = request;
	simpler_status status =
		node_alloc(node, session, alloc->message.nbytes, alloc->message.ttl_ms, out);

	if (status == SIMPLER_OK) {
		alloc->made->session = session;
		alloc->made->handle = out->handle;
	}
	return status;
}

static void alloc_tensor(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct alloc alloc;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_alloc_decode(data, size, &bump, &alloc.message);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = note_made(call);
	if (status == SIMPLER_OK) {
		alloc.made = rpc_call_state(call);
		answer_in_session(call, act_alloc, &alloc);
	} else {
		reply_error(call);
	}
}

static void alloc_end(struct rpc_call *call, bool cancelled)
{
	struct made *made = rpc_call_state(call);

	if (cancelled && made && made->handle != 0)
		(void)pool_free(node_of(call)->pool, made->session, made->handle);
	free(made);
}

static simpler_status act_refresh(struct node *node, uint64_t session, const void *request,
                                  struct pool_view *out)
{
	const struct msg_refresh *refresh = request;
	simpler_status status = node_check_handle(node, &refresh->handle);

	if (status != SIMPLER_OK)
		return status;
	return pool_refresh(node->pool, session, refresh->handle.handle_id, refresh->ttl_ms, out);
}

static void refresh_tensor(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct msg_refresh refresh;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_refresh_decode(data, size, &bump, &refresh);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		answer_in_session(call, act_refresh, &refresh);
	else
		reply_error(call);
}

static simpler_status free_handle(struct rpc_call *call, const struct msg_handle *handle)
{
	struct node *node = node_of(call);
	uint64_t session;
	simpler_status status = node_check_handle(node, handle);

	if (status == SIMPLER_OK)
		status = node_enter(call, &session);
	if (status != SIMPLER_OK)
		return status;
	status = pool_free(node->pool, session, handle->handle_id);
	node_leave(node, session);
	return status;
}

static void free_tensor(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_buffer buffer;
	struct msg_handle handle;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_free_decode(data, size, &bump, &handle);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = free_handle(call, &handle);
	if (status == SIMPLER_OK)
		status = msg_empty_encode(&buffer);
	reply(call, status, &buffer);
}

/* --- ExportTensor, ReleaseGrant --- */

static void fill_grant(struct node *node, const struct pool_grant *from, struct msg_grant *out)
{
	*out = (struct msg_grant){
		.handle = { .handle_id = from->handle, .nbytes = from->nbytes },
		.write = from->write,
	};
	(void)snprintf(out->handle.node_id, sizeof(out->handle.node_id), "%s", node->id);
	memcpy(out->token, from->token, sizeof(out->token));
}

static void note_grant(struct made *made, const struct pool_grant *grant)
{
	made->handle = grant->handle;
	memcpy(made->token, grant->token, sizeof(made->token));
}

static simpler_status export_handle(struct rpc_call *call, const struct msg_export *request,
                                    struct msg_grant *out)
{
	struct node *node = node_of(call);
	struct pool_grant grant;
	uint64_t session;
	simpler_status status = node_check_handle(node, &request->handle);

	if (status == SIMPLER_OK)
		status = node_enter(call, &session);
	if (status != SIMPLER_OK)
		return status;
	status = pool_export(node->pool, session, request->handle.handle_id, request->write,
	                     request->ttl_ms, &grant);
	if (status == SIMPLER_OK) {
		note_grant(rpc_call_state(call), &grant);
		fill_grant(node, &grant, out);
		node_look_at(node, grant.lease_deadline);
	}
	node_leave(node, session);
	return status;
}

static void export_tensor(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct msg_export request;
	struct rpc_buffer buffer;
	struct msg_grant grant;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_export_decode(data, size, &bump, &request);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = note_made(call);
	if (status == SIMPLER_OK)
		status = export_handle(call, &request, &grant);
	if (status == SIMPLER_OK)
		status = msg_grant_encode(&grant, &buffer);
	reply(call, status, &buffer);
}

static void export_end(struct rpc_call *call, bool cancelled)
{
	struct made *made = rpc_call_state(call);

	if (cancelled && made && made->handle != 0)
		(void)pool_release_grant(node_of(call)->pool, made->handle, made->token);
	free(made);
}

/* For whoever has the token, as it is the token that is given up. */
static void release_grant(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct node *node = node_of(call);
	struct rpc_buffer buffer;
	struct msg_grant grant;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_grant_decode(data, size, &bump, &grant);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = node_check_handle(node, &grant.handle);
	if (status == SIMPLER_OK)
		status = pool_release_grant(node->pool, grant.handle.handle_id, grant.token);
	if (status == SIMPLER_OK)
		status = msg_empty_encode(&buffer);
	reply(call, status, &buffer);
}

const struct rpc_method node_pool_methods[NODE_POOL_METHODS] = {
	{ .path = MSG_ALLOC_TENSOR, .on_message = alloc_tensor, .on_end = alloc_end },
	{ .path = MSG_REFRESH_TENSOR, .on_message = refresh_tensor },
	{ .path = MSG_FREE_TENSOR, .on_message = free_tensor },
	{ .path = MSG_EXPORT_TENSOR, .on_message = export_tensor, .on_end = export_end },
	{ .path = MSG_RELEASE_GRANT, .on_message = release_grant },
};
