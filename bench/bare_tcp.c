/* Blocking sockets. The server reads what there is and writes it back; the client writes a message
 * at a time, and reads what there is. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bare_echo.h"

#define BUFFER ((size_t)64 << 10)
/* All that is under way fits, or both ends might wait for the other to read. */
#define SOCKET_BUFFER (8 << 20)

static void set_up(int fd)
{
	const int on = 1, bytes = SOCKET_BUFFER;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static void serve(int out)
{
	static char buffer[BUFFER];
	struct sockaddr_in self = { .sin_family = AF_INET,
		                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(self);
	char address[BARE_ADDRESS] = { 0 };
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;
	ssize_t got;

	if (listener < 0 || bind(listener, (struct sockaddr *)&self, size) != 0 ||
	    listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&self, &size) != 0)
		return;
	memcpy(address, &self, sizeof(self));
	if (!bare_process_write(out, address, sizeof(address)))
		return;
	fd = accept(listener, NULL, NULL);
	set_up(fd);
	while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
		if (!bare_process_write(fd, buffer, (size_t)got))
			return;
	}
}

static void *connect_to(const char address[BARE_ADDRESS])
{
	static int fd;
	struct sockaddr_in server;

	memcpy(&server, address, sizeof(server));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)) != 0)
		return NULL;
	set_up(fd);
	return &fd;
}

static bool one(void *client, size_t size)
{
	char record[BARE_RECORD_MAX] = { 0 };
	int fd = *(int *)client;

	return bare_process_write(fd, record, size) && bare_process_read(fd, record, size);
}

static bool many(void *client, const struct bare_load *load)
{
	static char message[BARE_MOST_UNDER_WAY * BARE_RECORD_MAX], buffer[BUFFER];
	const size_t all = load->count * load->size, window = load->outstanding * load->size;
	const size_t step = load->batch * load->size;
	size_t sent = 0, received = 0;
	int fd = *(int *)client;

	while (received < all) {
		ssize_t got;

		while (sent < all && sent - received + step <= window) {
			if (!bare_process_write(fd, message, step))
				return false;
			sent += step;
		}
		got = read(fd, buffer, sizeof(buffer));
		if (got <= 0)
			return false;
		received += (size_t)got;
	}
	return true;
}

static const struct bare_kind kind = { "tcp", serve, connect_to, one, many };
const struct bare_kind *const echo_tcp = &kind;
