/*
 * Threads:
 *   main            waits for what comes over control: installs callables; ends the process at its
 *                   close
 *   orchestrators   take tasks from the mailbox's slots, run them, put the outcomes back
 *                   (worker/orchestrators.h). One more than there are slots, so that one of them is
 *                   always there for the bell, which also tells of tasks to be stopped
 *   the local group's own two (exec/local.h)
 *
 * The parent sends a callable, or memory, before it posts the first task that needs it. But a task
 * may be taken before the main thread has seen that: then the thread that has the task reads what
 * is there itself.
 */
#include "worker/nested.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipc/failed_installs.h"
#include "os/descriptor.h"
#include "worker/orchestrators.h"

/* Between two looks at the mailbox without a ring: user code of the parent's other children may
 * have overwritten the bell. */
#define LOOK_MS 1000

/* A slot whose task is here. */
struct taken_slot {
	uint64_t token;
	bool taken;
	bool told; /* that it is to stop */
};

struct nested {
	/* Fixed: */
	const struct worker_process *self;
	struct mailbox *box;
	struct hosted *hosted;
	struct orchestrators orchestrators;

	pthread_mutex_t control_lock; /* guards reading control, and: */
	struct failed_installs failed;
	uint8_t install[RECORD_INSTALL_MAX];

	pthread_mutex_t slots_lock; /* guards: */
	struct taken_slot slots[MAILBOX_SLOTS];
	uint32_t next_slot; /* where to look for a task first */
};

/* --- control --- */

static void take_install(struct nested *nested, const struct record_install *install, int module_fd)
{
	/* The same key again is a repetition, not a failure of the callable that is there. */
	if (hosted_install(nested->hosted, install, module_fd) != SIMPLER_OK &&
	    simpler_last_status() != SIMPLER_EEXIST)
		failed_installs_note(&nested->failed, install->callable);
}

/* The parent says so when no task of the callable is left here. That it knows by what orchestrators
 * put back, for which they held the lock of slots after their last look at the callable. */
static void forget(struct nested *nested, uint64_t callable)
{
	pthread_mutex_lock(&nested->slots_lock);
	hosted_forget(nested->hosted, callable);
	pthread_mutex_unlock(&nested->slots_lock);
	failed_installs_forget(&nested->failed, callable);
}

static void take_record(struct nested *nested, const struct control_message *message)
{
	if (!nested->hosted) {
		if (message->fd >= 0)
			(void)close(message->fd);
	} else if (message->kind == RECORD_INSTALL) {
		take_install(nested, &message->install, message->fd);
	} else if (message->kind == RECORD_FORGET) {
		forget(nested, message->forget.callable);
	} else if (hosted_take_segment(nested->hosted, &message->segment, message->fd) !=
	           SIMPLER_OK) {
		simpler_log(SIMPLER_LOG_ERROR, "%s", simpler_last_error());
	}
}

/* Under the lock: read one record, if one is there. SIMPLER_EUNAVAILABLE when the parent has closed
 * the socket, or it cannot be read at all. */
static simpler_status read_record(struct nested *nested)
{
	struct control_message message;
	simpler_status status = control_receive(nested->self->control, nested->install, &message);

	if (status == SIMPLER_OK) {
		take_record(nested, &message);
		return SIMPLER_OK;
	}
	if (status == SIMPLER_EUNAVAILABLE)
		return status;
	simpler_log(SIMPLER_LOG_ERROR, "control: %s", simpler_last_error());
	return status == SIMPLER_ESYSTEM ? SIMPLER_EUNAVAILABLE : SIMPLER_OK;
}

/* Read what is there now. */
static simpler_status read_control(struct nested *nested)
{
	simpler_status status = SIMPLER_OK;

	while (status == SIMPLER_OK && descriptor_wait_readable(nested->self->control, 0))
		status = read_record(nested);
	return status;
}

