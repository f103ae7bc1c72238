/*
 * Sub workers behind mailboxes.
 *
 * A sub worker has at most one task. `lock` guards what the parent knows of each: its task, the
 * mailbox generation, what was installed in it. Nothing is called back under it.
 *
 * Workers ring a pair of bells (ipc/doorbell_pair.h): the collector thread is its resident, and a
 * thread that waits for a run is its visitor and collects for itself.
 */
#include "exec/local.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipc/mailbox.h"
#include "ipc/spawn.h"
#include "ipc/worker_process.h"
#include "os/memory.h"
#include "os/process.h"

/* Between two looks at the mailboxes without a ring: user code that overwrites the bells delays
 * outcomes by so much, and loses none. */
#define LOOK_MS 1000

#define QUICK_MS      1000
#define FREE_DEATHS   8u /* of those in a row, so many are replaced at once */
#define PAUSE_MS      20 /* then it is so much longer each time */
#define PAUSE_MOST_MS 1000

struct sub_worker {
	struct exec_child child;
	struct local_group *group;
	uint32_t index;
	/* Under the group's lock: */
	pid_t pid; /* 0: dead, a replacement is on its way */
	int pidfd, control;
	int64_t started;
	unsigned quick_deaths; /* the last so many processes lived less than QUICK_MS */
	uint32_t generation;
	struct exec_task *task;
	bool posted;        /* the task is in the mailbox */
	uint8_t *installed; /* by callable key: this process has been sent it */
	size_t installed_size;
};

struct local_group {
	pthread_mutex_t lock;
	struct local_options options;
	struct control_segment *shared;
	size_t shared_bytes;
	int shared_fd;
	struct spawn_helper helper; /* the supervisor thread's, once that runs */
	pthread_t supervisor, collector;
	bool has_supervisor, has_collector;
	int stop_pipe[2];      /* closing the write end ends the supervisor */
	_Atomic bool stopping; /* ends the collector */
	_Atomic bool attending;
	struct spin_budget attend_spin; /* of whoever attends */
	struct sub_worker workers[];
};

/* --- handing a task over --- */

static bool was_installed(const struct sub_worker *worker, uint64_t key)
{
	return key < worker->installed_size && worker->installed[key];
}

static simpler_status note_installed(struct sub_worker *worker, uint64_t key)
{
	if (key >= worker->installed_size) {
		size_t wanted = (size_t)key + 64;
		uint8_t *grown = realloc(worker->installed, wanted);

		if (!grown)
			return error_raise(SIMPLER_ENOMEM, "out of memory for callable %llu",
			                   (unsigned long long)key);
		memset(grown + worker->installed_size, 0, wanted - worker->installed_size);
		worker->installed = grown;
		worker->installed_size = wanted;
	}
	worker->installed[key] = 1;
	return SIMPLER_OK;
}

static simpler_status install_in(struct sub_worker *worker, const struct exec_callable *callable)
{
	struct record_install install = {
		.callable = callable->key,
		.kind = (uint8_t)callable->kind,
		.has_module = true,
		.state_size = (uint32_t)callable->state.size,
		.state = callable->state.data,
	};
	simpler_status status;

	if (was_installed(worker, callable->key))
		return SIMPLER_OK;
	memcpy(install.module_digest, callable->module->digest.bytes,
	       sizeof(install.module_digest));
	memcpy(install.name, callable->name, sizeof(install.name));
	status = install_send(worker->control, &install, callable->module->fd);
	return status == SIMPLER_OK ? note_installed(worker, callable->key) : status;
}

