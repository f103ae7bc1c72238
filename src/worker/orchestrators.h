/*
 * The threads of a hosted worker: they take tasks off its carrier, run them, and hand the outcomes
 * in. There is always one more than are busy, so that a task never waits behind a running one, and
 * somebody hears of stops. Beyond a limit of those that run, that one puts tasks by until they have
 * their turn. The threads live as long as the process.
 */
#ifndef WORKER_ORCHESTRATORS_H
#define WORKER_ORCHESTRATORS_H

#include <pthread.h>

#include "ipc/doorbell.h"
#include "worker/hosted.h"

/* A task on its way through one thread. */
struct assignment {
	struct record_task record;
	struct hosted_task task;
	uint32_t slot, generation; /* the carrier's own */
};

/* Where tasks come from. Called by any of the threads, several at once. */
struct carrier {
	/* Before looking for a task: what wait() needs to miss none. */
	uint32_t (*ticket)(void *context);
	/* The next task, decoded and expected (hosted_expect()). False when there is none now. */
	bool (*take)(void *context, struct assignment *out);
	/* Until there may be a task, that came after `ticket` was got. */
	void (*wait)(void *context, uint32_t ticket, struct spin_budget *spin);
	void (*finish)(void *context, const struct assignment *assignment,
	               const struct record_outcome *outcome);
};

struct orchestrators {
	/* Fixed; set by the owner before the start. */
	const struct carrier *carrier;
	void *context;
	struct hosted *hosted;
	uint32_t most; /* tasks that run at once; there is a thread more */

	_Atomic uint32_t threads, idle, running;
	_Atomic uint32_t waiting_count;
	pthread_mutex_t lock;      /* guards: */
	struct desk *waiting;      /* with a task that has been put by, in their order */
	_Atomic uint32_t usual_ns; /* of late tasks, about; see orchestrators_are_quick() */
};

/* The first one. `pool` is never released. */
simpler_status orchestrators_start(struct orchestrators *pool);
/* End the task that was stopped, if it has been put by. After hosted_stop(). */
void orchestrators_stop(struct orchestrators *pool, uint64_t token);
/* Whether tasks of late took no longer than it takes to wake a thread for them. */
bool orchestrators_are_quick(const struct orchestrators *pool);
/* One does not come back. */
void orchestrators_note_slow(struct orchestrators *pool);

#endif
