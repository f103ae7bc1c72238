/* The timer thread: it sleeps until the first deadline, and is started by the first one. */
#include "base/clock.h"
#include "base/condition.h"
#include "worker/schedule.h"

static void *timer_main(void *argument)
{
	struct worker_core *core = argument;

	pthread_mutex_lock(&core->lock);
	while (!core->timer.stopping) {
		struct timer *first = timers_first(&core->timers);
		struct chores chores = { 0 };

		if (!first || first->at > clock_now()) {
			(void)condition_wait(&core->timer.changed, &core->lock,
			                     first ? first->at : CLOCK_NEVER);
		} else {
			timers_cancel(&core->timers, first);
			first->due(first, &chores);
			schedule_react(core, &chores);
			pthread_mutex_unlock(&core->lock);
			schedule_do(core, &chores);
			pthread_mutex_lock(&core->lock);
		}
	}
	pthread_mutex_unlock(&core->lock);
	return NULL;
}

static simpler_status start_thread(struct worker_core *core)
{
	int failure;

	if (core->timer.started)
		return SIMPLER_OK;
	failure = pthread_create(&core->timer.thread, NULL, timer_main, core);
	if (failure != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, failure,
		                         "starting the thread that sees to deadlines");
	core->timer.started = true;
	return SIMPLER_OK;
}

simpler_status deadlines_set(struct worker_core *core, struct timer *timer, int64_t at)
{
	simpler_status status = start_thread(core);

	if (status == SIMPLER_OK)
		status = timers_set(&core->timers, timer, at);
	if (status == SIMPLER_OK && timers_first(&core->timers) == timer)
		(void)pthread_cond_signal(&core->timer.changed);
	return status;
}

void deadlines_stop(struct worker_core *core)
{
	if (!core->timer.started)
		return;
	pthread_mutex_lock(&core->lock);
	core->timer.stopping = true;
	(void)pthread_cond_signal(&core->timer.changed);
	pthread_mutex_unlock(&core->lock);
	(void)pthread_join(core->timer.thread, NULL);
	core->timer.started = false;
}
