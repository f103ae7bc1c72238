/*
 * What a node is asked before it is given tasks: whether it is there, and to know callables.
 *
 * A request is one call after the other, the first begun by the thread that asks, the others on the
 * RPC client's thread:
 *
 *   PREPARE   by digest --it lacks the module--> again, with the module's bytes        (small ones)
 *                               `--------------> push the module, again by digest      (large ones)
 *   others    one call
 *
 * So a node that has the module is sent none of its bytes. Nothing waits for a connection that is
 * not there: a node that is gone is to fail a registration soon, which can be tried again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bump.h"
#include "base/clock.h"
#include "catalog/payload.h"
#include "exec/node_session.h"
#include "exec/remote_node.h"
#include "exec/remote_staging.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"
#include "simpler/version.h"

/* A module up to this size goes with the first payload that needs it. */
#define INLINE_MODULE_MAX ((size_t)1 << 20)
#define CHUNK_BYTES       ((size_t)1 << 20)

/* Loading runs constructors, for which a node has a limit of its own; a module of many bytes takes
 * its time to arrive. */
#define PREPARE_MS         60000u
#define PREPARE_MS_PER_MIB 100u
#define ANSWER_MS          10000u

/* --- connecting --- */

/* First of all nothing more is given to it. */
static void on_lost(void *context, const char *why)
{
	struct remote_child *node = context;

	if (node->child.listener)
		node->child.listener->lost(node->child.listener->context, &node->child);
	remote_lose(node, why);
	remote_lose_lane(node, why);
}

/* Until it knows all callables it stays away. */
static void on_returned(void *context)
{
	struct remote_child *node = context;

	if (node->child.listener)
		node->child.listener->returned(node->child.listener->context, &node->child);
	else
		remote_admit(&node->child, remote_life(&node->child), NULL);
}

static void on_changed(void *context)
{
	struct remote_child *node = context;

	remote_check_lane(node);
	if (node->child.listener)
		node->child.listener->changed(node->child.listener->context, &node->child);
}

static void on_beat(void *context)
{
	remote_staging_look(context);
	remote_look_for_lane(context);
}

bool remote_is_away(struct exec_child *child, char *why, size_t size)
{
	struct remote_child *node = (struct remote_child *)child;

	return node->attachment && node_session_is_away(node->attachment, why, size);
}

uint64_t remote_life(struct exec_child *child)
{
	struct remote_child *node = (struct remote_child *)child;

	return node->attachment ? node_session_life(node->attachment) : 0;
}

void remote_admit(struct exec_child *child, uint64_t life, const struct error *error)
{
	struct remote_child *node = (struct remote_child *)child;

	if (!error && remote_begin_turn(node)) {
		remote_share_memory_again(node, life);
		remote_rejoin_fabric(node, life);
		remote_end_turn(node);
	}
	node_session_admit(node->attachment, life, error);
}

simpler_status remote_connect(struct exec_child *child, int64_t deadline)
{
	static const struct node_events events = { on_lost, on_returned, on_changed, on_beat };
	struct remote_child *node = (struct remote_child *)child;
	const struct node_attach_options options = {
		.channel = node->channel,
		.name = child->name,
		.deadline = deadline,
		.events = &events,
		.context = node,
		.lanes = &node->lanes.offered,
	};
	simpler_status status = node_session_attach(node->session, &options, &node->attachment);

	if (status == SIMPLER_EDEADLINE)
		return error_raise(SIMPLER_EUNAVAILABLE,
		                   "%s does not answer: is simpler-l3d running there, and is the "
		                   "address right?",
		                   child->name);
	if (status != SIMPLER_OK)
		return error_context("attaching to %s", child->name);
	remote_share_memory(node);
	remote_join_fabric(node);
	return remote_open_lane(node, deadline);
}

/* --- callables --- */

struct asking {
	struct remote_child *node;
	struct exec_request *request;
	int64_t deadline;
	bool module_sent;
	/* While the module is pushed: */
	size_t pushed; /* bytes */
	bool closed;   /* and no more to come */
	bool failed;   /* here; `error` tells */
	struct error error;
};

static void prepare(struct asking *asking);

static void finish(struct asking *asking, const struct error *error)
{
	struct remote_child *node = asking->node;
	struct exec_request *request = asking->request;

	request->done(request, error);
	free(asking);
	remote_answered(node);
}

static void finish_failed(struct asking *asking, struct error *error)
{
	const struct exec_request *request = asking->request;
	const struct exec_callable *callable = request->callable;
	bool coming = request->wish == EXEC_PREPARE || request->wish == EXEC_COMMIT;

	error_add(error, "%s %s '%s' on %s", coming ? "registering" : "unregistering",
	          simpler_kind_name(callable->kind), callable->name, asking->node->child.name);
	finish(asking, error);
}

