#include "rpc/idle.h"

#include <stdio.h>
#include <utlist.h>

#include "base/clock.h"

void idle_list_init(struct idle_list *list)
{
	(void)pthread_mutex_init(&list->lock, NULL);
	list->all = NULL;
	atomic_init(&list->looks_at, CLOCK_NEVER);
}

void idle_list_destroy(struct idle_list *list)
{
	(void)pthread_mutex_destroy(&list->lock);
}

void idle_list_add(struct idle_list *list, struct idle_watch *watch, grpc_call *call,
                   unsigned limit_ms)
{
	int64_t due = clock_after_ms(limit_ms);

	watch->call = call;
	watch->limit = limit_ms * CLOCK_MS;
	pthread_mutex_lock(&list->lock);
	DL_APPEND(list->all, watch);
	if (due < atomic_load(&list->looks_at))
		atomic_store(&list->looks_at, due);
	pthread_mutex_unlock(&list->lock);
}

void idle_list_remove(struct idle_list *list, struct idle_watch *watch)
{
	if (!watch->call)
		return;
	pthread_mutex_lock(&list->lock);
	DL_DELETE(list->all, watch);
	pthread_mutex_unlock(&list->lock);
}

/* What it is cancelled with is shown to a client that is there after all. */
static void cancel(struct idle_watch *watch)
{
	char text[128];

	(void)snprintf(
		text, sizeof(text),
		"nothing has come of this stream for %g s, which is the limit; begin it anew",
		(double)watch->limit / CLOCK_S);
	watch->cancelled = true;
	(void)grpc_call_cancel_with_status(watch->call, GRPC_STATUS_DEADLINE_EXCEEDED, text, NULL);
}

/* With the lock held. */
static int64_t look(const struct idle_list *list, int64_t now)
{
	int64_t next = CLOCK_NEVER;
	struct idle_watch *watch;

	DL_FOREACH (list->all, watch) {
		int64_t since = atomic_load(&watch->waits) > 0 ? atomic_load(&watch->since) : now;
		int64_t due = since + watch->limit;

		if (watch->cancelled)
			continue;
		if (due <= now)
			cancel(watch);
		else if (due < next)
			next = due;
	}
	return next;
}

int64_t idle_list_look(struct idle_list *list)
{
	int64_t next = atomic_load(&list->looks_at), now;

	if (next == CLOCK_NEVER)
		return next;
	now = clock_now();
	if (now < next)
		return next;
	pthread_mutex_lock(&list->lock);
	next = look(list, now);
	atomic_store(&list->looks_at, next);
	pthread_mutex_unlock(&list->lock);
	return next;
}

void idle_begin(struct idle_watch *watch)
{
	atomic_store(&watch->since, clock_now());
	atomic_fetch_add(&watch->waits, 1);
}

void idle_end(struct idle_watch *watch)
{
	atomic_store(&watch->since, clock_now());
	atomic_fetch_sub(&watch->waits, 1);
}
