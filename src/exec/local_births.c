/*
 * The supervisor: one thread that starts processes, hears of their deaths from the spawn helper,
 * and kills those whose task was stopped and goes on. It never waits for one child while another
 * needs it: what is to happen later has its time noted.
 *
 * How a process ended only the helper knows, which also sees to what was below a next-level worker.
 * So a death counts when the helper tells of it. It is seen before, by the pidfd. A helper that has
 * not told of it after PATIENT_LOOKS more looks at everything has stopped or hangs, and is killed,
 * with all children: what to do about a lost helper is known, and one that is not there may come
 * back at any time. Looks are counted and not time, of which much may have passed when this process
 * was stopped, too.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "exec/local_group.h"
#include "os/descriptor.h"
#include "os/events.h"
#include "os/process.h"

#define QUICK_MS      1000
#define FREE_DEATHS   8u /* of those in a row, so many are replaced at once */
#define PAUSE_MS      20 /* then it is so much longer each time */
#define PAUSE_MOST_MS 1000

#define PATIENT_LOOKS 3u
#define LOST_WAIT_MS  1000

/* --- births --- */

simpler_status local_start_process(struct local_child *child)
{
	const struct spawn_order order = {
		.role = child->role,
		.index = child->index,
		.number = child->number,
		.device = child->device,
		.device_index = child->device_index,
		.tree = child->tree,
	};
	struct spawned spawned;
	simpler_status status = spawn_worker(&child->group->helper, &order, &spawned);

	if (status != SIMPLER_OK)
		return status;
	pthread_mutex_lock(&child->group->lock);
	child->pid = spawned.pid;
	child->pidfd = spawned.pidfd;
	child->control = spawned.control;
	child->started = clock_now();
	child->killed_for[0] = '\0';
	child->excused = false;
	child->next_slot = 0;
	local_forget_memory(child);
	if (child->installed)
		memset(child->installed, 0, child->installed_count * sizeof(child->installed[0]));
	local_post_queued(child);
	pthread_mutex_unlock(&child->group->lock);
	mailbox_wake(&child->group->shared->workers[child->index].box);
	return SIMPLER_OK;
}

static void kill_helper(struct local_group *group)
{
	simpler_log(SIMPLER_LOG_ERROR,
	            "the spawn helper (pid %ld) does not answer, and is killed: was it stopped?",
	            (long)group->helper.pid);
	process_signal(group->helper.pidfd, SIGKILL);
}

/* Tasks may wait for it. The machine may be short of processes or descriptors for a while. Without
 * the helper it never will start; that is noticed elsewhere. */
static void try_to_start(struct local_child *child)
{
	simpler_status status = local_start_process(child);

	if (status == SIMPLER_OK)
		return;
	simpler_log(SIMPLER_LOG_ERROR, "%s", simpler_last_error());
	if (status == SIMPLER_EDEADLINE)
		kill_helper(child->group);
	pthread_mutex_lock(&child->group->lock);
	child->start_at = clock_after_ms(PAUSE_MOST_MS);
	pthread_mutex_unlock(&child->group->lock);
}

/* --- deaths --- */

struct death {
	struct exec_task *lost[MAILBOX_SLOTS];
	uint32_t lost_count;
	char killed_for[96];
	struct crash_report crash;
	bool has_crash;
};

/* Under the lock: it had not begun. The next process gets it, unless it was stopped. */
static void requeue(struct local_child *child, uint32_t slot, struct exec_task **tasks,
                    uint64_t *posted, uint32_t *count)
{
	uint32_t at = (*count)++;

	for (; at > 0 && posted[at - 1] > child->slots[slot].posted; at--) {
		tasks[at] = tasks[at - 1];
		posted[at] = posted[at - 1];
	}
	posted[at] = child->slots[slot].posted;
	tasks[at] = local_empty_slot(child, slot);
}

/* Under the lock: what of its slots is DONE stays for a collector, the rest is taken out. */
static void empty_slots(struct local_child *child, struct death *death)
{
	struct mailbox *box = &child->group->shared->workers[child->index].box;
	struct exec_task *again[2 * MAILBOX_SLOTS];
	uint64_t posted[MAILBOX_SLOTS];
	uint32_t count = 0;

	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++) {
		struct local_slot *slot = &child->slots[i];
		enum mailbox_state was = mailbox_state(&box->slots[i], slot->generation);

		if (slot->task && was == MAILBOX_DONE)
			continue;
		(void)mailbox_abandon(&box->slots[i], slot->generation);
		if (!slot->task)
			slot->generation++;
		else if (was == MAILBOX_READY && slot->kill_at == CLOCK_NEVER)
			requeue(child, i, again, posted, &count);
		else
			death->lost[death->lost_count++] = local_empty_slot(child, i);
	}
	/* They came before those that are queued. */
	memmove(&child->queue[count], child->queue, child->queued * sizeof(child->queue[0]));
	memcpy(child->queue, again, count * sizeof(child->queue[0]));
	child->queued += count;
	mailbox_reset(box);
}