/* With this thread's last error. */
static void finish_here(struct asking *asking)
{
	struct error error;

	error_save(&error);
	finish_failed(asking, &error);
}

static void finish_answered(struct asking *asking, enum rpc_code code, const char *text)
{
	struct error error;

	if (code == RPC_OK) {
		finish(asking, NULL);
		return;
	}
	if (!text || text[0] == '\0')
		text = rpc_code_name(code);
	error_init_untrusted(&error, rpc_status_of(code), text, strlen(text));
	finish_failed(asking, &error);
}

static simpler_bytes signature_of(const struct exec_module *module)
{
	return module->is_signed ? (simpler_bytes){ module->signature, SIGNATURE_BYTES }
	                         : (simpler_bytes){ NULL, 0 };
}

/* --- a module that goes as a stream --- */

static simpler_status next_chunk(struct asking *asking, struct rpc_buffer *buffer)
{
	const struct exec_module *module = asking->request->callable->module;
	size_t left = module->size - asking->pushed;
	struct msg_module_chunk chunk = { .offset = asking->pushed };

	if (asking->pushed == 0) {
		chunk.digest.data = module->digest.bytes;
		chunk.digest.size = DIGEST_BYTES;
		chunk.nbytes = module->size;
		chunk.signature = signature_of(module);
	}
	chunk.data.data = module->bytes + asking->pushed;
	chunk.data.size = left < CHUNK_BYTES ? left : CHUNK_BYTES;
	asking->pushed += chunk.data.size;
	atomic_fetch_add(&asking->node->child.traffic.module_bytes, chunk.data.size);
	return msg_module_chunk_encode(&chunk, buffer);
}

static void on_chunk_sent(void *context, struct rpc_client_call *call)
{
	struct asking *asking = context;
	struct rpc_buffer buffer;

	if (asking->closed || asking->failed)
		return;
	if (asking->pushed == asking->request->callable->module->size) {
		asking->closed = true;
		rpc_stream_close_send(call);
	} else if (next_chunk(asking, &buffer) == SIMPLER_OK) {
		rpc_stream_send(call, &buffer);
	} else {
		asking->failed = true;
		error_save(&asking->error);
		rpc_client_call_cancel(call);
	}
}

/* The node has checked the digest, and the payload that follows names it. */
static void on_module_taken(void *context, struct rpc_client_call *call, const uint8_t *data,
                            size_t size)
{
	(void)context;
	(void)call;
	(void)data;
	(void)size;
}

static void on_push_end(void *context, enum rpc_code code, const char *text)
{
	struct asking *asking = context;

	if (asking->failed)
		finish_failed(asking, &asking->error);
	else if (code != RPC_OK)
		finish_answered(asking, code, text);
	else
		prepare(asking);
}

static void push_module(struct asking *asking)
{
	static const struct rpc_stream_handlers handlers = { .on_message = on_module_taken,
		                                             .on_sent = on_chunk_sent,
		                                             .on_end = on_push_end };
	struct rpc_client_call *call;
	struct rpc_buffer first;

	asking->module_sent = true;
	if (next_chunk(asking, &first) != SIMPLER_OK) {
		finish_here(asking);
		return;
	}
	call = rpc_client_call_create(asking->node->channel, MSG_PUSH_MODULE, asking->deadline);
	if (call) {
		rpc_stream_begin(call, &first, &handlers, asking);
		return;
	}
	rpc_buffer_release(&first);
	(void)error_raise(SIMPLER_ENOMEM, "out of memory for a call");
	finish_here(asking);
}

/* --- calls --- */

static simpler_status encode_callable(const struct exec_callable *callable, bool whole,
                                      struct rpc_buffer *buffer)
{
	const struct exec_module *module = callable->module;
	struct payload payload = {
		.kind = callable->kind,
		.abi = SIMPLER_CALLABLE_ABI,
		.origin = module->origin,
		.state = callable->state,
	};
	struct msg_callable message = {
		.callable_id = digest_id(&callable->digest),
		.version = digest_version(&callable->digest),
		.digest = { callable->digest.bytes, DIGEST_BYTES },
	};
	simpler_status status;
	uint8_t *bytes;

