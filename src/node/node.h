/*
 * A node's front end as its services see it: what the context of every call points to. Built by
 * node/daemon.c before the server starts and taken apart after it stopped.
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"
#include "node/engine_client.h"
#include "node/options.h"
#include "node/peers.h"
#include "node/readiness.h"
#include "node/sessions.h"
#include "node/waiter.h"
#include "rpc/messages.h"
#include "tensor/pool.h"
#include "wire/fabric.h"
#include "wire/shm.h"

struct dispatch_table;
struct node_imports;
struct fabric_ports;
struct node_lanes;
struct task_log;

struct node {
	const char *id;
	struct pool *pool;
	struct policy *policy;
	struct catalog *catalog;
	struct engine_client *engine;
	struct dispatch_table *dispatches;
	struct sessions *sessions;
	struct peers *peers;
	struct node_imports *imports;
	struct readiness readiness;
	int64_t started; /* base/clock.h */
	const struct options *options;
	uint64_t boot_id;            /* another one at each start */
	const char *shm_address;     /* where sessions get their memory; "" when they can't */
	struct fabric_ports *fabric; /* NULL: there is none, */
	const char *fabric_why;      /* and why not */
	struct task_log *tasks;
	struct node_lanes *lanes;
	uint32_t offered_lanes; /* 1 << simpler_lane */
	_Atomic bool draining;  /* set once; no dispatch begins after that */
	/* When a drain ends at the latest, as clients asked for (base/clock.h); it only gets
	 * earlier. CLOCK_NEVER: nobody has asked. */
	_Atomic int64_t drain_until;
	uint64_t drain_grace_ms;  /* unless a client says otherwise */
	_Atomic uint32_t running; /* dispatches that have begun and not been answered */
	/* When the daemon's thread next looks for leases, sessions and preparations that are over;
	 * CLOCK_NEVER while it does. */
	_Atomic int64_t looks_at;
	/* An event (os/events.h) that wakes this thread: draining and no dispatch is running, or a
	 * lease or session is over before that. */
	int wakeup;
};

/* The methods of each service; their context is the node. */
#define NODE_WORKER_METHODS  9
#define NODE_CATALOG_METHODS 6
#define NODE_MODULE_METHODS  2
#define NODE_POOL_METHODS    5
#define NODE_STREAM_METHODS  3
#define NODE_IMPORT_METHODS  1
#define NODE_FABRIC_METHODS  1
extern const struct rpc_method node_worker_methods[NODE_WORKER_METHODS];
extern const struct rpc_method node_catalog_methods[NODE_CATALOG_METHODS];
extern const struct rpc_method node_module_methods[NODE_MODULE_METHODS];
extern const struct rpc_method node_pool_methods[NODE_POOL_METHODS];
extern const struct rpc_method node_stream_methods[NODE_STREAM_METHODS];
extern const struct rpc_method node_import_methods[NODE_IMPORT_METHODS];
extern const struct rpc_method node_fabric_methods[NODE_FABRIC_METHODS];

/* NULL when memory is out. */
struct dispatch_table *dispatch_table_create(struct node *node);
void dispatch_table_destroy(struct dispatch_table *table);

/* A dispatch on its way in. */
struct incoming {
	struct node *node;
	uint64_t session;
	const struct msg_dispatch *request;
	struct waiter waiter; /* is answered, whatever becomes of it */
	int64_t deadline;
	bool more;          /* have come with it and are behind it */
	enum rpc_note note; /* for the answer when it fails; node_dispatch()'s own */
};
void node_dispatch(struct incoming *in);

/* Stop tasks whose client has been gone for too long. Returns when to look again (base/clock.h). */
int64_t node_expire_tasks(struct node *node);

/* --- imports; node/service_import.c --- */

/* NULL when memory is out. */
struct node_imports *node_imports_create(void);
void node_imports_destroy(struct node_imports *imports);
/* End those from nodes that have been silent for too long. Returns when to look again
 * (base/clock.h). */
int64_t node_expire_imports(struct node *node);

/* --- sessions; node/service_session.c --- */

void node_attach(struct rpc_call *call, const uint8_t *data, size_t size);
void node_detach(struct rpc_call *call, const uint8_t *data, size_t size);
/* Of calls that have a meaning for a session only: SIMPLER_EINVAL without one. */
simpler_status node_need_session(const struct rpc_call *call, uint64_t *session);
/* The session of the call, which begins in it and must leave it; 0: none. SIMPLER_EINVAL for what
 * is no session, SIMPLER_ESTATE for one that is not attached. */
simpler_status node_enter(struct rpc_call *call, uint64_t *session);
void node_leave(const struct node *node, uint64_t session);

/* --- node/service_status.c --- */

void node_heartbeat(struct rpc_call *call, const uint8_t *data, size_t size);
void node_status(struct rpc_call *call, const uint8_t *data, size_t size);
void node_drain(struct rpc_call *call, const uint8_t *data, size_t size);

/* --- what they share; node/reply.c --- */

struct node *node_of(const struct rpc_call *call);
/* The thread's last error as an answer has it. */
#define REPLY_TEXT_MAX (ERROR_TEXT_BYTES + 2 * ERROR_MAX_STEPS)
enum rpc_code reply_text(char text[REPLY_TEXT_MAX]);
/* Answer with the thread's last error, as the status codes of the wire have it. */
void reply_error(struct rpc_call *call);
/* Answer with a message, or with the error if encoding it failed. */
void reply(struct rpc_call *call, simpler_status encoded, struct rpc_buffer *message);
/* SIMPLER_ESTATE without a fabric, and for one of another provider than the client's. */
simpler_status node_check_fabric(const struct node *node, const char *wanted);
/* SIMPLER_ENOTFOUND for a handle of another node; both are named. */
simpler_status node_check_handle(const struct node *node, const struct msg_handle *handle);
/* As pool_alloc(); and the fabric reaches it, if the session has joined that. */
simpler_status node_alloc(struct node *node, uint64_t session, uint64_t nbytes, uint64_t ttl_ms,
                          struct pool_view *out);
/* The session's own memory segment, of which the engine has been told. SIMPLER_EUNAVAILABLE: not
 * yet. (node/daemon.c) */
simpler_status node_open_segment(struct node *node, uint64_t session, struct segment_view *out);
/* See to it that the daemon's thread looks for what is over at `time` (base/clock.h). */
void node_look_at(struct node *node, int64_t time);
/* How the bytes of a handle are reached, as the wire has it. */
struct node_places {
	uint8_t shm[SHM_PLACE_BYTES];
	uint8_t fabric[FABRIC_PLACE_MAX];
};
/* A handle as the wire has it; where it says how its bytes are reached, that is in `places`, which
 * has to last as long. Sees to it that the daemon's thread ends the lease in time that a client is
 * told of. */
void node_fill_handle(struct node *node, const struct pool_view *view, struct node_places *places,
                      struct msg_handle *out);
/* Begin the lease of a handle that is pinned anew, and describe the handle. One that is gone in the
 * meantime is SIMPLER_ESTALE, and described without a lease. */
simpler_status node_keep_handle(struct node *node, uint64_t handle, struct node_places *places,
                                struct msg_handle *out);
/* Answer a unary call with a handle. */
void node_reply_handle(struct rpc_call *call, const struct pool_view *view);

#endif
