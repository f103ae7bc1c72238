/*
 * The spawn helper: one thread and one poll loop over its owner's socket and a pidfd for each
 * worker. It runs no user code, so that a worker is always forked from a clean process.
 *
 * It has mapped the shared segments before the first fork; workers inherit the mappings. Their
 * descriptors only a next-level worker keeps, whose own helper is to map them, too. A terminal's
 * signals are ignored here and, by inheritance, in the workers:
 * whoever owns the helper decides when they end, and says so by closing the socket.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipc/spawn_link.h"
#include "ipc/worker_process.h"
#include "os/memory.h"
#include "os/process.h"
#include "os/socket.h"

/* Between two looks for adopted processes that have ended. */
#define REAP_MS 1000

struct child {
	enum spawn_role role;
	uint32_t index;
	pid_t pid;
	int pidfd;
};

struct helper {
	pid_t pid;
	int owner;   /* pidfd */
	bool adopts; /* what next-level workers leave behind */
	const struct spawn_roles *roles;
	struct control_segment *shared;
	uint32_t area_count;
	struct memory_segment segments[SPAWN_MAX_SEGMENTS]; /* those that hold tensors */
	int segment_fds[SPAWN_MAX_SEGMENTS];
	uint32_t segment_count;
	struct child children[WORKER_MAX];
	size_t child_count;
};

/* --- setting up --- */

static simpler_status take_control(struct helper *helper, void *base, uint64_t bytes)
{
	uint64_t areas;

	if (bytes < sizeof(struct control_segment))
		return error_raise(SIMPLER_EPROTOCOL, "a control segment of %" PRIu64 " bytes",
		                   bytes);
	areas = (bytes - sizeof(struct control_segment)) / sizeof(struct worker_area);
	helper->shared = base;
	helper->area_count = areas < WORKER_MAX ? (uint32_t)areas : WORKER_MAX;
	return SIMPLER_OK;
}

/* `fd` stays open for next-level workers, if it is one that holds tensors. */
static simpler_status take_segment(struct helper *helper, uint32_t id, uint64_t bytes, int fd)
{
	struct memory_segment *segment;
	uint64_t there;
	void *base;
	simpler_status status = memory_size(fd, &there);

	if (!status && there < bytes)
		status = error_raise(SIMPLER_EPROTOCOL,
		                     "memory segment %" PRIu32 " has %" PRIu64
		                     " bytes, not %" PRIu64,
		                     id, there, bytes);
	if (!status)
		status = memory_map(fd, bytes, &base);
	if (status)
		return status;
	if (id == 0) {
		(void)close(fd);
		return take_control(helper, base, bytes);
	}
	helper->segment_fds[helper->segment_count] = fd;
	segment = &helper->segments[helper->segment_count++];
	segment->id = id;
	segment->base = base;
	segment->bytes = bytes;
	return SIMPLER_OK;
}

static simpler_status take_setup(struct helper *helper, const struct spawn_setup *setup,
                                 size_t size, const int *fds, size_t fd_count)
{
	simpler_status status = SIMPLER_OK;

	if (size != sizeof(*setup) ||
	    memcmp(setup->version, SIMPLER_VERSION, sizeof(SIMPLER_VERSION)) != 0)
		return error_raise(SIMPLER_EVERSION,
		                   "this simpler-host is of version %s, its owner is not: install "
		                   "both from one build",
		                   SIMPLER_VERSION);
	if (setup->segment_count != fd_count)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "%" PRIu32 " memory segments came with %zu descriptors",
		                   setup->segment_count, fd_count);
	simpler_log_set_level(setup->log_level);
	for (size_t i = 0; i < fd_count && !status; i++)
		status = take_segment(helper, setup->segments[i].id, setup->segments[i].bytes,
		                      fds[i]);
	if (!status && !helper->shared)
		status = error_raise(SIMPLER_EPROTOCOL, "there is no control segment");
	return status;
}

/* With status SIMPLER_OK, `child` if there is one; else the thread's last error. */
static simpler_status answer(int socket, simpler_status status, const struct child *child)
{
	struct spawn_answer said;

	memset(&said, 0, sizeof(said));
	said.status = status;
	if (status)
		(void)snprintf(said.text, sizeof(said.text), "%s", simpler_last_error_step(0));
	if (status || !child)
		return socket_send(socket, &said, sizeof(said), NULL, 0);
	said.pid = child->pid;
	return socket_send(socket, &said, sizeof(said), &child->pidfd, 1);
}

static simpler_status set_up(struct helper *helper)
{
	struct spawn_setup setup;
	int fds[SPAWN_MAX_SEGMENTS];
	size_t size, fd_count;
	simpler_status status = socket_receive(SPAWN_SOCKET_FD, &setup, sizeof(setup), &size, fds,
	                                       SPAWN_MAX_SEGMENTS, &fd_count);

	if (status)
		return status;
	helper->pid = getpid();
	/* Gone already: then the socket says so, too. */
	if (process_open(getppid(), &helper->owner) != SIMPLER_OK)
		helper->owner = -1;
	status = take_setup(helper, &setup, size, fds, fd_count);
	if (answer(SPAWN_SOCKET_FD, status, NULL) != SIMPLER_OK)
		return SIMPLER_EUNAVAILABLE;
	return status;
}

