/* TensorPool as clients see it: what may be pushed how, and what comes back. */
#include "front_end.h"

#include <stdio.h>
#include <stdlib.h>

#include "node/node.h"
#include "proc_line.h"

#define MIB ((size_t)1 << 20)

static int start(void **state)
{
	*state = front_end_start(NULL);
	return 0;
}

static int stop(void **state)
{
	front_end_stop(*state);
	return 0;
}

static uint8_t *pattern(size_t size, uint8_t seed)
{
	uint8_t *bytes = malloc(size + 1);

	assert_non_null(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i * 31 + (i >> 12) + seed);
	return bytes;
}

static void expect_content(struct front_end *front_end, const struct msg_handle *handle,
                           const uint8_t *want, size_t size, unsigned chunks)
{
	uint8_t *have = malloc(size + 1);
	struct outcome outcome;
	size_t have_size;
	unsigned have_chunks;

	assert_non_null(have);
	pull_tensor(front_end, handle, have, size, &have_size, &have_chunks, &outcome);
	expect(&outcome, RPC_OK, "");
	assert_int_equal(have_size, size);
	assert_int_equal(have_chunks, chunks);
	assert_memory_equal(have, want, size);
	outcome_destroy(&outcome);
	free(have);
}

/* As clients do that are there already: 1 MiB chunks, and each repeats the handle. */
static void bytes_go_and_come_in_chunks(void **state)
{
	static const struct {
		size_t size;
		unsigned chunks;
	} cases[] = { { 0, 1 },   { 1, 1 },       { MIB - 1, 1 },
		      { MIB, 1 }, { MIB + 1, 2 }, { 5 * MIB + 12345, 6 } };
	struct front_end *front_end = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct msg_handle target = alloc_tensor(front_end, cases[i].size);
		uint8_t *bytes = pattern(cases[i].size, (uint8_t)i);
		struct msg_chunk chunks[8];
		struct msg_handle handle;
		struct outcome outcome;

		for (unsigned j = 0; j < cases[i].chunks; j++) {
			size_t offset = j * MIB, left = cases[i].size - offset;

			chunks[j] = (struct msg_chunk){ .has_handle = true,
				                        .handle = target,
				                        .offset = offset,
				                        .data = { bytes + offset,
				                                  left < MIB ? left : MIB },
				                        .last = j + 1 == cases[i].chunks };
		}
		push_chunks(front_end, chunks, cases[i].chunks, &outcome);
		expect_handle(&outcome, &handle);
		assert_int_equal(handle.handle_id, target.handle_id);
		assert_int_equal(handle.nbytes, cases[i].size);
		expect_content(front_end, &handle, bytes, cases[i].size, cases[i].chunks);
		outcome_destroy(&outcome);
		free(bytes);
	}
}

static struct msg_chunk chunk_at(const struct msg_handle *handle, uint64_t offset, const char *text)
{
	struct msg_chunk chunk = { .has_handle = handle != NULL,
		                   .offset = offset,
		                   .data = { text, strlen(text) } };

	if (handle)
		chunk.handle = *handle;
	return chunk;
}

static void a_chunk_without_a_handle_continues_the_last(void **state)
{
	struct front_end *front_end = *state;
	const struct msg_handle target = alloc_tensor(front_end, 6);
	const struct msg_chunk chunks[] = { chunk_at(&target, 4, "ef"), chunk_at(NULL, 0, "ab"),
		                            chunk_at(NULL, 2, "cd") };
	struct outcome outcome;

	push_chunks(front_end, chunks, 3, &outcome);
	expect(&outcome, RPC_OK, "");
	expect_content(front_end, &target, (const uint8_t *)"abcdef", 6, 1);
	outcome_destroy(&outcome);
}

static void a_push_to_handle_0_allocates(void **state)
{
	struct front_end *front_end = *state;
	const struct msg_handle sized = { .nbytes = 6 }, unsized = { .nbytes = 0 };
	struct msg_chunk chunks[] = { chunk_at(&sized, 0, "abc"), chunk_at(&sized, 3, "def") };
	struct msg_chunk whole = chunk_at(&unsized, 0, "all in one");
	struct msg_handle handle;
	struct outcome outcome;

	push_chunks(front_end, chunks, 2, &outcome);
	expect_handle(&outcome, &handle);
	expect_content(front_end, &handle, (const uint8_t *)"abcdef", 6, 1);
	outcome_destroy(&outcome);
	whole.last = true;
	push_chunks(front_end, &whole, 1, &outcome);
	expect_handle(&outcome, &handle);
	expect_content(front_end, &handle, (const uint8_t *)"all in one", 10, 1);
	outcome_destroy(&outcome);
	push_chunks(front_end, NULL, 0, &outcome);
	expect_handle(&outcome, &handle);
	assert_int_equal(handle.nbytes, 0);
	expect_content(front_end, &handle, (const uint8_t *)"", 0, 1);
	outcome_destroy(&outcome);
}

