/*
 * Gives the engine of the day every callable of the catalog, in the order of their keys, one at a
 * time: the next when the last was answered, so that sending never waits for a full socket. Which
 * ones the engine has is therefore one number, the highest key sent.
 *
 * Thread-safe. installer_begin(), installer_answer() and installer_end() belong to the supervisor.
 */
#ifndef NODE_INSTALLER_H
#define NODE_INSTALLER_H

#include <pthread.h>

#include "catalog/catalog.h"
#include "node/engine_client.h"

struct installer_waiter;

struct installer {
	struct catalog *catalog; /* borrowed */
	pthread_mutex_t lock;    /* guards all below, and is held while sending */
	int control;             /* the engine's socket, borrowed; -1: there is none */
	uint64_t sent;           /* highest key that this engine was sent */
	bool outstanding;        /* it has not answered for it yet */
	struct installer_waiter *waiters;
};

void installer_init(struct installer *installer, struct catalog *catalog);
void installer_destroy(struct installer *installer);

/* A new engine is up and knows nothing. True: there is nothing to install. */
bool installer_begin(struct installer *installer, int control);
/* The engine's answer for `key`; SIMPLER_EPROTOCOL when it was not asked. `*complete`: it has all
 * that the catalog has. */
simpler_status installer_answer(struct installer *installer, uint64_t key,
                                const struct error *error, bool *complete);
/* The engine is gone: what is pending fails with `error`, what is visible waits for the next. */
void installer_end(struct installer *installer, const struct error *error);

/* As engine_client_install(). */
simpler_status installer_wait(struct installer *installer, uint64_t key, engine_done *done,
                              void *context);

#endif
