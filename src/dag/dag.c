/*
 * Tasks, edges and events.
 *
 * An edge belongs to the task that is waited for, and goes when that task is resolved: when it has
 * ended, or is poisoned and all that it waited for is resolved. A poisoned task thus keeps its
 * place between those before and those behind it, whatever domain they are of.
 *
 * The queue of events runs through the slots of the tasks. That is enough, as a task has at most
 * one event pending, and its state says which: a task that is cancelled while it is in the queue
 * stays there, and what is told of it in its turn is its poison. A poisoned task's slot is freed
 * only when its event is taken. Ending a task can therefore not fail.
 *
 * Whatever a call has to walk it keeps in a work list, which runs through the tasks as well: so
 * nothing recurses, however long a chain is, and nothing is allocated.
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

/*
 * What becomes of a task that will not run:
 *
 *   POISONED --its event is taken--> TOLD --all it waited for is resolved--> (gone)
 *      `--all it waited for is resolved--> RESOLVED --its event is taken--> (gone)
 */
enum state { WAITING, READY_QUEUED, READY, RUNNING, POISONED, TOLD, RESOLVED };

struct edge {
	struct dag_task *successor;
	struct edge *next;
};

struct dag_task {
	struct slot slot; /* first, so that one is the other; in dag->events */
	void *payload;
	uint64_t domain;
	enum state state;
	uint32_t waiting_for;              /* edges that lead here */
	struct edge *first_out, *last_out; /* owned; oldest first */
	struct ranges_use *uses;
	struct storage_hold *holds;
	dag_task_id cause;          /* when it is poisoned */
	uint64_t walk;              /* dag->walk when poison last came by */
	struct dag_task *next_work; /* in a work list; the last one's is itself, NULL is in none */
};

/* First in, first out. A task is in one at most, and in none between calls. */
struct work {
	struct dag_task *first, *last;
};

struct dag {
	struct slots tasks;
	uint32_t capacity;
	struct slot_queue events; /* of tasks, which are READY_QUEUED, POISONED or RESOLVED */
	struct ranges ranges;
	struct storages storages;
	struct slab edges;
	/* Those that the submit under way waits for. */
	struct work found;
	size_t found_count;
	/*
	 * Tasks marked with this number have nothing behind them in the domain that is not
	 * poisoned. Another number voids all marks.
	 */
	uint64_t walk;
	uint64_t walk_domain;
};

struct dag *dag_create(const struct dag_options *options)
{
	struct dag *dag;

	assert(options->max_tasks > 0);
	dag = calloc(1, sizeof(*dag));
	if (!dag)
		return NULL;
	dag->capacity = options->max_tasks;
	dag->walk = 1;
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

static bool is_poisoned(const struct dag_task *task)
{
	return task->state >= POISONED;
}

/* NULL for an id that is gone or never was, and for what is poisoned. */
static struct dag_task *find_task(const struct dag *dag, dag_task_id id)
{
	struct dag_task *task = slots_find(&dag->tasks, id);

	return task && !is_poisoned(task) ? task : NULL;
}

static void work_put(struct work *work, struct dag_task *task)
{
	assert(!task->next_work);
	task->next_work = task;
	if (work->first)
		work->last->next_work = task;
	else
		work->first = task;
	work->last = task;
}

/* The first, or NULL. */
static struct dag_task *work_take(struct work *work)
{
	struct dag_task *task = work->first;

	if (!task)
		return NULL;
	work->first = task->next_work == task ? NULL : task->next_work;
	task->next_work = NULL;
	return task;
}

void *dag_payload(const struct dag *dag, dag_task_id task)
{
	const struct dag_task *found = find_task(dag, task);

	return found ? found->payload : NULL;
}

/* A free task has no edges, uses or holds left, and all else is set when it begins to matter; so
 * there is no need to clear it. */
static struct dag_task *take_task(struct dag *dag, const struct dag_submission *submission)
{
	struct dag_task *task = slots_take(&dag->tasks);

