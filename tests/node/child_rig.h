/* A remote child of a front end, without a graph above it, and tasks that a test gives it.
 * Everything asserts. */
#ifndef TESTS_NODE_CHILD_RIG_H
#define TESTS_NODE_CHILD_RIG_H

#include "exec/node_session.h"
#include "exec/remote.h"
#include "front_end.h"

struct child_rig {
	struct front_end *front_end;
	struct node_session *session;
	struct exec_child *child; /* NULL: it is closed */
	struct exec_callable callable;
	struct record_config config;
};

/* Returns what connecting says. */
simpler_status child_rig_start(struct child_rig *rig, const char *const *options,
                               simpler_lane lane);
void child_rig_close(struct child_rig *rig);
void child_rig_stop(struct child_rig *rig);

/* A task, and how it ended. */
struct job {
	struct exec_task task; /* first: a child hands it back */
	pthread_mutex_t lock;  /* guards all below */
	pthread_cond_t changed;
	unsigned ends;
	simpler_status status;
	uint64_t scalars[2];
};

void job_init(struct job *job, struct child_rig *rig, uint64_t id, enum fake_command command);
void job_start(struct job *job, struct child_rig *rig);
simpler_status job_wait(struct job *job);

#endif
