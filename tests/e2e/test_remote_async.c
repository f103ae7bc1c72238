/* What is done to tensors on nodes without waiting for it. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tensor_fixture.h"

static void many_writes_and_reads_are_in_progress_at_once(void **state)
{
	enum { COUNT = 12, ELEMENTS = 300000 };
	struct fixture *fixture = *state;
	simpler_tensor_handle handles[COUNT];
	simpler_completion *writes[COUNT], *reads[COUNT];
	int64_t *values = malloc(2 * COUNT * ELEMENTS * sizeof(*values));

	for (size_t i = 0; i < COUNT * ELEMENTS; i++)
		values[i] = (int64_t)(i * 3);
	for (size_t i = 0; i < COUNT; i++) {
		simpler_tensor local = over(values + i * ELEMENTS, SIMPLER_INT64, ELEMENTS);

		handles[i] = alloc(fixture, i % 2, SIMPLER_INT64, ELEMENTS);
		assert_ok(simpler_tensor_write_async(fixture->worker, handles[i], NULL, &local,
		                                     NULL, &writes[i]));
	}
	for (size_t i = 0; i < COUNT; i++) {
		struct pollfd fd = { simpler_completion_fd(writes[i]), POLLIN, 0 };

		assert_int_equal(poll(&fd, 1, 30000), 1);
		assert_true(simpler_completion_poll(writes[i]));
		assert_ok(simpler_completion_result(writes[i]));
		assert_ok(simpler_completion_destroy(writes[i]));
	}
	for (size_t i = 0; i < COUNT; i++) {
		simpler_tensor local =
			over(values + (COUNT + i) * ELEMENTS, SIMPLER_INT64, ELEMENTS);

		assert_ok(simpler_tensor_read_async(fixture->worker, handles[i], NULL, &local, NULL,
		                                    &reads[i]));
	}
	for (size_t i = 0; i < COUNT; i++) {
		assert_true(simpler_completion_wait(reads[i], 30000));
		assert_ok(simpler_completion_result(reads[i]));
		assert_ok(simpler_completion_destroy(reads[i]));
		free_tensor(fixture, handles[i]);
	}
	assert_memory_equal(values, values + COUNT * ELEMENTS, COUNT * ELEMENTS * sizeof(*values));
	free(values);
}

static void a_cancelled_read_ends_as_cancelled_or_whole(void **state)
{
	enum { BYTES = 20 << 20 };
	struct fixture *fixture = *state;
	simpler_tensor_handle handle = alloc(fixture, 0, SIMPLER_UINT8, BYTES);
	unsigned cancelled = 0;

	for (int i = 0; i < 10; i++) {
		uint8_t *bytes = malloc(BYTES);
		simpler_tensor local = over(bytes, SIMPLER_UINT8, BYTES);
		simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
		simpler_completion *read;
		simpler_status status;

		options.transport = SIMPLER_TRANSPORT_STREAM;
		assert_ok(simpler_tensor_read_async(fixture->worker, handle, NULL, &local, &options,
		                                    &read));
		simpler_completion_cancel(read);
		assert_true(simpler_completion_wait(read, 30000));
		status = simpler_completion_result(read);
		if (status != SIMPLER_OK)
			assert_fails(status, SIMPLER_ECANCELLED, "may be half-written");
		cancelled += status != SIMPLER_OK;
		assert_ok(simpler_completion_destroy(read));
		free(bytes); /* nobody writes to it any more */
	}
	assert_true(cancelled > 0);
	free_tensor(fixture, handle);
}

static void a_deadline_ends_a_call(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_tensor_handle handle;
	int64_t count = 1;

	options.timeout_ms = 0;
	assert_fails(simpler_tensor_alloc(fixture->worker, 0, SIMPLER_INT64, 1, &count, &options,
	                                  &handle),
	             SIMPLER_EDEADLINE, fixture->nodes[0].address);
}

/* The handle is gone, so the program could not free it again. */
static void a_free_that_had_no_time_is_made_up_for(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	int64_t most = 40 << 20; /* of 64 MiB */
	simpler_tensor_handle handle = alloc(fixture, 0, SIMPLER_UINT8, most);
	simpler_status status;

	options.timeout_ms = 0;
	assert_fails(simpler_tensor_free(fixture->worker, handle, &options), SIMPLER_EDEADLINE,
	             fixture->nodes[0].address);
	assert_fails(simpler_tensor_free(fixture->worker, handle, NULL), SIMPLER_ESTALE,
	             "it was freed");
	alarm(60);
	do
		status = simpler_tensor_alloc(fixture->worker, 0, SIMPLER_UINT8, 1, &most, NULL,
		                              &handle);
	while (status == SIMPLER_ENOSPACE);
	alarm(0);
	assert_ok(status);
	free_tensor(fixture, handle);
}

/* --- all others --- */

