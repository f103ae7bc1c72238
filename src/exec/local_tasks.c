/* What the scheduler asks of a child. */
#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "exec/local_group.h"
#include "os/descriptor.h"
#include "os/process.h"

static struct mailbox *box_of(const struct local_child *child)
{
	return &child->group->shared->workers[child->index].box;
}

void local_kill(struct local_child *child, const char *why)
{
	if (child->pid == 0 || child->killed_for[0])
		return;
	(void)snprintf(child->killed_for, sizeof(child->killed_for), "%s", why);
	simpler_log(SIMPLER_LOG_ERROR, "%s (pid %ld) is killed: %s", child->child.name,
	            (long)child->pid, why);
	process_signal(child->pidfd, SIGKILL);
}

/* --- making a callable known --- */

/* What this process was sent last of those with the same place, which are used again; 0: nothing.
 * A key tells whose the place is. */
static uint64_t installed_there(const struct local_child *child, uint64_t key)
{
	uint32_t place = (uint32_t)key;

	return place < child->installed_count ? child->installed[place] : 0;
}

static simpler_status note_installed(struct local_child *child, uint64_t key)
{
	uint32_t place = (uint32_t)key;

	if (place >= child->installed_count) {
		uint32_t wanted = place + 64;
		uint64_t *grown = realloc(child->installed, wanted * sizeof(*grown));

		if (!grown)
			return error_raise(SIMPLER_ENOMEM, "out of memory for callable %" PRIu64,
			                   key);
		memset(&grown[child->installed_count], 0,
		       (wanted - child->installed_count) * sizeof(*grown));
		child->installed = grown;
		child->installed_count = wanted;
	}
	child->installed[place] = key;
	return SIMPLER_OK;
}

/* For explaining crashes: where a module's image is. */
static simpler_status note_module(struct local_group *group, const struct exec_module *module)
{
	struct local_module *grown;

	for (size_t i = 0; i < group->module_count; i++) {
		if (memcmp(group->modules[i].digest, module->digest.bytes, RECORD_DIGEST_BYTES) ==
		    0)
			return SIMPLER_OK;
	}
	grown = realloc(group->modules, (group->module_count + 1) * sizeof(*grown));
	if (!grown)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a module");
	group->modules = grown;
	memcpy(grown[group->module_count].digest, module->digest.bytes, RECORD_DIGEST_BYTES);
	grown[group->module_count++].fd = module->fd;
	return SIMPLER_OK;
}

static simpler_status send_install(struct local_child *child, const struct exec_callable *callable)
{
	const struct exec_module *module = callable->module;
	struct record_install install = {
		.callable = callable->key,
		.kind = (uint8_t)callable->kind,
		.source = callable->source,
		.has_module = module != NULL,
		.function = callable->function,
		.state_size = (uint32_t)callable->state.size,
		.state = callable->state.data,
	};

	if (module)
		memcpy(install.module_digest, module->digest.bytes, sizeof(install.module_digest));
	memcpy(install.name, callable->name, sizeof(install.name));
	return install_send(child->control, &install, module ? module->fd : -1);
}

bool local_has_room(const struct local_child *child)
{
	struct pollfd entry = { .fd = child->control, .events = POLLOUT };

	return descriptor_poll(&entry, 1, 0) > 0;
}

/* False when it is to be tried again later. Who had its place before is gone from the worker's
 * table, and so is to be forgotten: a process never has more callables than that has places. */
static bool install_in(struct local_child *child, const struct exec_callable *callable)
{
	uint64_t before = installed_there(child, callable->key);
	simpler_status status = SIMPLER_OK;

	if (before == callable->key)
		return true;
	if (!local_has_room(child))
		return false;
	if (before != 0) {
		(void)forget_send(child->control, before);
		child->installed[(uint32_t)before] = 0;
		if (!local_has_room(child))
			return false;
	}
	if (callable->module)
		status = note_module(child->group, callable->module);
	if (status == SIMPLER_OK)
		status = send_install(child, callable);
	if (status == SIMPLER_OK)
		status = note_installed(child, callable->key);
	/* A closed socket is that of a process which is about to end. */
	if (status != SIMPLER_OK && status != SIMPLER_EUNAVAILABLE)
		simpler_log(SIMPLER_LOG_ERROR, "%s: %s", child->child.name, simpler_last_error());
	return status == SIMPLER_OK;
}

/* --- posting --- */

