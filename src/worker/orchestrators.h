/*
 * The threads of a hosted worker: they take tasks off its carrier, run them, and hand the outcomes
 * in. There is always one more than are busy, up to a limit, so that a task never waits behind a
 * running one. They live as long as the process.
 */
#ifndef WORKER_ORCHESTRATORS_H
#define WORKER_ORCHESTRATORS_H

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
	uint32_t most; /* threads */

	_Atomic uint32_t threads, idle;
	_Atomic uint32_t usual_ns; /* of late tasks, about; see orchestrators_are_quick() */
};

/* The first one. `pool` is never released. */
simpler_status orchestrators_start(struct orchestrators *pool);
/* Whether tasks of late took no longer than it takes to wake a thread for them. */
bool orchestrators_are_quick(const struct orchestrators *pool);
/* One does not come back. */
void orchestrators_note_slow(struct orchestrators *pool);

#endif
