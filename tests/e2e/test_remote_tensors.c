/*
 * Tensors that a program stores on nodes: allocated, written, read, used in place by tasks. All
 * results are read from tensors (R08).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log_lines.h"
#include "random.h"
#include "tensor_fixture.h"

/* --- writing and reading --- */

static void what_was_written_is_read_at_all_sizes(void **state)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 1 << 20, (5 << 20) + 3 };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *out = malloc(sizes[i] + 1), *in = calloc(1, sizes[i] + 1);
		simpler_tensor_handle handle =
			alloc(fixture, i % 2, SIMPLER_UINT8, (int64_t)sizes[i]);

		for (size_t k = 0; k < sizes[i]; k++)
			out[k] = (uint8_t)(k * 31 + i);
		in[sizes[i]] = 0xa5;
		write_all(fixture, handle, over(out, SIMPLER_UINT8, (int64_t)sizes[i]));
		read_all(fixture, handle, over(in, SIMPLER_UINT8, (int64_t)sizes[i]));
		assert_memory_equal(in, out, sizes[i]);
		assert_int_equal(in[sizes[i]], 0xa5);
		free_tensor(fixture, handle);
		free(out);
		free(in);
	}
}

static void fresh_storage_reads_as_zero(void **state)
{
	struct fixture *fixture = *state;
	int64_t values[4] = { 1, 2, 3, 4 };
	simpler_tensor_handle handle = alloc(fixture, 0, SIMPLER_INT64, 4);

	read_all(fixture, handle, over(values, SIMPLER_INT64, 4));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(values[i], 0);
	free_tensor(fixture, handle);
}

static void a_range_is_written_and_read_without_the_rest(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_handle handle = alloc(fixture, 0, SIMPLER_INT64, 8);
	const simpler_span span = { .offset = 3 * sizeof(int64_t), .run_bytes = 16, .runs = 1 };
	int64_t all[8], part[2] = { 7, 8 }, back[2] = { 0 };
	simpler_tensor from = over(part, SIMPLER_INT64, 2), to = over(back, SIMPLER_INT64, 2);

	for (int i = 0; i < 8; i++)
		all[i] = 100 + i;
	write_all(fixture, handle, over(all, SIMPLER_INT64, 8));
	assert_ok(simpler_tensor_write(fixture->worker, handle, &span, &from, NULL));
	assert_ok(simpler_tensor_read(fixture->worker, handle, &span, &to, NULL));
	assert_memory_equal(back, part, sizeof(part));
	read_all(fixture, handle, over(all, SIMPLER_INT64, 8));
	for (int i = 0; i < 8; i++)
		assert_int_equal(all[i], i == 3 ? 7 : i == 4 ? 8 : 100 + i);
	free_tensor(fixture, handle);
}

/* A column of a matrix on the node, to and from a column of one here. */
static void columns_go_to_columns(void **state)
{
	enum { ROWS = 700, THERE = 600, HERE = 9 };
	struct fixture *fixture = *state;
	simpler_tensor_handle handle = alloc(fixture, 1, SIMPLER_INT32, ROWS * THERE);
	const simpler_span column = { .offset = 5 * sizeof(int32_t),
		                      .run_bytes = 2 * sizeof(int32_t),
		                      .pitch = THERE * sizeof(int32_t),
		                      .runs = ROWS };
	int32_t(*here)[HERE] = calloc(ROWS, sizeof(*here));
	int32_t(*there)[THERE] = calloc(ROWS, sizeof(*there));
	int64_t shape[] = { ROWS, 2 };
	simpler_tensor local;

	assert_ok(simpler_tensor_init(&local, &here[0][3], SIMPLER_INT32, 2, shape));
	local.strides[0] = HERE;
	for (int i = 0; i < ROWS; i++) {
		here[i][3] = i;
		here[i][4] = -i;
		here[i][2] = here[i][5] = 77;
	}
	assert_ok(simpler_tensor_write(fixture->worker, handle, &column, &local, NULL));
	read_all(fixture, handle, over(there, SIMPLER_INT32, ROWS * THERE));
	for (int i = 0; i < ROWS; i++) {
		assert_int_equal(there[i][4], 0);
		assert_int_equal(there[i][5], i);
		assert_int_equal(there[i][6], -i);
		assert_int_equal(there[i][7], 0);
		here[i][3] = here[i][4] = 1;
	}
	assert_ok(simpler_tensor_read(fixture->worker, handle, &column, &local, NULL));
	for (int i = 0; i < ROWS; i++) {
		assert_int_equal(here[i][2], 77);
		assert_int_equal(here[i][3], i);
		assert_int_equal(here[i][4], -i);
		assert_int_equal(here[i][5], 77);
	}
	free_tensor(fixture, handle);
	free(here);
	free(there);
}

