/*
 * "Run it there": what a worker's scheduler asks of a child, whether that is a process on this
 * machine or a node on another.
 *
 * The scheduler owns a task until start(), the child from then until it calls `done`, once, from
 * any thread of its own, possibly before start() returns, or until retract() gives it back. A child
 * never runs a callback while it holds a lock of its own, so `done` may start further tasks on it.
 *
 * ask() makes a callable known on a node, in two phases: once it is committed there, tasks may name
 * it. A child of this machine is not asked: it is sent a callable with the first task that names
 * it. None of the functions blocks on a task or on a peer. All are called without the worker's
 * lock, by any thread. A child has at most `capacity` tasks at once, of which it runs `width`; the
 * others wait in it.
 *
 * stop() and retract() name a task by its id, as it may end, and its memory be another's, at the
 * same moment; a child does nothing about an id that it does not have.
 */
#ifndef EXEC_EXEC_H
#define EXEC_EXEC_H

#include <stdatomic.h>

#include "catalog/signature.h"
#include "simpler/orch.h"
#include "wire/record.h"

/* A module's bytes, as a sealed memfd and as a mapping of it. Lives as long as its worker. Of a
 * library that is installed on nodes and not here there are none: `fd` is -1 and `size` 0. */
struct exec_module {
	struct origin origin; /* of its callables: the module itself, or a library's name */
	struct digest digest; /* of the bytes */
	int fd;
	const uint8_t *bytes;
	size_t size;
	bool is_signed;
	uint8_t signature[SIGNATURE_BYTES]; /* as a payload has it */
};

struct exec_callable {
	/* Unique in the worker for good, never 0. The low half counts from 1 and is its own among
	 * those that there are at the moment. */
	uint64_t key;
	simpler_kind kind;
	char name[RECORD_NAME_MAX + 1];
	struct digest digest;
	enum record_source source;
	const struct exec_module *module; /* of a module; else NULL */
	struct record_function function;  /* of the program */
	bool idempotent;                  /* a task of it that was lost may run again */
	simpler_bytes state;
	struct shipment
		*shipment; /* the worker's own: how it is with the nodes; see registration.h */
};

/* Memory of this process that is no shared segment. */
#define EXEC_NO_SEGMENT UINT32_MAX

/*
 * Storage on a node, which tasks use and programs read and write. Counted: the table of handles has
 * a reference until the handle is freed, and each task that names it one until it has ended. With
 * the last one the node is told to let it go.
 */
struct exec_child;
struct exec_storage {
	struct exec_child *child; /* the node */
	uint64_t nbytes;
	bool writable;
	bool abandoned; /* the node needs not be told: it was, or the session is over */
	_Atomic uint32_t references;
	void (*unused)(struct exec_storage *storage);
};

static inline void exec_storage_hold(struct exec_storage *storage)
{
	atomic_fetch_add(&storage->references, 1);
}

static inline void exec_storage_drop(struct exec_storage *storage)
{
	if (atomic_fetch_sub(&storage->references, 1) == 1)
		storage->unused(storage);
}

/* Drop it unless that has consequences, which are then for a moment without locks. */
static inline bool exec_storage_drop_unless_last(struct exec_storage *storage)
{
	uint32_t seen = atomic_load(&storage->references);

	while (seen > 1) {
		if (atomic_compare_exchange_weak(&storage->references, &seen, seen - 1))
			return true;
	}
	return false;
}

