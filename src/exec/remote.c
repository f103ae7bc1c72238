/*
 * A task on a remote node, step by step:
 *
 *   ALLOCATE each staged tensor's storage, and SEND its bytes if its tag reads them
 *   DISPATCH
 *   FETCH each staged tensor that the task wrote, if it succeeded
 *   FREE what was allocated, whatever happened
 *
 * One step's call is in progress at a time and its completion begins the next, on the RPC client's
 * thread; the first step begins in the thread that starts the task. A task without staged tensors
 * is a DISPATCH alone. Storage whose FREE fails goes when its lease ends.
 *
 * Results are written to the caller's memory only after the task has succeeded: inline ones come
 * with the answer, staged ones are fetched into their place. A fetch that fails is the task's
 * failure, and its message says that the buffer may be half-written.
 *
 * A task that is stopped has its present call cancelled, and begins no other but those that FREE.
 * The node hears of a cancelled dispatch, and keeps its tensors until the code that ran has ended,
 * so freeing them meanwhile is safe. Storage that the node had made when the call that asks for it
 * was cancelled, and whose handle did not arrive, goes when its lease ends. stop() comes at any
 * moment: each call is created and noted under the child's lock, with a look at `stopped`, before
 * it is begun, and forgotten under it in the callback that ends it; stop() cancels under the lock
 * what it finds noted. So a call is cancelled by the one or by the other, and never after its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/bump.h"
#include "base/clock.h"
#include "exec/node_session.h"
#include "exec/remote_node.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"

#define CHUNK_BYTES ((uint64_t)1 << 20)
/* A task that was stopped waits no longer than this until its storage is free; the leases do it. */
#define STOPPED_FREE_MS 1000u

enum step { STEP_ALLOCATE, STEP_DISPATCH, STEP_FETCH, STEP_FREE };

struct remote_task {
	struct remote_child *node;
	struct exec_task *task;
	enum step step;
	uint32_t tensor; /* the one that the step is at */
	bool failed;
	struct error error;
	uint64_t moved; /* bytes of the present tensor sent or received */
	bool closed;    /* the last chunk was sent */
	/* Under the child's lock: */
	struct remote_task *prev, *next;
	uint64_t id;                  /* the task's */
	_Atomic bool stopped;         /* set once; looked at without the lock as well */
	struct rpc_client_call *call; /* in progress, and to be cancelled by a stop; or NULL */
	/* Storage on the node, by tensor; handle_id 0 where there is none. */
	struct msg_handle handles[];
};

/* --- calls that a stop cancels --- */

/* NULL, with the failure noted, when memory is out. To be begun by the caller in any case. */
static struct rpc_client_call *open_call(struct remote_task *run, const char *path,
                                         int64_t deadline)
{
	struct remote_child *node = run->node;
	struct rpc_client_call *call = rpc_client_call_create(node->channel, path, deadline);

	if (!call)
		return NULL;
	pthread_mutex_lock(&node->lock);
	run->call = call;
	if (atomic_load(&run->stopped))
		rpc_client_call_cancel(call);
	pthread_mutex_unlock(&node->lock);
	return call;
}

/* In the callback that reports its end. */
static void call_ended(struct remote_task *run)
{
	pthread_mutex_lock(&run->node->lock);
	run->call = NULL;
	pthread_mutex_unlock(&run->node->lock);
}

static void stop_run(struct remote_task *run)
{
	atomic_store(&run->stopped, true);
	if (run->call)
		rpc_client_call_cancel(run->call);
}

static void remote_stop(struct exec_child *child, uint64_t task, int64_t kill_at)
{
	struct remote_child *node = (struct remote_child *)child;
	struct remote_task *run;

	(void)kill_at; /* the node has a grace period of its own */
	pthread_mutex_lock(&node->lock);
	DL_SEARCH_SCALAR(node->running, run, id, task);
	if (run && !atomic_load(&run->stopped))
		stop_run(run);
	pthread_mutex_unlock(&node->lock);
}

