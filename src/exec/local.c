/* The life of a group of children. */
#include "exec/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/local_group.h"
#include "os/events.h"
#include "os/memory.h"

#define CHIP_CAPACITY 4u

/* --- children --- */

static enum spawn_role role_of(simpler_kind kind)
{
	switch (kind) {
	case SIMPLER_KIND_CHIP:
		return SPAWN_CHIP;
	case SIMPLER_KIND_ORCH:
		return SPAWN_NEXT_LEVEL;
	default:
		return SPAWN_SUB;
	}
}

static uint32_t count_role(const struct local_group *group, enum spawn_role role)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < group->child_count; i++)
		count += group->children[i]->role == role;
	return count;
}

static void release_child(struct local_child *child)
{
	if (child->control >= 0)
		(void)close(child->control);
	if (child->pidfd >= 0)
		(void)close(child->pidfd);
	free(child->installed);
	free(child->told);
	free(child->tree);
	free(child);
}

static simpler_status describe_child(struct local_child *child,
                                     const struct local_child_options *options)
{
	child->device_index = options->device_index;
	if (options->device && strlen(options->device) >= sizeof(child->device))
		return error_raise(SIMPLER_EINVAL, "the device name '%.40s' has over %zu bytes",
		                   options->device, sizeof(child->device) - 1);
	if (options->device)
		memcpy(child->device, options->device, strlen(options->device));
	if (!options->tree)
		return SIMPLER_OK;
	child->tree = malloc(sizeof(*child->tree));
	if (!child->tree)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a tree of workers");
	*child->tree = *options->tree;
	return SIMPLER_OK;
}

static void init_child(struct local_group *group, struct local_child *child, simpler_kind kind)
{
	enum spawn_role role = role_of(kind);

	child->group = group;
	child->role = role;
	child->index = group->child_count;
	child->number = count_role(group, role);
	child->control = child->pidfd = -1;
	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++)
		child->slots[i].kill_at = CLOCK_NEVER;
	child->child.ops = &local_ops;
	child->child.runs = kind;
	child->child.local = true;
	child->child.capacity = role == SPAWN_CHIP ? CHIP_CAPACITY : MAILBOX_SLOTS;
	child->child.width = role == SPAWN_NEXT_LEVEL ? MAILBOX_SLOTS : 1;
}

/* Workers of all levels count from 0, and an error comes through several of them. */
static void name_child(struct local_child *child)
{
	char *name = child->child.name;
	size_t size = sizeof(child->child.name);

	if (child->tree)
		(void)snprintf(name, size, "%s %u of level %u", spawn_role_name(child->role),
		               child->number, child->tree->nodes[0].level);
	else
		(void)snprintf(name, size, "%s %u", spawn_role_name(child->role), child->number);
}

simpler_status local_group_check_places(const struct local_group *group, uint32_t count)
{
	if (count <= WORKER_MAX - group->child_count)
		return SIMPLER_OK;
	return error_raise(SIMPLER_ENOSPACE,
	                   "%u more children on this machine were asked for, and there are %u; a "
	                   "worker has at most %d",
	                   count, group->child_count, WORKER_MAX);
}

simpler_status local_group_add(struct local_group *group, const struct local_child_options *options,
                               struct exec_child **out)
{
	struct local_child *child;
	simpler_status status = local_group_check_places(group, 1);

	if (status != SIMPLER_OK)
		return status;
	child = calloc(1, sizeof(*child));
	if (!child)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a child");
	init_child(group, child, options->kind);
	status = describe_child(child, options);
	if (status != SIMPLER_OK) {
		release_child(child);
		return status;
	}
	name_child(child);
	group->children[group->child_count++] = child;
	*out = &child->child;
	return SIMPLER_OK;
}

/* --- the group --- */

simpler_status local_group_create(const struct local_options *options, struct local_group **out)
{
	struct local_group *group = calloc(1, sizeof(*group));

	if (group)
		group->host_program = strdup(options->host_program);
	if (!group || !group->host_program) {
		free(group);
		return error_raise(SIMPLER_ENOMEM, "out of memory for children");
	}
	group->options = *options;
	group->options.host_program = group->host_program;
	group->shared_fd = group->helper.socket = group->wakeup = -1;
	(void)pthread_mutex_init(&group->lock, NULL);
	*out = group;
	return SIMPLER_OK;
}

/* Its pages are there before anybody uses it: who touches one that there is no memory for dies. */
static simpler_status map_control(struct local_group *group)
{
	void *base;
	simpler_status status;

	group->shared_bytes =
		sizeof(struct control_segment) + group->child_count * sizeof(struct worker_area);
	status = memory_create("simpler-mailboxes", group->shared_bytes, &group->shared_fd);
	if (status != SIMPLER_OK)
		return status;
	status = memory_commit(group->shared_fd, 0, group->shared_bytes);
	if (status == SIMPLER_OK)
		status = memory_map(group->shared_fd, group->shared_bytes, &base);
	if (status == SIMPLER_OK)
		group->shared = base;
	return status;
}

static simpler_status start_helper(struct local_group *group)
{
	struct spawn_segment segments[SPAWN_MAX_SEGMENTS];

	segments[0] = (struct spawn_segment){ group->shared_fd, 0, group->shared_bytes };
	memcpy(&segments[1], group->options.segments,
	       group->options.segment_count * sizeof(segments[0]));
	return spawn_helper_start(group->host_program, segments, 1 + group->options.segment_count,
	                          &group->helper);
}

static simpler_status start_threads(struct local_group *group)
{
	int failure;
	simpler_status status = events_wakeup(&group->wakeup);

	if (status != SIMPLER_OK)
		return status;
	local_init_collector(group);
	status = collector_start(&group->collector);
	if (status != SIMPLER_OK)
		return status;
	failure = pthread_create(&group->supervisor, NULL, local_supervisor_main, group);
	if (failure != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, failure, "starting a thread");
	group->has_supervisor = true;
	return SIMPLER_OK;
}

simpler_status local_group_start(struct local_group *group)
{
	simpler_status status = map_control(group);

	if (status == SIMPLER_OK)
		status = start_helper(group);
	for (uint32_t i = 0; i < group->child_count && status == SIMPLER_OK; i++)
		status = local_start_process(group->children[i]);
	if (status == SIMPLER_OK)
		status = start_threads(group);
	return status;
}

static void stop_threads(struct local_group *group)
{
	atomic_store(&group->stopping, true);
	collector_stop(&group->collector);
	if (group->has_supervisor) {
		events_wake(group->wakeup);
		(void)pthread_join(group->supervisor, NULL);
	}
	if (group->wakeup >= 0)
		(void)close(group->wakeup);
	group->has_supervisor = false;
	group->wakeup = -1;
}

void local_group_stop(struct local_group *group)
{
	stop_threads(group);
	if (group->helper.socket >= 0)
		spawn_helper_stop(&group->helper);
	group->helper.socket = -1;
}

void local_group_destroy(struct local_group *group)
{
	if (!group)
		return;
	local_group_stop(group);
	for (uint32_t i = 0; i < group->child_count; i++)
		release_child(group->children[i]);
	if (group->shared)
		memory_unmap(group->shared, group->shared_bytes);
	if (group->shared_fd >= 0)
		(void)close(group->shared_fd);
	(void)pthread_mutex_destroy(&group->lock);
	free(group->modules);
	local_release_memory(group);
	free(group->host_program);
	free(group);
}
