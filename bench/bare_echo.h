/*
 * Floors of what goes to a node and comes back: records that one bare process sends and another
 * echoes, by whatever carries them. One thread in each, and nothing of simpler in it.
 *
 * Both processes are forked, so that comes before the caller has threads or uses gRPC. They end
 * with the caller.
 */
#ifndef BENCH_BARE_ECHO_H
#define BENCH_BARE_ECHO_H

#include "bare_process.h"

#define BARE_ADDRESS        256  /* bytes of where a server is, as its kind writes it */
#define BARE_RECORD_MAX     4096 /* bytes */
#define BARE_MOST_UNDER_WAY 1024

struct bare_load {
	size_t size;        /* bytes of a record */
	size_t outstanding; /* records under way; BARE_MOST_UNDER_WAY at most */
	size_t batch;       /* records that make a message; a divisor of `outstanding` */
	size_t count;       /* records in all; a multiple of `batch` */
};

struct bare_kind {
	const char *name;
	/* In a process of its own: write BARE_ADDRESS bytes to `out`, and echo until killed. */
	void (*serve)(int out);
	/* In another: NULL when that is of no use. */
	void *(*connect)(const char address[BARE_ADDRESS]);
	/* One record of `size` bytes there and back. */
	bool (*one)(void *client, size_t size);
	/* All of `load`. */
	bool (*many)(void *client, const struct bare_load *load);
};

extern const struct bare_kind *const echo_tcp;  /* blocking sockets with TCP_NODELAY */
extern const struct bare_kind *const echo_grpc; /* one bidirectional stream of gRPC's C core */
/* NULL: not built, as this machine lacks the library. */
extern const struct bare_kind *const echo_fabric;      /* libfabric's messages, tcp;ofi_rxm */
extern const struct bare_kind *const echo_zmq_request; /* ZeroMQ, REQ and REP; one outstanding */
extern const struct bare_kind *const echo_zmq_many;    /* ZeroMQ, DEALER at both ends */

struct bare_echo {
	struct bare_process server, client;
};
/* False when it does not work here. */
bool bare_echo_start(const struct bare_kind *kind, struct bare_echo *echo);
void bare_echo_stop(struct bare_echo *echo);
/* Blocks. One after the other, where one is outstanding: `nanoseconds[i]` is what the i-th took.
 * Else `nanoseconds[0]` is what all of them took. */
bool bare_echo_run(struct bare_echo *echo, const struct bare_load *load, double *nanoseconds);

#endif
