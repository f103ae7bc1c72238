/*
 * Runs in threads of the worker. Each has a thread of its own, which is joined when its completion
 * is destroyed; `lock` guards what the thread leaves behind.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/events.h"
#include "worker/worker.h"

struct simpler_completion {
	simpler_worker *worker;
	struct run *run;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below, down to `error` */
	pthread_cond_t changed;
	bool ended;
	int fd; /* -1: nobody asked */
	simpler_status status;
	struct error error;
	/* What the run was called with. */
	simpler_config config;
	char output_prefix[RECORD_PREFIX_MAX + 1];
	struct simpler_args args;
	uint8_t state[];
};

/* --- the thread --- */

/* Whose thread this is. Its run cannot end while its function waits for the end. */
static _Thread_local const simpler_completion *own;

static void *completion_main(void *argument)
{
	simpler_completion *completion = argument;
	simpler_status status;

	own = completion;
	status = run_execute(completion->run);
	if (status != SIMPLER_OK)
		(void)error_context("the run failed");
	pthread_mutex_lock(&completion->lock);
	if (status != SIMPLER_OK)
		error_save(&completion->error);
	completion->status = status;
	completion->ended = true;
	if (completion->fd >= 0)
		events_wake(completion->fd);
	(void)pthread_cond_broadcast(&completion->changed);
	pthread_mutex_unlock(&completion->lock);
	return NULL;
}

/* --- birth --- */

static simpler_status copy_config(simpler_completion *completion, const simpler_config *config)
{
	struct record_config checked;
	simpler_status status = run_take_config(config, &checked);

	if (status != SIMPLER_OK)
		return status;
	memcpy(completion->output_prefix, checked.output_prefix, sizeof(checked.output_prefix));
	completion->config = *config;
	if (config->output_prefix)
		completion->config.output_prefix = completion->output_prefix;
	return SIMPLER_OK;
}

static simpler_status prepare(simpler_completion *completion, simpler_orch_function *fn,
                              const simpler_args *args, const simpler_run_options *options,
                              simpler_bytes state)
{
	struct run_call call = {
		.fn = fn,
		.name = "the orchestration function",
		.args = args ? &completion->args : NULL,
		.config = options->config ? &completion->config : NULL,
		.state = { completion->state, state.size },
		.timeout_ms = options->timeout_ms,
	};
	simpler_status status = SIMPLER_OK;

	if (args)
		completion->args = *args;
	if (state.size > 0)
		memcpy(completion->state, state.data, state.size);
	if (options->config)
		status = copy_config(completion, options->config);
	return status == SIMPLER_OK ? run_create(completion->worker->core, &call, &completion->run)
	                            : status;
}

static void init_locks(simpler_completion *completion)
{
	pthread_condattr_t attributes;

	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&completion->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	(void)pthread_mutex_init(&completion->lock, NULL);
}

static void release(simpler_completion *completion)
{
	if (completion->run)
		run_destroy(completion->run);
	if (completion->fd >= 0)
		(void)close(completion->fd);
	atomic_fetch_sub(&completion->worker->async_runs, 1);
	(void)pthread_cond_destroy(&completion->changed);
	(void)pthread_mutex_destroy(&completion->lock);
	free(completion);
}

static simpler_status start(simpler_completion *completion)
{
	int failure = pthread_create(&completion->thread, NULL, completion_main, completion);

	return failure == 0
	               ? SIMPLER_OK
	               : error_raise_errno(SIMPLER_ESYSTEM, failure, "starting a thread for a run");
}

static simpler_status check_call(const simpler_worker *worker, simpler_orch_function *fn,
                                 const simpler_run_options *options, simpler_bytes state,
                                 simpler_completion **out)
{
	simpler_status status = worker_check_run(worker, fn);

	if (status != SIMPLER_OK)
		return status;
	if (!out)
		return error_raise(SIMPLER_EINVAL,
		                   "a place for the completion is needed, not NULL");
	if (options->struct_size != sizeof(*options))
		return error_raise(SIMPLER_EINVAL,
		                   "run options have size %zu instead of %zu; begin them with "
		                   "SIMPLER_RUN_OPTIONS_INIT",
		                   options->struct_size, sizeof(*options));
	if (state.size > SIMPLER_STATE_MAX || (!state.data && state.size > 0))
		return error_raise(SIMPLER_EINVAL,
		                   "state of %zu bytes at %p; at most %zu are copied, pass larger "
		                   "data as a tensor",
		                   state.size, state.data, SIMPLER_STATE_MAX);
	return SIMPLER_OK;
}

