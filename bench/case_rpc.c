/* What one call to the daemon costs beside a call with nothing around gRPC. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/clock.h"
#include "cases.h"
#include "rpc/messages.h"
#include "stats.h"

/* About what a Health answer has. */
#define ECHO_BYTES 100

/* Each answer's callback makes the next call, so that one thread does it all, as in the floor. */
struct chain {
	struct rpc_channel *channel;
	double *samples;
	unsigned count, wanted;
	int64_t began;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done, failed;
};

static void call(struct chain *chain);

static void on_answer(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                      size_t size)
{
	struct chain *chain = context;

	(void)text;
	(void)data;
	(void)size;
	chain->samples[chain->count++] = (double)(clock_now() - chain->began);
	if (code == RPC_OK && chain->count < chain->wanted) {
		call(chain);
		return;
	}
	pthread_mutex_lock(&chain->lock);
	chain->failed = code != RPC_OK;
	chain->done = true;
	pthread_cond_signal(&chain->changed);
	pthread_mutex_unlock(&chain->lock);
}

static void call(struct chain *chain)
{
	struct rpc_buffer empty;

	if (msg_empty_encode(&empty) != SIMPLER_OK)
		bench_give_up("a heartbeat");
	chain->began = clock_now();
	rpc_unary(chain->channel, MSG_HEARTBEAT, CLOCK_NEVER, true, &empty, on_answer, chain);
}

static void heartbeats(struct rpc_channel *channel, double *samples, unsigned count)
{
	struct chain chain = { .channel = channel, .wanted = count };

	chain.samples = samples;
	pthread_mutex_init(&chain.lock, NULL);
	pthread_cond_init(&chain.changed, NULL);
	call(&chain);
	pthread_mutex_lock(&chain.lock);
	while (!chain.done)
		pthread_cond_wait(&chain.changed, &chain.lock);
	pthread_mutex_unlock(&chain.lock);
	pthread_cond_destroy(&chain.changed);
	pthread_mutex_destroy(&chain.lock);
	if (chain.failed)
		bench_give_up("a heartbeat");
}

void case_rpc_hop(const char *name, const struct bench *bench)
{
	struct stats_rounds rounds = { .unit = "us" };
	struct rpc_client *client;
	struct rpc_channel *channel;

	if (rpc_client_create(&client) != SIMPLER_OK ||
	    rpc_channel_open(client, bench->node.address, &channel) != SIMPLER_OK)
		bench_give_up("connecting");
	heartbeats(channel, bench->samples, bench->iterations / 10 + 1);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		if (!bare_grpc_run(bench->bare, ECHO_BYTES, 1, bench->iterations, bench->samples))
			bench_give_up("the bare echo");
		stats_floor(&rounds, bench->samples, bench->iterations);
		bench_stir();
		heartbeats(channel, bench->samples, bench->iterations);
		stats_value(&rounds, bench->samples, bench->iterations);
	}
	stats_report(name, &rounds);
	rpc_channel_close(channel);
	rpc_client_destroy(client);
}