/* A dispatch is the node's from its first call on. */
static struct exec_task *remote_retract(struct exec_child *child, uint64_t task_or_0)
{
	(void)child;
	(void)task_or_0;
	return NULL;
}

/* Begin what comes next. What begins a call returns true: the call's end goes on from there, in
 * another thread and perhaps already, so the caller looks at `run` no more. */
static void advance(struct remote_task *run);

/* --- failing --- */

static void fail(struct remote_task *run, enum rpc_code code, const char *text)
{
	if (run->failed)
		return;
	run->failed = true;
	if (!text || text[0] == '\0')
		text = rpc_code_name(code);
	error_init_untrusted(&run->error, rpc_status_of(code), text, strlen(text));
}

static void fail_here(struct remote_task *run)
{
	if (run->failed)
		return;
	run->failed = true;
	error_save(&run->error);
}

static void begin_freeing(struct remote_task *run)
{
	run->step = STEP_FREE;
	run->tensor = 0;
}

/* Nothing could be begun. Storage that was made is given back first. */
static bool give_up(struct remote_task *run)
{
	fail_here(run);
	begin_freeing(run);
	return false;
}

static bool give_up_for_memory(struct remote_task *run)
{
	(void)error_raise(SIMPLER_ENOMEM, "out of memory for a call");
	return give_up(run);
}

/* The message is handed over. */
static bool begin_unary(struct remote_task *run, const char *path, int64_t deadline,
                        struct rpc_buffer *message, rpc_done *done)
{
	struct rpc_client_call *call = open_call(run, path, deadline);

	if (!call) {
		rpc_buffer_release(message);
		return give_up_for_memory(run);
	}
	rpc_unary_begin(call, false, message, done, run);
	return true;
}

static bool begin_stream(struct remote_task *run, const char *path, struct rpc_buffer *first,
                         const struct rpc_stream_handlers *handlers)
{
	struct rpc_client_call *call = open_call(run, path, CLOCK_NEVER);

	if (!call) {
		rpc_buffer_release(first);
		return give_up_for_memory(run);
	}
	rpc_stream_begin(call, first, handlers, run);
	return true;
}

static bool is_staged(const struct exec_tensor *tensor)
{
	return tensor->backing == SIMPLER_STAGED;
}

static void describe_shape(const struct exec_tensor *tensor, struct msg_shape *out)
{
	out->ndim = tensor->ndim;
	memcpy(out->shape, tensor->shape, tensor->ndim * sizeof(out->shape[0]));
	out->dtype = (simpler_dtype)tensor->dtype;
	out->tag = (simpler_tag)tensor->tag;
}

/* --- ALLOCATE and SEND --- */

/* A handle came back: from AllocTensor, or from PushTensor at its end. */
static void take_handle(struct remote_task *run, const uint8_t *data, size_t size)
{
	const struct exec_tensor *tensor = &run->task->tensors[run->tensor];
	struct msg_handle *handle = &run->handles[run->tensor];
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_handle_decode(data, size, &bump, handle) != SIMPLER_OK) {
		handle->handle_id = 0;
		fail_here(run);
	} else if (handle->handle_id == 0 || handle->nbytes != tensor->nbytes) {
		fail(run, RPC_INTERNAL, "the node allocated storage of another size than asked");
	}
	handle->transport_desc.size = 0; /* it pointed into the message */
	bump_release(&bump);
}

static void on_allocated(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                         size_t size)
{
	struct remote_task *run = context;

	call_ended(run);
	if (code != RPC_OK)
		fail(run, code, text);
	else
		take_handle(run, data, size);
	if (run->failed)
		begin_freeing(run);
	else
		run->tensor++;
	advance(run);
}

