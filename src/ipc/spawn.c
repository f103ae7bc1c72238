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

/* An answer, and the worker's pidfd beside it where there is one to come: `pidfd` is not NULL. */
static simpler_status receive_answer(int socket, int64_t deadline, struct spawn_answer *out,
                                     int *pidfd)
{
	size_t size, fd_count;
	simpler_status status;

	if (!descriptor_wait_readable(socket, deadline))
		return error_raise(SIMPLER_EDEADLINE, "the spawn helper does not answer");
	status = socket_receive(socket, out, sizeof(*out), &size, pidfd, pidfd ? 1 : 0, &fd_count);
	if (status)
		return status;
	if (size != sizeof(*out) || (out->status == SIMPLER_OK && pidfd && fd_count != 1)) {
		if (pidfd && fd_count == 1)
			(void)close(*pidfd);
		return error_raise(SIMPLER_EPROTOCOL,
		                   "the spawn helper answers %zu bytes and %zu descriptors", size,
		                   fd_count);
	}
	out->text[sizeof(out->text) - 1] = '\0';
	return out->status ? error_raise(out->status, "%s", out->text) : SIMPLER_OK;
}

static simpler_status set_up(const struct spawn_helper *helper,
                             const struct spawn_segment *segments, uint32_t count)
{
	struct spawn_answer answer;
	simpler_status status = send_setup(helper->socket, segments, count);

	return status ? status
	              : receive_answer(helper->socket, clock_after_ms(START_MS), &answer, NULL);
}

simpler_status spawn_helper_start(const char *program, const struct spawn_segment *segments,
                                  uint32_t segment_count, struct spawn_helper *out)
{
	bool own = strcmp(program, SPAWN_OWN_PROGRAM) == 0;
	char name[] = SPAWN_NAME, role[] = SPAWN_ROLE, own_role[] = SPAWN_ROLE_OWN_PROGRAM;
	char *const argv[] = { name, own ? own_role : role, NULL };
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
		if (own)
			(void)error_context(
				"a program that serves itself has simpler_program_serve() as the "
				"first statement of main()");
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

const char *spawn_role_name(enum spawn_role role)
{
	static const char *const names[] = {
		[SPAWN_SUB] = "sub worker",
		[SPAWN_CHIP] = "chip",
		[SPAWN_NEXT_LEVEL] = "worker",
	};

	return names[role];
}

/* Send for a process. `control` is the owner's end of its socket. */
static simpler_status request_worker(struct spawn_helper *helper, const struct spawn_order *order,
                                     int *control)
{
	const struct spawn_request request = { order->role, order->index, order->number };
	int ends[2];
	simpler_status status = socket_pair(ends);

	if (status)
		return status;
	status = socket_send(helper->socket, &request, sizeof(request), &ends[1], 1);
	(void)close(ends[1]);
	if (status)
		(void)close(ends[0]);
	*control = ends[0];
	return status;
}

static simpler_status send_role(int control, const struct spawn_order *order)
{
	struct spawn_chip chip = { .device_index = order->device_index };
	uint8_t tree[TREE_BYTES_MAX];

	switch (order->role) {
	case SPAWN_SUB:
		break;
	case SPAWN_CHIP:
		assert(strlen(order->device) < sizeof(chip.device));
		memcpy(chip.device, order->device, strlen(order->device));
		return socket_send(control, &chip, sizeof(chip), NULL, 0);
	case SPAWN_NEXT_LEVEL:
		return socket_send(control, tree, tree_encode(order->tree, tree, sizeof(tree)),
		                   NULL, 0);
	}
	return SIMPLER_OK;
}

simpler_status spawn_worker(struct spawn_helper *helper, const struct spawn_order *order,
                            struct spawned *out)
{
	struct spawn_answer answer;
	simpler_status status = request_worker(helper, order, &out->control);

	if (status == SIMPLER_OK) {
		status = receive_answer(out->control, clock_after_ms(SPAWN_PATIENCE_MS), &answer,
		                        &out->pidfd);
		if (status == SIMPLER_OK) {
			status = send_role(out->control, order);
			if (status)
				(void)close(out->pidfd);
		}
		if (status)
			(void)close(out->control);
	}
	if (status)
		return error_context("starting %s %u", spawn_role_name(order->role),
		                     (unsigned)order->number);
	out->pid = answer.pid;
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