/* --- births --- */

/* In the new process: what the owner says besides, over the control socket. */
static simpler_status receive_chip(struct worker_process *self)
{
	struct spawn_chip chip;
	size_t size, fd_count;
	simpler_status status =
		socket_receive(self->control, &chip, sizeof(chip), &size, NULL, 0, &fd_count);

	if (status)
		return status;
	if (size != sizeof(chip) || !memchr(chip.device, '\0', sizeof(chip.device)))
		return error_raise(SIMPLER_EPROTOCOL, "no chip was described in %zu bytes", size);
	self->device_index = chip.device_index;
	memcpy(self->device, chip.device, sizeof(self->device));
	return SIMPLER_OK;
}

static simpler_status receive_tree(struct worker_process *self)
{
	static struct tree tree;
	uint8_t bytes[TREE_BYTES_MAX];
	size_t size, fd_count;
	simpler_status status =
		socket_receive(self->control, bytes, sizeof(bytes), &size, NULL, 0, &fd_count);

	if (status == SIMPLER_OK)
		status = tree_decode(bytes, size, &tree);
	self->tree = &tree;
	return status;
}

/* In the new process. The descriptors of the helper and of other workers are none of its own. */
static void close_foreign(const struct helper *helper, const struct worker_process *self)
{
	if (self->role != SPAWN_NEXT_LEVEL) {
		process_close_all_but(self->control);
		return;
	}
	(void)close(SPAWN_SOCKET_FD);
	(void)close(helper->owner);
	for (size_t i = 0; i < helper->child_count; i++)
		(void)close(helper->children[i].pidfd);
}

/* In the new process. */
static int run_role(const struct spawn_roles *roles, struct worker_process *self)
{
	simpler_status status = SIMPLER_OK;

	if (self->role == SPAWN_CHIP)
		status = receive_chip(self);
	else if (self->role == SPAWN_NEXT_LEVEL)
		status = receive_tree(self);
	if (status) {
		simpler_log(SIMPLER_LOG_ERROR, "%s", simpler_last_error());
		return EXIT_FAILURE;
	}
	switch (self->role) {
	case SPAWN_SUB:
		return roles->worker(self);
	case SPAWN_CHIP:
		return roles->chip(self);
	case SPAWN_NEXT_LEVEL:
		return roles->next_level(self);
	}
	return EXIT_FAILURE;
}

static void run_worker(const struct helper *helper, const struct spawn_request *request,
                       int control)
{
	struct worker_process self = {
		.role = request->role,
		.index = request->index,
		.number = request->number,
		.control = control,
		.shared = helper->shared,
		.area = &helper->shared->workers[request->index],
		.segment_count = helper->segment_count,
	};

	if (!process_die_with(helper->pid))
		_exit(EXIT_FAILURE);
	close_foreign(helper, &self);
	log_set_role("%s %" PRIu32, spawn_role_name(self.role), self.number);
	memcpy(self.segments, helper->segments, sizeof(self.segments));
	memcpy(self.segment_fds, helper->segment_fds, sizeof(self.segment_fds));
	exit(run_role(helper->roles, &self));
}

static simpler_status check_request(const struct helper *helper,
                                    const struct spawn_request *request)
{
	if (request->index >= helper->area_count)
		return error_raise(SIMPLER_EINVAL,
		                   "there is no mailbox %" PRIu32 ": there are %" PRIu32,
		                   request->index, helper->area_count);
	for (size_t i = 0; i < helper->child_count; i++) {
		if (helper->children[i].index == request->index)
			return error_raise(SIMPLER_EEXIST,
			                   "the worker of mailbox %" PRIu32 " is alive",
			                   request->index);
	}
	return SIMPLER_OK;
}

