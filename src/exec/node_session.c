/*
 * The watch sleeps until the next round, begins an Attach on every node, and hears of the answers
 * on the RPC client's thread. A node has one call in progress at most: one that does not answer is
 * asked again when its call has failed.
 *
 *   ATTACHED --no answer--> SUSPECT --answers--> ATTACHED
 *   SUSPECT --no answer, `failures` times in a row--> LOST
 *   ATTACHED, SUSPECT --answers, and has lost what it had of the session--> LOST
 *   LOST --answers--> ATTACHING --admitted--> ATTACHED
 *   ATTACHING --refused, or no answer `failures` times in a row--> LOST
 *
 * move() alone changes the state. Events are told without the lock, by the one who moved; who is
 * told asks for the state, which is the present one whatever order they come in.
 */
#include "exec/node_session.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/error.h"
#include "base/log.h"
#include "os/random.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"

#define RENEWALS        3 /* in a time to live, at least */
#define ATTACH_AGAIN_MS 100u

enum node_state { ATTACHED, SUSPECT, LOST, ATTACHING };

struct node_attachment {
	struct node_session *session;
	struct rpc_channel *channel;
	const char *name;
	const struct node_events *events;
	void *context;
	struct node_attachment *next;
	/* Under the session's lock: */
	enum node_state state;
	uint64_t boot_id, life;
	uint32_t failures;     /* in a row */
	_Atomic bool draining; /* looked at without the lock as well */
	bool ends;             /* in this life it drains, whatever an older answer says */
	bool renewing;
	bool told_why;            /* of a LOST one, why it cannot be attached */
	char why[NODE_WHY_BYTES]; /* it was lost */
	char shm_address[NODE_SESSION_SHM_MAX + 1];
};

struct node_session {
	uint64_t id, ttl_ms;
	struct node_heartbeat heartbeat;
	pthread_mutex_t lock; /* guards what is below, and of attachments what says so */
	pthread_cond_t changed;
	struct node_attachment *attachments;
	uint32_t in_progress; /* calls */
	bool hurry;           /* the next round is due now */
	bool ending;
	bool has_renewer;
	pthread_t renewer;
};

simpler_status node_session_create(uint64_t ttl_ms, const struct node_heartbeat *heartbeat,
                                   struct node_session **out)
{
	struct node_session *session = calloc(1, sizeof(*session));

	if (!session)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a session");
	session->id = random_u64();
	session->ttl_ms = ttl_ms;
	session->heartbeat = *heartbeat;
	(void)pthread_mutex_init(&session->lock, NULL);
	condition_init(&session->changed);
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
	return condition_wait(&session->changed, &session->lock, until);
}

/* --- states --- */

/* With the lock. */
static void move(struct node_attachment *node, enum node_state to)
{
	static const bool edges[][4] = {
		[ATTACHED] = { [SUSPECT] = true, [LOST] = true },
		[SUSPECT] = { [ATTACHED] = true, [LOST] = true },
		[LOST] = { [ATTACHING] = true },
		[ATTACHING] = { [ATTACHED] = true, [LOST] = true },
	};

	assert(edges[node->state][to]);
	node->state = to;
}

/* What others are to be told once the lock is released. */
struct news {
	bool lost, returned, changed, beat;
	char why[NODE_WHY_BYTES]; /* it is lost */
};

/* With the lock. */
static void lose(struct node_attachment *node, const char *why, struct news *news)
{
	(void)snprintf(node->why, sizeof(node->why), "%s", why);
	(void)snprintf(news->why, sizeof(news->why), "%s", why);
	simpler_log(SIMPLER_LOG_WARN, "%s is lost: %s", node->name, why);
	node->told_why = false;
	move(node, LOST);
	news->lost = true;
}

static void tell(struct node_attachment *node, const struct news *news)
{
	if (news->lost)
		node->events->lost(node->context, news->why);
	if (news->returned)
		node->events->returned(node->context);
	if (news->changed)
		node->events->changed(node->context);
	if (news->beat)
		node->events->beat(node->context);
}

/* With the lock. */
static void take_silence(struct node_attachment *node, const char *text, struct news *news)
{
	char why[sizeof(node->why)];

	node->failures++;
	if (node->state == ATTACHED) {
		simpler_log(SIMPLER_LOG_INFO, "%s does not answer: %s", node->name, text);
		move(node, SUSPECT);
	}
	if (node->state == LOST || node->failures < node->session->heartbeat.failures)
		return;
	(void)snprintf(why, sizeof(why), "it did not answer %u times in a row: %s", node->failures,
	               text);
	lose(node, why, news);
}

