/*
 * The client: one completion queue and one thread at a time in it, which runs the callbacks. That
 * is the client's own thread, the keeper, or a thread that waits for an answer and attends
 * (rpc_client_attend()), which saves the wake-up from one to the other.
 *
 *   KEPT --keeper: somebody wanted it, and nothing is awaited--> FREE
 *   FREE --a waiting thread--> ATTENDED --it is done--> FREE
 *   FREE --keeper: nobody came for REST_MS, or a call is left behind--> KEPT
 *
 * Somebody must sit in the queue in the long run, or a connection's end is noticed only by the next
 * call; hence the rest, which ends by itself. What is awaited are all calls, but for those streams
 * that were said to have nothing to tell for now (rpc_stream_await()). Those are not read, either,
 * until something is sent or looked for (rpc_stream_look()): gRPC tells the server of each message
 * that is read, and that would wake it for nothing, where it can go with what is sent.
 *
 * A unary call is one batch of all its operations, so one event. A streaming call is
 *
 *   STATUS   the call's outcome; comes last from the server
 *   READ     one message; the next is asked for when its callback has returned
 *   OPENED   without a message
 *   SENT     opening it with a message, and rpc_stream_send()
 *   CLOSED   rpc_stream_close_send()
 *
 * `refs` counts the batches outstanding, and one for the call until its end was reported. The end
 * is reported when STATUS has come and no batch is outstanding. Another thread may have started a
 * send just before it hears of the end: its event then finds the call ended and drops the last
 * reference.
 *
 * `lent` counts the messages whose bytes gRPC still has from the program. The end is not reported
 * before it is 0. When it is not, which is rare, as the server answers when it has all and a
 * cancelled call is torn down at once, the call lingers: who sits in the queue looks at it every
 * LINGER_MS. gRPC may let go of bytes in the midst of anything, so nothing else is done there.
 *
 * The calls of a channel stand in a list, so that closing the channel can cancel them. A call
 * leaves it before its grpc_call is released.
 */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/error.h"
#include "os/memory.h"
#include "rpc/core.h"
#include "rpc/utf8.h"

#define REST_MS     2
#define REST_MS_MAX 64  /* between two looks at one long attendance */
#define LOOK_MS     100 /* between two looks at `finished` */
#define LINGER_MS   1

/* Events that are handled before streams are told that all is settled. Whether there are any is
 * asked while the answer was yes in one of the last ASK_ON times, and else each ASK_EVERY-th time,
 * as it takes a microsecond. */
#define AT_ONCE   64u
#define ASK_ON    8u
#define ASK_EVERY 16u

enum event_kind { STATUS, READ, OPENED, SENT, CLOSED, EVENT_KINDS };

enum role { KEPT, FREE, ATTENDED };

struct tag {
	struct rpc_client_call *call;
	enum event_kind kind;
	bool ok;
};

struct rpc_client {
	grpc_completion_queue *queue;
	pthread_t thread;
	atomic_size_t live, awaited; /* calls, and those of them that are awaited */
	atomic_uint handed;          /* as in rpc_server.c */
	pthread_mutex_t lock;        /* guards the wait for live to be 0, and all below */
	pthread_cond_t idle;
	pthread_cond_t called; /* the keeper, out of its rest; on the monotonic clock */
	enum role role;
	bool wanted;     /* somebody would have attended */
	bool recalled;   /* the keeper is needed: a call is left behind, or the end has come */
	unsigned visits; /* attendances begun */
	/* Of who sits in the queue: ended, but for lent bytes; and to be told on_settled. */
	struct rpc_client_call *lingering, *unsettled;
	unsigned ask_on, not_asked;
};

struct rpc_channel {
	struct rpc_client *client;
	grpc_channel *channel;
	char address[CORE_ADDRESS_MAX];
	uint64_t session;              /* 0: none; fixed before the first call */
	atomic_size_t refs;            /* its calls, and its owner */
	pthread_mutex_t lock;          /* guards calls, their links, and their `call` */
	struct rpc_client_call *calls; /* in progress */
};