/* An orchestrator: whoever read the install has installed it once the lock is free. */
static simpler_status fetch(void *context, uint64_t callable)
{
	struct nested *nested = context;
	simpler_status status = SIMPLER_OK;

	pthread_mutex_lock(&nested->control_lock);
	if (!hosted_has(nested->hosted, callable)) {
		(void)read_control(nested);
		if (!hosted_has(nested->hosted, callable))
			status = failed_installs_explain(&nested->failed, callable);
	}
	pthread_mutex_unlock(&nested->control_lock);
	return status;
}

/* An orchestrator, whose task names memory that was sent before the task. */
static void catch_up(void *context)
{
	struct nested *nested = context;

	pthread_mutex_lock(&nested->control_lock);
	(void)read_control(nested);
	pthread_mutex_unlock(&nested->control_lock);
}

/* Until the parent closes the socket, or it cannot be read any more: user code has closed it. */
static void serve_control(struct nested *nested)
{
	simpler_status status;

	do {
		(void)descriptor_wait_readable(nested->self->control, CLOCK_NEVER);
		pthread_mutex_lock(&nested->control_lock);
		status = read_control(nested);
		pthread_mutex_unlock(&nested->control_lock);
	} while (status == SIMPLER_OK);
}

/* --- tasks --- */

static void put_back(struct nested *nested, uint32_t slot, uint32_t generation,
                     const struct record_outcome *outcome)
{
	mailbox_finish(nested->box, slot, generation, outcome);
	worker_process_tell(nested->self);
}

/* Under the lock: the next task that can be read, expected and noted. */
static bool take_slot(struct nested *nested, struct assignment *out)
{
	struct record_outcome outcome;
	simpler_status status;

	while (mailbox_take(nested->box, &nested->next_slot, &out->slot, &out->generation)) {
		status = mailbox_read(nested->box, out->slot, &out->record);
		if (status == SIMPLER_OK) {
			hosted_expect(nested->hosted, &out->task, out->record.token);
			nested->slots[out->slot] =
				(struct taken_slot){ .token = out->record.token, .taken = true };
			return true;
		}
		record_outcome_fill(&outcome, out->record.token, status);
		put_back(nested, out->slot, out->generation, &outcome);
	}
	return false;
}

/* Under the lock: the tasks that the parent has asked to stop since the last look. */
static size_t find_stopped(struct nested *nested, uint64_t *tokens)
{
	size_t count = 0;

	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++) {
		struct taken_slot *slot = &nested->slots[i];

		if (!slot->taken || slot->told || !mailbox_is_stopped(nested->box, i))
			continue;
		slot->told = true;
		tokens[count++] = slot->token;
	}
	return count;
}

/* Whoever is woken looks for both, a task and word to stop one. Also who has found a task: the word
 * may have come before that was taken, and the bell with it. */
static bool take(void *context, struct assignment *out)
{
	struct nested *nested = context;
	uint64_t stopped[MAILBOX_SLOTS];
	size_t count;
	bool taken;

	pthread_mutex_lock(&nested->slots_lock);
	taken = take_slot(nested, out);
	count = find_stopped(nested, stopped);
	pthread_mutex_unlock(&nested->slots_lock);
	for (size_t i = 0; i < count; i++)
		hosted_stop(nested->hosted, stopped[i]);
	return taken;
}

static void finish(void *context, const struct assignment *assignment,
                   const struct record_outcome *outcome)
{
	struct nested *nested = context;

	/* Before the slot may have another task. */
	pthread_mutex_lock(&nested->slots_lock);
	nested->slots[assignment->slot].taken = false;
	pthread_mutex_unlock(&nested->slots_lock);
	put_back(nested, assignment->slot, assignment->generation, outcome);
}

static uint32_t ticket(void *context)
{
	const struct nested *nested = context;

	return mailbox_ticket(nested->box);
}

static void wait_for_task(void *context, uint32_t ticket, struct spin_budget *spin)
{
	const struct nested *nested = context;

	(void)mailbox_wait(nested->box, ticket, spin, clock_after_ms(LOOK_MS));
}

static const struct carrier carrier = { ticket, take, wait_for_task, finish };

