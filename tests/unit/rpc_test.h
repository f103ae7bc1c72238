/* A server and a client in one process, and calls whose outcome a test can wait for. */
#ifndef TESTS_UNIT_RPC_TEST_H
#define TESTS_UNIT_RPC_TEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "rpc/rpc.h"

#define TEXT_MAX 8192

/* A call at the client, from the test's point of view. Everything behind `lock`. */
struct outcome {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned ended; /* how many calls; more than one share an outcome in the load tests */
	unsigned messages, sent;
	enum rpc_code code; /* of the last */
	char text[TEXT_MAX];
	uint8_t *data; /* the last message */
	size_t size;
};

static inline void outcome_init(struct outcome *outcome)
{
	memset(outcome, 0, sizeof(*outcome));
	pthread_mutex_init(&outcome->lock, NULL);
	pthread_cond_init(&outcome->changed, NULL);
}

static inline void outcome_destroy(struct outcome *outcome)
{
	free(outcome->data);
	pthread_mutex_destroy(&outcome->lock);
	pthread_cond_destroy(&outcome->changed);
}

static inline void outcome_keep(struct outcome *outcome, const uint8_t *data, size_t size)
{
	free(outcome->data);
	outcome->data = malloc(size + 1);
	outcome->size = size;
	if (size > 0)
		memcpy(outcome->data, data, size);
}

static inline void outcome_finish(struct outcome *outcome, enum rpc_code code, const char *text)
{
	size_t size = strlen(text);

	outcome->code = code;
	outcome->ended++;
	size = size < TEXT_MAX ? size : TEXT_MAX - 1;
	memcpy(outcome->text, text, size);
	outcome->text[size] = '\0';
	pthread_cond_broadcast(&outcome->changed);
}

/* For rpc_unary(). */
static inline void outcome_done(void *context, enum rpc_code code, const char *text,
                                const uint8_t *data, size_t size)
{
	struct outcome *outcome = context;

	pthread_mutex_lock(&outcome->lock);
	if (code == RPC_OK)
		outcome_keep(outcome, data, size);
	outcome_finish(outcome, code, text);
	pthread_mutex_unlock(&outcome->lock);
}

/* For streams. */
static inline void outcome_message(void *context, struct rpc_client_call *call, const uint8_t *data,
                                   size_t size)
{
	struct outcome *outcome = context;

	(void)call;
	pthread_mutex_lock(&outcome->lock);
	outcome_keep(outcome, data, size);
	outcome->messages++;
	pthread_cond_broadcast(&outcome->changed);
	pthread_mutex_unlock(&outcome->lock);
}

static inline void outcome_sent(void *context, struct rpc_client_call *call)
{
	struct outcome *outcome = context;

	(void)call;
	pthread_mutex_lock(&outcome->lock);
	outcome->sent++;
	pthread_cond_broadcast(&outcome->changed);
	pthread_mutex_unlock(&outcome->lock);
}

static inline void outcome_end(void *context, enum rpc_code code, const char *text)
{
	struct outcome *outcome = context;

	pthread_mutex_lock(&outcome->lock);
	outcome_finish(outcome, code, text);
	pthread_mutex_unlock(&outcome->lock);
}

static inline struct rpc_client_call *stream_open(struct rpc_channel *channel, const char *path,
                                                  int64_t deadline,
                                                  const struct rpc_stream_handlers *handlers,
                                                  void *context)
{
	struct rpc_client_call *call = rpc_client_call_create(channel, path, deadline);

	if (!call)
		abort();
	rpc_stream_begin(call, NULL, handlers, context);
	return call;
}

static const struct rpc_stream_handlers outcome_handlers = { .on_message = outcome_message,
	                                                     .on_sent = outcome_sent,
	                                                     .on_end = outcome_end };

/* Wait until a counter of `outcome` has reached `count`. */
static inline void outcome_wait(struct outcome *outcome, const unsigned *counter, unsigned count)
{
	pthread_mutex_lock(&outcome->lock);
	while (*counter < count)
		pthread_cond_wait(&outcome->changed, &outcome->lock);
	pthread_mutex_unlock(&outcome->lock);
}

static inline unsigned outcome_ended(struct outcome *outcome)
{
	unsigned ended;

	pthread_mutex_lock(&outcome->lock);
	ended = outcome->ended;
	pthread_mutex_unlock(&outcome->lock);
	return ended;
}

static inline struct rpc_buffer bytes_buffer(const void *data, size_t size)
{
	struct rpc_buffer buffer;

	if (rpc_buffer_alloc(&buffer, size) != SIMPLER_OK)
		abort();
	if (size > 0)
		memcpy(buffer.data, data, size);
	return buffer;
}

static inline struct rpc_buffer text_buffer(const char *text)
{
	return bytes_buffer(text, strlen(text));
}

/* A server, a client, and a channel between them. */
struct pair {
	struct rpc_server *server;
	struct rpc_client *client;
	struct rpc_channel *channel;
};

static inline void pair_start(struct pair *pair, const struct rpc_server_options *options)
{
	if (rpc_server_start(options, &pair->server) != SIMPLER_OK ||
	    rpc_client_create(&pair->client) != SIMPLER_OK ||
	    rpc_channel_open(pair->client, rpc_server_address(pair->server), &pair->channel) !=
	            SIMPLER_OK)
		abort();
}

static inline void pair_stop(struct pair *pair)
{
	rpc_channel_close(pair->channel);
	rpc_client_destroy(pair->client);
	rpc_server_stop(pair->server, clock_after_ms(10000));
}

#endif
