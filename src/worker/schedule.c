#include "worker/schedule.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/condition.h"

/* A submit that found the graph full goes on when an eighth of it is free, or SLOT_WAIT_MS after
 * there was a free slot, whichever comes first: were it woken for each task that ends, it would
 * cost each of them a wake-up. */
#define SLOT_WAIT_MS 1

static uint32_t room_again(const struct dag *graph)
{
	return dag_capacity(graph) - (dag_capacity(graph) + 7) / 8;
}

void schedule_note_room(struct worker_core *core)
{
	core->room_made++;
	(void)pthread_cond_broadcast(&core->room);
}

static void on_slot_timer(struct timer *timer, struct chores *chores)
{
	(void)chores;
	schedule_note_room(
		(struct worker_core *)(void *)((char *)timer -
	                                       offsetof(struct worker_core, slot_timer)));
}

static bool tell_of_slots_later(struct worker_core *core)
{
	core->slot_timer.due = on_slot_timer;
	return core->slot_timer.position != 0 ||
	       deadlines_set(core, &core->slot_timer, clock_after_ms(SLOT_WAIT_MS)) == SIMPLER_OK;
}

/* With no task left all that wait are told, as there may be no hope for them. */
static void tell_of_slots(struct worker_core *core)
{
	uint32_t live = dag_live(core->graph);

	if (live > 0 && (core->waiting_for_slot == 0 || live == dag_capacity(core->graph)))
		return;
	if (live > room_again(core->graph) && tell_of_slots_later(core))
		return;
	timers_cancel(&core->timers, &core->slot_timer);
	schedule_note_room(core);
}

/* --- what becomes of a task, under the lock --- */

#define PART_BYTES 40

static void name_part(const struct member *member, char part[PART_BYTES])
{
	const struct task *task = member->task;

	part[0] = '\0';
	if (task->member_count > 1)
		(void)snprintf(part, PART_BYTES, ", member %u of %u",
		               (unsigned)(member - task->members), task->member_count);
}

static void describe(const struct task *task, const struct member *member, const char *where,
                     struct error *error)
{
	const struct exec_callable *callable = task->members[0].exec.callable;
	char digest[17], part[PART_BYTES], tried[48] = "";

	digest_short(&callable->digest, digest);
	name_part(member, part);
	if (task->refusals + task->losses > 0)
		(void)snprintf(tried, sizeof(tried), ", after %u attempts",
		               task->refusals + task->losses);
	error_add(error, "task %llu%s: %s '%s' (%s) on %s%s", (unsigned long long)task->ordinal,
	          part, simpler_kind_name(callable->kind), callable->name, digest, where, tried);
}

static const char *where_is(const struct member *member)
{
	return member->task->state == TASK_STARTED ? member->child->name
	                                           : "no worker: it had not begun";
}

static void note_failure(struct member *member, const struct error *error)
{
	struct run *run = member->task->run;
	struct error told;

	if (run->failed)
		return;
	told = *error;
	describe(member->task, member, where_is(member), &told);
	run_fail(run, &told);
}

/* `error` is what its end was, NULL when there was none or it succeeded all the same. */
static void note_stopped(struct member *member, const struct error *error)
{
	const struct task *task = member->task;
	const char *more = error && error->status == SIMPLER_ECRASHED
	                           ? "; it went on when it was told to stop, and was killed"
	                           : "";
	struct error told;

	if (task->run->failed)
		return;
	if (task->stopped == SIMPLER_EDEADLINE)
		error_init(&told, SIMPLER_EDEADLINE,
		           "the task did not end within the %llu ms that it had%s",
		           (unsigned long long)task->timeout_ms, more);
	else
		error_init(&told, SIMPLER_ECANCELLED, "the task was cancelled%s", more);
	note_failure(member, &told);
}

/* The buffers that a task which failed may have left half-written, in the error of its run, also
 * when that has failed by something else before. A run that is stopped may have many. */