static void describe_task(const struct exec_task *task, struct record_task *out)
{
	out->token = task->id;
	out->callable = task->callable->key;
	out->config = *task->config;
	out->tensor_count = task->tensor_count;
	out->scalar_count = task->scalar_count;
	for (uint32_t i = 0; i < task->tensor_count; i++) {
		const struct exec_tensor *from = &task->tensors[i];
		struct record_tensor *to = &out->tensors[i];

		to->segment = from->segment;
		to->dtype = (uint8_t)from->view.dtype;
		to->tag = (uint8_t)from->tag;
		to->ndim = (uint8_t)from->view.ndim;
		to->offset = from->offset;
		to->nbytes = from->nbytes;
		to->strided = false;
		memcpy(to->shape, from->view.shape, sizeof(to->shape));
	}
	if (task->scalar_count > 0)
		memcpy(out->scalars, task->scalars, task->scalar_count * sizeof(uint64_t));
}

/* Under the lock, with a live process. */
static simpler_status post(struct sub_worker *worker)
{
	struct record_task record;
	simpler_status status = install_in(worker, worker->task->callable);

	if (status != SIMPLER_OK)
		return status;
	describe_task(worker->task, &record);
	status = mailbox_post(&worker->group->shared->boxes[worker->index], worker->generation,
	                      &record);
	worker->posted = status == SIMPLER_OK;
	return status;
}

/* Under the lock: a process that broke the rules. Its death is noticed like any other. */
static void give_up_on(struct sub_worker *worker)
{
	simpler_log(SIMPLER_LOG_ERROR, "sub worker %u is killed: %s", worker->index,
	            simpler_last_error());
	process_signal(worker->pidfd, SIGKILL);
}

static void local_start(struct exec_child *child, struct exec_task *task)
{
	struct sub_worker *worker = (struct sub_worker *)child;
	simpler_status status = SIMPLER_OK;
	struct error error;

	pthread_mutex_lock(&worker->group->lock);
	worker->task = task;
	worker->posted = false;
	/* While there is no process the task waits here for the replacement. So it does when the
	 * process cannot be handed anything: it is dying, or has overwritten its mailbox. */
	if (worker->pid != 0)
		status = post(worker);
	if (status == SIMPLER_ENOMEM)
		worker->task = NULL;
	else if (status != SIMPLER_OK)
		give_up_on(worker);
	pthread_mutex_unlock(&worker->group->lock);
	if (status == SIMPLER_ENOMEM) {
		error_save(&error);
		task->done(task, &error);
	}
}

/* A worker process is sent a callable just before its first task that needs it. */
static simpler_status local_install(struct exec_child *child, const struct exec_callable *callable)
{
	(void)child;
	(void)callable;
	return SIMPLER_OK;
}

static void local_close(struct exec_child *child)
{
	(void)child; /* local_group_destroy() ends all of them */
}

static const struct exec_child_ops local_ops = { local_install, local_start, local_close };

/* --- outcomes --- */

/* Take one outcome that lies ready. The task has left its worker then; the caller finishes it. */
static struct exec_task *collect_one(struct local_group *group, struct record_outcome *outcome)
{
	struct exec_task *task = NULL;

	pthread_mutex_lock(&group->lock);
	for (uint32_t i = 0; i < group->options.workers && !task; i++) {
		struct sub_worker *worker = &group->workers[i];
		struct mailbox *box = &group->shared->boxes[i];
		enum mailbox_state state;

		if (!worker->posted)
			continue;
		state = mailbox_state(box, worker->generation);
		if (state == MAILBOX_FREE && worker->pid != 0) {
			(void)error_raise(SIMPLER_EPROTOCOL, "it overwrote its mailbox");
			give_up_on(worker);
		}
		if (state != MAILBOX_DONE)
			continue;
		task = worker->task;
		if (mailbox_collect(box, worker->generation, outcome) != SIMPLER_OK)
			error_save(&outcome->error);
		worker->generation++;
		worker->task = NULL;
		worker->posted = false;
	}
	pthread_mutex_unlock(&group->lock);
	return task;
}

static void collect_all(struct local_group *group)
{
	struct record_outcome outcome;
	struct exec_task *task;

	while ((task = collect_one(group, &outcome)) != NULL)
		task->done(task, outcome.error.status == SIMPLER_OK ? NULL : &outcome.error);
}

