#include "device/sim_pool.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A launch in progress; on the stack of the thread that launches. */
struct round {
	const simpler_device_launch *launch;
	_Atomic uint64_t next; /* block to hand out */
	atomic_bool halted;    /* hand out no more */
	/* The lowest block that failed, and its error. Under the pool's lock. */
	bool failed;
	int32_t failed_block;
	struct error error;
};

struct helper {
	struct sim_pool *pool;
	pthread_t thread;
	int32_t number; /* simpler_block.thread */
};

struct sim_pool {
	pid_t pid;
	pthread_mutex_t lock;      /* guards all below */
	pthread_cond_t begin, end; /* a round has begun, or close; the last helper has left it */
	uint64_t rounds;           /* begun so far */
	struct round *round;
	int32_t invited; /* helpers 1 to this may join the round */
	int32_t busy;    /* helpers that have joined and not left it */
	bool closing;
	int32_t helper_count;
	struct helper helpers[SIM_MAX_THREADS - 1];
};

/* --- blocks --- */

static void note_failure(struct sim_pool *pool, struct round *round, int32_t block,
                         simpler_status returned)
{
	atomic_store(&round->halted, true);
	/* What the block left by simpler_fail() is this thread's error. */
	if (simpler_last_status() != returned || !simpler_last_error_step(0))
		error_raise(returned, "the kernel returned %d and gave no message", (int)returned);
	error_context("block %" PRId32 " of %" PRId32, block, round->launch->config->block_dim);
	pthread_mutex_lock(&pool->lock);
	if (!round->failed || block < round->failed_block) {
		round->failed = true;
		round->failed_block = block;
		error_save(&round->error);
	}
	pthread_mutex_unlock(&pool->lock);
}

static void run_block(struct sim_pool *pool, struct round *round, int32_t index, int32_t thread)
{
	const simpler_device_launch *launch = round->launch;
	const simpler_block block = { index, launch->config->block_dim, thread,
		                      launch->config->aicpu_thread_num };
	simpler_status returned;

	/* What an earlier block left must not explain this one. */
	error_clear();
	returned = launch->kernel(&block, launch->args, launch->state);
	/* It forked and returned twice: this is the copy, and not the chip's process. */
	if (getpid() != pool->pid)
		_exit(EXIT_SUCCESS);
	if (returned != SIMPLER_OK)
		note_failure(pool, round, index, returned);
}

/* Take blocks until there are none, or one failed, or the task is to stop. */
static void run_blocks(struct sim_pool *pool, struct round *round, int32_t thread)
{
	uint64_t count = (uint64_t)round->launch->config->block_dim;

	while (!atomic_load(&round->halted)) {
		uint64_t index;

		if (round->launch->should_stop()) {
			/* The others need not watch the flag that this thread watches. */
			atomic_store(&round->halted, true);
			return;
		}
		index = atomic_fetch_add(&round->next, 1);
		if (index >= count)
			return;
		run_block(pool, round, (int32_t)index, thread);
	}
}

/* --- helpers --- */

/* Join the next round that this helper is invited to; NULL to end. Under the lock. */
static struct round *await_round(struct sim_pool *pool, const struct helper *self, uint64_t *seen)
{
	for (;;) {
		while (!pool->closing && pool->rounds == *seen)
			pthread_cond_wait(&pool->begin, &pool->lock);
		if (pool->closing)
			return NULL;
		*seen = pool->rounds;
		/* One that wakes too late finds itself no longer invited. */
		if (self->number <= pool->invited) {
			pool->busy++;
			return pool->round;
		}
	}
}

static void *helper_main(void *argument)
{
	const struct helper *self = argument;
	struct sim_pool *pool = self->pool;
	struct round *round;
	uint64_t seen = 0;

	pthread_mutex_lock(&pool->lock);
	while ((round = await_round(pool, self, &seen))) {
		pthread_mutex_unlock(&pool->lock);
		run_blocks(pool, round, self->number);
		pthread_mutex_lock(&pool->lock);
		if (--pool->busy == 0)
			pthread_cond_signal(&pool->end);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Have helpers 1 to `wanted`. Between rounds. */
static simpler_status start_helpers(struct sim_pool *pool, int32_t wanted)
{
	while (pool->helper_count < wanted) {
		struct helper *helper = &pool->helpers[pool->helper_count];
		int error;

		helper->pool = pool;
		helper->number = pool->helper_count + 1;
		error = pthread_create(&helper->thread, NULL, helper_main, helper);
		if (error)
			return error_raise_errno(SIMPLER_ESYSTEM, error,
			                         "cannot start thread %" PRId32
			                         " of a simulated device",
			                         helper->number);
		pool->helper_count++;
	}
	return SIMPLER_OK;
}

static void begin_round(struct sim_pool *pool, struct round *round, int32_t helpers)
{
	pthread_mutex_lock(&pool->lock);
	pool->round = round;
	pool->invited = helpers;
	pool->rounds++;
	if (helpers > 0)
		pthread_cond_broadcast(&pool->begin);
	pthread_mutex_unlock(&pool->lock);
}

static void end_round(struct sim_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->round = NULL;
	pool->invited = 0;
	while (pool->busy > 0)
		pthread_cond_wait(&pool->end, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}

/* --- the pool --- */

struct sim_pool *sim_pool_create(void)
{
	struct sim_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->pid = getpid();
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->begin, NULL);
	pthread_cond_init(&pool->end, NULL);
	return pool;
}

void sim_pool_destroy(struct sim_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pthread_cond_broadcast(&pool->begin);
	pthread_mutex_unlock(&pool->lock);
	for (int32_t i = 0; i < pool->helper_count; i++)
		pthread_join(pool->helpers[i].thread, NULL);
	pthread_cond_destroy(&pool->begin);
	pthread_cond_destroy(&pool->end);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static simpler_status judge(struct round *round)
{
	uint64_t count = (uint64_t)round->launch->config->block_dim;
	uint64_t begun = atomic_load(&round->next);

	if (round->failed)
		return error_restore(&round->error);
	if (begun < count)
		return error_raise(SIMPLER_ECANCELLED,
		                   "stopped: %" PRIu64 " of %" PRIu64 " blocks were not run",
		                   count - begun, count);
	return SIMPLER_OK;
}

simpler_status sim_pool_launch(struct sim_pool *pool, const simpler_device_launch *launch)
{
	struct round round = { .launch = launch };
	int32_t blocks = launch->config->block_dim, threads = launch->config->aicpu_thread_num;
	int32_t helpers = (threads < blocks ? threads : blocks) - 1;
	simpler_status status;

	if (threads > SIM_MAX_THREADS)
		return error_raise(SIMPLER_EINVAL,
		                   "the config asks for %" PRId32
		                   " threads (aicpu_thread_num), a simulated device has %d",
		                   threads, SIM_MAX_THREADS);
	status = start_helpers(pool, helpers);
	if (status)
		return status;
	begin_round(pool, &round, helpers);
	run_blocks(pool, &round, 0);
	end_round(pool);
	return judge(&round);
}
