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

simpler_status install_receive(int socket, uint8_t *buffer, struct record_install *out,
                               int *module_fd)
{
	size_t size, fd_count;
	simpler_status status;

	*module_fd = -1;
	status = socket_receive(socket, buffer, RECORD_INSTALL_MAX, &size, module_fd, 1, &fd_count);
	if (status)
		return status;
	status = record_install_decode(buffer, size, out);
	if (!status && out->has_module != (fd_count == 1))
		status = error_raise(SIMPLER_EPROTOCOL, "an install of '%s' came %s its module",
		                     out->name, fd_count == 1 ? "unexpectedly with" : "without");
	if (status && fd_count == 1) {
		(void)close(*module_fd);
		*module_fd = -1;
	}
	return status;
}
