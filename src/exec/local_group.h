/*
 * What the parts of exec/local.h share: the group and its children.
 *
 *   local.c           the group's life
 *   local_tasks.c     what the scheduler asks of a child: start, stop, take back
 *   local_memory.c    memory that came after the children were forked
 *   local_outcomes.c  collecting, and the threads that do
 *   local_births.c    the supervisor: births, deaths, and kills
 *   local_vitals.c    how they are
 *
 * A task of a child is in one of two places: in a slot of its mailbox, or in its queue, in which it
 * waits for a process that can be handed it. It leaves both, under the lock, before anybody calls
 * its `done` or hands it back, so that happens once.
 */
#ifndef EXEC_LOCAL_GROUP_H
#define EXEC_LOCAL_GROUP_H

/* Between two looks at everything that nobody told of. */
#define LOCAL_LOOK_MS 1000

#include <pthread.h>
#include <sys/types.h>

#include "base/clock.h"
#include "exec/collector.h"
#include "exec/local.h"
#include "ipc/worker_process.h"

/* A slot of a child's mailbox as its parent knows it. */
struct local_slot {
	uint32_t generation;
	uint64_t posted;        /* counts the child's posts */
	struct exec_task *task; /* NULL when there is none */
	int64_t kill_at;        /* CLOCK_NEVER unless it was stopped */
};

struct local_child {
	struct exec_child child; /* first: the scheduler hands it back */
	struct local_group *group;
	enum spawn_role role;
	uint32_t index, number;
	struct tree *tree;
	char device[TREE_DEVICE_BYTES];
	uint32_t device_index;

	/* The supervisor's: */
	bool seen_dead; /* and the helper has not told of it */
	unsigned looks; /* at everything, since then */

	/* Under the group's lock: */
	pid_t pid; /* 0: there is no process */
	int pidfd, control;
	int64_t started;       /* the process */
	int64_t start_at;      /* the next one, while there is none */
	uint64_t deaths;       /* of its processes */
	unsigned quick_deaths; /* the last so many processes lived less than QUICK_MS */
	char killed_for[96];   /* why we killed it; "" if we did not */
	bool excused;          /* its death says nothing of how long the next one will live */
	struct local_slot slots[MAILBOX_SLOTS];
	uint32_t used;      /* bit i: slots[i] has a task */
	uint32_t next_slot; /* to post to */
	uint64_t posts;
	struct exec_task *queue[MAILBOX_SLOTS]; /* first come, first */
	uint32_t queued;
	/* By the low half of a callable's key: the key that this process was sent last; or 0. */
	uint64_t *installed;
	uint32_t installed_count;
	struct local_told *told; /* memory that this process has been sent */
	uint32_t told_count, told_capacity;
	bool has_ended; /* there is one of those that it is still to be told the end of */
};

/* Memory that a process of a child was sent. */
struct local_told {
	uint32_t id;
	bool ended; /* and it is to be told so */
};

struct local_segment {
	struct record_segment record;
	int fd;
};

struct local_module {
	uint8_t digest[RECORD_DIGEST_BYTES];
	int fd; /* the worker's, which outlives the group */
};

struct local_group {
	/* Fixed once started. */
	struct local_options options;
	char *host_program;
	struct local_child *children[WORKER_MAX];
	uint32_t child_count;
	struct control_segment *shared;
	size_t shared_bytes;
	int shared_fd;

	/* Guards what is said of children above, and: */
	pthread_mutex_t lock;
	uint64_t to_look_at[WORKER_MAX / 64]; /* children: taken over from the hints */
	struct local_module *modules;
	size_t module_count;
	struct local_segment *segments; /* that children are sent when they need them */
	uint32_t segment_count;
	int64_t wake_at; /* when the supervisor will look at kill_at and start_at */
	bool lost;       /* the helper died: children run nothing any more */

	struct spawn_helper helper; /* the supervisor's, once that runs */
	pthread_t supervisor;
	bool has_supervisor;
	int wakeup; /* of the supervisor */
	_Atomic bool stopping;
	struct collector collector;
};

/* --- local_tasks.c --- */

extern const struct exec_child_ops local_ops;

/* Under the lock: post what is queued, in order, as far as that goes. */
void local_post_queued(struct local_child *child);
/* Under the lock: the task of a slot leaves it, which is FREE at the next generation by now. */
struct exec_task *local_empty_slot(struct local_child *child, uint32_t slot);
/* Under the lock: kill its process, if there is one. Its death is noticed like any other. */
void local_kill(struct local_child *child, const char *why);

/* The helper died: fail all tasks, and those to come. */
void local_fail_all(struct local_group *group);

/* Under the lock: whether a record can be sent without waiting for the process to read earlier
 * ones, which it may not do while it runs a task. It can, too, when that fails at once. */
bool local_has_room(const struct local_child *child);

/* --- local_memory.c --- */

/* Under the lock: send what a task names and the process does not know. False when it is to be
 * tried again later. */
bool local_send_memory(struct local_child *child, const struct exec_task *task);
/* Under the lock: there is another process, which knows nothing yet. */
void local_forget_memory(struct local_child *child);
void local_release_memory(struct local_group *group);

/* --- local_outcomes.c --- */

void local_init_collector(struct local_group *group);
/* Finish all tasks whose outcomes lie ready; `everywhere`: also where no hint says so. */
void local_collect(struct local_group *group, bool everywhere);

/* --- local_births.c --- */

simpler_status local_start_process(struct local_child *child);
void *local_supervisor_main(void *argument);
/* Have the supervisor look at its times again if this one is before what it knows of. Under the
 * lock. */
void local_wake_supervisor_at(struct local_group *group, int64_t at);

#endif
