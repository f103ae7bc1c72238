/*
 * The floor of our calls: a unary echo with nothing between it and gRPC's C core. One thread at
 * each end, in processes of their own; two events a call at the server, one at the client.
 */
#ifndef BENCH_BARE_GRPC_H
#define BENCH_BARE_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define BARE_GRPC_ADDRESS 64

/* A process that echoes. It is forked, so this comes before the caller's process uses gRPC or
 * starts a thread. It ends with bare_grpc_server_stop() or with the caller. */
struct bare_grpc_server {
	char address[BARE_GRPC_ADDRESS]; /* "127.0.0.1:port" */
	pid_t pid;
	int lifeline; /* its end tells the server that the caller is gone */
};
bool bare_grpc_server_start(struct bare_grpc_server *server);
void bare_grpc_server_stop(struct bare_grpc_server *server);

/* NULL when memory is out. One thread at a time uses it. */
struct bare_grpc_client;
struct bare_grpc_client *bare_grpc_connect(const char *address);
void bare_grpc_close(struct bare_grpc_client *client);

/* One call of `size` bytes there and back. False when it failed. */
bool bare_grpc_ping(struct bare_grpc_client *client, size_t size);
/* `count` calls, `outstanding` of them at any time. `nanoseconds[i]` is what the i-th to end took.
 * False when one failed. */
bool bare_grpc_run(struct bare_grpc_client *client, size_t size, size_t outstanding, size_t count,
                   double *nanoseconds);

#endif
