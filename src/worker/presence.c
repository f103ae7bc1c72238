/* Children that go away and come back: what that means for tasks that are ready. */
#include "worker/schedule.h"

static void fail_hopeless(struct task_queue *queue, struct chores *chores)
{
	struct task *task, *next;

	for (task = queue->first; task; task = next) {
		next = task->next;
		if (place_check_hope(task) == SIMPLER_OK)
			continue;
		place_forget(task);
		schedule_fail(task, chores);
	}
}

/* Under the lock. Tasks that have begun there are the child's to end. */
static void take_away(struct worker_core *core, struct exec_child *child, struct chores *chores)
{
	struct crew *crew = &core->crews[child->runs];

	for (uint32_t i = 0; i < crew->child_count; i++) {
		struct child_state *state = &core->children[crew->children[i]];

		if (state->child == child)
			fail_hopeless(&state->directed, chores);
	}
	fail_hopeless(&crew->groups, chores);
	fail_hopeless(&crew->any, chores);
}

void core_presence_changed(struct worker_core *core, struct exec_child *child)
{
	char why[ERROR_STEP_BYTES / 2];
	struct chores chores = { 0 };
	bool away;

	pthread_mutex_lock(&core->lock);
	/* Asked for under the lock, so that the last who asks has the last word. */
	away = child->ops->is_away(child, why, sizeof(why));
	place_set_away(core, child, away);
	if (away)
		take_away(core, child, &chores);
	schedule_react(core, &chores);
	pthread_mutex_unlock(&core->lock);
	schedule_do(core, &chores);
}
