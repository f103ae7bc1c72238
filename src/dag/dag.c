/*
 * Tasks, edges and events.
 *
 * An edge belongs to the task that waits and is freed when that task becomes ready or is poisoned;
 * the task waited for has it in a list, from which it is taken out when either side is through. So
 * edges never outlive the waiting task, and a long-running task does not gather dead ones.
 *
 * The queue of events runs through the slots of the tasks. That is enough, as a task has at most
 * one event pending, and its state says which: a task that is cancelled while it is in the queue
 * stays there, and what is told of it in its turn is its poison. A poisoned task's slot is freed
 * only when its event is taken. Ending a task can therefore not fail.
 */
#include "dag/dag.h"

#include <assert.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/slab.h"
#include "dag/ranges.h"
#include "dag/slots.h"
#include "dag/storage.h"

enum state { WAITING, READY_QUEUED, READY, RUNNING, POISONED };

struct edge {
	struct dag_task *successor; /* the owner */
	struct edge *next_incoming; /* in the owner's list */
	/* In the list of the task waited for, which is NULL once that one is done. */
	struct dag_task *awaited;
	struct edge *before, *after;
};

struct dag_task {
	struct slot slot; /* first, so that one is the other; in dag->events */
	void *payload;
	enum state state;
	uint32_t waiting_for;              /* edges whose `awaited` is not done */
	struct edge *incoming;             /* owned */
	struct edge *first_out, *last_out; /* oldest first */
	struct ranges_use *uses;
	struct storage_hold *holds;
	dag_task_id cause;       /* when POISONED */
	uint64_t seen_in_submit; /* the submit that last found this task, to find it once */
};

struct dag {
	struct slots tasks;
	uint32_t capacity;
	struct slot_queue events; /* of tasks, which are READY_QUEUED or POISONED */
	struct ranges ranges;
	struct storages storages;
	struct slab edges;
	uint64_t submits;
	/* What the submit under way depends on; kept for its memory. */
	struct dag_task **found;
	size_t found_count, found_room;
};

struct dag *dag_create(const struct dag_options *options)
{
	struct dag *dag;

	assert(options->max_tasks > 0);
	dag = calloc(1, sizeof(*dag));
	if (!dag)
		return NULL;
	dag->capacity = options->max_tasks;
	slots_init(&dag->tasks, sizeof(struct dag_task));
	storages_init(&dag->storages);
	slab_init(&dag->edges, sizeof(struct edge));
	if (!ranges_init(&dag->ranges)) {
		free(dag);
		return NULL;
	}
	return dag;
}

void dag_destroy(struct dag *dag)
{
	if (!dag)
		return;
	slots_release(&dag->tasks);
	free(dag->found);
	ranges_release(&dag->ranges);
	storages_release(&dag->storages);
	slab_release(&dag->edges);
	free(dag);
}

uint32_t dag_live(const struct dag *dag)
{
	return dag->tasks.live;
}

uint32_t dag_capacity(const struct dag *dag)
{
	return dag->capacity;
}

static dag_task_id id_of(const struct dag_task *task)
{
	return slot_id(&task->slot);
}

/* NULL for an id that is gone or never was, and for what is poisoned. */
static struct dag_task *find_task(const struct dag *dag, dag_task_id id)
{
	struct dag_task *task = slots_find(&dag->tasks, id);

	return task && task->state != POISONED ? task : NULL;
}

void *dag_payload(const struct dag *dag, dag_task_id task)
{
	const struct dag_task *found = find_task(dag, task);

	return found ? found->payload : NULL;
}

/* A free task has no edges, uses or holds left, and all else is set when it begins to matter; so
 * there is no need to clear it. */
static struct dag_task *take_task(struct dag *dag, void *payload)
{
	struct dag_task *task = slots_take(&dag->tasks);

	assert(!task->waiting_for && !task->incoming && !task->first_out && !task->uses &&
	       !task->holds);
	task->payload = payload;
	task->state = WAITING;
	return task;
}

static void free_task(struct dag *dag, struct dag_task *task)
{
	storages_let_go(&dag->storages, &task->holds);
	slots_give(&dag->tasks, &task->slot);
}

static bool next_unused(struct dag *dag, struct dag_event *out)
{
	*out = (struct dag_event){ .kind = DAG_STORAGE_UNUSED };
	return storages_next_unused(&dag->storages, &out->storage, &out->payload);
}

