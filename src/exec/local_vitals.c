/* How a group's children are. What is read of chips is theirs to write, and believed only as far as
 * a text can be. */
#include <string.h>

#include "exec/local_group.h"
#include "os/process.h"

static uint32_t count_bits(uint32_t bits)
{
	uint32_t count = 0;

	for (; bits != 0; bits &= bits - 1)
		count++;
	return count;
}

/* Under the lock. */
static void add_child(const struct local_child *child, int64_t now, struct vitals_workers *out)
{
	uint32_t tasks = count_bits(child->used), width = child->child.width;

	out->count++;
	out->deaths += child->deaths;
	out->queued += child->queued + (tasks > width ? tasks - width : 0);
	if (child->pid == 0)
		*(child->start_at > now ? &out->dead : &out->restarting) += 1;
	else
		*(tasks > 0 ? &out->busy : &out->idle) += 1;
}

static void add_device(const struct local_child *child, struct vitals *out)
{
	const struct bulletin *said = &child->group->shared->workers[child->index].device_error;
	uint8_t bytes[BULLETIN_BYTES];
	size_t size;

	if (!bulletin_read(said, bytes, &size) || size == 0)
		return;
	out->chips_shut++;
	if (size > VITALS_TEXT_MAX)
		size = VITALS_TEXT_MAX;
	memcpy(out->device_error, bytes, size);
	out->device_error[size] = '\0';
}

void local_group_vitals(struct local_group *group, struct vitals *out)
{
	int64_t now = clock_now();

	memset(out, 0, sizeof(*out));
	out->helper_stopped = process_is_stopped(group->helper.pidfd);
	pthread_mutex_lock(&group->lock);
	for (uint32_t i = 0; i < group->child_count; i++) {
		const struct local_child *child = group->children[i];

		if (child->role == SPAWN_SUB)
			add_child(child, now, &out->subs);
		if (child->role == SPAWN_CHIP)
			add_child(child, now, &out->chips);
	}
	pthread_mutex_unlock(&group->lock);
	for (uint32_t i = 0; i < group->child_count; i++) {
		if (group->children[i]->role == SPAWN_CHIP)
			add_device(group->children[i], out);
	}
}
