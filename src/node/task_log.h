/*
 * What a node remembers of the tasks of sessions, so that a dispatch which comes again is not run
 * again. Its key is the session and the task's id.
 *
 *   unknown --begin--> OPEN --end--> ENDED --oldest, and there is no room--> unknown
 *                      |  ^`--drop: it did not begin--> unknown
 *                leave v  | begin again: joined
 *                      HELD --its time is over: next_due()--> ABANDONED --end--> ENDED
 *
 * - OPEN has a call that waits for the outcome; HELD has lost it, and waits for another one for as
 *   long as the options say. begin() of a task that is any of the two gives it the new call. One
 *   that is ABANDONED is being stopped; it may be joined, to hear just that.
 * - ENDED has the answer, for whoever asks again. Answers go when their session ends, or, the
 * oldest first, beyond TASK_LOG_OF_SESSION of one session, TASK_LOG_IN_ALL, and TASK_LOG_BYTES. A
 *   repeated dispatch that may have been one of those is refused, as nobody can say any more.
 *
 * Calls are opaque here. Thread-safe; one lock, held for a few instructions and a copy.
 */
#ifndef NODE_TASK_LOG_H
#define NODE_TASK_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/rpc.h"

#define TASK_LOG_OF_SESSION 4096u
#define TASK_LOG_IN_ALL     65536u
#define TASK_LOG_BYTES      ((size_t)64 << 20)

struct task_log;
struct rpc_call;

/* `now` is clock_now(), but for tests. */
simpler_status task_log_create(uint64_t hold_ms, int64_t (*now)(void), struct task_log **out);
/* NULL is allowed. */
void task_log_destroy(struct task_log *log);

struct task_key {
	uint64_t session; /* not 0 */
	uint64_t task;
};

/* An answer: the message when `code` is RPC_OK, else the text, which ends in a zero byte. */
struct task_answer {
	enum rpc_code code;
	enum rpc_note note;
	const uint8_t *bytes;
	size_t size;
};

enum task_known { TASK_NEW, TASK_JOINED, TASK_ENDED };

/*
 * A dispatch has come, of a callable that is known by `callable`; `repeated` says that its client
 * sent it before.
 *
 * TASK_NEW: it is OPEN, and to be run. TASK_JOINED: it is in progress, and has this call now;
 * `*other` is the one before, to be finished by the caller, or NULL. TASK_ENDED: `*answer` is a
 * copy whose `bytes` the caller frees.
 *
 * @return SIMPLER_EUNAVAILABLE when it may have been forgotten; SIMPLER_EINVAL when the id is that
 *         of a task of another callable; SIMPLER_ENOMEM.
 */
struct task_arrival {
	enum task_known known;
	struct rpc_call *other;
	struct task_answer answer;
};
simpler_status task_log_begin(struct task_log *log, struct task_key key, uint64_t callable,
                              bool repeated, struct rpc_call *call, struct task_arrival *out);

/* It runs, by this token. True when it is to be stopped already. */
bool task_log_running(struct task_log *log, struct task_key key, uint64_t token);
/* It did not begin, and nothing is known of it. Returns the call that waits, or NULL. */
struct rpc_call *task_log_drop(struct task_log *log, struct task_key key);
/* What has become of it, and is known from now on. Returns the call that waits, or NULL. */
struct rpc_call *task_log_end(struct task_log *log, struct task_key key,
                              const struct task_answer *answer);
/* Then the answer that it gave when it was stopped is of no use to whoever asks again. */
bool task_log_is_abandoned(struct task_log *log, struct task_key key);

/*
 * A call is gone, whose client gives up at `deadline`.
 *
 * @param[out] until When what it waited for is given up; see task_log_next_due().
 * @return Whether it waited for anything. The caller finishes it then.
 */
bool task_log_leave(struct task_log *log, const struct rpc_call *call, int64_t deadline,
                    int64_t *until);
/* The client wants it stopped. Returns the token, or 0 when there is nothing to stop yet or any
 * more. */
uint64_t task_log_stop(struct task_log *log, struct task_key key);
/* One that was HELD for too long, and is ABANDONED now: its token, or 0 when there is none; and
 * when to ask again (base/clock.h). */
uint64_t task_log_next_due(struct task_log *log, int64_t *next);

/* None of the session's tasks is in progress. */
void task_log_end_session(struct task_log *log, uint64_t id);

#endif
