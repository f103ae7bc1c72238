#include "node/sessions.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1 /* an element that found no memory has no table: hh.tbl is NULL */
#include <uthash.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/inject.h"
#include "os/random.h"

struct session {
	uint64_t id;
	uint64_t life;
	uint64_t ttl_ms;
	int64_t until;
	int64_t heard_at, period; /* when last, and how long after the time before; 0: once */
	uint32_t calls;           /* in progress */
	uint32_t tasks;           /* of these, dispatches */
	bool ending;              /* ENDING, else ATTACHED */
	bool detached;            /* why */
	UT_hash_handle hh;
};

struct sessions {
	struct sessions_options options;
	pthread_mutex_t lock; /* guards all below */
	struct session *all;
	struct session anonymous; /* of clients that name none; never in `all`, and never ends */
};

simpler_status sessions_create(const struct sessions_options *options, struct sessions **out)
{
	struct sessions *sessions = calloc(1, sizeof(*sessions));

	if (!sessions)
		return error_raise(SIMPLER_ENOMEM, "out of memory for sessions");
	sessions->options = *options;
	(void)pthread_mutex_init(&sessions->lock, NULL);
	*out = sessions;
	return SIMPLER_OK;
}

void sessions_destroy(struct sessions *sessions)
{
	struct session *session, *next;

	if (!sessions)
		return;
	session = sessions->all;
	HASH_CLEAR(hh, sessions->all);
	for (; session; session = next) {
		next = session->hh.next;
		free(session);
	}
	(void)pthread_mutex_destroy(&sessions->lock);
	free(sessions);
}

/* --- under the lock --- */

/* uthash's macros are long when they are expanded. */
/* NOLINTBEGIN(readability-function-size) */
static struct session *find(struct sessions *sessions, uint64_t id)
{
	struct session *session;

	HASH_FIND(hh, sessions->all, &id, sizeof(id), session);
	return session;
}

static simpler_status add(struct sessions *sessions, uint64_t id, struct session **out)
{
	struct session *session;

	if (HASH_COUNT(sessions->all) >= sessions->options.most)
		return error_raise(SIMPLER_ENOSPACE,
		                   "%u sessions are attached to this node, which is the limit; "
		                   "detach those that are no longer needed",
		                   sessions->options.most);
	session = calloc(1, sizeof(*session));
	if (!session)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a session");
	session->id = id;
	session->life = random_u64() | 1;
	HASH_ADD(hh, sessions->all, id, sizeof(session->id), session);
	if (!session->hh.tbl) {
		free(session);
		return error_raise(SIMPLER_ENOMEM, "out of memory for a session");
	}
	*out = session;
	return SIMPLER_OK;
}

/* NOLINTEND(readability-function-size) */

static uint64_t clamp_ttl(uint64_t ttl_ms)
{
	if (ttl_ms == 0)
		return SESSIONS_TTL_MS;
	if (ttl_ms < SESSIONS_TTL_MS_MIN)
		return SESSIONS_TTL_MS_MIN;
	return ttl_ms > SESSIONS_TTL_MS_MAX ? SESSIONS_TTL_MS_MAX : ttl_ms;
}

static simpler_status attach(struct sessions *sessions, uint64_t id, uint64_t ttl_ms,
                             struct session_state *out)
{
	struct session *session = find(sessions, id);
	simpler_status status = SIMPLER_OK;
	int64_t now;

	out->known = session != NULL;
	if (session && session->ending)
		return error_raise(SIMPLER_EUNAVAILABLE,
		                   "session %" PRIx64 " is ending, and some of its calls are in "
		                   "progress still; attach again in a moment",
		                   id);
	if (INJECT(session ? "session.renew" : "session.attach"))
		status = error_raise(SIMPLER_ENOSPACE, "a session is refused for a test");
	else if (!session)
		status = add(sessions, id, &session);
	if (status != SIMPLER_OK)
		return status;
	now = sessions->options.now();
	session->period = out->known ? now - session->heard_at : 0;
	session->heard_at = now;
	session->ttl_ms = clamp_ttl(ttl_ms);
	session->until = now + (int64_t)session->ttl_ms * CLOCK_MS;
	out->life = session->life;
	out->ttl_ms = session->ttl_ms;
	out->until = session->until;
	return SIMPLER_OK;
}

