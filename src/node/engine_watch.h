/*
 * What the front end knows of its engine, for whoever asks: what the supervisor saw of its births
 * and deaths, and what the engine tells of itself on its bulletin (see node/engine_link.h).
 *
 * An engine that is up publishes each ENGINE_BEAT_MS. One that was not seen to for ENGINE_SILENT_MS
 * does not answer, until it does again. Of the time between two looks of the supervisor no more
 * than two beats count, so that a front end that was stopped itself, alone or with its engine, does
 * not take that one for silent.
 *
 * The supervisor writes, any thread reads.
 */
#ifndef NODE_ENGINE_WATCH_H
#define NODE_ENGINE_WATCH_H

#include <pthread.h>

#include "ipc/bulletin.h"
#include "node/engine_client.h"

struct engine_watch {
	pthread_mutex_t lock; /* guards all below; the supervisor reads without */
	/* Of these, the state, `answering` and `in_flight` are not kept here. */
	struct engine_report report;
	int64_t looked, silence; /* the last look, and for how long nothing had been heard then */
	uint32_t turn;           /* of the bulletin, at that look */
};

void engine_watch_init(struct engine_watch *watch);
void engine_watch_destroy(struct engine_watch *watch);

void engine_watch_born(struct engine_watch *watch, pid_t pid);
void engine_watch_moved(struct engine_watch *watch); /* to another state */
/* From now on it has to publish. */
void engine_watch_up(struct engine_watch *watch, const struct bulletin *bulletin, int64_t now);
/* Look whether it has. `*again`: when to look next. SIMPLER_EPROTOCOL when it published what are no
 * vitals. */
simpler_status engine_watch_look(struct engine_watch *watch, const struct bulletin *bulletin,
                                 int64_t now, int64_t *again);
/* It ended, or could not be started, and how. */
void engine_watch_ended(struct engine_watch *watch, const char *how);
/* Another is to be started then. `young_deaths` engines in a row have died young. */
void engine_watch_retry(struct engine_watch *watch, int64_t retry, uint32_t young_deaths);
void engine_watch_restarted(struct engine_watch *watch);

/* `state` and `in_flight` are the caller's to tell. */
void engine_watch_report(struct engine_watch *watch, enum engine_state state, uint32_t in_flight,
                         struct engine_report *out);

#endif
