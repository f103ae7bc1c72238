/*
 * A fabric: libfabric behind a header of our own. One-sided writes and reads of memory of other
 * processes, and messages, over reliable-datagram endpoints: `verbs;ofi_rxm` where there is RDMA
 * hardware or soft-RoCE, `tcp;ofi_rxm` elsewhere.
 *
 * A fabric is a thread, the loop, and the ports that it drives. It makes progress for them, which
 * these providers need on both sides; polls for a moment after something has happened; and sleeps
 * otherwise. A thread that waits for an operation may drive them instead (fabric_attend()). All
 * callbacks are called by who drives, one at a time, without a lock held. They may call all that
 * follows but fabric_close(), fabric_port_close() and fabric_port_shut(), which wait for it.
 *
 * A port is an endpoint with an address, in a protection domain of its own: the keys of its regions
 * are worth nothing at another port. Whoever is to be kept apart gets a port each. Connections are
 * the provider's; it makes one to each peer, at the first operation, and keeps it.
 *
 *   UP --an operation does not let go of its memory in time, or, with `verbs`, fails;
 *        fabric_port_close()--> DOWN
 *
 * A port that is down has let go of all memory; its operations end with an error, and so does what
 * is started on it later. Only so can the memory of an operation be had back from a provider while
 * the other side neither answers nor is known to be gone, and a connection of `verbs` be made anew.
 * Its owner closes it and opens another.
 *
 * Memory that others may write and read is a region. When fabric_region_close() has returned, its
 * key is refused. Of a write that had begun before, the provider `tcp` may still put bytes there
 * that are on their way, until the port is down: so the memory is not to be anybody else's before
 * that, but may be used again by whoever had the key. `verbs` has no such rest.
 *
 * Thread-safety: any thread, at any time, but for what is said above.
 */
#ifndef FABRIC_FABRIC_H
#define FABRIC_FABRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/fabric.h"

struct fabric;
struct fabric_port;
struct fabric_peer;
struct fabric_region;

/* --- the fabric --- */

#define FABRIC_ANY 0u /* of the options' provider: verbs if it is there, else tcp */

struct fabric_options {
	unsigned provider;   /* FABRIC_ANY or an enum fabric_provider */
	const char *address; /* of this machine, in numbers: what ports are bound to */
};

/* SIMPLER_EINVAL for an address that is none or stands for all of them; SIMPLER_EUNAVAILABLE when
 * no such provider is there for the address. */
simpler_status fabric_open(const struct fabric_options *options, struct fabric **out);
/* Its ports are closed, or abandoned. */
void fabric_close(struct fabric *fabric);
enum fabric_provider fabric_provider(const struct fabric *fabric);

/* Drive the fabric in this thread, in place of the loop's, until `*ended`, which one of the
 * callbacks sets: so the end of an operation wakes one thread and not two. False at once when the
 * loop's thread, which lets others when it has nothing else to do, or another one does so already.
 * Not from callbacks. */
bool fabric_attend(struct fabric *fabric, const _Atomic bool *ended);

/* --- ports --- */

#define FABRIC_MESSAGE_MAX ((size_t)64 << 10)

struct fabric_port_options {
	/* A write that carries `data` has landed here, in whole. Once for each piece that the
	 * writer made of it: see struct fabric_op. NULL: nobody cares. */
	void (*landed)(void *context, uint32_t data);
	/* A message; its bytes are the callee's until it returns. NULL: there are none to come. The
	 * sender says who it is, and nobody checks it. */
	void (*received)(void *context, const struct fabric_address *from, const uint8_t *bytes,
	                 size_t size);
	/* The port was abandoned, and nothing is called any more. NULL: nobody cares. */
	void (*gone)(void *context);
	void *context;
	uint32_t receives;    /* messages there is room for until `received` has seen them */
	size_t message_bytes; /* of the longest, at most FABRIC_MESSAGE_MAX; longer ones are lost */
};

simpler_status fabric_port_open(struct fabric *fabric, const struct fabric_port_options *options,
                                struct fabric_port **out);
/* Ends what is in progress, whose `done` is called before it returns. Its regions and peers are
 * closed. */