static void note_unfetched(struct member *member)
{
	const struct exec_task *exec = &member->exec;
	struct run *run = member->task->run;
	char part[PART_BYTES], numbers[4 * SIMPLER_MAX_TENSORS + 1] = "";
	unsigned outputs = 0, written = 0;
	size_t at = 0;

	if (!exec->unfetched || run->unfetched++ >= RUN_UNFETCHED_TOLD)
		return;
	for (uint32_t i = 0; i < exec->tensor_count; i++) {
		outputs += !exec->tensors[i].storage && exec_tag_writes(exec->tensors[i].tag);
		if (!(exec->half_written >> i & 1))
			continue;
		at += (size_t)snprintf(numbers + at, sizeof(numbers) - at, "%s%u",
		                       written > 0 ? ", " : "", i);
		written++;
	}
	name_part(member, part);
	error_add(&run->error,
	          "task %llu%s has ended, and its results were not all fetched: %u of %u output "
	          "buffers may be half-written%s%s",
	          (unsigned long long)member->task->ordinal, part, written, outputs,
	          written > 1    ? ": tensors "
	          : written == 1 ? ": tensor "
	                         : "",
	          numbers);
}

static void drop_reference(struct task *task, struct chores *chores)
{
	if (--task->references == 0)
		task_queue_append(&chores->release, task);
}

/* What it holds on nodes, as far as nothing follows from that: so a program that frees a tensor
 * when a run has returned is the last to do so. The rest goes with the task. */
static void let_go_of_storage(struct task *task)
{
	for (uint32_t i = 0; i < task->member_count; i++) {
		const struct exec_task *exec = &task->members[i].exec;

		for (uint32_t j = 0; j < exec->tensor_count; j++) {
			/* The task's own memory, const for children. */
			struct exec_tensor *tensor = (struct exec_tensor *)&exec->tensors[j];

			if (tensor->storage && exec_storage_drop_unless_last(tensor->storage))
				tensor->storage = NULL;
		}
	}
}

void schedule_discard(struct task *task)
{
	for (uint32_t i = 0; task->has_storage && i < task->member_count; i++) {
		const struct exec_task *exec = &task->members[i].exec;

		for (uint32_t j = 0; j < exec->tensor_count; j++) {
			if (exec->tensors[j].storage)
				exec_storage_drop(exec->tensors[j].storage);
		}
	}
	free(task);
}

static void end_task(struct task *task, struct chores *chores)
{
	struct run *run = task->run;

	if (task->has_storage)
		let_go_of_storage(task);
	if (task->next_of_run)
		task->next_of_run->before_of_run = task->before_of_run;
	if (task->before_of_run)
		task->before_of_run->next_of_run = task->next_of_run;
	else
		run->tasks = task->next_of_run;
	timers_cancel(&run->core->timers, &task->timer);
	drop_reference(task, chores);
	run_note_progress(run, chores);
}

/* The graph has started it. */
static void finish_task(struct task *task, struct chores *chores)
{
	dag_finish(task->run->core->graph, task->node, !task->failed && !task->stopped);
	end_task(task, chores);
}

void schedule_fail(struct task *task, struct chores *chores)
{
	struct error error;

	error_save(&error);
	note_failure(&task->members[0], &error);
	task->failed = true;
	finish_task(task, chores);
}

/* It may begin. */
static void make_ready(struct task *task, struct chores *chores)
{
	if (place_check_hope(task) == SIMPLER_OK)
		place_ready(task);
	else
		schedule_fail(task, chores);
}

/* --- once more --- */

/* A task that was refused, as its node drains, is full, or has lost its engine, rests for these
 * times, doubled each time up to the longest: eight seconds in all. */
#define FIRST_REST_MS   10u
#define LONGEST_REST_MS 500u
#define MOST_REFUSALS   20u
#define MOST_LOSSES     3u

static void on_rested(struct timer *timer, struct chores *chores)
{
	struct task *task = (struct task *)(void *)((char *)timer - offsetof(struct task, again));

	make_ready(task, chores);
}