struct rpc_client_call {
	struct rpc_channel *channel;
	struct rpc_client_call *prev, *next; /* in its list */
	grpc_call *call; /* NULL once it is over and lent bytes are waited for */
	struct tag tags[EVENT_KINDS];
	atomic_uint refs;
	bool has_status, ended, is_unsettled;   /* of who sits in the queue */
	struct rpc_client_call *next_unsettled; /* likewise */
	atomic_bool awaited, reading;
	atomic_bool looks;     /* for one that is not awaited; behind the one that is being read */
	atomic_bool told;      /* by its program what is awaited */
	atomic_bool cancelled; /* by rpc_client_call_cancel() */
	struct rpc_client_call *next_lingering; /* likewise */
	atomic_uint lent;

	rpc_done *done; /* unary */
	const struct rpc_stream_handlers *handlers;
	void *context;

	grpc_metadata session; /* gRPC writes to it, so each call has its own */
	grpc_metadata_array initial, trailing;
	grpc_status_code code;
	grpc_slice details;
	grpc_byte_buffer *incoming;
};

/* --- batches --- */

static void start(struct rpc_client_call *call, const grpc_op *ops, size_t count,
                  enum event_kind kind)
{
	grpc_call *core = call->call; /* nothing is read from `call` once it is handed over */
	struct rpc_client *client = call->channel->client;
	grpc_call_error error;

	atomic_fetch_add(&call->refs, 1);
	atomic_fetch_add_explicit(&client->handed, 1, memory_order_release);
	error = grpc_call_start_batch(core, ops, count, &call->tags[kind], NULL);
	assert(error == GRPC_CALL_OK);
	(void)error;
}

static grpc_op op_open(struct rpc_client_call *call, bool wait_for_ready)
{
	return (grpc_op){
		.op = GRPC_OP_SEND_INITIAL_METADATA,
		.flags = wait_for_ready
		                 ? GRPC_INITIAL_METADATA_WAIT_FOR_READY |
		                           GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET
		                 : 0,
		.data.send_initial_metadata = { .count = call->channel->session != 0,
		                                .metadata = &call->session },
	};
}

static grpc_op op_send(grpc_byte_buffer *message)
{
	return (grpc_op){ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message };
}

static grpc_op op_close(void)
{
	return (grpc_op){ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT };
}

static grpc_op op_metadata(struct rpc_client_call *call)
{
	return (grpc_op){ .op = GRPC_OP_RECV_INITIAL_METADATA,
		          .data.recv_initial_metadata.recv_initial_metadata = &call->initial };
}

static grpc_op op_read(struct rpc_client_call *call)
{
	return (grpc_op){ .op = GRPC_OP_RECV_MESSAGE,
		          .data.recv_message.recv_message = &call->incoming };
}

static grpc_op op_status(struct rpc_client_call *call)
{
	return (grpc_op){ .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
		          .data.recv_status_on_client = {
				  .trailing_metadata = &call->trailing,
				  .status = &call->code,
				  .status_details = &call->details,
			  } };
}

/* --- a call from its creation to its end --- */

/* The digits are few enough to lie in the slice itself: nothing is allocated, nor to be released.
 */
static void set_session(struct rpc_client_call *call)
{
	char digits[17];
	int size;

	if (call->channel->session == 0)
		return;
	size = snprintf(digits, sizeof(digits), "%" PRIx64, call->channel->session);
	call->session.key = grpc_slice_from_static_string(CORE_SESSION_KEY);
	call->session.value = grpc_slice_from_copied_buffer(digits, (size_t)size);
}