/* A process that dies again and again must not keep the machine busy with its rebirths. */
static int64_t when_to_start(struct local_child *child)
{
	bool quick = clock_now() - child->started < QUICK_MS * CLOCK_MS;
	unsigned more;

	if (!child->excused)
		child->quick_deaths = quick ? child->quick_deaths + 1 : 0;
	more = child->quick_deaths > FREE_DEATHS ? child->quick_deaths - FREE_DEATHS : 0;
	if (more == 0)
		return 0;
	return clock_after_ms(more < PAUSE_MOST_MS / PAUSE_MS ? more * PAUSE_MS : PAUSE_MOST_MS);
}

/* Forget a dead process. */
static void bury(struct local_child *child, const struct spawn_exit *exit, struct death *death)
{
	struct local_group *group = child->group;

	memset(death, 0, sizeof(*death));
	pthread_mutex_lock(&group->lock);
	memcpy(death->killed_for, child->killed_for, sizeof(death->killed_for));
	death->has_crash = crash_take(&group->shared->workers[child->index].crash, &death->crash) &&
	                   death->crash.pid == exit->pid && WIFSIGNALED(exit->wait_status) &&
	                   WTERMSIG(exit->wait_status) == death->crash.signal;
	empty_slots(child, death);
	/* It may have died between telling of an outcome and waking somebody for it. */
	group->to_look_at[child->index / 64] |= UINT64_C(1) << child->index % 64;
	(void)atomic_fetch_and(&group->shared->outcomes[child->index / 64],
	                       ~(UINT64_C(1) << child->index % 64));
	(void)close(child->control);
	(void)close(child->pidfd);
	child->control = child->pidfd = -1;
	child->pid = 0;
	child->seen_dead = false;
	child->deaths++;
	child->start_at = when_to_start(child);
	pthread_mutex_unlock(&group->lock);
}

static int find_module(void *context, const uint8_t digest[RECORD_DIGEST_BYTES])
{
	struct local_group *group = context;
	int fd = -1;

	pthread_mutex_lock(&group->lock);
	for (size_t i = 0; i < group->module_count && fd < 0; i++) {
		if (memcmp(group->modules[i].digest, digest, RECORD_DIGEST_BYTES) == 0)
			fd = group->modules[i].fd;
	}
	pthread_mutex_unlock(&group->lock);
	return fd;
}

static void describe_death(const struct spawn_exit *exit, const struct death *death,
                           struct error *error)
{
	char how[96], why[CRASH_TEXT_BYTES] = "";

	process_describe_exit(exit->wait_status, how, sizeof(how));
	if (death->killed_for[0])
		(void)snprintf(why, sizeof(why), ": %s", death->killed_for);
	else if (death->has_crash)
		crash_fault_text(&death->crash, why);
	else if (WIFEXITED(exit->wait_status))
		(void)snprintf(why, sizeof(why), "; a callable returns, it does not exit");
	error_init(error, SIMPLER_ECRASHED, "the process (pid %ld) %s%s", (long)exit->pid, how,
	           why);
}

static void replace(struct local_group *group, const struct spawn_exit *exit)
{
	struct local_child *child;
	struct death death;
	struct error error;

	if (exit->index >= group->child_count || group->children[exit->index]->pid != exit->pid)
		return;
	child = group->children[exit->index];
	bury(child, exit, &death);
	describe_death(exit, &death, &error);
	simpler_log(SIMPLER_LOG_WARN, "%s: %s; starting another", child->child.name,
	            error_step(&error, 0));
	/* First, as the rest may take its time, and who hears of a loss may send the next task at
	 * once. */
	if (child->start_at == 0)
		try_to_start(child);
	local_collect(group, true);
	if (death.has_crash)
		crash_explain(&death.crash, find_module, group, &error);
	for (uint32_t i = 0; i < death.lost_count; i++)
		death.lost[i]->done(death.lost[i], &error);
}

/* --- what has a time --- */

/* Under the lock. */
static void kill_overdue(struct local_child *child, int64_t now)
{
	struct mailbox *box = &child->group->shared->workers[child->index].box;

	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++) {
		struct local_slot *slot = &child->slots[i];

		if (!slot->task || slot->kill_at > now)
			continue;
		/* Whatever comes of it, once is enough. */
		slot->kill_at = CLOCK_NEVER;
		if (mailbox_state(&box->slots[i], slot->generation) == MAILBOX_DONE)
			continue;
		child->excused = true;
		local_kill(child, "a task that was stopped did not end within its grace period");
	}
}

