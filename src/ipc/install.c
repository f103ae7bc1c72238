#include "ipc/install.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/socket.h"

simpler_status install_send(int socket, const struct record_install *install, int module_fd)
{
	size_t capacity = RECORD_INSTALL_MAX, size;
	uint8_t *bytes = malloc(capacity);
	simpler_status status;

	assert(install->has_module == (module_fd >= 0));
	if (!bytes)
		return error_raise(SIMPLER_ENOMEM, "out of memory for installing a callable");
	size = record_install_encode(install, bytes, capacity);
	assert(size > 0);
	status = socket_send(socket, bytes, size, &module_fd, install->has_module ? 1 : 0);
	free(bytes);
	return status;
}

simpler_status forget_send(int socket, uint64_t callable)
{
	const struct record_forget forget = { .callable = callable };
	uint8_t bytes[RECORD_FORGET_MAX];
	size_t size = record_forget_encode(&forget, bytes, sizeof(bytes));

	return socket_send(socket, bytes, size, NULL, 0);
}

simpler_status segment_send(int socket, const struct record_segment *segment, int fd)
{
	uint8_t bytes[RECORD_SEGMENT_MAX];
	size_t size = record_segment_encode(segment, bytes, sizeof(bytes));

	assert((segment->bytes > 0) == (fd >= 0));
	return socket_send(socket, bytes, size, &fd, fd >= 0 ? 1 : 0);
}

/* What is said, and whether a descriptor belongs to it. */
static simpler_status decode(const uint8_t *bytes, size_t size, struct control_message *out,
                             bool *wants_fd)
{
	simpler_status status;

	*wants_fd = false;
	out->kind = record_kind_of(bytes, size);
	if (out->kind == RECORD_FORGET)
		return record_forget_decode(bytes, size, &out->forget);
	if (out->kind == RECORD_SEGMENT) {
		status = record_segment_decode(bytes, size, &out->segment);
		*wants_fd = status == SIMPLER_OK && out->segment.bytes > 0;
		return status;
	}
	status = record_install_decode(bytes, size, &out->install);
	*wants_fd = status == SIMPLER_OK && out->install.has_module;
	return status;
}

simpler_status control_receive(int socket, uint8_t *buffer, struct control_message *out)
{
	size_t size, fd_count;
	simpler_status status;
	bool wants_fd;

	out->fd = -1;
	status = socket_receive(socket, buffer, RECORD_INSTALL_MAX, &size, &out->fd, 1, &fd_count);
	if (status)
		return status;
	status = decode(buffer, size, out, &wants_fd);
	if (!status && wants_fd != (fd_count == 1))
		status = error_raise(SIMPLER_EPROTOCOL, "a record came %s a descriptor",
		                     fd_count == 1 ? "unexpectedly with" : "without");
	if (status && fd_count == 1) {
		(void)close(out->fd);
		out->fd = -1;
	}
	return status;
}