static void what_does_not_fit_is_refused_with_the_numbers(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_handle handle = alloc(fixture, 0, SIMPLER_UINT8, 100);
	const simpler_span past = { .offset = 90, .run_bytes = 20, .runs = 1 };
	const simpler_span other = { .offset = 0, .run_bytes = 10, .runs = 1 };
	uint8_t bytes[200] = { 0 };
	simpler_tensor twenty = over(bytes, SIMPLER_UINT8, 20);
	simpler_tensor many = over(bytes, SIMPLER_UINT8, 101);

	assert_fails(simpler_tensor_write(fixture->worker, handle, &past, &twenty, NULL),
	             SIMPLER_EINVAL, "ends at byte 110, and the storage has 100");
	assert_fails(simpler_tensor_read(fixture->worker, handle, &other, &twenty, NULL),
	             SIMPLER_EINVAL, "the span has 10 bytes, and the tensor of this process 20");
	assert_fails(simpler_tensor_read(fixture->worker, handle, NULL, &many, NULL),
	             SIMPLER_EINVAL, "ends at byte 101, and the storage has 100");
	free_tensor(fixture, handle);
}

static void a_freed_handle_is_stale_whoever_has_its_slot(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_handle first = alloc(fixture, 0, SIMPLER_INT64, 1), second;
	simpler_args *args = simpler_args_create();
	int64_t value = 1;
	simpler_tensor local = over(&value, SIMPLER_INT64, 1);

	free_tensor(fixture, first);
	second = alloc(fixture, 0, SIMPLER_INT64, 1);
	assert_int_equal(second.slot, first.slot);
	assert_fails(simpler_tensor_read(fixture->worker, first, NULL, &local, NULL),
	             SIMPLER_ESTALE, "names no tensor of this worker");
	assert_fails(simpler_tensor_write(fixture->worker, first, NULL, &local, NULL),
	             SIMPLER_ESTALE, "names no tensor of this worker");
	assert_fails(simpler_tensor_free(fixture->worker, first, NULL), SIMPLER_ESTALE,
	             "names no tensor of this worker");
	assert_fails(simpler_tensor_refresh(fixture->worker, first, NULL), SIMPLER_ESTALE,
	             "names no tensor of this worker");
	add_view(args, first, 0, SIMPLER_INT64, 1, SIMPLER_INOUT);
	assert_fails(run(fixture, fixture->shift, args), SIMPLER_ESTALE, "tensor 0");
	read_all(fixture, second, local);
	assert_int_equal(value, 0);
	free_tensor(fixture, second);
	simpler_args_destroy(args);
}

static void a_handle_of_another_worker_is_stale(void **state)
{
	struct fixture *fixture = *state;
	struct fixture other = *fixture;
	simpler_tensor_handle handle;
	int64_t value = 1;
	simpler_tensor local = over(&value, SIMPLER_INT64, 1);

	connect_worker(&other, 1);
	handle = alloc(&other, 0, SIMPLER_INT64, 1);
	(void)alloc(fixture, 0, SIMPLER_INT64, 1);
	assert_fails(simpler_tensor_read(fixture->worker, handle, NULL, &local, NULL),
	             SIMPLER_ESTALE, "names no tensor of this worker");
	simpler_worker_close(other.worker);
}

static void a_full_pool_tells_what_was_asked_used_and_its_capacity(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_handle first = alloc(fixture, 0, SIMPLER_UINT8, 40 << 20), second;
	int64_t count = 40 << 20;

	assert_fails(
		simpler_tensor_alloc(fixture->worker, 0, SIMPLER_UINT8, 1, &count, NULL, &second),
		SIMPLER_ENOSPACE, "67108864");
	free_tensor(fixture, first);
	/* The room is there at once. */
	second = alloc(fixture, 0, SIMPLER_UINT8, count);
	free_tensor(fixture, second);
}

static void storage_for_reading_only_is_not_written(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_args *args = simpler_args_create();
	simpler_tensor_handle handle;
	int64_t value = 1, count = 1, sum = -1;
	simpler_tensor local = over(&value, SIMPLER_INT64, 1), out = over(&sum, SIMPLER_INT64, 1);

	options.read_only = true;
	assert_ok(simpler_tensor_alloc(fixture->worker, 0, SIMPLER_INT64, 1, &count, &options,
	                               &handle));
	assert_fails(simpler_tensor_write(fixture->worker, handle, NULL, &local, NULL),
	             SIMPLER_EPERM, "for reading only");
	add_view(args, handle, 0, SIMPLER_INT64, 1, SIMPLER_INOUT);
	assert_fails(run(fixture, fixture->shift, args), SIMPLER_EPERM, "INOUT writes it");
	simpler_args_reset(args);
	add_view(args, handle, 0, SIMPLER_INT64, 1, SIMPLER_INPUT);
	assert_ok(simpler_args_add_tensor(args, &out, SIMPLER_OUTPUT, SIMPLER_INLINE));
	assert_ok(run(fixture, fixture->sum_bytes, args));
	assert_int_equal(sum, 0);
	free_tensor(fixture, handle);
	simpler_args_destroy(args);
}

/* --- transports --- */

