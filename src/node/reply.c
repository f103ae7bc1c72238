#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "node/fabric_ports.h"
#include "node/node.h"
#include "os/events.h"

#define STREAM_TRANSPORT "grpc"

struct node *node_of(const struct rpc_call *call)
{
	return rpc_call_context(call);
}

/* Outermost first, the cause last. The status is in the code and not repeated. */
static void join_steps(const struct error *error, char *text, size_t capacity)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = error->steps; i-- > 0 && used < capacity;) {
		int written = snprintf(text + used, capacity - used, "%s%s", error_step(error, i),
		                       i > 0 ? ": " : "");

		used += written > 0 ? (size_t)written : 0;
	}
}

enum rpc_code reply_text(char text[REPLY_TEXT_MAX])
{
	struct error error;

	error_save(&error);
	join_steps(&error, text, REPLY_TEXT_MAX);
	return rpc_code_of(error.status);
}

void reply_error(struct rpc_call *call)
{
	char text[REPLY_TEXT_MAX];
	enum rpc_code code = reply_text(text);

	rpc_finish(call, code, text, NULL);
}

void reply(struct rpc_call *call, simpler_status encoded, struct rpc_buffer *message)
{
	if (encoded == SIMPLER_OK)
		rpc_finish(call, RPC_OK, NULL, message);
	else
		reply_error(call);
}

simpler_status node_check_handle(const struct node *node, const struct msg_handle *handle)
{
	if (strcmp(node->id, handle->node_id) == 0)
		return SIMPLER_OK;
	return error_raise(SIMPLER_ENOTFOUND,
	                   "the handle is of node '%s', and this is node '%s'; a node that was "
	                   "restarted has another id and lost its storage",
	                   handle->node_id, node->id);
}

static uint64_t to_unix_ms(int64_t deadline)
{
	int64_t left = deadline - clock_now();

	if (deadline == CLOCK_NEVER)
		return 0;
	return clock_unix_ms() + (left > 0 ? (uint64_t)(left / CLOCK_MS) : 0);
}

void node_look_at(struct node *node, int64_t time)
{
	if (time < atomic_load(&node->looks_at))
		events_wake(node->wakeup);
}

void node_fill_handle(struct node *node, const struct pool_view *view, struct node_places *places,
                      struct msg_handle *out)
{
	const struct shm_place there = { view->segment, view->offset, view->nbytes };
	struct fabric_place by_fabric;

	*out = (struct msg_handle){
		.handle_id = view->handle,
		.nbytes = view->nbytes,
		.lease_deadline_unix_ms = to_unix_ms(view->lease_deadline),
	};
	(void)snprintf(out->node_id, sizeof(out->node_id), "%s", node->id);
	(void)snprintf(out->transport, sizeof(out->transport), "%s",
	               view->direct ? SHM_TRANSPORT : STREAM_TRANSPORT);
	if (view->direct) {
		shm_place_encode(&there, places->shm);
		out->transport_desc = (simpler_bytes){ places->shm, SHM_PLACE_BYTES };
	}
	if (view->direct && node->fabric &&
	    fabric_ports_find(node->fabric, view->handle, &by_fabric)) {
		(void)snprintf(out->also, sizeof(out->also), "%s", FABRIC_TRANSPORT);
		out->also_desc = (simpler_bytes){ places->fabric,
			                          fabric_place_encode(&by_fabric, places->fabric) };
	}
	node_look_at(node, view->lease_deadline);
}

simpler_status node_keep_handle(struct node *node, uint64_t handle, struct node_places *places,
                                struct msg_handle *out)
{
	struct pool_view view = { .handle = handle, .lease_deadline = CLOCK_NEVER };
	simpler_status status = pool_renew(node->pool, handle, &view);

	node_fill_handle(node, &view, places, out);
	return status;
}

void node_reply_handle(struct rpc_call *call, const struct pool_view *view)
{
	struct node_places places;
	struct rpc_buffer buffer;
	struct msg_handle handle;

	node_fill_handle(node_of(call), view, &places, &handle);
	reply(call, msg_handle_encode(&handle, &buffer), &buffer);
}

/* What was freed in the meantime, by a lease that is over, say, is not to stay reachable: its
 * revoking came too early. */
simpler_status node_alloc(struct node *node, uint64_t session, uint64_t nbytes, uint64_t ttl_ms,
                          struct pool_view *out)
{
	simpler_status status = pool_alloc(node->pool, session, nbytes, ttl_ms, out);
	struct pool_view now;

	if (status != SIMPLER_OK || !node->fabric || !out->direct)
		return status;
	fabric_ports_register(node->fabric, session, out->handle, out->bytes, nbytes);
	status = pool_lookup(node->pool, out->handle, &now);
	if (status != SIMPLER_OK)
		fabric_ports_revoke(node->fabric, out->handle);
	return status;
}
