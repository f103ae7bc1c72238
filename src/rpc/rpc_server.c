/*
 * The server: one completion queue, polled by all its threads.
 *
 * Every batch of a call comes back as an event {call, kind}; there is never more than one of a kind
 * outstanding. Whoever fetches an event posts it to the call; the first to post runs the call's
 * events one after the other, its own and those that others post meanwhile (post()). So callbacks
 * of a call do not overlap, and no lock is held while they run.
 *
 *   ACCEPTED   the call is here; of a unary call with its message, of an unknown method without
 *   RECEIVED   rpc_receive()
 *   SENT       rpc_send()
 *   CLOSED     the client is done with the call or has given it up; armed when the call opens if
 *              the method has on_cancel, else a part of FINISHED
 *   FINISHED   rpc_finish()
 *
 * A unary call is two events: ACCEPTED with its message, and FINISHED. `batches` counts what is
 * outstanding; a call is over when FINISHED has been handled and `batches` is 0. As nobody may
 * start a batch after rpc_finish(), nobody else touches it then.
 *
 * A request for the next call of a method is armed ahead, ARMED times for each method; a path that
 * no method has goes to one more slot, which answers UNIMPLEMENTED. Armed requests count as live
 * calls. A queue must not be shut down while a batch can still be started, so stopping waits until
 * none is live.
 *
 * Events of calls of slow methods are handed to one more thread, which posts them: so their
 * callbacks come one after the other, and hold up nobody else's.
 *
 * Of a method with idle_ms, a call that waits for RECEIVED or SENT is watched (rpc/idle.h) from
 * when it opens until it is released.
 */
#include <assert.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/error.h"
#include "os/memory.h"
#include "rpc/core.h"
#include "rpc/idle.h"

#define ARMED 4
/* At once on one connection; a client keeps back what is more. */
#define CONNECTION_CALLS 4096
#define HANG_UP_MS       100

enum event_kind { ACCEPTED, RECEIVED, SENT, CLOSED, FINISHED, EVENT_KINDS };

/* In `pending`, above one bit for each kind of event. */
#define RUNNING (1u << EVENT_KINDS)

/* A method, or what answers for paths that are none (`method` NULL). */
struct slot {
	const struct rpc_method *method;
	void *context, *registered;
};

struct tag {
	struct rpc_call *call; /* NULL: the server has shut down */
	enum event_kind kind;
	bool ok;
	struct tag *next; /* of those that the slow thread has yet to post */
};

/* What is to be posted by a thread of its own. */
struct slow {
	pthread_t thread;
	bool started;         /* of who starts and stops the server */
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	struct tag *first, *last;
	bool over;
};

struct rpc_call {
	struct rpc_server *server;
	const struct slot *slot;
	grpc_call *call;
	void *state;
	struct tag tags[EVENT_KINDS];
	atomic_uint pending, batches;
	atomic_bool answered; /* rpc_finish() was called */
	struct idle_watch idle;

	/* Changed only while its events are run. */
	bool opened, cancel_told, finished;
	/* Set before the call is shown to anybody. */
	bool close_armed;
	/* Belongs to whoever may send. */
	bool metadata_sent;
	grpc_metadata note; /* without a value when there is none; gRPC reads it until FINISHED */

	gpr_timespec deadline;
	grpc_metadata_array metadata;
	grpc_call_details details; /* of an unknown method */
	grpc_byte_buffer *incoming;
	int cancelled;
};

struct rpc_server {
	grpc_server *server;
	grpc_completion_queue *queue;
	char address[CORE_ADDRESS_MAX];
	struct slot *slots;
	size_t slot_count;
	pthread_t *threads;
	unsigned thread_count;
	struct slow slow;
	struct tag shutdown_tag;
	atomic_size_t live; /* calls, the armed ones included */
	unsigned max_streams;
	atomic_uint streams; /* streaming calls that were opened, and have not ended */
	/* Released before a batch and acquired when its event was fetched: what was written to the
	 * call before is seen by who handles the event. The queue's locks see to that, too, but
	 * neither C11 nor ThreadSanitizer knows of them. */
	atomic_uint handed;
	struct idle_list idle;