struct rpc_client_call *rpc_client_call_create(struct rpc_channel *channel, const char *path,
                                               int64_t deadline)
{
	struct rpc_client_call *call = calloc(1, sizeof(*call));
	grpc_slice method;

	if (!call)
		return NULL;
	method = grpc_slice_from_copied_string(path);
	call->channel = channel;
	call->call = grpc_channel_create_call(channel->channel, NULL, 0, channel->client->queue,
	                                      method, NULL, core_from_deadline(deadline), NULL);
	grpc_slice_unref(method);
	for (unsigned kind = 0; kind < EVENT_KINDS; kind++) {
		call->tags[kind].call = call;
		call->tags[kind].kind = (enum event_kind)kind;
	}
	set_session(call);
	grpc_metadata_array_init(&call->initial);
	grpc_metadata_array_init(&call->trailing);
	call->details = grpc_empty_slice();
	atomic_init(&call->refs, 1);
	atomic_init(&call->lent, 0);
	atomic_fetch_add(&channel->refs, 1);
	atomic_init(&call->awaited, true);
	atomic_init(&call->reading, false);
	atomic_init(&call->looks, false);
	atomic_init(&call->told, false);
	atomic_fetch_add(&channel->client->live, 1);
	atomic_fetch_add(&channel->client->awaited, 1);
	pthread_mutex_lock(&channel->lock);
	DL_APPEND(channel->calls, call);
	pthread_mutex_unlock(&channel->lock);
	return call;
}

static void await(struct rpc_client_call *call, bool awaited)
{
	atomic_size_t *count = &call->channel->client->awaited;

	if (atomic_exchange(&call->awaited, awaited) == awaited)
		return;
	if (awaited)
		atomic_fetch_add(count, 1);
	else
		atomic_fetch_sub(count, 1);
}

void rpc_stream_await(struct rpc_client_call *call, bool awaited)
{
	atomic_store(&call->told, true);
	await(call, awaited);
}

enum rpc_note rpc_client_call_note(const struct rpc_client_call *call)
{
	for (size_t i = 0; i < call->trailing.count; i++) {
		const grpc_metadata *entry = &call->trailing.metadata[i];

		if (grpc_slice_str_cmp(entry->key, CORE_NOTE_KEY) != 0)
			continue;
		if (grpc_slice_str_cmp(entry->value, CORE_NOTE_NOT_RUN) == 0)
			return RPC_NOTE_NOT_RUN;
		if (grpc_slice_str_cmp(entry->value, CORE_NOTE_LOST) == 0)
			return RPC_NOTE_LOST;
	}
	return RPC_NOTE_NONE;
}

void rpc_client_call_cancel(struct rpc_client_call *call)
{
	struct rpc_channel *channel = call->channel;
	grpc_call *core;

	atomic_store(&call->cancelled, true);
	/* The end that this brings about may be reported before it returns. */
	pthread_mutex_lock(&channel->lock);
	core = call->call;
	if (core)
		grpc_call_ref(core);
	pthread_mutex_unlock(&channel->lock);
	if (!core)
		return;
	atomic_fetch_add_explicit(&channel->client->handed, 1, memory_order_release);
	grpc_call_cancel(core, NULL);
	grpc_call_unref(core);
}

static void channel_release(struct rpc_channel *channel)
{
	if (atomic_fetch_sub(&channel->refs, 1) > 1)
		return;
	pthread_mutex_destroy(&channel->lock);
	free(channel);
}

static void release(struct rpc_client_call *call)
{
	struct rpc_channel *channel = call->channel;
	struct rpc_client *client = channel->client;

	pthread_mutex_lock(&channel->lock);
	DL_DELETE(channel->calls, call);
	pthread_mutex_unlock(&channel->lock);
	if (call->call)
		grpc_call_unref(call->call);
	grpc_metadata_array_destroy(&call->initial);
	grpc_metadata_array_destroy(&call->trailing);
	grpc_slice_unref(call->details);
	grpc_byte_buffer_destroy(call->incoming);
	await(call, false);
	free(call);
	channel_release(channel);
	if (atomic_fetch_sub(&client->live, 1) > 1)
		return;
	pthread_mutex_lock(&client->lock);
	pthread_cond_broadcast(&client->idle);
	pthread_mutex_unlock(&client->lock);
}