/* With the lock: the node has not what it had of the session. */
static void take_new_life(struct node_attachment *node, const struct msg_attached *answer,
                          struct news *news)
{
	const char *why = answer->boot_id != node->boot_id
	                          ? "its daemon was started anew, and what was stored and "
	                            "registered there is gone"
	                          : "it had not heard of this program for so long that it let go "
	                            "of what was stored and registered there";

	if (node->state != LOST)
		lose(node, why, news);
	else
		(void)snprintf(node->why, sizeof(node->why), "%s", why);
	node->boot_id = answer->boot_id;
	node->life = answer->session_life;
	node->ends = false;
}

/* With the lock. A daemon that was started anew has another one. */
static void take_address(struct node_attachment *node, const struct msg_attached *answer)
{
	static_assert(sizeof(answer->shm_address) == sizeof(node->shm_address), "the same text");
	memcpy(node->shm_address, answer->shm_address, sizeof(node->shm_address));
}

/* With the lock. */
static void take_draining(struct node_attachment *node, bool draining, struct news *news)
{
	draining = draining || node->ends;
	news->changed = node->draining != draining;
	node->draining = draining;
}

/* With the lock. */
static void take_answer(struct node_attachment *node, const struct msg_attached *answer,
                        struct news *news)
{
	node->failures = 0;
	news->beat = true;
	take_address(node, answer);
	if (answer->session_life != node->life)
		take_new_life(node, answer, news);
	take_draining(node, answer->draining, news);
	if (node->state == SUSPECT) {
		simpler_log(SIMPLER_LOG_INFO, "%s answers again", node->name);
		move(node, ATTACHED);
	} else if (node->state == LOST) {
		move(node, ATTACHING);
		news->returned = true;
	}
}

void node_session_admit(struct node_attachment *node, uint64_t life, const struct error *error)
{
	struct node_session *session = node->session;
	struct news news = { 0 };

	pthread_mutex_lock(&session->lock);
	/* It may have been lost once more meanwhile. */
	if (node->state != ATTACHING || node->life != life) {
		pthread_mutex_unlock(&session->lock);
		return;
	}
	if (!error) {
		simpler_log(SIMPLER_LOG_INFO, "%s is attached again", node->name);
		move(node, ATTACHED);
		news.changed = true;
	} else {
		if (!node->told_why)
			simpler_log(
				SIMPLER_LOG_WARN,
				"%s answers again, and cannot be used yet, which is tried again: "
				"%s",
				node->name, error_step(error, 0));
		(void)snprintf(node->why, sizeof(node->why), "it cannot be used again yet: %s",
		               error_step(error, 0));
		node->told_why = true;
		move(node, LOST);
	}
	pthread_mutex_unlock(&session->lock);
	tell(node, &news);
}

bool node_session_is_away(struct node_attachment *node, char *why, size_t size)
{
	struct node_session *session = node->session;
	bool away;

	pthread_mutex_lock(&session->lock);
	away = node->state == LOST || node->state == ATTACHING;
	if (away)
		(void)snprintf(why, size, "%s is lost: %s", node->name, node->why);
	else if (node->draining)
		(void)snprintf(why, size, "%s is draining and takes no more tasks", node->name);
	away = away || node->draining;
	pthread_mutex_unlock(&session->lock);
	return away;
}

bool node_session_is_draining(const struct node_attachment *node)
{
	return node->draining;
}

void node_session_note_end(struct node_attachment *node)
{
	struct node_session *session = node->session;
	struct news news = { 0 };

	pthread_mutex_lock(&session->lock);
	node->ends = true;
	take_draining(node, true, &news);
	pthread_mutex_unlock(&session->lock);
	tell(node, &news);
}

bool node_session_is_lost(struct node_attachment *node, char why[NODE_WHY_BYTES])
{
	bool lost;

	pthread_mutex_lock(&node->session->lock);
	lost = node->state == LOST || node->state == ATTACHING;
	memcpy(why, node->why, NODE_WHY_BYTES);
	pthread_mutex_unlock(&node->session->lock);
	return lost;
}

uint64_t node_session_life(struct node_attachment *node)
{
	uint64_t life;

	pthread_mutex_lock(&node->session->lock);
	life = node->life;
	pthread_mutex_unlock(&node->session->lock);
	return life;
}

