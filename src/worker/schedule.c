/*
 * Scheduling: from the graph's events to children and back.
 *
 * Each entry (a submit, a task that is done) takes the lock, changes the graph, places what can be
 * placed, and carries the result out of the lock: tasks to start, tasks to release. Starting may
 * finish a task at once and so enter here again; that is why no lock is held then.
 */
#include <stdlib.h>

#include "worker/core.h"

/* A submit that found the graph full waits until an eighth of it is free: were it woken for each
 * task that ends, it would cost each of them a wake-up. */
#define ROOM_AGAIN (WORKER_MAX_TASKS - WORKER_MAX_TASKS / 8)

/* What one entry leaves to do once the lock is released. */
struct chores {
	struct task_queue start, release;
	bool run_ended;
};

static void append(struct task_queue *queue, struct task *task)
{
	task->next = NULL;
	if (queue->last)
		queue->last->next = task;
	else
		queue->first = task;
	queue->last = task;
}

static struct task *take_first(struct task_queue *queue)
{
	struct task *task = queue->first;

	if (task) {
		queue->first = task->next;
		if (!queue->first)
			queue->last = NULL;
	}
	return task;
}

static bool is_sub(const struct task *task)
{
	return task->exec.callable->kind == SIMPLER_KIND_SUB;
}

static uint32_t *idle_of(struct worker_core *core, simpler_kind kind)
{
	return kind == SIMPLER_KIND_SUB ? &core->idle_subs : &core->idle_next_level;
}

/* --- placement, under the lock --- */

static struct exec_child *least_loaded(struct worker_core *core, simpler_kind kind)
{
	struct exec_child *best = NULL;

	for (uint32_t i = 0; i < core->child_count; i++) {
		struct exec_child *child = core->children[i];

		if (child->runs == kind && child->in_progress < child->capacity &&
		    (!best || child->in_progress < best->in_progress))
			best = child;
	}
	return best;
}

static struct exec_child *choose_child(struct worker_core *core, const struct task *task)
{
	struct exec_child *child;

	if (task->target == SIMPLER_ANY_WORKER)
		return least_loaded(core, task->exec.callable->kind);
	child = core->children[task->target];
	return child->in_progress < child->capacity ? child : NULL;
}

/* Place from one queue in order; a task whose own target is busy lets others pass. */
static void place(struct worker_core *core, struct task_queue *ready, const uint32_t *idle,
                  struct chores *chores)
{
	struct task_queue left = { NULL, NULL };
	struct task *task;

	while (*idle > 0 && (task = take_first(ready)) != NULL) {
		struct exec_child *child = choose_child(core, task);

		if (!child) {
			append(&left, task);
			continue;
		}
		task->child = child;
		child->in_progress++;
		--*idle_of(core, child->runs);
		dag_start(core->graph, task->node);
		append(&chores->start, task);
	}
	if (left.last) { /* those passed over go first again */
		left.last->next = ready->first;
		ready->first = left.first;
		if (!ready->last)
			ready->last = left.last;
	}
}

/* --- ends, under the lock --- */

static void end_task(struct task *task, struct chores *chores)
{
	struct run *run = task->run;

	append(&chores->release, task);
	run->live--;
	if (run->live > 0 || !run->returned)
		return;
	/* Past the unlock the run may be gone: its waiter owns it. */
	atomic_store(&run->finished, true);
	(void)pthread_cond_signal(&run->ended);
	chores->run_ended = true;
}

static void describe(const struct task *task, const char *where, struct error *error)
{
	char digest[17];

	digest_short(&task->exec.callable->digest, digest);
	error_add(error, "task %llu: %s '%s' (%s) on %s", (unsigned long long)task->ordinal,
	          simpler_kind_name(task->exec.callable->kind), task->exec.callable->name, digest,
	          where);
}

/* The run's first failure is the one it returns. */
static void note_failure(struct task *task, const struct error *error)
{
	struct run *run = task->run;

	if (run->failed)
		return;
	run->failed = true;
	run->error = *error;
	describe(task, task->child->name, &run->error);
}

/* In the run of the task that failed this adds nothing. But a task may wait for one of another run,
 * and then its own run fails for that. */
static void note_poison(struct task *task)
{
	struct run *run = task->run;

	if (run->failed)
		return;
	run->failed = true;
	error_init(&run->error, SIMPLER_EPOISONED,
	           "a task of another run, on bytes that this one waits for, failed; run it again");
	describe(task, "no worker: it never ran", &run->error);
}

static void react(struct worker_core *core, struct chores *chores)
{
	struct dag_event event;

	while (dag_next_event(core->graph, &event)) {
		struct task *task = event.payload;

		if (event.kind == DAG_TASK_POISONED) {
			note_poison(task);
			end_task(task, chores);
		} else {
			append(is_sub(task) ? &core->ready_subs : &core->ready_next_level, task);
		}
	}
	place(core, &core->ready_subs, &core->idle_subs, chores);
	place(core, &core->ready_next_level, &core->idle_next_level, chores);
}