static bool allocate(struct remote_task *run, const struct exec_tensor *tensor)
{
	struct msg_alloc message = { .nbytes = tensor->nbytes };
	struct rpc_buffer buffer;

	describe_shape(tensor, &message.shape);
	if (msg_alloc_encode(&message, &buffer) != SIMPLER_OK)
		return give_up(run);
	return begin_unary(run, MSG_ALLOC_TENSOR, CLOCK_NEVER, &buffer, on_allocated);
}

static simpler_status next_chunk(struct remote_task *run, struct rpc_buffer *buffer)
{
	const struct exec_tensor *tensor = &run->task->tensors[run->tensor];
	uint64_t left = tensor->nbytes - run->moved;
	struct msg_chunk chunk = { .offset = run->moved };

	/* The first chunk asks for storage with a handle of id 0; the others continue it. */
	chunk.has_handle = run->moved == 0;
	chunk.handle.nbytes = tensor->nbytes;
	chunk.data.data = (const uint8_t *)tensor->data + run->moved;
	chunk.data.size = (size_t)(left < CHUNK_BYTES ? left : CHUNK_BYTES);
	chunk.last = chunk.data.size == left;
	run->moved += chunk.data.size;
	return msg_chunk_encode(&chunk, buffer);
}

static void on_chunk_sent(void *context, struct rpc_client_call *call)
{
	struct remote_task *run = context;
	struct rpc_buffer buffer;

	if (run->closed || run->failed)
		return;
	if (run->moved == run->task->tensors[run->tensor].nbytes) {
		run->closed = true;
		rpc_stream_close_send(call);
	} else if (next_chunk(run, &buffer) == SIMPLER_OK) {
		rpc_stream_send(call, &buffer);
	} else {
		fail_here(run);
		rpc_client_call_cancel(call);
	}
}

static void on_pushed(void *context, struct rpc_client_call *call, const uint8_t *data, size_t size)
{
	(void)call;
	take_handle(context, data, size);
}

static void on_push_end(void *context, enum rpc_code code, const char *text)
{
	struct remote_task *run = context;

	call_ended(run);
	if (code != RPC_OK)
		fail(run, code, text);
	else if (run->handles[run->tensor].handle_id == 0)
		fail(run, RPC_INTERNAL, "the node ended a push without a handle");
	if (run->failed)
		begin_freeing(run);
	else
		run->tensor++;
	advance(run);
}

static bool push(struct remote_task *run)
{
	static const struct rpc_stream_handlers handlers = { .on_message = on_pushed,
		                                             .on_sent = on_chunk_sent,
		                                             .on_end = on_push_end };
	struct rpc_buffer first;

	run->moved = 0;
	run->closed = false;
	if (next_chunk(run, &first) != SIMPLER_OK)
		return give_up(run);
	return begin_stream(run, MSG_PUSH_TENSOR, &first, &handlers);
}

static bool allocate_next(struct remote_task *run)
{
	const struct exec_tensor *tensor = &run->task->tensors[run->tensor];

	if (!is_staged(tensor)) {
		run->tensor++;
		return false;
	}
	return exec_tag_reads(tensor->tag) && tensor->nbytes > 0 ? push(run)
	                                                         : allocate(run, tensor);
}

/* --- DISPATCH --- */

static void describe_tensor(const struct remote_task *run, uint32_t index,
                            struct msg_tensor_ref *out)
{
	const struct exec_tensor *tensor = &run->task->tensors[index];

	memset(out, 0, sizeof(*out));
	describe_shape(tensor, &out->shape);
	out->is_handle = is_staged(tensor);
	if (out->is_handle) {
		out->handle = run->handles[index];
	} else if (exec_tag_reads(tensor->tag)) {
		out->inline_data.data = tensor->data;
		out->inline_data.size = (size_t)tensor->nbytes;
	}
}