#define TRANSPORTS 3
static const simpler_transport transports[] = { SIMPLER_TRANSPORT_STREAM, SIMPLER_TRANSPORT_SHM,
	                                        SIMPLER_TRANSPORT_FABRIC };

static simpler_tensor_traffic by(struct fixture *fixture, simpler_transport transport)
{
	simpler_traffic traffic = traffic_of(fixture, 0);

	if (transport == SIMPLER_TRANSPORT_FABRIC)
		return traffic.fabric;
	return transport == SIMPLER_TRANSPORT_SHM ? traffic.shm : traffic.stream;
}

static void a_named_transport_carries_the_bytes_and_no_other(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_handle handle = alloc(fixture, 0, SIMPLER_INT64, 5000);
	int64_t out[5000], in[5000];
	simpler_tensor from = over(out, SIMPLER_INT64, 5000), to = over(in, SIMPLER_INT64, 5000);

	for (size_t i = 0; i < TRANSPORTS; i++) {
		simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
		simpler_tensor_traffic before = by(fixture, transports[i]);
		simpler_tensor_traffic other = by(fixture, transports[(i + 1) % TRANSPORTS]);

		options.transport = transports[i];
		for (int k = 0; k < 5000; k++) {
			out[k] = k * 3 + (int)i;
			in[k] = -1;
		}
		assert_ok(simpler_tensor_write(fixture->worker, handle, NULL, &from, &options));
		assert_ok(simpler_tensor_read(fixture->worker, handle, NULL, &to, &options));
		assert_memory_equal(in, out, sizeof(out));
		assert_int_equal(by(fixture, transports[i]).sent - before.sent, sizeof(out));
		assert_int_equal(by(fixture, transports[i]).received - before.received,
		                 sizeof(out));
		assert_int_equal(by(fixture, transports[(i + 1) % TRANSPORTS]).sent, other.sent);
		assert_int_equal(by(fixture, transports[(i + 1) % TRANSPORTS]).received,
		                 other.received);
	}
	free_tensor(fixture, handle);
}

static void R12_a_staged_argument_goes_by_the_transport_it_names(void **state)
{
	struct fixture *fixture = *state;
	simpler_args *args = simpler_args_create();
	int64_t values[3000];

	for (size_t i = 0; i < TRANSPORTS; i++) {
		simpler_tensor_traffic before = by(fixture, transports[i]);
		simpler_tensor_traffic other = by(fixture, transports[(i + 1) % TRANSPORTS]);
		simpler_tensor tensor = over(values, SIMPLER_INT64, 3000);

		for (int k = 0; k < 3000; k++)
			values[k] = k;
		simpler_args_reset(args);
		assert_ok(simpler_args_add_staged(args, &tensor, SIMPLER_INOUT, transports[i]));
		assert_ok(simpler_args_add_scalar(args, 7));
		assert_ok(run_on(fixture, fixture->shift, args, 0));
		for (int k = 0; k < 3000; k++)
			assert_int_equal(values[k], k + 7);
		assert_int_equal(by(fixture, transports[i]).sent - before.sent, sizeof(values));
		assert_int_equal(by(fixture, transports[i]).received - before.received,
		                 sizeof(values));
		assert_int_equal(by(fixture, transports[(i + 1) % TRANSPORTS]).sent, other.sent);
	}
	simpler_args_reset(args);
	simpler_args_destroy(args);
}

static void a_transport_that_is_not_there_is_an_error_and_never_another(void **state)
{
	static const char *const no_shm[] = { "--shm", "off", NULL };
	struct fixture *fixture = *state;
	struct fixture other = { .worker = NULL };
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_args *args = simpler_args_create();
	simpler_tensor_handle handle;
	int64_t value = 4;
	simpler_tensor local = over(&value, SIMPLER_INT64, 1);
	void *address;

	(void)fixture;
	daemon_start(&other.nodes[0], no_shm);
	connect_worker(&other, 1);
	handle = alloc(&other, 0, SIMPLER_INT64, 1);
	options.transport = SIMPLER_TRANSPORT_SHM;
	assert_fails(simpler_tensor_write(other.worker, handle, NULL, &local, &options),
	             SIMPLER_EUNAVAILABLE, "'shm' was named");
	assert_fails(simpler_tensor_map(other.worker, handle, &address), SIMPLER_EUNAVAILABLE,
	             "'shm' was named");
	assert_ok(simpler_args_add_staged(args, &local, SIMPLER_INOUT, SIMPLER_TRANSPORT_SHM));
	assert_ok(simpler_args_add_scalar(args, 7));
	assert_fails(run_on(&other, other.shift, args, 0), SIMPLER_EUNAVAILABLE, "'shm' was named");
	assert_int_equal(value, 4);
	/* Left open, it goes by what there is, and is counted. */
	write_all(&other, handle, local);
	assert_int_equal(traffic_of(&other, 0).stream.sent, sizeof(value));
	assert_int_equal(traffic_of(&other, 0).auto_moves, 1);
	simpler_args_destroy(args);
	simpler_worker_close(other.worker);
	assert_int_equal(daemon_stop(&other.nodes[0]), 0);
}

