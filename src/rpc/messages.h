/*
 * The messages of simpler.distributed.v1 as plain structs, and their bounded decoding.
 *
 * A decoder checks everything that can be checked without knowing the node: that the bytes are
 * protobuf, counts and lengths against their limits, enum values, UTF-8, shapes against sizes. It
 * takes its memory from the caller's bump allocator, and what it returns points there or into the
 * bytes. It returns SIMPLER_EINVAL with a message that names the field. Encoders fill an
 * rpc_buffer; they fail only when memory is out.
 *
 * `remote_addr` and `rkey` are never sent and never looked at.
 *
 * An inline tensor has exactly the bytes of its shape; without dimensions, those of one element.
 * One that is only written (OUTPUT, OUTPUT_EXISTING) may have none instead. How many bytes a
 * handle's storage has is the node's to compare. Only a handle has an offset.
 *
 * Texts that go out are made valid UTF-8 and cut to their limits.
 */
#ifndef RPC_MESSAGES_H
#define RPC_MESSAGES_H

#include "base/bump.h"
#include "rpc/rpc.h"
#include "simpler/callable.h"
#include "wire/lane.h"
#include "wire/record.h"
#include "wire/span.h"

#define MSG_NODE_ID_MAX        63
#define MSG_TRANSPORT_MAX      31
#define MSG_FABRIC_ADDRESS_MAX 64
#define MSG_TRANSPORT_DESC_MAX 1024
#define MSG_TEXT_MAX           4096 /* error_msg, one remote_traceback line */
#define MSG_MAX_LINES          32   /* remote_traceback */
#define MSG_TOKEN_BYTES        16   /* of a grant */
#define MSG_ADDRESS_MAX        255
#define MSG_REASONS_MAX        16 /* of each, in what a node says of itself */
#define MSG_SERVICES_MAX       8
#define MSG_PARTS_MAX          8
#define MSG_SHM_ADDRESS_MAX    107 /* "@" and what an abstract unix socket's name has room for */

/* A bump allocator with this limit is enough to decode any well-formed message of `size` bytes,
 * and little enough that a hostile one cannot take much more memory than it has itself. */
#define MSG_BUMP_LIMIT(size) (2 * (size_t)(size) + ((size_t)64 << 10))

#define MSG_WORKER         "/simpler.distributed.v1.L3Worker/"
#define MSG_CATALOG        "/simpler.distributed.v1.Catalog/"
#define MSG_POOL           "/simpler.distributed.v1.TensorPool/"
#define MSG_DISPATCH       MSG_WORKER "Dispatch"
#define MSG_HEARTBEAT      MSG_WORKER "Heartbeat"
#define MSG_PULL_CALLABLE  MSG_CATALOG "PullCallable"
#define MSG_PUSH_CALLABLE  MSG_CATALOG "PushCallable"
#define MSG_ALLOC_TENSOR   MSG_POOL "AllocTensor"
#define MSG_FREE_TENSOR    MSG_POOL "FreeTensor"
#define MSG_REFRESH_TENSOR MSG_POOL "RefreshTensor"
#define MSG_ATTACH         MSG_WORKER "Attach"
#define MSG_DETACH         MSG_WORKER "Detach"
#define MSG_STATUS         MSG_WORKER "Status"
#define MSG_DRAIN          MSG_WORKER "Drain"
#define MSG_STOP_TASK      MSG_WORKER "StopTask"
#define MSG_LANE           MSG_WORKER "Lane"
#define MSG_FABRIC_LANE    MSG_WORKER "OpenFabricLane"
#define MSG_PREPARE        MSG_CATALOG "PrepareCallable"
#define MSG_COMMIT         MSG_CATALOG "CommitCallable"
#define MSG_ABORT          MSG_CATALOG "AbortCallable"
#define MSG_UNREGISTER     MSG_CATALOG "UnregisterCallable"
#define MSG_PUSH_MODULE    MSG_CATALOG "PushModule"
#define MSG_PULL_MODULE    MSG_CATALOG "PullModule"
#define MSG_PULL_TENSOR    MSG_POOL "PullTensor"
#define MSG_PUSH_TENSOR    MSG_POOL "PushTensor"
#define MSG_READ_TENSOR    MSG_POOL "ReadTensor"
#define MSG_EXPORT_TENSOR  MSG_POOL "ExportTensor"
#define MSG_IMPORT_TENSOR  MSG_POOL "ImportTensor"
#define MSG_RELEASE_GRANT  MSG_POOL "ReleaseGrant"
#define MSG_JOIN_FABRIC    MSG_POOL "JoinFabric"

struct msg_health {
	bool ok;
	const char *message;
};

/* What a config has that says nothing. */
#define MSG_BLOCK_DIM        24
#define MSG_AICPU_THREAD_NUM 3

/* Shape, dtype and tag as several messages carry them. */
struct msg_shape {
	uint32_t ndim;
	int64_t shape[SIMPLER_MAX_DIMS];
	simpler_dtype dtype;
	simpler_tag tag;
};