static void *collector_main(void *argument)
{
	struct local_group *group = argument;
	struct doorbell *bell = &group->shared->finished.resident;
	struct spin_budget spin = { 0 };

	while (!atomic_load(&group->stopping)) {
		uint32_t ticket = doorbell_ticket(bell);

		collect_all(group);
		if (!atomic_load(&group->stopping))
			(void)doorbell_wait(bell, ticket, &spin, clock_after_ms(LOOK_MS));
	}
	return NULL;
}

static bool announce(void *context)
{
	struct local_group *group = context;

	if (atomic_exchange(&group->attending, true))
		return false;
	doorbell_pair_announce(&group->shared->finished);
	return true;
}

static bool attend(void *context, bool announced, const _Atomic bool *finished)
{
	struct local_group *group = context;
	struct doorbell_pair *pair = &group->shared->finished;

	if (!announced && atomic_exchange(&group->attending, true))
		return false;
	doorbell_pair_enter(pair);
	while (!atomic_load(finished)) {
		uint32_t ticket = doorbell_ticket(&pair->visitor);

		collect_all(group);
		if (!atomic_load(finished))
			(void)doorbell_wait(&pair->visitor, ticket, &group->attend_spin,
			                    clock_after_ms(LOOK_MS));
	}
	doorbell_pair_leave(pair);
	atomic_store(&group->attending, false);
	collect_all(group);
	return true;
}

static void wake(void *context)
{
	struct local_group *group = context;

	if (atomic_load(&group->attending))
		doorbell_ring_all(&group->shared->finished.visitor);
}

struct exec_progress local_progress(struct local_group *group)
{
	return (struct exec_progress){ group, announce, attend, wake };
}

/* --- births and deaths --- */

static simpler_status start_process(struct sub_worker *worker)
{
	pid_t pid;
	int control;
	simpler_status status = spawn_worker(&worker->group->helper, worker->index, &pid, &control);

	if (status != SIMPLER_OK)
		return error_context("starting sub worker %u", worker->index);
	pthread_mutex_lock(&worker->group->lock);
	worker->pid = pid;
	worker->control = control;
	worker->started = clock_now();
	/* It may be dead already; then there is nothing to signal. */
	if (process_open(pid, &worker->pidfd) != SIMPLER_OK)
		worker->pidfd = -1;
	if (worker->installed)
		memset(worker->installed, 0, worker->installed_size);
	pthread_mutex_unlock(&worker->group->lock);
	return SIMPLER_OK;
}

static void describe_death(const struct spawn_exit *exit, struct error *error)
{
	char how[96];

	process_describe_exit(exit->wait_status, how, sizeof(how));
	error_init(error, SIMPLER_ECRASHED, "the process (pid %ld) %s%s", (long)exit->pid, how,
	           WIFEXITED(exit->wait_status) ? "; a callable returns, it does not exit" : "");
}

/* Forget a dead process; returns the task that died with it. One whose outcome was already in the
 * mailbox is not lost and stays for a collector. */
static struct exec_task *bury(struct sub_worker *worker)
{
	struct local_group *group = worker->group;
	struct mailbox *box = &group->shared->boxes[worker->index];
	struct exec_task *lost = NULL;

	pthread_mutex_lock(&group->lock);
	if (!worker->posted || mailbox_state(box, worker->generation) != MAILBOX_DONE) {
		(void)mailbox_abandon(box, worker->generation);
		worker->generation++;
		if (worker->posted) {
			lost = worker->task;
			worker->task = NULL;
		}
		worker->posted = false;
	}
	(void)close(worker->control);
	if (worker->pidfd >= 0)
		(void)close(worker->pidfd);
	worker->control = worker->pidfd = -1;
	worker->pid = 0;
	worker->quick_deaths =
		clock_now() - worker->started < QUICK_MS * CLOCK_MS ? worker->quick_deaths + 1 : 0;
	pthread_mutex_unlock(&group->lock);
	return lost;
}

