#include "node/task_log.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define HASH_NONFATAL_OOM 1 /* an element that found no memory has no table: hh.tbl is NULL */
#include <uthash.h>

#include "base/clock.h"
#include "base/error.h"

enum entry_state { OPEN, HELD, ABANDONED, ENDED };

struct entry {
	struct task_key key;
	struct session_log *session;
	enum entry_state state;
	bool stop; /* it was asked for before the task had a token */
	uint64_t callable, token;
	struct waiter waiter; /* OPEN, and ABANDONED when it was joined or is late; else nobody */
	int64_t deadline;
	int64_t until;      /* while HELD */
	enum rpc_code code; /* ENDED, from here on */
	enum rpc_note note;
	uint8_t *bytes;
	size_t size;
	struct entry *prev, *next;                 /* of all that are in progress, or have ended */
	struct entry *session_prev, *session_next; /* of the session's that have ended */
	UT_hash_handle hh;
};

struct session_log {
	uint64_t id;
	uint32_t count; /* entries, in whatever state */
	uint32_t ended_count;
	bool forgot;         /* answers of it have gone */
	struct entry *ended; /* the oldest first */
	UT_hash_handle hh;
};

struct task_log {
	uint64_t hold_ms;
	int64_t (*now)(void);
	pthread_mutex_t lock; /* guards all below */
	struct entry *entries;
	struct session_log *sessions;
	struct entry *in_progress;
	struct entry *ended; /* the oldest first */
	uint32_t ended_count;
	size_t bytes;
};

simpler_status task_log_create(uint64_t hold_ms, int64_t (*now)(void), struct task_log **out)
{
	struct task_log *log = calloc(1, sizeof(*log));

	if (!log)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a log of tasks");
	log->hold_ms = hold_ms;
	log->now = now;
	(void)pthread_mutex_init(&log->lock, NULL);
	*out = log;
	return SIMPLER_OK;
}

/* --- under the lock --- */

/* uthash's macros are long when they are expanded. */
/* NOLINTBEGIN(readability-function-size) */
static struct entry *find(struct task_log *log, struct task_key key)
{
	struct entry *entry;

	HASH_FIND(hh, log->entries, &key, sizeof(key), entry);
	return entry;
}

/* NOLINTEND(readability-function-size) */

/* It is in none of the lists any more. */
static void free_entry(struct task_log *log, struct entry *entry)
{
	assert(log->entries);
	entry->session->count--;
	HASH_DEL(log->entries, entry);
	free(entry->bytes);
	free(entry);
}

static void free_ended(struct task_log *log, struct entry *entry)
{
	struct session_log *session = entry->session;

	DL_DELETE(log->ended, entry);
	DL_DELETE2(session->ended, entry, session_prev, session_next);
	log->ended_count--;
	session->ended_count--;
	log->bytes -= entry->size;
	free_entry(log, entry);
}

static void forget(struct task_log *log, struct entry *entry)
{
	entry->session->forgot = true;
	free_ended(log, entry);
}

static void free_answers(struct task_log *log, struct session_log *session)
{
	struct entry *entry, *next;

	DL_FOREACH_SAFE2 (session->ended, entry, next, session_next)
		free_ended(log, entry);
	/* It ends after its last task. */
	assert(session->count == 0);
}

static void free_session(struct task_log *log, struct session_log *session)
{
	free_answers(log, session);
	HASH_DEL(log->sessions, session);
	free(session);
}

static void make_room(struct task_log *log, struct session_log *session)
{
	if (session->ended_count > TASK_LOG_OF_SESSION)
		forget(log, session->ended);
	while (log->ended_count > TASK_LOG_IN_ALL || log->bytes > TASK_LOG_BYTES)
		forget(log, log->ended);
}

/* uthash's macros are long when they are expanded. */
/* NOLINTBEGIN(readability-function-size) */
static struct session_log *find_session(struct task_log *log, uint64_t id)
{
	struct session_log *session;

	HASH_FIND(hh, log->sessions, &id, sizeof(id), session);
	return session;
}

static struct session_log *get_session(struct task_log *log, uint64_t id)
{
	struct session_log *session = find_session(log, id);

	if (session)
		return session;
	session = calloc(1, sizeof(*session));
	if (!session)
		return NULL;
	session->id = id;
	HASH_ADD(hh, log->sessions, id, sizeof(session->id), session);
	if (session->hh.tbl)
		return session;
	free(session);
	return NULL;
}

