/*
 * Tasks, edges and events.
 *
 * A task sits in a slot of a block; blocks are allocated when first needed and never move. An edge
 * belongs to the task that waits and is freed when that task becomes ready or is poisoned; the task
 * waited for has it in a list, from which it is taken out when either side is through. So edges
 * never outlive the waiting task, and a long-running task does not gather dead ones.
 *
 * The event queue runs through the slots. That is enough, as a task has at most one event pending:
 * it is either poisoned while it waits or becomes ready, and a poisoned task's slot is freed only
 * when its event is taken. Ending a task can therefore not fail.
 */
#include "dag/dag.h"

#include <assert.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/slab.h"
#include "dag/ranges.h"

#define BLOCK_TASKS 128u

enum state { FREE, WAITING, READY_QUEUED, READY, RUNNING, POISONED };

struct edge {
	struct dag_task *successor; /* the owner */
	struct edge *next_incoming; /* in the owner's list */
	/* In the list of the task waited for, which is NULL once that one is done. */
	struct dag_task *awaited;
	struct edge *before, *after;
};

struct dag_task {
	void *payload;
	uint32_t index, generation;
	enum state state;
	uint32_t waiting_for;              /* edges whose `awaited` is not done */
	struct edge *incoming;             /* owned */
	struct edge *first_out, *last_out; /* oldest first */
	struct ranges_use *uses;
	struct dag_task *next;   /* free list, or the event queue */
	dag_task_id cause;       /* when POISONED */
	uint64_t seen_in_submit; /* the submit that last found this task, to find it once */
};

struct dag {
	struct dag_task **blocks; /* block_count of them in use */
	uint32_t block_count, capacity, live;
	struct dag_task *free_tasks;
	struct dag_task *first_event, *last_event;
	struct ranges ranges;
	struct slab edges;
	uint64_t submits;
	/* What the submit under way depends on; kept for its memory. */
	struct dag_task **found;
	size_t found_count, found_room;
};

struct dag *dag_create(const struct dag_options *options)
{
	size_t blocks = ((size_t)options->max_tasks + BLOCK_TASKS - 1) / BLOCK_TASKS;
	struct dag *dag;

	assert(options->max_tasks > 0);
	dag = calloc(1, sizeof(*dag));
	if (!dag)
		return NULL;
	dag->capacity = options->max_tasks;
	slab_init(&dag->edges, sizeof(struct edge));
	dag->blocks = calloc(blocks, sizeof(struct dag_task *));
	if (!dag->blocks || !ranges_init(&dag->ranges)) {
		free(dag->blocks);
		free(dag);
		return NULL;
	}
	return dag;
}

void dag_destroy(struct dag *dag)
{
	if (!dag)
		return;
	for (uint32_t i = 0; i < dag->block_count; i++)
		free(dag->blocks[i]);
	free(dag->blocks);
	free(dag->found);
	ranges_release(&dag->ranges);
	slab_release(&dag->edges);
	free(dag);
}

uint32_t dag_live(const struct dag *dag)
{
	return dag->live;
}

uint32_t dag_capacity(const struct dag *dag)
{
	return dag->capacity;
}

static dag_task_id id_of(const struct dag_task *task)
{
	return task->index | (dag_task_id)task->generation << 32;
}

/* NULL for an id that is gone or never was. */
static struct dag_task *find_task(const struct dag *dag, dag_task_id id)
{
	uint32_t index = (uint32_t)id;
	struct dag_task *task;

	if (index / BLOCK_TASKS >= dag->block_count)
		return NULL;
	task = &dag->blocks[index / BLOCK_TASKS][index % BLOCK_TASKS];
	return task->generation == id >> 32 && task->state != FREE ? task : NULL;
}

static bool reserve_task(struct dag *dag)
{
	struct dag_task *block;

	if (dag->free_tasks)
		return true;
	block = calloc(BLOCK_TASKS, sizeof(*block));
	if (!block)
		return false;
	for (uint32_t i = BLOCK_TASKS; i-- > 0;) {
		block[i].index = dag->block_count * BLOCK_TASKS + i;
		block[i].generation = 1;
		block[i].next = dag->free_tasks;
		dag->free_tasks = &block[i];
	}
	dag->blocks[dag->block_count++] = block;
	return true;
}

