/* What a node is asked before it is given tasks: whether it is there, and to know callables. */
#include <stdlib.h>
#include <string.h>

#include "base/bump.h"
#include "base/clock.h"
#include "catalog/payload.h"
#include "exec/node_session.h"
#include "exec/remote_node.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"
#include "simpler/version.h"

#define INSTALL_DEADLINE_MS 60000u

/* --- connecting --- */

simpler_status remote_connect(struct exec_child *child, int64_t deadline)
{
	struct remote_child *node = (struct remote_child *)child;
	simpler_status status =
		node_session_attach(node->session, node->channel, child->name, deadline);

	if (status == SIMPLER_EUNAVAILABLE || status == SIMPLER_EDEADLINE)
		return error_raise(SIMPLER_EUNAVAILABLE,
		                   "%s does not answer: is simpler-l3d running there, and is the "
		                   "address right?",
		                   child->name);
	return status == SIMPLER_OK ? SIMPLER_OK : error_context("attaching to %s", child->name);
}

/* --- callables --- */

static simpler_status push_payload(struct remote_child *node, const struct exec_callable *callable,
                                   bool whole)
{
	struct payload payload = {
		.kind = callable->kind,
		.abi = SIMPLER_CALLABLE_ABI,
		.origin = { .source = ORIGIN_MODULE, .module = callable->module->digest },
		.state = callable->state,
	};
	struct msg_callable message = {
		.callable_id = digest_id(&callable->digest),
		.version = digest_version(&callable->digest),
	};
	struct rpc_buffer buffer;
	simpler_status status;
	uint8_t *bytes, *answer;
	size_t answer_size;

	if (callable->module->is_signed)
		payload.signature = (simpler_bytes){ callable->module->signature, SIGNATURE_BYTES };
	memcpy(payload.name, callable->name, sizeof(payload.name));
	if (whole) {
		payload.module_bytes.data = callable->module->bytes;
		payload.module_bytes.size = callable->module->size;
	}
	message.payload.size = payload_size(&payload);
	bytes = malloc(message.payload.size);
	if (!bytes)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a payload");
	payload_encode(&payload, bytes);
	message.payload.data = bytes;
	status = msg_callable_encode(&message, &buffer);
	free(bytes);
	if (status != SIMPLER_OK)
		return status;
	status = rpc_unary_wait(node->channel, MSG_PUSH_CALLABLE,
	                        clock_after_ms(INSTALL_DEADLINE_MS), true, &buffer, &answer,
	                        &answer_size);
	if (status == SIMPLER_OK)
		free(answer);
	return status;
}

/* A node that has the module already is sent no module bytes. */
simpler_status remote_install(struct exec_child *child, const struct exec_callable *callable)
{
	struct remote_child *node = (struct remote_child *)child;
	simpler_status status = push_payload(node, callable, false);

	if (status == SIMPLER_ENOTFOUND)
		status = push_payload(node, callable, true);
	if (status != SIMPLER_OK)
		return error_context("registering %s '%s' on %s", simpler_kind_name(callable->kind),
		                     callable->name, child->name);
	return SIMPLER_OK;
}
