/*
 * What the parts of exec/remote.h share: the node.
 *
 *   remote.c          a task, step by step
 *   remote_catalog.c  connecting, and making callables known
 */
#ifndef EXEC_REMOTE_NODE_H
#define EXEC_REMOTE_NODE_H

#include <pthread.h>

#include "exec/remote.h"

struct rpc_channel;
struct remote_task;

struct remote_child {
	struct exec_child child;
	struct rpc_channel *channel;
	struct node_session *session; /* borrowed */
	char address[104];
	pthread_mutex_t lock; /* guards `running` */
	/* All tasks in progress, `capacity` at most. Only a stop looks for one. */
	struct remote_task *running;
};

/* --- remote_catalog.c --- */

simpler_status remote_install(struct exec_child *child, const struct exec_callable *callable);

#endif
