/*
 * Which ready task goes to which child.
 *
 * A child may be given more than it runs at once, so that it goes on without a wake-up; what waits
 * in it is taken back when another child is idle (chores.relieve). In this order:
 *
 *   groups     the one that has waited longest starts when enough children have a free hand; until
 *              then the children it could use are reserved, and get nothing more
 *   directed   to their child, when that has room
 *   any        to the child that has a free hand, then that holds most of the task's bytes, then
 *              that has least in progress
 *
 * A child that is away, as a node that was lost or drains, is given nothing; what no other could
 * run has no hope, and fails.
 *
 * Shared memory is held by every child of this machine and by no node. What lies on a node decides
 * where a task goes earlier, at its submit (draft_remote.c): it comes here directed.
 */
#include "base/error.h"
#include "worker/schedule.h"

/* --- queues --- */

void task_queue_append(struct task_queue *queue, struct task *task)
{
	task->queue = queue;
	task->next = NULL;
	task->previous = queue->last;
	if (queue->last)
		queue->last->next = task;
	else
		queue->first = task;
	queue->last = task;
	queue->count++;
}

void task_queue_prepend(struct task_queue *queue, struct task *task)
{
	task->queue = queue;
	task->previous = NULL;
	task->next = queue->first;
	if (queue->first)
		queue->first->previous = task;
	else
		queue->last = task;
	queue->first = task;
	queue->count++;
}

void task_queue_remove(struct task_queue *queue, struct task *task)
{
	if (task->previous)
		task->previous->next = task->next;
	else
		queue->first = task->next;
	if (task->next)
		task->next->previous = task->previous;
	else
		queue->last = task->previous;
	queue->count--;
	task->queue = NULL;
}

static bool is_directed(const struct task *task)
{
	return task->member_count == 1 && task->members[0].target != SIMPLER_ANY_WORKER;
}

static struct task_queue *queue_of(struct task *task)
{
	struct worker_core *core = task->run->core;
	struct crew *crew = &core->crews[task->kind];

	if (task->member_count > 1)
		return &crew->groups;
	return is_directed(task) ? &core->children[task->members[0].target].directed : &crew->any;
}

void place_ready(struct task *task)
{
	task->state = TASK_READY;
	task->run->core->crews[task->kind].directed += is_directed(task);
	task_queue_append(queue_of(task), task);
}

void place_forget(struct task *task)
{
	task->run->core->crews[task->kind].directed -= is_directed(task);
	task_queue_remove(task->queue, task);
}

/* --- children --- */

bool place_is_eligible(const struct task *task, const struct exec_child *child)
{
	return child->runs == task->kind && (child->local ? !task->remote_only : !task->local_only);
}

static bool has_room(const struct exec_child *child)
{
	return !child->away && child->in_progress < child->capacity;
}

static bool has_free_hand(const struct exec_child *child)
{
	return !child->away && child->in_progress < child->width;
}

static bool is_overfull(const struct exec_child *child)
{
	return child->in_progress > child->width;
}

/* Something waits in it, and not all that it has is bound to it. */
static bool may_give_up(const struct exec_child *child)
{
	return is_overfull(child) && child->bound < child->in_progress;
}

void place_count(struct worker_core *core, const struct member *member, int change)
{
	struct exec_child *child = member->child;
	struct crew *crew = &core->crews[child->runs];

	crew->idle -= has_free_hand(child);
	crew->overfull -= is_overfull(child);
	child->in_progress += (uint32_t)change;
	child->bound += member->exec.bound ? (uint32_t)change : 0;
	crew->free -= child->away ? 0 : (uint32_t)change;
	crew->idle += has_free_hand(child);
	crew->overfull += is_overfull(child);
}

struct exec_child *place_next_overfull(const struct worker_core *core, simpler_kind kind,
                                       uint32_t *at)
{
	const struct crew *crew = &core->crews[kind];

	while (*at < crew->child_count) {
		struct exec_child *child = core->children[crew->children[(*at)++]].child;

		if (may_give_up(child))
			return child;
	}
	return NULL;
}