static void take_error(struct remote_task *run, const struct msg_outcome *outcome)
{
	int32_t code = outcome->error_code;

	run->failed = true;
	error_init_untrusted(&run->error, code > 0 ? (simpler_status)code : SIMPLER_EUSER,
	                     outcome->error_msg, strlen(outcome->error_msg));
	/* The traceback is outermost first and ends with the cause, which error_msg is already. */
	for (uint32_t i = outcome->line_count; i-- > 0;) {
		const char *line = outcome->lines[i];

		if (i + 1 < outcome->line_count || strcmp(line, outcome->error_msg) != 0)
			error_add_untrusted(&run->error, line, strlen(line));
	}
}

/* The outputs come in argument order, one for each tensor the task wrote. */
static void take_outputs(struct remote_task *run, const struct msg_outcome *outcome)
{
	const struct exec_task *task = run->task;
	uint32_t written = 0, next = 0;

	for (uint32_t i = 0; i < task->tensor_count; i++)
		written += exec_tag_writes(task->tensors[i].tag);
	if (written != outcome->output_count) {
		fail(run, RPC_INTERNAL, "the node answered with another number of outputs");
		return;
	}
	for (uint32_t i = 0; i < task->tensor_count; i++) {
		const struct exec_tensor *tensor = &task->tensors[i];
		const struct msg_tensor_ref *output = &outcome->outputs[next];

		if (!exec_tag_writes(tensor->tag))
			continue;
		next++;
		if (!is_staged(tensor) &&
		    (output->is_handle || output->inline_data.size != tensor->nbytes)) {
			fail(run, RPC_INTERNAL, "the node answered with an output of another size");
			return;
		}
	}
}

static void copy_inline_outputs(const struct exec_task *task, const struct msg_outcome *outcome)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < task->tensor_count; i++) {
		const struct exec_tensor *tensor = &task->tensors[i];

		if (!exec_tag_writes(tensor->tag))
			continue;
		if (!is_staged(tensor) && tensor->nbytes > 0)
			memcpy(tensor->data, outcome->outputs[next].inline_data.data,
			       (size_t)tensor->nbytes);
		next++;
	}
}

static void take_outcome(struct remote_task *run, const uint8_t *data, size_t size)
{
	struct msg_outcome outcome;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_outcome_decode(data, size, &bump, &outcome) != SIMPLER_OK)
		fail_here(run);
	else if (outcome.task_id != run->task->id)
		fail(run, RPC_INTERNAL, "the node answered for another task");
	else if (outcome.error_code != 0)
		take_error(run, &outcome);
	else
		take_outputs(run, &outcome);
	if (!run->failed)
		copy_inline_outputs(run->task, &outcome);
	bump_release(&bump);
}

static void on_outcome(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                       size_t size)
{
	struct remote_task *run = context;

	call_ended(run);
	if (code != RPC_OK)
		fail(run, code, text);
	else
		take_outcome(run, data, size);
	if (code == RPC_NOT_FOUND)
		error_add(&run->error,
		          "it knew it before, so its daemon was started anew since; close "
		          "this worker and make another");
	run->step = run->failed ? STEP_FREE : STEP_FETCH;
	run->tensor = 0;
	advance(run);
}

static bool dispatch(struct remote_task *run)
{
	const struct exec_task *task = run->task;
	struct msg_dispatch message;
	struct rpc_buffer buffer;

	message.task_id = task->id;
	message.callable_id = digest_id(&task->callable->digest);
	message.callable_version = digest_version(&task->callable->digest);
	message.config = *task->config;
	message.scalar_count = task->scalar_count;
	message.tensor_count = task->tensor_count;
	if (task->scalar_count > 0)
		memcpy(message.scalars, task->scalars, task->scalar_count * sizeof(uint64_t));
	for (uint32_t i = 0; i < task->tensor_count; i++)
		describe_tensor(run, i, &message.tensors[i]);
	message.digest.data = task->callable->digest.bytes;
	message.digest.size = DIGEST_BYTES;
	message.kind = task->callable->kind;
	if (msg_dispatch_encode(&message, &buffer) != SIMPLER_OK)
		return give_up(run);
	/* With the deadline the node ends the task by itself, should this process be cut off. */
	return begin_unary(run, MSG_DISPATCH, task->deadline, &buffer, on_outcome);
}