static struct entry *make_entry(struct task_log *log, struct session_log *session,
                                struct task_key key)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->key = key;
	entry->session = session;
	HASH_ADD(hh, log->entries, key, sizeof(entry->key), entry);
	if (!entry->hh.tbl) {
		free(entry);
		return NULL;
	}
	session->count++;
	DL_APPEND(log->in_progress, entry);
	return entry;
}

/* NOLINTEND(readability-function-size) */

static const struct waiter nobody = { .call = NULL, .lane = NULL };

static simpler_status begin_new(struct task_log *log, const struct task_request *request)
{
	struct session_log *session = get_session(log, request->key.session);
	uint64_t task = request->key.task;
	struct entry *entry;

	if (session && request->repeated && session->forgot)
		return error_raise(SIMPLER_EUNAVAILABLE,
		                   "task %" PRIu64 " is not known here, and may be one of those "
		                   "whose outcomes this node has forgotten: it keeps the last %u "
		                   "of a session, and %zu MiB in all; it may have run or not",
		                   task, TASK_LOG_OF_SESSION, TASK_LOG_BYTES >> 20);
	entry = session ? make_entry(log, session, request->key) : NULL;
	if (!entry)
		return error_raise(SIMPLER_ENOMEM, "out of memory for task %" PRIu64, task);
	entry->callable = request->callable;
	entry->waiter = request->waiter;
	entry->deadline = request->deadline;
	return SIMPLER_OK;
}

static simpler_status copy_answer(const struct entry *entry, struct task_answer *out)
{
	uint8_t *bytes = malloc(entry->size > 0 ? entry->size : 1);

	if (!bytes)
		return error_raise(SIMPLER_ENOMEM, "out of memory for the answer of task %" PRIu64,
		                   entry->key.task);
	if (entry->size > 0)
		memcpy(bytes, entry->bytes, entry->size);
	*out = (struct task_answer){ entry->code, entry->note, bytes, entry->size };
	return SIMPLER_OK;
}

static simpler_status begin(struct task_log *log, const struct task_request *request,
                            struct task_arrival *out)
{
	struct entry *entry = find(log, request->key);

	if (!entry) {
		out->known = TASK_NEW;
		return begin_new(log, request);
	}
	if (entry->callable != request->callable)
		return error_raise(SIMPLER_EINVAL,
		                   "task %" PRIu64 " of this session was a dispatch of another "
		                   "callable; give each task an id of its own",
		                   request->key.task);
	if (entry->state == ENDED) {
		out->known = TASK_ENDED;
		return copy_answer(entry, &out->answer);
	}
	out->known = TASK_JOINED;
	out->other = entry->waiter;
	entry->waiter = request->waiter;
	entry->deadline = request->deadline;
	if (entry->state == HELD)
		entry->state = OPEN;
	return SIMPLER_OK;
}

/* Without its bytes there is nothing to remember. */
static void end(struct task_log *log, struct entry *entry, const struct task_answer *answer)
{
	entry->bytes = malloc(answer->size > 0 ? answer->size : 1);
	DL_DELETE(log->in_progress, entry);
	if (!entry->bytes) {
		entry->session->forgot = true;
		free_entry(log, entry);
		return;
	}
	if (answer->size > 0)
		memcpy(entry->bytes, answer->bytes, answer->size);
	entry->size = answer->size;
	entry->code = answer->code;
	entry->note = answer->note;
	entry->state = ENDED;
	entry->waiter = nobody;
	DL_APPEND(log->ended, entry);
	DL_APPEND2(entry->session->ended, entry, session_prev, session_next);
	log->ended_count++;
	entry->session->ended_count++;
	log->bytes += entry->size;
	make_room(log, entry->session);
}

/* --- without the lock --- */

void task_log_destroy(struct task_log *log)
{
	struct session_log *session, *next;
	struct entry *entry, *after;

	if (!log)
		return;
	DL_FOREACH_SAFE (log->in_progress, entry, after) {
		DL_DELETE(log->in_progress, entry);
		free_entry(log, entry);
	}
	session = log->sessions;
	HASH_CLEAR(hh, log->sessions);
	for (; session; session = next) {
		next = session->hh.next;
		free_answers(log, session);
		free(session);
	}
	(void)pthread_mutex_destroy(&log->lock);
	free(log);
}

simpler_status task_log_begin(struct task_log *log, const struct task_request *request,
                              struct task_arrival *out)
{
	simpler_status status;

	*out = (struct task_arrival){ 0 };
	pthread_mutex_lock(&log->lock);
	status = begin(log, request, out);
	pthread_mutex_unlock(&log->lock);
	return status;
}