	pthread_mutex_t lock; /* guards is_shut, and the wait for it and for live to be 0 */
	pthread_cond_t changed;
	bool is_shut;
};

/* --- batches --- */

static void *begin(struct rpc_call *call, enum event_kind kind)
{
	atomic_fetch_add(&call->batches, 1);
	atomic_fetch_add_explicit(&call->server->handed, 1, memory_order_release);
	return &call->tags[kind];
}

static void start(struct rpc_call *call, const grpc_op *ops, size_t count, enum event_kind kind)
{
	grpc_call *core = call->call; /* nothing is read from `call` once it is handed over */
	void *tag = begin(call, kind);
	grpc_call_error error = grpc_call_start_batch(core, ops, count, tag, NULL);

	assert(error == GRPC_CALL_OK);
	(void)error;
}

static grpc_op op_metadata(void)
{
	return (grpc_op){ .op = GRPC_OP_SEND_INITIAL_METADATA };
}

static grpc_op op_message(grpc_byte_buffer *message)
{
	return (grpc_op){ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message };
}

static grpc_op op_close(struct rpc_call *call)
{
	return (grpc_op){ .op = GRPC_OP_RECV_CLOSE_ON_SERVER,
		          .data.recv_close_on_server.cancelled = &call->cancelled };
}

static bool has_note(const struct rpc_call *call)
{
	return GRPC_SLICE_LENGTH(call->note.value) > 0;
}

static grpc_op op_status(struct rpc_call *call, enum rpc_code code, grpc_slice *text)
{
	return (grpc_op){ .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
		          .data.send_status_from_server = {
				  .trailing_metadata_count = has_note(call),
				  .trailing_metadata = &call->note,
				  .status = (grpc_status_code)code,
				  .status_details = text,
			  } };
}

void rpc_call_set_note(struct rpc_call *call, enum rpc_note note)
{
	static const char *const values[] = { "", CORE_NOTE_NOT_RUN, CORE_NOTE_LOST };

	call->note.key = grpc_slice_from_static_string(CORE_NOTE_KEY);
	call->note.value = grpc_slice_from_static_string(values[note]);
}

int64_t rpc_call_deadline(const struct rpc_call *call)
{
	gpr_clock_type clock = call->deadline.clock_type;
	gpr_timespec left;

	if (gpr_time_cmp(call->deadline, gpr_inf_future(clock)) == 0)
		return CLOCK_NEVER;
	left = gpr_time_sub(call->deadline, gpr_now(clock));
	return clock_now() + left.tv_sec * CLOCK_S + left.tv_nsec;
}

void rpc_receive(struct rpc_call *call)
{
	grpc_op op = { .op = GRPC_OP_RECV_MESSAGE,
		       .data.recv_message.recv_message = &call->incoming };

	if (!call->slot->method->lasting)
		idle_begin(&call->idle);
	start(call, &op, 1, RECEIVED);
}

void rpc_send(struct rpc_call *call, struct rpc_buffer *message)
{
	grpc_byte_buffer *bytes = core_take(message);
	grpc_op ops[2];
	size_t count = 0;

	if (!call->metadata_sent)
		ops[count++] = op_metadata();
	call->metadata_sent = true;
	ops[count++] = op_message(bytes);
	idle_begin(&call->idle);
	start(call, ops, count, SENT);
	grpc_byte_buffer_destroy(bytes);
}

void rpc_finish(struct rpc_call *call, enum rpc_code code, const char *text,
                struct rpc_buffer *message)
{
	grpc_byte_buffer *bytes = message ? core_take(message) : NULL;
	grpc_slice details = text ? core_text(text) : grpc_empty_slice();
	grpc_op ops[4];
	size_t count = 0;

	if (!call->metadata_sent)
		ops[count++] = op_metadata();
	if (bytes && code == RPC_OK)
		ops[count++] = op_message(bytes);
	ops[count++] = op_status(call, code, text ? &details : NULL);
	if (!call->close_armed)
		ops[count++] = op_close(call);
	atomic_store(&call->answered, true);
	start(call, ops, count, FINISHED); /* the call may be gone now */
	grpc_byte_buffer_destroy(bytes);
	grpc_slice_unref(details);
}