void place_set_away(struct worker_core *core, struct exec_child *child, bool away)
{
	struct crew *crew = &core->crews[child->runs];
	uint32_t room = child->capacity - child->in_progress;

	if (child->away == away)
		return;
	crew->idle -= has_free_hand(child);
	child->away = away;
	crew->idle += has_free_hand(child);
	crew->free += away ? 0 - room : room;
	crew->away += away ? 1 : 0 - 1u;
}

/* --- hope --- */

static bool is_out_of_reach(const struct task *task, const struct exec_child *child)
{
	return child->away || !place_is_eligible(task, child);
}

static simpler_status raise_away(struct exec_child *child, const char *others)
{
	char why[ERROR_STEP_BYTES / 2] = "";

	/* It may have come back a moment ago, of which the scheduler hears next. */
	if (!child->ops->is_away(child, why, sizeof(why)))
		return error_raise(SIMPLER_EUNAVAILABLE, "%s was away%s", child->name, others);
	return error_raise(SIMPLER_EUNAVAILABLE, "%s%s", why, others);
}

static simpler_status check_targets(const struct task *task)
{
	const struct worker_core *core = task->run->core;

	for (uint32_t i = 0; i < task->member_count; i++) {
		struct exec_child *child = core->children[task->members[i].target].child;

		if (child->away)
			return raise_away(child, "");
	}
	return SIMPLER_OK;
}

simpler_status place_check_hope(const struct task *task)
{
	const struct worker_core *core = task->run->core;
	const struct crew *crew = &core->crews[task->kind];
	struct exec_child *away = NULL;
	uint32_t there = 0;

	if (crew->away == 0)
		return SIMPLER_OK;
	if (task->members[0].target != SIMPLER_ANY_WORKER)
		return check_targets(task);
	for (uint32_t i = 0; i < crew->child_count; i++) {
		struct exec_child *child = core->children[crew->children[i]].child;

		there += !is_out_of_reach(task, child);
		if (child->away && place_is_eligible(task, child))
			away = child;
	}
	if (there >= task->member_count || !away)
		return SIMPLER_OK;
	return raise_away(away, task->member_count > 1 ? ", and the group needs it"
	                                               : ", and no other could run the task");
}

static void give(struct worker_core *core, struct member *member, struct exec_child *child)
{
	member->child = child;
	place_count(core, member, 1);
}

static void start(struct task *task, struct chores *chores)
{
	place_forget(task);
	task->state = TASK_STARTED;
	task_queue_append(&chores->start, task);
}

/* --- one child --- */

static uint64_t held_bytes(const struct task *task, const struct exec_child *child)
{
	return child->local ? task->shared_bytes : 0;
}

static bool is_better(const struct task *task, const struct exec_child *a,
                      const struct exec_child *b)
{
	if (has_free_hand(a) != has_free_hand(b))
		return has_free_hand(a);
	if (held_bytes(task, a) != held_bytes(task, b))
		return held_bytes(task, a) > held_bytes(task, b);
	return a->in_progress < b->in_progress;
}

static struct exec_child *choose(const struct worker_core *core, const struct task *task)
{
	const struct crew *crew = &core->crews[task->kind];
	struct exec_child *best = NULL;

	for (uint32_t i = 0; i < crew->child_count; i++) {
		const struct child_state *state = &core->children[crew->children[i]];
		struct exec_child *child = state->child;

		if (state->reserved || !has_room(child) || !place_is_eligible(task, child))
			continue;
		if (!best || is_better(task, child, best))
			best = child;
		/* All others are as far, and none is better. */
		if (best->in_progress == 0 && task->kind != SIMPLER_KIND_ORCH)
			break;
	}
	return best;
}

/* --- groups --- */

/* A child for a member: its own, or the best that no member before it has. */
static struct exec_child *choose_for_member(const struct worker_core *core, const struct task *task,
                                            uint32_t at)
{
	const struct crew *crew = &core->crews[task->kind];
	const struct member *member = &task->members[at];
	struct exec_child *best = NULL;

	if (member->target != SIMPLER_ANY_WORKER) {
		best = core->children[member->target].child;
		return has_free_hand(best) ? best : NULL;
	}
	for (uint32_t i = 0; i < crew->child_count; i++) {
		struct exec_child *child = core->children[crew->children[i]].child;
		bool taken = false;

		for (uint32_t j = 0; j < at && !taken; j++)
			taken = task->members[j].child == child;
		for (uint32_t j = at + 1; j < task->member_count && !taken; j++)
			taken = task->members[j].target == crew->children[i];
		if (!taken && has_free_hand(child) && place_is_eligible(task, child) &&
		    (!best || is_better(task, child, best)))
			best = child;
	}
	return best;
}

