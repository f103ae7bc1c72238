/*
 * What the steps of a task on a remote node share; exec/remote.c tells of them.
 *
 * A step begins something and returns true: its end goes on from there, in another thread and
 * perhaps already, so the caller looks at the task no more. Or it returns false, and the task goes
 * on with what `step` and `tensor` say now.
 */
#ifndef EXEC_REMOTE_TASK_H
#define EXEC_REMOTE_TASK_H

#include "exec/remote_node.h"
#include "exec/remote_staging.h"
#include "exec/remote_storage.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"

enum step { STEP_ALLOCATE, STEP_SEND, STEP_DISPATCH, STEP_FETCH, STEP_FREE };

struct remote_task {
	struct remote_child *node;
	struct exec_task *task;
	enum step step;
	uint32_t tensor; /* the one that the step is at */
	bool failed;
	struct error error;
	uint64_t life; /* of the session, that all of it belongs to */
	uint32_t sent; /* dispatches of it */
	bool by_call;  /* its dispatch does not fit another lane */
	struct lane_dispatch dispatch;
	enum rpc_note note;         /* that came with the last one's end */
	bool answered;              /* the node told how it ended, */
	bool succeeded;             /* and that it did so well */
	bool reused;                /* the present tensor's storage is another task's */
	bool fresh;                 /* no more of that, as it failed */
	bool way_failed;            /* a transport with a connection of its own has */
	uint32_t half_written;      /* as exec_task has it */
	uint8_t *kept;              /* inline outputs, one behind the other; NULL: there are none */
	struct staging_mark mark;   /* when storage was asked for the last time */
	struct transport_move move; /* of the present tensor */
	/* Under the child's lock: */
	struct remote_task *prev, *next;
	uint64_t id;          /* the task's */
	_Atomic bool stopped; /* set once; looked at without the lock as well */
	_Atomic bool lost;    /* likewise: its node is */
	/* In progress, and to be cancelled by a stop; or NULL: */
	struct lane *lane; /* that has its dispatch; has a reference */
	struct rpc_client_call *call;
	struct remote_task *cut_next; /* of those whose dispatch was taken back */
	bool makes;                   /* the call makes storage, and only a loss cancels it */
	struct transport *moving;
	struct remote_op *bringing;
	/* Storage on the node for staged tensors and those brought there, by tensor; handle_id 0
	 * where there is none. */
	struct transport_storage places[];
};

static inline bool remote_is_staged(const struct exec_tensor *tensor)
{
	return tensor->backing == SIMPLER_STAGED;
}

static inline bool remote_is_inline(const struct exec_tensor *tensor)
{
	return !tensor->storage && !remote_is_staged(tensor);
}

/* Has results that do not come with the answer. */
static inline bool remote_is_fetched(const struct exec_tensor *tensor)
{
	return remote_is_staged(tensor) && exec_tag_writes(tensor->tag);
}

static inline bool remote_task_is_given_up(const struct remote_task *run)
{
	return atomic_load(&run->stopped) || atomic_load(&run->lost);
}

static inline bool remote_is_elsewhere(const struct remote_task *run,
                                       const struct exec_tensor *tensor)
{
	return tensor->storage && tensor->storage->child != &run->node->child;
}

/* --- remote.c --- */

/* Begin what comes next, until something is begun, or the task has ended. */
void remote_task_advance(struct remote_task *run);
/* The first failure is the task's: what the node said, or this thread's last error. */
void remote_task_fail(struct remote_task *run, enum rpc_code code, const char *text);
void remote_task_fail_here(struct remote_task *run);
/* Nothing could be begun. Storage that was made is given back first. Returns false. */
bool remote_task_give_up(struct remote_task *run);
void remote_task_describe_shape(const struct exec_tensor *tensor, struct msg_shape *out);

/* --- remote_dispatch.c --- */

bool remote_task_dispatch(struct remote_task *run);
/* All else has been fetched: the outputs that came with the answer are the caller's, too. */
void remote_task_deliver(struct remote_task *run);
/* Its dispatch was taken back from the lane. */
void remote_task_cut(struct remote_task *run);

#endif