static void a_mapped_tensor_is_what_tasks_see(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_handle handle = alloc(fixture, 1, SIMPLER_INT64, 1000);
	simpler_args *args = simpler_args_create();
	int64_t *there;
	void *address;

	assert_ok(simpler_tensor_map(fixture->worker, handle, &address));
	there = address;
	for (int i = 0; i < 1000; i++)
		there[i] = i;
	add_view(args, handle, 0, SIMPLER_INT64, 1000, SIMPLER_INOUT);
	assert_ok(simpler_args_add_scalar(args, 11));
	assert_ok(run(fixture, fixture->shift, args));
	for (int i = 0; i < 1000; i++)
		assert_int_equal(there[i], i + 11);
	free_tensor(fixture, handle);
	simpler_args_destroy(args);
}

static void a_quarter_of_a_gibibyte_goes_and_comes(void **state)
{
	static const char *const large[] = { "--pool-bytes", "1G", "--fabric", "auto", NULL };
	const size_t size = (size_t)256 << 20;
	struct fixture other = { .worker = NULL };
	uint8_t *out = malloc(size), *in = malloc(size);

	(void)state;
	assert_true(out && in);
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	daemon_start(&other.nodes[0], large);
	connect_worker(&other, 1);
	for (size_t i = 0; i < TRANSPORTS; i++) {
		simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
		simpler_tensor_handle handle = alloc(&other, 0, SIMPLER_UINT8, (int64_t)size);
		simpler_tensor from = over(out, SIMPLER_UINT8, (int64_t)size);
		simpler_tensor to = over(in, SIMPLER_UINT8, (int64_t)size);

		options.transport = transports[i];
		memset(in, 0, size);
		assert_ok(simpler_tensor_write(other.worker, handle, NULL, &from, &options));
		assert_ok(simpler_tensor_read(other.worker, handle, NULL, &to, &options));
		assert_memory_equal(in, out, size);
		free_tensor(&other, handle);
	}
	simpler_worker_close(other.worker);
	assert_int_equal(daemon_stop(&other.nodes[0]), 0);
	free(out);
	free(in);
}

/* --- tasks --- */

static void R14_a_task_updates_a_handle_in_place_with_no_byte_of_it_sent(void **state)
{
	struct fixture *fixture = *state;
	int64_t values[1000];
	simpler_tensor_handle handle = alloc(fixture, 1, SIMPLER_INT64, 1000);
	simpler_args *args = simpler_args_create();
	simpler_traffic before, after;

	for (int i = 0; i < 1000; i++)
		values[i] = i;
	write_all(fixture, handle, over(values, SIMPLER_INT64, 1000));
	add_view(args, handle, 0, SIMPLER_INT64, 1000, SIMPLER_INOUT);
	assert_ok(simpler_args_add_scalar(args, 5));
	before = traffic_of(fixture, 1);
	for (int i = 0; i < 20; i++)
		assert_ok(run(fixture, fixture->shift, args));
	after = traffic_of(fixture, 1);
	assert_int_equal(sent(&after), sent(&before));
	assert_int_equal(received(&after), received(&before));
	read_all(fixture, handle, over(values, SIMPLER_INT64, 1000));
	for (int i = 0; i < 1000; i++)
		assert_int_equal(values[i], i + 100);
	free_tensor(fixture, handle);
	simpler_args_destroy(args);
}

static void a_view_is_the_part_that_it_says(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_handle handle = alloc(fixture, 0, SIMPLER_INT64, 10);
	simpler_args *args = simpler_args_create();
	int64_t values[10] = { 0 };

	add_view(args, handle, 3 * sizeof(int64_t), SIMPLER_INT64, 4, SIMPLER_INOUT);
	assert_ok(simpler_args_add_scalar(args, 9));
	assert_ok(run(fixture, fixture->shift, args));
	read_all(fixture, handle, over(values, SIMPLER_INT64, 10));
	for (int i = 0; i < 10; i++)
		assert_int_equal(values[i], i >= 3 && i < 7 ? 9 : 0);
	simpler_args_reset(args);
	add_view(args, handle, 7 * sizeof(int64_t), SIMPLER_INT64, 4, SIMPLER_INOUT);
	assert_fails(run(fixture, fixture->shift, args), SIMPLER_EINVAL,
	             "32 bytes from offset 56 on, and the storage has 80");
	simpler_args_reset(args);
	assert_fails(
		simpler_args_add_handle(args, handle, 3, SIMPLER_INT64, 0, NULL, SIMPLER_INPUT),
		SIMPLER_EINVAL, "no multiple");
	free_tensor(fixture, handle);
	simpler_args_destroy(args);
}