/* `*out` is valid until the next birth or death. */
static simpler_status fork_worker(struct helper *helper, const struct spawn_request *request,
                                  int control, const struct child **out)
{
	struct child *child = &helper->children[helper->child_count];
	simpler_status status = check_request(helper, request);

	if (status)
		return status;
	assert(helper->child_count < WORKER_MAX); /* indexes are below it and alive once */
	child->role = request->role;
	child->index = request->index;
	if (child->role == SPAWN_NEXT_LEVEL && !helper->adopts)
		helper->adopts = process_adopt_orphans() == SIMPLER_OK;
	child->pid = fork();
	if (child->pid < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot fork a worker");
	if (child->pid == 0)
		run_worker(helper, request, control);
	/* Nobody else waits for it, so the pid is still its own. */
	status = process_open(child->pid, &child->pidfd);
	if (status) {
		(void)kill(child->pid, SIGKILL);
		(void)waitpid(child->pid, NULL, 0);
		return status;
	}
	helper->child_count++;
	*out = child;
	return SIMPLER_OK;
}

/* False when the owner is gone or makes no sense. */
static bool serve_request(struct helper *helper)
{
	struct spawn_request request;
	const struct child *child = NULL;
	size_t size, fd_count;
	int control;
	simpler_status status = socket_receive(SPAWN_SOCKET_FD, &request, sizeof(request), &size,
	                                       &control, 1, &fd_count);

	if (status || fd_count != 1)
		return false;
	if (size != sizeof(request)) {
		(void)close(control);
		return false;
	}
	status = fork_worker(helper, &request, control, &child);
	/* An owner that gave the control socket up is told of the worker's exit all the same. */
	(void)answer(control, status, child);
	(void)close(control);
	return true;
}

/* --- deaths --- */

static bool is_own(const void *context, pid_t pid)
{
	const struct helper *helper = context;

	for (size_t i = 0; i < helper->child_count; i++) {
		if (helper->children[i].pid == pid)
			return true;
	}
	return false;
}

/* Blocks while the owner does not read; it reads, or it closes the socket. What was below a
 * next-level worker has ended, too, when the owner hears of its death: no process of its tasks
 * writes to their tensors any more. */
static void report_exit(struct helper *helper, size_t at)
{
	struct child *child = &helper->children[at];
	struct spawn_exit report;
	bool adopted;

	memset(&report, 0, sizeof(report));
	report.index = child->index;
	report.pid = child->pid;
	if (!process_wait(child->pidfd, 0, &report.wait_status))
		return;
	(void)close(child->pidfd);
	adopted = child->role == SPAWN_NEXT_LEVEL;
	*child = helper->children[--helper->child_count];
	if (adopted)
		process_end_adopted(true, is_own, helper);
	(void)socket_send(SPAWN_SOCKET_FD, &report, sizeof(report), NULL, 0);
}

static void kill_all(struct helper *helper)
{
	int wait_status;

	for (size_t i = 0; i < helper->child_count; i++)
		process_signal(helper->children[i].pidfd, SIGKILL);
	for (size_t i = 0; i < helper->child_count; i++)
		(void)process_wait(helper->children[i].pidfd, CLOCK_NEVER, &wait_status);
	helper->child_count = 0;
	if (helper->adopts)
		process_end_adopted(true, is_own, helper);
}

/* --- the loop --- */

/* The owner's death is watched for besides the socket's end: user code that the owner ran may have
 * forked, and the copy holds the socket. */
static void serve(struct helper *helper)
{
	struct pollfd fds[2 + WORKER_MAX];
	size_t count;

	do {
		fds[0] = (struct pollfd){ .fd = SPAWN_SOCKET_FD, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = helper->owner, .events = POLLIN };
		count = helper->child_count;
		for (size_t i = 0; i < count; i++)
			fds[2 + i] = (struct pollfd){ .fd = helper->children[i].pidfd,
				                      .events = POLLIN };
		if (poll(fds, (nfds_t)(2 + count), helper->adopts ? REAP_MS : -1) < 0 &&
		    errno != EINTR)
			return;
		/* From the back: a report moves the last child into the gap. */
		for (size_t i = count; i-- > 0;) {
			if (fds[2 + i].revents)
				report_exit(helper, i);
		}
		if (helper->adopts)
			process_end_adopted(false, is_own, helper);
	} while (!fds[1].revents && (!fds[0].revents || serve_request(helper)));
}

/* SIGPIPE, too: a reader of standard error that goes away must not end everything. */
static void ignore_signals(void)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGPIPE };
	struct sigaction ignore;

	memset(&ignore, 0, sizeof(ignore));
	ignore.sa_handler = SIG_IGN;
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)sigaction(ignored[i], &ignore, NULL);
}

simpler_status spawn_is_own_helper(bool *out)
{
	static const char own[] = SPAWN_NAME "\0" SPAWN_ROLE_OWN_PROGRAM;
	char line[sizeof(own) + 1];
	size_t size;
	simpler_status status = process_command_line(line, sizeof(line), &size);

	*out = status == SIMPLER_OK && size == sizeof(own) && memcmp(line, own, size) == 0;
	return status;
}

int spawn_helper_main(const struct spawn_roles *roles)
{
	static struct helper helper;

	helper.roles = roles;
	log_set_role("spawn helper");
	ignore_signals();
	/* It came by dup2(), which cannot set the flag. */
	(void)fcntl(SPAWN_SOCKET_FD, F_SETFD, FD_CLOEXEC);
	if (set_up(&helper) != SIMPLER_OK) {
		simpler_log(SIMPLER_LOG_ERROR, "%s", simpler_last_error());
		return EXIT_FAILURE;
	}
	serve(&helper);
	kill_all(&helper);
	return EXIT_SUCCESS;
}
