/*
 * The child is forked and not executed anew, which the guard, of one thread and without state, may
 * do. It leads a process group, so that a constructor that signals its group does not reach the
 * guard; what leaves the group is adopted by the guard when its parent ends.
 */
#include "ipc/load_process.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/inject.h"
#include "base/log.h"
#include "catalog/digest.h"
#include "catalog/module_file.h"
#include "ipc/crash.h"
#include "ipc/loader.h"
#include "os/memory.h"
#include "os/process.h"
#include "os/rlimits.h"
#include "os/socket.h"
#include "wire/record.h"

struct guard {
	uint64_t deadline_ms;
	int64_t due;
	struct crash_area *area; /* shared with the child */
	int area_fd;
	int result; /* the child's one record comes here; -1: no more */
	pid_t child;
	int pidfd;
};

static simpler_status send_outcome(int socket, const struct record_outcome *outcome)
{
	uint8_t bytes[RECORD_OUTCOME_MAX];

	return socket_send(socket, bytes, record_outcome_encode(outcome, bytes, sizeof(bytes)),
	                   NULL, 0);
}

/* --- the child --- */

static simpler_status load_callables(struct loader *loader, const struct module_file *file,
                                     const struct digest *digest)
{
	simpler_status status = SIMPLER_OK;

	for (size_t i = 0; !status && i < file->count; i++) {
		struct record_install install = {
			.callable = i + 1,
			.kind = (uint8_t)file->entries[i].kind,
			.has_module = i == 0,
		};

		memcpy(install.module_digest, digest->bytes, sizeof(install.module_digest));
		memcpy(install.name, file->entries[i].name, sizeof(install.name));
		status = loader_install(loader, &install, i == 0 ? LOAD_MODULE_FD : -1);
	}
	return status;
}

/* An engine that had loaded it would fail for good, whatever it is asked to do then. */
static simpler_status check_limits(const struct limits *before)
{
	struct limits_change change;
	struct limits after;

	limits_get(&after);
	if (!limits_lowered(before, &after, &change))
		return SIMPLER_OK;
	if (change.from == UINT64_MAX)
		return error_raise(
			SIMPLER_EINVAL,
			"loading it lowers the process's %s limit %s, of which there was "
			"none, to %" PRIu64 "; a constructor leaves limits as they are",
			change.hard ? "hard" : "soft", change.name, change.to);
	return error_raise(SIMPLER_EINVAL,
	                   "loading it lowers the process's %s limit %s from %" PRIu64
	                   " to %" PRIu64 "; a constructor leaves limits as they are",
	                   change.hard ? "hard" : "soft", change.name, change.from, change.to);
}

static simpler_status load_module(struct crash_area *area)
{
	static struct module_file file;
	struct digest digest;
	struct loader *loader = loader_create();
	struct limits limits;
	void *bytes;
	uint64_t size;
	simpler_status status;

	if (!loader)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a loader");
	status = memory_size(LOAD_MODULE_FD, &size);
	if (!status)
		status = memory_map_readable(LOAD_MODULE_FD, size, &bytes);
	if (!status)
		status = digest_compute(bytes, (size_t)size, &digest);
	if (!status)
		status = module_file_parse(bytes, (size_t)size, &file);
	if (status)
		return status;
	crash_watch(area, loader);
	(void)INJECT("trial.load");
	limits_get(&limits);
	status = load_callables(loader, &file, &digest);
	return status ? status : check_limits(&limits);
}

static _Noreturn void run_child(const struct guard *guard, pid_t parent, int result)
{
	struct record_outcome outcome;

	(void)setpgid(0, 0);
	if (!process_die_with(parent))
		_exit(EXIT_FAILURE);
	/* What user code could reach; the area stays mapped. */
	(void)close(LOAD_CONTROL_FD);
	(void)close(guard->area_fd);
	(void)close(guard->result);
	record_outcome_fill(&outcome, 1, load_module(guard->area));
	(void)INJECT("trial.answer");
	(void)send_outcome(result, &outcome);
	/* The module's destructors are an engine's to run. */
	_exit(EXIT_SUCCESS);
}

/* --- birth --- */

static simpler_status make_area(struct guard *guard)
{
	void *base = NULL;
	simpler_status status =
		memory_create("simpler-crash", sizeof(struct crash_area), &guard->area_fd);

	if (!status)
		status = memory_commit(guard->area_fd, 0, sizeof(struct crash_area));
	if (!status)
		status = memory_map(guard->area_fd, sizeof(struct crash_area), &base);
	guard->area = base;
	return status;
}

static simpler_status start_child(struct guard *guard)
{
	pid_t self = getpid();
	int ends[2];
	simpler_status status = socket_pair(ends);

	if (status)
		return status;
	guard->result = ends[0];
	guard->child = fork();
	if (guard->child == 0)
		run_child(guard, self, ends[1]);
	(void)close(ends[1]);
	if (guard->child < 0)
		return error_raise(SIMPLER_ESYSTEM, "there can be no more processes");
	/* Here as well, as nobody knows who is first. */
	(void)setpgid(guard->child, guard->child);
	return process_open(guard->child, &guard->pidfd);
}

