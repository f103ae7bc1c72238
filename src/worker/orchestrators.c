#include "worker/orchestrators.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define TIMED_EVERY 8u /* of a thread's tasks, as reading the clock twice is not for nothing */
#define QUICK_NS    20000u
#define SLOWEST_NS  500000u /* that a task counts as */

/* What one thread works with: too large for a stack that user code needs. */
struct desk {
	struct orchestrators *pool;
	struct spin_budget spin;
	uint32_t served;
	struct assignment assignment;
	struct record_outcome outcome;
};

static simpler_status add_thread(struct orchestrators *pool);

bool orchestrators_are_quick(const struct orchestrators *pool)
{
	return atomic_load_explicit(&pool->usual_ns, memory_order_relaxed) <= QUICK_NS;
}

/* Quick to believe in short ones, as now and then one takes long for no fault of its own: another
 * thread had its core. Threads may lose each other's, which is of no matter. */
static void learn(struct orchestrators *pool, int64_t took)
{
	uint32_t usual = atomic_load_explicit(&pool->usual_ns, memory_order_relaxed);
	uint32_t capped = took < SLOWEST_NS ? (uint32_t)took : SLOWEST_NS;

	usual = capped < usual ? usual / 2 + capped / 2 : usual + (capped - usual) / 8;
	atomic_store_explicit(&pool->usual_ns, usual, memory_order_relaxed);
}

/* One alone may have lost its core for a while. */
void orchestrators_note_slow(struct orchestrators *pool)
{
	uint32_t usual = atomic_load_explicit(&pool->usual_ns, memory_order_relaxed);

	learn(pool, 16 * (int64_t)usual);
}

static void run(struct desk *desk)
{
	struct orchestrators *pool = desk->pool;
	bool timed = desk->served++ % TIMED_EVERY == 0;
	int64_t began = timed ? clock_now() : 0;

	hosted_run(pool->hosted, &desk->assignment.task, &desk->assignment.record, &desk->outcome);
	if (timed)
		learn(pool, clock_now() - began);
}

static void serve(struct desk *desk)
{
	struct orchestrators *pool = desk->pool;
	struct assignment *assignment = &desk->assignment;

	/* The last idle one sees to it that the next task finds somebody. */
	if (atomic_fetch_sub(&pool->idle, 1) == 1 && atomic_load(&pool->threads) < pool->most &&
	    add_thread(pool) != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_WARN, "%s", simpler_last_error());
	run(desk);
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
	atomic_init(&pool->usual_ns, SLOWEST_NS);
	return add_thread(pool);
}
