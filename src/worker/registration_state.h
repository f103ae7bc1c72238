/*
 * What the parts of worker/registration.h share.
 *
 *   registration.c  callables, on to the nodes and off again
 *   restoring.c     nodes that have come back
 */
#ifndef WORKER_REGISTRATION_STATE_H
#define WORKER_REGISTRATION_STATE_H

#include "worker/registration.h"

enum shipment_state { COMING, PRESENT, GOING };

/* A request to one node. */
struct asked {
	struct exec_request request;
	struct shipment *shipment;
	struct exec_child *child;
	bool passed_over; /* it was away when this began */
};

/* What there is of a callable on the nodes, while there is anything. */
struct shipment {
	struct registration *registration;
	struct digest digest;
	/* Under the registration's lock: */
	enum shipment_state state;
	uint32_t needed; /* by so many entries */
	uint32_t open;   /* answers to come */
	bool failed;     /* the present step, by the node of the lowest number: */
	uint32_t failed_at;
	struct error *error;        /* of the thread that ships; NULL: nobody wants to know */
	struct exec_callable *last; /* the entry that is withdrawn */
	struct shipment *prev, *next;
	/* Fixed: */
	uint32_t node_count;
	struct asked nodes[];
};

/* A child, by its index in the core. */
struct returning {
	bool away;       /* it is passed over */
	bool wanted;     /* it is to be told all */
	uint32_t losses; /* counts */
};

struct registration {
	struct worker_core *core;
	pthread_mutex_t lock;   /* guards: */
	pthread_cond_t changed; /* a shipment's step is done, or it is PRESENT or gone; or a node is
	                           wanted, or has answered */
	struct shipment *shipments; /* few steps look for one, and they cross a network */
	uint64_t shipped;           /* counts those that became PRESENT */
	uint32_t asking;            /* threads that ask for what is GOING */
	bool closed;
	struct returning nodes[WORKER_MAX_CHILDREN];
	bool has_restorer;
	pthread_t restorer;
};

/* Whether the nodes are to have it at all. */
bool registration_runs(const struct exec_child *child, const struct exec_callable *callable);

#endif