static bool is_due(struct local_child *child, int64_t now)
{
	bool due;

	pthread_mutex_lock(&child->group->lock);
	kill_overdue(child, now);
	due = child->pid == 0 && child->start_at <= now;
	pthread_mutex_unlock(&child->group->lock);
	return due;
}

static void do_what_is_due(struct local_group *group)
{
	int64_t now = clock_now();

	for (uint32_t i = 0; i < group->child_count; i++) {
		if (is_due(group->children[i], now))
			try_to_start(group->children[i]);
	}
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t next_time(struct local_group *group, int64_t look_at)
{
	int64_t at = look_at;

	pthread_mutex_lock(&group->lock);
	for (uint32_t i = 0; i < group->child_count; i++) {
		const struct local_child *child = group->children[i];

		if (child->pid == 0)
			at = earlier(at, child->start_at);
		for (uint32_t j = 0; child->used >> j != 0; j++) {
			if (child->slots[j].task)
				at = earlier(at, child->slots[j].kill_at);
		}
	}
	group->wake_at = at;
	pthread_mutex_unlock(&group->lock);
	return at;
}

void local_wake_supervisor_at(struct local_group *group, int64_t at)
{
	if (at >= group->wake_at)
		return;
	group->wake_at = at;
	events_wake(group->wakeup);
}

/* Everything that hints and bells should have told of, in case somebody overwrote them. */
static void look_at_everything(struct local_group *group)
{
	local_collect(group, true);
	doorbell_ring_all(&group->shared->finished.resident);
	doorbell_ring_all(&group->shared->finished.visitor);
}

/* Whether the helper owes word of a death for too long. */
static void look_at_helper(struct local_group *group)
{
	bool silent = false;

	for (uint32_t i = 0; i < group->child_count; i++) {
		struct local_child *child = group->children[i];

		silent |= child->seen_dead && ++child->looks > PATIENT_LOOKS;
	}
	if (silent)
		kill_helper(group);
}

/* --- the loop --- */

/* The processes whose deaths have not been seen yet: one that was would wake this thread again and
 * again. Returns how many entries there are. */
static size_t watch_processes(const struct local_group *group, struct pollfd *entries,
                              struct local_child **watched)
{
	size_t count = 0;

	for (uint32_t i = 0; i < group->child_count; i++) {
		struct local_child *child = group->children[i];

		if (child->pid == 0 || child->seen_dead)
			continue;
		entries[count] = (struct pollfd){ child->pidfd, POLLIN, 0 };
		watched[count++] = child;
	}
	return count;
}

/* False when the descriptors are gone: user code that closed all of them took the helper away. */
static bool wait_until(struct local_group *group, int64_t at)
{
	struct local_child *watched[WORKER_MAX];
	struct pollfd fds[2 + WORKER_MAX] = {
		{ group->helper.socket, POLLIN, 0 },
		{ group->wakeup, POLLIN, 0 },
	};
	size_t count = watch_processes(group, fds + 2, watched);

	(void)descriptor_poll(fds, 2 + count, at);
	if ((fds[0].revents | fds[1].revents) & POLLNVAL)
		return false;
	if (fds[1].revents)
		events_clear(group->wakeup);
	for (size_t i = 0; i < count; i++) {
		if (!(fds[2 + i].revents & POLLIN))
			continue;
		watched[i]->seen_dead = true;
		watched[i]->looks = 0;
	}
	return true;
}

/* No process of theirs writes to a task's tensors any more when the task fails. */
static void await_all_deaths(struct local_group *group)
{
	int64_t until = clock_after_ms(LOST_WAIT_MS);

	for (uint32_t i = 0; i < group->child_count; i++) {
		if (group->children[i]->pid != 0)
			(void)descriptor_wait_readable(group->children[i]->pidfd, until);
	}
}

static bool hear_of_deaths(struct local_group *group)
{
	struct spawn_exit exit;
	simpler_status status;

	while ((status = spawn_next_exit(&group->helper, &exit)) == SIMPLER_OK)
		replace(group, &exit);
	return status == SIMPLER_ENOTFOUND;
}

void *local_supervisor_main(void *argument)
{
	struct local_group *group = argument;
	int64_t look_at = clock_after_ms(LOCAL_LOOK_MS);
	bool well = true;

	while (well && !atomic_load(&group->stopping)) {
		well = wait_until(group, next_time(group, look_at)) && hear_of_deaths(group);
		if (!well || atomic_load(&group->stopping))
			break;
		do_what_is_due(group);
		if (clock_now() >= look_at) {
			look_at_everything(group);
			look_at_helper(group);
			look_at = clock_after_ms(LOCAL_LOOK_MS);
		}
	}
	if (!well && !atomic_load(&group->stopping)) {
		group->options.lost(group->options.context);
		await_all_deaths(group);
		local_collect(group, true);
		local_fail_all(group);
	}
	return NULL;
}