/* --- a call from its arming to its end --- */

static void arm(struct rpc_server *server, const struct slot *slot)
{
	struct rpc_call *call = gpr_zalloc(sizeof(*call));
	grpc_completion_queue *queue = server->queue;
	grpc_call_error error;

	call->server = server;
	call->slot = slot;
	for (unsigned kind = 0; kind < EVENT_KINDS; kind++) {
		call->tags[kind].call = call;
		call->tags[kind].kind = (enum event_kind)kind;
	}
	grpc_metadata_array_init(&call->metadata);
	grpc_call_details_init(&call->details);
	atomic_fetch_add(&server->live, 1);
	if (slot->method)
		error = grpc_server_request_registered_call(
			server->server, slot->registered, &call->call, &call->deadline,
			&call->metadata, slot->method->streaming ? NULL : &call->incoming, queue,
			queue, begin(call, ACCEPTED));
	else
		error = grpc_server_request_call(server->server, &call->call, &call->details,
		                                 &call->metadata, queue, queue,
		                                 begin(call, ACCEPTED));
	assert(error == GRPC_CALL_OK);
	(void)error;
}

static void release(struct rpc_call *call)
{
	struct rpc_server *server = call->server;

	idle_list_remove(&server->idle, &call->idle);
	if (call->call)
		grpc_call_unref(call->call);
	grpc_byte_buffer_destroy(call->incoming);
	grpc_metadata_array_destroy(&call->metadata);
	grpc_call_details_destroy(&call->details);
	gpr_free(call);
	if (atomic_fetch_sub(&server->live, 1) > 1)
		return;
	pthread_mutex_lock(&server->lock);
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
}

/* Whether callbacks other than on_end may still come. */
static bool is_open(struct rpc_call *call)
{
	return call->opened && !call->cancel_told && !atomic_load(&call->answered);
}

static void answer_unknown(struct rpc_call *call)
{
	char *path = grpc_slice_to_c_string(call->details.method);
	char text[256];

	snprintf(text, sizeof(text), "this server has no method %.200s", path);
	gpr_free(path);
	rpc_finish(call, RPC_UNIMPLEMENTED, text, NULL);
}

static void deliver_parts(void *context, const struct rpc_part *parts, size_t count)
{
	struct rpc_call *call = context;

	call->slot->method->on_parts(call, parts, count);
}

/* Hand the message that came in to its method, then drop it. */
static void deliver(struct rpc_call *call)
{
	grpc_byte_buffer *message = call->incoming;
	struct core_view view;

	call->incoming = NULL;
	if (call->slot->method->on_parts) {
		core_deliver(message, deliver_parts, call);
	} else {
		core_view_open(&view, message);
		call->slot->method->on_message(call, view.data, view.size);
		core_view_close(&view);
	}
	grpc_byte_buffer_destroy(message);
}

static bool is_expired(const struct rpc_call *call)
{
	return gpr_time_cmp(call->deadline, gpr_now(call->deadline.clock_type)) <= 0;
}

static bool is_counted(const struct rpc_method *method)
{
	return method->streaming && !method->lasting;
}

static bool enter_streams(struct rpc_server *server)
{
	if (atomic_fetch_add(&server->streams, 1) < server->max_streams)
		return true;
	atomic_fetch_sub(&server->streams, 1);
	return false;
}

static void refuse_stream(struct rpc_call *call)
{
	char text[128];

	(void)snprintf(text, sizeof(text),
	               "%u streams are open at this server, which is the limit; wait for some of "
	               "them to end",
	               call->server->max_streams);
	rpc_finish(call, RPC_RESOURCE_EXHAUSTED, text, NULL);
}

