/*
 * A mailbox: where a parent hands one task at a time to one worker process.
 *
 *   FREE -parent-> READY -worker-> RUNNING -worker-> DONE -parent-> FREE
 *                    `----------------+--parent-> LOST --parent-> FREE
 *
 * - Only mailbox_move() writes `word` (state and generation); its acq_rel hands the payload over.
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
	uint32_t payload_size;     /* written by the owner of the payload */
	uint8_t pad[48];
	uint8_t payload[MAILBOX_PAYLOAD_BYTES]; /* a task record, then an outcome record */
};

/* Move from `from` to `to` at `generation`; false, and nothing changed, when it is elsewhere. */
bool mailbox_move(struct mailbox *box, uint32_t generation, enum mailbox_state from,
		  enum mailbox_state to);
enum mailbox_state mailbox_state(struct mailbox *box, uint32_t generation);

/* Parent: FREE to READY with this task, and ring. */
simpler_status mailbox_post(struct mailbox *box, uint32_t generation,
			    const struct record_task *task);
/* Parent: take the outcome of a DONE box and free it. SIMPLER_EPROTOCOL for a bad record. */
simpler_status mailbox_collect(struct mailbox *box, uint32_t generation,
			       struct record_outcome *out);
/* Parent: the worker is dead; free the box whatever it was doing. True if a task was lost. */
bool mailbox_abandon(struct mailbox *box, uint32_t generation);
/* Worker: READY to RUNNING; false when there is none. `*generation` is the box's own. */
bool mailbox_take(struct mailbox *box, uint32_t *generation);
/* Worker: RUNNING to DONE with this outcome. The caller rings whoever collects. */
void mailbox_finish(struct mailbox *box, uint32_t generation, const struct record_outcome *outcome);

#endif
