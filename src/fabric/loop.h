/* What the files of this folder share: the loop's view of a fabric and of its ports. */
#ifndef FABRIC_LOOP_H
#define FABRIC_LOOP_H

#include <pthread.h>
#include <stdatomic.h>

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>

#include "fabric/fabric.h"

#define FABRIC_PORTS_MAX 512u

struct fabric {
	enum fabric_provider provider;
	struct fi_info *info;
	struct fid_fabric *fabric;
	pthread_t thread;
	int wakeup;
	_Atomic bool sleeping; /* who drives it is, or is about to */
	_Atomic bool woken;    /* and is not to */
	/* Never held across a callback or a wait of the loop. Guards what follows, what the ports
	 * point out, and what operations have of the fabric's. */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a port went down, or is gone */
	struct fabric_port *ports;
	uint32_t port_count;
	bool stopping;
	enum { KEPT, FREE, ATTENDED } role; /* who drives: the loop's thread, nobody, or another */
	bool wanted;                        /* by one that would have attended */
	bool recalled;                      /* the loop's thread is to drive again */
	unsigned visits;                    /* how many have attended */
	pthread_cond_t called;              /* it is recalled */
};

struct receive {
	int kind; /* RECEIVE; where an operation has its own */
	struct fabric_port *port;
	struct receive *next; /* of those that are to be posted */
	uint8_t bytes[];
};

struct fabric_peer {
	struct fabric_port *port;
	struct fabric_address address;
	fi_addr_t at;
	uint32_t uses;
	uint32_t waiting;    /* operations for which there was no room, in their order */
	int64_t heard_at;    /* when one has last ended well */
	uint64_t refused_in; /* the last round of op_retry() in which there was no room */
	struct fabric_peer *prev, *next;
};

/* What a message begins with: who sends it. */
struct message_head {
	uint8_t magic[4];
	uint8_t reserved[3];
	struct fabric_address from;
};

struct fabric_port {
	struct fabric *fabric;
	struct fabric_port_options options;
	struct fid_domain *domain;
	struct fid_av *av;
	struct fid_cq *cq;
	struct fid_ep *ep; /* until it is down */
	int fd;            /* of the queue, for poll() */
	struct message_head head;
	/* Under the fabric's lock: */
	bool broken;               /* one of its connections is, and stays so */
	bool shutting, closing;    /* it is to go down, and to be gone, */
	bool abandoned;            /* which nobody waits for */
	bool down, gone;           /* it is; only the loop sets these */
	struct fabric_op *ops;     /* in progress */
	struct fabric_op *waiting; /* of those, the ones for which the provider had no room */
	uint64_t round;            /* of looking whether there is some now */
	struct fabric_op *ended;   /* whose `done` is to be called */
	struct fabric_peer *peers;
	struct fabric_region *regions;
	int64_t look_at; /* when the first of the operations is to be looked at for its time */
	struct fabric_port *prev, *next;
	/* The loop's: */
	struct receive **receives;
	struct receive *unposted;
};

/* --- provider.c --- */

simpler_status provider_find(const struct fabric_options *options, enum fabric_provider *provider,
                             struct fi_info **out);
/* An error of libfabric: a negative number as its functions return. */
simpler_status provider_error(simpler_status status, int error, const char *what);

/* --- fabric.c --- */

/* Whoever drives is to look again, and the loop's thread if nobody does. Under the lock. */
void fabric_wake(struct fabric *fabric);

/* --- port.c: the loop calls these --- */

/* Under the lock. */
void port_take_down(struct fabric_port *port, const char *why);
/* Without it. Whether anything happened. */
bool port_step(struct fabric_port *port);
/* Nobody names it any more. Without the lock. */
void port_release(struct fabric_port *port);
/* Whether it has something to try again soon. */
bool port_is_stuck(const struct fabric_port *port);

/* --- op.c: all under the lock but op_end_all() --- */

void op_completed(struct fabric_op *op);
void op_failed(struct fabric_op *op, const struct fi_cq_err_entry *entry);
/* Those for which there was no room. */
void op_retry(struct fabric_port *port);
/* Those whose time is over. False when one of them does not let go. */
bool op_expire(struct fabric_port *port, int64_t now);
/* The port is down: nothing is in flight any more. */
void op_abandon(struct fabric_port *port, const char *why);
/* Call `done` of those that have ended. Whether there were any. */
bool op_end_all(struct fabric_port *port);

/* --- region.c --- */

void region_close_all(struct fabric_port *port);

#endif