simpler_status simpler_run_async(simpler_worker *worker, simpler_orch_function *fn,
                                 const simpler_args *args, const simpler_run_options *options,
                                 simpler_bytes state, simpler_completion **out)
{
	static const simpler_run_options defaults = SIMPLER_RUN_OPTIONS_INIT;
	simpler_completion *completion;
	simpler_status status;

	if (!options)
		options = &defaults;
	status = check_call(worker, fn, options, state, out);
	if (status != SIMPLER_OK)
		return status;
	completion = calloc(1, sizeof(*completion) + state.size);
	if (!completion)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a run");
	completion->worker = worker;
	completion->fd = -1;
	init_locks(completion);
	if (atomic_fetch_add(&worker->async_runs, 1) >= WORKER_MAX_ASYNC_RUNS)
		status = error_raise(SIMPLER_ENOSPACE,
		                     "%u runs are in progress in threads of the worker, the limit; "
		                     "destroy the completions of those that have ended",
		                     WORKER_MAX_ASYNC_RUNS);
	if (status == SIMPLER_OK)
		status = prepare(completion, fn, args, options, state);
	if (status == SIMPLER_OK)
		status = start(completion);
	if (status == SIMPLER_OK)
		*out = completion;
	else
		release(completion);
	return status;
}

/* --- looking at it --- */

static bool has_ended(const simpler_completion *completion)
{
	/* The lock is no part of what the caller sees as constant. */
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&completion->lock;
	bool ended;

	pthread_mutex_lock(lock);
	ended = completion->ended;
	pthread_mutex_unlock(lock);
	return ended;
}

bool simpler_completion_poll(const simpler_completion *completion)
{
	return completion && has_ended(completion);
}

bool simpler_completion_wait(simpler_completion *completion, uint64_t timeout_ms)
{
	int64_t at = clock_after_ms(timeout_ms);
	const struct timespec until = { at / CLOCK_S, at % CLOCK_S };
	int failure = 0;
	bool ended;

	if (!completion || completion == own)
		return false;
	pthread_mutex_lock(&completion->lock);
	while (!completion->ended && failure == 0)
		failure = pthread_cond_timedwait(&completion->changed, &completion->lock, &until);
	ended = completion->ended;
	pthread_mutex_unlock(&completion->lock);
	return ended;
}

int simpler_completion_fd(simpler_completion *completion)
{
	int fd;

	if (!completion)
		return -1;
	pthread_mutex_lock(&completion->lock);
	if (completion->fd < 0 && events_wakeup(&completion->fd) == SIMPLER_OK) {
		if (completion->ended)
			events_wake(completion->fd);
	}
	fd = completion->fd;
	pthread_mutex_unlock(&completion->lock);
	return fd;
}

simpler_status simpler_completion_result(const simpler_completion *completion)
{
	if (!completion)
		return error_raise(SIMPLER_EINVAL, "a completion is needed, not NULL");
	if (!has_ended(completion))
		return error_raise(SIMPLER_ESTATE, "the run goes on; wait for its end first");
	/* It changes no more. */
	return completion->status == SIMPLER_OK ? SIMPLER_OK : error_restore(&completion->error);
}

/* --- ending it --- */

void simpler_completion_cancel(simpler_completion *completion)
{
	if (completion)
		run_stop(completion->run, SIMPLER_ECANCELLED);
}

simpler_status simpler_completion_cancel_task(simpler_completion *completion, simpler_task task)
{
	if (!completion)
		return error_raise(SIMPLER_EINVAL, "a completion is needed, not NULL");
	return simpler_cancel((simpler_orch *)completion->run, task);
}

simpler_status simpler_completion_destroy(simpler_completion *completion)
{
	if (!completion)
		return SIMPLER_OK;
	if (completion == own)
		return error_raise(SIMPLER_ESTATE,
		                   "a run's own function cannot wait for the run's end: destroy "
		                   "the completion elsewhere, or afterwards");
	(void)pthread_join(completion->thread, NULL);
	release(completion);
	return SIMPLER_OK;
}
