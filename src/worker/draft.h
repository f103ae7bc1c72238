/* A task that is being built: what the parts of worker/submit.h share.
 *
 *   submit.c         all of it, and tensors of this process
 *   draft_remote.c   tensors on nodes, and where they send the task
 */
#ifndef WORKER_DRAFT_H
#define WORKER_DRAFT_H

#include "worker/schedule.h"
#include "worker/submit.h"

#define NO_TENSOR UINT32_MAX

struct draft {
	struct run *run;
	const struct submit_call *call;
	struct task *task;
	/* Where the next of each kind goes, in the task's memory. */
	struct exec_tensor *tensors;
	int64_t *dimensions;
	uint64_t *scalars;
	dag_task_id *after;
	/* What the graph is told: arrays of one entry a tensor. */
	struct dag_use *uses;
	dag_storage_id *holds;
	size_t use_count, hold_count;
	/* The tensors that decide where it can run; NO_TENSOR: none. */
	uint32_t shared_tensor, private_tensor;
};

/* What the graph is told of a tag that it is told anything of. */
static inline enum dag_access draft_access(uint8_t tag)
{
	return tag == SIMPLER_OUTPUT_EXISTING ? DAG_VOUCHED
	       : tag == SIMPLER_INPUT         ? DAG_READ
	                                      : DAG_WRITE;
}

/* --- draft_remote.c --- */

/* Tensor `index` of a member, which is SIMPLER_REMOTE. */
simpler_status draft_take_remote(struct draft *draft, const simpler_args *args, uint32_t index,
                                 struct exec_tensor *out);
/* Have each member go where its tensors on nodes are, once all are taken. */
simpler_status draft_aim(struct draft *draft);
/* Allocate names for outputs that are to stay on a node, and take them back. */
simpler_status draft_make_remote_outputs(struct draft *draft);
void draft_discard_remote_outputs(struct draft *draft);

#endif
