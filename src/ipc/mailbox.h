/*
 * A mailbox: where a parent hands tasks to one worker process, in slots. Each slot has its own
 * state:
 *
 *   FREE -parent-> READY -worker-> RUNNING -worker-> DONE -parent-> FREE
 *    ^               | |              |
 *    `----parent-----' `--------------+--parent-> LOST --parent-> FREE
 *      (taken back)
 *
 * - Only mailbox_move() writes `word` (state and generation) while the worker lives, which hands
 *   the payload over. All access to it is sequentially consistent, so that a move is in one order
 *   with other flags in shared memory without a fence.
 * - The worker owns the payload in READY and RUNNING, else the parent does.
 * - LOST only after the worker's exit was reported: the dead do not write.
 * - Freeing bumps the generation, so a late completion matches nothing.
 * - The parent keeps the generations itself and never takes them, nor a length, on trust.
 *
 * The parent fills slots cyclically and the worker takes them so, which is in the order in which
 * they were posted but where one in the middle was taken back.
 *
 * A task that is READY needs no ring while the worker looks for it. Who is about to sleep says so
 * first and looks once more then (doorbell_wait_for()), and so posting asks for sleepers and no
 * more.
 *
 * All zero is a mailbox whose slots are FREE at generation 0. Position-independent.
 */
#ifndef IPC_MAILBOX_H
#define IPC_MAILBOX_H

#include "ipc/doorbell.h"
#include "wire/record.h"

enum mailbox_state {
	MAILBOX_FREE,
	MAILBOX_READY,
	MAILBOX_RUNNING,
	MAILBOX_DONE,
	MAILBOX_LOST,
};

#define MAILBOX_SLOTS 16u

/* Makes a slot an odd number of cache lines, so that the first lines of slots, the ones in use, do
 * not all compete for the same few places of a cache. */
#define MAILBOX_PAYLOAD_BYTES (129 * 64 - 16)

/* A small task and its outcome are in the same cache line as the word. */
struct mailbox_slot {
	_Alignas(64) _Atomic uint64_t word; /* state in the low 8 bits, generation in the high 32 */
	_Atomic uint32_t stop;              /* parent: the task is to end early */
	/* Written by the payload's owner. Atomic so that it is read once: check it, then use it. */
	_Atomic uint32_t payload_size;
	uint8_t payload[MAILBOX_PAYLOAD_BYTES]; /* a task record, then an outcome record */
};

/* In shared memory. */
struct mailbox {
	struct doorbell to_worker; /* for sleepers, and when a task is to stop */
	struct mailbox_slot slots[MAILBOX_SLOTS];
};

/* Move along a drawn edge from `from` to `to` at `generation`; false, and nothing changed, when it
 * is elsewhere. Does not ring. */
bool mailbox_move(struct mailbox_slot *slot, uint32_t generation, enum mailbox_state from,
                  enum mailbox_state to);
/* FREE, too, when the slot is at another generation or its word makes no sense: whoever posted a
 * task at `generation` and finds it FREE knows that the worker broke the rules. */
enum mailbox_state mailbox_state(struct mailbox_slot *slot, uint32_t generation);

/* --- parent --- */

/* FREE to READY with this task, not stopped. The caller wakes the worker afterwards, without its
 * own lock. SIMPLER_ESTATE when it is not FREE. */
simpler_status mailbox_post(struct mailbox_slot *slot, uint32_t generation,
                            const struct record_task *task);
/* Have a worker that sleeps look for tasks. */
void mailbox_wake(struct mailbox *box);
/* READY to FREE, at generation + 1: false when the worker has taken it, or it is not at this
 * generation. */
bool mailbox_retract(struct mailbox_slot *slot, uint32_t generation);
/* Tell whoever runs this slot's task that it is to end early, and ring. */
void mailbox_stop(struct mailbox *box, uint32_t slot);
/* Take the outcome of a DONE slot and free it, also when the outcome is SIMPLER_EPROTOCOL, a bad
 * record. SIMPLER_ESTATE when it is not DONE. */
simpler_status mailbox_collect(struct mailbox_slot *slot, uint32_t generation,
                               struct record_outcome *out);
/* The worker is dead. The slot is FREE at generation + 1 afterwards, whatever it was and whatever
 * the worker wrote to it. Returns what it was before: an outcome that is DONE is dropped, so
 * collect it first. */
enum mailbox_state mailbox_abandon(struct mailbox_slot *slot, uint32_t generation);
/* The worker is dead, and another will serve the mailbox: nobody sleeps at it any more. */
void mailbox_reset(struct mailbox *box);

/* --- worker --- */

/* What doorbell_wait_for() compares: get it before looking for tasks. */
uint32_t mailbox_ticket(struct mailbox *box);
/* READY to RUNNING; false when there is none. `*next` is where to look first, 0 in the beginning
 * and moved on by this; `*slot` and its `*generation` say what was taken. */
bool mailbox_take(struct mailbox *box, uint32_t *next, uint32_t *slot, uint32_t *generation);
/* Decode the task of a slot that is RUNNING. `token` is 0 when it cannot be. */
simpler_status mailbox_read(struct mailbox *box, uint32_t slot, struct record_task *out);
/* Whether the parent called mailbox_stop() for this task. */
bool mailbox_is_stopped(struct mailbox *box, uint32_t slot);
/* RUNNING to DONE with this outcome. The caller tells whoever collects. */
void mailbox_finish(struct mailbox *box, uint32_t slot, uint32_t generation,
                    const struct record_outcome *outcome);
/* Until a slot is READY or the bell was rung since `ticket`; false when `deadline` passed. May
 * return true without either. */
bool mailbox_wait(struct mailbox *box, uint32_t ticket, struct spin_budget *spin, int64_t deadline);

#endif