static void accepted(struct rpc_call *call)
{
	const struct rpc_method *method = call->slot->method;
	grpc_op close = op_close(call);

	if (!method) {
		answer_unknown(call);
		return;
	}
	if (!method->streaming && !core_readable(call->incoming)) {
		rpc_finish(call, RPC_INVALID_ARGUMENT,
		           "the call came without a message, or with a compressed one", NULL);
		return;
	}
	if (!method->streaming && method->on_cancel && is_expired(call)) {
		rpc_finish(call, RPC_DEADLINE_EXCEEDED,
		           "the deadline passed before the call's turn came", NULL);
		return;
	}
	if (is_counted(method) && !enter_streams(call->server)) {
		refuse_stream(call);
		return;
	}
	call->opened = true;
	call->close_armed = method->on_cancel != NULL;
	if (call->close_armed)
		start(call, &close, 1, CLOSED);
	if (method->idle_ms > 0)
		idle_list_add(&call->server->idle, &call->idle, call->call, method->idle_ms);
	if (method->streaming)
		method->on_open(call);
	else
		deliver(call);
}

static void received(struct rpc_call *call)
{
	const struct rpc_method *method = call->slot->method;

	if (core_readable(call->incoming) && is_open(call)) {
		deliver(call);
	} else if (call->incoming) {
		/* A stream that cannot be read on is over; a call that is over loses nothing. */
		grpc_call_cancel(call->call, NULL);
		grpc_byte_buffer_destroy(call->incoming);
		call->incoming = NULL;
	} else if (!grpc_call_failed_before_recv_message(call->call) && is_open(call) &&
	           call->tags[RECEIVED].ok && method->on_half_close) {
		method->on_half_close(call);
	}
}

static void handle(struct rpc_call *call, enum event_kind kind)
{
	const struct rpc_method *method = call->slot->method;

	switch (kind) {
	case ACCEPTED:
		accepted(call);
		break;
	case RECEIVED:
		if (!method->lasting)
			idle_end(&call->idle);
		received(call);
		break;
	case SENT:
		idle_end(&call->idle);
		if (call->tags[SENT].ok && is_open(call) && method->on_sent)
			method->on_sent(call);
		break;
	case CLOSED:
		if (call->cancelled && is_open(call)) {
			call->cancel_told = true;
			method->on_cancel(call);
		}
		break;
	case FINISHED:
		call->finished = true;
		break;
	case EVENT_KINDS:
		break;
	}
}

/* Handle one event; false when the call is gone. */
static bool run(struct rpc_call *call, enum event_kind kind)
{
	struct rpc_server *server = call->server;
	const struct slot *slot = call->slot;
	bool refused = kind == ACCEPTED && !call->tags[ACCEPTED].ok, over;

	if (!refused)
		handle(call, kind);
	over = atomic_fetch_sub(&call->batches, 1) == 1 && (call->finished || refused);
	if (over && call->opened && slot->method->on_end)
		slot->method->on_end(call, call->cancelled != 0);
	if (over && call->opened && is_counted(slot->method))
		atomic_fetch_sub(&server->streams, 1);
	if (kind == ACCEPTED && !refused)
		arm(server, slot); /* the next, once this one's answer is on its way */
	if (over)
		release(call);
	return !over;
}

/* Add an event to the call's, and run them unless somebody else does. */
static void post(struct rpc_call *call, enum event_kind kind)
{
	unsigned seen;

	if (atomic_fetch_or(&call->pending, 1u << kind | RUNNING) & RUNNING)
		return;
	for (;;) {
		seen = RUNNING;
		if (atomic_compare_exchange_strong(&call->pending, &seen, 0))
			return;
		for (kind = ACCEPTED; !(seen & 1u << kind);)
			kind++;
		atomic_fetch_and(&call->pending, ~(1u << kind));
		if (!run(call, kind))
			return;
	}
}

/* --- slow methods --- */

static bool is_slow(const struct rpc_call *call)
{
	return call->slot->method && call->slot->method->slow;
}

static void hand_over(struct slow *slow, struct tag *tag)
{
	pthread_mutex_lock(&slow->lock);
	tag->next = NULL;
	if (slow->first)
		slow->last->next = tag;
	else
		slow->first = tag;
	slow->last = tag;
	pthread_cond_signal(&slow->changed);
	pthread_mutex_unlock(&slow->lock);
}

/* NULL when there will be none any more. */
static struct tag *next_slow(struct slow *slow)
{
	struct tag *tag;