static struct dag_task *take_task(struct dag *dag, void *payload)
{
	struct dag_task *task = dag->free_tasks;

	dag->free_tasks = task->next;
	dag->live++;
	*task = (struct dag_task){ .payload = payload,
		                   .index = task->index,
		                   .generation = task->generation,
		                   .state = WAITING };
	return task;
}

static void free_task(struct dag *dag, struct dag_task *task)
{
	task->state = FREE;
	if (++task->generation == 0)
		task->generation = 1;
	task->next = dag->free_tasks;
	dag->free_tasks = task;
	dag->live--;
}

static void queue_event(struct dag *dag, struct dag_task *task)
{
	task->next = NULL;
	if (dag->last_event)
		dag->last_event->next = task;
	else
		dag->first_event = task;
	dag->last_event = task;
}

bool dag_next_event(struct dag *dag, struct dag_event *out)
{
	struct dag_task *task = dag->first_event;

	if (!task)
		return false;
	dag->first_event = task->next;
	if (!dag->first_event)
		dag->last_event = NULL;
	*out = (struct dag_event){ .task = id_of(task), .payload = task->payload };
	if (task->state == READY_QUEUED) {
		out->kind = DAG_TASK_READY;
		task->state = READY;
	} else {
		out->kind = DAG_TASK_POISONED;
		out->cause = task->cause;
		free_task(dag, task);
	}
	return true;
}

/* A ranges_visit: note that the submit under way waits for `task`. */
static bool add_found(void *context, struct dag_task *task)
{
	struct dag *dag = context;

	if (task->seen_in_submit == dag->submits)
		return true;
	if (dag->found_count == dag->found_room) {
		size_t room = dag->found_room ? dag->found_room * 2 : 64;
		struct dag_task **found = realloc(dag->found, room * sizeof(*found));

		if (!found)
			return false;
		dag->found = found;
		dag->found_room = room;
	}
	task->seen_in_submit = dag->submits;
	dag->found[dag->found_count++] = task;
	return true;
}

/* Fill dag->found. False when memory is out. */
static bool find_awaited(struct dag *dag, const struct dag_use *uses, size_t use_count,
                         const dag_task_id *after, size_t after_count)
{
	dag->submits++;
	dag->found_count = 0;
	for (size_t i = 0; i < use_count; i++) {
		if (!ranges_conflicts(&dag->ranges, &uses[i], add_found, dag))
			return false;
	}
	for (size_t i = 0; i < after_count; i++) {
		struct dag_task *task = find_task(dag, after[i]);

		if (task && task->state != POISONED && !add_found(dag, task))
			return false;
	}
	return true;
}

static void add_edge(struct dag *dag, struct dag_task *awaited, struct dag_task *successor)
{
	struct edge *edge = slab_take(&dag->edges);

	*edge = (struct edge){ .successor = successor,
		               .next_incoming = successor->incoming,
		               .awaited = awaited,
		               .before = awaited->last_out };
	successor->incoming = edge;
	successor->waiting_for++;
	if (awaited->last_out)
		awaited->last_out->after = edge;
	else
		awaited->first_out = edge;
	awaited->last_out = edge;
}

static void unlink_out(struct edge *edge)
{
	struct dag_task *awaited = edge->awaited;

	assert(awaited);
	if (edge->before)
		edge->before->after = edge->after;
	else
		awaited->first_out = edge->after;
	if (edge->after)
		edge->after->before = edge->before;
	else
		awaited->last_out = edge->before;
	edge->awaited = NULL;
}

static void drop_incoming(struct dag *dag, struct dag_task *task)
{
	while (task->incoming) {
		struct edge *edge = task->incoming;

		task->incoming = edge->next_incoming;
		if (edge->awaited)
			unlink_out(edge);
		slab_give(&dag->edges, edge);
	}
	task->waiting_for = 0;
}

static void make_ready(struct dag *dag, struct dag_task *task)
{
	drop_incoming(dag, task);
	task->state = READY_QUEUED;
	queue_event(dag, task);
}