	assert(!task->waiting_for && !task->first_out && !task->uses && !task->holds &&
	       !task->next_work);
	task->payload = submission->payload;
	task->domain = submission->domain;
	task->state = WAITING;
	task->walk = 0;
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

/* Its owner lets go of a poisoned task; it has its place still unless it is resolved. */
static void end_poisoned(struct dag *dag, struct dag_task *task)
{
	if (task->state == RESOLVED) {
		free_task(dag, task);
		return;
	}
	storages_let_go(&dag->storages, &task->holds);
	task->state = TOLD;
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
		end_poisoned(dag, task);
	}
	return true;
}

/* A ranges_visit: note that the submit under way waits for `task`. */
static void add_found(void *context, struct dag_task *task)
{
	struct dag *dag = context;

	if (task->next_work)
		return;
	work_put(&dag->found, task);
	dag->found_count++;
}

/* Fill dag->found. */
static void find_awaited(struct dag *dag, const struct dag_submission *submission)
{
	dag->found_count = 0;
	for (size_t i = 0; i < submission->use_count; i++)
		ranges_conflicts(&dag->ranges, &submission->uses[i], add_found, dag);
	for (size_t i = 0; i < submission->after_count; i++) {
		struct dag_task *task = slots_find(&dag->tasks, submission->after[i]);

		if (task && task->state != RESOLVED)
			add_found(dag, task);
	}
}

static void add_edge(struct dag *dag, struct dag_task *awaited, struct dag_task *successor)
{
	struct edge *edge = slab_take(&dag->edges);

	*edge = (struct edge){ .successor = successor };
	successor->waiting_for++;
	if (awaited->last_out)
		awaited->last_out->next = edge;
	else
		awaited->first_out = edge;
	awaited->last_out = edge;
}

/* Empties dag->found. A task behind one that is marked makes the mark untrue. */
static void add_edges(struct dag *dag, struct dag_task *successor)
{
	struct dag_task *awaited;
	bool marked = false;

	while ((awaited = work_take(&dag->found))) {
		add_edge(dag, awaited, successor);
		marked = marked || awaited->walk == dag->walk;
	}
	dag->walk += marked;
}

static void make_ready(struct dag *dag, struct dag_task *task)
{
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

/* Have memory for all that the submit will add, edges from dag->found included. */
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
	find_awaited(dag, submission);
	if (!reserve(dag, submission)) {
		while (work_take(&dag->found)) {
		}
		return error_raise(SIMPLER_ENOMEM, "out of memory for a task of the graph");
	}
	task = take_task(dag, submission);
	for (size_t i = 0; i < submission->use_count; i++)
		ranges_record(&dag->ranges, &submission->uses[i], task, &task->uses);
	storages_hold(&dag->storages, submission->holds, submission->hold_count, &task->holds);
	add_edges(dag, task);
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

/* All that waited for `task` wait one less. Those that waited for nothing else become ready, or if
 * they are poisoned, are to be resolved in their turn. */
static void release_successors(struct dag *dag, struct dag_task *task, struct work *resolved)
{
	struct edge *edge = task->first_out;

	task->first_out = task->last_out = NULL;
	while (edge) {
		struct dag_task *successor = edge->successor;
		struct edge *next = edge->next;

		slab_give(&dag->edges, edge);
		edge = next;
		if (--successor->waiting_for > 0)
			continue;
		if (successor->state == WAITING)
			make_ready(dag, successor);
		else
			work_put(resolved, successor);
	}
}

/* A task that has ended, or is poisoned and waits for nothing, leaves its place, and so do all
 * poisoned ones that waited for nothing else. */
static void resolve(struct dag *dag, struct dag_task *task)
{
	struct work resolved = { NULL, NULL };

	work_put(&resolved, task);
	while ((task = work_take(&resolved))) {
		ranges_forget(&dag->ranges, &task->uses);
		release_successors(dag, task, &resolved);
		if (task->state == POISONED)
			task->state = RESOLVED;
		else
			free_task(dag, task);
	}
}

/* It will not run; its event is put into the queue, if it is not there already. */
static void poison(struct dag *dag, struct dag_task *task, dag_task_id cause)
{
	bool queued = task->state == READY_QUEUED;

	task->state = POISONED;
	task->cause = cause;
	if (!queued)
		slot_queue_put(&dag->events, &task->slot);
}

/* Poison comes along an edge. */
static void reach(struct dag *dag, struct dag_task *task, dag_task_id cause, struct work *reached)
{
	if (task->walk == dag->walk)
		return;
	task->walk = dag->walk;
	if (task->domain == dag->walk_domain && !is_poisoned(task))
		poison(dag, task, cause);
	work_put(reached, task);
}

/*
 * Breadth first, and on through the tasks of other domains and those that were poisoned before: who
 * waits for one of these waits for all that it waits for, and may have no other edge that says so.
 * The marks keep many failures before the same tasks from walking these again and again.
 */
static void poison_all_behind(struct dag *dag, struct dag_task *task)
{
	dag_task_id cause = id_of(task);
	struct work reached = { NULL, NULL };

	if (dag->walk_domain != task->domain) {
		dag->walk_domain = task->domain;
		dag->walk++;
	}
	work_put(&reached, task);
	while ((task = work_take(&reached))) {
		for (struct edge *edge = task->first_out; edge; edge = edge->next)
			reach(dag, edge->successor, cause, &reached);
	}
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
	if (found->waiting_for == 0)
		resolve(dag, found);
	return SIMPLER_OK;
}

void dag_finish(struct dag *dag, dag_task_id task, bool ok)
{
	struct dag_task *found = find_task(dag, task);

	assert(found && found->state == RUNNING);
	if (!ok)
		poison_all_behind(dag, found);
	resolve(dag, found);
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