	payload.signature = signature_of(module);
	memcpy(payload.name, callable->name, sizeof(payload.name));
	if (whole)
		payload.module_bytes = (simpler_bytes){ module->bytes, module->size };
	message.payload.size = payload_size(&payload);
	bytes = malloc(message.payload.size);
	if (!bytes)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a payload");
	payload_encode(&payload, bytes);
	message.payload.data = bytes;
	status = msg_callable_encode(&message, buffer);
	free(bytes);
	return status;
}

static void call(struct asking *asking, const char *path, struct rpc_buffer *message,
                 rpc_done *done)
{
	rpc_unary(asking->node->channel, path, asking->deadline, false, message, done, asking);
}

static void on_whole_prepared(void *context, enum rpc_code code, const char *text,
                              const uint8_t *data, size_t size)
{
	(void)data;
	(void)size;
	finish_answered(context, code, text);
}

static void prepare_whole(struct asking *asking)
{
	const struct exec_callable *callable = asking->request->callable;
	struct rpc_buffer buffer;

	if (encode_callable(callable, true, &buffer) != SIMPLER_OK) {
		finish_here(asking);
		return;
	}
	atomic_fetch_add(&asking->node->child.traffic.module_bytes, callable->module->size);
	call(asking, MSG_PREPARE, &buffer, on_whole_prepared);
}

static void on_prepared(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                        size_t size)
{
	struct asking *asking = context;
	const struct exec_module *module = asking->request->callable->module;

	(void)data;
	(void)size;
	if (code != RPC_NOT_FOUND || asking->module_sent || module->origin.source != ORIGIN_MODULE)
		finish_answered(asking, code, text);
	else if (module->size <= INLINE_MODULE_MAX)
		prepare_whole(asking);
	else
		push_module(asking);
}

static void prepare(struct asking *asking)
{
	struct rpc_buffer buffer;

	if (encode_callable(asking->request->callable, false, &buffer) != SIMPLER_OK)
		finish_here(asking);
	else
		call(asking, MSG_PREPARE, &buffer, on_prepared);
}

static void on_answered(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                        size_t size)
{
	struct asking *asking = context;
	bool leaving = asking->request->wish != EXEC_COMMIT;

	(void)data;
	(void)size;
	/* What was to go is not there: never was, or went with its session. */
	if (leaving && (code == RPC_NOT_FOUND || code == RPC_FAILED_PRECONDITION))
		code = RPC_OK;
	finish_answered(asking, code, text);
}

static void ask_by_reference(struct asking *asking, const char *path)
{
	const struct digest *digest = &asking->request->callable->digest;
	const struct msg_callable_ref ref = { digest_id(digest), digest_version(digest) };
	struct rpc_buffer buffer;

	if (msg_callable_ref_encode(&ref, &buffer) != SIMPLER_OK)
		finish_here(asking);
	else
		call(asking, path, &buffer, on_answered);
}

static uint64_t time_to_prepare(const struct exec_callable *callable)
{
	return PREPARE_MS + PREPARE_MS_PER_MIB * (uint64_t)(callable->module->size >> 20);
}

static void begin(struct asking *asking)
{
	static const char *const paths[] = {
		[EXEC_COMMIT] = MSG_COMMIT,
		[EXEC_ABORT] = MSG_ABORT,
		[EXEC_WITHDRAW] = MSG_UNREGISTER,
	};
	const struct exec_request *request = asking->request;

	if (request->wish == EXEC_PREPARE) {
		asking->deadline = clock_after_ms(time_to_prepare(request->callable));
		prepare(asking);
	} else {
		asking->deadline = clock_after_ms(ANSWER_MS);
		ask_by_reference(asking, paths[request->wish]);
	}
}

void remote_ask(struct exec_child *child, struct exec_request *request)
{
	struct remote_child *node = (struct remote_child *)child;
	struct asking *asking = calloc(1, sizeof(*asking));
	struct error error;

	if (!asking) {
		error_init(&error, SIMPLER_ENOMEM, "out of memory for asking %s", child->name);
		request->done(request, &error);
		return;
	}
	asking->node = node;
	asking->request = request;
	remote_asks(node);
	begin(asking);
}

void remote_asks(struct remote_child *node)
{
	pthread_mutex_lock(&node->lock);
	node->asked++;
	pthread_mutex_unlock(&node->lock);
}

void remote_answered(struct remote_child *node)
{
	pthread_mutex_lock(&node->lock);
	if (--node->asked == 0)
		(void)pthread_cond_broadcast(&node->answered);
	pthread_mutex_unlock(&node->lock);
}

void remote_await_answers(struct remote_child *node)
{
	pthread_mutex_lock(&node->lock);
	while (node->asked > 0)
		(void)pthread_cond_wait(&node->answered, &node->lock);
	pthread_mutex_unlock(&node->lock);
}