static uint64_t rest_ms(const struct task *task)
{
	uint32_t times = task->refusals + task->losses - 1;
	uint64_t rest = times < 10 ? (uint64_t)FIRST_REST_MS << times : LONGEST_REST_MS;

	return rest < LONGEST_REST_MS ? rest : LONGEST_REST_MS;
}

/* What has begun on a node runs again elsewhere only if it may, and of a group nothing does. */
static bool may_run_again(const struct task *task, const struct member *member)
{
	const struct exec_task *exec = &member->exec;
	bool refused = exec->fate == EXEC_NOT_RUN && task->refusals < MOST_REFUSALS;
	bool lost =
		exec->fate == EXEC_LOST && exec->callable->idempotent && task->losses < MOST_LOSSES;
	bool stuck = member->target != SIMPLER_ANY_WORKER && member->child->away;

	return (refused || lost) && !stuck && task->member_count == 1 && !task->stopped;
}

/* A node knows its old id, and would answer with what became of it. */
static bool rest(struct task *task, struct member *member)
{
	struct worker_core *core = task->run->core;

	if (!may_run_again(task, member))
		return false;
	task->refusals += member->exec.fate == EXEC_NOT_RUN;
	task->losses += member->exec.fate == EXEC_LOST;
	task->again.due = on_rested;
	if (deadlines_set(core, &task->again, clock_after_ms(rest_ms(task))) != SIMPLER_OK)
		return false;
	task->state = TASK_RESTING;
	member->exec.fate = EXEC_ENDED;
	member->exec.id = ++core->next_task;
	return true;
}

/* --- stops --- */

static void want_stop(struct task *task, struct chores *chores)
{
	task->references++;
	task->next_chore = chores->stop;
	chores->stop = task;
}

void schedule_stop(struct task *task, simpler_status why, struct chores *chores)
{
	struct worker_core *core = task->run->core;

	if (task->stopped)
		return;
	task->stopped = why;
	switch (task->state) {
	case TASK_WAITING:
		note_stopped(&task->members[0], NULL);
		(void)dag_cancel(core->graph, task->node);
		break;
	case TASK_READY:
		note_stopped(&task->members[0], NULL);
		place_forget(task);
		finish_task(task, chores);
		break;
	case TASK_RESTING:
		note_stopped(&task->members[0], NULL);
		timers_cancel(&core->timers, &task->again);
		finish_task(task, chores);
		break;
	case TASK_STARTED:
		/* When a member has failed, the thread that heard of it has the task among its
		 * chores; it can be in one list of them. */
		if (!task->failed)
			want_stop(task, chores);
		break;
	}
}

static void note_unused(struct worker_core *core, void *data, struct chores *chores)
{
	if (chores->unused_count < CHORES_UNUSED) {
		chores->unused[chores->unused_count++] = data;
		core->being_freed++;
		return;
	}
	(void)heap_free(core->heap, data);
	schedule_note_room(core);
}

void schedule_react(struct worker_core *core, struct chores *chores)
{
	struct dag_event event;

	while (dag_next_event(core->graph, &event)) {
		switch (event.kind) {
		case DAG_TASK_READY:
			dag_start(core->graph, event.task);
			make_ready(event.payload, chores);
			break;
		case DAG_TASK_POISONED:
			/* Its run has failed by what poisoned it, or by its being stopped. */
			end_task(event.payload, chores);
			break;
		case DAG_STORAGE_UNUSED:
			note_unused(core, event.payload, chores);
			break;
		}
	}
	place_all(core, SIMPLER_KIND_SUB, chores);
	place_all(core, SIMPLER_KIND_ORCH, chores);
	place_all(core, SIMPLER_KIND_CHIP, chores);
	if (core->waiting_for_room > 0)
		tell_of_slots(core);
}

/* --- ends --- */