static void report_unary(struct rpc_client_call *call, enum rpc_code code, const char *text)
{
	struct core_view view;

	if (code != RPC_OK) {
		call->done(call->context, code, text, NULL, 0);
	} else if (!core_readable(call->incoming)) {
		call->done(call->context, RPC_DATA_LOSS,
		           "the answer came without a message, or with a compressed one", NULL, 0);
	} else {
		core_view_open(&view, call->incoming);
		call->done(call->context, RPC_OK, text, view.data, view.size);
		core_view_close(&view);
	}
}

/* Tell the program how the call ended. What the server says is cleaned, as it may be anything. */
static void report(struct rpc_client_call *call)
{
	enum rpc_code code = (enum rpc_code)call->code;
	char *text = grpc_slice_to_c_string(call->details);

	utf8_clean(text);
	/* A server that stops breaks off what is in progress, which gRPC tells like this, in no
	 * words but its own. It was nobody's wish: to the caller the server is gone. */
	if (code == RPC_CANCELLED && !atomic_load(&call->cancelled) &&
	    (text[0] == '\0' || strcmp(text, "CANCELLED") == 0))
		code = RPC_UNAVAILABLE;
	if (call->done)
		report_unary(call, code, text);
	else
		call->handlers->on_end(call->context, code, text);
	gpr_free(text);
}

/* Unless it is being read already, or nothing is to come. */
static void read_next(struct rpc_client_call *call)
{
	bool wanted = atomic_load(&call->awaited) || atomic_load(&call->looks);
	grpc_op op = op_read(call);

	if (!wanted || atomic_exchange(&call->reading, true))
		return;
	atomic_store(&call->looks, false);
	start(call, &op, 1, READ);
}

void rpc_stream_look(struct rpc_client_call *call)
{
	atomic_store(&call->looks, true);
	read_next(call);
}

static void deliver_parts(void *context, const struct rpc_part *parts, size_t count)
{
	struct rpc_client_call *call = context;

	call->handlers->on_parts(call->context, call, parts, count);
}

static void note_unsettled(struct rpc_client_call *call)
{
	struct rpc_client *client = call->channel->client;

	if (!call->handlers->on_settled || call->is_unsettled)
		return;
	call->is_unsettled = true;
	call->next_unsettled = client->unsettled;
	client->unsettled = call;
}

static void settle_all(struct rpc_client *client)
{
	struct rpc_client_call *call;

	while ((call = client->unsettled) != NULL) {
		client->unsettled = call->next_unsettled;
		call->is_unsettled = false;
		call->handlers->on_settled(call->context);
	}
}

static void on_read(struct rpc_client_call *call)
{
	grpc_byte_buffer *message = call->incoming;
	struct core_view view;

	call->incoming = NULL;
	if (!message)
		return; /* there are no more */
	if (core_readable(message) && call->handlers->on_parts) {
		core_deliver(message, deliver_parts, call);
	} else if (core_readable(message)) {
		core_view_open(&view, message);
		call->handlers->on_message(call->context, call, view.data, view.size);
		core_view_close(&view);
		note_unsettled(call);
	} else {
		grpc_call_cancel_with_status(call->call, GRPC_STATUS_INTERNAL,
		                             "a compressed message came", NULL);
	}
	grpc_byte_buffer_destroy(message);
	atomic_store(&call->reading, false);
	read_next(call);
}

/* --- lent bytes --- */

static void take_back(void *context)
{
	struct rpc_client_call *call = context;

	atomic_fetch_sub_explicit(&call->lent, 1, memory_order_release);
}

void rpc_stream_lend(struct rpc_client_call *call, struct rpc_buffer *message, const void *data,
                     size_t size)
{
	atomic_fetch_add(&call->lent, 1);
	rpc_buffer_attach(message, data, size, take_back, call);
}

