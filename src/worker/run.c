/* A run: from the call of an orchestration function to the end of the last task it submitted. */
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/stop.h"
#include "worker/schedule.h"

static const simpler_config default_config = SIMPLER_CONFIG_INIT;

simpler_status run_take_config(const simpler_config *config, struct record_config *out)
{
	const char *prefix;

	if (config->struct_size != sizeof(*config))
		return error_raise(SIMPLER_EINVAL,
		                   "a config has size %zu instead of %zu; begin it with "
		                   "SIMPLER_CONFIG_INIT",
		                   config->struct_size, sizeof(*config));
	prefix = config->output_prefix ? config->output_prefix : "";
	if (config->block_dim < 1 || config->aicpu_thread_num < 1)
		return error_raise(SIMPLER_EINVAL,
		                   "block_dim is %d and aicpu_thread_num %d; both are at least 1",
		                   config->block_dim, config->aicpu_thread_num);
	if (strlen(prefix) > RECORD_PREFIX_MAX)
		return error_raise(SIMPLER_EINVAL, "output_prefix has %zu bytes; at most %d can be",
		                   strlen(prefix), RECORD_PREFIX_MAX);
	if (prefix[0] == '\0' &&
	    (config->enable_l2_swimlane || config->enable_dump_tensor || config->enable_pmu != 0))
		return error_raise(SIMPLER_EINVAL,
		                   "a diagnostic flag is set and output_prefix is not; "
		                   "say where the output goes");
	out->block_dim = config->block_dim;
	out->aicpu_thread_num = config->aicpu_thread_num;
	out->enable_pmu = config->enable_pmu;
	out->enable_l2_swimlane = config->enable_l2_swimlane;
	out->enable_dump_tensor = config->enable_dump_tensor;
	memcpy(out->output_prefix, prefix, strlen(prefix) + 1);
	return SIMPLER_OK;
}

/* --- state, under the lock --- */

simpler_status run_check_open(const struct run *run)
{
	if (run->returned)
		return error_raise(SIMPLER_ESTATE,
		                   "the orchestration function has returned, and with it the run "
		                   "takes nothing more; what it starts is to be done before");
	if (run->stopped)
		return error_raise(run->stopped, "the run was stopped and takes no more tasks: %s",
		                   error_step(&run->error, 0));
	if (run->failed)
		return error_raise(SIMPLER_EPOISONED,
		                   "the run has failed already and takes no more tasks: %s",
		                   error_step(&run->error, 0));
	return SIMPLER_OK;
}

void run_fail(struct run *run, const struct error *error)
{
	if (run->failed)
		return;
	run->failed = true;
	run->error = *error;
}

void run_note_progress(struct run *run, struct chores *chores)
{
	if (run->tasks || !run->returned)
		return;
	if (run->unfetched > RUN_UNFETCHED_TOLD)
		error_add(&run->error,
		          "%u more have ended, and their results were not all fetched: their "
		          "output buffers may be half-written",
		          run->unfetched - RUN_UNFETCHED_TOLD);
	run->executing = false;
	run->core->executing_runs--;
	atomic_store(&run->finished, true);
	(void)pthread_cond_signal(&run->ended);
	chores->run_ended = true;
}

static void stop_in_time(struct run *run, simpler_status why, struct chores *chores)
{
	struct task *next;
	struct error error;

	if (run->stopped || atomic_load(&run->finished))
		return;
	run->stopped = why;
	if (why == SIMPLER_EDEADLINE)
		error_init(&error, why, "the run did not end within the %llu ms that it had",
		           (unsigned long long)run->call.timeout_ms);
	else
		error_init(&error, why, "the run was cancelled");
	run_fail(run, &error);
	atomic_store(&run->stop, 1);
	for (struct task *task = run->tasks; task; task = next) {
		next = task->next_of_run;
		schedule_stop(task, why, chores);
	}
	/* A submit that waits for room is not to wait on. */
	schedule_note_room(run->core);
}

void run_stop(struct run *run, simpler_status why)
{
	struct worker_core *core = run->core;
	struct chores chores = { 0 };

	pthread_mutex_lock(&core->lock);
	stop_in_time(run, why, &chores);
	schedule_react(core, &chores);
	pthread_mutex_unlock(&core->lock);
	schedule_do(core, &chores);
}

