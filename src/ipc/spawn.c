/* The owner's side. See ipc/spawn_link.h for what is said. */
#include "ipc/spawn.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ipc/spawn_link.h"
#include "os/descriptor.h"
#include "os/process.h"
#include "os/socket.h"

#define START_MS 5000
#define STOP_MS  5000

static simpler_log_level current_log_level(void)
{
	int level = SIMPLER_LOG_DEBUG;

	while (level > SIMPLER_LOG_ERROR && !simpler_log_enabled((simpler_log_level)level))
		level--;
	return (simpler_log_level)level;
}

static simpler_status send_setup(int socket, const struct spawn_segment *segments, uint32_t count)
{
	struct spawn_setup setup;
	int fds[SPAWN_MAX_SEGMENTS];

	memset(&setup, 0, sizeof(setup));
	memcpy(setup.version, SIMPLER_VERSION, sizeof(SIMPLER_VERSION));
	setup.log_level = current_log_level();
	setup.segment_count = count;
	for (uint32_t i = 0; i < count; i++) {
		setup.segments[i].id = segments[i].id;
		setup.segments[i].bytes = segments[i].bytes;
		fds[i] = segments[i].fd;
	}
	return socket_send(socket, &setup, sizeof(setup), fds, count);
}

static simpler_status receive_answer(int socket, int64_t deadline, struct spawn_answer *out)
{
	size_t size, fd_count;
	simpler_status status;

	if (!descriptor_wait_readable(socket, deadline))
		return error_raise(SIMPLER_EDEADLINE, "the spawn helper does not answer");
	status = socket_receive(socket, out, sizeof(*out), &size, NULL, 0, &fd_count);
	if (status)
		return status;
	if (size != sizeof(*out))
		return error_raise(SIMPLER_EPROTOCOL, "the spawn helper answers %zu bytes, not %zu",
		                   size, sizeof(*out));
	out->text[sizeof(out->text) - 1] = '\0';
	return out->status ? error_raise(out->status, "%s", out->text) : SIMPLER_OK;
}

static simpler_status set_up(const struct spawn_helper *helper,
                             const struct spawn_segment *segments, uint32_t count)
{
	struct spawn_answer answer;
	simpler_status status = send_setup(helper->socket, segments, count);

	return status ? status : receive_answer(helper->socket, clock_after_ms(START_MS), &answer);
}

simpler_status spawn_helper_start(const char *program, const struct spawn_segment *segments,
                                  uint32_t segment_count, struct spawn_helper *out)
{
	char name[] = "simpler-host", role[] = "spawn";
	char *const argv[] = { name, role, NULL };
	int ends[2];
	simpler_status status;

	assert(segment_count > 0 && segment_count <= SPAWN_MAX_SEGMENTS);
	status = socket_pair(ends);
	if (status)
		return status;
	status = process_start(program, argv, &ends[1], 1, &out->pid, &out->pidfd);
	(void)close(ends[1]);
	out->socket = ends[0];
	if (status) {
		(void)close(ends[0]);
		return status;
	}
	status = set_up(out, segments, segment_count);
	if (status) {
		process_signal(out->pidfd, SIGKILL);
		spawn_helper_stop(out);
		return error_context("starting the spawn helper '%s'", program);
	}
	return SIMPLER_OK;
}

void spawn_helper_stop(struct spawn_helper *helper)
{
	int wait_status;

	(void)close(helper->socket);
	if (!process_wait(helper->pidfd, clock_after_ms(STOP_MS), &wait_status)) {
		simpler_log(SIMPLER_LOG_WARN, "the spawn helper (pid %ld) does not end: killing it",
		            (long)helper->pid);
		process_signal(helper->pidfd, SIGKILL);
		(void)process_wait(helper->pidfd, CLOCK_NEVER, &wait_status);
	}
	(void)close(helper->pidfd);
}

simpler_status spawn_worker(struct spawn_helper *helper, uint32_t index, pid_t *pid, int *control)
{
	struct spawn_request request = { .index = index };
	struct spawn_answer answer;
	int ends[2];
	simpler_status status = socket_pair(ends);

	if (status)
		return status;
	status = socket_send(helper->socket, &request, sizeof(request), &ends[1], 1);
	(void)close(ends[1]);
	/* Without a deadline: when the helper dies, so does the other end. */
	if (!status)
		status = receive_answer(ends[0], CLOCK_NEVER, &answer);
	if (status) {
		(void)close(ends[0]);
		return error_context("starting sub worker %u", (unsigned)index);
	}
	*pid = answer.pid;
	*control = ends[0];
	return SIMPLER_OK;
}

simpler_status spawn_next_exit(struct spawn_helper *helper, struct spawn_exit *out)
{
	size_t size, fd_count;
	simpler_status status;

	if (!descriptor_wait_readable(helper->socket, 0))
		return SIMPLER_ENOTFOUND;
	status = socket_receive(helper->socket, out, sizeof(*out), &size, NULL, 0, &fd_count);
	if (status)
		return error_context("the spawn helper (pid %ld) is gone", (long)helper->pid);
	if (size != sizeof(*out))
		return error_raise(SIMPLER_EPROTOCOL, "a report of an exit has %zu bytes, not %zu",
		                   size, sizeof(*out));
	return SIMPLER_OK;
}