static simpler_status check_submit(const struct dag *dag, const struct dag_use *uses,
                                   size_t use_count)
{
	uint64_t end;

	for (size_t i = 0; i < use_count; i++) {
		if (!checked_add(uses[i].offset, uses[i].nbytes, &end))
			return error_raise(SIMPLER_EINVAL,
			                   "use %zu: offset %llu and %llu bytes wrap around", i,
			                   (unsigned long long)uses[i].offset,
			                   (unsigned long long)uses[i].nbytes);
	}
	if (dag->live == dag->capacity)
		return error_raise(SIMPLER_ENOSPACE,
		                   "%u tasks are in flight, the limit (max_tasks); wait for some "
		                   "or raise it",
		                   dag->capacity);
	return SIMPLER_OK;
}

simpler_status dag_submit(struct dag *dag, void *payload, const struct dag_use *uses,
                          size_t use_count, const dag_task_id *after, size_t after_count,
                          dag_task_id *out)
{
	simpler_status status = check_submit(dag, uses, use_count);
	struct dag_task *task;

	if (status != SIMPLER_OK)
		return status;
	/* Nothing below the reservations fails, and nothing above them changes the graph. */
	if (!find_awaited(dag, uses, use_count, after, after_count) || !reserve_task(dag) ||
	    !ranges_reserve(&dag->ranges, use_count) ||
	    !slab_reserve(&dag->edges, dag->edges.taken + dag->found_count))
		return error_raise(SIMPLER_ENOMEM, "out of memory for a task of the graph");
	task = take_task(dag, payload);
	for (size_t i = 0; i < use_count; i++)
		ranges_record(&dag->ranges, &uses[i], task, &task->uses);
	for (size_t i = 0; i < dag->found_count; i++)
		add_edge(dag, dag->found[i], task);
	if (task->waiting_for == 0)
		make_ready(dag, task);
	*out = id_of(task);
	return SIMPLER_OK;
}

void dag_start(struct dag *dag, dag_task_id task)
{
	struct dag_task *found = find_task(dag, task);

	assert(found && found->state == READY);
	found->state = RUNNING;
}

/* All that waited for `task` wait one less; those that waited for nothing else become ready. */
static void release_successors(struct dag *dag, struct dag_task *task)
{
	while (task->first_out) {
		struct edge *edge = task->first_out;
		struct dag_task *successor = edge->successor;

		unlink_out(edge);
		if (--successor->waiting_for == 0)
			make_ready(dag, successor);
	}
}

/* What a poisoned writer has taken over from others goes back to those that are still there. */
static void restore_awaited(struct dag *dag, const struct dag_task *task)
{
	for (const struct edge *edge = task->incoming; edge; edge = edge->next_incoming) {
		if (edge->awaited)
			ranges_restore(&dag->ranges, edge->awaited->uses);
	}
}

static void poison_successors(struct dag *dag, struct dag_task *task, dag_task_id cause)
{
	while (task->first_out) {
		struct dag_task *successor = task->first_out->successor;

		ranges_forget(&dag->ranges, &successor->uses);
		restore_awaited(dag, successor);
		drop_incoming(dag, successor);
		successor->state = POISONED;
		successor->cause = cause;
		queue_event(dag, successor);
	}
}

/* Breadth first; what is still to be walked is the end of the event queue. */
static void poison_all_behind(struct dag *dag, struct dag_task *task)
{
	dag_task_id cause = id_of(task);
	struct dag_task *last_before = dag->last_event;
	struct dag_task *at;

	poison_successors(dag, task, cause);
	for (at = last_before ? last_before->next : dag->first_event; at; at = at->next)
		poison_successors(dag, at, cause);
}

void dag_finish(struct dag *dag, dag_task_id task, bool ok)
{
	struct dag_task *found = find_task(dag, task);

	assert(found && found->state == RUNNING);
	ranges_forget(&dag->ranges, &found->uses);
	if (ok)
		release_successors(dag, found);
	else
		poison_all_behind(dag, found);
	free_task(dag, found);
}
