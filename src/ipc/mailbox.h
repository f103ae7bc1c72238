/*
 * A mailbox: where a parent hands one task at a time to one worker process.
 *
 *   FREE -parent-> READY -worker-> RUNNING -worker-> DONE -parent-> FREE
 *                    `----------------+--parent-> LOST --parent-> FREE
 *
 * - Only mailbox_move() writes `word` (state and generation) while the worker lives, which hands
 *   the payload over. All access to it is sequentially consistent, so that a move is in one order
 *   with other flags in shared memory without a fence.
 * - The worker owns the payload in READY and RUNNING, else the parent does.
 * - LOST only after the worker's exit was reported: the dead do not write.
 * - Freeing bumps the generation, so a late completion matches nothing.
 * - The parent keeps the generation itself and never takes it, nor a length, on trust.
 *
 * All zero is a mailbox that is FREE at generation 0. Position-independent.
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

#define MAILBOX_PAYLOAD_BYTES 8192

/* In shared memory, aligned to 64. */
struct mailbox {
	struct doorbell to_worker; /* rung when a task is READY or the worker is to stop */
	_Atomic uint64_t word;     /* state in the low 8 bits, generation in the high 32 */
	_Atomic uint32_t stop;     /* parent: finish what runs, then exit */
	/* Written by the payload's owner. Atomic so that it is read once: check it, then use it. */
	_Atomic uint32_t payload_size;
	uint8_t pad[48];
	uint8_t payload[MAILBOX_PAYLOAD_BYTES]; /* a task record, then an outcome record */
};

/* Move along a drawn edge from `from` to `to` at `generation`; false, and nothing changed, when it
 * is elsewhere. Does not ring. */
bool mailbox_move(struct mailbox *box, uint32_t generation, enum mailbox_state from,
                  enum mailbox_state to);
/* FREE, too, when the box is at another generation or its word makes no sense: whoever posted a
 * task at `generation` and finds it FREE knows that the worker broke the rules. */
enum mailbox_state mailbox_state(struct mailbox *box, uint32_t generation);

/* Parent: FREE to READY with this task, and ring. SIMPLER_ESTATE when it is not FREE. */
simpler_status mailbox_post(struct mailbox *box, uint32_t generation,
                            const struct record_task *task);
/* Parent: take the outcome of a DONE box and free it, also when the outcome is SIMPLER_EPROTOCOL,
 * a bad record. SIMPLER_ESTATE when it is not DONE. */
simpler_status mailbox_collect(struct mailbox *box, uint32_t generation,
                               struct record_outcome *out);
/* Parent: the worker is dead. The box is FREE at generation + 1 afterwards, whatever it was and
 * whatever the worker wrote to it. True if a task was READY or RUNNING; an outcome that is DONE is
 * dropped, so collect it first. */
bool mailbox_abandon(struct mailbox *box, uint32_t generation);
/* Worker: READY to RUNNING; false when there is none. `*generation` is the box's own. */
bool mailbox_take(struct mailbox *box, uint32_t *generation);
/* Worker: RUNNING to DONE with this outcome. The caller rings whoever collects. */
void mailbox_finish(struct mailbox *box, uint32_t generation, const struct record_outcome *outcome);

#endif