struct exec_tensor {
	void *data;      /* index 0,0,..., at an address of this process */
	uint64_t nbytes; /* of its elements */
	/* Where `data` lies: in a segment that all children of this machine have mapped, or
	 * EXEC_NO_SEGMENT. */
	uint32_t segment;
	uint64_t offset; /* there, or in `storage` */
	/* Of a SIMPLER_REMOTE one, which has no `data`; the task has a reference. */
	struct exec_storage *storage;
	uint8_t dtype, tag, backing, ndim;
	uint8_t transport; /* of a SIMPLER_STAGED one: a simpler_transport */
	bool makes;        /* the task is the one that allocates `storage` */
	const int64_t *shape;
	const int64_t *strides; /* in elements; NULL: contiguous */
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

/* Of a task that failed. */
enum exec_fate {
	EXEC_ENDED,   /* it ran, and is over */
	EXEC_NOT_RUN, /* it did not begin, and may be tried again, here or elsewhere */
	EXEC_LOST,    /* nobody knows how far it came; of what it wrote nothing is here */
};

struct exec_task {
	const struct exec_callable *callable;
	uint64_t id; /* unique in the worker */
	const struct record_config *config;
	const struct exec_tensor *tensors;
	const uint64_t *scalars;
	uint32_t tensor_count, scalar_count;
	int64_t deadline; /* base/clock.h; the scheduler sees to it, a child may tell others */
	/* When not 0: it was stopped, and is to be killed then. Set before stop() is called. As
	 * that may be before start() has come through, a child looks at it once more when it has
	 * noted the task as its own. */
	_Atomic int64_t stop_at;
	bool bound;          /* to this child: retract() gives it back only when it is named */
	enum exec_fate fate; /* set before `done` is called with an error */
	/* Set likewise: it had succeeded where it ran, and its results were not all fetched. Which
	 * of its tensors may be half-written here for that, a bit for each; all others that it
	 * writes are as they were. */
	bool unfetched;
	uint32_t half_written;
	/* `error` is NULL on success and belongs to the caller. */
	void (*done)(struct exec_task *task, const struct error *error);
};

struct exec_child;

/* Who hears that a node has gone or come back. Called without locks; does not block. */
struct exec_listener {
	void *context;
	/* It was lost: first of all. */
	void (*lost)(void *context, struct exec_child *child);
	/* What is_away() says may be something else now. */
	void (*changed)(void *context, struct exec_child *child);
	/* It answers again after it was lost, and is to be told every callable, then admit(). */
	void (*returned)(void *context, struct exec_child *child);
};

/* What a node is asked about a callable. */
enum exec_wish {
	EXEC_PREPARE,  /* to load and check it; no task sees it yet */
	EXEC_COMMIT,   /* what was prepared: tasks may name it from now on */
	EXEC_ABORT,    /* to drop what was prepared and not committed; nothing if there is none */
	EXEC_WITHDRAW, /* to drop what was committed, which no task names any more; nothing likewise
	                */
};

struct exec_request {
	enum exec_wish wish;
	const struct exec_callable *callable;
	/* `error` is NULL on success and belongs to the caller. */
	void (*done)(struct exec_request *request, const struct error *error);
};

struct exec_child_ops {
	/* The request and its callable stay until `done` is called: once, from any thread, possibly
	 * before ask() returns, and after a time that the child sets itself at the latest. Of a
	 * child that is not `local` only. */
	void (*ask)(struct exec_child *child, struct exec_request *request);
	void (*start)(struct exec_child *child, struct exec_task *task);
	/* Have it end early: tell the code that runs it, and kill that at `kill_at` if it goes on.
	 * Its end comes by `done`, as ever; what `done` says of a stopped task is of no matter. */
	void (*stop)(struct exec_child *child, uint64_t task, int64_t kill_at);
	/* Take back a task that has not begun, the one that came last of those not bound: it is the
	 * scheduler's again, and `done` is not called for it. With an id that one or none. NULL
	 * when there is none that can be. */
	struct exec_task *(*retract)(struct exec_child *child, uint64_t task_or_0);
	/* These three NULL of a child that is always there. Whether it takes no tasks now, and why.
	 */
	bool (*is_away)(struct exec_child *child, char *why, size_t size);
	/* A number that is another one when it has forgotten all that it was told and given. */
	uint64_t (*life)(struct exec_child *child);
	/* In this life it knows every callable, or why not; it is asked about that again then. */
	void (*admit)(struct exec_child *child, uint64_t life, const struct error *error);
	/* Stop it. Requests end with a failure before it returns. No task is in progress; but who
	 * has just ended one may be on the way out of its `done`, and look at this child yet, which
	 * does nothing then. */
	void (*close)(struct exec_child *child);
	/* Closed, and nobody looks at it any more: free what is its own. */
	void (*release)(struct exec_child *child);
};

/* What was sent to a child over a network; each counts up. */
struct exec_traffic {
	_Atomic uint64_t module_bytes; /* of modules' files */
};

struct exec_child {
	const struct exec_child_ops *ops;
	simpler_kind runs;
	bool local;        /* of this machine: it has the shared segments mapped */
	char name[128];    /* "sub worker 0", "worker 0 of level 3", "node 127.0.0.1:5050" */
	uint32_t capacity; /* tasks it takes at once */
	uint32_t width;    /* of those, how many it runs at once */
	struct exec_traffic traffic;
	/* Storage with a reference for the caller, which nothing is on the node for yet: the first
	 * task that `makes` it allocates that. NULL for a child without storage of its own. */
	simpler_status (*make_storage)(struct exec_child *child, uint64_t nbytes,
	                               struct exec_storage **out);
	const struct exec_listener *listener; /* set before it connects */
	/* The scheduler's, under the worker's lock: */
	bool away; /* it is given nothing */
	uint32_t in_progress;
	uint32_t bound; /* of those, tasks that are bound to it */
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
	/* The thread that announced does what lies ready now. Does not wait. */
	void (*poll)(void *context);
	/* Work until `*finished`; false at once when another thread is at it. `announced` is what
	 * announce() returned; after true, attend() is to follow in any case. */
	bool (*attend)(void *context, bool announced, const _Atomic bool *finished);
	/* A `finished` was set: let a thread that attends look at its own. */
	void (*wake)(void *context);
};

#endif