static simpler_status start(struct guard *guard)
{
	simpler_status status = process_adopt_orphans();

	guard->due = clock_after_ms(guard->deadline_ms);
	if (!status)
		status = make_area(guard);
	return status ? status : start_child(guard);
}

/* --- its end --- */

static bool is_own(const void *context, pid_t pid)
{
	(void)context;
	(void)pid;
	return false;
}

/* Kill and reap the child and all below it. `*wait_status` is not SIGKILL's if it had ended. */
static void end_child(struct guard *guard, int *wait_status)
{
	process_kill_group(guard->child);
	process_signal(guard->pidfd, SIGKILL);
	(void)process_wait(guard->pidfd, CLOCK_NEVER, wait_status);
	process_end_adopted(true, is_own, NULL);
}

static int find_module(void *context, const uint8_t digest[RECORD_DIGEST_BYTES])
{
	(void)context;
	(void)digest;
	return LOAD_MODULE_FD; /* there is no other */
}

static void explain_signal(struct guard *guard, int wait_status, struct error *error)
{
	char how[96], why[CRASH_TEXT_BYTES] = "";
	struct crash_report crash;
	bool has_crash = crash_take(guard->area, &crash) && crash.pid == guard->child &&
	                 crash.signal == WTERMSIG(wait_status);

	process_describe_exit(wait_status, how, sizeof(how));
	if (has_crash)
		crash_fault_text(&crash, why);
	error_init(error, SIMPLER_EINVAL, "loading it crashed: the process (pid %ld) %s%s",
	           (long)guard->child, how, why);
	if (has_crash)
		crash_explain(&crash, find_module, NULL, error);
}

static void explain_end(struct guard *guard, int wait_status, struct error *error)
{
	if (WIFSIGNALED(wait_status))
		explain_signal(guard, wait_status, error);
	else
		error_init(error, SIMPLER_EINVAL,
		           "loading it ended the process, which exited with status %d; a "
		           "constructor returns, it does not exit",
		           WEXITSTATUS(wait_status));
}

/* --- waiting --- */

enum event { NOTHING, ABANDONED, ANSWERED, ENDED, LATE };

/* Whether the child has said how it went. If not, its end or its time tells. */
static bool take_result(struct guard *guard, struct record_outcome *outcome)
{
	uint8_t bytes[RECORD_OUTCOME_MAX];
	size_t size, fd_count;
	simpler_status status =
		socket_receive(guard->result, bytes, sizeof(bytes), &size, NULL, 0, &fd_count);

	if (status == SIMPLER_OK)
		status = record_outcome_decode(bytes, size, outcome);
	(void)close(guard->result);
	guard->result = -1;
	return status == SIMPLER_OK;
}

static int poll_timeout(int64_t due)
{
	int64_t left = due - clock_now();

	return left > 0 ? (int)(left / CLOCK_MS) + 1 : 0;
}

/* A child that has answered and ended has answered. */
static enum event next_event(struct guard *guard, struct record_outcome *outcome)
{
	struct pollfd fds[] = {
		{ .fd = LOAD_CONTROL_FD, .events = POLLIN },
		{ .fd = guard->result, .events = POLLIN },
		{ .fd = guard->pidfd, .events = POLLIN },
	};

	if (poll(fds, 3, poll_timeout(guard->due)) <= 0)
		return clock_now() < guard->due ? NOTHING : LATE;
	if (fds[0].revents)
		return ABANDONED;
	if (fds[1].revents)
		return take_result(guard, outcome) ? ANSWERED : NOTHING;
	return ENDED;
}

static void await_child(struct guard *guard, struct record_outcome *outcome)
{
	enum event event = NOTHING;
	int wait_status;

	while (event == NOTHING)
		event = next_event(guard, outcome);
	end_child(guard, &wait_status);
	if (event == ENDED)
		explain_end(guard, wait_status, &outcome->error);
	if (event == LATE)
		error_init(&outcome->error, SIMPLER_EINVAL,
		           "loading it had not ended after %g s: a constructor does not return, or "
		           "stops the process",
		           (double)guard->deadline_ms / 1000);
}

static bool parse_arguments(struct guard *guard, int count, char **arguments)
{
	char *end;

	if (count != 2 || strcmp(arguments[0], "--deadline") != 0)
		return false;
	guard->deadline_ms = strtoull(arguments[1], &end, 10);
	return *end == '\0' && guard->deadline_ms > 0 && guard->deadline_ms <= INT32_MAX;
}

int load_main(int count, char **arguments)
{
	struct guard guard = { .result = -1, .pidfd = -1 };
	struct record_outcome outcome = { .token = 1 };
	simpler_status status;

	if (!parse_arguments(&guard, count, arguments)) {
		fprintf(stderr, "simpler-host load: started by simpler-l3d, not by hand\n");
		return 2;
	}
	log_set_role("load");
	status = start(&guard);
	if (status)
		record_outcome_fill(&outcome, 1,
		                    status); /* a child, if there is one, dies with us */
	else
		await_child(&guard, &outcome);
	return send_outcome(LOAD_CONTROL_FD, &outcome) ? EXIT_FAILURE : EXIT_SUCCESS;
}