bool task_log_running(struct task_log *log, struct task_key key, uint64_t token)
{
	struct entry *entry;
	bool stop = false;

	pthread_mutex_lock(&log->lock);
	entry = find(log, key);
	/* It may have ended already. */
	if (entry && entry->state != ENDED) {
		entry->token = token;
		stop = entry->stop;
	}
	pthread_mutex_unlock(&log->lock);
	return stop;
}

struct waiter task_log_drop(struct task_log *log, struct task_key key)
{
	struct waiter waiter;
	struct entry *entry;

	pthread_mutex_lock(&log->lock);
	entry = find(log, key);
	assert(entry && entry->state != ENDED);
	waiter = entry->waiter;
	DL_DELETE(log->in_progress, entry);
	free_entry(log, entry);
	pthread_mutex_unlock(&log->lock);
	return waiter;
}

struct waiter task_log_end(struct task_log *log, struct task_key key,
                           const struct task_answer *answer)
{
	struct waiter waiter;
	struct entry *entry;

	pthread_mutex_lock(&log->lock);
	entry = find(log, key);
	assert(entry && entry->state != ENDED);
	waiter = entry->waiter;
	end(log, entry, answer);
	pthread_mutex_unlock(&log->lock);
	return waiter;
}

bool task_log_is_abandoned(struct task_log *log, struct task_key key)
{
	struct entry *entry;
	bool abandoned;

	pthread_mutex_lock(&log->lock);
	entry = find(log, key);
	abandoned = entry && entry->state == ABANDONED;
	pthread_mutex_unlock(&log->lock);
	return abandoned;
}

static int64_t hold_until(const struct task_log *log, int64_t deadline)
{
	int64_t now = log->now(), hold = (int64_t)log->hold_ms * CLOCK_MS;

	return deadline - now < hold ? deadline : now + hold;
}

/* With the lock. Until when it is held; CLOCK_NEVER when it is not. */
static int64_t leave(struct task_log *log, struct entry *entry)
{
	entry->waiter = nobody;
	if (entry->state != OPEN)
		return CLOCK_NEVER;
	entry->state = HELD;
	entry->until = hold_until(log, entry->deadline);
	return entry->until;
}

bool task_log_leave_call(struct task_log *log, const struct rpc_call *call, int64_t *until)
{
	struct entry *entry;

	*until = CLOCK_NEVER;
	pthread_mutex_lock(&log->lock);
	DL_SEARCH_SCALAR(log->in_progress, entry, waiter.call, call);
	if (entry)
		*until = leave(log, entry);
	pthread_mutex_unlock(&log->lock);
	return entry != NULL;
}

uint32_t task_log_leave_lane(struct task_log *log, const struct node_lane *lane, int64_t *until)
{
	struct entry *entry;
	uint32_t count = 0;

	*until = CLOCK_NEVER;
	pthread_mutex_lock(&log->lock);
	DL_FOREACH (log->in_progress, entry) {
		int64_t held;

		if (entry->waiter.lane != lane)
			continue;
		count++;
		held = leave(log, entry);
		*until = held < *until ? held : *until;
	}
	pthread_mutex_unlock(&log->lock);
	return count;
}

uint64_t task_log_stop(struct task_log *log, struct task_key key)
{
	uint64_t token = 0;
	struct entry *entry;

	pthread_mutex_lock(&log->lock);
	entry = find(log, key);
	if (entry && entry->state != ENDED) {
		entry->stop = true;
		token = entry->token;
	}
	pthread_mutex_unlock(&log->lock);
	return token;
}

/* When it is to be stopped. */
static int64_t due_of(const struct entry *entry)
{
	if (entry->state == HELD)
		return entry->until;
	return entry->state == OPEN && entry->waiter.lane ? entry->deadline : CLOCK_NEVER;
}

uint64_t task_log_next_due(struct task_log *log, int64_t *next)
{
	int64_t now = log->now();
	uint64_t token = 0;
	struct entry *entry;

	*next = CLOCK_NEVER;
	pthread_mutex_lock(&log->lock);
	DL_FOREACH (log->in_progress, entry) {
		int64_t due = due_of(entry);

		if (due > now) {
			*next = due < *next ? due : *next;
			continue;
		}
		entry->state = ABANDONED;
		entry->stop = true;
		token = entry->token;
		if (token != 0)
			break;
	}
	pthread_mutex_unlock(&log->lock);
	return token;
}

void task_log_end_session(struct task_log *log, uint64_t id)
{
	struct session_log *session;

	pthread_mutex_lock(&log->lock);
	session = find_session(log, id);
	if (session)
		free_session(log, session);
	pthread_mutex_unlock(&log->lock);
}
