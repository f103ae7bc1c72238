/* What a node is asked before it is given tasks: whether it is there, and to know callables. */
#include <stdlib.h>
#include <string.h>

#include "base/bump.h"
#include "base/clock.h"
#include "catalog/payload.h"
#include "exec/remote_node.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"
#include "simpler/version.h"

#define INSTALL_DEADLINE_MS 60000u

/* --- connecting --- */

simpler_status remote_connect(struct exec_child *child, int64_t deadline)
{
	struct remote_child *node = (struct remote_child *)child;
	struct msg_health health;
	struct rpc_buffer buffer;
	struct bump bump;
	simpler_status status;
	uint8_t *answer;
	size_t size;

	status = msg_empty_encode(&buffer);
	if (status == SIMPLER_OK)
		status = rpc_unary_wait(node->channel, MSG_HEARTBEAT, deadline, true, &buffer,
		                        &answer, &size);
	if (status != SIMPLER_OK)
		return error_raise(SIMPLER_EUNAVAILABLE,
		                   "%s does not answer: is simpler-l3d running there, and is the "
		                   "address right?",
		                   child->name);
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_health_decode(answer, size, &bump, &health);
	if (status == SIMPLER_OK && !health.ok)
		status = error_raise(SIMPLER_EUNAVAILABLE, "%s is not well: %s", child->name,
		                     health.message);
	bump_release(&bump);
	free(answer);
	return status;
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