static void describe_tensor(const struct exec_tensor *from, struct record_tensor *to)
{
	to->segment = from->segment;
	to->dtype = from->dtype;
	to->tag = from->tag;
	to->ndim = from->ndim;
	to->offset = from->offset;
	to->nbytes = from->nbytes;
	to->strided = from->strides != NULL;
	if (from->ndim > 0)
		memcpy(to->shape, from->shape, from->ndim * sizeof(to->shape[0]));
	if (from->ndim > 0 && from->strides)
		memcpy(to->strides, from->strides, from->ndim * sizeof(to->strides[0]));
}

static void describe_task(const struct exec_task *task, struct record_task *out)
{
	out->token = task->id;
	out->callable = task->callable->key;
	out->config = *task->config;
	out->tensor_count = task->tensor_count;
	out->scalar_count = task->scalar_count;
	for (uint32_t i = 0; i < task->tensor_count; i++)
		describe_tensor(&task->tensors[i], &out->tensors[i]);
	if (task->scalar_count > 0)
		memcpy(out->scalars, task->scalars, task->scalar_count * sizeof(uint64_t));
}

static uint32_t free_slot(const struct local_child *child)
{
	uint32_t slot = child->next_slot;

	/* There is one: a child has no more tasks than slots. */
	assert(child->used != (1u << MAILBOX_SLOTS) - 1);
	while (child->used & 1u << slot)
		slot = (slot + 1) % MAILBOX_SLOTS;
	return slot;
}

/* Under the lock, with a live process. False when the process cannot be handed the task now. */
static bool post(struct local_child *child, struct exec_task *task)
{
	struct record_task record;
	uint32_t at = free_slot(child);
	struct local_slot *slot = &child->slots[at];

	if (!install_in(child, task->callable) || !local_send_memory(child, task))
		return false;
	describe_task(task, &record);
	if (mailbox_post(&box_of(child)->slots[at], slot->generation, &record) != SIMPLER_OK) {
		local_kill(child, "it overwrote its mailbox");
		return false;
	}
	slot->task = task;
	slot->posted = ++child->posts;
	slot->kill_at = CLOCK_NEVER;
	child->used |= 1u << at;
	child->next_slot = (at + 1) % MAILBOX_SLOTS;
	return true;
}

static struct exec_task *take_from_queue(struct local_child *child, uint32_t at)
{
	struct exec_task *task = child->queue[at];

	child->queued--;
	memmove(&child->queue[at], &child->queue[at + 1],
	        (child->queued - at) * sizeof(child->queue[0]));
	return task;
}

void local_post_queued(struct local_child *child)
{
	while (child->queued > 0 && child->pid != 0 && !child->killed_for[0] &&
	       post(child, child->queue[0]))
		(void)take_from_queue(child, 0);
}

struct exec_task *local_empty_slot(struct local_child *child, uint32_t slot)
{
	struct exec_task *task = child->slots[slot].task;

	child->slots[slot].task = NULL;
	child->slots[slot].generation++;
	child->slots[slot].kill_at = CLOCK_NEVER;
	child->used &= ~(1u << slot);
	return task;
}

/* --- taking back, and stopping --- */

static bool matches(const struct exec_task *task, uint64_t id_or_0)
{
	return id_or_0 ? task->id == id_or_0 : !task->bound;
}

static struct exec_task *retract_queued(struct local_child *child, uint64_t id_or_0)
{
	for (uint32_t i = child->queued; i-- > 0;) {
		if (matches(child->queue[i], id_or_0))
			return take_from_queue(child, i);
	}
	return NULL;
}

/* The slot that was posted to last, of those before `posted`, or MAILBOX_SLOTS. */
static uint32_t last_posted_before(const struct local_child *child, uint64_t posted,
                                   uint64_t id_or_0)
{
	uint32_t found = MAILBOX_SLOTS;

	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++) {
		const struct local_slot *slot = &child->slots[i];

		if (slot->task && slot->posted < posted && matches(slot->task, id_or_0) &&
		    (found == MAILBOX_SLOTS || slot->posted > child->slots[found].posted))
			found = i;
	}
	return found;
}

static struct exec_task *retract_posted(struct local_child *child, uint64_t id_or_0)
{
	uint64_t before = UINT64_MAX;
	uint32_t at;

	while ((at = last_posted_before(child, before, id_or_0)) < MAILBOX_SLOTS) {
		struct local_slot *slot = &child->slots[at];

		if (mailbox_retract(&box_of(child)->slots[at], slot->generation)) {
			/* Leaves no gap for the worker to look across. */
			if (slot->posted == child->posts)
				child->next_slot = at;
			return local_empty_slot(child, at);
		}
		before = slot->posted;
	}
	return NULL;
}