static bool is_all_back(const struct rpc_client_call *call)
{
	return atomic_load_explicit(&call->lent, memory_order_acquire) == 0;
}

/* --- events --- */

static void drop(struct rpc_client_call *call)
{
	if (atomic_fetch_sub(&call->refs, 1) == 1)
		release(call);
}

/* What a cancelled call did not send, gRPC keeps as long as the call itself. */
static void let_core_go(struct rpc_client_call *call)
{
	struct rpc_channel *channel = call->channel;
	grpc_call *core;

	pthread_mutex_lock(&channel->lock);
	core = call->call;
	call->call = NULL;
	pthread_mutex_unlock(&channel->lock);
	if (core)
		grpc_call_unref(core);
}

static void end_call(struct rpc_client_call *call)
{
	struct rpc_client *client = call->channel->client;

	call->ended = true;
	if (call->is_unsettled)
		settle_all(client);
	if (!is_all_back(call))
		let_core_go(call);
	if (is_all_back(call)) {
		report(call);
		drop(call);
	} else {
		call->next_lingering = client->lingering;
		client->lingering = call;
	}
}

static void end_lingering(struct rpc_client *client)
{
	struct rpc_client_call *call, *all = client->lingering;

	client->lingering = NULL;
	while ((call = all) != NULL) {
		all = call->next_lingering;
		end_call(call);
	}
}

static void handle(struct rpc_client_call *call, const struct tag *tag)
{
	bool last;

	if (tag->kind == STATUS)
		call->has_status = true;
	else if (tag->kind == READ)
		on_read(call);
	else if (tag->kind == SENT && tag->ok && !call->ended && call->handlers->on_sent)
		call->handlers->on_sent(call->context, call);
	/* The program's reference is left, which only end_call() drops. */
	last = atomic_load(&call->refs) == 2 && call->has_status && !call->ended;
	drop(call);
	if (last)
		end_call(call);
}

/* --- who sits in the queue --- */

/* Wait for an event until `deadline` and handle it. */
static grpc_completion_type take_event(struct rpc_client *client, gpr_timespec deadline)
{
	grpc_event event = grpc_completion_queue_next(client->queue, deadline, NULL);
	struct tag *tag = event.tag;

	if (client->lingering)
		end_lingering(client);
	if (event.type == GRPC_OP_COMPLETE) {
		(void)atomic_load_explicit(&client->handed, memory_order_acquire);
		tag->ok = event.success != 0;
		handle(tag->call, tag);
	}
	return event.type;
}

static bool is_worth_asking(struct rpc_client *client)
{
	if (client->ask_on > 0 || ++client->not_asked >= ASK_EVERY) {
		client->not_asked = 0;
		return true;
	}
	return false;
}

/* The messages of several streams, or of one, may have come meanwhile. */
static void settle(struct rpc_client *client)
{
	bool more = is_worth_asking(client);

	for (unsigned i = 0; i < AT_ONCE && more; i++) {
		more = take_event(client, gpr_inf_past(GPR_CLOCK_MONOTONIC)) == GRPC_OP_COMPLETE;
		if (more)
			client->ask_on = ASK_ON;
		else if (i == 0 && client->ask_on > 0)
			client->ask_on--;
	}
	settle_all(client);
}

/* Wait for an event until `deadline` and handle it, and what else there is at once; false at the
 * queue's end. */
static bool handle_next(struct rpc_client *client, gpr_timespec deadline)
{
	gpr_timespec soon = core_from_deadline(clock_after_ms(LINGER_MS));
	bool lingers = client->lingering && gpr_time_cmp(soon, deadline) < 0;
	grpc_completion_type type = take_event(client, lingers ? soon : deadline);

	if (client->unsettled)
		settle(client);
	return type != GRPC_QUEUE_SHUTDOWN;
}

