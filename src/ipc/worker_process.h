/*
 * What a worker process does: take a task from its mailbox, make sure it has the callable, run it,
 * put the outcome back, ring.
 *
 * The control segment (segment 0) is struct control_segment: the bells that workers ring when they
 * have finished something, then one mailbox for each worker.
 *
 * A callable arrives on the worker's control socket (SOCK_SEQPACKET) as a record_install, its
 * module's descriptor beside it the first time. The parent sends it before the first task that
 * needs it; the worker reads the socket when a task names a callable it does not know.
 */
#ifndef IPC_WORKER_PROCESS_H
#define IPC_WORKER_PROCESS_H

#include "ipc/doorbell_pair.h"
#include "ipc/install.h"
#include "ipc/mailbox.h"
#include "wire/args.h"

#define WORKER_MAX 256

struct control_segment {
	struct doorbell_pair finished; /* rung by a worker whose mailbox holds an outcome */
	struct mailbox boxes[];
};

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
