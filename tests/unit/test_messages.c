/* The messages of the contract: what we write we read, and what makes no sense is refused by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "rpc/messages.h"

/* Encode with `encode`, decode into `out`, with the memory of both released at the end. */
#define ROUND_TRIP(name, in, out)                                                                  \
	do {                                                                                       \
		assert_int_equal(msg_##name##_encode((in), &wire), SIMPLER_OK);                    \
		bump_init(&bump, MSG_BUMP_LIMIT(wire.size));                                       \
		assert_int_equal(msg_##name##_decode(wire.data, wire.size, &bump, (out)),          \
		                 SIMPLER_OK);                                                      \
	} while (0)

static struct bump bump;
static struct rpc_buffer wire;

static void done(void)
{
	bump_release(&bump);
	rpc_buffer_release(&wire);
}

static const struct msg_handle full_handle = {
	.node_id = "node-7",
	.handle_id = 0x8000000000000001,
	.nbytes = UINT64_MAX,
	.lease_deadline_unix_ms = 1700000000000,
	.transport = "grpc",
	.transport_desc = { "\0\1\2", 3 },
};

static void assert_same_handle(const struct msg_handle *a, const struct msg_handle *b)
{
	assert_string_equal(a->node_id, b->node_id);
	assert_string_equal(a->transport, b->transport);
	assert_int_equal(a->handle_id, b->handle_id);
	assert_int_equal(a->nbytes, b->nbytes);
	assert_int_equal(a->lease_deadline_unix_ms, b->lease_deadline_unix_ms);
	assert_int_equal(a->transport_desc.size, b->transport_desc.size);
	assert_memory_equal(a->transport_desc.data, b->transport_desc.data, a->transport_desc.size);
}

/* --- round trips --- */

static void health_round_trip(void **state)
{
	const struct msg_health in = { true, "node-7 is up \xe2\x9c\x93" };
	struct msg_health out;

	(void)state;
	ROUND_TRIP(health, &in, &out);
	assert_true(out.ok);
	assert_string_equal(out.message, in.message);
	done();
}

static void handle_round_trips(void **state)
{
	struct msg_refresh refresh = { .handle = full_handle, .ttl_ms = 30000 }, refreshed;
	struct msg_handle out, empty = { .node_id = "" };

	(void)state;
	ROUND_TRIP(handle, &full_handle, &out);
	assert_same_handle(&out, &full_handle);
	done();
	ROUND_TRIP(handle, &empty, &out);
	assert_int_equal(wire.size, 0);
	assert_int_equal(out.handle_id, 0);
	done();
	ROUND_TRIP(free, &full_handle, &out);
	assert_same_handle(&out, &full_handle);
	done();
	ROUND_TRIP(refresh, &refresh, &refreshed);
	assert_same_handle(&refreshed.handle, &full_handle);
	assert_int_equal(refreshed.ttl_ms, 30000);
	done();
}

static void chunk_round_trip(void **state)
{
	const struct msg_chunk in = { .has_handle = true,
		                      .handle = full_handle,
		                      .offset = 1 << 20,
		                      .data = { "chunk", 5 },
		                      .last = true };
	const struct msg_chunk next = { .offset = 5 };
	struct msg_chunk out;

	(void)state;
	ROUND_TRIP(chunk, &in, &out);
	assert_true(out.has_handle && out.last);
	assert_same_handle(&out.handle, &full_handle);
	assert_int_equal(out.offset, 1 << 20);
	assert_int_equal(out.data.size, 5);
	assert_memory_equal(out.data.data, "chunk", 5);
	done();
	ROUND_TRIP(chunk, &next, &out);
	assert_false(out.has_handle || out.last);
	assert_int_equal(out.offset, 5);
	assert_int_equal(out.data.size, 0);
	done();
}

/* Split at any byte, with an empty part in between. */
static void a_chunk_reads_the_same_in_parts(void **state)
{
	const struct msg_chunk in = {
		.has_handle = true,
		.handle = { .node_id = "here", .handle_id = 9, .nbytes = 700 },
		.offset = 300,
		.data = { "some bytes of a tensor", 22 },
		.last = true,
		.has_span = true,
		.span = { 8, 16, 32, 5 }
	};
	struct rpc_buffer head;
	uint8_t bytes[512];
	size_t size;

	(void)state;
	assert_int_equal(msg_chunk_encode_head(&in, &head), SIMPLER_OK);
	assert_in_range(head.size, 1, sizeof(bytes) - in.data.size);
	memcpy(bytes, head.data, head.size);
	memcpy(bytes + head.size, in.data.data, in.data.size);
	size = head.size + in.data.size;
	rpc_buffer_release(&head);
	for (size_t at = 0; at <= size; at++) {
		const struct rpc_part parts[] = { { bytes, at },
			                          { bytes, 0 },
			                          { bytes + at, size - at } };
		char got[64] = "";
		size_t used = 0, piece;
		struct msg_chunk out;
		struct msg_parts data;
		const uint8_t *from;
		struct bump own;

		bump_init(&own, MSG_BUMP_LIMIT(size));
		assert_int_equal(msg_chunk_decode_parts(parts, 3, &own, &out, &data), SIMPLER_OK);
		assert_true(out.has_handle && out.has_span && out.last);
		assert_string_equal(out.handle.node_id, "here");
		assert_int_equal(out.handle.handle_id, 9);
		assert_int_equal(out.offset, 300);
		assert_int_equal(out.span.pitch, 32);
		assert_int_equal(out.data.size, 22);
		while ((from = msg_parts_next(&data, 7, &piece)) != NULL) {
			memcpy(got + used, from, piece);
			used += piece;
		}
		assert_string_equal(got, "some bytes of a tensor");
		bump_release(&own);
	}
}

static void parts_that_are_no_chunk_are_refused(void **state)
{
	static const struct {
		const char *name, *bytes;
		size_t size;
	} cases[] = {
		{ "a key without a value", "\x10", 1 },
		{ "a number that does not end", "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		  12 },
		{ "fewer bytes than it says",
		  "\x1a\x05"
		  "abc",
		  5 },
		{ "a size past 2^63", "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11 },
		{ "field 0", "\x00\x00", 2 },
		{ "a group", "\x3b\x3c", 2 },
		{ "an offset of bytes",
		  "\x12\x01"
		  "a",
		  3 },
		{ "data that is a number", "\x18\x01", 2 },
		{ "a handle that is none", "\x0a\x01\xff", 3 },
		{ "a handle longer than it can be", "\x0a\x80\x40", 3 },
		{ "8 bytes that are 3",
		  "\x39"
		  "abc",
		  4 },
		{ "bytes past 2^64",
		  "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x01"
		  "a",
		  14 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct rpc_part part = { (const uint8_t *)cases[i].bytes, cases[i].size };
		struct msg_chunk out;
		struct msg_parts data;
		struct bump own;

		bump_init(&own, MSG_BUMP_LIMIT(part.size));
		if (msg_chunk_decode_parts(&part, 1, &own, &out, &data) != SIMPLER_EINVAL)
			fail_msg("%s is taken for a chunk", cases[i].name);
		bump_release(&own);
	}
}

static void a_large_chunk_fits_the_limit(void **state)
{
	const size_t size = (size_t)16 << 20;
	uint8_t *data = calloc(1, size);
	const struct msg_chunk in = { .has_handle = true,
		                      .handle = full_handle,
		                      .data = { data, size } };
	struct msg_chunk out;

	(void)state;
	assert_non_null(data);
	ROUND_TRIP(chunk, &in, &out);
	assert_int_equal(out.data.size, size);
	done();
	free(data);
}

static void alloc_round_trip(void **state)
{
	const struct msg_alloc in = {
		.nbytes = 48,
		.ttl_ms = 5,
		.shape = { 2, { 2, 3 }, SIMPLER_INT64, SIMPLER_OUTPUT },
	};
	struct msg_alloc out;

	(void)state;
	ROUND_TRIP(alloc, &in, &out);
	assert_int_equal(out.nbytes, 48);
	assert_int_equal(out.ttl_ms, 5);
	assert_memory_equal(&out.shape, &in.shape, sizeof(in.shape));
	done();
}

static void callable_round_trips(void **state)
{
	const struct msg_callable_ref ref = { 7, 0x1122334455667788 };
	static const uint8_t digest[RECORD_DIGEST_BYTES] = { 9, 8, 7 };
	const struct msg_callable payload = { 7, 8, { "payload", 7 }, { digest, sizeof(digest) } };
	struct msg_callable_ref ref_out;
	struct msg_callable out;

	(void)state;
	ROUND_TRIP(callable_ref, &ref, &ref_out);
	assert_int_equal(ref_out.callable_id, 7);
	assert_int_equal(ref_out.version, 0x1122334455667788);
	done();
	ROUND_TRIP(callable, &payload, &out);
	assert_int_equal(out.callable_id, 7);
	assert_int_equal(out.version, 8);
	assert_int_equal(out.payload.size, 7);
	assert_memory_equal(out.payload.data, "payload", 7);
	assert_int_equal(out.digest.size, sizeof(digest));
	assert_memory_equal(out.digest.data, digest, sizeof(digest));
	done();
}

static void module_round_trips(void **state)
{
	static const uint8_t signature[96] = { 1, 2 };
	const struct msg_module_ref ref = { { 9, 8, 7 } };
	const struct msg_module_chunk first = { .digest = { ref.digest, sizeof(ref.digest) },
		                                .nbytes = UINT64_MAX,
		                                .signature = { signature, sizeof(signature) },
		                                .data = { "begin", 5 } };
	const struct msg_module_chunk later = { .offset = 1 << 20, .data = { "more", 4 } };
	struct msg_module_ref ref_out;
	struct msg_module_chunk out;

	(void)state;
	ROUND_TRIP(module_ref, &ref, &ref_out);
	assert_memory_equal(&ref_out, &ref, sizeof(ref));
	done();
	ROUND_TRIP(module_chunk, &first, &out);
	assert_int_equal(out.digest.size, sizeof(ref.digest));
	assert_memory_equal(out.digest.data, ref.digest, sizeof(ref.digest));
	assert_true(out.nbytes == UINT64_MAX && out.offset == 0);
	assert_int_equal(out.signature.size, sizeof(signature));
	assert_memory_equal(out.signature.data, signature, sizeof(signature));
	done();
	ROUND_TRIP(module_chunk, &later, &out);
	assert_int_equal(out.digest.size, 0);
	assert_int_equal(out.offset, 1 << 20);
	assert_memory_equal(out.data.data, "more", 4);
	done();
}

static void session_round_trips(void **state)
{
	const struct msg_attach attach = { 60000 };
	const struct msg_attached attached = { .node_id = "node-7",
		                               .boot_id = UINT64_MAX,
		                               .ttl_ms = 30000,
		                               .known = true,
		                               .shm_address = "@simpler",
		                               .session_life = UINT64_MAX - 1,
		                               .draining = true,
		                               .lanes = 1 << SIMPLER_LANE_STREAM };
	const struct msg_stop_task stop = { UINT64_MAX };
	struct msg_stop_task stop_out;
	struct msg_attach attach_out;
	struct msg_attached attached_out;

	(void)state;
	ROUND_TRIP(attach, &attach, &attach_out);
	assert_int_equal(attach_out.ttl_ms, 60000);
	done();
	ROUND_TRIP(attached, &attached, &attached_out);
	assert_string_equal(attached_out.node_id, "node-7");
	assert_true(attached_out.boot_id == UINT64_MAX && attached_out.known);
	assert_int_equal(attached_out.ttl_ms, 30000);
	assert_string_equal(attached_out.shm_address, "@simpler");
	assert_true(attached_out.session_life == UINT64_MAX - 1 && attached_out.draining);
	assert_int_equal(attached_out.lanes, attached.lanes);
	done();
	ROUND_TRIP(stop_task, &stop, &stop_out);
	assert_true(stop_out.task_id == UINT64_MAX);
	done();
}

static void status_round_trips(void **state)
{
	static struct msg_status in, out;
	const struct msg_status nothing = { .ready = true };

	(void)state;
	in = (struct msg_status){
		.draining = true,
		.reason_count = 1,
		.reasons = { { "engine", "it does not answer", 7, 2, { "L3Worker", "Catalog" } } },
		.node_id = "node-7",
		.boot_id = UINT64_MAX,
		.uptime_ms = 8,
		.version = "0.1.0",
		.wire_version = 1,
		.callable_abi = 2,
		.engine = { "ready", "killed\xff", 9, true, 10, 11, 12 },
		.worker_count = 1,
		.workers = { { "chip", 10, 1, 2, 3, 4, 5, 6 } },
		.device_count = 1,
		.devices = { { "sim", "no device", 10, 3 } },
		.pool = { .capacity = 1,
		          .used = 2,
		          .largest_free = 3,
		          .committed = 4,
		          .handles = 5,
		          .max_handles = 6 },
		.transport_count = 2,
		.transports = { { "grpc", "", true, 0 }, { "shm", "no socket", false, 3 } },
		.lane_count = 1,
		.lanes = { { "stream", "not offered", true, 7 } },
		.catalog = { 1, 2, 3, 4, 5, 6, 7, 8, "/store" },
		.queue = { 1, 2, 3 },
		.sessions = { 4, 5 },
	};
	ROUND_TRIP(status, &in, &out);
	assert_false(out.ready);
	assert_true(out.draining);
	assert_int_equal(out.reason_count, 1);
	assert_string_equal(out.reasons[0].what, "engine");
	assert_string_equal(out.reasons[0].why, "it does not answer");
	assert_int_equal(out.reasons[0].since_unix_ms, 7);
	assert_int_equal(out.reasons[0].service_count, 2);
	assert_string_equal(out.reasons[0].services[1], "Catalog");
	assert_string_equal(out.node_id, "node-7");
	assert_true(out.boot_id == UINT64_MAX && out.uptime_ms == 8);
	assert_string_equal(out.version, "0.1.0");
	assert_true(out.wire_version == 1 && out.callable_abi == 2);
	assert_string_equal(out.engine.state, "ready");
	assert_string_equal(out.engine.last_end, "killed?"); /* made valid UTF-8 */
	assert_true(out.engine.since_unix_ms == 9 && out.engine.answering);
	assert_true(out.engine.pid == 10 && out.engine.restarts == 11 && out.engine.runs == 12);
	assert_int_equal(out.worker_count, 1);
	assert_string_equal(out.workers[0].kind, "chip");
	assert_true(out.workers[0].count == 10 && out.workers[0].idle == 1);
	assert_true(out.workers[0].busy == 2 && out.workers[0].restarting == 3);
	assert_true(out.workers[0].dead == 4 && out.workers[0].queued == 5);
	assert_int_equal(out.workers[0].deaths, 6);
	assert_string_equal(out.devices[0].error, "no device");
	assert_true(out.devices[0].count == 10 && out.devices[0].failed == 3);
	assert_memory_equal(&out.pool, &in.pool, sizeof(in.pool));
	assert_int_equal(out.transport_count, 2);
	assert_true(out.transports[0].available && !out.transports[1].available);
	assert_string_equal(out.transports[1].why_not, "no socket");
	assert_true(out.transports[0].sessions == 0 && out.transports[1].sessions == 3);
	assert_memory_equal(&out.catalog, &in.catalog, offsetof(struct msg_catalog_status, store));
	assert_string_equal(out.catalog.store, "/store");
	assert_memory_equal(&out.queue, &in.queue, sizeof(in.queue));
	assert_memory_equal(&out.sessions, &in.sessions, sizeof(in.sessions));
	done();
	ROUND_TRIP(status, &nothing, &out);
	assert_true(out.ready);
	assert_string_equal(out.engine.last_end, "");
	assert_string_equal(out.catalog.store, "");
	done();
}

static const struct span full_span = { 64, 16, 32, 3 };

static void span_round_trips(void **state)
{
	const struct msg_chunk chunk = {
		.has_handle = true, .handle = full_handle, .has_span = true, .span = full_span
	};
	const struct msg_read in = { .handle = full_handle,
		                     .has_span = true,
		                     .span = full_span,
		                     .token = { "0123456789abcdef", MSG_TOKEN_BYTES } };
	const struct msg_read whole = { .handle = full_handle };
	struct msg_chunk chunk_out;
	struct msg_read out;

	(void)state;
	ROUND_TRIP(chunk, &chunk, &chunk_out);
	assert_true(chunk_out.has_span);
	assert_memory_equal(&chunk_out.span, &full_span, sizeof(full_span));
	done();
	ROUND_TRIP(read, &in, &out);
	assert_same_handle(&out.handle, &full_handle);
	assert_true(out.has_span);
	assert_memory_equal(&out.span, &full_span, sizeof(full_span));
	assert_int_equal(out.token.size, MSG_TOKEN_BYTES);
	assert_memory_equal(out.token.data, "0123456789abcdef", MSG_TOKEN_BYTES);
	done();
	ROUND_TRIP(read, &whole, &out);
	assert_false(out.has_span);
	assert_int_equal(out.token.size, 0);
	done();
}

static void grant_round_trips(void **state)
{
	const struct msg_grant grant = { full_handle, "0123456789abcde", true };
	const struct msg_export request = { full_handle, true, 5000 };
	const struct msg_import import = { grant, "10.0.0.7:5050", 7000 };
	struct msg_export request_out;
	struct msg_import import_out;
	struct msg_grant grant_out;

	(void)state;
	ROUND_TRIP(export, &request, &request_out);
	assert_same_handle(&request_out.handle, &full_handle);
	assert_true(request_out.write && request_out.ttl_ms == 5000);
	done();
	ROUND_TRIP(grant, &grant, &grant_out);
	assert_same_handle(&grant_out.handle, &full_handle);
	assert_memory_equal(grant_out.token, grant.token, MSG_TOKEN_BYTES);
	assert_true(grant_out.write);
	done();
	ROUND_TRIP(import, &import, &import_out);
	assert_same_handle(&import_out.grant.handle, &full_handle);
	assert_memory_equal(import_out.grant.token, grant.token, MSG_TOKEN_BYTES);
	assert_string_equal(import_out.address, "10.0.0.7:5050");
	assert_int_equal(import_out.ttl_ms, 7000);
	done();
}

static void an_empty_message_is_no_bytes(void **state)
{
	(void)state;
	assert_int_equal(msg_empty_encode(&wire), SIMPLER_OK);
	assert_int_equal(wire.size, 0);
	rpc_buffer_release(&wire);
}

/* As large as the limits allow: 32 handles and 128 scalars, of many bytes each. */
static void fill_dispatch(struct msg_dispatch *in)
{
	static const uint8_t digest[RECORD_DIGEST_BYTES] = { 9, 8, 7 };

	memset(in, 0, sizeof(*in));
	in->task_id = UINT64_MAX;
	in->callable_id = 3;
	in->callable_version = 4;
	in->config = (struct record_config){ 48, 5, 1, true, true, "/tmp/out" };
	in->scalar_count = SIMPLER_MAX_SCALARS;
	for (unsigned i = 0; i < SIMPLER_MAX_SCALARS; i++)
		in->scalars[i] = UINT64_MAX - i;
	in->tensor_count = SIMPLER_MAX_TENSORS;
	for (unsigned i = 0; i < SIMPLER_MAX_TENSORS; i++) {
		in->tensors[i].is_handle = true;
		in->tensors[i].handle = full_handle;
		in->tensors[i].offset = UINT64_C(64) << i;
		in->tensors[i].shape = (struct msg_shape){
			8, { 1, 2, 3, 1, 2, 3, 1, 2 }, SIMPLER_FLOAT32, SIMPLER_INOUT
		};
	}
	in->digest = (simpler_bytes){ digest, sizeof(digest) };
	in->kind = SIMPLER_KIND_ORCH;
	in->session_life = UINT64_MAX - 2;
	in->repeated = true;
}

static void dispatch_round_trip(void **state)
{
	static struct msg_dispatch in, out;

	(void)state;
	fill_dispatch(&in);
	ROUND_TRIP(dispatch, &in, &out);
	assert_int_equal(out.task_id, in.task_id);
	assert_int_equal(out.callable_id, 3);
	assert_int_equal(out.callable_version, 4);
	assert_int_equal(out.config.block_dim, 48);
	assert_int_equal(out.config.aicpu_thread_num, 5);
	assert_int_equal(out.config.enable_pmu, 1);
	assert_true(out.config.enable_l2_swimlane && out.config.enable_dump_tensor);
	assert_string_equal(out.config.output_prefix, "/tmp/out");
	assert_int_equal(out.scalar_count, SIMPLER_MAX_SCALARS);
	assert_memory_equal(out.scalars, in.scalars, sizeof(in.scalars));
	assert_int_equal(out.tensor_count, SIMPLER_MAX_TENSORS);
	for (unsigned i = 0; i < SIMPLER_MAX_TENSORS; i++) {
		assert_true(out.tensors[i].is_handle);
		assert_same_handle(&out.tensors[i].handle, &full_handle);
		assert_int_equal(out.tensors[i].offset, UINT64_C(64) << i);
		assert_memory_equal(&out.tensors[i].shape, &in.tensors[i].shape,
		                    sizeof(in.tensors[i].shape));
	}
	assert_int_equal(out.digest.size, RECORD_DIGEST_BYTES);
	assert_memory_equal(out.digest.data, in.digest.data, RECORD_DIGEST_BYTES);
	assert_int_equal(out.kind, SIMPLER_KIND_ORCH);
	assert_true(out.session_life == UINT64_MAX - 2 && out.repeated);
	done();
}

static void an_empty_dispatch_has_the_defaults(void **state)
{
	static struct msg_dispatch out;

	(void)state;
	bump_init(&bump, MSG_BUMP_LIMIT(0));
	assert_int_equal(msg_dispatch_decode(NULL, 0, &bump, &out), SIMPLER_OK);
	assert_int_equal(out.config.block_dim, 24);
	assert_int_equal(out.config.aicpu_thread_num, 3);
	assert_string_equal(out.config.output_prefix, "");
	assert_int_equal(out.tensor_count + out.scalar_count + out.digest.size + out.kind, 0);
	bump_release(&bump);
}

static void outcome_round_trip(void **state)
{
	static struct msg_outcome in, out;
	const int64_t value = 42;

	(void)state;
	in = (struct msg_outcome){ .task_id = 5,
		                   .error_code = -1,
		                   .error_msg = "it failed",
		                   .line_count = 2,
		                   .lines = { "run 1 failed", "task 2" },
		                   .output_count = 1 };
	in.outputs[0].inline_data = (simpler_bytes){ &value, sizeof(value) };
	in.outputs[0].shape = (struct msg_shape){ 1, { 1 }, SIMPLER_INT64, SIMPLER_OUTPUT };
	ROUND_TRIP(outcome, &in, &out);
	assert_int_equal(out.task_id, 5);
	assert_int_equal(out.error_code, -1);
	assert_string_equal(out.error_msg, "it failed");
	assert_int_equal(out.line_count, 2);
	assert_string_equal(out.lines[0], "run 1 failed");
	assert_string_equal(out.lines[1], "task 2");
	assert_int_equal(out.output_count, 1);
	assert_false(out.outputs[0].is_handle);
	assert_int_equal(out.outputs[0].inline_data.size, sizeof(value));
	assert_memory_equal(out.outputs[0].inline_data.data, &value, sizeof(value));
	done();
}

static void texts_go_out_as_others_can_read_them(void **state)
{
	static struct msg_outcome in, out;
	static char longest[MSG_TEXT_MAX + 100];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	in = (struct msg_outcome){ .error_msg = "cut \xe2\x82 and \x01\xff",
		                   .line_count = 1,
		                   .lines = { longest } };
	ROUND_TRIP(outcome, &in, &out);
	assert_string_equal(out.error_msg, "cut ?? and  ?");
	assert_int_equal(strlen(out.lines[0]), MSG_TEXT_MAX);
	done();
}

/* --- inline tensors --- */

static void inline_data_must_be_what_the_shape_takes(void **state)
{
	static uint8_t data[SIMPLER_INLINE_MAX + 1];
	static const struct {
		size_t size;
		struct msg_shape shape;
		simpler_status status;
		const char *text; /* in the message */
	} cases[] = {
		{ 48, { 2, { 2, 3 }, SIMPLER_INT64, SIMPLER_INPUT }, SIMPLER_OK, NULL },
		{ 47, { 2, { 2, 3 }, SIMPLER_INT64, SIMPLER_INPUT }, SIMPLER_EINVAL, "47" },
		{ 47, { 2, { 2, 3 }, SIMPLER_INT64, SIMPLER_INPUT }, SIMPLER_EINVAL, "48" },
		/* No dimensions: one element. */
		{ 4, { 0, { 0 }, SIMPLER_FLOAT32, SIMPLER_INPUT }, SIMPLER_OK, NULL },
		{ 8, { 0, { 0 }, SIMPLER_FLOAT32, SIMPLER_INPUT }, SIMPLER_EINVAL, "8 bytes" },
		{ 0, { 0, { 0 }, SIMPLER_FLOAT32, SIMPLER_INPUT }, SIMPLER_EINVAL, "0 bytes" },
		/* A dimension of 0: nothing. */
		{ 0, { 2, { 5, 0 }, SIMPLER_FLOAT32, SIMPLER_INPUT }, SIMPLER_OK, NULL },
		/* What is only written need not come. */
		{ 0, { 1, { 5 }, SIMPLER_INT8, SIMPLER_OUTPUT }, SIMPLER_OK, NULL },
		{ 0, { 1, { 5 }, SIMPLER_INT8, SIMPLER_OUTPUT_EXISTING }, SIMPLER_OK, NULL },
		{ 5, { 1, { 5 }, SIMPLER_INT8, SIMPLER_OUTPUT }, SIMPLER_OK, NULL },
		{ 4, { 1, { 5 }, SIMPLER_INT8, SIMPLER_OUTPUT }, SIMPLER_EINVAL, "4 bytes" },
		{ 0, { 1, { 5 }, SIMPLER_INT8, SIMPLER_INOUT }, SIMPLER_EINVAL, "0 bytes" },
		{ 0, { 1, { 5 }, SIMPLER_INT8, SIMPLER_NO_DEP }, SIMPLER_EINVAL, "0 bytes" },
		/* R12: never silently stored somewhere else. */
		{ SIMPLER_INLINE_MAX,
		  { 1, { SIMPLER_INLINE_MAX }, SIMPLER_UINT8, SIMPLER_INPUT },
		  SIMPLER_OK,
		  NULL },
		{ SIMPLER_INLINE_MAX + 1,
		  { 1, { SIMPLER_INLINE_MAX + 1 }, SIMPLER_UINT8, SIMPLER_INPUT },
		  SIMPLER_EINVAL,
		  "AllocTensor" },
	};
	static struct msg_dispatch in, out;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		in.tensor_count = 1;
		in.tensors[0].inline_data = (simpler_bytes){ data, cases[i].size };
		in.tensors[0].shape = cases[i].shape;
		assert_int_equal(msg_dispatch_encode(&in, &wire), SIMPLER_OK);
		bump_init(&bump, MSG_BUMP_LIMIT(wire.size));
		assert_int_equal(msg_dispatch_decode(wire.data, wire.size, &bump, &out),
		                 cases[i].status);
		if (cases[i].status == SIMPLER_OK) {
			assert_int_equal(out.tensors[0].inline_data.size, cases[i].size);
		} else {
			assert_non_null(strstr(simpler_last_error(), cases[i].text));
			assert_non_null(strstr(simpler_last_error(), "tensor_refs[0]"));
		}
		done();
	}
}

/* --- refusals, byte by byte --- */

typedef simpler_status decode_function(const uint8_t *bytes, size_t size);

#define DECODER(name, type)                                                                        \
	static simpler_status decode_##name(const uint8_t *bytes, size_t size)                     \
	{                                                                                          \
		static struct type out;                                                            \
		simpler_status status;                                                             \
                                                                                                   \
		bump_init(&bump, MSG_BUMP_LIMIT(size));                                            \
		status = msg_##name##_decode(bytes, size, &bump, &out);                            \
		bump_release(&bump);                                                               \
		return status;                                                                     \
	}
DECODER(health, msg_health)
DECODER(handle, msg_handle)
DECODER(chunk, msg_chunk)
DECODER(alloc, msg_alloc)
DECODER(refresh, msg_refresh)
DECODER(dispatch, msg_dispatch)
DECODER(outcome, msg_outcome)
DECODER(callable_ref, msg_callable_ref)
DECODER(callable, msg_callable)
DECODER(free, msg_handle)
DECODER(module_ref, msg_module_ref)
DECODER(module_chunk, msg_module_chunk)
DECODER(attached, msg_attached)
DECODER(status, msg_status)
DECODER(read, msg_read)
DECODER(export, msg_export)
DECODER(grant, msg_grant)
DECODER(import, msg_import)

/* The bytes of a field of the wire: `tag` is its number times 8, plus 0 for a number, plus 2 for
 * bytes. */
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1
#define NEGATIVE    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" /* -1 as a number of 64 bits */

static void what_makes_no_sense_is_refused_by_name(void **state)
{
	static const struct {
		decode_function *decode;
		const uint8_t *bytes;
		size_t size;
		const char *text; /* in the message */
	} cases[] = {
		{ decode_health, BYTES("\x12"), "Health" },
		{ decode_health, BYTES("\x12\x05up"), "Health" },
		{ decode_health, BYTES("\x12\x01\xff"), "message is not UTF-8" },
		{ decode_handle, BYTES("\x0a\x02\xc0\x80"), "node_id is not UTF-8" },
		{ decode_handle, BYTES("\x3a\x03\xed\xa0\x80"), "transport is not UTF-8" },
		{ decode_free, BYTES(""), "handle is missing" },
		{ decode_callable, BYTES("\x22\x02xx"), "digest has 2 bytes instead of 32" },
		{ decode_module_ref, BYTES(""), "digest has 0 bytes instead of 32" },
		{ decode_module_chunk, BYTES("\x0a\x00"), "module.digest has 0 bytes" },
		{ decode_module_chunk, BYTES("\x20" NEGATIVE "\x2a\x01x"), "past 2^64" },
		{ decode_attached, BYTES("\x0a\x01\xff"), "node_id is not UTF-8" },
		{ decode_attached, BYTES("\x2a\x01\xff"), "shm_address is not UTF-8" },
		{ decode_status, BYTES("\x1a\x01\xff"), "node_id is not UTF-8" },
		{ decode_status, BYTES("\x2a\x01\xff"), "version is not UTF-8" },
		{ decode_status, BYTES("\x12\x03\x12\x01\xff"), "reason's why is not UTF-8" },
		{ decode_status, BYTES("\x5a\x03\x0a\x01\xff"), "workers' kind is not UTF-8" },
		{ decode_status, BYTES("\x52\x03\x32\x01\xff"), "last_end is not UTF-8" },
		{ decode_status, BYTES("\x7a\x03\x42\x01\xff"), "store is not UTF-8" },
		{ decode_status, BYTES("\x62\0\x62\0\x62\0\x62\0\x62\0\x62\0\x62\0\x62\0\x62\0"),
		  "devices has 9 entries; at most 8" },
		{ decode_refresh, BYTES("\x10\x05"), "handle is missing" },
		{ decode_read, BYTES(""), "handle is missing" },
		{ decode_read, BYTES("\x0a\x00\x1a\x01x"), "token has 1 bytes; a grant's has 16" },
		{ decode_read, BYTES("\x0a\x00\x12\x06\x10\x08\x18\x07\x20\x02"), "they overlap" },
		{ decode_read, BYTES("\x0a\x00\x12\x0f\x08" NEGATIVE "\x10\x01\x20\x01"),
		  "past 2^63-1" },
		{ decode_chunk, BYTES("\x2a\x0f\x10\x01\x18\x02\x20" NEGATIVE), "past 2^63-1" },
		{ decode_export, BYTES("\x10\x01"), "handle is missing" },
		{ decode_grant, BYTES("\x0a\x00"), "token has 0 bytes" },
		{ decode_grant,
		  BYTES("\x12\x10"
		        "0123456789abcdef"),
		  "a grant's handle is missing" },
		{ decode_import, BYTES(""), "grant is missing" },
		{ decode_import, BYTES("\x0a\x00\x12\x01\xff"), "address is not UTF-8" },
		{ decode_import, BYTES("\x0a\x00"), "token has 0 bytes" },
		{ decode_chunk, BYTES("\x10" NEGATIVE "\x1a\x01x"), "offset" },
		{ decode_chunk, BYTES("\x0a\x03\x0a\x01\xff"), "node_id" },
		{ decode_alloc, BYTES("\x52\x01\x04\x08\x0f"), "more than nbytes, 15" },
		{ decode_alloc, BYTES("\x52\x0a" NEGATIVE), "shape[0] is negative" },
		{ decode_alloc, BYTES("\x52\x0a\x02\x80\x80\x80\x80\x80\x80\x80\x80\x40"), "2^63" },
		{ decode_alloc, BYTES("\x52\x09\1\1\1\1\1\1\1\1\1"), "9 dimensions" },
		{ decode_alloc, BYTES("\x58\x0d"), "dtype 13" },
		{ decode_alloc, BYTES("\x58" NEGATIVE), "dtype -1" },
		{ decode_alloc, BYTES("\x60\x05"), "tag 5" },
		{ decode_alloc, BYTES("\x60" NEGATIVE), "tag -1" },
		{ decode_callable_ref, BYTES("\x08"), "CallableRef" },
		{ decode_callable, BYTES("\x1a\x7f"), "CallablePayload" },
		{ decode_outcome, BYTES("\x1a\x01\x80"), "error_msg is not UTF-8" },
		{ decode_outcome, BYTES("\x22\x01\x80"), "remote_traceback is not UTF-8" },
		{ decode_outcome, BYTES("\x2a\x02\x58\x0d"), "output_tensors[0]" },
		{ decode_dispatch, BYTES("\x32\x00"), "tensor_refs" },
		{ decode_dispatch, BYTES("\x32\x02\x08\x01"), "AllocTensor" },
		{ decode_dispatch, BYTES("\x42\x01x"), "callable_digest has 1 bytes" },
		{ decode_dispatch, BYTES("\x48\x04"), "callable_kind 4" },
		{ decode_dispatch, BYTES("\x22\x01\x08"), "config_blob" },
		{ decode_dispatch, BYTES("\x22\x0b\x08" NEGATIVE), "block_dim is negative" },
		{ decode_dispatch, BYTES("\x22\x0b\x10" NEGATIVE), "aicpu_thread_num is negative" },
		{ decode_dispatch, BYTES("\x22\x0b\x28" NEGATIVE), "enable_pmu is negative" },
		{ decode_dispatch, BYTES("\x22\x02\x18\x01"), "output_prefix" },
		{ decode_dispatch, BYTES("\x22\x02\x20\x01"), "output_prefix" },
		{ decode_dispatch, BYTES("\x22\x02\x28\x01"), "output_prefix" },
		{ decode_dispatch, BYTES("\x22\x03\x32\x01\xff"), "output_prefix is not UTF-8" },
		{ decode_dispatch, BYTES("\x3a\x00"), "inline_data has 0 bytes" },
		{ decode_dispatch, BYTES("\x3a\x04\x12\x02\x0a\x7f"), "DispatchReq" },
		{ decode_dispatch, BYTES("\x3a\x02\x68\x01"), "offset is 1 without a handle" },
		{ decode_dispatch, BYTES("\x3a\x0d\x12\x00\x68" NEGATIVE), "past 2^63-1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		error_clear();
		assert_int_equal(cases[i].decode(cases[i].bytes, cases[i].size), SIMPLER_EINVAL);
		if (!strstr(simpler_last_error(), cases[i].text))
			print_message("case %zu: %s\n", i, simpler_last_error());
		assert_non_null(strstr(simpler_last_error(), cases[i].text));
	}
}

static void R02_a_received_address_is_refused(void **state)
{
	/* tensor_args: data 0x1000, shape [4]. */
	(void)state;
	assert_int_equal(decode_dispatch(BYTES("\x32\x06\x08\x80\x20\x12\x01\x04")),
	                 SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "tensor_args"));
	assert_non_null(strstr(simpler_last_error(), "tensor_refs with inline_data"));
	assert_non_null(strstr(simpler_last_error(), "handle from AllocTensor"));
}

static void unknown_fields_are_skipped(void **state)
{
	(void)state;
	assert_int_equal(decode_dispatch(BYTES("\x08\x01\xa2\x06\x03new\xa8\x06\x05")), SIMPLER_OK);
	assert_int_equal(decode_callable_ref(BYTES("\xa2\x06\x03new\x10\x02")), SIMPLER_OK);
}

/* Append `count` times a field to `bytes`. */
static size_t repeat(uint8_t *bytes, const void *field, size_t size, size_t count)
{
	for (size_t i = 0; i < count; i++)
		memcpy(bytes + i * size, field, size);
	return size * count;
}

static void counts_are_limited(void **state)
{
	static const struct {
		decode_function *decode;
		const uint8_t *field;
		size_t size, most;
		const char *text;
	} cases[] = {
		{ decode_dispatch, BYTES("\x28\x05"), SIMPLER_MAX_SCALARS, "scalar_args" },
		{ decode_dispatch, BYTES("\x3a\x06\x0a\x04wxyz"), SIMPLER_MAX_TENSORS,
		  "tensor_refs" },
		{ decode_outcome, BYTES("\x22\x01x"), MSG_MAX_LINES, "remote_traceback" },
		{ decode_outcome, BYTES("\x2a\x06\x0a\x04wxyz"), SIMPLER_MAX_TENSORS,
		  "output_tensors" },
		{ decode_alloc, BYTES("\x50\x00"), SIMPLER_MAX_DIMS, "dimensions" },
	};
	static uint8_t bytes[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t size = repeat(bytes, cases[i].field, cases[i].size, cases[i].most);

		assert_int_equal(cases[i].decode(bytes, size), SIMPLER_OK);
		repeat(bytes + size, cases[i].field, cases[i].size, 1);
		assert_int_equal(cases[i].decode(bytes, size + cases[i].size), SIMPLER_EINVAL);
		assert_non_null(strstr(simpler_last_error(), cases[i].text));
	}
}

static void texts_are_limited(void **state)
{
	/* Each is a field with a length of two bytes and a text of so many. */
	static const struct {
		decode_function *decode;
		uint8_t tag;
		size_t most;
		const char *text;
	} cases[] = {
		{ decode_health, 0x12, MSG_TEXT_MAX, "message" },
		{ decode_outcome, 0x1a, MSG_TEXT_MAX, "error_msg" },
		{ decode_outcome, 0x22, MSG_TEXT_MAX, "remote_traceback" },
		{ decode_handle, 0x0a, MSG_NODE_ID_MAX, "node_id" },
		{ decode_handle, 0x3a, MSG_TRANSPORT_MAX, "transport" },
		{ decode_handle, 0x42, MSG_TRANSPORT_DESC_MAX, "transport_desc" },
	};
	static uint8_t bytes[MSG_TEXT_MAX + 16];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t over = 0; over < 2; over++) {
			size_t size = cases[i].most + over;

			memset(bytes, 'x', sizeof(bytes));
			bytes[0] = cases[i].tag;
			bytes[1] = (uint8_t)(0x80 | (size & 0x7f));
			bytes[2] = (uint8_t)(size >> 7);
			assert_int_equal(cases[i].decode(bytes, size + 3),
			                 over ? SIMPLER_EINVAL : SIMPLER_OK);
		}
		assert_non_null(strstr(simpler_last_error(), cases[i].text));
	}
}

/* Millions of the smallest fields: refused, with no more memory than twice the message. */
static void a_hostile_message_does_not_take_memory(void **state)
{
	static const uint8_t *const fields[] = {
		(const uint8_t *)"\x28\x00", /* scalar_args */
		(const uint8_t *)"\x3a\x00", /* tensor_refs */
		(const uint8_t *)"\x32\x00", /* tensor_args */
		(const uint8_t *)"\x22\x00", /* config_blob, again and again */
		(const uint8_t *)"\x78\x00", /* unknown */
	};
	const size_t size = (size_t)8 << 20;
	uint8_t *bytes = malloc(size);

	(void)state;
	assert_non_null(bytes);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		static struct msg_dispatch out;

		repeat(bytes, fields[i], 2, size / 2);
		bump_init(&bump, MSG_BUMP_LIMIT(size));
		assert_int_equal(msg_dispatch_decode(bytes, size, &bump, &out), SIMPLER_EINVAL);
		assert_true(bump.used <= MSG_BUMP_LIMIT(size));
		bump_release(&bump);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(health_round_trip),
		cmocka_unit_test(handle_round_trips),
		cmocka_unit_test(chunk_round_trip),
		cmocka_unit_test(a_chunk_reads_the_same_in_parts),
		cmocka_unit_test(parts_that_are_no_chunk_are_refused),
		cmocka_unit_test(a_large_chunk_fits_the_limit),
		cmocka_unit_test(alloc_round_trip),
		cmocka_unit_test(callable_round_trips),
		cmocka_unit_test(module_round_trips),
		cmocka_unit_test(session_round_trips),
		cmocka_unit_test(status_round_trips),
		cmocka_unit_test(span_round_trips),
		cmocka_unit_test(grant_round_trips),
		cmocka_unit_test(an_empty_message_is_no_bytes),
		cmocka_unit_test(dispatch_round_trip),
		cmocka_unit_test(an_empty_dispatch_has_the_defaults),
		cmocka_unit_test(outcome_round_trip),
		cmocka_unit_test(texts_go_out_as_others_can_read_them),
		cmocka_unit_test(inline_data_must_be_what_the_shape_takes),
		cmocka_unit_test(what_makes_no_sense_is_refused_by_name),
		cmocka_unit_test(R02_a_received_address_is_refused),
		cmocka_unit_test(unknown_fields_are_skipped),
		cmocka_unit_test(counts_are_limited),
		cmocka_unit_test(texts_are_limited),
		cmocka_unit_test(a_hostile_message_does_not_take_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