static void expect_push(struct front_end *front_end, const struct msg_chunk *chunks, size_t count,
                        enum rpc_code code, const char *text)
{
	struct outcome outcome;

	push_chunks(front_end, chunks, count, &outcome);
	expect(&outcome, code, text);
	outcome_destroy(&outcome);
}

static void pushes_that_make_no_sense_are_refused(void **state)
{
	struct front_end *front_end = *state;
	const struct msg_handle target = alloc_tensor(front_end, 4),
				other = alloc_tensor(front_end, 4);
	const struct msg_handle unsized = { .nbytes = 0 }, huge = { .nbytes = 65 * MIB };
	struct msg_handle foreign = target, unknown = target;
	struct msg_chunk pair[2];

	strcpy(foreign.node_id, "elsewhere");
	unknown.handle_id += 999;
	pair[0] = chunk_at(NULL, 0, "ab");
	expect_push(front_end, pair, 1, RPC_INVALID_ARGUMENT, "no handle");
	pair[0] = chunk_at(&target, 3, "ab");
	expect_push(front_end, pair, 1, RPC_INVALID_ARGUMENT, "2 bytes at offset 3");
	pair[0] = chunk_at(&target, UINT64_MAX, "ab");
	expect_push(front_end, pair, 1, RPC_INVALID_ARGUMENT, "offset");
	pair[0] = chunk_at(&foreign, 0, "ab");
	expect_push(front_end, pair, 1, RPC_NOT_FOUND, "'elsewhere'");
	pair[0] = chunk_at(&unknown, 0, "ab");
	expect_push(front_end, pair, 1, RPC_NOT_FOUND, "");
	pair[0] = chunk_at(&unsized, 0, "ab");
	expect_push(front_end, pair, 1, RPC_INVALID_ARGUMENT, "handle.nbytes");
	pair[0] = chunk_at(&huge, 0, "ab");
	expect_push(front_end, pair, 1, RPC_RESOURCE_EXHAUSTED, "");
	pair[0] = chunk_at(&target, 0, "ab");
	pair[1] = chunk_at(&other, 2, "cd");
	expect_push(front_end, pair, 2, RPC_INVALID_ARGUMENT, "one push fills one tensor");
	pair[0].last = true;
	pair[1] = chunk_at(&target, 2, "cd");
	expect_push(front_end, pair, 2, RPC_INVALID_ARGUMENT, "follows the one marked last");
}

/* The pool has 64 MiB: were it not freed, the third would not fit. */
static void a_push_that_fails_frees_what_it_allocated(void **state)
{
	struct front_end *front_end = *state;
	const struct msg_handle large = { .nbytes = 30 * MIB };
	const struct msg_chunk pair[] = { chunk_at(&large, 0, "ab"),
		                          chunk_at(NULL, 30 * MIB, "c") };

	for (size_t i = 0; i < 5; i++)
		expect_push(front_end, pair, 2, RPC_INVALID_ARGUMENT, "go past");
}

static void handle_call(struct front_end *front_end, bool refresh, const struct msg_handle *handle,
                        uint64_t ttl_ms, struct outcome *outcome)
{
	const struct msg_refresh message = { *handle, ttl_ms };
	struct rpc_buffer buffer;

	assert_int_equal(refresh ? msg_refresh_encode(&message, &buffer)
	                         : msg_free_encode(handle, &buffer),
	                 SIMPLER_OK);
	call(front_end, refresh ? MSG_REFRESH_TENSOR : MSG_FREE_TENSOR, &buffer, outcome);
}

static void a_refresh_makes_the_lease_longer(void **state)
{
	struct front_end *front_end = *state;
	const struct msg_handle stored = alloc_tensor(front_end, 8);
	struct msg_handle refreshed, pushed;
	struct msg_chunk chunk = chunk_at(&stored, 0, "ab");
	struct outcome outcome;

	handle_call(front_end, true, &stored, 3600000, &outcome);
	expect_handle(&outcome, &refreshed);
	assert_true(refreshed.lease_deadline_unix_ms > stored.lease_deadline_unix_ms + 3000000);
	outcome_destroy(&outcome);
	/* A push keeps the lease for a while at least and does not cut it. */
	push_chunks(front_end, &chunk, 1, &outcome);
	expect_handle(&outcome, &pushed);
	assert_true(pushed.lease_deadline_unix_ms > stored.lease_deadline_unix_ms + 3000000);
	outcome_destroy(&outcome);
}