/* Whether its owners are to be told, which the caller does then: by finish(), without the lock.
 * Asked by who has it end, once, and by its calls as they end; so one of them is told so. */
static bool is_over(const struct session *session)
{
	return session->ending && session->calls == 0;
}

/* --- without the lock --- */

/* It stays in the table, as one that cannot be attached yet, until all owners have been told. */
static void finish(struct sessions *sessions, struct session *session)
{
	(void)INJECT(session->detached ? "session.detached" : "session.expired");
	for (size_t i = 0; i < sessions->options.owner_count; i++)
		sessions->options.owners[i].end(sessions->options.owners[i].context, session->id,
		                                session->detached);
	(void)INJECT("session.over");
	pthread_mutex_lock(&sessions->lock);
	HASH_DEL(sessions->all, session);
	pthread_mutex_unlock(&sessions->lock);
	free(session);
}

simpler_status sessions_attach(struct sessions *sessions, uint64_t id, uint64_t ttl_ms,
                               struct session_state *out)
{
	simpler_status status;

	assert(id != 0);
	pthread_mutex_lock(&sessions->lock);
	status = attach(sessions, id, ttl_ms, out);
	pthread_mutex_unlock(&sessions->lock);
	if (status != SIMPLER_OK || !out->known)
		return status;
	for (size_t i = 0; i < sessions->options.owner_count; i++)
		sessions->options.owners[i].renew(sessions->options.owners[i].context, id);
	return SIMPLER_OK;
}

/* Of one that has become ending, and was entered then: which it is to be left for. */
static void tell_ending(struct sessions *sessions, uint64_t id)
{
	const struct session_owner *owner = sessions->options.owners;

	for (size_t i = 0; i < sessions->options.owner_count; i++, owner++) {
		if (owner->leave)
			owner->leave(owner->context, id);
	}
}

static void leave(struct sessions *sessions, uint64_t id, uint32_t tasks);

void sessions_detach(struct sessions *sessions, uint64_t id)
{
	struct session *session;
	bool ends;

	pthread_mutex_lock(&sessions->lock);
	session = find(sessions, id);
	ends = session && !session->ending;
	if (ends) {
		session->ending = session->detached = true;
		session->calls++;
	}
	pthread_mutex_unlock(&sessions->lock);
	if (!ends)
		return;
	tell_ending(sessions, id);
	leave(sessions, id, 0);
}

/* The lock is held. Its counters; NULL for a session that is not attached. */
static struct session *find_attached(struct sessions *sessions, uint64_t id)
{
	struct session *session = id == 0 ? &sessions->anonymous : find(sessions, id);

	return session && !session->ending ? session : NULL;
}

static simpler_status not_attached(uint64_t id)
{
	return error_raise(SIMPLER_ESTATE,
	                   "session %" PRIx64 " is not attached to this node: it never was, or was "
	                   "silent for longer than its time to live; attach, and make anew what it "
	                   "had here",
	                   id);
}

simpler_status sessions_enter(struct sessions *sessions, uint64_t id)
{
	struct session *session;

	if (id == 0)
		return SIMPLER_OK;
	pthread_mutex_lock(&sessions->lock);
	session = find_attached(sessions, id);
	if (session)
		session->calls++;
	pthread_mutex_unlock(&sessions->lock);
	return session ? SIMPLER_OK : not_attached(id);
}

