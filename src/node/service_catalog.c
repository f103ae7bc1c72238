/*
 * Catalog: callables come in, are checked, stored and installed in the engine, have owners, and go
 * out again. There is one way in: a push is a prepare that commits itself.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/inject.h"
#include "node/node.h"

static simpler_status decode_ref(const uint8_t *data, size_t size, struct msg_callable_ref *out)
{
	struct bump bump;
	simpler_status status;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_callable_ref_decode(data, size, &bump, out);
	bump_release(&bump);
	return status;
}

static simpler_status decode_ref_in(struct rpc_call *call, const uint8_t *data, size_t size,
                                    struct msg_callable_ref *out, uint64_t *session)
{
	simpler_status status = decode_ref(data, size, out);

	return status == SIMPLER_OK ? node_enter(call, session) : status;
}

static void reply_empty(struct rpc_call *call)
{
	struct rpc_buffer buffer;

	reply(call, msg_empty_encode(&buffer), &buffer);
}

static void free_state(struct rpc_call *call, bool cancelled)
{
	(void)cancelled;
	free(rpc_call_state(call));
}

/* --- PrepareCallable, PushCallable: the call's state is what is answered --- */

struct registration {
	struct msg_callable_ref ref;
	bool commit;
};

static void reply_registered(struct rpc_call *call)
{
	const struct registration *registration = rpc_call_state(call);
	struct rpc_buffer buffer;

	(void)INJECT("catalog.registered");
	if (registration->commit)
		reply_empty(call);
	else
		reply(call, msg_callable_ref_encode(&registration->ref, &buffer), &buffer);
}

static void register_done(void *context, bool lost, const struct error *error)
{
	struct rpc_call *call = context;
	struct node *node = node_of(call);

	if (error->status == SIMPLER_OK) {
		node_look_at(node, clock_after_ms(CATALOG_PREPARED_MS));
		reply_registered(call);
		return;
	}
	error_restore(error);
	error_context(lost ? "node '%s': the callable is not installed; push it again, unless "
	                     "loading it ends the engine"
	                   : "node '%s' cannot load the callable",
	              node->id);
	reply_error(call);
}

static simpler_status offer(struct rpc_call *call, const struct msg_callable *callable, bool commit)
{
	struct catalog_offering offering = {
		.callable_id = callable->callable_id,
		.version = callable->version,
		.digest = callable->digest,
		.payload = callable->payload,
		.commit = commit,
	};
	struct registration *registration = malloc(sizeof(*registration));
	struct node *node = node_of(call);
	struct catalog_entry entry;
	simpler_status status;
	bool fresh;

	if (!registration)
		return error_raise(SIMPLER_ENOMEM, "out of memory for registering a callable");
	rpc_call_set_state(call, registration);
	if (!commit && INJECT("catalog.prepare"))
		return error_raise(SIMPLER_ENOMEM, "a callable is refused for a test");
	status = node_enter(call, &offering.session);
	if (status != SIMPLER_OK)
		return status;
	status = catalog_offer(node->catalog, &offering, &entry, &fresh);
	node_leave(node, offering.session);
	if (status != SIMPLER_OK)
		return status;
	registration->commit = commit;
	registration->ref = (struct msg_callable_ref){ entry.callable_id, entry.version };
	/* Known or not, pending or loaded: who waits is told once it is loaded. */
	return engine_client_install(node->engine, entry.key, register_done, call);
}

static void take_callable(struct rpc_call *call, const uint8_t *data, size_t size, bool commit)
{
	struct msg_callable callable;
	struct bump bump;
	simpler_status status;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_callable_decode(data, size, &bump, &callable);
	if (status == SIMPLER_OK)
		status = offer(call, &callable, commit);
	bump_release(&bump);
	if (status != SIMPLER_OK)
		reply_error(call);
}

static void prepare_callable(struct rpc_call *call, const uint8_t *data, size_t size)
{
	take_callable(call, data, size, false);
}

static void push_callable(struct rpc_call *call, const uint8_t *data, size_t size)
{
	take_callable(call, data, size, true);
}

/* --- CommitCallable, AbortCallable --- */

typedef simpler_status decision(struct catalog *catalog, uint64_t session, uint64_t callable_id,
                                uint64_t version);

static void decide(struct rpc_call *call, const uint8_t *data, size_t size, decision *decide_it)
{
	struct msg_callable_ref ref;
	struct node *node = node_of(call);
	uint64_t session;
	simpler_status status = decode_ref_in(call, data, size, &ref, &session);

	if (status == SIMPLER_OK) {
		status = decide_it(node->catalog, session, ref.callable_id, ref.version);
		node_leave(node, session);
	}
	if (status == SIMPLER_OK)
		reply_empty(call);
	else
		reply_error(call);
}