/* --- FETCH --- */

static void on_fetched(void *context, struct rpc_client_call *call, const uint8_t *data,
                       size_t size)
{
	struct remote_task *run = context;
	const struct exec_tensor *tensor = &run->task->tensors[run->tensor];
	struct msg_chunk chunk;
	struct bump bump;

	if (run->failed)
		return;
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_chunk_decode(data, size, &bump, &chunk) != SIMPLER_OK)
		fail_here(run);
	else if (chunk.offset != run->moved || chunk.data.size > tensor->nbytes - run->moved)
		fail(run, RPC_INTERNAL, "the node sent a chunk out of place");
	if (run->failed) {
		rpc_client_call_cancel(call);
	} else if (chunk.data.size > 0) {
		memcpy((uint8_t *)tensor->data + run->moved, chunk.data.data, chunk.data.size);
		run->moved += chunk.data.size;
	}
	bump_release(&bump);
}

static void on_fetch_sent(void *context, struct rpc_client_call *call)
{
	(void)context;
	rpc_stream_close_send(call);
}

static void on_fetch_end(void *context, enum rpc_code code, const char *text)
{
	struct remote_task *run = context;

	call_ended(run);
	if (code != RPC_OK)
		fail(run, code, text);
	else if (run->moved != run->task->tensors[run->tensor].nbytes)
		fail(run, RPC_DATA_LOSS, "the node sent fewer bytes than the tensor has");
	if (run->failed) {
		error_add(&run->error, "fetching tensor %u, whose buffer may be half-written",
		          run->tensor);
		begin_freeing(run);
	} else {
		run->tensor++;
	}
	advance(run);
}

static bool fetch_next(struct remote_task *run)
{
	static const struct rpc_stream_handlers handlers = { .on_message = on_fetched,
		                                             .on_sent = on_fetch_sent,
		                                             .on_end = on_fetch_end };
	const struct exec_tensor *tensor = &run->task->tensors[run->tensor];
	struct rpc_buffer buffer;

	if (!is_staged(tensor) || !exec_tag_writes(tensor->tag)) {
		run->tensor++;
		return false;
	}
	run->moved = 0;
	if (msg_handle_encode(&run->handles[run->tensor], &buffer) != SIMPLER_OK)
		return give_up(run);
	return begin_stream(run, MSG_PULL_TENSOR, &buffer, &handlers);
}

/* --- FREE, and the end --- */

static void on_freed(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                     size_t size)
{
	struct remote_task *run = context;

	/* Freeing is a kindness to the node; if it failed, the lease ends what is left. */
	(void)code;
	(void)text;
	(void)data;
	(void)size;
	run->tensor++;
	advance(run);
}

/* Not cancelled by a stop; but what was stopped ends soon, also when the node does not answer. */
static bool free_next(struct remote_task *run)
{
	int64_t deadline =
		atomic_load(&run->stopped) ? clock_after_ms(STOPPED_FREE_MS) : CLOCK_NEVER;
	struct rpc_buffer buffer;

	if (run->handles[run->tensor].handle_id == 0 ||
	    msg_free_encode(&run->handles[run->tensor], &buffer) != SIMPLER_OK) {
		run->tensor++;
		return false;
	}
	rpc_unary(run->node->channel, MSG_FREE_TENSOR, deadline, false, &buffer, on_freed, run);
	return true;
}

static void finish(struct remote_task *run)
{
	struct remote_child *node = run->node;
	struct exec_task *task = run->task;
	struct error error;
	bool failed = run->failed;

	pthread_mutex_lock(&node->lock);
	DL_DELETE(node->running, run);
	pthread_mutex_unlock(&node->lock);
	if (failed)
		error = run->error;
	free(run);
	task->done(task, failed ? &error : NULL);
}