static bool choose_for_group(const struct worker_core *core, struct task *task)
{
	for (uint32_t i = 0; i < task->member_count; i++) {
		task->members[i].child = choose_for_member(core, task, i);
		if (!task->members[i].child)
			return false;
	}
	return true;
}

/* Keep free what the group waits for, and have what merely waits there go elsewhere. */
static void reserve_for(struct worker_core *core, const struct task *task, struct chores *chores)
{
	struct crew *crew = &core->crews[task->kind];
	bool named = true;

	for (uint32_t i = 0; i < task->member_count; i++)
		named = named && task->members[i].target != SIMPLER_ANY_WORKER;
	crew->any_reserved = true;
	for (uint32_t i = 0; i < (named ? task->member_count : crew->child_count); i++) {
		uint32_t index = named ? task->members[i].target : crew->children[i];
		struct child_state *state = &core->children[index];

		state->reserved = place_is_eligible(task, state->child);
		if (state->reserved && is_overfull(state->child))
			chores->relieve[task->kind] = state->child;
	}
}

static void drop_reservations(struct worker_core *core, struct crew *crew)
{
	for (uint32_t i = 0; i < crew->child_count; i++)
		core->children[crew->children[i]].reserved = false;
	crew->any_reserved = false;
}

static void place_groups(struct worker_core *core, struct crew *crew, struct chores *chores)
{
	struct task *task;

	while ((task = crew->groups.first) != NULL) {
		if (!choose_for_group(core, task)) {
			reserve_for(core, task, chores);
			return;
		}
		for (uint32_t i = 0; i < task->member_count; i++)
			give(core, &task->members[i], task->members[i].child);
		start(task, chores);
	}
}

/* --- all --- */

static void place_directed(struct worker_core *core, struct crew *crew, struct chores *chores)
{
	for (uint32_t i = 0; i < crew->child_count && crew->directed > 0; i++) {
		struct child_state *state = &core->children[crew->children[i]];
		struct task *task;

		while (!state->reserved && has_room(state->child) &&
		       (task = state->directed.first) != NULL) {
			give(core, &task->members[0], state->child);
			start(task, chores);
		}
	}
}

/* In order; a task that no child with room can take lets others pass. */
static void place_any(struct worker_core *core, struct crew *crew, struct chores *chores)
{
	struct task *task, *next;

	for (task = crew->any.first; task && crew->free > 0; task = next) {
		struct exec_child *child = choose(core, task);

		next = task->next;
		if (child) {
			give(core, &task->members[0], child);
			start(task, chores);
		} else if (!task->local_only && !task->remote_only) {
			break; /* and so is there none for those behind it */
		}
	}
}

/* When a child has nothing to do and another more than it runs, the latter gives some up. */
static void find_relief(const struct worker_core *core, const struct crew *crew,
                        struct chores *chores)
{
	struct exec_child *fullest = NULL;
	bool idle = false;

	for (uint32_t i = 0; i < crew->child_count; i++) {
		const struct child_state *state = &core->children[crew->children[i]];

		idle |= has_free_hand(state->child) && !state->reserved;
		if (may_give_up(state->child) &&
		    (!fullest || state->child->in_progress > fullest->in_progress))
			fullest = state->child;
	}
	if (idle && fullest)
		chores->relieve[fullest->runs] = fullest;
}

void place_all(struct worker_core *core, simpler_kind kind, struct chores *chores)
{
	struct crew *crew = &core->crews[kind];

	if (crew->any_reserved)
		drop_reservations(core, crew);
	if (crew->groups.first)
		place_groups(core, crew, chores);
	if (crew->directed > 0)
		place_directed(core, crew, chores);
	if (crew->any.first && crew->free > 0)
		place_any(core, crew, chores);
	/* Also when tasks are left: the idle one can take none of them. */
	if (crew->overfull > 0 && crew->idle > 0)
		find_relief(core, crew, chores);
}