/* Under the lock. */
static void end_member(struct member *member, const struct error *error, struct chores *chores)
{
	struct task *task = member->task;

	place_count(task->run->core, member, -1);
	if (error && rest(task, member))
		return;
	if (task->stopped) {
		note_stopped(member, error);
	} else if (error && !task->failed) {
		note_failure(member, error);
		task->failed = true;
		if (task->members_left > 1)
			want_stop(task, chores);
	}
	if (error)
		note_unfetched(member);
	if (--task->members_left == 0)
		finish_task(task, chores);
}

/* A child's thread, or one that took the task back. */
static void task_done(struct exec_task *exec, const struct error *error)
{
	struct member *member = (struct member *)exec;
	struct worker_core *core = member->task->run->core;
	struct chores chores = { 0 };

	pthread_mutex_lock(&core->lock);
	end_member(member, error, &chores);
	schedule_react(core, &chores);
	pthread_mutex_unlock(&core->lock);
	schedule_do(core, &chores);
}

/* --- after the lock --- */

static void free_unused(struct worker_core *core, const struct chores *chores)
{
	for (size_t i = 0; i < chores->unused_count; i++)
		(void)heap_free(core->heap, chores->unused[i]);
	pthread_mutex_lock(&core->lock);
	core->being_freed -= (uint32_t)chores->unused_count;
	schedule_note_room(core);
	pthread_mutex_unlock(&core->lock);
}

static void start_members(struct task *task)
{
	/* Past the start of the last one the task may be gone. */
	for (uint32_t i = 0, count = task->member_count; i < count; i++) {
		struct member *member = &task->members[i];

		member->child->ops->start(member->child, &member->exec);
	}
}

/* A worker below needs time for its own grace period, and one above that for both. */
static int64_t kill_time(const struct worker_core *core, simpler_kind kind)
{
	uint64_t levels = kind == SIMPLER_KIND_ORCH ? core->level - 1 : 1;

	return core->grace_ms < UINT64_MAX / levels ? clock_after_ms(core->grace_ms * levels)
	                                            : CLOCK_NEVER;
}

/* Under the lock: a member that a child gave back. */
static void end_retracted(struct member *member, struct chores *next)
{
	end_member(member, NULL, next);
	schedule_react(member->task->run->core, next);
}

/* The chores' reference keeps the task's memory; members may end meanwhile. */
static void stop_members(struct worker_core *core, struct task *task, struct chores *next)
{
	int64_t at = kill_time(core, task->kind);

	for (uint32_t i = 0; i < task->member_count; i++) {
		struct member *member = &task->members[i];
		const struct exec_child_ops *ops = member->child->ops;

		atomic_store(&member->exec.stop_at, at);
		if (!ops->retract(member->child, member->exec.id)) {
			ops->stop(member->child, member->exec.id, at);
			continue;
		}
		pthread_mutex_lock(&core->lock);
		end_retracted(member, next);
		pthread_mutex_unlock(&core->lock);
	}
}

static void stop_tasks(struct worker_core *core, struct task *task, struct chores *next)
{
	while (task) {
		struct task *behind = task->next_chore;

		stop_members(core, task, next);
		pthread_mutex_lock(&core->lock);
		drop_reference(task, next);
		pthread_mutex_unlock(&core->lock);
		task = behind;
	}
}

/* A task that waits in `child` or, if it turns out that none does which it may give up, in another
 * one of its kind. */
static struct exec_task *take_back(struct worker_core *core, struct exec_child *child)
{
	struct exec_task *task = child->ops->retract(child, 0);
	simpler_kind kind = child->runs;
	uint32_t at = 0;

	while (!task) {
		pthread_mutex_lock(&core->lock);
		child = place_next_overfull(core, kind, &at);
		pthread_mutex_unlock(&core->lock);
		if (!child)
			break;
		task = child->ops->retract(child, 0);
	}
	return task;
}

/* Have a task that waits in a child go elsewhere. If it comes back to that child, then because no
 * other takes it, and to try again would not end. */