/* The keeper leaves the queue to those who wait for answers, while there are any. */
static void rest(struct rpc_client *client)
{
	unsigned visits = client->visits, milliseconds = REST_MS;

	client->role = FREE;
	client->wanted = false;
	for (;;) {
		(void)condition_wait(&client->called, &client->lock, clock_after_ms(milliseconds));
		if (client->role == FREE && (client->recalled || client->visits == visits))
			break;
		milliseconds = client->visits == visits && milliseconds < REST_MS_MAX
		                       ? milliseconds * 2
		                       : REST_MS;
		visits = client->visits;
	}
	client->role = KEPT;
	client->recalled = false;
}

static void *keeper_main(void *context)
{
	struct rpc_client *client = context;

	while (handle_next(client, gpr_inf_future(GPR_CLOCK_MONOTONIC))) {
		pthread_mutex_lock(&client->lock);
		if (client->wanted && !client->recalled && atomic_load(&client->awaited) == 0)
			rest(client);
		pthread_mutex_unlock(&client->lock);
	}
	return NULL;
}

static bool begin_attendance(struct rpc_client *client)
{
	bool begun;

	pthread_mutex_lock(&client->lock);
	begun = client->role == FREE;
	if (begun) {
		client->role = ATTENDED;
		client->visits++;
	}
	client->wanted = true;
	pthread_mutex_unlock(&client->lock);
	return begun;
}

static void end_attendance(struct rpc_client *client)
{
	pthread_mutex_lock(&client->lock);
	client->role = FREE;
	if (atomic_load(&client->awaited) > 0) {
		client->recalled = true;
		pthread_cond_signal(&client->called);
	}
	pthread_mutex_unlock(&client->lock);
}

bool rpc_client_attend(struct rpc_client *client, const _Atomic bool *finished)
{
	if (!begin_attendance(client))
		return false;
	while (!atomic_load(finished))
		(void)handle_next(client, core_from_deadline(clock_after_ms(LOOK_MS)));
	end_attendance(client);
	return true;
}

/* --- client and channel --- */

simpler_status rpc_client_create(struct rpc_client **out)
{
	struct rpc_client *client = calloc(1, sizeof(*client));
	int error;

	if (!client)
		return error_raise(SIMPLER_ENOMEM, "no memory for a client");
	memory_keep_freed();
	grpc_init();
	client->queue = grpc_completion_queue_create_for_next(NULL);
	pthread_mutex_init(&client->lock, NULL);
	pthread_cond_init(&client->idle, NULL);
	condition_init(&client->called);
	error = pthread_create(&client->thread, NULL, keeper_main, client);
	if (error == 0) {
		*out = client;
		return SIMPLER_OK;
	}
	core_queue_destroy(client->queue);
	pthread_cond_destroy(&client->called);
	pthread_cond_destroy(&client->idle);
	pthread_mutex_destroy(&client->lock);
	free(client);
	grpc_shutdown_blocking();
	return error_raise_errno(SIMPLER_ESYSTEM, error, "cannot start the client's thread");
}

void rpc_client_destroy(struct rpc_client *client)
{
	pthread_mutex_lock(&client->lock);
	while (atomic_load(&client->live) > 0)
		pthread_cond_wait(&client->idle, &client->lock);
	pthread_mutex_unlock(&client->lock);
	grpc_completion_queue_shutdown(client->queue);
	pthread_mutex_lock(&client->lock);
	client->recalled = true;
	pthread_cond_signal(&client->called);
	pthread_mutex_unlock(&client->lock);
	pthread_join(client->thread, NULL);
	grpc_completion_queue_destroy(client->queue);
	pthread_cond_destroy(&client->called);
	pthread_cond_destroy(&client->idle);
	pthread_mutex_destroy(&client->lock);
	free(client);
	grpc_shutdown_blocking();
}

