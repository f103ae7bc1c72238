/*
 * The spawn helper: one thread and one poll loop over its owner's socket and a pidfd for each
 * worker. It runs no user code, so that a worker is always forked from a clean process.
 *
 * It has mapped the shared segments before the first fork; workers inherit the mappings and never
 * see the descriptors. A terminal's signals are ignored here and, by inheritance, in the workers:
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

struct child {
	uint32_t index;
	pid_t pid;
	int pidfd;
};

struct helper {
	pid_t pid;
	struct control_segment *shared;
	uint32_t box_count;
	struct memory_segment segments[SPAWN_MAX_SEGMENTS]; /* those that hold tensors */
	uint32_t segment_count;
	struct child children[WORKER_MAX];
	size_t child_count;
};

/* --- setting up --- */

static simpler_status take_control(struct helper *helper, void *base, uint64_t bytes)
{
	uint64_t boxes;

	if (bytes < sizeof(struct control_segment))
		return error_raise(SIMPLER_EPROTOCOL, "a control segment of %" PRIu64 " bytes",
		                   bytes);
	boxes = (bytes - sizeof(struct control_segment)) / sizeof(struct mailbox);
	helper->shared = base;
	helper->box_count = boxes < WORKER_MAX ? (uint32_t)boxes : WORKER_MAX;
	return SIMPLER_OK;
}

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
	if (id == 0)
		return take_control(helper, base, bytes);
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

/* With status SIMPLER_OK, `pid`; else the thread's last error. */
static simpler_status answer(int socket, simpler_status status, pid_t pid)
{
	struct spawn_answer said;

	memset(&said, 0, sizeof(said));
	said.status = status;
	said.pid = pid;
	if (status)
		(void)snprintf(said.text, sizeof(said.text), "%s", simpler_last_error_step(0));
	return socket_send(socket, &said, sizeof(said), NULL, 0);
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
	status = take_setup(helper, &setup, size, fds, fd_count);
	for (size_t i = 0; i < fd_count; i++)
		(void)close(fds[i]);
	if (answer(SPAWN_SOCKET_FD, status, 0) != SIMPLER_OK)
		return SIMPLER_EUNAVAILABLE;
	return status;
}

/* --- births --- */

/* In the new process. The descriptors of the helper and of other workers are none of its own. */
static void run_worker(const struct helper *helper, uint32_t index, int control)
{
	struct worker_process self = {
		.index = index,
		.control = control,
		.shared = helper->shared,
		.segment_count = helper->segment_count,
	};

	if (!process_die_with(helper->pid))
		_exit(EXIT_FAILURE);
	process_close_all_but(control);
	log_set_role("sub worker %" PRIu32, index);
	memcpy(self.segments, helper->segments, sizeof(self.segments));
	exit(worker_process_main(&self));
}

static simpler_status check_request(const struct helper *helper, uint32_t index)
{
	if (index >= helper->box_count)
		return error_raise(SIMPLER_EINVAL,
		                   "there is no mailbox %" PRIu32 ": there are %" PRIu32, index,
		                   helper->box_count);
	for (size_t i = 0; i < helper->child_count; i++) {
		if (helper->children[i].index == index)
			return error_raise(SIMPLER_EEXIST, "sub worker %" PRIu32 " is alive",
			                   index);
	}
	return SIMPLER_OK;
}

static simpler_status fork_worker(struct helper *helper, uint32_t index, int control)
{
	struct child *child = &helper->children[helper->child_count];
	simpler_status status = check_request(helper, index);

	if (status)
		return status;
	assert(helper->child_count < WORKER_MAX); /* indexes are below it and alive once */
	child->index = index;
	child->pid = fork();
	if (child->pid < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot fork a worker");
	if (child->pid == 0)
		run_worker(helper, index, control);
	/* Nobody else waits for it, so the pid is still its own. */
	status = process_open(child->pid, &child->pidfd);
	if (status) {
		(void)kill(child->pid, SIGKILL);
		(void)waitpid(child->pid, NULL, 0);
		return status;
	}
	helper->child_count++;
	return SIMPLER_OK;
}

/* False when the owner is gone or makes no sense. */
static bool serve_request(struct helper *helper)
{
	struct spawn_request request;
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
	status = fork_worker(helper, request.index, control);
	/* An owner that gave the control socket up is told of the worker's exit all the same. */
	(void)answer(control, status, status ? 0 : helper->children[helper->child_count - 1].pid);
	(void)close(control);
	return true;
}

/* --- deaths --- */

/* Blocks while the owner does not read; it reads, or it closes the socket. */
static void report_exit(struct helper *helper, size_t at)
{
	struct child *child = &helper->children[at];
	struct spawn_exit report;

	memset(&report, 0, sizeof(report));
	report.index = child->index;
	report.pid = child->pid;
	if (!process_wait(child->pidfd, 0, &report.wait_status))
		return;
	(void)close(child->pidfd);
	*child = helper->children[--helper->child_count];
	(void)socket_send(SPAWN_SOCKET_FD, &report, sizeof(report), NULL, 0);
}

static void kill_all(struct helper *helper)
{
	int wait_status;

	for (size_t i = 0; i < helper->child_count; i++)
		process_signal(helper->children[i].pidfd, SIGKILL);
	for (size_t i = 0; i < helper->child_count; i++)
		(void)process_wait(helper->children[i].pidfd, CLOCK_NEVER, &wait_status);
}

/* --- the loop --- */

static void serve(struct helper *helper)
{
	struct pollfd fds[1 + WORKER_MAX];
	size_t count;

	do {
		fds[0] = (struct pollfd){ .fd = SPAWN_SOCKET_FD, .events = POLLIN };
		count = helper->child_count;
		for (size_t i = 0; i < count; i++)
			fds[1 + i] = (struct pollfd){ .fd = helper->children[i].pidfd,
				                      .events = POLLIN };
		if (poll(fds, (nfds_t)(1 + count), -1) < 0) {
			if (errno == EINTR)
				continue;
			return;
		}
		/* From the back: a report moves the last child into the gap. */
		for (size_t i = count; i-- > 0;) {
			if (fds[1 + i].revents)
				report_exit(helper, i);
		}
	} while (!fds[0].revents || serve_request(helper));
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

int spawn_helper_main(void)
{
	static struct helper helper;

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
