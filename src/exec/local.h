/*
 * Sub workers: processes of this machine, forked by a spawn helper, each behind a mailbox.
 *
 * Threads: a supervisor thread of the group hears of deaths and starts replacements. Outcomes are
 * collected by whoever waits for one: a thread that waits for a run attends the group
 * (local_progress()) and so needs no second thread to wake it; while nobody does, the group's
 * collector thread collects.
 */
#ifndef EXEC_LOCAL_H
#define EXEC_LOCAL_H

#include "exec/exec.h"

struct local_group;

struct local_options {
	const char *host_program; /* simpler-host */
	uint32_t workers;         /* 1 to WORKER_MAX */
	/* The memory that tensors of tasks lie in; at most one segment at this level. */
	int memory_fd;
	uint32_t memory_segment;
	uint64_t memory_bytes;
	/* The spawn helper died, and its workers with it: no task will finish any more. Called
	 * once, from the supervisor thread. */
	void (*lost)(void);
};

/* Forks all workers before it returns. */
simpler_status local_group_create(const struct local_options *options, struct local_group **out);
/* Ends the workers, whatever they do, and reaps them. Tasks in progress never finish. */
void local_group_stop(struct local_group *group);
/* The same, and releases the group with its children, which nobody uses any more. */
void local_group_destroy(struct local_group *group);

struct exec_child *local_group_child(struct local_group *group, uint32_t index);

/* How a thread that waits for a run collects outcomes itself. */
struct exec_progress local_progress(struct local_group *group);

#endif
