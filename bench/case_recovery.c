/*
 * From the kill -9 of an engine to the next task that its node serves, beside executing a process
 * that does nothing and seeing its end. Each kill is of the first engine of a daemon of its own, as
 * engines that die young in a row come back later and later.
 *
 * Beside it, on a line of its own: from the kill to the failure of the task that the engine had.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "callable.h"
#include "os/process.h"
#include "rpc/messages.h"
#include "stats.h"

#define KILLS   5 /* a round */
#define WAIT_MS 60000

struct victim {
	struct daemon node;
	struct rpc_client *client;
	struct rpc_channel *channel;
};

/* The task that the engine has when it is killed. */
struct held {
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	int64_t ended; /* 0: it has not */
};

static struct bench_payload noop, pause_for_ever;

static simpler_status call(struct victim *victim, const char *path, struct rpc_buffer *message,
                           uint8_t **answer, size_t *size)
{
	return rpc_unary_wait(victim->channel, path, clock_after_ms(WAIT_MS), false, message,
	                      answer, size);
}

static void push(struct victim *victim, const struct bench_payload *payload)
{
	const struct msg_callable message = { .callable_id = payload->id,
		                              .version = payload->version,
		                              .payload = payload->payload };
	struct rpc_buffer buffer;
	uint8_t *answer;
	size_t size;

	if (msg_callable_encode(&message, &buffer) != SIMPLER_OK ||
	    call(victim, MSG_PUSH_CALLABLE, &buffer, &answer, &size) != SIMPLER_OK)
		bench_give_up("registering a callable");
	free(answer);
}

static void encode_task(const struct bench_payload *payload, struct rpc_buffer *out)
{
	const struct msg_dispatch request = { .task_id = 1,
		                              .callable_id = payload->id,
		                              .callable_version = payload->version };

	if (msg_dispatch_encode(&request, out) != SIMPLER_OK)
		bench_give_up("memory");
}

static bool serves(struct victim *victim)
{
	struct rpc_buffer buffer;
	uint8_t *answer;
	size_t size;

	encode_task(&noop, &buffer);
	if (call(victim, MSG_DISPATCH, &buffer, &answer, &size) != SIMPLER_OK)
		return false;
	free(answer);
	return true;
}

static void ask_status(struct victim *victim, pid_t *engine, uint32_t *runs)
{
	static struct msg_status status;
	struct rpc_buffer empty;
	struct bump bump;
	uint8_t *answer;
	size_t size;

	if (msg_empty_encode(&empty) != SIMPLER_OK ||
	    call(victim, MSG_STATUS, &empty, &answer, &size) != SIMPLER_OK)
		bench_give_up("asking for the status");
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_status_decode(answer, size, &bump, &status) != SIMPLER_OK)
		bench_give_up("the status");
	*engine = (pid_t)status.engine.pid;
	*runs = status.engine.runs;
	bump_release(&bump);
	free(answer);
}

static void start(struct victim *victim)
{
	static const char *const options[] = { "--sub-workers", "2", "--log-level", "error", NULL };

	daemon_start(&victim->node, options);
	if (rpc_client_create(&victim->client) != SIMPLER_OK ||
	    rpc_channel_open(victim->client, victim->node.address, &victim->channel) != SIMPLER_OK)
		bench_give_up("connecting");
	push(victim, &noop);
	push(victim, &pause_for_ever);
	if (!serves(victim))
		bench_give_up("a task");
}

static void stop(struct victim *victim)
{
	rpc_channel_close(victim->channel);
	rpc_client_destroy(victim->client);
	(void)daemon_stop(&victim->node);
}

static void held_done(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                      size_t size)
{
	struct held *held = context;

	(void)text;
	(void)data;
	(void)size;
	if (code != RPC_UNAVAILABLE)
		bench_give_up("a task that was to be lost");
	pthread_mutex_lock(&held->lock);
	held->ended = clock_now();
	pthread_cond_broadcast(&held->changed);
	pthread_mutex_unlock(&held->lock);
}

static pid_t begin_held(struct victim *victim, struct held *held)
{
	struct rpc_buffer buffer;
	uint32_t runs = 0;
	pid_t engine;

	encode_task(&pause_for_ever, &buffer);
	rpc_unary(victim->channel, MSG_DISPATCH, clock_after_ms(WAIT_MS), false, &buffer, held_done,
	          held);
	while (runs == 0)
		ask_status(victim, &engine, &runs);
	return engine;
}

static int64_t await_held(struct held *held)
{
	pthread_mutex_lock(&held->lock);
	while (held->ended == 0)
		(void)pthread_cond_wait(&held->changed, &held->lock);
	pthread_mutex_unlock(&held->lock);
	return held->ended;
}

/* Nanoseconds until the task that was lost has failed, and until another is served. */
static void kill_one(double *told, double *served)
{
	struct held held = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
	struct victim victim;
	int64_t killed;
	pid_t engine;

	start(&victim);
	engine = begin_held(&victim, &held);
	killed = clock_now();
	(void)kill(engine, SIGKILL);
	*told = (double)(await_held(&held) - killed);
	while (!serves(&victim))
		bench_pause();
	*served = (double)(clock_now() - killed);
	stop(&victim);
}

static double execute_one(void)
{
	static char name[] = "true";
	char *const arguments[] = { name, NULL };
	int64_t began = clock_now();
	int pidfd, wait_status;
	pid_t pid;

	if (process_start("/bin/true", arguments, NULL, 0, &pid, &pidfd) != SIMPLER_OK)
		bench_give_up("executing a process");
	(void)process_wait(pidfd, CLOCK_NEVER, &wait_status);
	(void)close(pidfd);
	return (double)(clock_now() - began);
}

void case_recovery(const char *name, const struct bench *bench)
{
	struct stats_rounds served = { .unit = "us", .tail = true };
	struct stats_rounds told = { .unit = "us", .tail = true };
	double floors[KILLS], until_told[KILLS], until_served[KILLS];

	bench_payload_make(bench, "noop", &noop);
	bench_payload_make(bench, "pause_for_ever", &pause_for_ever);
	for (unsigned i = 0; i < bench->rounds; i++) {
		for (unsigned k = 0; k < KILLS; k++)
			floors[k] = execute_one();
		stats_floor(&served, floors, KILLS);
		stats_floor(&told, floors, KILLS);
		for (unsigned k = 0; k < KILLS; k++)
			kill_one(&until_told[k], &until_served[k]);
		stats_value(&told, until_told, KILLS);
		stats_value(&served, until_served, KILLS);
	}
	stats_report("recovery_told", &told);
	stats_report(name, &served);
	bench_payload_release(&noop);
	bench_payload_release(&pause_for_ever);
}