/* Under the lock. */
static struct exec_task *retract(struct local_child *child, uint64_t id_or_0)
{
	struct exec_task *task = retract_queued(child, id_or_0);

	return task ? task : retract_posted(child, id_or_0);
}

static struct exec_task *local_retract(struct exec_child *exec, uint64_t id_or_0)
{
	struct local_child *child = (struct local_child *)exec;
	struct exec_task *task;

	pthread_mutex_lock(&child->group->lock);
	task = retract(child, id_or_0);
	pthread_mutex_unlock(&child->group->lock);
	return task;
}

/* Under the lock. The task if it has not begun: it never will, and the caller ends it. */
static struct exec_task *stop(struct local_child *child, uint64_t id, int64_t kill_at)
{
	struct exec_task *task = retract(child, id);

	for (uint32_t i = 0; i < MAILBOX_SLOTS && !task; i++) {
		struct local_slot *slot = &child->slots[i];

		if (!slot->task || slot->task->id != id)
			continue;
		mailbox_stop(box_of(child), i);
		slot->kill_at = kill_at < slot->kill_at ? kill_at : slot->kill_at;
		local_wake_supervisor_at(child->group, slot->kill_at);
		break;
	}
	return task;
}

static void end_stopped(struct exec_task *task)
{
	struct error error;

	error_init(&error, SIMPLER_ECANCELLED, "it was stopped before it began");
	task->done(task, &error);
}

static void local_stop(struct exec_child *exec, uint64_t id, int64_t kill_at)
{
	struct local_child *child = (struct local_child *)exec;
	struct exec_task *stopped;

	pthread_mutex_lock(&child->group->lock);
	stopped = stop(child, id, kill_at);
	pthread_mutex_unlock(&child->group->lock);
	if (stopped)
		end_stopped(stopped);
}

/* --- starting --- */

static void end_unserved(struct exec_task *task)
{
	struct error error;

	error_init(&error, SIMPLER_EUNAVAILABLE,
	           "the spawn helper died, and all children of this machine with it");
	task->done(task, &error);
}

static void local_start(struct exec_child *exec, struct exec_task *task)
{
	struct local_child *child = (struct local_child *)exec;
	struct local_group *group = child->group;
	struct exec_task *stopped = NULL;
	int64_t stop_at;
	bool lost;

	pthread_mutex_lock(&group->lock);
	lost = group->lost;
	if (!lost) {
		assert(child->queued < MAILBOX_SLOTS);
		/* While there is no process, or none that can be handed anything, it waits here. */
		child->queue[child->queued++] = task;
		local_post_queued(child);
		stop_at = atomic_load(&task->stop_at);
		if (stop_at != 0)
			stopped = stop(child, task->id, stop_at);
	}
	pthread_mutex_unlock(&group->lock);
	if (lost)
		end_unserved(task);
	else if (stopped)
		end_stopped(stopped);
	else
		mailbox_wake(box_of(child));
}

/* Under the lock: all that a child has, into `tasks`. Returns how many. */
static uint32_t take_all(struct local_child *child, struct exec_task **tasks)
{
	uint32_t count = 0;

	while (child->queued > 0)
		tasks[count++] = take_from_queue(child, 0);
	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++) {
		if (child->slots[i].task)
			tasks[count++] = local_empty_slot(child, i);
	}
	return count;
}

void local_fail_all(struct local_group *group)
{
	struct exec_task *tasks[2 * MAILBOX_SLOTS];

	pthread_mutex_lock(&group->lock);
	group->lost = true;
	pthread_mutex_unlock(&group->lock);
	for (uint32_t i = 0; i < group->child_count; i++) {
		uint32_t count;

		pthread_mutex_lock(&group->lock);
		count = take_all(group->children[i], tasks);
		pthread_mutex_unlock(&group->lock);
		for (uint32_t j = 0; j < count; j++)
			end_unserved(tasks[j]);
	}
}

/* --- the rest --- */

static void local_close(struct exec_child *child)
{
	(void)child; /* local_group_stop() ends all of them */
}

static void local_release(struct exec_child *child)
{
	(void)child; /* local_group_destroy() does */
}

const struct exec_child_ops local_ops = {
	.start = local_start,
	.stop = local_stop,
	.retract = local_retract,
	.close = local_close,
	.release = local_release,
};
