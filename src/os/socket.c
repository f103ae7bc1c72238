#include "os/socket.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Room for SOCKET_MAX_FDS descriptors, aligned as the kernel's macros want it. */
union control {
	struct cmsghdr header;
	unsigned char bytes[CMSG_SPACE(SOCKET_MAX_FDS * sizeof(int))];
};

simpler_status socket_pair(int ends[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot create a socket pair");
	return SIMPLER_OK;
}

/* --- names --- */

static socklen_t name_to(const char *name, struct sockaddr_un *out)
{
	size_t size = strlen(name);

	assert(size > 0 && size <= SOCKET_NAME_MAX);
	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	memcpy(&out->sun_path[1], name, size);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size);
}

#define BACKLOG 16

simpler_status socket_listen(const char *name, int *listener)
{
	struct sockaddr_un address;
	socklen_t size = name_to(name, &address);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

	if (fd < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot create a socket");
	if (bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, BACKLOG) == 0) {
		*listener = fd;
		return SIMPLER_OK;
	}
	error = errno;
	(void)close(fd);
	return error_raise_errno(error == EADDRINUSE ? SIMPLER_EEXIST : SIMPLER_ESYSTEM, error,
	                         "cannot listen at the abstract socket '@%s'", name);
}

/* Whoever waits goes on waiting. */
static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

simpler_status socket_accept(int listener, int *socket)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && is_shortage(errno))
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot accept who connects");
	/* Whatever is wrong with one that connected: the next one is another. */
	if (fd < 0)
		return error_raise_errno(SIMPLER_ENOTFOUND, errno, "nobody waits");
	*socket = fd;
	return SIMPLER_OK;
}

simpler_status socket_connect(const char *name, int *out)
{
	struct sockaddr_un address;
	socklen_t size = name_to(name, &address);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

	if (fd < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot create a socket");
	if (connect(fd, (struct sockaddr *)&address, size) == 0) {
		*out = fd;
		return SIMPLER_OK;
	}
	error = errno;
	(void)close(fd);
	return error_raise_errno(SIMPLER_EUNAVAILABLE, error,
	                         "cannot connect to the abstract socket '@%s'", name);
}

bool socket_peer_is_ours(int socket)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

void socket_end(int socket)
{
	(void)shutdown(socket, SHUT_RDWR);
}

/* --- datagrams --- */

static simpler_status raise_io(const char *what)
{
	if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
		return error_raise_errno(SIMPLER_EUNAVAILABLE, errno,
		                         "the other process has closed its socket");
	return error_raise_errno(SIMPLER_ESYSTEM, errno, "cannot %s a socket", what);
}

simpler_status socket_send(int socket, const void *bytes, size_t size, const int *fds,
                           size_t fd_count)
{
	union control control;
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	assert(size > 0 && fd_count <= SOCKET_MAX_FDS);
	if (fd_count > 0) {
		memset(&control, 0, sizeof(control));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
	}
	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? raise_io("write to") : SIMPLER_OK;
}

/* Copy out up to `capacity` descriptors and close the others. Returns how many came. */
static size_t take_fds(struct msghdr *message, int *fds, size_t capacity)
{
	size_t came = 0;

	for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each;
	     each = CMSG_NXTHDR(message, each)) {
		if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= each->cmsg_len;
		     at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(each) + at, sizeof(fd));
			if (came < capacity)
				fds[came] = fd;
			else
				(void)close(fd);
			came++;
		}
	}
	return came;
}

simpler_status socket_receive(int socket, void *bytes, size_t capacity, size_t *size, int *fds,
                              size_t fd_capacity, size_t *fd_count)
{
	union control control;
	struct iovec part = { .iov_base = bytes, .iov_len = capacity };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control };
	ssize_t received;

	assert(fd_capacity <= SOCKET_MAX_FDS);
	message.msg_controllen = sizeof(control);
	do
		received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return raise_io("read from");
	*fd_count = take_fds(&message, fds, fd_capacity);
	if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || *fd_count > fd_capacity) {
		for (size_t i = 0; i < *fd_count && i < fd_capacity; i++)
			(void)close(fds[i]);
		if ((message.msg_flags & MSG_CTRUNC) && *fd_count < fd_capacity)
			return error_raise(SIMPLER_ESYSTEM,
			                   "descriptors came that this process cannot have, as "
			                   "RLIMIT_NOFILE allows it no more");
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a datagram is larger than %zu bytes and %zu descriptors",
		                   capacity, fd_capacity);
	}
	if (received == 0)
		return error_raise(SIMPLER_EUNAVAILABLE, "the other process has closed its socket");
	*size = (size_t)received;
	return SIMPLER_OK;
}
