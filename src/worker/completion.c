/* What is in progress for a program: looking at it, waiting for it, ending it. */
#include "worker/completion.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/condition.h"
#include "os/events.h"

void completion_init(simpler_completion *completion, const struct completion_ops *ops)
{
	completion->ops = ops;
	completion->ended = false;
	completion->fd = -1;
	condition_init(&completion->changed);
	(void)pthread_mutex_init(&completion->lock, NULL);
}

void completion_release(simpler_completion *completion)
{
	if (completion->fd >= 0)
		(void)close(completion->fd);
	(void)pthread_cond_destroy(&completion->changed);
	(void)pthread_mutex_destroy(&completion->lock);
}

void completion_end(simpler_completion *completion, const struct error *error)
{
	pthread_mutex_lock(&completion->lock);
	if (error)
		completion->error = *error;
	completion->status = error ? error->status : SIMPLER_OK;
	completion->ended = true;
	if (completion->fd >= 0)
		events_wake(completion->fd);
	(void)pthread_cond_broadcast(&completion->changed);
	pthread_mutex_unlock(&completion->lock);
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
	int64_t until = clock_after_ms(timeout_ms);
	bool ended;

	if (!completion || completion->ops->is_own(completion))
		return false;
	pthread_mutex_lock(&completion->lock);
	while (!completion->ended && condition_wait(&completion->changed, &completion->lock, until))
		;
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
		return error_raise(SIMPLER_ESTATE, "it goes on; wait for its end first");
	/* It changes no more. */
	return completion->status == SIMPLER_OK ? SIMPLER_OK : error_restore(&completion->error);
}

/* --- ending it --- */

void simpler_completion_cancel(simpler_completion *completion)
{
	if (completion)
		completion->ops->cancel(completion);
}

simpler_status simpler_completion_cancel_task(simpler_completion *completion, simpler_task task)
{
	if (!completion)
		return error_raise(SIMPLER_EINVAL, "a completion is needed, not NULL");
	return completion->ops->cancel_task(completion, task);
}

simpler_status simpler_completion_destroy(simpler_completion *completion)
{
	if (!completion)
		return SIMPLER_OK;
	if (completion->ops->is_own(completion))
		return error_raise(SIMPLER_ESTATE,
		                   "a run's own function cannot wait for the run's end: destroy "
		                   "the completion elsewhere, or afterwards");
	completion->ops->destroy(completion);
	return SIMPLER_OK;
}
