/* What server and client share of gRPC's C core. Only this folder includes it. */
#ifndef RPC_CORE_H
#define RPC_CORE_H

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>

#include <pthread.h>

#include "rpc/rpc.h"

/* Most bytes that a status text takes on the wire, where gRPC encodes all but plain ASCII as %XX.
 * Well below the 8 KiB that peers accept for all metadata of a call. */
#define CORE_TEXT_MAX 3072

/* How often a client pings, and how long it waits for the answer. A server takes pings at twice the
 * rate. */
#define CORE_PING_MS 5000

/* Channel arguments of both sides are arrays of these. */
#define CORE_INTEGER(name, number)                                                                 \
	{                                                                                          \
		.type = GRPC_ARG_INTEGER, .key = (char *)(name), .value.integer = (number)         \
	}
/* Compression stays off: a small message could unpack to any size before a limit is looked at. A
 * compressed message is answered UNIMPLEMENTED. */
#define CORE_COMMON_ARGUMENTS                                                                      \
	CORE_INTEGER(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)RPC_MAX_MESSAGE),                   \
		CORE_INTEGER(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, (int)RPC_MAX_MESSAGE),              \
		CORE_INTEGER(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),                          \
		CORE_INTEGER(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),                        \
		CORE_INTEGER(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),               \
		CORE_INTEGER(GRPC_ARG_ENABLE_CHANNELZ, 0)

/* A received message as one range of bytes, copied only when it came in several slices. */
struct core_view {
	const uint8_t *data;
	size_t size;
	grpc_slice joined;
	bool has_joined;
};
/* Whether there is a message and it is not compressed. */
bool core_readable(const grpc_byte_buffer *buffer);
/* `buffer` is readable and lives as long as the view. */
void core_view_open(struct core_view *view, grpc_byte_buffer *buffer);
void core_view_close(struct core_view *view);
/* Hand its parts to `receiver`, without a copy of their bytes. So many are no reason to allocate: a
 * megabyte comes in parts of 8 KiB and more. */
#define CORE_PARTS 160
typedef void core_receiver(void *context, const struct rpc_part *parts, size_t count);
void core_deliver(const grpc_byte_buffer *buffer, core_receiver *receiver, void *context);

/* The key of a call's metadata that names the client's session. */
#define CORE_SESSION_KEY "simpler-session"
/* The key of the trailing metadata that says what became of a task, and its values. */
#define CORE_NOTE_KEY     "simpler-task"
#define CORE_NOTE_NOT_RUN "not-run"
#define CORE_NOTE_LOST    "lost"

/* Take the bytes of `message`. */
grpc_byte_buffer *core_take(struct rpc_buffer *message);
/* `text` as a status text: valid UTF-8 and cut to CORE_TEXT_MAX. */
grpc_slice core_text(const char *text);

gpr_timespec core_from_deadline(int64_t deadline);

/* For gpr_set_log_function(): what gRPC says, among our own debug lines. */
void core_log(gpr_log_func_args *line);

/* An empty queue that is drained and gone afterwards; nobody else may be waiting in it. */
void core_queue_destroy(grpc_completion_queue *queue);

/* rpc_credentials.c: the one place that decides how connections are secured. */
grpc_server_credentials *core_server_credentials(void);
grpc_channel_credentials *core_channel_credentials(void);

/* rpc_address.c */
#define CORE_ADDRESS_MAX 512
/* Refuse what is not "host:port", "[v6]:port" or "unix:/path". */
simpler_status core_address_check(const char *address);
/* Before binding: refuse a unix socket that somebody answers on; clear away a dead one. */
simpler_status core_address_claim(const char *address);
/* After a failed bind: find and raise the reason. */
simpler_status core_address_explain(const char *address);
/* `address` with `port` in place of its own; unix addresses as they are. */
void core_address_with_port(const char *address, int port, char out[CORE_ADDRESS_MAX]);
/* Whether gRPC's name for the other end of a connection is one of this machine. */
bool core_peer_is_local(const char *peer);
/* The name under which a client's channel finds `address`. */
void core_address_target(const char *address, char out[CORE_ADDRESS_MAX]);

#endif