static void a_task_goes_to_the_node_of_its_tensors(void **state)
{
	struct fixture *fixture = *state;
	simpler_tensor_handle handles[2] = { alloc(fixture, 0, SIMPLER_INT64, 1),
		                             alloc(fixture, 1, SIMPLER_INT64, 1) };
	simpler_args *args = simpler_args_create();

	add_view(args, handles[0], 0, SIMPLER_INT64, 1, SIMPLER_INOUT);
	assert_fails(run_on(fixture, fixture->shift, args, 1), SIMPLER_EINVAL,
	             "simpler_tensor_bring()");
	add_view(args, handles[1], 0, SIMPLER_INT64, 1, SIMPLER_INPUT);
	assert_fails(run(fixture, fixture->shift, args), SIMPLER_EINVAL, fixture->nodes[1].address);
	free_tensor(fixture, handles[0]);
	free_tensor(fixture, handles[1]);
	simpler_args_destroy(args);
}

/* --- outputs that stay --- */

struct chain {
	struct fixture *fixture;
	simpler_tensor_handle made;
	simpler_orch_fn producer;
	bool free_early;
	int64_t sum;
};

static simpler_status submit_chain(simpler_orch *orch, const simpler_args *unused,
                                   const simpler_config *config, simpler_bytes state)
{
	struct chain *chain = *(struct chain *const *)state.data;
	simpler_args *args = simpler_args_create();
	int64_t count = 100;
	simpler_tensor out = over(&chain->sum, SIMPLER_INT64, 1);
	simpler_status status;

	(void)unused;
	(void)config;
	assert_ok(simpler_args_add_remote_output(args, SIMPLER_INT64, 1, &count, &chain->made));
	assert_ok(simpler_args_add_scalar(args, 1));
	status = simpler_submit_next_level(orch, chain->producer, args, NULL, NULL);
	simpler_args_reset(args);
	if (status == SIMPLER_OK) {
		add_view(args, chain->made, 0, SIMPLER_INT64, count, SIMPLER_INOUT);
		assert_ok(simpler_args_add_scalar(args, 2));
		status = simpler_submit_next_level(orch, chain->fixture->shift, args, NULL, NULL);
	}
	simpler_args_reset(args);
	if (status == SIMPLER_OK) {
		add_view(args, chain->made, 0, SIMPLER_INT64, count, SIMPLER_INPUT);
		assert_ok(simpler_args_add_tensor(args, &out, SIMPLER_OUTPUT, SIMPLER_INLINE));
		status = simpler_submit_next_level(orch, chain->fixture->sum_bytes, args, NULL,
		                                   NULL);
	}
	if (status == SIMPLER_OK && chain->free_early)
		free_tensor(chain->fixture, chain->made);
	simpler_args_destroy(args);
	return status;
}

static simpler_status run_chain(struct chain *chain)
{
	return simpler_run(chain->fixture->worker, submit_chain, NULL, NULL,
	                   (simpler_bytes){ &chain, sizeof(chain) });
}

static void an_output_is_made_on_the_node_and_stays(void **state)
{
	struct fixture *fixture = *state;
	struct chain chain = { .fixture = fixture, .producer = fixture->shift };
	int64_t values[100];
	uint64_t nbytes;

	assert_ok(run_chain(&chain));
	assert_int_equal(chain.sum, 300);
	assert_ok(simpler_tensor_look(fixture->worker, chain.made, &nbytes, NULL));
	assert_int_equal(nbytes, sizeof(values));
	read_all(fixture, chain.made, over(values, SIMPLER_INT64, 100));
	for (int i = 0; i < 100; i++)
		assert_int_equal(values[i], 3);
	free_tensor(fixture, chain.made);
}

static void an_output_freed_in_the_run_stays_for_the_tasks_that_were_submitted(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 50; i++) {
		struct chain chain = { .fixture = fixture,
			               .producer = fixture->shift,
			               .free_early = true };

		assert_ok(run_chain(&chain));
		assert_int_equal(chain.sum, 300);
		assert_int_equal(simpler_tensor_free(fixture->worker, chain.made, NULL),
		                 SIMPLER_ESTALE);
	}
}

static void an_output_whose_task_failed_holds_nothing_or_what_it_left(void **state)
{
	struct fixture *fixture = *state;
	struct chain chain = { .fixture = fixture, .producer = fixture->fail };

	assert_int_equal((int)run_chain(&chain), 1042);
	free_tensor(fixture, chain.made);
	assert_int_equal(simpler_tensor_free(fixture->worker, chain.made, NULL), SIMPLER_ESTALE);
}

/* --- order --- */

#define CELLS 48

/* One of two things is done to cells of a tensor: add to a range of them, or put the sum of the
 * bytes of a range into one. So the result tells in which order they were done. */
struct deed {
	bool sums;
	int64_t first, count, cell, value;
};

struct deeds {
	struct fixture *fixture;
	simpler_tensor_handle handle;
	struct deed all[150];
	unsigned count;
};