static void on_deadline(struct timer *timer, struct chores *chores)
{
	stop_in_time((struct run *)(void *)((char *)timer - offsetof(struct run, timer)),
	             SIMPLER_EDEADLINE, chores);
}

/* --- life --- */

static simpler_status open_run(struct run *run)
{
	struct worker_core *core = run->core;
	simpler_status status;

	pthread_mutex_lock(&core->lock);
	status = dag_scope_open(core->graph, &run->scopes[0]);
	run->scope_count = status == SIMPLER_OK;
	if (status == SIMPLER_OK && run->deadline != CLOCK_NEVER)
		status = deadlines_set(core, &run->timer, run->deadline);
	pthread_mutex_unlock(&core->lock);
	return status;
}

static uint64_t next_number(void)
{
	static _Atomic uint64_t given;

	return atomic_fetch_add_explicit(&given, 1, memory_order_relaxed) + 1;
}

simpler_status run_create(struct worker_core *core, const struct run_call *call, struct run **out)
{
	struct run *run = malloc(sizeof(*run));
	simpler_status status;

	if (!run)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a run");
	memset(run, 0, offsetof(struct run, error)); /* which is large, and seldom needed */
	run->core = core;
	run->call = *call;
	run->number = next_number();
	run->timer.due = on_deadline;
	run->deadline = call->timeout_ms == SIMPLER_FOREVER ? CLOCK_NEVER
	                                                    : clock_after_ms(call->timeout_ms);
	(void)pthread_cond_init(&run->ended, NULL);
	status = run_take_config(call->config ? call->config : &default_config, &run->config);
	if (status == SIMPLER_OK)
		status = open_run(run);
	if (status != SIMPLER_OK) {
		run_destroy(run);
		return status;
	}
	*out = run;
	return SIMPLER_OK;
}

static void give_back_handles(struct run *run)
{
	struct callable_holds *holds = atomic_load(&run->holds);

	if (holds)
		callables_drop_all(run->core->callables, holds);
	free(holds);
}

/* Close what scopes are open, the run's own among them. Under the lock. */
static void close_scopes(struct run *run)
{
	while (run->scope_count > 0)
		dag_scope_close(run->core->graph, run->scopes[--run->scope_count]);
}

void run_destroy(struct run *run)
{
	struct worker_core *core = run->core;
	struct chores chores = { 0 };

	pthread_mutex_lock(&core->lock);
	timers_cancel(&core->timers, &run->timer);
	close_scopes(run);
	schedule_react(core, &chores);
	pthread_mutex_unlock(&core->lock);
	schedule_do(core, &chores);
	give_back_handles(run);
	(void)pthread_cond_destroy(&run->ended);
	free(run);
}

/* What the function returned is a failure of the run, if it is one. Under the lock. */
static void note_returned(struct run *run, simpler_status status)
{
	run->returned = true;
	if (status == SIMPLER_OK || run->failed)
		return;
	run->failed = true;
	if (simpler_last_status() == status)
		error_save(&run->error);
	else
		error_init(&run->error, (int)status > 0 ? status : SIMPLER_EUSER,
		           "'%s' returned %d (%s)", run->call.name, (int)status,
		           simpler_status_text(status));
}

static void wait_for_tasks(struct run *run)
{
	struct worker_core *core = run->core;
	const struct exec_progress *progress = &core->progress;

	if (run->announced || (progress->attend && !atomic_load(&run->finished)))
		(void)progress->attend(progress->context, run->announced, &run->finished);
	/* Also when it is finished: whoever finished it lets go of the run with the lock. */
	pthread_mutex_lock(&core->lock);
	while (!atomic_load(&run->finished))
		(void)pthread_cond_wait(&run->ended, &core->lock);
	timers_cancel(&core->timers, &run->timer);
	pthread_mutex_unlock(&core->lock);
}

/* Whose function this thread is in, the innermost one's. */
static _Thread_local struct run *calling;

static simpler_status call_function(struct run *run)
{
	const struct run_call *call = &run->call;
	const _Atomic uint32_t *outer = stop_watch_thread(&run->stop);
	const struct exec_progress *progress = &run->core->progress;
	simpler_status status;

	run->outer = calling;
	calling = run;
	run->announced = progress->announce && progress->announce(progress->context);
	/* So that an error found after the call is the function's own. */
	error_clear();
	status = call->fn((simpler_orch *)run, call->args,
	                  call->config ? call->config : &default_config, call->state);
	(void)stop_watch_thread(outer);
	calling = run->outer;
	return status;
}

