/*
 * Gives the engine of the day every callable of the catalog, in the order of their keys, one at a
 * time: the next when the last was answered, so that sending never waits for a full socket. Which
 * ones the engine has is therefore one number, the highest key it was sent, and which one it died
 * of is known, too: the one it had not answered for.
 *
 * A module that is new here is tried first, in a process of its own (node/trial.h), since an engine
 * has tasks in flight to lose. What happens to one callable:
 *
 *   PENDING ----------+--its module is new--> TRIAL --it loads--> INSTALLING --answer--> loaded
 *                     `--it was tried------------------------------^  |
 *                              TRIAL --it does not load--> gone       `--refusal, or death--> gone
 *
 *   loaded before ------a new engine-----------------------------> INSTALLING --answer--> loaded
 *
 * The catalog says what PENDING and loaded are: catalog_settle() is the edge between them.
 *
 * A new callable is given to one engine only; one that an engine had loaded before has to kill
 * several in a row until it is given up.
 *
 * The supervisor alone moves a callable from one step to the next. installer_wait() is thread-safe;
 * all else is the supervisor's.
 */
#ifndef NODE_INSTALLER_H
#define NODE_INSTALLER_H

#include <pthread.h>

#include "catalog/catalog.h"
#include "node/engine_client.h"
#include "node/trial.h"

struct installer_waiter;

enum installer_step { INSTALLER_IDLE, INSTALLER_TRIAL, INSTALLER_INSTALLING };

struct installer {
	struct catalog *catalog;              /* borrowed */
	const struct engine_options *options; /* borrowed */

	/* The supervisor's own. */
	enum installer_step step; /* of callable `current` */
	uint64_t current;         /* the highest key that was taken up for this engine */
	int64_t due;              /* when the engine has to have answered, while INSTALLING */
	struct trial trial;       /* while TRIAL */

	pthread_mutex_t lock; /* guards all below, and is held while a callable is settled */
	int control;          /* the engine's socket, borrowed; -1: there is none */
	struct installer_waiter *waiters;
};

void installer_init(struct installer *installer, struct catalog *catalog,
                    const struct engine_options *options);
void installer_destroy(struct installer *installer);

/* A new engine is up and knows nothing. */
void installer_begin(struct installer *installer, int control);
/* Take up what there is to do: the end of a trial, the next callable. Returns when to call again at
 * the latest; before that when installer_fd() is readable, and when the supervisor was woken. */
int64_t installer_advance(struct installer *installer);
/* Readable when a trial is over; -1 while there is none. */
int installer_fd(const struct installer *installer);
/* Whether the engine has all that the catalog has, but what has to be tried first. */
bool installer_is_complete(const struct installer *installer);
/* The engine's answer for `key`; SIMPLER_EPROTOCOL when it was not asked. */
simpler_status installer_answer(struct installer *installer, uint64_t key,
                                const struct error *error);
/* When the engine has to have answered (base/clock.h). */
int64_t installer_due(const struct installer *installer);
/* Raise SIMPLER_EDEADLINE naming the callable that the engine is at. */
simpler_status installer_overdue(struct installer *installer);
/* Whether this process, a child of ours, is one that a trial waits for. */
bool installer_has(const struct installer *installer, pid_t child);
/* The engine is being ended: a trial in progress ends first, so that none of its processes is taken
 * for one of the engine's. */
void installer_stop(struct installer *installer);
/* The engine is gone: what is pending fails with `error`, what is visible waits for the next,
 * unless too many have died of it. After installer_stop(). */
void installer_end(struct installer *installer, const struct error *error);

/* As engine_client_install(). */
simpler_status installer_wait(struct installer *installer, uint64_t key, engine_done *done,
                              void *context);

#endif
