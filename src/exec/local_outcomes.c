/*
 * Collecting. Workers tell of outcomes by a bit in the control segment and, if nobody looks there,
 * by a pair of bells. The group's collector takes them (exec/collector.h).
 *
 * Bits and bells are hints. User code that overwrites them delays outcomes until the supervisor's
 * next look at everything, and loses none.
 */
#include "exec/local_group.h"

#define BATCH 32u

/* What was found under the lock and is finished without it. */
struct batch {
	struct exec_task *tasks[BATCH]; /* succeeded */
	uint32_t count;
	struct exec_task *failed;
	struct record_outcome outcome; /* of the failed one */
	bool full;                     /* there may be more to be found */
};

static bool has_hints(void *context)
{
	struct local_group *group = context;
	bool any = false;

	for (uint32_t i = 0; i < WORKER_MAX / 64 && !any; i++)
		any = atomic_load(&group->shared->outcomes[i]) != 0;
	return any;
}

/* Under the lock: a slot that is DONE. */
static void take_outcome(struct local_child *child, uint32_t slot, struct batch *batch)
{
	struct mailbox *box = &child->group->shared->workers[child->index].box;
	struct error *error = &batch->outcome.error;
	simpler_status status =
		mailbox_collect(&box->slots[slot], child->slots[slot].generation, &batch->outcome);
	struct exec_task *task = local_empty_slot(child, slot);

	if (status != SIMPLER_OK)
		error_save(error);
	if (error->status == SIMPLER_OK)
		batch->tasks[batch->count++] = task;
	else
		batch->failed = task;
	batch->full = batch->failed || batch->count == BATCH;
}

/* Under the lock. */
static void look_at(struct local_child *child, struct batch *batch)
{
	struct mailbox *box = &child->group->shared->workers[child->index].box;
	uint32_t used = child->used;

	for (uint32_t i = 0; used >> i != 0 && !batch->full; i++) {
		enum mailbox_state state;

		if (!(used & 1u << i))
			continue;
		state = mailbox_state(&box->slots[i], child->slots[i].generation);
		if (state == MAILBOX_DONE)
			take_outcome(child, i, batch);
		else if (state == MAILBOX_FREE)
			local_kill(child, "it overwrote its mailbox");
	}
	if (child->queued > 0) {
		local_post_queued(child);
		mailbox_wake(box);
	}
}

/* Under the lock: 64 children, those of `word`. */
static void look_at_word(struct local_group *group, uint32_t word, struct batch *batch)
{
	uint64_t *bits = &group->to_look_at[word];

	for (uint32_t i = 0; i < 64 && *bits >> i != 0 && !batch->full; i++) {
		uint32_t index = word * 64 + i;

		if (!(*bits & UINT64_C(1) << i))
			continue;
		if (index < group->child_count)
			look_at(group->children[index], batch);
		if (!batch->full)
			*bits &= ~(UINT64_C(1) << i);
	}
}

static void find_outcomes(struct local_group *group, bool everywhere, struct batch *batch)
{
	pthread_mutex_lock(&group->lock);
	for (uint32_t i = 0; i < WORKER_MAX / 64 && !batch->full; i++) {
		_Atomic uint64_t *hints = &group->shared->outcomes[i];

		if (atomic_load(hints) != 0)
			group->to_look_at[i] |= atomic_exchange(hints, 0);
		if (everywhere)
			group->to_look_at[i] = UINT64_MAX;
		if (group->to_look_at[i] != 0)
			look_at_word(group, i, batch);
	}
	pthread_mutex_unlock(&group->lock);
}

void local_collect(struct local_group *group, bool everywhere)
{
	struct batch batch;

	if (!everywhere && !has_hints(group))
		return;
	do {
		batch.count = 0;
		batch.failed = NULL;
		batch.full = false;
		find_outcomes(group, everywhere, &batch);
		/* What is left to look at is noted. */
		everywhere = false;
		for (uint32_t i = 0; i < batch.count; i++)
			batch.tasks[i]->done(batch.tasks[i], NULL);
		if (batch.failed)
			batch.failed->done(batch.failed, &batch.outcome.error);
	} while (batch.full);
}

/* --- the collector --- */

/* What nobody told of is the supervisor's to look for. */
static void collect(void *context, bool everywhere)
{
	(void)everywhere;
	local_collect(context, false);
}

void local_init_collector(struct local_group *group)
{
	group->collector = (struct collector){ .bells = &group->shared->finished,
		                               .context = group,
		                               .there = has_hints,
		                               .collect = collect };
}

static bool announce(void *context)
{
	struct local_group *group = context;

	return collector_announce(&group->collector);
}

static void poll_outcomes(void *context)
{
	local_collect(context, false);
}

static bool attend(void *context, bool announced, const _Atomic bool *finished)
{
	struct local_group *group = context;

	return collector_attend(&group->collector, announced, finished);
}

static void wake(void *context)
{
	struct local_group *group = context;

	collector_wake(&group->collector);
}

struct exec_progress local_progress(struct local_group *group)
{
	return (struct exec_progress){ group, announce, poll_outcomes, attend, wake };
}
