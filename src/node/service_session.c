/* L3Worker.Attach and Detach: sessions of clients. */
#include <stdio.h>

#include "base/error.h"
#include "node/node.h"

simpler_status node_need_session(const struct rpc_call *call, uint64_t *session)
{
	simpler_status status = rpc_call_session(call, session);

	if (status == SIMPLER_OK && *session == 0)
		status = error_raise(SIMPLER_EINVAL,
		                     "this call is of a session; name it in the metadata "
		                     "simpler-session: a random number, in hexadecimal");
	return status;
}

static void answer_attached(struct rpc_call *call, const struct session_state *state)
{
	struct node *node = node_of(call);
	struct msg_attached attached = { .boot_id = node->boot_id,
		                         .ttl_ms = state->ttl_ms,
		                         .known = state->known,
		                         .session_life = state->life,
		                         .draining = atomic_load(&node->draining) };
	struct rpc_buffer buffer;

	(void)snprintf(attached.node_id, sizeof(attached.node_id), "%s", node->id);
	(void)snprintf(attached.shm_address, sizeof(attached.shm_address), "%s", node->shm_address);
	attached.lanes = node->offered_lanes;
	/* A drain waits for those who have not heard of it. */
	node_look_at(node, attached.draining ? 0 : state->until);
	reply(call, msg_attached_encode(&attached, &buffer), &buffer);
}

void node_attach(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct session_state state;
	struct msg_attach attach;
	simpler_status status;
	uint64_t session;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_attach_decode(data, size, &bump, &attach);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = node_need_session(call, &session);
	if (status == SIMPLER_OK)
		status = sessions_attach(node_of(call)->sessions, session, attach.ttl_ms, &state);
	if (status == SIMPLER_OK)
		answer_attached(call, &state);
	else
		reply_error(call);
}

void node_detach(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_buffer buffer;
	uint64_t session;
	simpler_status status = node_need_session(call, &session);

	(void)data;
	(void)size;
	if (status == SIMPLER_OK) {
		sessions_detach(node_of(call)->sessions, session);
		status = msg_empty_encode(&buffer);
	}
	reply(call, status, &buffer);
}

simpler_status node_enter(struct rpc_call *call, uint64_t *session)
{
	simpler_status status = rpc_call_session(call, session);

	if (status != SIMPLER_OK)
		return status;
	status = sessions_enter(node_of(call)->sessions, *session);
	if (status != SIMPLER_OK)
		rpc_call_set_note(call, RPC_NOTE_NOT_RUN);
	return status;
}

void node_leave(const struct node *node, uint64_t session)
{
	sessions_leave(node->sessions, session);
}
