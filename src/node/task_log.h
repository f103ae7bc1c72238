/*
 * What a node remembers of the tasks of sessions, so that a dispatch which comes again is not run
 * again. Its key is the session and the task's id.
 *
 *   unknown --begin--> OPEN --end--> ENDED --oldest, and there is no room--> unknown
 *                      |  ^`--drop: it did not begin--> unknown
 *                leave v  | begin again: joined
 *                      HELD --its time is over: next_due()--> ABANDONED --end--> ENDED
 *
 * One that a lane waits for is ABANDONED from OPEN when its deadline is over; gRPC ends a call that
 * is late by itself.
 *
 * - OPEN has a waiter for the outcome; HELD has lost it, and waits for another one for as
 *   long as the options say. begin() of a task that is any of the two gives it the new one. One
 *   that is ABANDONED is being stopped; it may be joined, to hear just that.
 * - ENDED has the answer, for whoever asks again. Answers go when their session ends, or, the
 * oldest first, beyond TASK_LOG_OF_SESSION of one session, TASK_LOG_IN_ALL, and TASK_LOG_BYTES. A
 *   repeated dispatch that may have been one of those is refused, as nobody can say any more.
 *
 * Calls and lanes are opaque here. Thread-safe; one lock, held for a few instructions and a copy.
 */
#ifndef NODE_TASK_LOG_H
#define NODE_TASK_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/waiter.h"
#include "simpler/status.h"

#define TASK_LOG_OF_SESSION 4096u
#define TASK_LOG_IN_ALL     65536u
#define TASK_LOG_BYTES      ((size_t)64 << 20)

struct task_log;

/* `now` is clock_now(), but for tests. */
simpler_status task_log_create(uint64_t hold_ms, int64_t (*now)(void), struct task_log **out);
/* NULL is allowed. */
void task_log_destroy(struct task_log *log);

struct task_key {
	uint64_t session; /* not 0 */
	uint64_t task;
};

enum task_known { TASK_NEW, TASK_JOINED, TASK_ENDED };

/* A dispatch has come. */
struct task_request {
	struct task_key key;
	uint64_t callable; /* by which it is known */
	bool repeated;     /* its client says that it was sent before */
	int64_t deadline;  /* when its client gives up */
	struct waiter waiter;
};

struct task_arrival {
	enum task_known known;
	struct waiter other;
	struct task_answer answer;
};

/*
 * TASK_NEW: it is OPEN, and to be run. TASK_JOINED: it is in progress, and has this waiter now;
 * `other` is the one before, to be answered by the caller, or nobody. TASK_ENDED: `answer` is a
 * copy whose `bytes` the caller frees.
 *
 * @return SIMPLER_EUNAVAILABLE when it may have been forgotten; SIMPLER_EINVAL when the id is that
 *         of a task of another callable; SIMPLER_ENOMEM.
 */
simpler_status task_log_begin(struct task_log *log, const struct task_request *request,
                              struct task_arrival *out);

/* It runs, by this token. True when it is to be stopped already. */
bool task_log_running(struct task_log *log, struct task_key key, uint64_t token);
/* It did not begin, and nothing is known of it. Returns who waits. */
struct waiter task_log_drop(struct task_log *log, struct task_key key);
/* What has become of it, and is known from now on. Returns who waits. */
struct waiter task_log_end(struct task_log *log, struct task_key key,
                           const struct task_answer *answer);
/* Then the answer that it gave when it was stopped is of no use to whoever asks again. */
bool task_log_is_abandoned(struct task_log *log, struct task_key key);

/*
 * A call is gone.
 *
 * @param[out] until When what it waited for is given up; see task_log_next_due().
 * @return Whether it waited for anything. The caller finishes it then.
 */
bool task_log_leave_call(struct task_log *log, const struct rpc_call *call, int64_t *until);
/* The same of a lane. Returns how many references to it the log had, which are the caller's now. */
uint32_t task_log_leave_lane(struct task_log *log, const struct node_lane *lane, int64_t *until);
/* The client wants it stopped. Returns the token, or 0 when there is nothing to stop yet or any
 * more. */
uint64_t task_log_stop(struct task_log *log, struct task_key key);
/* One that was HELD for too long, or that a lane waits for past its deadline, and is ABANDONED now:
 * its token, or 0 when there is none; and
 * when to ask again (base/clock.h). */
uint64_t task_log_next_due(struct task_log *log, int64_t *next);

/* None of the session's tasks is in progress. */
void task_log_end_session(struct task_log *log, uint64_t id);

#endif