static void relieve(struct worker_core *core, struct exec_child *child, struct chores *next)
{
	struct exec_task *exec = take_back(core, child);
	struct task *task;

	if (!exec)
		return;
	task = ((struct member *)exec)->task;
	pthread_mutex_lock(&core->lock);
	if (task->stopped) {
		end_retracted(&task->members[0], next);
	} else {
		place_count(core, &task->members[0], -1);
		task->state = TASK_READY;
		task_queue_prepend(&core->crews[task->kind].any, task);
		place_all(core, task->kind, next);
	}
	next->relieve[child->runs] = NULL;
	pthread_mutex_unlock(&core->lock);
}

static struct task *take_first(struct task_queue *queue)
{
	struct task *task = queue->first;

	if (task)
		task_queue_remove(queue, task);
	return task;
}

/* What this thread is starting. */
static _Thread_local struct task_queue *starting;

/* A child may end a task within its start, which starts the next one. That one is left to the loop
 * that is at it: as calls within calls they would go as deep as tasks wait. */
static void start_all(struct task_queue *tasks)
{
	struct task *task;

	if (starting) {
		while ((task = take_first(tasks)) != NULL)
			task_queue_append(starting, task);
		return;
	}
	starting = tasks;
	while ((task = take_first(tasks)) != NULL)
		start_members(task);
	starting = NULL;
}

static void do_simple(struct worker_core *core, struct chores *chores)
{
	struct task *task;

	if (chores->run_ended && core->progress.wake)
		core->progress.wake(core->progress.context);
	while ((task = take_first(&chores->release)) != NULL) {
		callables_release(core->callables, task->members[0].exec.callable);
		schedule_discard(task);
	}
	start_all(&chores->start);
	if (chores->unused_count > 0)
		free_unused(core, chores);
}

static bool is_more_to_do(const struct chores *chores)
{
	bool more = chores->stop != NULL;

	for (unsigned kind = 0; kind < CORE_KINDS && !more; kind++)
		more = chores->relieve[kind] != NULL;
	return more;
}

void schedule_do(struct worker_core *core, struct chores *chores)
{
	do_simple(core, chores);
	while (is_more_to_do(chores)) {
		struct chores next = { 0 };

		stop_tasks(core, chores->stop, &next);
		for (unsigned kind = 0; kind < CORE_KINDS; kind++) {
			if (chores->relieve[kind])
				relieve(core, chores->relieve[kind], &next);
		}
		do_simple(core, &next);
		*chores = next;
	}
}

/* --- submit --- */

static void on_deadline(struct timer *timer, struct chores *chores)
{
	struct task *task = (struct task *)(void *)((char *)timer - offsetof(struct task, timer));

	schedule_stop(task, SIMPLER_EDEADLINE, chores);
}

/* Nobody can make room when no task is left and all runs wait for it. */
static bool is_hopeless(const struct worker_core *core)
{
	return dag_live(core->graph) == 0 && core->being_freed == 0 &&
	       core->runs_waiting >= core->executing_runs;
}

/* A run whose function waits for another run inside it waits for what that one does. One of another
 * worker is under another lock, and holds nothing here. */
static void count_waiter(struct run *run, int change)
{
	struct worker_core *core = run->core;

	core->waiting_for_room += (uint32_t)change;
	for (struct run *each = run; each; each = each->outer) {
		if (each->core != core)
			continue;
		core->runs_waiting -= each->waiting_for_room > 0;
		each->waiting_for_room += (uint32_t)change;
		core->runs_waiting += each->waiting_for_room > 0;
	}
}

bool schedule_wait_for_room(struct run *run, uint64_t seen, int64_t give_up)
{
	struct worker_core *core = run->core;
	bool in_time = true;

	count_waiter(run, 1);
	/* Those that wait already may be without hope now, too. */
	if (is_hopeless(core))
		(void)pthread_cond_broadcast(&core->room);
	while (in_time && seen == core->room_made && !is_hopeless(core))
		in_time = condition_wait(&core->room, &core->lock, give_up);
	count_waiter(run, -1);
	return seen != core->room_made;
}

