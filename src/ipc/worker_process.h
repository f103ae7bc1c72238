/*
 * What a worker process of one thread does, a sub worker's or a chip's: take a task from its
 * mailbox, make sure it has the callable, run it, put the outcome back, tell the parent. A
 * next-level worker's process is started the same way and goes on in worker/nested.c.
 *
 * The control segment (segment 0) is struct control_segment: what workers tell when they have
 * finished something, then an area for each worker.
 *
 * A callable arrives on the worker's control socket (SOCK_SEQPACKET) as a record_install, its
 * module's descriptor beside it the first time; memory that came after the worker was forked as a
 * record_segment. The parent sends each before the first task that needs it; the worker reads the
 * socket when a task names a callable or memory it does not know.
 */
#ifndef IPC_WORKER_PROCESS_H
#define IPC_WORKER_PROCESS_H

#include "ipc/bulletin.h"
#include "ipc/crash.h"
#include "ipc/doorbell_pair.h"
#include "ipc/install.h"
#include "ipc/mailbox.h"
#include "ipc/spawn.h"
#include "wire/args.h"

#define WORKER_MAX 256

/* One worker's part of the control segment. */
struct worker_area {
	struct mailbox box;
	_Alignas(64) struct crash_area crash;
	/* Of a chip, once it has tried to open its device: why that failed; no bytes if it did not.
	 */
	struct bulletin device_error;
};

struct control_segment {
	struct doorbell_pair finished;
	/* A bit for each worker: its mailbox holds an outcome that nobody has looked at yet. A
	 * hint: any worker may write here what it likes. */
	_Alignas(64) _Atomic uint64_t outcomes[WORKER_MAX / 64];
	struct worker_area workers[];
};

struct worker_process {
	enum spawn_role role;
	uint32_t index;  /* of its area */
	uint32_t number; /* among those of its role, as its parent calls it */
	int control;     /* socket */
	struct control_segment *shared;
	struct worker_area *area;
	/* Those that hold tensors. The descriptors are open in a next-level worker only. */
	struct memory_segment segments[SPAWN_MAX_SEGMENTS];
	int segment_fds[SPAWN_MAX_SEGMENTS];
	uint32_t segment_count;
	/* Of a chip: */
	char device[TREE_DEVICE_BYTES];
	uint32_t device_index;
	/* Of a next-level worker: it is node 0. */
	const struct tree *tree;
};

/* Tell the parent that a slot of this worker is DONE: after mailbox_finish(). From any thread. */
void worker_process_tell(const struct worker_process *self);

/* These run until the control socket closes, and return the exit status. */
int worker_process_main(const struct worker_process *self);
int chip_process_main(const struct worker_process *self);

#endif
