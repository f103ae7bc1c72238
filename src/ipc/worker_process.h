/*
 * What a worker process does: take a task from its mailbox, make sure it has the callable, run it,
 * put the outcome back, ring.
 *
 * The control segment (segment 0) is struct control_segment: the bells that workers ring with
 * control_ring_finished() when they have finished something, then one mailbox for each worker.
 *
 * A callable arrives on the worker's control socket (SOCK_SEQPACKET) as a record_install, its
 * module's descriptor beside it the first time. The parent sends it before the first task that
 * needs it; the worker reads the socket when a task names a callable it does not know.
 */
#ifndef IPC_WORKER_PROCESS_H
#define IPC_WORKER_PROCESS_H

#include "ipc/install.h"
#include "ipc/mailbox.h"
#include "wire/args.h"

#define WORKER_MAX 256

struct control_segment {
	struct doorbell finished; /* the parent's collector sleeps on it */
	struct doorbell attended; /* a parent's thread that waits for a run sleeps on it instead */
	_Atomic uint32_t attending; /* parent: such a thread is there */
	uint8_t pad[60];
	struct mailbox boxes[];
};

/* Worker: an outcome lies in the mailbox. Adding nothing reads the flag's latest value and releases
 * the outcome to whoever changes the flag next; a load would not. See exec/local.c. */
static inline void control_ring_finished(struct control_segment *shared)
{
	if (atomic_fetch_add(&shared->attending, 0) != 0)
		doorbell_ring(&shared->attended);
	else
		doorbell_ring(&shared->finished);
}

struct worker_process {
	uint32_t index;
	int control; /* socket */
	struct control_segment *shared;
	struct memory_segment segments[4]; /* those that hold tensors */
	uint32_t segment_count;
};

/* Runs until told to stop or the control socket closes. Returns the exit status. */
int worker_process_main(const struct worker_process *self);

#endif
