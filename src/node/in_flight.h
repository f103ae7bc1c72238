/*
 * Requests that the engine has not answered yet. A token is slot | generation << 32; completing a
 * request bumps the generation, so that a second or made-up outcome matches nothing.
 *
 *   free --take--> RUNNING --stop--> TO_STOP --next_stop--> STOPPED
 *     ^               |                 ^-------unsent---------|
 *     `---------------+--- complete, from each ----------------'
 *
 * Thread-safe: one lock, held for a few instructions. Slots are never allocated on the way.
 */
#ifndef NODE_IN_FLIGHT_H
#define NODE_IN_FLIGHT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/engine_client.h"
#include "node/engine_link.h"

enum in_flight_state { IN_FLIGHT_RUNNING, IN_FLIGHT_TO_STOP, IN_FLIGHT_STOPPED };

struct in_flight_slot {
	uint32_t generation; /* odd while the slot is taken */
	uint32_t next_free;
	enum in_flight_state state;
	uint64_t callable; /* its key */
	int64_t due;       /* when it has to have ended, having been stopped; else CLOCK_NEVER */
	engine_done *done;
	void *context;
};

struct in_flight {
	/* Written under `lock`, read by anybody. */
	_Atomic uint32_t taken;
	_Atomic uint32_t stopped; /* of those, in the other two states */
	pthread_mutex_t lock;     /* guards all below */
	uint32_t first_free;
	struct in_flight_slot slots[ENGINE_MAX_IN_FLIGHT];
};

void in_flight_init(struct in_flight *table);
void in_flight_destroy(struct in_flight *table);
/* SIMPLER_ENOSPACE naming the limit. */
simpler_status in_flight_take(struct in_flight *table, uint64_t callable, engine_done *done,
                              void *context, uint64_t *token);
/* Free the token's slot and say who waits; false when it names none that is taken. */
bool in_flight_complete(struct in_flight *table, uint64_t token, engine_done **done,
                        void **context);
/* The same for any that is taken; false when none is. */
bool in_flight_complete_any(struct in_flight *table, engine_done **done, void **context);

/* The request is to end, by `due`. False when it is not in flight, or was stopped before. */
bool in_flight_stop(struct in_flight *table, uint64_t token, int64_t due);
/* One that the engine has not been told to stop; it counts as told from now on. False: none. */
bool in_flight_next_stop(struct in_flight *table, uint64_t *token);
/* The engine could not be told. */
void in_flight_unsent(struct in_flight *table, uint64_t token);
/* When the first of those that were stopped has to have ended, and its callable; CLOCK_NEVER when
 * none was. */
int64_t in_flight_due(struct in_flight *table, uint64_t *callable);

#endif