static void a_freed_handle_is_stale_everywhere(void **state)
{
	struct front_end *front_end = *state;
	const struct msg_handle stored = alloc_tensor(front_end, 8);
	const struct msg_chunk chunk = chunk_at(&stored, 0, "ab");
	struct outcome outcome;
	uint8_t bytes[8];
	unsigned chunks;
	size_t size;

	handle_call(front_end, false, &stored, 0, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
	for (int refresh = 0; refresh < 2; refresh++) {
		handle_call(front_end, refresh == 1, &stored, 0, &outcome);
		expect(&outcome, RPC_FAILED_PRECONDITION, "");
		outcome_destroy(&outcome);
	}
	expect_push(front_end, &chunk, 1, RPC_FAILED_PRECONDITION, "");
	pull_tensor(front_end, &stored, bytes, sizeof(bytes), &size, &chunks, &outcome);
	expect(&outcome, RPC_FAILED_PRECONDITION, "");
	outcome_destroy(&outcome);
}

/* Of the memory that processes share, what is resident in the front end. */
static size_t resident_bytes(const struct front_end *front_end)
{
	char line[256];

	return strtoull(proc_line(front_end->daemon.pid, "status", "RssShmem:", line), NULL, 10) *
	       1024;
}

/* Tensors of 8 MiB, in chunks of 1 MiB. */
static void store_some(struct front_end *front_end, struct msg_handle *stored, size_t count)
{
	uint8_t *bytes = pattern(MIB, 0);
	struct msg_chunk chunks[8];
	struct outcome outcome;

	for (size_t i = 0; i < count; i++) {
		stored[i] = alloc_tensor(front_end, 8 * MIB);
		for (size_t j = 0; j < 8; j++)
			chunks[j] = (struct msg_chunk){ .has_handle = true,
				                        .handle = stored[i],
				                        .offset = j * MIB,
				                        .data = { bytes, MIB },
				                        .last = j == 7 };
		push_chunks(front_end, chunks, 8, &outcome);
		expect(&outcome, RPC_OK, "");
		outcome_destroy(&outcome);
	}
	free(bytes);
}

/* But for the pages that are kept for the next. The kernel's count of them may be off by a few. */
static void freed_tensors_leave_the_resident_size_of_the_front_end(void **state)
{
	enum { COUNT = 16 };
	const size_t stored_bytes = COUNT * 8 * MIB, kept = 64 * MIB;
	const char *const options[] = { "--pool-bytes", "192M", NULL };
	struct front_end *front_end = front_end_start(options);
	const size_t before = resident_bytes(front_end);
	struct msg_handle stored[COUNT];
	struct outcome outcome;

	(void)state;
	store_some(front_end, stored, COUNT);
	assert_in_range(resident_bytes(front_end), before + stored_bytes - MIB,
	                before + stored_bytes + MIB);
	for (size_t i = 0; i < COUNT; i++) {
		handle_call(front_end, false, &stored[i], 0, &outcome);
		expect(&outcome, RPC_OK, "");
		outcome_destroy(&outcome);
	}
	assert_in_range(resident_bytes(front_end), before, before + kept + MIB);
	front_end_stop(front_end);
}

static void a_lease_that_is_over_frees_the_storage(void **state)
{
	struct front_end *front_end = *state;
	const struct msg_alloc alloc = { .nbytes = 40 * MIB, .ttl_ms = 20 };
	struct rpc_buffer buffer;
	struct outcome outcome;
	enum rpc_code code;

	assert_int_equal(msg_alloc_encode(&alloc, &buffer), SIMPLER_OK);
	call(front_end, MSG_ALLOC_TENSOR, &buffer, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
	/* The pool has room for one of these at a time. */
	do {
		assert_int_equal(msg_alloc_encode(&alloc, &buffer), SIMPLER_OK);
		call(front_end, MSG_ALLOC_TENSOR, &buffer, &outcome);
		code = outcome.code;
		outcome_destroy(&outcome);
	} while (code == RPC_RESOURCE_EXHAUSTED);
	assert_int_equal(code, RPC_OK);
}

static void expect_limits(const struct rpc_method *methods, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (methods[i].idle_ms == 0)
			fail_msg("%s has no limit", methods[i].path);
	}
}

/* That what has a limit ends at it is in test_rpc_cancel.c. */
static void no_stream_of_bytes_waits_for_ever(void **state)
{
	(void)state;
	expect_limits(node_module_methods, NODE_MODULE_METHODS);
	expect_limits(node_stream_methods, NODE_STREAM_METHODS);
}

int main(void)
{
#define WITH_A_NODE(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		WITH_A_NODE(bytes_go_and_come_in_chunks),
		WITH_A_NODE(a_chunk_without_a_handle_continues_the_last),
		WITH_A_NODE(a_push_to_handle_0_allocates),
		WITH_A_NODE(pushes_that_make_no_sense_are_refused),
		WITH_A_NODE(a_push_that_fails_frees_what_it_allocated),
		WITH_A_NODE(a_refresh_makes_the_lease_longer),
		WITH_A_NODE(a_freed_handle_is_stale_everywhere),
		cmocka_unit_test(freed_tensors_leave_the_resident_size_of_the_front_end),
		WITH_A_NODE(a_lease_that_is_over_frees_the_storage),
		cmocka_unit_test(no_stream_of_bytes_waits_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