bool dag_next_event(struct dag *dag, struct dag_event *out)
{
	struct dag_task *task = (struct dag_task *)slot_queue_take(&dag->events);

	if (!task)
		return next_unused(dag, out);
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
static bool find_awaited(struct dag *dag, const struct dag_submission *submission)
{
	dag->submits++;
	dag->found_count = 0;
	for (size_t i = 0; i < submission->use_count; i++) {
		if (!ranges_conflicts(&dag->ranges, &submission->uses[i], add_found, dag))
			return false;
	}
	for (size_t i = 0; i < submission->after_count; i++) {
		struct dag_task *task = find_task(dag, submission->after[i]);

		if (task && !add_found(dag, task))
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
	slot_queue_put(&dag->events, &task->slot);
}

static simpler_status check_use(const struct dag_use *use, size_t index)
{
	uint64_t end;

	if (!checked_add(use->offset, use->nbytes, &end))
		return error_raise(
			SIMPLER_EINVAL, "use %zu: offset %llu and %llu bytes wrap around", index,
			(unsigned long long)use->offset, (unsigned long long)use->nbytes);
	if (use->pitch == 0)
		return SIMPLER_OK;
	if (use->width == 0 || use->width > use->pitch || use->nbytes < use->width ||
	    (use->nbytes - use->width) % use->pitch != 0)
		return error_raise(
			SIMPLER_EINVAL,
			"use %zu: %llu bytes are no rows of %llu bytes at a pitch of "
			"%llu; the width is 1 to the pitch, and the last row ends the use",
			index, (unsigned long long)use->nbytes, (unsigned long long)use->width,
			(unsigned long long)use->pitch);
	return SIMPLER_OK;
}

static simpler_status check_submit(const struct dag *dag, const struct dag_submission *submission)
{
	simpler_status status;

	for (size_t i = 0; i < submission->use_count; i++) {
		status = check_use(&submission->uses[i], i);
		if (status != SIMPLER_OK)
			return status;
	}
	status = storages_check(&dag->storages, submission->holds, submission->hold_count);
	if (status != SIMPLER_OK)
		return status;
	if (dag_live(dag) == dag->capacity)
		return error_raise(SIMPLER_ENOSPACE,
		                   "%u tasks are in flight, the limit (max_tasks); wait for some "
		                   "or raise it",
		                   dag->capacity);
	return SIMPLER_OK;
}

/* Have memory for all that the submit will add, dag->found included. */
static bool reserve(struct dag *dag, const struct dag_submission *submission)
{
	return slots_reserve(&dag->tasks) && ranges_reserve(&dag->ranges, submission->use_count) &&
	       storages_reserve(&dag->storages, submission->hold_count) &&
	       slab_reserve(&dag->edges, dag->edges.taken + dag->found_count);
}

simpler_status dag_submit(struct dag *dag, const struct dag_submission *submission,
                          dag_task_id *out)
{
	simpler_status status = check_submit(dag, submission);
	struct dag_task *task;

	if (status != SIMPLER_OK)
		return status;
	/* Nothing below the reservations fails, and nothing above them changes the graph. */
	if (!find_awaited(dag, submission) || !reserve(dag, submission))
		return error_raise(SIMPLER_ENOMEM, "out of memory for a task of the graph");
	task = take_task(dag, submission->payload);
	for (size_t i = 0; i < submission->use_count; i++)
		ranges_record(&dag->ranges, &submission->uses[i], task, &task->uses);
	storages_hold(&dag->storages, submission->holds, submission->hold_count, &task->holds);
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

/* The task leaves the graph; its event is put into the queue, if it is not there already. */
static void poison(struct dag *dag, struct dag_task *task, dag_task_id cause)
{
	bool queued = task->state == READY_QUEUED;

	ranges_forget(&dag->ranges, &task->uses);
	restore_awaited(dag, task);
	drop_incoming(dag, task);
	task->state = POISONED;
	task->cause = cause;
	if (!queued)
		slot_queue_put(&dag->events, &task->slot);
}

static void poison_successors(struct dag *dag, struct dag_task *task, dag_task_id cause)
{
	while (task->first_out)
		poison(dag, task->first_out->successor, cause);
}

/* Breadth first; what is still to be walked is the end of the event queue. */
static void poison_all_behind(struct dag *dag, struct dag_task *task)
{
	dag_task_id cause = id_of(task);
	struct slot *last_before = dag->events.last;
	struct slot *at;

	poison_successors(dag, task, cause);
	for (at = last_before ? last_before->next : dag->events.first; at; at = at->next)
		poison_successors(dag, (struct dag_task *)at, cause);
}

simpler_status dag_cancel(struct dag *dag, dag_task_id task)
{
	struct dag_task *found = find_task(dag, task);

	if (!found)
		return error_raise(SIMPLER_ENOTFOUND,
		                   "task %llu of the graph has ended or failed already; there is "
		                   "nothing to cancel",
		                   (unsigned long long)task);
	if (found->state == RUNNING)
		return error_raise(SIMPLER_ESTATE,
		                   "task %llu of the graph runs; stop it where it runs",
		                   (unsigned long long)task);
	poison(dag, found, task);
	poison_all_behind(dag, found);
	return SIMPLER_OK;
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

simpler_status dag_scope_open(struct dag *dag, dag_scope_id *out)
{
	return storages_open_scope(&dag->storages, out);
}

simpler_status dag_scope_close(struct dag *dag, dag_scope_id scope)
{
	return storages_close_scope(&dag->storages, scope);
}

simpler_status dag_storage_add(struct dag *dag, dag_scope_id scope, void *payload,
                               dag_storage_id *out)
{
	return storages_add(&dag->storages, scope, payload, out);
}

simpler_status dag_storage_release(struct dag *dag, dag_storage_id storage)
{
	return storages_end(&dag->storages, storage);
}
