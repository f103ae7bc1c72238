#include "worker/orchestrators.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"

/* What one thread works with: too large for a stack that user code needs. */
struct desk {
	struct orchestrators *pool;
	struct spin_budget spin;
	struct assignment assignment;
	struct record_outcome outcome;
};

static simpler_status add_thread(struct orchestrators *pool);

static void serve(struct desk *desk)
{
	struct orchestrators *pool = desk->pool;
	struct assignment *assignment = &desk->assignment;

	/* The last idle one sees to it that the next task finds somebody. */
	if (atomic_fetch_sub(&pool->idle, 1) == 1 && atomic_load(&pool->threads) < pool->most &&
	    add_thread(pool) != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_WARN, "%s", simpler_last_error());
	hosted_run(pool->hosted, &assignment->task, &assignment->record, &desk->outcome);
	/* Idle before the outcome is seen: the next task may be here before this thread is. */
	atomic_fetch_add(&pool->idle, 1);
	pool->carrier->finish(pool->context, assignment, &desk->outcome);
}

static void *orchestrator_main(void *argument)
{
	struct desk *desk = argument;
	const struct carrier *carrier = desk->pool->carrier;
	void *context = desk->pool->context;

	for (;;) {
		uint32_t ticket = carrier->ticket(context);

		if (carrier->take(context, &desk->assignment))
			serve(desk);
		else
			carrier->wait(context, ticket, &desk->spin);
	}
	return NULL;
}

static simpler_status start_thread(struct orchestrators *pool)
{
	struct desk *desk = calloc(1, sizeof(*desk));
	pthread_t thread;
	int failure;

	if (!desk)
		return error_raise(SIMPLER_ENOMEM, "out of memory for an orchestrator thread");
	desk->pool = pool;
	failure = pthread_create(&thread, NULL, orchestrator_main, desk);
	if (failure != 0) {
		free(desk);
		return error_raise_errno(SIMPLER_ESYSTEM, failure,
		                         "starting an orchestrator thread");
	}
	(void)pthread_detach(thread);
	return SIMPLER_OK;
}

static simpler_status add_thread(struct orchestrators *pool)
{
	simpler_status status;

	/* Counted before it is there, as it may have taken a task before this returns. */
	atomic_fetch_add(&pool->threads, 1);
	atomic_fetch_add(&pool->idle, 1);
	status = start_thread(pool);
	if (status != SIMPLER_OK) {
		atomic_fetch_sub(&pool->threads, 1);
		atomic_fetch_sub(&pool->idle, 1);
	}
	return status;
}

simpler_status orchestrators_start(struct orchestrators *pool)
{
	return add_thread(pool);
}
