/*
 * Runs in threads of the worker. Each has a thread of its own, which is joined when its completion
 * is destroyed.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "worker/completion.h"

struct async_run {
	struct simpler_completion completion; /* first */
	simpler_worker *worker;
	struct run *run;
	pthread_t thread;
	/* What the run was called with. */
	simpler_config config;
	char output_prefix[RECORD_PREFIX_MAX + 1];
	struct simpler_args args;
	uint8_t state[];
};

/* --- the thread --- */

/* Whose thread this is. Its run cannot end while its function waits for the end. */
static _Thread_local const struct async_run *own;

static void *completion_main(void *argument)
{
	struct async_run *async = argument;
	simpler_status status;
	struct error error;

	own = async;
	status = run_execute(async->run);
	if (status != SIMPLER_OK) {
		(void)error_context("the run failed");
		error_save(&error);
	}
	completion_end(&async->completion, status == SIMPLER_OK ? NULL : &error);
	return NULL;
}

/* --- birth --- */

static simpler_status copy_config(struct async_run *async, const simpler_config *config)
{
	struct record_config checked;
	simpler_status status = run_take_config(config, &checked);

	if (status != SIMPLER_OK)
		return status;
	memcpy(async->output_prefix, checked.output_prefix, sizeof(checked.output_prefix));
	async->config = *config;
	if (config->output_prefix)
		async->config.output_prefix = async->output_prefix;
	return SIMPLER_OK;
}

static simpler_status prepare(struct async_run *async, simpler_orch_function *fn,
                              const simpler_args *args, const simpler_run_options *options,
                              simpler_bytes state)
{
	struct run_call call = {
		.fn = fn,
		.name = "the orchestration function",
		.args = args ? &async->args : NULL,
		.config = options->config ? &async->config : NULL,
		.state = { async->state, state.size },
		.timeout_ms = options->timeout_ms,
		.auto_import = options->auto_import,
	};
	simpler_status status = SIMPLER_OK;

	if (args)
		async->args = *args;
	if (state.size > 0)
		memcpy(async->state, state.data, state.size);
	if (options->config)
		status = copy_config(async, options->config);
	return status == SIMPLER_OK ? run_create(async->worker->core, &call, &async->run) : status;
}

static void release(struct async_run *async)
{
	if (async->run)
		run_destroy(async->run);
	atomic_fetch_sub(&async->worker->async_runs, 1);
	completion_release(&async->completion);
	free(async);
}

static simpler_status start(struct async_run *async)
{
	int failure = pthread_create(&async->thread, NULL, completion_main, async);

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

static bool is_own(const simpler_completion *completion)
{
	return (const struct async_run *)completion == own;
}

static void cancel(simpler_completion *completion)
{
	run_stop(((struct async_run *)completion)->run, SIMPLER_ECANCELLED);
}

static simpler_status cancel_task(simpler_completion *completion, simpler_task task)
{
	return simpler_cancel((simpler_orch *)((struct async_run *)completion)->run, task);
}

static void destroy(simpler_completion *completion)
{
	struct async_run *async = (struct async_run *)completion;

	(void)pthread_join(async->thread, NULL);
	release(async);
}

static const struct completion_ops ops = { is_own, cancel, cancel_task, destroy };

simpler_status simpler_run_async(simpler_worker *worker, simpler_orch_function *fn,
                                 const simpler_args *args, const simpler_run_options *options,
                                 simpler_bytes state, simpler_completion **out)
{
	static const simpler_run_options defaults = SIMPLER_RUN_OPTIONS_INIT;
	struct async_run *async;
	simpler_status status;

	if (!options)
		options = &defaults;
	status = check_call(worker, fn, options, state, out);
	if (status != SIMPLER_OK)
		return status;
	async = calloc(1, sizeof(*async) + state.size);
	if (!async)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a run");
	async->worker = worker;
	completion_init(&async->completion, &ops);
	if (atomic_fetch_add(&worker->async_runs, 1) >= WORKER_MAX_ASYNC_RUNS)
		status = error_raise(SIMPLER_ENOSPACE,
		                     "%u runs are in progress in threads of the worker, the limit; "
		                     "destroy the completions of those that have ended",
		                     WORKER_MAX_ASYNC_RUNS);
	if (status == SIMPLER_OK)
		status = prepare(async, fn, args, options, state);
	if (status == SIMPLER_OK)
		status = start(async);
	if (status == SIMPLER_OK)
		*out = &async->completion;
	else
		release(async);
	return status;
}