/* True when somebody else goes on, or nobody has to. */
static bool next(struct remote_task *run)
{
	bool more;

	if (run->step != STEP_FREE && atomic_load(&run->stopped)) {
		fail(run, RPC_CANCELLED, "it was stopped");
		begin_freeing(run);
	}
	more = run->tensor < run->task->tensor_count;
	switch (run->step) {
	case STEP_ALLOCATE:
		if (more)
			return allocate_next(run);
		run->step = STEP_DISPATCH;
		return false;
	case STEP_DISPATCH:
		return dispatch(run);
	case STEP_FETCH:
		if (more)
			return fetch_next(run);
		begin_freeing(run);
		return false;
	case STEP_FREE:
		if (more)
			return free_next(run);
		break;
	}
	finish(run);
	return true;
}

static void advance(struct remote_task *run)
{
	while (!next(run))
		;
}

static bool any_staged(const struct exec_task *task)
{
	for (uint32_t i = 0; i < task->tensor_count; i++) {
		if (is_staged(&task->tensors[i]))
			return true;
	}
	return false;
}

static void remote_start(struct exec_child *child, struct exec_task *task)
{
	struct remote_child *node = (struct remote_child *)child;
	size_t handles = task->tensor_count * sizeof(struct msg_handle);
	struct remote_task *run = malloc(sizeof(*run) + handles);
	struct error error;

	if (!run) {
		error_init(&error, SIMPLER_ENOMEM, "out of memory for a dispatch");
		task->done(task, &error);
		return;
	}
	run->node = node;
	run->task = task;
	run->tensor = 0;
	run->failed = false;
	memset(run->handles, 0, handles);
	run->step = any_staged(task) ? STEP_ALLOCATE : STEP_DISPATCH;
	run->id = task->id;
	run->call = NULL;
	pthread_mutex_lock(&node->lock);
	atomic_init(&run->stopped, atomic_load(&task->stop_at) != 0);
	DL_PREPEND(node->running, run);
	pthread_mutex_unlock(&node->lock);
	advance(run);
}

/* --- the child --- */

static void remote_close(struct exec_child *child)
{
	struct remote_child *node = (struct remote_child *)child;

	rpc_channel_close(node->channel);
	remote_await_answers(node);
}

static void remote_release(struct exec_child *child)
{
	struct remote_child *node = (struct remote_child *)child;

	(void)pthread_cond_destroy(&node->answered);
	(void)pthread_mutex_destroy(&node->lock);
	free(node);
}

static const struct exec_child_ops remote_ops = {
	.ask = remote_ask,
	.start = remote_start,
	.stop = remote_stop,
	.retract = remote_retract,
	.close = remote_close,
	.release = remote_release,
};

simpler_status remote_create(struct rpc_client *client, struct node_session *session,
                             const char *address, uint32_t capacity, struct exec_child **out)
{
	struct remote_child *node;

	if (address[0] == '\0' || strlen(address) >= sizeof(node->address))
		return error_raise(SIMPLER_EINVAL,
		                   "'%.120s' is no address of a node; give HOST:PORT or unix:/PATH",
		                   address);
	node = calloc(1, sizeof(*node));
	if (!node)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a remote node");
	node->child.ops = &remote_ops;
	node->child.runs = SIMPLER_KIND_ORCH;
	node->child.capacity = node->child.width = capacity;
	(void)snprintf(node->address, sizeof(node->address), "%s", address);
	(void)snprintf(node->child.name, sizeof(node->child.name), "node %s", address);
	if (rpc_channel_open(client, address, &node->channel) != SIMPLER_OK) {
		free(node);
		return error_context("adding node %s", address);
	}
	node->session = session;
	rpc_channel_set_session(node->channel, node_session_id(session));
	(void)pthread_mutex_init(&node->lock, NULL);
	(void)pthread_cond_init(&node->answered, NULL);
	*out = &node->child;
	return SIMPLER_OK;
}