static simpler_status submit_deeds(simpler_orch *orch, const simpler_args *unused,
                                   const simpler_config *config, simpler_bytes state)
{
	const struct deeds *deeds = *(struct deeds *const *)state.data;
	simpler_args *args = simpler_args_create();
	simpler_status status = SIMPLER_OK;

	(void)unused;
	(void)config;
	for (unsigned i = 0; i < deeds->count && status == SIMPLER_OK; i++) {
		const struct deed *deed = &deeds->all[i];

		simpler_args_reset(args);
		add_view(args, deeds->handle, (uint64_t)deed->first * 8, SIMPLER_INT64, deed->count,
		         deed->sums ? SIMPLER_INPUT : SIMPLER_INOUT);
		if (deed->sums)
			add_view(args, deeds->handle, (uint64_t)deed->cell * 8, SIMPLER_INT64, 1,
			         SIMPLER_OUTPUT);
		else
			assert_ok(simpler_args_add_scalar(args, (uint64_t)deed->value));
		status = simpler_submit_next_level(
			orch, deed->sums ? deeds->fixture->sum_bytes : deeds->fixture->shift, args,
			NULL, NULL);
	}
	simpler_args_destroy(args);
	return status;
}

static void do_serially(const struct deed *deed, int64_t *cells)
{
	int64_t sum = 0;

	for (int64_t i = 0; i < deed->count; i++) {
		if (!deed->sums)
			cells[deed->first + i] += deed->value;
		for (int k = 0; k < 8; k++)
			sum += ((const uint8_t *)&cells[deed->first + i])[k];
	}
	if (deed->sums)
		cells[deed->cell] = sum;
}

static void random_graphs_on_a_handle_end_as_if_done_one_by_one(void **state)
{
	struct deeds *deeds = calloc(1, sizeof(*deeds));
	uint64_t rounds;

	assert_non_null(deeds);
	rounds = random_begin("rounds of tasks on a handle", 10);
	deeds->fixture = *state;
	deeds->count = sizeof(deeds->all) / sizeof(deeds->all[0]);
	for (uint64_t round = 0; round < rounds; round++) {
		int64_t expected[CELLS] = { 0 }, have[CELLS];

		deeds->handle = alloc(deeds->fixture, (unsigned)(round % 2), SIMPLER_INT64, CELLS);
		for (unsigned i = 0; i < deeds->count; i++) {
			struct deed *deed = &deeds->all[i];

			deed->sums = random_below(2);
			deed->first = (int64_t)random_below(CELLS);
			deed->count = 1 + (int64_t)random_below((uint32_t)(CELLS - deed->first));
			deed->cell = (int64_t)random_below(CELLS);
			deed->value = (int64_t)random_below(1000);
			/* A task that reads what it writes would see its own bytes change. */
			if (deed->sums && deed->cell >= deed->first &&
			    deed->cell < deed->first + deed->count)
				deed->sums = false;
			do_serially(deed, expected);
		}
		assert_ok(simpler_run(deeds->fixture->worker, submit_deeds, NULL, NULL,
		                      (simpler_bytes){ &deeds, sizeof(deeds) }));
		read_all(deeds->fixture, deeds->handle, over(have, SIMPLER_INT64, CELLS));
		assert_memory_equal(have, expected, sizeof(have));
		free_tensor(deeds->fixture, deeds->handle);
	}
	free(deeds);
}

/* --- what moves --- */

/* How bytes of an argument travel: inline, or staged by a transport that is named or is not. */
static const struct way {
	simpler_backing backing;
	simpler_transport transport;
} ways[] = { { SIMPLER_INLINE, SIMPLER_TRANSPORT_AUTO },
	     { SIMPLER_STAGED, SIMPLER_TRANSPORT_AUTO },
	     { SIMPLER_STAGED, SIMPLER_TRANSPORT_STREAM },
	     { SIMPLER_STAGED, SIMPLER_TRANSPORT_SHM },
	     { SIMPLER_STAGED, SIMPLER_TRANSPORT_FABRIC } };

#define WAYS (sizeof(ways) / sizeof(ways[0]))

/* What it alone counts. On one machine memory is shared, so that is what `auto` takes. */
static simpler_tensor_traffic by_way(struct fixture *fixture, const struct way *way)
{
	if (way->backing == SIMPLER_INLINE)
		return traffic_of(fixture, 0).inlined;
	return by(fixture, way->transport == SIMPLER_TRANSPORT_AUTO ? SIMPLER_TRANSPORT_SHM
	                                                            : way->transport);
}

/* A run of `shift` by 4; how many bytes it moved is held against what is expected. */
static void shift_by(struct fixture *fixture, const struct way *way, simpler_tensor tensor,
                     simpler_tag tag, uint64_t bytes_sent, uint64_t bytes_received)
{
	const simpler_traffic before = traffic_of(fixture, 0);
	const simpler_tensor_traffic before_by = by_way(fixture, way);
	simpler_args *args = simpler_args_create();
	simpler_traffic after;

	if (way->backing == SIMPLER_INLINE)
		assert_ok(simpler_args_add_tensor(args, &tensor, tag, SIMPLER_INLINE));
	else
		assert_ok(simpler_args_add_staged(args, &tensor, tag, way->transport));
	assert_ok(simpler_args_add_scalar(args, 4));
	assert_ok(run_on(fixture, fixture->shift, args, 0));
	simpler_args_destroy(args);
	after = traffic_of(fixture, 0);
	assert_int_equal(sent(&after) - sent(&before), bytes_sent);
	assert_int_equal(received(&after) - received(&before), bytes_received);
	assert_int_equal(by_way(fixture, way).sent - before_by.sent, bytes_sent);
	assert_int_equal(by_way(fixture, way).received - before_by.received, bytes_received);
}