static grpc_channel *connect_to(const char *address)
{
	grpc_arg arguments[] = {
		CORE_COMMON_ARGUMENTS, CORE_INTEGER(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		CORE_INTEGER(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		/* What was sent is sent once; repeating it is the program's decision. */
		CORE_INTEGER(GRPC_ARG_ENABLE_RETRIES, 0),
		/* One connection for each channel, whoever else goes to the same address. */
		CORE_INTEGER(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		CORE_INTEGER(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100),
		CORE_INTEGER(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000), /* for one attempt */
		CORE_INTEGER(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000),
		CORE_INTEGER(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500),
		/* While a call is in progress: a server that answers no ping is lost, and the call
		 * with it, whether its machine, its network or its process has stopped. */
		CORE_INTEGER(GRPC_ARG_KEEPALIVE_TIME_MS, CORE_PING_MS),
		CORE_INTEGER(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, CORE_PING_MS),
		CORE_INTEGER(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0), /* any number */
	};
	grpc_channel_args all = { sizeof(arguments) / sizeof(arguments[0]), arguments };
	grpc_channel_credentials *credentials = core_channel_credentials();
	char target[CORE_ADDRESS_MAX];
	grpc_channel *channel;

	core_address_target(address, target);
	channel = grpc_channel_create(target, credentials, &all);
	grpc_channel_credentials_release(credentials);
	return channel;
}

simpler_status rpc_channel_open(struct rpc_client *client, const char *address,
                                struct rpc_channel **out)
{
	simpler_status status = core_address_check(address);
	struct rpc_channel *channel;

	if (status != SIMPLER_OK)
		return status;
	channel = calloc(1, sizeof(*channel));
	if (!channel)
		return error_raise(SIMPLER_ENOMEM, "no memory for a channel to %s", address);
	channel->client = client;
	channel->channel = connect_to(address);
	memcpy(channel->address, address, strlen(address) + 1);
	atomic_init(&channel->refs, 1);
	pthread_mutex_init(&channel->lock, NULL);
	*out = channel;
	return SIMPLER_OK;
}

void rpc_channel_set_session(struct rpc_channel *channel, uint64_t session)
{
	assert(session != 0);
	channel->session = session;
}

void rpc_channel_close(struct rpc_channel *channel)
{
	struct rpc_client_call *call;

	pthread_mutex_lock(&channel->lock);
	DL_FOREACH (channel->calls, call) {
		if (call->call)
			grpc_call_cancel_with_status(call->call, GRPC_STATUS_CANCELLED,
			                             "the channel was closed", NULL);
	}
	pthread_mutex_unlock(&channel->lock);
	grpc_channel_destroy(channel->channel);
	channel_release(channel);
}

/* --- unary calls --- */

void rpc_unary_begin(struct rpc_client_call *call, bool wait_for_ready, struct rpc_buffer *message,
                     rpc_done *done, void *context)
{
	grpc_byte_buffer *bytes = core_take(message);
	const grpc_op ops[] = { op_open(call, wait_for_ready),
		                op_send(bytes),
		                op_close(),
		                op_metadata(call),
		                op_read(call),
		                op_status(call) };

	call->done = done;
	call->context = context;
	start(call, ops, sizeof(ops) / sizeof(ops[0]), STATUS);
	grpc_byte_buffer_destroy(bytes);
}

void rpc_unary(struct rpc_channel *channel, const char *path, int64_t deadline, bool wait_for_ready,
               struct rpc_buffer *message, rpc_done *done, void *context)
{
	struct rpc_client_call *call = rpc_client_call_create(channel, path, deadline);

	if (call) {
		rpc_unary_begin(call, wait_for_ready, message, done, context);
		return;
	}
	rpc_buffer_release(message);
	done(context, RPC_RESOURCE_EXHAUSTED, "no memory for a call", NULL, 0);
}

/* The answer that rpc_unary_wait() sleeps for. */
struct waiter {
	pthread_mutex_t lock; /* guards all of it */
	pthread_cond_t woken;
	_Atomic bool is_done;
	enum rpc_code code;
	char text[ERROR_STEP_BYTES];
	uint8_t *data;
	size_t size;
};

static void wake(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                 size_t size)
{
	struct waiter *waiter = context;
	size_t length = strlen(text);

	if (length >= sizeof(waiter->text))
		length = sizeof(waiter->text) - 1;
	pthread_mutex_lock(&waiter->lock);
	waiter->code = code;
	memcpy(waiter->text, text, length);
	waiter->text[length] = '\0';
	waiter->size = size;
	waiter->data = code == RPC_OK ? malloc(size > 0 ? size : 1) : NULL;
	if (waiter->data)
		memcpy(waiter->data, data, size);
	atomic_store(&waiter->is_done, true);
	pthread_cond_signal(&waiter->woken);
	pthread_mutex_unlock(&waiter->lock);
}

static simpler_status raise_answer(const struct waiter *waiter, const struct rpc_channel *channel,
                                   const char *path)
{
	error_raise(rpc_status_of(waiter->code), "%s",
	            waiter->text[0] ? waiter->text : rpc_code_name(waiter->code));
	return error_context("%s at %s answered %s", path, channel->address,
	                     rpc_code_name(waiter->code));
}

simpler_status rpc_unary_wait(struct rpc_channel *channel, const char *path, int64_t deadline,
                              bool wait_for_ready, struct rpc_buffer *message, uint8_t **response,
                              size_t *response_size)
{
	struct waiter waiter = { .lock = PTHREAD_MUTEX_INITIALIZER,
		                 .woken = PTHREAD_COND_INITIALIZER };

	rpc_unary(channel, path, deadline, wait_for_ready, message, wake, &waiter);
	(void)rpc_client_attend(channel->client, &waiter.is_done);
	pthread_mutex_lock(&waiter.lock);
	while (!waiter.is_done)
		pthread_cond_wait(&waiter.woken, &waiter.lock);
	pthread_mutex_unlock(&waiter.lock);
	pthread_cond_destroy(&waiter.woken);
	pthread_mutex_destroy(&waiter.lock);
	if (waiter.code != RPC_OK)
		return raise_answer(&waiter, channel, path);
	if (!waiter.data)
		return error_raise(SIMPLER_ENOMEM, "no memory for an answer of %zu bytes",
		                   waiter.size);
	*response = waiter.data;
	*response_size = waiter.size;
	return SIMPLER_OK;
}

/* --- streaming calls --- */

void rpc_stream_begin(struct rpc_client_call *call, struct rpc_buffer *first,
                      const struct rpc_stream_handlers *handlers, void *context)
{
	grpc_byte_buffer *bytes = first ? core_take(first) : NULL;
	const grpc_op opening[] = { op_open(call, false), op_send(bytes) };
	const grpc_op ending[] = { op_metadata(call), op_status(call) };

	call->handlers = handlers;
	call->context = context;
	/* STATUS last: the call cannot end before that has come back, and once it is under way this
	 * thread must not touch the call any more. */
	read_next(call);
	start(call, opening, first ? 2 : 1, first ? SENT : OPENED);
	start(call, ending, 2, STATUS);
	grpc_byte_buffer_destroy(bytes);
}

void rpc_stream_send(struct rpc_client_call *call, struct rpc_buffer *message)
{
	grpc_byte_buffer *bytes = core_take(message);
	grpc_op op = op_send(bytes);
	bool told = atomic_load(&call->told);

	/* The call may end as soon as this has begun, but for whoever is told so under a lock of
	 * his, which he has now. What reading it sends goes with the message then. */
	start(call, &op, 1, SENT);
	grpc_byte_buffer_destroy(bytes);
	if (told)
		read_next(call);
}

void rpc_stream_close_send(struct rpc_client_call *call)
{
	grpc_op op = op_close();

	start(call, &op, 1, CLOSED);
}
