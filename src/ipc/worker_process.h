/*
 * What a worker process does: take a task from its mailbox, make sure it has the callable, run it,
 * put the outcome back, ring.
 *
 * The control segment (segment 0) is struct control_segment: the bell that all workers ring when
 * they have finished something, then one mailbox for each worker.
 *
 * A callable arrives on the worker's control socket (SOCK_SEQPACKET) as a record_install, its
 * module's descriptor beside it the first time. The parent sends it before the first task that
 * needs it; the worker reads the socket when a task names a callable it does not know.
 */
#ifndef IPC_WORKER_PROCESS_H
#define IPC_WORKER_PROCESS_H

#include "ipc/mailbox.h"

#define WORKER_MAX 256

struct control_segment {
	struct doorbell finished;
	struct mailbox boxes[];
};

struct worker_segment {
	uint32_t id;
	uint8_t *base;
	uint64_t bytes;
};

struct worker_process {
	uint32_t index;
	int control; /* socket */
	struct control_segment *shared;
	struct worker_segment segments[4]; /* those that hold tensors */
	uint32_t segment_count;
};

/* Runs until told to stop or the control socket closes. Returns the exit status. */
int worker_process_main(const struct worker_process *self);

/* Send one install on a control socket; `module_fd` -1 when not has_module. Blocks while the
 * socket is full. SIMPLER_EUNAVAILABLE when the other end is gone. */
simpler_status install_send(int socket, const struct record_install *install, int module_fd);
/* Receive one; `*module_fd` is the caller's to close, -1 if none came. `buffer` has
 * RECORD_INSTALL_MAX bytes and `out` points into it. SIMPLER_EUNAVAILABLE at end of file. */
simpler_status install_receive(int socket, uint8_t *buffer, struct record_install *out,
			       int *module_fd);

#endif