void fabric_port_close(struct fabric_port *port);
/* The same, not waiting for it: callbacks may still come, as it has them end. */
void fabric_port_abandon(struct fabric_port *port);
/* As fabric_port_close() does at first: no operation, and nobody else, touches memory by it any
 * more when it has returned. */
void fabric_port_shut(struct fabric_port *port);
bool fabric_port_is_up(struct fabric_port *port);
const struct fabric_address *fabric_port_address(const struct fabric_port *port);

/* Somebody else's port. Opening it again makes the same peer, to be closed as often. */
simpler_status fabric_peer_open(struct fabric_port *port, const struct fabric_address *address,
                                struct fabric_peer **out);
void fabric_peer_close(struct fabric_peer *peer);

/* --- regions --- */

enum fabric_access { FABRIC_READABLE = 1, FABRIC_WRITABLE = 2 };

/* SIMPLER_ENOSPACE when the provider cannot register as much. `verbs` pins the pages, so that all
 * of them are to be there. May take as long as that takes. */
simpler_status fabric_region_open(struct fabric_port *port, void *base, uint64_t nbytes,
                                  unsigned access, struct fabric_region **out);
void fabric_region_close(struct fabric_region *region);
/* How others name it; `landing` and `nbytes` are left to the caller. */
void fabric_region_place(const struct fabric_region *region, struct fabric_place *out);

/* --- operations --- */

enum fabric_kind { FABRIC_WRITE, FABRIC_READ, FABRIC_SEND };

/* Writes and reads go in pieces, several of them at a time. */
#define FABRIC_PIECE_BYTES  ((uint64_t)2 << 20)
#define FABRIC_PIECES_AHEAD 4u
/* How long after its deadline, or its cancellation, the pieces of an operation that are on their
 * way may take, before the port goes down for it. With others in progress at the port: how long
 * after one has last ended well at the same peer, FABRIC_STALL_MS more at the most. */
#define FABRIC_GRACE_MS 100
/* How long one waits for a peer of which nothing is heard: for a connection, and with pieces on
 * their way. So FABRIC_PIECES_AHEAD pieces take no longer where nothing is wrong. */
#define FABRIC_CONNECT_MS 2000
#define FABRIC_STALL_MS   5000

/*
 * One operation, the caller's. It fills in what is marked so and starts it; from then on until
 * `done` is called it stays as it is, and so does its memory. `done` is called once, by the loop.
 * After it the provider has let go of the memory.
 */
struct fabric_op {
	/* The caller's: */
	enum fabric_kind kind;
	struct fabric_peer *peer; /* open until `done` is called */
	uint8_t *local;
	uint64_t nbytes; /* of a message, with its head, at most FABRIC_MESSAGE_MAX */
	/* Of messages: goes before that. */
	uint8_t *head;
	size_t head_bytes;
	/* Of writes and reads: */
	uint64_t key, remote; /* the place's key, and its base plus where in it */
	/* Of writes: `data` comes with each piece when it has landed; how many there were is in
	 * `pieces` afterwards. No bytes are no piece. */
	bool carries;
	uint32_t data;
	/* Of writes: wait until the bytes are in the other side's memory, for which that answers
	 * once more. Else it ends when the provider needs the memory here no longer, and is for who
	 * has the other side count what lands. */
	bool delivered;
	bool attended;    /* who starts it calls fabric_attend() next, whatever else it does */
	int64_t deadline; /* base/clock.h */
	void (*done)(struct fabric_op *op, const struct error *error); /* NULL: all is well */
	/* The fabric's, under its lock: */
	struct fabric_port *port;
	uint32_t pieces;
	uint64_t posted; /* bytes */
	uint32_t in_flight;
	bool ending;        /* no more pieces, and `error` says why */
	bool waits;         /* is among those of the port that wait for room */
	int64_t since;      /* its start, or when a piece has last ended well */
	int64_t give_up_at; /* when ending */
	struct error error;
	struct fabric_op *prev, *next;             /* of the port's */
	struct fabric_op *waits_prev, *waits_next; /* of those that wait */
};

void fabric_start(struct fabric_op *op);
/* From fabric_start() on until `done` is called, which the caller sees to. Ends it early with
 * SIMPLER_ECANCELLED. Never blocks. */
void fabric_cancel(struct fabric_op *op);

#endif
