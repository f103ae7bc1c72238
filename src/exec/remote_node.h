/*
 * What the parts of exec/remote.h share: the node.
 *
 *   remote.c          a task, step by step
 *   remote_catalog.c  connecting, and what it is asked about callables
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
	pthread_mutex_t lock; /* guards: */
	/* All tasks in progress, `capacity` at most. Only a stop looks for one. */
	struct remote_task *running;
	uint32_t asked;          /* requests that are open */
	pthread_cond_t answered; /* one less */
};

/* --- remote_catalog.c --- */

void remote_ask(struct exec_child *child, struct exec_request *request);
/* Once the channel is closed: until nothing that was asked is open. */
void remote_await_answers(struct remote_child *node);

#endif
