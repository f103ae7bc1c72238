/*
 * What all lanes of records have in common; see rpc/lane_record.h for the records. Something that
 * carries batches of bytes is theirs alone, the carrier.
 *
 *   OPENING --the node's hello--> OPEN --anything wrong, or close--> DEAD
 *      `------------refused, or close--------------------------------^
 *
 * A dispatch takes a slot of a table, whose number and generation are its tag, and is written
 * behind those that wait to be sent. Whoever finds that the carrier is idle sends what is there, so
 * a lone dispatch goes at once, and what comes while one batch is on its way makes the next one.
 * While a batch of outcomes is taken nothing is sent until the last one has told its caller: what
 * those submit is one batch, too.
 *
 * There are as many slots as the node gave credits; who finds none free waits for one. A slot whose
 * dispatch was cancelled is free when the node has answered all the same.
 */
#ifndef EXEC_LANE_BATCH_H
#define EXEC_LANE_BATCH_H

#include "exec/lane.h"
#include "rpc/lane_bytes.h"

struct lane_batch;

struct lane_carrier {
	const char *name;
	/* Of one batch, which has more only if it is a single record; and of one record. */
	size_t batch_bytes, record_bytes;
	/* True when it has taken the bytes and can take more at once; else it says so by
	 * lane_batch_sent(), until when, or until the lane's release, they stay where they are. One
	 * at a time, without locks. */
	bool (*send)(struct lane_batch *lane, const uint8_t *bytes, size_t size);
	/* Whether outcomes are awaited from now on, which they are while it opens. With the lane's
	 * lock; may be NULL. */
	void (*await)(struct lane_batch *lane, bool awaited);
	/* As in struct lane_ops. NULL: it is told by itself. */
	void (*check)(struct lane_batch *lane);
	/* The lane is dead: have the other side know. May be called while send() is. */
	void (*close)(struct lane_batch *lane);
	void (*release)(struct lane_batch *lane); /* frees it */
};

struct lane_slot {
	struct lane_dispatch *dispatch; /* NULL: free, or cancelled */
	uint32_t generation;            /* odd while it is taken */
	uint32_t next_free;
};

enum lane_state { LANE_OPENING, LANE_OPEN, LANE_DEAD };

struct lane_batch {
	struct lane lane;
	const struct lane_carrier *carrier;
	struct lane_owner owner;
	/* Under the lane's lock: */
	enum lane_state state;
	bool closing; /* the owner wants to hear nothing any more */
	/* The owner is being told that it is open, and hears of its end after that. */
	bool opening, ended_so_soon;
	struct lane_slot *slots;
	uint32_t slot_count, first_free, taken;
	struct lane_dispatch *waiting; /* for a slot */
	struct lane_bytes out;         /* to be sent */
	uint32_t corks;                /* see lane_batch_cork() */
	bool sending;
	/* The sender's: whoever has set `sending`. */
	struct lane_bytes under_way;
	size_t sent; /* of those */
};

/* `lane` is all zero. One reference, the caller's. */
void lane_batch_init(struct lane_batch *lane, const struct lane_carrier *carrier,
                     const struct lane_owner *owner);
/* For the carrier's release(): frees what is in it. */
void lane_batch_destroy(struct lane_batch *lane);

/* --- by the carrier, without locks --- */

/* From now on nothing is sent, as what comes may make more to send; until the other. */
void lane_batch_cork(struct lane_batch *lane);
void lane_batch_uncork(struct lane_batch *lane);
/* A batch has come, one at a time. */
void lane_batch_take(struct lane_batch *lane, const uint8_t *bytes, size_t size);
/* It can take the next batch. */
void lane_batch_sent(struct lane_batch *lane);
/* It carries nothing any more. */
void lane_batch_lost(struct lane_batch *lane, const char *why);

#endif
