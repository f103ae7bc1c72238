/*
 * Streams whose clients have fallen silent: a client that is lost with its machine, or that is not
 * of good will, never closes what it has opened, and what the stream holds would be held for ever.
 * The threads of a server look, whenever one of them waits for events.
 */
#ifndef RPC_IDLE_H
#define RPC_IDLE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "rpc/core.h"

/* A call that is watched; part of the call. */
struct idle_watch {
	struct idle_watch *prev, *next;
	grpc_call *call;
	int64_t limit; /* nanoseconds */
	bool cancelled;
	atomic_uint waits;     /* for so many things from the client */
	_Atomic int64_t since; /* when one was asked for, or came, last */
};

struct idle_list {
	pthread_mutex_t lock; /* guards `all`, the links and flags of those in it, and calls in it
	                         from going away */
	struct idle_watch *all;
	_Atomic int64_t looks_at; /* when one can be over at the earliest; CLOCK_NEVER: none */
};

void idle_list_init(struct idle_list *list);
void idle_list_destroy(struct idle_list *list); /* which is empty */
/* `watch` is zeroes, and watched until it is removed, which must be before `call` is unreferenced.
 */
void idle_list_add(struct idle_list *list, struct idle_watch *watch, grpc_call *call,
                   unsigned limit_ms);
/* One that was never added is left alone. */
void idle_list_remove(struct idle_list *list, struct idle_watch *watch);
/* Cancel, with DEADLINE_EXCEEDED, what has waited for too long. Returns when to look next; what is
 * added later is not over before whoever adds it looks again. */
int64_t idle_list_look(struct idle_list *list);

/* Something is expected of the client, and it has come; or not, but is not expected any more. */
void idle_begin(struct idle_watch *watch);
void idle_end(struct idle_watch *watch);

#endif
