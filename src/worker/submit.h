/* From what a program hands to a submit to a task of the graph. */
#ifndef WORKER_SUBMIT_H
#define WORKER_SUBMIT_H

#include "worker/run.h"

struct submit_call {
	const struct exec_callable *callable;
	const simpler_args *const *args; /* of each member; an entry may be NULL: none */
	size_t count;                    /* members */
	const simpler_submit_options *options;
	/* The target of each member, or NULL for any. */
	const simpler_worker_id *targets;
};

/* Check, reserve, publish: nothing is changed when it fails. */
simpler_status submit_task(struct run *run, const struct submit_call *call, simpler_task *out);

#endif
