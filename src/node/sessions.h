/*
 * Who the daemon's clients are. A session is a number that a client chose at random and tells with
 * its calls. It lasts until the client ends it, or is not heard of for the session's time to live:
 *
 *   unknown -attach-> ATTACHED -detached, or silent for too long-> ENDING -no call left-> unknown
 *                     `-attach-^                                       `-attach: not yet
 *
 * What it owns is with others, its owners: they are told when it is renewed, once when it is
 * ending, and once when it is over. That is after its last call has ended, so that nothing becomes
 * its own behind its end.
 *
 * Thread-safe. An owner is called without a lock, by the thread that brought it about.
 */
#ifndef NODE_SESSIONS_H
#define NODE_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/status.h"

#define SESSIONS_TTL_MS     60000u    /* unless a client asks for another one */
#define SESSIONS_TTL_MS_MIN 100u      /* what is asked for less is made this, */
#define SESSIONS_TTL_MS_MAX 86400000u /* and for more this */

struct sessions;

struct session_owner {
	void (*renew)(void *context, uint64_t session);
	/* `detached`: the client said so, and needs nothing of it any more. */
	void (*end)(void *context, uint64_t session, bool detached);
	void *context;
	/* Its client is not there any more, whatever of its calls is in progress. Once, before the
	 * end. NULL: nobody cares. */
	void (*leave)(void *context, uint64_t session);
};

struct sessions_options {
	const struct session_owner *owners; /* borrowed */
	size_t owner_count;
	uint32_t most;        /* sessions at once */
	uint32_t most_tasks;  /* in progress at once, of one session and of those that have none */
	int64_t (*now)(void); /* clock_now(), but for tests */
};

simpler_status sessions_create(const struct sessions_options *options, struct sessions **out);
/* Tells nobody of ends. NULL is allowed. */
void sessions_destroy(struct sessions *sessions);

struct session_state {
	uint64_t ttl_ms;
	int64_t until; /* the session is over unless it is renewed before (base/clock.h) */
	uint64_t life; /* another one each time it begins, at whichever node; not 0 */
	bool known;    /* it was attached before, and what it owned is still there */
};

/*
 * Begin the session, which is not 0, or renew it. `ttl_ms` 0 means SESSIONS_TTL_MS.
 *
 * @return SIMPLER_ENOSPACE naming the limit; SIMPLER_EUNAVAILABLE while it is ENDING.
 */
simpler_status sessions_attach(struct sessions *sessions, uint64_t id, uint64_t ttl_ms,
                               struct session_state *out);
/* End it. One that is not attached is left alone. */
void sessions_detach(struct sessions *sessions, uint64_t id);

/*
 * A call of the session begins; it must leave then. Session 0, of clients that have none, always
 * may.
 *
 * @return SIMPLER_ESTATE when the session is not attached.
 */
simpler_status sessions_enter(struct sessions *sessions, uint64_t id);
void sessions_leave(struct sessions *sessions, uint64_t id);
/* Of a session that the call has entered: SIMPLER_ESTALE when it began anew since it had this
 * `life`. */
simpler_status sessions_check_life(struct sessions *sessions, uint64_t id, uint64_t life);

/* The same of a dispatch: also SIMPLER_ENOSPACE naming the limit when too many of the session are
 * in progress; all clients without a session count as one. */
simpler_status sessions_enter_task(struct sessions *sessions, uint64_t id);
void sessions_leave_task(struct sessions *sessions, uint64_t id);
uint32_t sessions_count(struct sessions *sessions);

/* When all sessions that renew themselves have done so since then, by what they did before, or
 * would have by now; a moment that has passed when all have. */
int64_t sessions_hear_by(struct sessions *sessions, int64_t since);

/* End those that were silent for too long. Returns when the next one may be (base/clock.h). */
int64_t sessions_expire(struct sessions *sessions);

#endif