static void commit_callable(struct rpc_call *call, const uint8_t *data, size_t size)
{
	(void)INJECT("catalog.commit");
	decide(call, data, size, catalog_commit);
	(void)INJECT("catalog.committed");
}

static void abort_callable(struct rpc_call *call, const uint8_t *data, size_t size)
{
	(void)INJECT("catalog.abort");
	decide(call, data, size, catalog_abort);
}

/* --- UnregisterCallable: answered when nothing of it is in flight any more --- */

struct parting {
	struct catalog_waiter waiter; /* first, so that a pointer to it is one to the parting */
	struct rpc_call *call;
};

static void parting_over(struct catalog_waiter *waiter)
{
	reply_empty(((struct parting *)waiter)->call);
}

static simpler_status part(struct rpc_call *call, const uint8_t *data, size_t size, bool *waits)
{
	struct parting *parting = calloc(1, sizeof(*parting));
	struct node *node = node_of(call);
	struct msg_callable_ref ref;
	uint64_t session;
	simpler_status status;

	if (!parting)
		return error_raise(SIMPLER_ENOMEM, "out of memory for unregistering a callable");
	rpc_call_set_state(call, parting);
	status = decode_ref_in(call, data, size, &ref, &session);
	if (status != SIMPLER_OK)
		return status;
	parting->waiter.done = parting_over;
	parting->call = call;
	status = catalog_unregister(node->catalog, session, ref.callable_id, ref.version,
	                            &parting->waiter, waits);
	node_leave(node, session);
	return status;
}

static void unregister_callable(struct rpc_call *call, const uint8_t *data, size_t size)
{
	bool waits = false;

	(void)INJECT("catalog.unregister");
	if (part(call, data, size, &waits) != SIMPLER_OK)
		reply_error(call);
	else if (!waits)
		reply_empty(call);
}

/* It stays unregistered. */
static void unregister_cancelled(struct rpc_call *call)
{
	struct parting *parting = rpc_call_state(call);

	if (catalog_stop_waiting(node_of(call)->catalog, &parting->waiter))
		rpc_finish(call, RPC_CANCELLED, "the client does not wait any more", NULL);
}

/* --- PullCallable --- */

/* The answer carries the resolved version and, in the payload, everything the digest is of. */
static simpler_status encode_callable(const struct catalog_entry *entry, struct rpc_buffer *out)
{
	struct msg_callable message = { .callable_id = entry->callable_id,
		                        .version = entry->version,
		                        .digest = { entry->digest.bytes, DIGEST_BYTES } };
	const struct payload payload = catalog_payload(entry);
	size_t size = payload_size(&payload);
	uint8_t *bytes = malloc(size);
	simpler_status status;

	if (!bytes)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a callable of %zu bytes",
		                   size);
	payload_encode(&payload, bytes);
	message.payload = (simpler_bytes){ bytes, size };
	status = msg_callable_encode(&message, out);
	free(bytes);
	return status;
}

static void pull_callable(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct catalog *catalog = node_of(call)->catalog;
	struct catalog_entry entry;
	struct msg_callable_ref ref;
	struct rpc_buffer buffer;
	simpler_status status = decode_ref(data, size, &ref);

	if (status == SIMPLER_OK)
		status = catalog_find(catalog, ref.callable_id, ref.version, &entry);
	if (status == SIMPLER_OK) {
		status = encode_callable(&entry, &buffer);
		catalog_unpin(catalog, entry.key);
	}
	reply(call, status, &buffer);
}

/* Slow, as libraries and stored modules are read from files, and modules that came in messages are
 * digested; all of them, so that what a client asks for comes in that order. */
const struct rpc_method node_catalog_methods[NODE_CATALOG_METHODS] = {
	{ .path = MSG_PUSH_CALLABLE,
	  .slow = true,
	  .on_message = push_callable,
	  .on_end = free_state },
	{ .path = MSG_PULL_CALLABLE, .slow = true, .on_message = pull_callable },
	{ .path = MSG_PREPARE, .slow = true, .on_message = prepare_callable, .on_end = free_state },
	{ .path = MSG_COMMIT, .slow = true, .on_message = commit_callable },
	{ .path = MSG_ABORT, .slow = true, .on_message = abort_callable },
	{ .path = MSG_UNREGISTER,
	  .slow = true,
	  .on_message = unregister_callable,
	  .on_cancel = unregister_cancelled,
	  .on_end = free_state },
};
