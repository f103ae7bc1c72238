/*
 * Requests that the engine has not answered yet. A token is slot | generation << 32; completing a
 * request bumps the generation, so that a second or made-up outcome matches nothing.
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

struct in_flight_slot {
	uint32_t generation; /* odd while the slot is taken */
	uint32_t next_free;
	engine_done *done;
	void *context;
};

struct in_flight {
	_Atomic uint32_t taken; /* written under `lock`, read by anybody */
	pthread_mutex_t lock;   /* guards all below */
	uint32_t first_free;
	struct in_flight_slot slots[ENGINE_MAX_IN_FLIGHT];
};

void in_flight_init(struct in_flight *table);
void in_flight_destroy(struct in_flight *table);
/* SIMPLER_ENOSPACE naming the limit. */
simpler_status in_flight_take(struct in_flight *table, engine_done *done, void *context,
                              uint64_t *token);
/* Free the token's slot and say who waits; false when it names none that is taken. */
bool in_flight_complete(struct in_flight *table, uint64_t token, engine_done **done,
                        void **context);
/* The same for any that is taken; false when none is. */
bool in_flight_complete_any(struct in_flight *table, engine_done **done, void **context);

#endif
