/*
 * Gives the engine of the day every callable of the catalog, in the order of their keys, one at a
 * time: the next when the last was answered, so that sending never waits for a full socket. Which
 * ones the engine has is therefore one number, the highest key sent, and which one it died of is
 * known, too: the one it had not answered for. A new callable is given to one engine only; one that
 * an engine had loaded before has to kill several in a row until it is given up.
 *
 * Thread-safe. What is from installer_begin() to installer_end() belongs to the supervisor.
 */
#ifndef NODE_INSTALLER_H
#define NODE_INSTALLER_H

#include <pthread.h>

#include "catalog/catalog.h"
#include "node/engine_client.h"

struct installer_waiter;

struct installer {
	struct catalog *catalog; /* borrowed */
	uint64_t install_ms;     /* see struct engine_options */
	int wakeup;              /* borrowed */
	pthread_mutex_t lock;    /* guards all below, and is held while sending */
	int control;             /* the engine's socket, borrowed; -1: there is none */
	uint64_t sent;           /* highest key that this engine was sent */
	bool outstanding;        /* it has not answered for it yet */
	int64_t due;             /* when it has to have; CLOCK_NEVER if it is not outstanding */
	struct installer_waiter *waiters;
};

void installer_init(struct installer *installer, struct catalog *catalog,
                    const struct engine_options *options);
void installer_destroy(struct installer *installer);

/* A new engine is up and knows nothing. True: there is nothing to install. */
bool installer_begin(struct installer *installer, int control);
/* The engine's answer for `key`; SIMPLER_EPROTOCOL when it was not asked. `*complete`: it has all
 * that the catalog has. */
simpler_status installer_answer(struct installer *installer, uint64_t key,
                                const struct error *error, bool *complete);
/* When the engine has to have answered (base/clock.h). Other threads make it earlier, and wake. */
int64_t installer_due(struct installer *installer);
/* Raise SIMPLER_EDEADLINE naming the callable that the engine is at. */
simpler_status installer_overdue(struct installer *installer);
/* The engine is gone: what is pending fails with `error`, what is visible waits for the next,
 * unless too many have died of it. */
void installer_end(struct installer *installer, const struct error *error);

/* As engine_client_install(). */
simpler_status installer_wait(struct installer *installer, uint64_t key, engine_done *done,
                              void *context);

#endif