/* Give a task that arrived while there was no process to the new one, or fail it. */
static void hand_over_waiting(struct sub_worker *worker, simpler_status alive)
{
	struct exec_task *failed = NULL;
	struct error error;

	pthread_mutex_lock(&worker->group->lock);
	if (worker->task && !worker->posted &&
	    (alive != SIMPLER_OK || post(worker) != SIMPLER_OK)) {
		failed = worker->task;
		worker->task = NULL;
	}
	pthread_mutex_unlock(&worker->group->lock);
	if (failed) {
		error_save(&error);
		failed->done(failed, &error);
	}
}

/* Pause; true when the group is to stop. */
static bool stops_within(const struct local_group *group, int milliseconds)
{
	struct pollfd stop = { group->stop_pipe[0], POLLIN, 0 };

	return poll(&stop, 1, milliseconds) > 0;
}

/* A worker that dies again and again must not keep the machine busy with its rebirths. */
static void pause_before(const struct sub_worker *worker)
{
	unsigned more = worker->quick_deaths > FREE_DEATHS ? worker->quick_deaths - FREE_DEATHS : 0;

	if (more > 0)
		(void)stops_within(worker->group, more < PAUSE_MOST_MS / PAUSE_MS
		                                          ? (int)more * PAUSE_MS
		                                          : PAUSE_MOST_MS);
}

static void replace(struct local_group *group, const struct spawn_exit *exit)
{
	struct sub_worker *worker = &group->workers[exit->index];
	struct exec_task *lost;
	struct error error;
	simpler_status status;

	if (exit->index >= group->options.workers || worker->pid != exit->pid)
		return;
	describe_death(exit, &error);
	simpler_log(SIMPLER_LOG_WARN, "sub worker %u: %s; starting another", exit->index,
	            error_step(&error, 0));
	lost = bury(worker);
	pause_before(worker);
	/* Until it works, as tasks may wait for it already: the machine may be short of processes
	 * or descriptors for a while. Without the helper it never will; the engine ends then. */
	while ((status = start_process(worker)) != SIMPLER_OK && status != SIMPLER_EUNAVAILABLE) {
		simpler_log(SIMPLER_LOG_ERROR, "%s", simpler_last_error());
		if (stops_within(group, PAUSE_MOST_MS))
			break;
	}
	/* Only now: whoever hears of the loss may send the next task at once. */
	if (lost)
		lost->done(lost, &error);
	hand_over_waiting(worker, status);
}

/* False when the group is to stop. */
static bool wait_for_news(struct local_group *group)
{
	struct pollfd fds[] = {
		{ group->helper.socket, POLLIN, 0 },
		{ group->stop_pipe[0], POLLIN, 0 },
	};

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		continue;
	/* User code that closed all descriptors took the helper away with them. */
	if ((fds[0].revents | fds[1].revents) & POLLNVAL)
		group->options.lost();
	return fds[1].revents == 0;
}

static void *supervisor_main(void *argument)
{
	struct local_group *group = argument;
	struct spawn_exit exit;
	simpler_status status = SIMPLER_OK;

	while (status != SIMPLER_EUNAVAILABLE && wait_for_news(group)) {
		while ((status = spawn_next_exit(&group->helper, &exit)) == SIMPLER_OK)
			replace(group, &exit);
	}
	if (status == SIMPLER_EUNAVAILABLE)
		group->options.lost();
	return NULL;
}

/* --- the group --- */

static simpler_status map_control(struct local_group *group)
{
	void *base;
	simpler_status status;

	group->shared_bytes =
		sizeof(struct control_segment) + group->options.workers * sizeof(struct mailbox);
	status = memory_create("simpler-mailboxes", group->shared_bytes, &group->shared_fd);
	if (status != SIMPLER_OK)
		return status;
	status = memory_map(group->shared_fd, group->shared_bytes, &base);
	if (status == SIMPLER_OK)
		group->shared = base;
	return status;
}