static void end_well(simpler_completion *completion)
{
	assert_true(simpler_completion_wait(completion, 30000));
	assert_ok(simpler_completion_result(completion));
	assert_ok(simpler_completion_destroy(completion));
}

static void end_badly(simpler_completion *completion, simpler_status status, const char *text)
{
	assert_true(simpler_completion_wait(completion, 30000));
	assert_fails(simpler_completion_result(completion), status, text);
	assert_ok(simpler_completion_destroy(completion));
}

static void a_tensor_is_made_brought_refreshed_and_freed_without_waiting(void **state)
{
	enum { COUNT = 8 };
	struct fixture *fixture = *state;
	simpler_worker *worker = fixture->worker;
	simpler_completion *made[COUNT], *brought[COUNT], *refreshed, *freed[2 * COUNT];
	simpler_tensor_handle from[COUNT], to[COUNT];
	int64_t count = 1000, values[1000];
	simpler_worker_id node;

	for (unsigned i = 0; i < COUNT; i++)
		assert_ok(simpler_tensor_alloc_async(worker, i % 2, SIMPLER_INT64, 1, &count, NULL,
		                                     &from[i], &made[i]));
	for (unsigned i = 0; i < COUNT; i++) {
		end_well(made[i]);
		for (int k = 0; k < count; k++)
			values[k] = k * (int64_t)i;
		write_all(fixture, from[i], over(values, SIMPLER_INT64, count));
		assert_ok(simpler_tensor_bring_async(worker, from[i], 1 - i % 2, NULL, &to[i],
		                                     &brought[i]));
	}
	for (unsigned i = 0; i < COUNT; i++) {
		end_well(brought[i]);
		assert_ok(simpler_tensor_look(worker, to[i], NULL, &node));
		assert_int_equal(node, 1 - i % 2);
		assert_ok(simpler_tensor_refresh_async(worker, to[i], NULL, &refreshed));
		end_well(refreshed);
		read_all(fixture, to[i], over(values, SIMPLER_INT64, count));
		assert_int_equal(values[999], 999 * i);
		assert_ok(simpler_tensor_free_async(worker, from[i], NULL, &freed[2 * i]));
		assert_ok(simpler_tensor_free_async(worker, to[i], NULL, &freed[2 * i + 1]));
		assert_fails(simpler_tensor_look(worker, to[i], NULL, NULL), SIMPLER_ESTALE,
		             "names no tensor");
	}
	for (unsigned i = 0; i < 2 * COUNT; i++)
		end_well(freed[i]);
}

/* Two thirds of a pool, again and again: the room has come back whenever the completion says so. */
static void what_was_freed_without_waiting_is_room_when_the_completion_ends(void **state)
{
	struct fixture *fixture = *state;
	simpler_completion *freed;

	for (int i = 0; i < 20; i++) {
		simpler_tensor_handle handle = alloc(fixture, 0, SIMPLER_UINT8, 40 << 20);

		assert_ok(simpler_tensor_free_async(fixture->worker, handle, NULL, &freed));
		end_well(freed);
	}
}

static void a_tensor_brought_without_waiting_may_be_freed_at_its_origin(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *bytes = malloc(20 << 20);

	assert_non_null(bytes);
	for (int i = 0; i < 5; i++) {
		simpler_tensor_handle from = alloc(fixture, 0, SIMPLER_UINT8, 20 << 20), to;
		simpler_completion *brought;

		memset(bytes, 17 + i, 20 << 20);
		write_all(fixture, from, over(bytes, SIMPLER_UINT8, 20 << 20));
		assert_ok(
			simpler_tensor_bring_async(fixture->worker, from, 1, NULL, &to, &brought));
		free_tensor(fixture, from);
		end_well(brought);
		memset(bytes, 0, 20 << 20);
		read_all(fixture, to, over(bytes, SIMPLER_UINT8, 20 << 20));
		for (int k = 0; k < 20 << 20; k++)
			assert_int_equal(bytes[k], 17 + i);
		free_tensor(fixture, to);
	}
	free(bytes);
}

