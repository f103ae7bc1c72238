/*
 * What of a node's memory a fabric reaches: a port for each session that asked for one, and in it a
 * region for each handle of the session's own, from its making until it is revoked.
 *
 * The session's storage lies in a memory segment of its own (tensor/store.h), its regions in a
 * protection domain of its own (fabric/fabric.h). So a key is worth nothing to another session, and
 * what a provider still puts where a key led that was revoked a moment ago spoils tensors of the
 * same session and of nobody else. When the session is over, its port is shut before its segment is
 * unmapped.
 *
 *   JOINED --fabric_ports_leave(): the session is over--> LEFT --fabric_ports_step()--> gone
 *
 * A region holds exactly the bytes of its handle, whole pages of memory that is there: never the
 * reserve behind them, which `verbs` would pin.
 *
 * Writes that carry a region's landing number are counted when they have landed. A wait ends when
 * enough have of each of its handles; or with an error, at the next step
 * when one was revoked, and at `until`.
 *
 * Thread-safe. Nothing blocks but registering, as long as the provider takes, and step().
 */
#ifndef NODE_FABRIC_PORTS_H
#define NODE_FABRIC_PORTS_H

#include "fabric/fabric.h"
#include "simpler/args.h"

struct fabric_ports;
struct transport;

simpler_status fabric_ports_create(const struct fabric_options *options, struct fabric_ports **out);
/* NULL is allowed. */
void fabric_ports_destroy(struct fabric_ports *ports);
struct fabric *fabric_ports_fabric(const struct fabric_ports *ports);
enum fabric_provider fabric_ports_provider(const struct fabric_ports *ports);

/* Make the session's port, unless it has one. What it allocates from now on is to lie in a segment
 * of its own. */
simpler_status fabric_ports_join(struct fabric_ports *ports, uint64_t session,
                                 struct fabric_address *out);
void fabric_ports_leave(struct fabric_ports *ports, uint64_t session);
/* How many sessions have one; 0 for NULL. */
uint32_t fabric_ports_sessions(struct fabric_ports *ports);
/* Close the ports of sessions that have left, and end waits that are late. By one thread. Returns
 * when to be called again at the latest (base/clock.h). */
int64_t fabric_ports_step(struct fabric_ports *ports);

/* For other nodes to read, at an endpoint that has nothing to be written: until the caller closes
 * the region. */
simpler_status fabric_ports_lend(struct fabric_ports *ports, void *bytes, uint64_t nbytes,
                                 struct fabric_region **out, struct fabric_place *place);
/* That went another way as the fabric failed. Whether it is the first: that is told. */
bool fabric_ports_fell_back(struct fabric_ports *ports);
/* Towards an endpoint of another node; kept, and shared by all that lead there. NULL when it cannot
 * be had. */
#define FABRIC_PORTS_PEERS 64u
struct transport *fabric_ports_towards(struct fabric_ports *ports,
                                       const struct fabric_address *address);

/* A region for the handle, which lies in the session's segment and is not revoked meanwhile. For a
 * session without a port nothing happens, and a handle that cannot be registered is reached by
 * other transports only, which is logged. */
void fabric_ports_register(struct fabric_ports *ports, uint64_t session, uint64_t handle,
                           void *bytes, uint64_t nbytes);
/* Its key is refused when this returns. A handle without a region is left alone. */
void fabric_ports_revoke(struct fabric_ports *ports, uint64_t handle);
/* How it is reached; false when it is not. */
bool fabric_ports_find(struct fabric_ports *ports, uint64_t handle, struct fabric_place *out);

struct fabric_wait {
	/* The caller's; it stays as it is until go() is called, once: by a fabric's loop, or the
	 * thread of step(). */
	void (*go)(struct fabric_wait *wait, const struct error *error); /* NULL: all has landed */
	uint32_t count;
	struct {
		uint64_t handle;
		uint32_t landed; /* how many, modulo 2^32 */
	} needs[SIMPLER_MAX_TENSORS];
	int64_t until; /* base/clock.h */
	/* The ports': */
	struct fabric_wait *prev, *next;
	struct error error;
};

/* Begin to wait, unless all has landed, which sets `*waits` to false. SIMPLER_ESTALE for a handle
 * that is not reached by a fabric, or no more. */
simpler_status fabric_ports_wait(struct fabric_ports *ports, struct fabric_wait *wait, bool *waits);

#endif
