/*
 * SOCK_SEQPACKET sockets: whole datagrams in order, descriptors beside them, and an end of file
 * when the other side is gone, however it went. Descriptors are close-on-exec on both sides; a
 * closed peer is an error and never a SIGPIPE.
 */
#ifndef OS_SOCKET_H
#define OS_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define SOCKET_MAX_FDS 16

simpler_status socket_pair(int ends[2]);

/*
 * Sockets of this kind with an abstract name, which no file is behind: it goes with its listener.
 * Everybody on the machine, in the same network namespace, can connect.
 */
#define SOCKET_NAME_MAX 106
/* SIMPLER_EEXIST when somebody listens there. Accepting does not block. */
simpler_status socket_listen(const char *name, int *listener);
/* SIMPLER_ENOTFOUND when nobody waits; SIMPLER_ESYSTEM when this process can have no more sockets,
 * and whoever waits goes on waiting. Neither does the new socket block. */
simpler_status socket_accept(int listener, int *socket);
/* SIMPLER_EUNAVAILABLE when nobody listens, or so many wait that there is no place. */
simpler_status socket_connect(const char *name, int *out);
/* Whether the process at the other end was started by this user, or by root. */
bool socket_peer_is_ours(int socket);

/* Nothing goes either way any more; the other end finds the end of file once it has read what was
 * sent, and so does this one. From any thread. */
void socket_end(int socket);

/* Send one datagram of at least a byte, with `fd_count` descriptors that stay the caller's. Blocks
 * while the socket is full. SIMPLER_EUNAVAILABLE when the other end is gone. */
simpler_status socket_send(int socket, const void *bytes, size_t size, const int *fds,
                           size_t fd_count);

/*
 * Receive one datagram and the descriptors beside it, which are the caller's to close. Blocks until
 * there is one.
 *
 * @return SIMPLER_EUNAVAILABLE at end of file; SIMPLER_EPROTOCOL for a datagram over `capacity` or
 *         with more than `fd_capacity` descriptors, all of which are closed then.
 */
simpler_status socket_receive(int socket, void *bytes, size_t capacity, size_t *size, int *fds,
                              size_t fd_capacity, size_t *fd_count);

#endif
