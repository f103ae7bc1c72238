/*
 * Making callables known on the nodes, all or nothing, and withdrawing them.
 *
 *   nowhere --registration_ship()--> COMING --prepared by all, then committed by all--> PRESENT
 *      ^                               |                                                  |
 *      |<----- aborted, withdrawn -----' any failed, or was lost                          |
 *      `<------------- withdrawn by all: GOING <-- the last entry that needs it is gone --'
 *
 * What is shipped is what has one digest, which two entries may share: one that was unregistered
 * and whose tasks go on, and one that was registered again meanwhile. Who comes while it is COMING
 * or GOING waits until it is neither; what failed is then tried again.
 *
 * A node that was lost is passed over until it is back: then it is told of every callable that the
 * nodes are to have (restoring.c), and is asked like all others from there on.
 *
 * Each step asks all nodes at once and goes on when all have answered, each within a time of its
 * own. To undo is to abort, then to withdraw what a commit was asked for, on every node and
 * whatever it had answered: a commit that comes late finds nothing prepared. A node that does not
 * hear of it drops what is its parent's with the session.
 */
#ifndef WORKER_REGISTRATION_H
#define WORKER_REGISTRATION_H

#include "worker/core.h"

struct registration;

/* Of all children that the core has by the first ship. NULL when memory is out. */
struct registration *registration_create(struct worker_core *core);
/* Have it on all nodes that run its kind. The caller uses it. Blocks. Returns the answer of a node
 * that did not take it. */
simpler_status registration_ship(struct registration *registration, struct exec_callable *callable);
/* For callables_on_gone(), with the registration as its context. */
void registration_gone(void *context, struct exec_callable *callable);
/* A node is lost, and takes no part any more; it answers again, and is to be told all, upon which
 * its admit() is called. Neither blocks. */
void registration_lost(struct registration *registration, const struct exec_child *child);
void registration_returned(struct registration *registration, struct exec_child *child);
/* Ask nothing more: the children are to be closed. Destroy it when they are. */
void registration_close(struct registration *registration);
/* Wait for what a node was being told; once the children are closed. */
void registration_join(struct registration *registration);
void registration_destroy(struct registration *registration);

#endif
