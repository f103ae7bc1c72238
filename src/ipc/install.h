/*
 * What a process is told over its control socket (SOCK_SEQPACKET), each in one datagram: a callable
 * is made known by a record_install, with its module's descriptor beside it where the record says
 * so, and let go of by a record_forget; memory by a record_segment, with its descriptor, and let go
 * of by one without.
 */
#ifndef IPC_INSTALL_H
#define IPC_INSTALL_H

#include "wire/record.h"

/* They block while the socket is full, and are SIMPLER_EUNAVAILABLE when the other end is gone. The
 * descriptors stay the caller's; -1 where the record says that there is none. */
simpler_status install_send(int socket, const struct record_install *install, int module_fd);
simpler_status forget_send(int socket, uint64_t callable);
simpler_status segment_send(int socket, const struct record_segment *segment, int fd);

/* One of them, as `kind` says. */
struct control_message {
	enum record_kind kind;
	struct record_install install;
	struct record_forget forget;
	struct record_segment segment;
	int fd; /* the receiver's to close; -1 if none came */
};

/* Receive one. `buffer` has RECORD_INSTALL_MAX bytes and `out` points into it.
 * SIMPLER_EUNAVAILABLE at end of file. */
simpler_status control_receive(int socket, uint8_t *buffer, struct control_message *out);

#endif