/* --- a worker that could not be made --- */

/* Answer all tasks with this error until the parent closes control. Another process would fare no
 * better, so this one does not end for it. */
static void refuse_all(struct nested *nested, const struct record_outcome *refusal)
{
	struct spin_budget spin = { 0 };
	struct assignment task;

	do {
		uint32_t ticket = mailbox_ticket(nested->box);

		while (mailbox_take(nested->box, &nested->next_slot, &task.slot,
		                    &task.generation)) {
			struct record_outcome outcome = *refusal;

			(void)mailbox_read(nested->box, task.slot, &task.record);
			outcome.token = task.record.token;
			put_back(nested, task.slot, task.generation, &outcome);
		}
		(void)mailbox_wait(nested->box, ticket, &spin, clock_after_ms(LOOK_MS));
	} while (read_control(nested) == SIMPLER_OK);
}

/* --- life --- */

static void on_helper_lost(void *context)
{
	(void)context;
	simpler_log(SIMPLER_LOG_ERROR, "the spawn helper died, and all children with it");
	_exit(EXIT_FAILURE);
}

/* What a parent kills a child after is not what the child may take to kill its own: each level
 * gives those below three quarters of the time, or it would be killed for their stubbornness. */
static void shorten_grace(struct tree *tree)
{
	for (uint32_t i = 0; i < tree->count; i++)
		tree->nodes[i].grace_ms = tree->nodes[i].grace_ms / 4 * 3;
}

static simpler_status create_hosted(struct nested *nested)
{
	const struct worker_process *self = nested->self;
	struct tree *tree = malloc(sizeof(*tree));
	struct hosted_options options = {
		.tree = tree,
		.above_count = self->segment_count,
		.crash = &self->area->crash,
		.fetch = fetch,
		.catch_up = catch_up,
		.lost = on_helper_lost,
		.context = nested,
	};
	simpler_status status;

	if (!tree)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a worker");
	if (self->segment_count >= WORKER_MAX_SEGMENTS) {
		free(tree);
		return error_raise(SIMPLER_ENOSPACE, "%" PRIu32 " heaps above this worker",
		                   self->segment_count);
	}
	for (uint32_t i = 0; i < self->segment_count; i++) {
		options.above[i] = self->segments[i];
		options.above_fds[i] = self->segment_fds[i];
	}
	*tree = *self->tree;
	shorten_grace(tree);
	status = hosted_create(&options, &nested->hosted);
	free(tree);
	return status;
}

static simpler_status start(struct nested *nested)
{
	simpler_status status = create_hosted(nested);

	if (status != SIMPLER_OK)
		return status;
	nested->orchestrators.carrier = &carrier;
	nested->orchestrators.context = nested;
	nested->orchestrators.hosted = nested->hosted;
	nested->orchestrators.most = MAILBOX_SLOTS;
	return orchestrators_start(&nested->orchestrators);
}

static int nested_main(const struct worker_process *self)
{
	static struct nested nested; /* outlives main's frame: orchestrators never end */
	struct record_outcome refusal;
	simpler_status status;

	nested.self = self;
	nested.box = &self->area->box;
	(void)pthread_mutex_init(&nested.control_lock, NULL);
	(void)pthread_mutex_init(&nested.slots_lock, NULL);
	status = start(&nested);
	if (status == SIMPLER_OK) {
		serve_control(&nested);
	} else {
		simpler_log(SIMPLER_LOG_ERROR, "this worker does not start: %s",
		            simpler_last_error());
		(void)error_context("starting the worker");
		record_outcome_fill(&refusal, 0, status);
		refuse_all(&nested, &refusal);
	}
	if (nested.hosted)
		hosted_stop_children(nested.hosted);
	/* Orchestrators may be in the middle of user code: no clean-up that they could run into. */
	_exit(EXIT_SUCCESS);
}

int nested_helper_main(void)
{
	static const struct spawn_roles roles = { worker_process_main, chip_process_main,
		                                  nested_main };

	return spawn_helper_main(&roles);
}
