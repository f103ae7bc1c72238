/* The service that the tests of calls talk to, what it saw, and calls of it. */
#ifndef TESTS_UNIT_RPC_SERVICE_H
#define TESTS_UNIT_RPC_SERVICE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <unistd.h>

#include "rpc_test.h"

/* What the server's side of a test saw. */
struct seen {
	pthread_mutex_t lock; /* guards all of it */
	pthread_cond_t changed;
	unsigned held, cancels, ends, cancelled_ends;
	struct rpc_call *calls[64]; /* of Hold, unanswered */
};

static struct seen seen = { .lock = PTHREAD_MUTEX_INITIALIZER,
	                    .changed = PTHREAD_COND_INITIALIZER };

static inline int forget_seen(void **state)
{
	(void)state;
	pthread_mutex_lock(&seen.lock);
	seen.held = seen.cancels = seen.ends = seen.cancelled_ends = 0;
	pthread_mutex_unlock(&seen.lock);
	return 0;
}

static inline void wait_seen(const unsigned *counter, unsigned count)
{
	pthread_mutex_lock(&seen.lock);
	while (*counter < count)
		pthread_cond_wait(&seen.changed, &seen.lock);
	pthread_mutex_unlock(&seen.lock);
}

static inline void echo(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_buffer answer = bytes_buffer(data, size);

	rpc_finish(call, RPC_OK, NULL, &answer);
}

/* The session as text, or "refused". */
static inline void tell_session(struct rpc_call *call, const uint8_t *data, size_t size)
{
	char text[32] = "refused";
	struct rpc_buffer answer;
	uint64_t session;

	(void)data;
	(void)size;
	if (rpc_call_session(call, &session) == SIMPLER_OK)
		(void)snprintf(text, sizeof(text), "%llx", (unsigned long long)session);
	answer = text_buffer(text);
	rpc_finish(call, RPC_OK, NULL, &answer);
}

/* "13 text" fails with code 13 and the text. */
static inline void refuse(struct rpc_call *call, const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1), *rest;
	long code;

	memcpy(text, data, size);
	code = strtol(text, &rest, 10);
	rpc_finish(call, (enum rpc_code)code, *rest ? rest + 1 : rest, NULL);
	free(text);
}

/* Unanswered until the test does or the client is gone. */
static inline void hold(struct rpc_call *call, const uint8_t *data, size_t size)
{
	(void)data;
	(void)size;
	pthread_mutex_lock(&seen.lock);
	seen.calls[seen.held++] = call;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
}

static inline void hold_cancelled(struct rpc_call *call)
{
	bool ours = false;

	pthread_mutex_lock(&seen.lock);
	for (unsigned i = 0; i < seen.held; i++) {
		ours = ours || seen.calls[i] == call;
		if (seen.calls[i] == call)
			seen.calls[i] = NULL;
	}
	seen.cancels++;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
	if (ours)
		rpc_finish(call, RPC_CANCELLED, NULL, NULL);
}

static inline void answer_held(void)
{
	for (unsigned i = 0; i < sizeof(seen.calls) / sizeof(seen.calls[0]); i++) {
		struct rpc_buffer answer;
		struct rpc_call *call;

		pthread_mutex_lock(&seen.lock);
		call = i < seen.held ? seen.calls[i] : NULL;
		seen.calls[i] = NULL;
		pthread_mutex_unlock(&seen.lock);
		if (!call)
			continue;
		answer = text_buffer("held");
		rpc_finish(call, RPC_OK, NULL, &answer);
	}
}

static inline void count_end(struct rpc_call *call, bool cancelled)
{
	free(rpc_call_state(call));
	pthread_mutex_lock(&seen.lock);
	seen.ends++;
	seen.cancelled_ends += cancelled;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
}

/* Chat: each message comes back, then the next is read. A second callback of the same call at the
 * same time would be seen in `inside`. */
struct chat {
	atomic_bool inside;
	unsigned messages;
};

static inline void enter(struct rpc_call *call)
{
	struct chat *chat = rpc_call_state(call);

	assert_false(atomic_exchange(&chat->inside, true));
}

static inline void leave(struct rpc_call *call)
{
	struct chat *chat = rpc_call_state(call);

	atomic_store(&chat->inside, false);
}

static inline void chat_open(struct rpc_call *call)
{
	rpc_call_set_state(call, calloc(1, sizeof(struct chat)));
	enter(call);
	rpc_receive(call);
	leave(call);
}

/* Sending and receiving at once makes their events race with each other. */
static inline void chat_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct chat *chat = rpc_call_state(call);
	struct rpc_buffer answer = bytes_buffer(data, size);

	enter(call);
	chat->messages++;
	rpc_send(call, &answer);
	leave(call);
}

static inline void chat_sent(struct rpc_call *call)
{
	enter(call);
	rpc_receive(call);
	leave(call);
}

static inline void chat_half_close(struct rpc_call *call)
{
	struct chat *chat = rpc_call_state(call);
	char text[32];

	snprintf(text, sizeof(text), "%u messages", chat->messages);
	rpc_finish(call, chat->messages == 13 ? RPC_OUT_OF_RANGE : RPC_OK, text, NULL);
}

