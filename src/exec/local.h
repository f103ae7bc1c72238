/*
 * Children that are processes of this machine, forked by a spawn helper, each behind a mailbox:
 * sub workers, chips, and workers of the next level down.
 *
 * Threads: a supervisor thread of the group hears of deaths, starts replacements, and kills what
 * was stopped and goes on. Outcomes are collected by whoever waits for one: a thread that waits for
 * a run attends the group (local_progress()) and so needs no second thread to wake it; while nobody
 * does, the group's collector thread collects.
 *
 * create, add the children, start. Before the start a child is known, with its name, and takes no
 * tasks; afterwards none can be added.
 */
#ifndef EXEC_LOCAL_H
#define EXEC_LOCAL_H

#include "exec/exec.h"
#include "ipc/spawn.h"
#include "wire/record.h"
#include "wire/vitals.h"

struct local_group;

struct local_options {
	const char *host_program; /* simpler-host; copied */
	/* The memory that tensors of tasks lie in. The descriptors are borrowed until the start has
	 * returned. */
	struct spawn_segment segments[SPAWN_MAX_SEGMENTS - 1];
	uint32_t segment_count;
	/* The spawn helper died, and the children with it: tasks in progress and later ones fail
	 * with SIMPLER_EUNAVAILABLE when this has returned. Called once, from the supervisor
	 * thread. */
	void (*lost)(void *context);
	void *context;
};

struct local_child_options {
	/* What it runs: SIMPLER_KIND_SUB makes it a sub worker, SIMPLER_KIND_CHIP a chip,
	 * SIMPLER_KIND_ORCH a worker of the next level down. */
	simpler_kind kind;
	/* Of a chip: */
	const char *device; /* shorter than TREE_DEVICE_BYTES; copied */
	uint32_t device_index;
	/* Of a next-level worker: it and what is below it; copied. */
	const struct tree *tree;
};

/* Nothing runs yet. */
simpler_status local_group_create(const struct local_options *options, struct local_group **out);
/* `*out` belongs to the group. SIMPLER_ENOSPACE past WORKER_MAX children. */
simpler_status local_group_add(struct local_group *group, const struct local_child_options *options,
                               struct exec_child **out);
/* SIMPLER_ENOSPACE when so many more cannot be added. */
simpler_status local_group_check_places(const struct local_group *group, uint32_t count);
/* Starts the helper and forks all children before it returns. A group whose start failed can only
 * be destroyed. */
simpler_status local_group_start(struct local_group *group);
/* Ends the children, whatever they do, and reaps them. Tasks in progress never finish. */
void local_group_stop(struct local_group *group);
/* The same, and releases the group with its children, which nobody uses any more. NULL is allowed.
 */
void local_group_destroy(struct local_group *group);

/*
 * Memory that tasks' tensors may lie in from now on: children are sent it before their first task
 * that names it. `fd` is the group's from now on, also on failure.
 */
simpler_status local_group_share(struct local_group *group, const struct record_segment *segment,
                                 int fd);
/* No task uses it any more: have all children that were sent it let go of it. */
void local_group_unshare(struct local_group *group, uint32_t id);
/* How the children are: all but the runs and the tasks that no child has yet. Thread-safe, between
 * start and stop. */
void local_group_vitals(struct local_group *group, struct vitals *out);

/* How a thread that waits for a run collects outcomes itself. */
struct exec_progress local_progress(struct local_group *group);

#endif