struct msg_handle {
	char node_id[MSG_NODE_ID_MAX + 1];
	uint64_t handle_id, nbytes, lease_deadline_unix_ms;
	char transport[MSG_TRANSPORT_MAX + 1];
	simpler_bytes transport_desc;
	/* And by which other one; of several that a node names, one that we know. */
	char also[MSG_TRANSPORT_MAX + 1]; /* "": none */
	simpler_bytes also_desc;
};

struct msg_tensor_ref {
	bool is_handle;
	simpler_bytes inline_data; /* when not is_handle; a ref with neither is inline and empty */
	struct msg_handle handle;
	uint64_t offset; /* into a handle's storage; with the shape's bytes it fits 63 bits */
	uint32_t landed; /* of a handle */
	struct msg_shape shape;
};

struct msg_chunk {
	bool has_handle;
	struct msg_handle handle;
	uint64_t offset;
	simpler_bytes data;
	bool last;
	bool has_span;
	struct span span; /* span_check() has passed */
};

struct msg_read { /* TensorReadReq */
	struct msg_handle handle;
	bool has_span;
	struct span span;
	simpler_bytes token;                /* empty, or MSG_TOKEN_BYTES */
	char fabric[MSG_TRANSPORT_MAX + 1]; /* the client's provider; "": none */
};

struct msg_export {
	struct msg_handle handle;
	bool write;
	uint64_t ttl_ms;
};

struct msg_grant {
	struct msg_handle handle;
	uint8_t token[MSG_TOKEN_BYTES];
	bool write;
};

struct msg_import {
	struct msg_grant grant;
	char address[MSG_ADDRESS_MAX + 1];
	uint64_t ttl_ms;
};

struct msg_fabric { /* FabricReq */
	char provider[MSG_TRANSPORT_MAX + 1];
};

struct msg_fabric_joined {     /* FabricResp */
	simpler_bytes address; /* at most MSG_FABRIC_ADDRESS_MAX, and not empty */
};

struct msg_alloc {
	uint64_t nbytes, ttl_ms;
	struct msg_shape shape;
};

struct msg_refresh {
	struct msg_handle handle;
	uint64_t ttl_ms;
};

struct msg_dispatch {
	uint64_t task_id, callable_id, callable_version;
	struct record_config config; /* config_blob, with its defaults; output_prefix is checked */
	uint32_t scalar_count, tensor_count;
	uint64_t scalars[SIMPLER_MAX_SCALARS];
	struct msg_tensor_ref tensors[SIMPLER_MAX_TENSORS];
	/* Ours, above the fixed numbers; absent in other people's clients. */
	simpler_bytes digest; /* callable_digest = 8: empty, or 32 bytes */
	uint32_t kind;        /* callable_kind = 9: 0, or a simpler_kind */
	uint64_t session_life;
	bool repeated;
};

struct msg_outcome { /* DispatchResp */
	uint64_t task_id;
	int32_t error_code;
	const char *error_msg;
	uint32_t line_count;
	const char
		*lines[MSG_MAX_LINES]; /* remote_traceback: the chain of steps, outermost first */
	uint32_t output_count;
	struct msg_tensor_ref outputs[SIMPLER_MAX_TENSORS];
};

struct msg_callable_ref {
	uint64_t callable_id, version;
};

struct msg_callable {
	uint64_t callable_id, version;
	simpler_bytes payload; /* `pickled` */
	simpler_bytes digest;  /* empty, or RECORD_DIGEST_BYTES */
};

struct msg_module_ref {
	uint8_t digest[RECORD_DIGEST_BYTES];
};

struct msg_module_chunk {
	simpler_bytes digest;    /* RECORD_DIGEST_BYTES in a first chunk; empty in a later one */
	uint64_t nbytes;         /* 0 in a later one */
	simpler_bytes signature; /* empty when unsigned */
	uint64_t offset;
	simpler_bytes data;
};

struct msg_attach {
	uint64_t ttl_ms;
};

struct msg_attached {
	char node_id[MSG_NODE_ID_MAX + 1];
	uint64_t boot_id, ttl_ms;
	bool known;
	char shm_address[MSG_SHM_ADDRESS_MAX + 1];
	uint64_t session_life;
	bool draining;
	uint32_t lanes; /* of those that we know: 1 << simpler_lane for each */
};

struct msg_fabric_end {
	char provider[MSG_TRANSPORT_MAX + 1];
	simpler_bytes address; /* at most MSG_FABRIC_ADDRESS_MAX, and not empty */
	uint64_t line;         /* not 0 */
};

struct msg_stop_task {
	uint64_t task_id;
};

struct msg_drain {
	uint64_t grace_ms;
};

/* --- StatusResp; texts point into the message, and are never NULL in one that was decoded --- */

struct msg_reason {
	const char *what, *why;
	uint64_t since_unix_ms;
	uint32_t service_count;
	const char *services[MSG_SERVICES_MAX];
};

struct msg_engine_status {
	const char *state, *last_end;
	uint64_t since_unix_ms;
	bool answering;
	uint32_t pid, restarts, runs;
};

struct msg_workers_status {
	const char *kind;
	uint32_t count, idle, busy, restarting, dead;
	uint64_t queued, deaths;
};