static inline void chat_cancelled(struct rpc_call *call)
{
	enter(call);
	pthread_mutex_lock(&seen.lock);
	seen.cancels++;
	pthread_mutex_unlock(&seen.lock);
	rpc_finish(call, RPC_CANCELLED, NULL, NULL);
	leave(call);
}

/* Flood: sends as many messages as the request says, numbered. */
struct flood {
	uint32_t next, count;
};

static inline void flood_next(struct rpc_call *call)
{
	struct flood *flood = rpc_call_state(call);
	struct rpc_buffer message;

	if (flood->next == flood->count) {
		rpc_finish(call, RPC_OK, NULL, NULL);
		return;
	}
	message = bytes_buffer(&flood->next, sizeof(flood->next));
	flood->next++;
	rpc_send(call, &message);
}

static inline void flood_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct flood *flood = calloc(1, sizeof(*flood));

	memcpy(&flood->count, data, size < 4 ? size : 4);
	rpc_call_set_state(call, flood);
	flood_next(call);
}

static inline void finish_cancelled(struct rpc_call *call)
{
	rpc_finish(call, RPC_CANCELLED, NULL, NULL);
}

#define IDLE_MS 50

static const struct rpc_method methods[] = {
	{ .path = "/test.T/Echo", .on_message = echo },
	{ .path = "/test.T/Session", .on_message = tell_session },
	{ .path = "/test.T/Fail", .on_message = refuse },
	{ .path = "/test.T/Hold",
	  .on_message = hold,
	  .on_cancel = hold_cancelled,
	  .on_end = count_end },
	{ .path = "/test.T/HoldQuietly", .on_message = hold, .on_end = count_end },
	{ .path = "/test.T/Chat",
	  .streaming = true,
	  .on_open = chat_open,
	  .on_message = chat_message,
	  .on_half_close = chat_half_close,
	  .on_sent = chat_sent,
	  .on_cancel = chat_cancelled,
	  .on_end = count_end },
	{ .path = "/test.T/Flood",
	  .streaming = true,
	  .on_open = rpc_receive,
	  .on_message = flood_message,
	  .on_sent = flood_next,
	  .on_cancel = finish_cancelled,
	  .on_end = count_end },
	/* Those that end when their clients are silent. */
	{ .path = "/test.T/ImpatientHold",
	  .streaming = true,
	  .idle_ms = IDLE_MS,
	  .on_open = rpc_receive,
	  .on_message = hold,
	  .on_cancel = finish_cancelled,
	  .on_end = count_end },
	{ .path = "/test.T/ImpatientChat",
	  .streaming = true,
	  .idle_ms = IDLE_MS,
	  .on_open = chat_open,
	  .on_message = chat_message,
	  .on_half_close = chat_half_close,
	  .on_sent = chat_sent,
	  .on_cancel = chat_cancelled,
	  .on_end = count_end },
	{ .path = "/test.T/ImpatientFlood",
	  .streaming = true,
	  .idle_ms = IDLE_MS,
	  .on_open = rpc_receive,
	  .on_message = flood_message,
	  .on_sent = flood_next,
	  .on_cancel = finish_cancelled,
	  .on_end = count_end },
};

static inline struct rpc_server_options options_for(const char *address)
{
	return (struct rpc_server_options){ .address = address,
		                            .methods = methods,
		                            .method_count = sizeof(methods) / sizeof(methods[0]),
		                            .threads = 2 };
}

static inline void start_on(struct pair *pair, const char *address)
{
	struct rpc_server_options options = options_for(address);

	pair_start(pair, &options);
}

static char socket_path[64], socket_address[80];

static inline int make_socket_path(void **state)
{
	(void)state;
	snprintf(socket_path, sizeof(socket_path), "/tmp/test_rpc.%ld", (long)getpid());
	snprintf(socket_address, sizeof(socket_address), "unix:%s", socket_path);
	return 0;
}

/* A call that is expected to end within ten seconds. */
static inline void call(struct rpc_channel *channel, const char *path, const char *message,
                        struct outcome *out)
{
	struct rpc_buffer buffer = text_buffer(message);

	outcome_init(out);
	rpc_unary(channel, path, clock_after_ms(10000), false, &buffer, outcome_done, out);
	outcome_wait(out, &out->ended, 1);
}

static inline void assert_answers(struct rpc_channel *channel)
{
	struct outcome out;

	call(channel, "/test.T/Echo", "hello", &out);
	assert_int_equal(out.code, RPC_OK);
	assert_int_equal(out.size, 5);
	assert_memory_equal(out.data, "hello", 5);
	outcome_destroy(&out);
}

static inline struct rpc_client_call *open_stream(struct rpc_channel *channel, const char *path,
                                                  struct outcome *out)
{
	outcome_init(out);
	return stream_open(channel, path, clock_after_ms(20000), &outcome_handlers, out);
}

#define TEST(name) cmocka_unit_test_setup(name, forget_seen)

#endif
