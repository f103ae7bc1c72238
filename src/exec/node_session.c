/*
 * The renewer sleeps until the next round, begins an Attach on every node, and hears of the answers
 * on the RPC client's thread. A node has one call in progress at most: one that does not answer is
 * asked again when its call has failed.
 */
#include "exec/node_session.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "os/random.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"

#define RENEWALS 3 /* in a time to live */
/* For one of them to be answered; who ends a session may have to wait so long for a node that
 * hangs. */
#define RENEW_MS        2000u
#define ATTACH_AGAIN_MS 100u

struct attachment {
	struct node_session *session;
	struct rpc_channel *channel;
	const char *name;
	struct attachment *next;
	/* Under the session's lock: */
	uint64_t boot_id;
	bool renewing;
	bool silent; /* it was told that it does not answer */
};

struct node_session {
	uint64_t id, ttl_ms;
	pthread_mutex_t lock; /* guards what is below, and of attachments what says so */
	pthread_cond_t changed;
	struct attachment *attachments;
	uint32_t in_progress; /* calls */
	bool ending;
	bool has_renewer;
	pthread_t renewer;
};

simpler_status node_session_create(uint64_t ttl_ms, struct node_session **out)
{
	struct node_session *session = calloc(1, sizeof(*session));
	pthread_condattr_t monotonic;

	if (!session)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a session");
	session->id = random_u64();
	session->ttl_ms = ttl_ms;
	(void)pthread_mutex_init(&session->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&session->changed, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	*out = session;
	return SIMPLER_OK;
}

uint64_t node_session_id(const struct node_session *session)
{
	return session->id;
}

/* With the lock. False when the time is over. */
static bool wait_changed(struct node_session *session, int64_t until)
{
	struct timespec time = { (time_t)(until / CLOCK_S), (long)(until % CLOCK_S) };

	return pthread_cond_timedwait(&session->changed, &session->lock, &time) == 0;
}

/* --- renewing --- */

/* With the lock. The node knows nothing of what it had, if it is another one, or this session was
 * over for it. */
static void take_answer(struct attachment *node, const struct msg_attached *answer)
{
	if (node->silent)
		simpler_log(SIMPLER_LOG_INFO, "%s answers again", node->name);
	node->silent = false;
	if (answer->boot_id != node->boot_id)
		simpler_log(SIMPLER_LOG_WARN,
		            "%s was started anew: what was stored and registered there is gone",
		            node->name);
	else if (!answer->known)
		simpler_log(SIMPLER_LOG_WARN,
		            "%s had not heard of this program for %" PRIu64
		            " ms, and let go of what was stored and registered there",
		            node->name, node->session->ttl_ms);
	node->boot_id = answer->boot_id;
}

static void take_silence(struct attachment *node, const char *text)
{
	if (!node->silent)
		simpler_log(SIMPLER_LOG_WARN, "%s does not renew this program's session: %s",
		            node->name, text);
	node->silent = true;
}

static simpler_status decode_answer(const uint8_t *data, size_t size, struct msg_attached *out)
{
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_attached_decode(data, size, &bump, out);
	bump_release(&bump);
	return status;
}

static void on_renewed(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                       size_t size)
{
	struct attachment *node = context;
	struct node_session *session = node->session;
	struct msg_attached answer;

	pthread_mutex_lock(&session->lock);
	if (code != RPC_OK)
		take_silence(node, text);
	else if (decode_answer(data, size, &answer) != SIMPLER_OK)
		take_silence(node, simpler_last_error_step(0));
	else
		take_answer(node, &answer);
	node->renewing = false;
	session->in_progress--;
	(void)pthread_cond_broadcast(&session->changed);
	pthread_mutex_unlock(&session->lock);
}

static simpler_status encode_attach(const struct node_session *session, struct rpc_buffer *out)
{
	const struct msg_attach message = { .ttl_ms = session->ttl_ms };

	return msg_attach_encode(&message, out);
}

/* Without the lock, as the answer may come in here. */
static void renew(struct attachment *node)
{
	int64_t deadline = clock_after_ms(RENEW_MS);
	struct rpc_buffer buffer;

	if (encode_attach(node->session, &buffer) == SIMPLER_OK)
		rpc_unary(node->channel, MSG_ATTACH, deadline, false, &buffer, on_renewed, node);
	else
		on_renewed(node, RPC_RESOURCE_EXHAUSTED, simpler_last_error_step(0), NULL, 0);
}

/* The next that is to be renewed in this round, counted as in progress. */
static struct attachment *next_to_renew(struct node_session *session, struct attachment *after)
{
	struct attachment *node;

	pthread_mutex_lock(&session->lock);
	node = after ? after->next : session->attachments;
	while (node && node->renewing)
		node = node->next;
	if (node && !session->ending) {
		node->renewing = true;
		session->in_progress++;
	} else {
		node = NULL;
	}
	pthread_mutex_unlock(&session->lock);
	return node;
}

static void *renewer_main(void *context)
{
	struct node_session *session = context;
	uint64_t period = session->ttl_ms / RENEWALS;
	int64_t next = clock_after_ms(period);
	bool ending;

	do {
		struct attachment *node = NULL;

		pthread_mutex_lock(&session->lock);
		while (!session->ending && clock_now() < next)
			(void)wait_changed(session, next);
		ending = session->ending;
		pthread_mutex_unlock(&session->lock);
		next = clock_after_ms(period);
		while ((node = next_to_renew(session, node)) != NULL)
			renew(node);
	} while (!ending);
	return NULL;
}

static simpler_status start_renewer(struct node_session *session)
{
	int failure;

	if (session->has_renewer)
		return SIMPLER_OK;
	failure = pthread_create(&session->renewer, NULL, renewer_main, session);
	if (failure != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, failure,
		                         "starting the thread that renews a session");
	session->has_renewer = true;
	return SIMPLER_OK;
}

/* --- attaching --- */

static simpler_status attach(struct node_session *session, struct rpc_channel *channel,
                             int64_t deadline, struct msg_attached *out)
{
	struct rpc_buffer buffer;
	uint8_t *answer;
	size_t size;
	simpler_status status = encode_attach(session, &buffer);

	if (status == SIMPLER_OK)
		status = rpc_unary_wait(channel, MSG_ATTACH, deadline, true, &buffer, &answer,
		                        &size);
	if (status != SIMPLER_OK)
		return status;
	status = decode_answer(answer, size, out);
	free(answer);
	return status;
}

/* False when there is no time left for another try. */
static bool pause_before_next_try(struct node_session *session, int64_t deadline)
{
	int64_t next = clock_after_ms(ATTACH_AGAIN_MS);

	if (next >= deadline)
		return false;
	pthread_mutex_lock(&session->lock);
	while (clock_now() < next)
		(void)wait_changed(session, next);
	pthread_mutex_unlock(&session->lock);
	return true;
}

/* While nobody listens, a try waits. But a daemon that is about to go, or that has just come, may
 * take a connection and break it, or say that it is not available. */
static simpler_status attach_in_time(struct node_session *session, struct rpc_channel *channel,
                                     int64_t deadline, struct msg_attached *out)
{
	simpler_status status;

	do
		status = attach(session, channel, deadline, out);
	while (status == SIMPLER_EUNAVAILABLE && pause_before_next_try(session, deadline));
	return status;
}

simpler_status node_session_attach(struct node_session *session, struct rpc_channel *channel,
                                   const char *name, int64_t deadline,
                                   char shm_address[NODE_SESSION_SHM_MAX + 1])
{
	struct attachment *node = calloc(1, sizeof(*node));
	struct msg_attached answer;
	simpler_status status;

	if (!node)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a session");
	status = attach_in_time(session, channel, deadline, &answer);
	if (status == SIMPLER_OK)
		status = start_renewer(session);
	if (status != SIMPLER_OK) {
		free(node);
		return status;
	}
	node->session = session;
	node->channel = channel;
	node->name = name;
	node->boot_id = answer.boot_id;
	static_assert(sizeof(answer.shm_address) == NODE_SESSION_SHM_MAX + 1, "the same text");
	memcpy(shm_address, answer.shm_address, sizeof(answer.shm_address));
	pthread_mutex_lock(&session->lock);
	LL_PREPEND(session->attachments, node);
	pthread_mutex_unlock(&session->lock);
	return SIMPLER_OK;
}

/* --- the end --- */

static void on_detached(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                        size_t size)
{
	struct node_session *session = context;

	/* A node that does not answer lets go when it has not heard of the session long enough. */
	(void)code;
	(void)text;
	(void)data;
	(void)size;
	pthread_mutex_lock(&session->lock);
	session->in_progress--;
	(void)pthread_cond_broadcast(&session->changed);
	pthread_mutex_unlock(&session->lock);
}

static void stop_renewer(struct node_session *session)
{
	pthread_mutex_lock(&session->lock);
	session->ending = true;
	(void)pthread_cond_broadcast(&session->changed);
	pthread_mutex_unlock(&session->lock);
	if (session->has_renewer)
		(void)pthread_join(session->renewer, NULL);
}

static void detach_all(struct node_session *session)
{
	int64_t deadline = clock_after_ms(NODE_SESSION_DETACH_MS);
	struct attachment *node;

	LL_FOREACH (session->attachments, node) {
		struct rpc_buffer buffer;

		if (msg_empty_encode(&buffer) != SIMPLER_OK)
			continue;
		pthread_mutex_lock(&session->lock);
		session->in_progress++;
		pthread_mutex_unlock(&session->lock);
		rpc_unary(node->channel, MSG_DETACH, deadline, false, &buffer, on_detached,
		          session);
	}
}

void node_session_end(struct node_session *session)
{
	struct attachment *node, *next;

	if (!session)
		return;
	stop_renewer(session);
	detach_all(session);
	pthread_mutex_lock(&session->lock);
	while (session->in_progress > 0)
		(void)pthread_cond_wait(&session->changed, &session->lock);
	pthread_mutex_unlock(&session->lock);
	LL_FOREACH_SAFE (session->attachments, node, next)
		free(node);
	(void)pthread_cond_destroy(&session->changed);
	(void)pthread_mutex_destroy(&session->lock);
	free(session);
}
