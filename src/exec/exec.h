/*
 * "Run it there": what a worker's scheduler asks of a child, whether that is a process on this
 * machine or a node on another.
 *
 * The scheduler owns a task until start(), the child from then until it calls `done`, once, from
 * any thread of its own, possibly before start() returns. A child never runs a callback while it
 * holds a lock of its own, so `done` may start further tasks on it.
 *
 * install() makes a callable known; only then may a task name it. It may block and is called
 * without the worker's lock. start() never blocks on the task and is never called for more than
 * `capacity` tasks at once.
 */
#ifndef EXEC_EXEC_H
#define EXEC_EXEC_H

#include <stdatomic.h>

#include "catalog/digest.h"
#include "simpler/orch.h"
#include "wire/record.h"

/* A module's bytes, as a sealed memfd and as a mapping of it. Lives as long as its worker. */
struct exec_module {
	struct digest digest;
	int fd;
	const uint8_t *bytes;
	size_t size;
};

struct exec_callable {
	uint64_t key; /* unique in the worker, never 0 */
	simpler_kind kind;
	char name[RECORD_NAME_MAX + 1];
	struct digest digest;
	const struct exec_module *module;
	simpler_bytes state;
};

struct exec_tensor {
	simpler_tensor view; /* contiguous, at an address of this process */
	uint64_t nbytes;
	simpler_tag tag;
	simpler_backing backing;
	/* Where a SIMPLER_SHARED tensor lies; for the others the pair is not used. */
	uint32_t segment;
	uint64_t offset;
};

/* Whether the task writes it, and whether it sees its old bytes. */
static inline bool exec_tag_writes(simpler_tag tag)
{
	return tag == SIMPLER_OUTPUT || tag == SIMPLER_INOUT || tag == SIMPLER_OUTPUT_EXISTING;
}

static inline bool exec_tag_reads(simpler_tag tag)
{
	return tag == SIMPLER_INPUT || tag == SIMPLER_INOUT || tag == SIMPLER_NO_DEP;
}

struct exec_task {
	const struct exec_callable *callable;
	uint64_t id; /* unique in the worker */
	const struct record_config *config;
	const struct exec_tensor *tensors;
	const uint64_t *scalars;
	uint32_t tensor_count, scalar_count;
	/* `error` is NULL on success and belongs to the caller. */
	void (*done)(struct exec_task *task, const struct error *error);
};

struct exec_child;

struct exec_child_ops {
	simpler_status (*install)(struct exec_child *child, const struct exec_callable *callable);
	void (*start)(struct exec_child *child, struct exec_task *task);
	/* Stop it and release it. No task is in progress. */
	void (*close)(struct exec_child *child);
};

struct exec_child {
	const struct exec_child_ops *ops;
	simpler_kind runs;    /* SIMPLER_KIND_SUB or SIMPLER_KIND_ORCH */
	char name[128];       /* "sub worker 0", "node 127.0.0.1:5050" */
	uint32_t capacity;    /* tasks it takes at once */
	uint32_t in_progress; /* the scheduler's, under the worker's lock */
};

/*
 * How a thread that waits for a run may do the work that ends it, instead of being woken by the
 * thread that did. Each is NULL where there is no such way.
 */
struct exec_progress {
	void *context;
	/* The calling thread will attend in a moment, once its orchestration function has returned.
	 * False when another thread is at it. */
	bool (*announce)(void *context);
	/* Work until `*finished`; false at once when another thread is at it. `announced` is what
	 * announce() returned; after true, attend() is to follow in any case. */
	bool (*attend)(void *context, bool announced, const _Atomic bool *finished);
	/* A `finished` was set: let a thread that attends look at its own. */
	void (*wake)(void *context);
};

#endif