static void R13_output_only_tensors_send_no_byte_to_the_node(void **state)
{
	static const struct {
		simpler_tag tag;
		bool goes, comes;
	} cases[] = {
		{ SIMPLER_INPUT, true, false },  { SIMPLER_OUTPUT, false, true },
		{ SIMPLER_INOUT, true, true },   { SIMPLER_OUTPUT_EXISTING, false, true },
		{ SIMPLER_NO_DEP, true, false },
	};
	int64_t values[3000];

	for (size_t w = 0; w < WAYS; w++) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			const bool goes = cases[i].goes, comes = cases[i].comes;

			for (size_t k = 0; k < 3000; k++)
				values[k] = (int64_t)k;
			shift_by(*state, &ways[w], over(values, SIMPLER_INT64, 3000), cases[i].tag,
			         goes ? sizeof(values) : 0, comes ? sizeof(values) : 0);
			for (size_t k = 0; k < 3000; k++)
				assert_int_equal(values[k],
				                 (goes || !comes ? k : 0) + (comes ? 4 : 0));
		}
	}
}

static void R14_a_staged_inout_tensor_goes_and_comes_back(void **state)
{
	static const size_t counts[] = {
		0, 1, 511, (1 << 17) - 1, 1 << 17, (1 << 17) + 1, 5 << 17
	};

	for (size_t w = 1; w < WAYS; w++) { /* all but inline */
		for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
			const uint64_t bytes = counts[i] * sizeof(int64_t);
			int64_t *values = malloc(bytes + sizeof(*values));

			assert_non_null(values);
			for (size_t k = 0; k <= counts[i]; k++)
				values[k] = (int64_t)(k * 7 + i);
			shift_by(*state, &ways[w], over(values, SIMPLER_INT64, (int64_t)counts[i]),
			         SIMPLER_INOUT, bytes, bytes);
			for (size_t k = 0; k < counts[i]; k++)
				assert_int_equal(values[k], k * 7 + i + 4);
			/* Not ours to change. */
			assert_int_equal(values[counts[i]], counts[i] * 7 + i);
			free(values);
		}
	}
}

static void the_choice_of_auto_is_logged_once_a_node(void **state)
{
	struct fixture other = *(struct fixture *)*state;
	simpler_args *args = simpler_args_create();
	simpler_status status = SIMPLER_OK;
	int64_t value = 0;
	simpler_tensor tensor = over(&value, SIMPLER_INT64, 1);
	struct log_lines log;
	char told[256];

	connect_worker(&other, 2);
	assert_ok(simpler_args_add_tensor(args, &tensor, SIMPLER_INOUT, SIMPLER_STAGED));
	assert_ok(simpler_args_add_scalar(args, 1));
	log_lines_begin(&log);
	simpler_log_set_level(SIMPLER_LOG_INFO);
	for (unsigned i = 0; i < 6 && status == SIMPLER_OK; i++)
		status = run_on(&other, other.shift, args, i % 2);
	simpler_log_set_level(SIMPLER_LOG_WARN);
	log_lines_end(&log);
	assert_ok(status);
	assert_int_equal(value, 6);
	for (unsigned i = 0; i < 2; i++) {
		(void)snprintf(told, sizeof(told),
		               "the bytes of tensors go to node %s by the transport 'shm', which "
		               "'auto' chose",
		               other.nodes[i].address);
		assert_int_equal(log_lines_count(&log, told), 1);
	}
	log_lines_release(&log);
	simpler_args_destroy(args);
	simpler_worker_close(other.worker);
}

/* --- results that are not all fetched --- */

#define LATE_BYTES (30 << 20)

/* A task whose results are an inline tensor, a small staged one, and one that takes a while. */
struct results {
	struct fixture *fixture;
	simpler_args *args;
	int64_t inlined, small;
	uint8_t *large;
};

static void results_init(struct results *results, struct fixture *fixture)
{
	simpler_tensor tensor;

	results->fixture = fixture;
	results->args = simpler_args_create();
	results->inlined = 11;
	results->small = 22;
	results->large = malloc(LATE_BYTES);
	assert_non_null(results->large);
	memset(results->large, 33, LATE_BYTES);
	tensor = over(&results->small, SIMPLER_INT64, 1);
	assert_ok(simpler_args_add_staged(results->args, &tensor, SIMPLER_INOUT,
	                                  SIMPLER_TRANSPORT_STREAM));
	tensor = over(&results->inlined, SIMPLER_INT64, 1);
	assert_ok(simpler_args_add_tensor(results->args, &tensor, SIMPLER_OUTPUT, SIMPLER_INLINE));
	tensor = over(results->large, SIMPLER_UINT8, LATE_BYTES);
	assert_ok(simpler_args_add_staged(results->args, &tensor, SIMPLER_OUTPUT,
	                                  SIMPLER_TRANSPORT_STREAM));
	assert_ok(simpler_args_add_scalar(results->args, 7));
}

