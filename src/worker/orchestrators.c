#include "worker/orchestrators.h"

#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

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
	struct desk *prev, *next; /* of those that wait */
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
	if (atomic_fetch_sub(&pool->idle, 1) == 1 && atomic_load(&pool->threads) <= pool->most &&
	    add_thread(pool) != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_WARN, "%s", simpler_last_error());
	run(desk);
	/* Idle before the outcome is seen: the next task may be here before this thread is. */
	atomic_fetch_add(&pool->idle, 1);
	pool->carrier->finish(pool->context, assignment, &desk->outcome);
}

/* --- those that are put by --- */

static struct desk *make_desk(struct orchestrators *pool)
{
	struct desk *desk = calloc(1, sizeof(*desk));

	if (desk)
		desk->pool = pool;
	return desk;
}

static bool begin(struct orchestrators *pool)
{
	uint32_t running = atomic_load(&pool->running);

	while (running < pool->most) {
		if (atomic_compare_exchange_weak(&pool->running, &running, running + 1))
			return true;
	}
	return false;
}

static void put_by(struct desk *desk)
{
	struct orchestrators *pool = desk->pool;
	uint64_t token = desk->assignment.task.token;

	pthread_mutex_lock(&pool->lock);
	DL_APPEND(pool->waiting, desk);
	atomic_fetch_add(&pool->waiting_count, 1);
	pthread_mutex_unlock(&pool->lock);
	if (hosted_is_stopped(pool->hosted, token))
		orchestrators_stop(pool, token);
}

/* Under the lock. */
static void take_out(struct orchestrators *pool, struct desk *desk)
{
	DL_DELETE(pool->waiting, desk);
	atomic_fetch_sub(&pool->waiting_count, 1);
}

/* One whose turn it is, which is begun; NULL: none. Looked for by who has put one by and by who has
 * ended one, after that: so one of them finds it. */
static struct desk *next_in_turn(struct orchestrators *pool)
{
	struct desk *desk;

	while (atomic_load(&pool->waiting_count) > 0 && begin(pool)) {
		pthread_mutex_lock(&pool->lock);
		desk = pool->waiting;
		if (desk)
			take_out(pool, desk);
		pthread_mutex_unlock(&pool->lock);
		if (desk)
			return desk;
		atomic_fetch_sub(&pool->running, 1);
	}
	return NULL;
}

void orchestrators_stop(struct orchestrators *pool, uint64_t token)
{
	struct desk *desk;

	if (atomic_load(&pool->waiting_count) == 0)
		return;
	pthread_mutex_lock(&pool->lock);
	DL_FOREACH (pool->waiting, desk) {
		if (desk->assignment.task.token == token)
			break;
	}
	if (desk)
		take_out(pool, desk);
	pthread_mutex_unlock(&pool->lock);
	if (!desk)
		return;
	hosted_refuse(pool->hosted, &desk->assignment.task, &desk->outcome);
	pool->carrier->finish(pool->context, &desk->assignment, &desk->outcome);
	free(desk);
}

/* Returns the desk for what is taken next. */
static struct desk *work(struct desk *desk)
{
	struct orchestrators *pool = desk->pool;
	struct desk *spare = NULL;

	if (!begin(pool)) {
		spare = make_desk(pool);
		if (spare) {
			put_by(desk);
			desk = next_in_turn(pool);
		} else { /* then it is one too many */
			atomic_fetch_add(&pool->running, 1);
		}
	}
	while (desk) {
		serve(desk);
		atomic_fetch_sub(&pool->running, 1);
		free(spare);
		spare = desk;
		desk = next_in_turn(pool);
	}
	return spare;
}

static void *orchestrator_main(void *argument)
{
	struct desk *desk = argument;
	struct orchestrators *pool = desk->pool;
	const struct carrier *carrier = pool->carrier;
	void *context = pool->context;

	for (;;) {
		uint32_t ticket = carrier->ticket(context);

		if (carrier->take(context, &desk->assignment))
			desk = work(desk);
		else
			carrier->wait(context, ticket, &desk->spin);
	}
	return NULL;
}

/* --- threads --- */

static simpler_status start_thread(struct orchestrators *pool)
{
	struct desk *desk = make_desk(pool);
	pthread_t thread;
	int failure;

	if (!desk)
		return error_raise(SIMPLER_ENOMEM, "out of memory for an orchestrator thread");
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
	(void)pthread_mutex_init(&pool->lock, NULL);
	return add_thread(pool);
}