	pthread_mutex_lock(&slow->lock);
	while (!slow->first && !slow->over)
		pthread_cond_wait(&slow->changed, &slow->lock);
	tag = slow->first;
	if (tag)
		slow->first = tag->next;
	pthread_mutex_unlock(&slow->lock);
	return tag;
}

static void *serve_slow(void *context)
{
	struct tag *tag;

	while ((tag = next_slow(context)) != NULL)
		post(tag->call, tag->kind);
	return NULL;
}

/* Nobody hands anything over any more. */
static void stop_slow(struct slow *slow)
{
	if (!slow->started)
		return;
	pthread_mutex_lock(&slow->lock);
	slow->over = true;
	pthread_cond_signal(&slow->changed);
	pthread_mutex_unlock(&slow->lock);
	pthread_join(slow->thread, NULL);
}

/* --- the queue --- */

static void shut_down(struct rpc_server *server)
{
	pthread_mutex_lock(&server->lock);
	server->is_shut = true;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
}

static void *serve(void *context)
{
	struct rpc_server *server = context;

	for (;;) {
		grpc_event event = grpc_completion_queue_next(
			server->queue, core_from_deadline(idle_list_look(&server->idle)), NULL);
		struct tag *tag = event.tag;

		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (event.type == GRPC_QUEUE_TIMEOUT)
			continue;
		(void)atomic_load_explicit(&server->handed, memory_order_acquire);
		tag->ok = event.success != 0;
		if (!tag->call)
			shut_down(server);
		else if (is_slow(tag->call))
			hand_over(&server->slow, tag);
		else
			post(tag->call, tag->kind);
	}
}

/* --- start and stop --- */

static void join_threads(struct rpc_server *server)
{
	grpc_completion_queue_shutdown(server->queue);
	while (server->thread_count > 0)
		pthread_join(server->threads[--server->thread_count], NULL);
	stop_slow(&server->slow);
}

static void server_free(struct rpc_server *server)
{
	grpc_server_destroy(server->server);
	grpc_completion_queue_destroy(server->queue);
	pthread_mutex_destroy(&server->lock);
	pthread_cond_destroy(&server->changed);
	pthread_mutex_destroy(&server->slow.lock);
	pthread_cond_destroy(&server->slow.changed);
	idle_list_destroy(&server->idle);
	free(server->slots);
	free(server->threads);
	free(server);
	grpc_shutdown_blocking();
}

static void register_service(struct rpc_server *server, const struct rpc_service *service)
{
	for (size_t i = 0; i < service->method_count; i++) {
		const struct rpc_method *method = &service->methods[i];
		struct slot *slot = &server->slots[server->slot_count++];

		assert(method->streaming ? method->on_open && method->on_cancel
		                         : method->on_message != NULL);
		slot->method = method;
		slot->context = service->context;
		slot->registered = grpc_server_register_method(
			server->server, method->path, NULL,
			method->streaming ? GRPC_SRM_PAYLOAD_NONE
					  : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
			0);
		assert(slot->registered); /* no path twice */
	}
}

static bool register_all(struct rpc_server *server, const struct rpc_server_options *options)
{
	const struct rpc_service own = { options->methods, options->method_count,
		                         options->context };
	size_t count = own.method_count + 1;

	for (size_t i = 0; i < options->service_count; i++)
		count += options->services[i].method_count;
	server->slots = calloc(count, sizeof(*server->slots));
	if (!server->slots)
		return false;
	register_service(server, &own);
	for (size_t i = 0; i < options->service_count; i++)
		register_service(server, &options->services[i]);
	server->slot_count++; /* the one of unknown paths */
	return true;
}

/* What gRPC may have of memory for connections, and for messages that come in: with too much, it
 * ends calls with RESOURCE_EXHAUSTED, and takes no new connections. The caller's to let go of. */
static grpc_resource_quota *make_quota(uint64_t bytes)
{
	grpc_resource_quota *quota = grpc_resource_quota_create("server");

	if (bytes > 0)
		grpc_resource_quota_resize(quota, bytes);
	return quota;
}