static void results_release(struct results *results)
{
	simpler_args_destroy(results->args);
	free(results->large);
}

static simpler_status submit_results(simpler_orch *orch, const simpler_args *args,
                                     const simpler_config *config, simpler_bytes state)
{
	const struct results *results = *(struct results *const *)state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

	(void)args;
	(void)config;
	options.worker = 0;
	return simpler_submit_next_level(orch, results->fixture->shift, results->args, &options,
	                                 NULL);
}

/* What the run that was cancelled while the last result came has ended with. */
static simpler_status cancel_in_fetch(struct results *results)
{
	const simpler_bytes state = { &results, sizeof(results) };
	struct fixture *fixture = results->fixture;
	const uint64_t before = traffic_of(fixture, 0).stream.received;
	simpler_completion *run;
	simpler_status status;

	assert_ok(simpler_run_async(fixture->worker, submit_results, NULL, NULL, state, &run));
	while (traffic_of(fixture, 0).stream.received - before <= sizeof(results->small) &&
	       !simpler_completion_poll(run))
		(void)sched_yield();
	simpler_completion_cancel(run);
	assert_true(simpler_completion_wait(run, 60000));
	status = simpler_completion_result(run);
	assert_ok(simpler_completion_destroy(run));
	return status;
}

static void a_run_that_is_cancelled_in_a_fetch_tells_which_buffers_it_spoilt(void **state)
{
	static const char told[] = "task 1 has ended, and its results were not all fetched: 2 of 3 "
				   "output buffers may be half-written: tensors 0, 2";
	struct results results;
	simpler_status status;
	bool broken_off;

	alarm(120);
	do { /* until the cancel comes before the last byte does */
		results_init(&results, *state);
		status = cancel_in_fetch(&results);
		broken_off = status != SIMPLER_OK && strstr(simpler_last_error(), "half-written");
		assert_int_equal(results.small, 29);
		assert_int_equal(results.inlined, broken_off ? 11 : 0);
		if (broken_off)
			assert_fails(status, SIMPLER_ECANCELLED, told);
		else
			assert_int_equal(results.large[LATE_BYTES - 1], 0);
		results_release(&results);
	} while (!broken_off);
	alarm(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read_at_all_sizes),
		cmocka_unit_test(fresh_storage_reads_as_zero),
		cmocka_unit_test(a_range_is_written_and_read_without_the_rest),
		cmocka_unit_test(columns_go_to_columns),
		cmocka_unit_test(what_does_not_fit_is_refused_with_the_numbers),
		cmocka_unit_test(a_freed_handle_is_stale_whoever_has_its_slot),
		cmocka_unit_test(a_handle_of_another_worker_is_stale),
		cmocka_unit_test(a_full_pool_tells_what_was_asked_used_and_its_capacity),
		cmocka_unit_test(storage_for_reading_only_is_not_written),
		cmocka_unit_test(a_named_transport_carries_the_bytes_and_no_other),
		cmocka_unit_test(R12_a_staged_argument_goes_by_the_transport_it_names),
		cmocka_unit_test(a_transport_that_is_not_there_is_an_error_and_never_another),
		cmocka_unit_test(a_mapped_tensor_is_what_tasks_see),
		cmocka_unit_test(a_quarter_of_a_gibibyte_goes_and_comes),
		cmocka_unit_test(R14_a_task_updates_a_handle_in_place_with_no_byte_of_it_sent),
		cmocka_unit_test(a_view_is_the_part_that_it_says),
		cmocka_unit_test(a_task_goes_to_the_node_of_its_tensors),
		cmocka_unit_test(an_output_is_made_on_the_node_and_stays),
		cmocka_unit_test(
			an_output_freed_in_the_run_stays_for_the_tasks_that_were_submitted),
		cmocka_unit_test(an_output_whose_task_failed_holds_nothing_or_what_it_left),
		cmocka_unit_test(random_graphs_on_a_handle_end_as_if_done_one_by_one),
		cmocka_unit_test(R13_output_only_tensors_send_no_byte_to_the_node),
		cmocka_unit_test(R14_a_staged_inout_tensor_goes_and_comes_back),
		cmocka_unit_test(the_choice_of_auto_is_logged_once_a_node),
		cmocka_unit_test(a_run_that_is_cancelled_in_a_fetch_tells_which_buffers_it_spoilt),
	};

	return cmocka_run_group_tests(tests, tensors_set_up, tensors_tear_down);
}
