/*
 * Making a callable known over a control socket (SOCK_SEQPACKET): a record_install in one datagram,
 * with the module's descriptor beside it where the record says so.
 */
#ifndef IPC_INSTALL_H
#define IPC_INSTALL_H

#include "wire/record.h"

/* Send one install on a control socket; `module_fd` stays the caller's, -1 when not has_module.
 * Blocks while the socket is full. SIMPLER_EUNAVAILABLE when the other end is gone. */
simpler_status install_send(int socket, const struct record_install *install, int module_fd);
/* Receive one; `*module_fd` is the caller's to close, -1 if none came. `buffer` has
 * RECORD_INSTALL_MAX bytes and `out` points into it. SIMPLER_EUNAVAILABLE at end of file. */
simpler_status install_receive(int socket, uint8_t *buffer, struct record_install *out,
                               int *module_fd);

#endif
