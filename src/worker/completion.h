/* What stands behind a simpler_completion: a run in a thread (async_run.c) or something done to a
 * tensor on a node (remote_tensors.c). Each begins with one. */
#ifndef WORKER_COMPLETION_H
#define WORKER_COMPLETION_H

#include <pthread.h>

#include "worker/worker.h"

struct completion_ops {
	/* Whether the calling thread is the one that the end is made by, so that it cannot wait. */
	bool (*is_own)(const simpler_completion *completion);
	/* From any thread, also when it has ended. */
	void (*cancel)(simpler_completion *completion);
	simpler_status (*cancel_task)(simpler_completion *completion, simpler_task task);
	/* Wait for the end and release it. */
	void (*destroy)(simpler_completion *completion);
};

struct simpler_completion {
	const struct completion_ops *ops;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	bool ended;
	int fd; /* -1: nobody asked */
	simpler_status status;
	struct error error;
};

void completion_init(simpler_completion *completion, const struct completion_ops *ops);
/* It has ended, or nothing was begun. */
void completion_release(simpler_completion *completion);
/* Once; `error` NULL when all went well. Who waits may release it at once. */
void completion_end(simpler_completion *completion, const struct error *error);

#endif