struct msg_device_status {
	const char *name, *error;
	uint32_t count, failed;
};

struct msg_pool_status {
	uint64_t capacity, used, largest_free, committed;
	uint32_t handles, max_handles, max_session_handles;
	uint32_t grants, max_grants, max_session_grants;
};

struct msg_transport_status {
	const char *name, *why_not;
	bool available;
	uint32_t sessions;
};

struct msg_lane_status {
	const char *name, *why_not;
	bool available;
	uint32_t open;
};

struct msg_catalog_status {
	uint64_t callables, prepared, max_callables;
	uint64_t modules, modules_in_use, max_modules, module_bytes, max_module_bytes;
	const char *store;
};

struct msg_status {
	bool ready, draining;
	uint32_t reason_count, worker_count, device_count, transport_count, lane_count;
	struct msg_reason reasons[MSG_REASONS_MAX];
	char node_id[MSG_NODE_ID_MAX + 1];
	uint64_t boot_id, uptime_ms;
	const char *version;
	uint32_t wire_version, callable_abi;
	struct msg_engine_status engine;
	struct msg_workers_status workers[MSG_PARTS_MAX];
	struct msg_device_status devices[MSG_PARTS_MAX];
	struct msg_pool_status pool;
	struct msg_transport_status transports[MSG_PARTS_MAX];
	struct msg_lane_status lanes[MSG_PARTS_MAX];
	struct msg_catalog_status catalog;
	struct {
		uint32_t in_flight, limit, session_limit;
	} queue;
	struct {
		uint32_t attached, limit;
	} sessions;
};

/* DispatchReq with tensor_args (R02) is SIMPLER_EINVAL with what to send instead. */
#define MSG_DECLARE(name, type)                                                                    \
	simpler_status msg_##name##_decode(const uint8_t *bytes, size_t size, struct bump *bump,   \
	                                   struct type *out);                                      \
	simpler_status msg_##name##_encode(const struct type *message, struct rpc_buffer *out);
MSG_DECLARE(health, msg_health)
MSG_DECLARE(handle, msg_handle)
MSG_DECLARE(chunk, msg_chunk)
MSG_DECLARE(alloc, msg_alloc)
MSG_DECLARE(refresh, msg_refresh)
MSG_DECLARE(read, msg_read)
MSG_DECLARE(export, msg_export)
MSG_DECLARE(grant, msg_grant)
MSG_DECLARE(import, msg_import)
MSG_DECLARE(fabric, msg_fabric)
MSG_DECLARE(fabric_joined, msg_fabric_joined)
MSG_DECLARE(fabric_end, msg_fabric_end)
MSG_DECLARE(dispatch, msg_dispatch)
MSG_DECLARE(outcome, msg_outcome)
MSG_DECLARE(callable_ref, msg_callable_ref)
MSG_DECLARE(callable, msg_callable)
MSG_DECLARE(module_ref, msg_module_ref)
MSG_DECLARE(module_chunk, msg_module_chunk)
MSG_DECLARE(attach, msg_attach)
MSG_DECLARE(attached, msg_attached)
MSG_DECLARE(status, msg_status)
MSG_DECLARE(drain, msg_drain)
MSG_DECLARE(stop_task, msg_stop_task)
#undef MSG_DECLARE

/* The chunk with room for `size` bytes of data, which the caller puts at `*data`: they are copied
 * once then. The chunk's own data is not looked at. */
simpler_status msg_chunk_frame(const struct msg_chunk *chunk, size_t size, struct rpc_buffer *out,
                               uint8_t **data);
/* A chunk without a copy of its bytes (messages_chunk.c). The head is all of it but the bytes of
 * `data`, which the caller has follow it; see rpc_buffer_attach(). */
simpler_status msg_chunk_encode_head(const struct msg_chunk *chunk, struct rpc_buffer *out);
/* Bytes that lie in parts; as long-lived as those. */
struct msg_parts {
	const struct rpc_part *part;
	size_t at; /* in the part */
	size_t left;
};
/* The next bytes that lie in one piece, `most` of them at the most; NULL and 0 behind the last. */
const uint8_t *msg_parts_next(struct msg_parts *parts, size_t most, size_t *size);
/* `out->data` has the size only; the bytes are in `*data`. */
simpler_status msg_chunk_decode_parts(const struct rpc_part *parts, size_t count, struct bump *bump,
                                      struct msg_chunk *out, struct msg_parts *data);

simpler_status msg_free_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                               struct msg_handle *out); /* TensorFreeReq */
simpler_status msg_free_encode(const struct msg_handle *handle, struct rpc_buffer *out);
simpler_status msg_empty_encode(struct rpc_buffer *out); /* Empty: no bytes */

/* LaneBatch: the records as they are; see rpc/lane_record.h. */
simpler_status msg_lane_batch_decode(const uint8_t *bytes, size_t size, struct bump *bump,
                                     const uint8_t **records, size_t *record_bytes);
simpler_status msg_lane_batch_encode(const uint8_t *records, size_t size, struct rpc_buffer *out);

/* SIMPLER_EINVAL for what no config may have, naming the field. */
simpler_status msg_config_check(const struct record_config *config);

#endif