/* --- after the lock --- */

static void do_chores(struct worker_core *core, struct chores *chores)
{
	struct task *task;

	if (chores->run_ended && core->progress.wake)
		core->progress.wake(core->progress.context);
	while ((task = take_first(&chores->release)) != NULL)
		free(task);
	while ((task = take_first(&chores->start)) != NULL)
		task->child->ops->start(task->child, &task->exec);
}

/* A child's thread. */
static void task_done(struct exec_task *exec, const struct error *error)
{
	struct task *task = (struct task *)exec;
	struct worker_core *core = task->core;
	struct chores chores = { 0 };

	pthread_mutex_lock(&core->lock);
	if (error)
		note_failure(task, error);
	task->child->in_progress--;
	++*idle_of(core, task->child->runs);
	dag_finish(core->graph, task->node, error == NULL);
	end_task(task, &chores);
	react(core, &chores);
	if (core->waiting_for_room > 0 && dag_live(core->graph) <= ROOM_AGAIN)
		(void)pthread_cond_broadcast(&core->room);
	pthread_mutex_unlock(&core->lock);
	do_chores(core, &chores);
}

/* --- submit --- */

/* Memory of this process that is no shared segment: its addresses are its offsets. */
#define STORE_OF_CALLER UINT64_MAX

static enum dag_access access_of(simpler_tag tag)
{
	if (tag == SIMPLER_OUTPUT_EXISTING)
		return DAG_VOUCHED;
	return tag == SIMPLER_INPUT ? DAG_READ : DAG_WRITE;
}

static size_t list_uses(const struct exec_task *task, struct dag_use *uses)
{
	size_t count = 0;

	for (uint32_t i = 0; i < task->tensor_count; i++) {
		const struct exec_tensor *tensor = &task->tensors[i];
		bool shared = tensor->backing == SIMPLER_SHARED;

		if (tensor->tag == SIMPLER_NO_DEP)
			continue;
		uses[count].store = shared ? tensor->segment : STORE_OF_CALLER;
		uses[count].offset = shared ? tensor->offset : (uintptr_t)tensor->view.data;
		uses[count].nbytes = tensor->nbytes;
		uses[count].access = access_of(tensor->tag);
		count++;
	}
	return count;
}

/* Under the lock, which is given up while the graph is full. */
static simpler_status add_to_graph(struct worker_core *core, struct task *task)
{
	struct dag_use uses[SIMPLER_MAX_TENSORS];
	size_t count = list_uses(&task->exec, uses);
	struct run *run = task->run;

	while (!run->failed && dag_live(core->graph) == dag_capacity(core->graph)) {
		core->waiting_for_room++;
		(void)pthread_cond_wait(&core->room, &core->lock);
		core->waiting_for_room--;
	}
	if (run->failed)
		return error_raise(SIMPLER_EPOISONED,
		                   "the run has failed already and takes no more tasks: %s",
		                   error_step(&run->error, 0));
	return dag_submit(core->graph, task, uses, count, NULL, 0, &task->node);
}

simpler_status schedule_submit(struct task *task, simpler_task *out)
{
	struct worker_core *core = task->core;
	struct chores chores = { 0 };
	simpler_status status;

	pthread_mutex_lock(&core->lock);
	status = add_to_graph(core, task);
	if (status == SIMPLER_OK) {
		task->exec.done = task_done;
		task->exec.id = ++core->next_task;
		task->ordinal = ++task->run->submitted;
		task->run->live++;
		if (out)
			out->id = task->ordinal;
		react(core, &chores);
	}
	pthread_mutex_unlock(&core->lock);
	if (status != SIMPLER_OK)
		free(task);
	do_chores(core, &chores);
	return status;
}

/* --- the end of a run --- */

static void note_returned(struct run *run, const char *name, simpler_status status)
{
	run->returned = true;
	if (status != SIMPLER_OK && !run->failed) {
		run->failed = true;
		if (simpler_last_status() == status)
			error_save(&run->error);
		else
			error_init(&run->error, (int)status > 0 ? status : SIMPLER_EUSER,
			           "'%s' returned %d (%s)", name, (int)status,
			           simpler_status_text(status));
	}
	if (run->live == 0)
		atomic_store(&run->finished, true);
}

simpler_status schedule_wait(struct run *run, const char *name, simpler_status status)
{
	struct worker_core *core = run->core;

	pthread_mutex_lock(&core->lock);
	note_returned(run, name, status);
	pthread_mutex_unlock(&core->lock);
	if (run->announced || (core->progress.attend && !atomic_load(&run->finished)))
		(void)core->progress.attend(core->progress.context, run->announced, &run->finished);
	/* Also when it is finished: whoever finished it lets go of the run with the lock. */
	pthread_mutex_lock(&core->lock);
	while (!atomic_load(&run->finished))
		(void)pthread_cond_wait(&run->ended, &core->lock);
	pthread_mutex_unlock(&core->lock);
	return run->failed ? error_restore(&run->error) : SIMPLER_OK;
}