simpler_status run_execute(struct run *run)
{
	struct worker_core *core = run->core;
	struct chores chores = { 0 };
	simpler_status status;

	pthread_mutex_lock(&core->lock);
	run->executing = true;
	core->executing_runs++;
	status = run->stopped ? error_restore(&run->error) : SIMPLER_OK;
	pthread_mutex_unlock(&core->lock);
	if (status == SIMPLER_OK)
		status = call_function(run);
	pthread_mutex_lock(&core->lock);
	note_returned(run, status);
	close_scopes(run);
	run_note_progress(run, &chores);
	chores.run_ended = false; /* nobody waits but this thread */
	schedule_react(core, &chores);
	pthread_mutex_unlock(&core->lock);
	schedule_do(core, &chores);
	wait_for_tasks(run);
	return run->failed ? error_restore(&run->error) : SIMPLER_OK;
}

simpler_status core_run(struct worker_core *core, const struct run_call *call)
{
	struct run *run;
	simpler_status status = run_create(core, call, &run);

	if (status != SIMPLER_OK)
		return status;
	status = run_execute(run);
	run_destroy(run);
	return status;
}

/* --- handles --- */

/* Most runs take none. Threads of the function may come here at once. */
static struct callable_holds *get_holds(struct run *run)
{
	struct callable_holds *there = atomic_load(&run->holds), *made;

	if (there)
		return there;
	made = calloc(1, sizeof(*made));
	if (!made || atomic_compare_exchange_strong(&run->holds, &there, made))
		return made;
	free(made);
	return there;
}

simpler_status run_register(struct run *run, const struct callable_spec *spec, uint64_t *handle)
{
	struct callable_holds *holds = get_holds(run);

	if (!holds)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a handle");
	return callables_add(run->core->callables, spec, holds, handle);
}

/* --- scopes --- */

simpler_status simpler_scope_begin(simpler_orch *orch)
{
	struct run *run = run_of(orch);
	simpler_status status;

	if (!orch)
		return error_raise(SIMPLER_EINVAL, "a scope without a run; call it from an "
		                                   "orchestration function, with its own orch");
	pthread_mutex_lock(&run->core->lock);
	if (run->scope_count > SIMPLER_MAX_SCOPES)
		status = error_raise(SIMPLER_ENOSPACE,
		                     "%d scopes are open, the most there can be; end some",
		                     SIMPLER_MAX_SCOPES);
	else
		status = dag_scope_open(run->core->graph, &run->scopes[run->scope_count]);
	run->scope_count += status == SIMPLER_OK;
	pthread_mutex_unlock(&run->core->lock);
	return status;
}

simpler_status simpler_scope_end(simpler_orch *orch)
{
	struct run *run = run_of(orch);
	struct chores chores = { 0 };
	simpler_status status = SIMPLER_OK;

	if (!orch)
		return error_raise(SIMPLER_EINVAL, "a scope without a run; call it from an "
		                                   "orchestration function, with its own orch");
	pthread_mutex_lock(&run->core->lock);
	if (run->scope_count <= 1) {
		status = error_raise(SIMPLER_ESTALE,
		                     "no scope is open but the run itself, which ends by itself");
	} else {
		dag_scope_close(run->core->graph, run->scopes[--run->scope_count]);
		schedule_react(run->core, &chores);
	}
	pthread_mutex_unlock(&run->core->lock);
	schedule_do(run->core, &chores);
	return status;
}

/* --- cancelling a task --- */

simpler_status simpler_cancel(simpler_orch *orch, simpler_task task)
{
	struct run *run = run_of(orch);
	struct chores chores = { 0 };
	simpler_status status = SIMPLER_OK;
	struct task *found;

	if (!orch)
		return error_raise(SIMPLER_EINVAL, "a run is needed to cancel a task, not NULL");
	pthread_mutex_lock(&run->core->lock);
	found = dag_payload(run->core->graph, task.id);
	if (!found || task.run != run->number) {
		status = error_raise(SIMPLER_ENOTFOUND,
		                     "the task has ended, or is none of this run");
	} else {
		schedule_stop(found, SIMPLER_ECANCELLED, &chores);
		schedule_react(run->core, &chores);
	}
	pthread_mutex_unlock(&run->core->lock);
	schedule_do(run->core, &chores);
	return status;
}