void node_session_shm_address(struct node_attachment *node, char out[NODE_SESSION_SHM_MAX + 1])
{
	pthread_mutex_lock(&node->session->lock);
	memcpy(out, node->shm_address, sizeof(node->shm_address));
	pthread_mutex_unlock(&node->session->lock);
}

bool node_session_is_ending(struct node_session *session)
{
	bool ending;

	pthread_mutex_lock(&session->lock);
	ending = session->ending;
	pthread_mutex_unlock(&session->lock);
	return ending;
}

/* --- renewing --- */

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
	struct node_attachment *node = context;
	struct node_session *session = node->session;
	struct msg_attached answer;
	struct news news = { 0 };

	pthread_mutex_lock(&session->lock);
	if (code != RPC_OK)
		take_silence(node, text && text[0] != '\0' ? text : rpc_code_name(code), &news);
	else if (decode_answer(data, size, &answer) != SIMPLER_OK)
		take_silence(node, simpler_last_error_step(0), &news);
	else
		take_answer(node, &answer, &news);
	pthread_mutex_unlock(&session->lock);
	/* While it counts as renewing, no other call tells anything of this node. */
	tell(node, &news);
	pthread_mutex_lock(&session->lock);
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
static void renew(struct node_attachment *node)
{
	int64_t deadline = clock_after_ms(node->session->heartbeat.timeout_ms);
	struct rpc_buffer buffer;

	if (encode_attach(node->session, &buffer) == SIMPLER_OK)
		rpc_unary(node->channel, MSG_ATTACH, deadline, false, &buffer, on_renewed, node);
	else
		on_renewed(node, RPC_RESOURCE_EXHAUSTED, simpler_last_error_step(0), NULL, 0);
}

/* The next that is to be renewed in this round, counted as in progress. */
static struct node_attachment *next_to_renew(struct node_session *session,
                                             struct node_attachment *after)
{
	struct node_attachment *node;

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

/* Until the next round is due, or the end. */
static bool wait_for_round(struct node_session *session, int64_t due)
{
	bool ending;

	pthread_mutex_lock(&session->lock);
	while (!session->ending && !session->hurry && clock_now() < due)
		(void)wait_changed(session, due);
	session->hurry = false;
	ending = session->ending;
	pthread_mutex_unlock(&session->lock);
	return !ending;
}

static void *renewer_main(void *context)
{
	struct node_session *session = context;
	uint64_t renewal = session->ttl_ms / RENEWALS, interval = session->heartbeat.interval_ms;
	uint64_t period = interval < renewal ? interval : renewal;

	while (wait_for_round(session, clock_after_ms(period))) {
		struct node_attachment *node = NULL;

		while ((node = next_to_renew(session, node)) != NULL)
			renew(node);
	}
	return NULL;
}

void node_session_hurry(struct node_session *session)
{
	pthread_mutex_lock(&session->lock);
	session->hurry = true;
	(void)pthread_cond_broadcast(&session->changed);
	pthread_mutex_unlock(&session->lock);
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

simpler_status node_session_attach(struct node_session *session,
                                   const struct node_attach_options *options,
                                   struct node_attachment **out)
{
	struct node_attachment *node = calloc(1, sizeof(*node));
	struct msg_attached answer;
	simpler_status status;

	if (!node)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a session");
	status = attach_in_time(session, options->channel, options->deadline, &answer);
	if (status == SIMPLER_OK)
		status = start_renewer(session);
	if (status != SIMPLER_OK) {
		free(node);
		return status;
	}
	node->session = session;
	node->channel = options->channel;
	node->name = options->name;
	node->events = options->events;
	node->context = options->context;
	node->boot_id = answer.boot_id;
	take_address(node, &answer);
	*options->lanes = answer.lanes;
	node->life = answer.session_life;
	node->draining = answer.draining;
	*out = node;
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
	struct node_attachment *node;

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

void node_session_stop(struct node_session *session)
{
	if (!session)
		return;
	stop_renewer(session);
	detach_all(session);
	pthread_mutex_lock(&session->lock);
	while (session->in_progress > 0)
		(void)pthread_cond_wait(&session->changed, &session->lock);
	pthread_mutex_unlock(&session->lock);
}

void node_session_release(struct node_session *session)
{
	struct node_attachment *node, *next;

	if (!session)
		return;
	LL_FOREACH_SAFE (session->attachments, node, next)
		free(node);
	(void)pthread_cond_destroy(&session->changed);
	(void)pthread_mutex_destroy(&session->lock);
	free(session);
}
