/*
 * Where processes come from: a helper with one thread, exec'd, that does nothing but fork workers
 * and tell of their deaths. A process with threads can therefore have children that run user code.
 *
 *   owner (any process)  --exec-->  helper (simpler-host spawn)  --fork-->  worker x N
 *
 * They talk over a SOCK_SEQPACKET pair. The helper ends, and its workers with it, when the owner's
 * end closes, so nothing outlives the owner, however it dies. Workers ask for SIGKILL at their
 * helper's death. A next-level worker has a helper of its own, whose owner it is.
 *
 * Thread-safety: spawn_worker() and spawn_next_exit() belong to one thread of the owner.
 */
#ifndef IPC_SPAWN_H
#define IPC_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "simpler/status.h"
#include "wire/tree.h"

struct spawn_helper {
	int socket;
	int pidfd;
	pid_t pid;
};

/* Memory that every worker maps: segment 0 is the mailboxes, those above hold tensors. */
#define SPAWN_MAX_SEGMENTS 8

struct spawn_segment {
	int fd;
	uint32_t id; /* as in record_tensor.segment */
	uint64_t bytes;
};

/* The program that this process runs, that file and no newer one of its path. */
#define SPAWN_OWN_PROGRAM "/proc/self/exe"

/* Exec `program` as a helper: simpler-host, or SPAWN_OWN_PROGRAM, whose main() then begins with
 * spawn_is_own_helper(). Blocks until it answers, at most five seconds. */
simpler_status spawn_helper_start(const char *program, const struct spawn_segment *segments,
                                  uint32_t segment_count, struct spawn_helper *out);
/* Close, which ends every worker, and wait for its exit. */
void spawn_helper_stop(struct spawn_helper *helper);

/* Whether this process was started as a helper of its own program's, or forked by one.
 * SIMPLER_ESYSTEM when that cannot be told. */
simpler_status spawn_is_own_helper(bool *out);

/* A helper that takes longer to fork a worker has stopped or hangs. */
#define SPAWN_PATIENCE_MS 3000

/* What a worker is: which of the helper's main functions it gets. */
enum spawn_role { SPAWN_SUB, SPAWN_CHIP, SPAWN_NEXT_LEVEL };

struct spawn_order {
	enum spawn_role role;
	uint32_t index;  /* of its area in the control segment (ipc/worker_process.h) */
	uint32_t number; /* for its name in logs: "sub worker 3" */
	/* Of a chip: */
	const char *device;
	uint32_t device_index;
	/* Of a next-level worker: it will be node 0. */
	const struct tree *tree;
};

struct spawned {
	pid_t pid;
	int pidfd, control; /* the caller's to close; `control` is the owner's end of its socket */
};

/* Fork a worker. Blocks until it was forked; SIMPLER_EDEADLINE when that takes SPAWN_PATIENCE_MS.
 * The helper may do it later then: end the helper. */
simpler_status spawn_worker(struct spawn_helper *helper, const struct spawn_order *order,
                            struct spawned *out);
/* "sub worker", "chip", "worker" */
const char *spawn_role_name(enum spawn_role role);

struct spawn_exit {
	uint32_t index;
	pid_t pid;
	int wait_status; /* as of waitpid() */
};
/* Non-blocking: the next report of an exit; SIMPLER_ENOTFOUND when there is none now,
 * SIMPLER_EUNAVAILABLE when the helper is gone. Poll `socket` for POLLIN. */
simpler_status spawn_next_exit(struct spawn_helper *helper, struct spawn_exit *out);

struct worker_process;

/* A worker's main function for each role; it returns the exit status. */
struct spawn_roles {
	int (*worker)(const struct worker_process *self); /* a sub worker's */
	int (*chip)(const struct worker_process *self);
	int (*next_level)(const struct worker_process *self);
};

/* The helper's main: `socket` is descriptor 3. Returns the process's exit status. */
int spawn_helper_main(const struct spawn_roles *roles);

#endif