static void create_core(struct rpc_server *server, const struct rpc_server_options *options)
{
	bool idles = options->idle_ms > 0 && options->idle_ms < INT_MAX;
	grpc_resource_quota *quota = make_quota(options->memory_bytes);
	grpc_arg arguments[] = {
		CORE_COMMON_ARGUMENTS,
		{ .type = GRPC_ARG_POINTER,
		  .key = (char *)GRPC_ARG_RESOURCE_QUOTA,
		  .value.pointer = { quota, grpc_resource_quota_arg_vtable() } },
		CORE_INTEGER(GRPC_ARG_MAX_CONCURRENT_STREAMS, CONNECTION_CALLS),
		CORE_INTEGER(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
		             idles ? (int)options->idle_ms : INT_MAX),
		CORE_INTEGER(GRPC_ARG_ALLOW_REUSEPORT, 0),
		CORE_INTEGER(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
		             CORE_PING_MS / 2),
	};
	grpc_channel_args all = { sizeof(arguments) / sizeof(arguments[0]), arguments };

	/* What it calls errors are mostly the doings of clients, which must not fill a log. A
	 * program that is only a client keeps its own settings. */
	gpr_set_log_function(core_log);
	server->server = grpc_server_create(&all, NULL);
	grpc_resource_quota_unref(quota);
	server->queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(server->server, server->queue, NULL);
	pthread_mutex_init(&server->lock, NULL);
	condition_init(&server->changed);
	pthread_mutex_init(&server->slow.lock, NULL);
	pthread_cond_init(&server->slow.changed, NULL);
	idle_list_init(&server->idle);
}

static simpler_status start_thread(pthread_t *thread, void *(*serves)(void *), void *context)
{
	int error = pthread_create(thread, NULL, serves, context);

	if (error)
		return error_raise_errno(SIMPLER_ESYSTEM, error,
		                         "cannot start a thread of the server");
	return SIMPLER_OK;
}

static simpler_status start_slow(struct rpc_server *server)
{
	simpler_status status = SIMPLER_OK;
	bool needed = false;

	for (size_t i = 0; i < server->slot_count; i++)
		needed = needed || (server->slots[i].method && server->slots[i].method->slow);
	if (needed)
		status = start_thread(&server->slow.thread, serve_slow, &server->slow);
	server->slow.started = needed && status == SIMPLER_OK;
	return status;
}

static simpler_status start_threads(struct rpc_server *server, unsigned count)
{
	simpler_status status = start_slow(server);

	if (status != SIMPLER_OK)
		return status;
	server->threads = calloc(count, sizeof(*server->threads));
	if (!server->threads)
		return error_raise(SIMPLER_ENOMEM, "no memory for %u threads", count);
	while (status == SIMPLER_OK && server->thread_count < count) {
		status = start_thread(&server->threads[server->thread_count], serve, server);
		server->thread_count += status == SIMPLER_OK;
	}
	return status;
}

static simpler_status bind_address(struct rpc_server *server, const char *address)
{
	simpler_status status = core_address_claim(address);
	grpc_server_credentials *credentials;
	int port;

	if (status != SIMPLER_OK)
		return status;
	credentials = core_server_credentials();
	port = grpc_server_add_http2_port(server->server, address, credentials);
	grpc_server_credentials_release(credentials);
	if (port == 0)
		return core_address_explain(address);
	core_address_with_port(address, port, server->address);
	return SIMPLER_OK;
}

simpler_status rpc_server_start(const struct rpc_server_options *options, struct rpc_server **out)
{
	simpler_status status = core_address_check(options->address);
	struct rpc_server *server;

	if (status != SIMPLER_OK)
		return status;
	server = calloc(1, sizeof(*server));
	if (!server)
		return error_raise(SIMPLER_ENOMEM, "no memory for a server");
	server->max_streams = options->max_streams > 0 ? options->max_streams : UINT_MAX;
	memory_keep_freed();
	grpc_init();
	create_core(server, options);
	if (!register_all(server, options))
		status = error_raise(SIMPLER_ENOMEM, "no memory for the server's methods");
	/* Threads first: a server that has a port can only be taken down by its threads. */
	if (status == SIMPLER_OK)
		status = start_threads(server, options->threads);
	if (status == SIMPLER_OK)
		status = bind_address(server, options->address);
	if (status != SIMPLER_OK) {
		join_threads(server);
		server_free(server);
		return status;
	}
	grpc_server_start(server->server);
	for (size_t i = 0; i < server->slot_count * ARMED; i++)
		arm(server, &server->slots[i / ARMED]);
	*out = server;
	return SIMPLER_OK;
}