/* Under the lock, which is given up while the graph is full. */
static simpler_status wait_for_slot(struct run *run, int64_t give_up)
{
	struct worker_core *core = run->core;
	simpler_status status = run_check_open(run);

	while (status == SIMPLER_OK && dag_live(core->graph) == dag_capacity(core->graph)) {
		bool told;

		core->waiting_for_slot++;
		told = schedule_wait_for_room(run, core->room_made, give_up);
		core->waiting_for_slot--;
		if (!told && dag_live(core->graph) == dag_capacity(core->graph))
			return error_raise(
				SIMPLER_ENOSPACE,
				"%u tasks are submitted and not ended, as many as max_tasks "
				"allows, and one more was asked for; none ended in time",
				dag_capacity(core->graph));
		status = run_check_open(run);
	}
	return status;
}

static simpler_status set_deadline(struct task *task)
{
	struct run *run = task->run;
	int64_t at = task->timeout_ms == SIMPLER_FOREVER ? CLOCK_NEVER
	                                                 : clock_after_ms(task->timeout_ms);

	for (uint32_t i = 0; i < task->member_count; i++)
		task->members[i].exec.deadline = at < run->deadline ? at : run->deadline;
	task->timer.due = on_deadline;
	return at == CLOCK_NEVER ? SIMPLER_OK : deadlines_set(run->core, &task->timer, at);
}

/* Under the lock. */
static simpler_status add_to_graph(struct task *task, const struct submission *submission)
{
	struct run *run = task->run;
	struct worker_core *core = run->core;
	const struct dag_submission node = {
		.payload = task,
		.domain = (uintptr_t)run,
		.uses = submission->uses,
		.use_count = submission->use_count,
		.after = submission->after,
		.after_count = submission->after_count,
		.holds = submission->holds,
		.hold_count = submission->hold_count,
	};
	simpler_status status = wait_for_slot(run, submission->give_up);

	if (status == SIMPLER_OK)
		status = set_deadline(task);
	if (status != SIMPLER_OK)
		return status;
	status = dag_submit(core->graph, &node, &task->node);
	if (status == SIMPLER_ESTALE)
		status = error_raise(SIMPLER_ESTALE,
		                     "the storage of a tensor was given back before this submit: "
		                     "submit before its scope ends, or before it is freed");
	if (status != SIMPLER_OK)
		timers_cancel(&core->timers, &task->timer);
	return status;
}

static void publish(struct task *task)
{
	struct run *run = task->run;

	task->ordinal = ++run->submitted;
	task->references = 1;
	for (uint32_t i = 0; i < task->member_count; i++) {
		task->members[i].exec.done = task_done;
		task->members[i].exec.id = ++run->core->next_task;
	}
	task->next_of_run = run->tasks;
	if (run->tasks)
		run->tasks->before_of_run = task;
	run->tasks = task;
}

simpler_status schedule_submit(struct task *task, const struct submission *submission,
                               simpler_task *out)
{
	struct worker_core *core = task->run->core;
	bool announced = task->run->announced;
	struct chores chores = { 0 };
	simpler_status status;

	pthread_mutex_lock(&core->lock);
	status = add_to_graph(task, submission);
	if (status == SIMPLER_OK) {
		publish(task);
		if (out)
			*out = (simpler_task){ .id = task->node, .run = task->run->number };
		schedule_react(core, &chores);
	}
	pthread_mutex_unlock(&core->lock);
	if (status != SIMPLER_OK)
		schedule_discard(task);
	schedule_do(core, &chores);
	/* So that what ends meanwhile need not be collected by a thread of its own, which would be
	 * one more than this machine may have cores for. */
	if (announced && core->progress.poll)
		core->progress.poll(core->progress.context);
	return status;
}
