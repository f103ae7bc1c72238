/*
 * The floor of our calls: a unary echo with nothing between it and gRPC's C core. Two events a call
 * at the server, one at the client, and nothing switched on that src/rpc switches off.
 *
 * Server and client are processes of their own with one thread each. In the benchmark's own process
 * the client would share gRPC's poller with our client, whose thread then wakes up for its answers:
 * the floor came out ten microseconds too high.
 *
 * Both are forked, so they come before the caller's process uses gRPC or starts a thread. Both end
 * with the caller.
 */
#ifndef BENCH_BARE_GRPC_H
#define BENCH_BARE_GRPC_H

#include "bare_process.h"

#define BARE_GRPC_ADDRESS 64

struct bare_grpc_server {
	char address[BARE_GRPC_ADDRESS]; /* "127.0.0.1:port" */
	struct bare_process process;
};
bool bare_grpc_server_start(struct bare_grpc_server *server);
void bare_grpc_server_stop(struct bare_grpc_server *server);

/* NULL when it could not be started. One thread at a time uses it. */
struct bare_grpc_client;
struct bare_grpc_client *bare_grpc_connect(const char *address);
void bare_grpc_close(struct bare_grpc_client *client);

/* `count` calls of `size` bytes there and back, `outstanding` of them at any time, over one
 * connection. `nanoseconds[i]` is what the i-th to end took. Blocks; false when one failed. */
bool bare_grpc_run(struct bare_grpc_client *client, size_t size, size_t outstanding, size_t count,
                   double *nanoseconds);

/* A stream of `count` chunks of `size` bytes, BARE_GRPC_TENSOR in all at most, to the server or
 * from there, and what it took. */
#define BARE_GRPC_TENSOR ((size_t)64 << 20)
bool bare_grpc_stream(struct bare_grpc_client *client, bool pull, size_t size, size_t count,
                      double *nanoseconds);

#endif