const char *rpc_server_address(const struct rpc_server *server)
{
	return server->address;
}

/* With the lock held: wait until no call is live and, if `shut`, the server has shut down. False
 * when `deadline` passed. */
static bool wait_until_idle(struct rpc_server *server, bool shut, int64_t deadline)
{
	while (((shut && !server->is_shut) || atomic_load(&server->live) > 0) &&
	       condition_wait(&server->changed, &server->lock, deadline))
		;
	return (!shut || server->is_shut) && atomic_load(&server->live) == 0;
}

/* A server has shut down when its last connection is gone, too. Clients hang up when they are told
 * to, at once if they look and never if they are asleep, so that is not waited for as calls are. */
static bool wait_for_calls(struct rpc_server *server, int64_t deadline)
{
	int64_t hang_up;

	if (!wait_until_idle(server, false, deadline))
		return false;
	hang_up = clock_after_ms(HANG_UP_MS);
	return wait_until_idle(server, true, hang_up < deadline ? hang_up : deadline);
}

void rpc_server_stop(struct rpc_server *server, int64_t deadline)
{
	bool idle;

	grpc_server_shutdown_and_notify(server->server, server->queue, &server->shutdown_tag);
	pthread_mutex_lock(&server->lock);
	idle = wait_for_calls(server, deadline);
	pthread_mutex_unlock(&server->lock);
	if (!idle) {
		grpc_server_cancel_all_calls(server->server);
		pthread_mutex_lock(&server->lock);
		wait_until_idle(server, true, CLOCK_NEVER);
		pthread_mutex_unlock(&server->lock);
	}
	join_threads(server);
	server_free(server);
}

/* --- what a call knows --- */

void *rpc_call_context(const struct rpc_call *call)
{
	return call->slot->context;
}

static const grpc_metadata *find_metadata(const struct rpc_call *call, const char *key)
{
	for (size_t i = 0; i < call->metadata.count; i++) {
		const grpc_metadata *entry = &call->metadata.metadata[i];

		if (grpc_slice_str_cmp(entry->key, key) == 0)
			return entry;
	}
	return NULL;
}

/* False for anything but 1 to 16 hexadecimal digits. */
static bool parse_hex(const uint8_t *digits, size_t size, uint64_t *out)
{
	uint64_t value = 0;

	if (size < 1 || size > 16)
		return false;
	for (size_t i = 0; i < size; i++) {
		uint8_t digit = digits[i];

		if (digit >= '0' && digit <= '9')
			value = value << 4 | (uint64_t)(digit - '0');
		else if (digit >= 'a' && digit <= 'f')
			value = value << 4 | (uint64_t)(digit - 'a' + 10);
		else
			return false;
	}
	*out = value;
	return true;
}

simpler_status rpc_call_session(const struct rpc_call *call, uint64_t *session)
{
	const grpc_metadata *entry = find_metadata(call, CORE_SESSION_KEY);

	*session = 0;
	if (!entry)
		return SIMPLER_OK;
	if (parse_hex(GRPC_SLICE_START_PTR(entry->value), GRPC_SLICE_LENGTH(entry->value),
	              session) &&
	    *session != 0)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EINVAL,
	                   "the call's metadata " CORE_SESSION_KEY
	                   " is no session: it has 1 to 16 lower-case hexadecimal digits and is "
	                   "not 0");
}

bool rpc_call_is_local(const struct rpc_call *call)
{
	char *peer = grpc_call_get_peer(call->call);
	bool local = core_peer_is_local(peer);

	gpr_free(peer);
	return local;
}

void rpc_call_set_state(struct rpc_call *call, void *state)
{
	call->state = state;
}

void *rpc_call_state(const struct rpc_call *call)
{
	return call->state;
}