static void a_grant_is_given_used_and_ended_without_waiting(void **state)
{
	struct fixture *fixture = *state;
	struct fixture other = *fixture;
	simpler_tensor_handle ours = alloc(fixture, 0, SIMPLER_INT64, 1), theirs[2], no_more;
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_completion *done, *imported[2];
	simpler_tensor_grant grant;
	int64_t value = 77, back = 0;

	options.ttl_ms = 60000;
	connect_worker(&other, 2);
	write_all(fixture, ours, over(&value, SIMPLER_INT64, 1));
	assert_ok(
		simpler_tensor_export_async(fixture->worker, ours, false, &options, &grant, &done));
	end_well(done);
	for (unsigned i = 0; i < 2; i++)
		assert_ok(simpler_tensor_import_async(other.worker, i, &grant, NULL, &theirs[i],
		                                      &imported[i]));
	for (unsigned i = 0; i < 2; i++) {
		simpler_tensor local = over(&back, SIMPLER_INT64, 1);

		end_well(imported[i]);
		read_all(&other, theirs[i], local);
		assert_int_equal(back, 77);
		/* It was granted for reading. */
		assert_fails(simpler_tensor_write(other.worker, theirs[i], NULL, &local, NULL),
		             SIMPLER_EPERM, "for reading only");
	}
	assert_ok(simpler_tensor_release_grant_async(fixture->worker, ours, &grant, NULL, &done));
	end_well(done);
	assert_ok(simpler_tensor_import_async(other.worker, 0, &grant, NULL, &no_more, &done));
	end_badly(done, SIMPLER_EPERM, "importing a tensor");
	assert_fails(simpler_tensor_look(other.worker, no_more, NULL, NULL), SIMPLER_ESTALE,
	             "names no tensor");
	free_tensor(fixture, ours);
	simpler_worker_close(other.worker);
}

static void a_handle_whose_storage_did_not_come_about_names_nothing(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_options no_time = SIMPLER_TENSOR_OPTIONS_INIT;
	const simpler_tensor_handle none = { 0 };
	simpler_tensor_handle handle = none;
	simpler_completion *completion = NULL;
	int64_t too_many = 65 << 20, one = 1, value = 0;
	simpler_tensor local = over(&value, SIMPLER_INT64, 1);

	assert_ok(simpler_tensor_alloc_async(fixture->worker, 0, SIMPLER_UINT8, 1, &too_many, NULL,
	                                     &handle, &completion));
	end_badly(completion, SIMPLER_ENOSPACE, "67108864");
	assert_fails(simpler_tensor_read(fixture->worker, handle, NULL, &local, NULL),
	             SIMPLER_ESTALE, "names no tensor");
	assert_fails(simpler_tensor_free(fixture->worker, handle, NULL), SIMPLER_ESTALE,
	             "names no tensor");
	no_time.timeout_ms = 0;
	assert_ok(simpler_tensor_alloc_async(fixture->worker, 0, SIMPLER_INT64, 1, &one, &no_time,
	                                     &handle, &completion));
	end_badly(completion, SIMPLER_EDEADLINE, "allocating a tensor");
	/* What can be seen to be wrong here is refused without a completion, and a failure of those
	 * that wait leaves the caller's handle alone. */
	handle = none;
	assert_fails(simpler_tensor_alloc_async(fixture->worker, 7, SIMPLER_INT64, 1, &one, NULL,
	                                        &handle, &completion),
	             SIMPLER_EINVAL, "worker 7 is not a child");
	assert_fails(simpler_tensor_alloc(fixture->worker, 0, SIMPLER_UINT8, 1, &too_many, NULL,
	                                  &handle),
	             SIMPLER_ENOSPACE, "67108864");
	assert_memory_equal(&handle, &none, sizeof(handle));
}

/* Two thirds of a pool: there is room only when what was freed so has gone. */
static void a_handle_freed_before_its_storage_is_there_leaves_no_storage(void **state)
{
	struct fixture *fixture = *state;
	int64_t count = 40 << 20;
	simpler_tensor_handle handle;
	simpler_status status;

	for (int i = 0; i < 10; i++) {
		simpler_completion *made, *freed;

		assert_ok(simpler_tensor_alloc_async(fixture->worker, 1, SIMPLER_UINT8, 1, &count,
		                                     NULL, &handle, &made));
		assert_ok(simpler_tensor_free_async(fixture->worker, handle, NULL, &freed));
		end_well(freed);
		end_well(made);
		do {
			status = simpler_tensor_alloc(fixture->worker, 1, SIMPLER_UINT8, 1, &count,
			                              NULL, &handle);
			if (status != SIMPLER_OK)
				assert_fails(status, SIMPLER_ENOSPACE, "67108864");
		} while (status != SIMPLER_OK);
		free_tensor(fixture, handle);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_writes_and_reads_are_in_progress_at_once),
		cmocka_unit_test(a_cancelled_read_ends_as_cancelled_or_whole),
		cmocka_unit_test(a_deadline_ends_a_call),
		cmocka_unit_test(a_free_that_had_no_time_is_made_up_for),
		cmocka_unit_test(a_tensor_is_made_brought_refreshed_and_freed_without_waiting),
		cmocka_unit_test(what_was_freed_without_waiting_is_room_when_the_completion_ends),
		cmocka_unit_test(a_tensor_brought_without_waiting_may_be_freed_at_its_origin),
		cmocka_unit_test(a_grant_is_given_used_and_ended_without_waiting),
		cmocka_unit_test(a_handle_whose_storage_did_not_come_about_names_nothing),
		cmocka_unit_test(a_handle_freed_before_its_storage_is_there_leaves_no_storage),
	};

	return cmocka_run_group_tests(tests, tensors_set_up, tensors_tear_down);
}
