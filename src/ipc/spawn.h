/*
 * Where processes come from: a helper with one thread, exec'd, that does nothing but fork workers
 * and tell of their deaths. A process with threads can therefore have children that run user code.
 *
 *   owner (any process)  --exec-->  helper (simpler-host spawn)  --fork-->  worker x N
 *
 * They talk over a SOCK_SEQPACKET pair. The helper ends, and its workers with it, when the owner's
 * end closes, so nothing outlives the owner, however it dies. Workers ask for SIGKILL at their
 * helper's death.
 *
 * Thread-safety: spawn_worker() and spawn_next_exit() belong to one thread of the owner.
 */
#ifndef IPC_SPAWN_H
#define IPC_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

#include "simpler/status.h"

struct spawn_helper {
	int socket;
	int pidfd;
	pid_t pid;
};

/* Memory that every worker maps: segment 0 is the mailboxes, those above hold tensors. */
#define SPAWN_MAX_SEGMENTS 4

struct spawn_segment {
	int fd;
	uint32_t id; /* as in record_tensor.segment */
	uint64_t bytes;
};

/* Exec `program` (simpler-host) as a helper. Blocks until it answers, at most five seconds. */
simpler_status spawn_helper_start(const char *program, const struct spawn_segment *segments,
                                  uint32_t segment_count, struct spawn_helper *out);
/* Close, which ends every worker, and wait for its exit. */
void spawn_helper_stop(struct spawn_helper *helper);

/* Fork worker `index`, which serves the mailbox at index * sizeof(struct mailbox) past the shared
 * completion bell (see worker_process.h). `control` is the owner's end of its control socket; the
 * caller closes it. Blocks until it was forked. */
simpler_status spawn_worker(struct spawn_helper *helper, uint32_t index, pid_t *pid, int *control);

struct spawn_exit {
	uint32_t index;
	pid_t pid;
	int wait_status; /* as of waitpid() */
};
/* Non-blocking: the next report of an exit; SIMPLER_ENOTFOUND when there is none now,
 * SIMPLER_EUNAVAILABLE when the helper is gone. Poll `socket` for POLLIN. */
simpler_status spawn_next_exit(struct spawn_helper *helper, struct spawn_exit *out);

/* The helper's main: `socket` is descriptor 3. Returns the process's exit status. */
int spawn_helper_main(void);

#endif
