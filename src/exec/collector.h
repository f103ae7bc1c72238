/*
 * Who takes the outcomes that other processes deliver: a resident thread of the collector's own, or
 * a thread that waits for a run, the visitor (ipc/doorbell_pair.h), which so needs no second thread
 * to wake it.
 *
 * Deliverers leave hints that there is something, and wake. Hints and bells are in memory that they
 * write to and may overwrite, which delays outcomes until the resident's next look at everything.
 */
#ifndef EXEC_COLLECTOR_H
#define EXEC_COLLECTOR_H

#include <pthread.h>

#include "exec/exec.h"
#include "ipc/doorbell_pair.h"

/* Between two looks at everything that nobody told of. */
#define COLLECTOR_LOOK_MS 1000

struct collector {
	/* Set before it is started: */
	struct doorbell_pair *bells;
	void *context;
	/* Whether there is a hint. */
	bool (*there)(void *context);
	/* Take what hints tell of, or what is anywhere. By any thread; without locks. */
	void (*collect)(void *context, bool everywhere);
	/* Its own: */
	pthread_t thread;
	bool started;
	_Atomic bool stopping;
	_Atomic bool attending;
	struct spin_budget attend_spin; /* of whoever attends */
};

simpler_status collector_start(struct collector *collector);
/* Nobody attends. Nothing is done when it is not started. */
void collector_stop(struct collector *collector);

/* As the functions of struct exec_progress. */
bool collector_announce(struct collector *collector);
bool collector_attend(struct collector *collector, bool announced, const _Atomic bool *finished);
void collector_wake(struct collector *collector);

#endif
