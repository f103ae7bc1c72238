/* Catalog: callables come in, are checked, stored and installed in the engine, and go out again. */
#include <stdlib.h>

#include "base/error.h"
#include "node/node.h"

/* --- PushCallable --- */

static void push_done(void *context, bool lost, const struct error *error)
{
	struct rpc_call *call = context;
	struct rpc_buffer buffer;

	if (error->status == SIMPLER_OK) {
		reply(call, msg_empty_encode(&buffer), &buffer);
		return;
	}
	error_restore(error);
	error_context(lost ? "node '%s': the callable is not installed; push it again, unless "
	                     "loading it ends the engine"
	                   : "node '%s' cannot load the callable",
	              node_of(call)->id);
	reply_error(call);
}

static simpler_status push(struct node *node, struct rpc_call *call, const uint8_t *data,
                           size_t size, struct bump *bump)
{
	struct catalog_entry entry;
	struct msg_callable callable;
	simpler_status status = msg_callable_decode(data, size, bump, &callable);
	bool fresh;

	if (status != SIMPLER_OK)
		return status;
	status = catalog_offer(node->catalog, callable.callable_id, callable.version,
	                       callable.payload, &entry, &fresh);
	if (status != SIMPLER_OK)
		return status;
	/* Known or not, pending or visible: who waits is told once it is visible. */
	return engine_client_install(node->engine, entry.key, push_done, call);
}

static void push_callable(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct bump bump;
	simpler_status status;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = push(node_of(call), call, data, size, &bump);
	bump_release(&bump);
	if (status != SIMPLER_OK)
		reply_error(call);
}

/* --- PullCallable --- */

/* The answer carries the resolved version and, in the payload, everything the digest is of. */
static simpler_status encode_callable(const struct catalog_entry *entry, struct rpc_buffer *out)
{
	struct msg_callable message = { .callable_id = entry->callable_id,
		                        .version = entry->version,
		                        .digest = { entry->digest.bytes, DIGEST_BYTES } };
	size_t size = payload_size(&entry->payload);
	uint8_t *bytes = malloc(size);
	simpler_status status;

	if (!bytes)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a callable of %zu bytes",
		                   size);
	payload_encode(&entry->payload, bytes);
	message.payload = (simpler_bytes){ bytes, size };
	status = msg_callable_encode(&message, out);
	free(bytes);
	return status;
}

static void pull_callable(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct catalog_entry entry;
	struct msg_callable_ref ref;
	struct rpc_buffer buffer;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_callable_ref_decode(data, size, &bump, &ref);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = catalog_find(node_of(call)->catalog, ref.callable_id, ref.version, &entry);
	if (status == SIMPLER_OK)
		status = encode_callable(&entry, &buffer);
	reply(call, status, &buffer);
}

const struct rpc_method node_catalog_methods[NODE_CATALOG_METHODS] = {
	{ .path = MSG_PUSH_CALLABLE, .on_message = push_callable },
	{ .path = MSG_PULL_CALLABLE, .on_message = pull_callable },
};