static simpler_status start_helper(struct local_group *group)
{
	const struct spawn_segment segments[] = {
		{ group->shared_fd, 0, group->shared_bytes },
		{ group->options.memory_fd, group->options.memory_segment,
		  group->options.memory_bytes },
	};

	return spawn_helper_start(group->options.host_program, segments,
	                          group->options.memory_bytes > 0 ? 2 : 1, &group->helper);
}

static simpler_status start_threads(struct local_group *group)
{
	int failure;

	if (pipe(group->stop_pipe) != 0) {
		group->stop_pipe[0] = group->stop_pipe[1] = -1;
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "making a pipe");
	}
	failure = pthread_create(&group->collector, NULL, collector_main, group);
	if (failure != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, failure, "starting a thread");
	group->has_collector = true;
	failure = pthread_create(&group->supervisor, NULL, supervisor_main, group);
	if (failure != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, failure, "starting a thread");
	group->has_supervisor = true;
	return SIMPLER_OK;
}

static void init_worker(struct local_group *group, uint32_t index)
{
	struct sub_worker *worker = &group->workers[index];

	worker->child.ops = &local_ops;
	worker->child.runs = SIMPLER_KIND_SUB;
	worker->child.capacity = 1;
	(void)snprintf(worker->child.name, sizeof(worker->child.name), "sub worker %u", index);
	worker->group = group;
	worker->index = index;
	worker->control = worker->pidfd = -1;
}

static simpler_status start_group(struct local_group *group)
{
	simpler_status status = map_control(group);

	if (status == SIMPLER_OK)
		status = start_helper(group);
	for (uint32_t i = 0; i < group->options.workers && status == SIMPLER_OK; i++)
		status = start_process(&group->workers[i]);
	if (status == SIMPLER_OK)
		status = start_threads(group);
	return status;
}

simpler_status local_group_create(const struct local_options *options, struct local_group **out)
{
	struct local_group *group =
		calloc(1, sizeof(*group) + options->workers * sizeof(group->workers[0]));

	if (!group)
		return error_raise(SIMPLER_ENOMEM, "out of memory for %u sub workers",
		                   options->workers);
	group->options = *options;
	group->shared_fd = group->helper.socket = -1;
	group->stop_pipe[0] = group->stop_pipe[1] = -1;
	(void)pthread_mutex_init(&group->lock, NULL);
	for (uint32_t i = 0; i < options->workers; i++)
		init_worker(group, i);
	if (start_group(group) != SIMPLER_OK) {
		local_group_destroy(group);
		return simpler_last_status();
	}
	*out = group;
	return SIMPLER_OK;
}

struct exec_child *local_group_child(struct local_group *group, uint32_t index)
{
	return &group->workers[index].child;
}

static void stop_threads(struct local_group *group)
{
	atomic_store(&group->stopping, true);
	if (group->has_collector) {
		doorbell_ring_all(&group->shared->finished.resident);
		(void)pthread_join(group->collector, NULL);
	}
	if (group->stop_pipe[1] >= 0)
		(void)close(group->stop_pipe[1]);
	if (group->has_supervisor)
		(void)pthread_join(group->supervisor, NULL);
	if (group->stop_pipe[0] >= 0)
		(void)close(group->stop_pipe[0]);
	group->has_collector = group->has_supervisor = false;
	group->stop_pipe[0] = group->stop_pipe[1] = -1;
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
	local_group_stop(group);
	for (uint32_t i = 0; i < group->options.workers; i++) {
		if (group->workers[i].control >= 0)
			(void)close(group->workers[i].control);
		if (group->workers[i].pidfd >= 0)
			(void)close(group->workers[i].pidfd);
		free(group->workers[i].installed);
	}
	if (group->shared)
		memory_unmap(group->shared, group->shared_bytes);
	if (group->shared_fd >= 0)
		(void)close(group->shared_fd);
	(void)pthread_mutex_destroy(&group->lock);
	free(group);
}
