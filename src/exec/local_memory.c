/* Memory that came after the children were forked. Who it is of, and when it ends, is for those to
 * say who share it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "exec/local_group.h"

/* --- under the lock --- */

static struct local_segment *find_segment(struct local_group *group, uint32_t id)
{
	for (uint32_t i = 0; i < group->segment_count; i++) {
		if (group->segments[i].record.id == id)
			return &group->segments[i];
	}
	return NULL;
}

static struct local_told *find_told(const struct local_child *child, uint32_t id)
{
	for (uint32_t i = 0; i < child->told_count; i++) {
		if (child->told[i].id == id)
			return &child->told[i];
	}
	return NULL;
}

static simpler_status note_told(struct local_child *child, uint32_t id)
{
	uint32_t wanted = child->told_capacity ? child->told_capacity * 2 : 8;
	struct local_told *grown;

	if (child->told_count == child->told_capacity) {
		grown = realloc(child->told, wanted * sizeof(*grown));
		if (!grown)
			return error_raise(SIMPLER_ENOMEM, "out of memory for a memory segment");
		child->told = grown;
		child->told_capacity = wanted;
	}
	child->told[child->told_count++] = (struct local_told){ .id = id };
	return SIMPLER_OK;
}

/* One that is not shared any more is not sent: the task fails for it. */
static bool send_one(struct local_child *child, uint32_t id)
{
	struct local_segment *segment = find_segment(child->group, id);
	simpler_status status;

	if (!segment || find_told(child, id))
		return true;
	if (!local_has_room(child))
		return false;
	status = note_told(child, id);
	if (status == SIMPLER_OK) {
		status = segment_send(child->control, &segment->record, segment->fd);
		child->told_count -= status != SIMPLER_OK;
	}
	/* A closed socket is that of a process which is about to end. */
	if (status != SIMPLER_OK && status != SIMPLER_EUNAVAILABLE)
		simpler_log(SIMPLER_LOG_ERROR, "%s: %s", child->child.name, simpler_last_error());
	return status == SIMPLER_OK;
}

/* What has ended, as far as there is room. */
static void tell_ended(struct local_child *child)
{
	uint32_t kept = 0;

	child->has_ended = false;
	for (uint32_t i = 0; i < child->told_count; i++) {
		struct local_told told = child->told[i];
		const struct record_segment end = { .id = told.id };

		if (told.ended && child->pid != 0 && local_has_room(child)) {
			(void)segment_send(child->control, &end, -1);
			continue;
		}
		child->has_ended = child->has_ended || told.ended;
		child->told[kept++] = told;
	}
	child->told_count = kept;
}

bool local_send_memory(struct local_child *child, const struct exec_task *task)
{
	bool sent = true;

	if (child->has_ended)
		tell_ended(child);
	for (uint32_t i = 0; i < task->tensor_count && sent; i++) {
		const struct exec_tensor *tensor = &task->tensors[i];

		if (tensor->segment >= RECORD_FIRST_SEGMENT && tensor->segment != EXEC_NO_SEGMENT)
			sent = send_one(child, tensor->segment);
	}
	return sent;
}

void local_forget_memory(struct local_child *child)
{
	child->told_count = 0;
	child->has_ended = false;
}

void local_release_memory(struct local_group *group)
{
	for (uint32_t i = 0; i < group->segment_count; i++)
		(void)close(group->segments[i].fd);
	free(group->segments);
}

static simpler_status add_segment(struct local_group *group, const struct record_segment *record,
                                  int fd)
{
	struct local_segment *grown;

	if (find_segment(group, record->id))
		return error_raise(SIMPLER_EEXIST, "memory segment %u is shared already",
		                   record->id);
	grown = realloc(group->segments, (group->segment_count + 1) * sizeof(*grown));
	if (!grown)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a memory segment");
	group->segments = grown;
	grown[group->segment_count++] = (struct local_segment){ *record, fd };
	return SIMPLER_OK;
}

/* --- for the owner of the group --- */

simpler_status local_group_share(struct local_group *group, const struct record_segment *segment,
                                 int fd)
{
	simpler_status status;

	pthread_mutex_lock(&group->lock);
	status = add_segment(group, segment, fd);
	pthread_mutex_unlock(&group->lock);
	if (status != SIMPLER_OK)
		(void)close(fd);
	return status;
}

void local_group_unshare(struct local_group *group, uint32_t id)
{
	struct local_segment *segment;

	pthread_mutex_lock(&group->lock);
	segment = find_segment(group, id);
	if (segment) {
		(void)close(segment->fd);
		*segment = group->segments[--group->segment_count];
	}
	for (uint32_t i = 0; i < group->child_count; i++) {
		struct local_told *told = find_told(group->children[i], id);

		if (!told)
			continue;
		told->ended = true;
		tell_ended(group->children[i]);
	}
	pthread_mutex_unlock(&group->lock);
}