simpler_status sessions_enter_task(struct sessions *sessions, uint64_t id)
{
	struct session *session;
	bool room = false;

	pthread_mutex_lock(&sessions->lock);
	session = find_attached(sessions, id);
	if (session) {
		room = session->tasks < sessions->options.most_tasks;
		session->tasks += room ? 1 : 0;
		session->calls += room ? 1 : 0;
	}
	pthread_mutex_unlock(&sessions->lock);
	if (!session)
		return not_attached(id);
	if (room)
		return SIMPLER_OK;
	return error_raise(SIMPLER_ENOSPACE,
	                   "%u tasks of this session are in flight at this node, which is the "
	                   "limit; wait for some of them",
	                   sessions->options.most_tasks);
}

static void leave(struct sessions *sessions, uint64_t id, uint32_t tasks)
{
	struct session *session;
	bool over;

	pthread_mutex_lock(&sessions->lock);
	session = id == 0 ? &sessions->anonymous : find(sessions, id);
	assert(session && session->calls > 0 && session->tasks >= tasks);
	session->calls--;
	session->tasks -= tasks;
	over = is_over(session);
	pthread_mutex_unlock(&sessions->lock);
	(void)INJECT("session.leave");
	if (over)
		finish(sessions, session);
}

void sessions_leave(struct sessions *sessions, uint64_t id)
{
	if (id != 0)
		leave(sessions, id, 0);
}

void sessions_leave_task(struct sessions *sessions, uint64_t id)
{
	leave(sessions, id, 1);
}

simpler_status sessions_check_life(struct sessions *sessions, uint64_t id, uint64_t life)
{
	struct session *session;
	bool same;

	pthread_mutex_lock(&sessions->lock);
	session = find(sessions, id);
	same = session && session->life == life;
	pthread_mutex_unlock(&sessions->lock);
	if (same)
		return SIMPLER_OK;
	return error_raise(SIMPLER_ESTALE,
	                   "session %" PRIx64 " began anew here since this was made for it: the "
	                   "node was started anew, or had not heard of the session for its time to "
	                   "live; what it had run, stored and registered before is gone",
	                   id);
}

/* One that is ending now, and was entered; or 0, and when the next one is. */
static uint64_t take_expired(struct sessions *sessions, int64_t *next)
{
	int64_t now = sessions->options.now();
	struct session *session, *unused;
	uint64_t id = 0;

	*next = CLOCK_NEVER;
	pthread_mutex_lock(&sessions->lock);
	HASH_ITER (hh, sessions->all, session, unused) {
		if (session->ending)
			continue;
		if (session->until > now) {
			*next = session->until < *next ? session->until : *next;
			continue;
		}
		session->ending = true;
		session->calls++;
		id = session->id;
		break;
	}
	pthread_mutex_unlock(&sessions->lock);
	return id;
}

int64_t sessions_expire(struct sessions *sessions)
{
	uint64_t id;
	int64_t next;

	while ((id = take_expired(sessions, &next)) != 0) {
		tell_ending(sessions, id);
		leave(sessions, id, 0);
	}
	return next;
}

uint32_t sessions_count(struct sessions *sessions)
{
	uint32_t count;

	pthread_mutex_lock(&sessions->lock);
	count = HASH_COUNT(sessions->all);
	pthread_mutex_unlock(&sessions->lock);
	return count;
}

/* One that is late has missed a heartbeat, and is not there, or not well. */
static int64_t due(const struct session *session, int64_t since)
{
	return session->heard_at > since ? session->heard_at
	                                 : session->heard_at + 2 * session->period;
}

int64_t sessions_hear_by(struct sessions *sessions, int64_t since)
{
	struct session *session, *unused;
	int64_t last = 0;

	pthread_mutex_lock(&sessions->lock);
	HASH_ITER (hh, sessions->all, session, unused) {
		if (!session->ending && session->period > 0 && due(session, since) > last)
			last = due(session, since);
	}
	pthread_mutex_unlock(&sessions->lock);
	return last;
}
