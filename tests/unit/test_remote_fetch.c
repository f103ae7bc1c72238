/* A task with several outputs on a node of the test's own, whose fetching breaks off: what is in
 * the caller's buffers then, and what is told of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "exec/node_session.h"
#include "exec/remote_node.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"

#define SOON_MS 10000
#define BYTES   100u
#define HALF    (BYTES / 2)
#define OLD     0xee
#define INLINE  0x77
#define TENSORS 5u

/* The node. Storage that it made is full of its handle's id. */
static struct {
	_Atomic uint64_t last_id;
	_Atomic uint64_t breaks_at; /* a handle of which half is sent, or 0, */
	_Atomic bool fails;         /* and then an error; or nothing */
	pthread_mutex_t lock;       /* guards all of it */
	pthread_cond_t changed;
	bool ended; /* the task of the test */
	struct error error;
} node = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void answer_alloc(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct msg_handle answer = { 0 };
	struct rpc_buffer buffer;
	struct msg_alloc asked;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_alloc_decode(data, size, &bump, &asked), SIMPLER_OK);
	pthread_mutex_lock(&node.lock);
	answer.handle_id = ++node.last_id;
	pthread_mutex_unlock(&node.lock);
	answer.nbytes = asked.nbytes;
	assert_int_equal(msg_handle_encode(&answer, &buffer), SIMPLER_OK);
	bump_release(&bump);
	rpc_finish(call, RPC_OK, NULL, &buffer);
}

static void answer_empty(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_buffer buffer;

	(void)data;
	(void)size;
	assert_int_equal(msg_empty_encode(&buffer), SIMPLER_OK);
	rpc_finish(call, RPC_OK, NULL, &buffer);
}

static void answer_dispatch(struct rpc_call *call, const uint8_t *data, size_t size)
{
	static struct msg_dispatch message; /* large */
	static struct msg_outcome outcome;
	static uint8_t bytes[BYTES];
	struct rpc_buffer buffer;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_dispatch_decode(data, size, &bump, &message), SIMPLER_OK);
	memset(bytes, INLINE, sizeof(bytes));
	outcome = (struct msg_outcome){ .task_id = message.task_id, .error_msg = "" };
	for (uint32_t i = 0; i < message.tensor_count; i++) {
		struct msg_tensor_ref *output = &outcome.outputs[outcome.output_count];

		if (message.tensors[i].shape.tag == SIMPLER_INPUT)
			continue;
		*output = message.tensors[i];
		if (!output->is_handle)
			output->inline_data = (simpler_bytes){ bytes, BYTES };
		outcome.output_count++;
	}
	assert_int_equal(msg_outcome_encode(&outcome, &buffer), SIMPLER_OK);
	bump_release(&bump);
	rpc_finish(call, RPC_OK, NULL, &buffer);
}

static void send_bytes(struct rpc_call *call, const uint8_t *data, size_t size)
{
	uint8_t bytes[BYTES];
	struct msg_chunk chunk = { 0 };
	struct rpc_buffer buffer;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_handle_decode(data, size, &bump, &chunk.handle), SIMPLER_OK);
	memset(bytes, (int)chunk.handle.handle_id, sizeof(bytes));
	pthread_mutex_lock(&node.lock);
	chunk.last = chunk.handle.handle_id != node.breaks_at;
	pthread_mutex_unlock(&node.lock);
	chunk.data = (simpler_bytes){ bytes, chunk.last ? BYTES : HALF };
	rpc_call_set_state(call, chunk.last ? NULL : &node);
	assert_int_equal(msg_chunk_encode(&chunk, &buffer), SIMPLER_OK);
	bump_release(&bump);
	rpc_send(call, &buffer);
}

static void end_pull(struct rpc_call *call)
{
	bool fails;

	pthread_mutex_lock(&node.lock);
	fails = node.fails;
	pthread_mutex_unlock(&node.lock);
	if (!rpc_call_state(call))
		rpc_finish(call, RPC_OK, NULL, NULL);
	else if (fails)
		rpc_finish(call, RPC_DATA_LOSS, "the memory is gone", NULL);
	else
		rpc_receive(call); /* what does not come */
}

static void end_cancelled(struct rpc_call *call)
{
	rpc_finish(call, RPC_CANCELLED, NULL, NULL);
}

static void ignore_half_close(struct rpc_call *call)
{
	(void)call;
}

static struct rpc_server *serve(void)
{
	static const struct rpc_method methods[] = {
		{ .path = MSG_ALLOC_TENSOR, .on_message = answer_alloc },
		{ .path = MSG_DISPATCH, .on_message = answer_dispatch },
		{ .path = MSG_PULL_TENSOR,
		  .streaming = true,
		  .on_open = rpc_receive,
		  .on_message = send_bytes,
		  .on_sent = end_pull,
		  .on_half_close = ignore_half_close,
		  .on_cancel = end_cancelled },
		{ .path = MSG_FREE_TENSOR, .on_message = answer_empty },
		{ .path = MSG_STOP_TASK, .on_message = answer_empty },
	};
	const struct rpc_server_options options = {
		.address = "127.0.0.1:0", .methods = methods, .method_count = 5, .threads = 1
	};
	struct rpc_server *server;

	assert_int_equal(rpc_server_start(&options, &server), SIMPLER_OK);
	return server;
}

struct rig {
	struct rpc_server *server;
	struct rpc_client *client;
	struct node_session *session;
	struct exec_child *child;
	/* Of a task with an inline output, a staged one, an input, and two staged outputs. */
	uint8_t bytes[TENSORS][BYTES];
	struct exec_tensor tensors[TENSORS];
	struct exec_task task;
};

static void on_done(struct exec_task *task, const struct error *error)
{
	(void)task;
	pthread_mutex_lock(&node.lock);
	error_init(&node.error, SIMPLER_OK, "it succeeded");
	if (error)
		node.error = *error;
	node.ended = true;
	pthread_cond_broadcast(&node.changed);
	pthread_mutex_unlock(&node.lock);
}

static void prepare_task(struct rig *rig)
{
	static const struct record_config config;
	static const struct exec_callable callable = { .kind = SIMPLER_KIND_ORCH };
	static const int64_t count = BYTES;

	memset(rig->bytes, OLD, sizeof(rig->bytes));
	for (unsigned i = 0; i < TENSORS; i++)
		rig->tensors[i] =
			(struct exec_tensor){ .data = rig->bytes[i],
			                      .nbytes = BYTES,
			                      .dtype = SIMPLER_UINT8,
			                      .tag = i == 2 ? SIMPLER_INPUT : SIMPLER_OUTPUT,
			                      .backing = i == 0 || i == 2 ? SIMPLER_INLINE
			                                                  : SIMPLER_STAGED,
			                      .transport = SIMPLER_TRANSPORT_STREAM,
			                      .ndim = 1,
			                      .shape = &count };
	rig->task = (struct exec_task){ .callable = &callable,
		                        .id = 1,
		                        .config = &config,
		                        .tensors = rig->tensors,
		                        .tensor_count = TENSORS,
		                        .deadline = clock_after_ms(SOON_MS),
		                        .done = on_done };
}

static int set_up(void **state)
{
	static const struct node_heartbeat heartbeat = { 1000, SOON_MS, 3 };
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	node.last_id = node.breaks_at = 0;
	node.fails = node.ended = false;
	rig->server = serve();
	assert_int_equal(rpc_client_create(&rig->client), SIMPLER_OK);
	assert_int_equal(node_session_create(60000, &heartbeat, &rig->session), SIMPLER_OK);
	assert_int_equal(
		remote_create(&(struct remote_options){ .client = rig->client,
	                                                .session = rig->session,
	                                                .address = rpc_server_address(rig->server),
	                                                .capacity = 8 },
	                      &rig->child),
		SIMPLER_OK);
	prepare_task(rig);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	node_session_stop(rig->session);
	rig->child->ops->close(rig->child);
	rpc_client_destroy(rig->client);
	rig->child->ops->release(rig->child);
	node_session_release(rig->session);
	rpc_server_stop(rig->server, clock_after_ms(SOON_MS));
	free(rig);
	return 0;
}

static simpler_status end(void)
{
	pthread_mutex_lock(&node.lock);
	while (!node.ended)
		pthread_cond_wait(&node.changed, &node.lock);
	pthread_mutex_unlock(&node.lock);
	return node.error.status;
}

static void assert_bytes(const uint8_t *bytes, unsigned count, uint8_t value)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(bytes[i], value);
}

/* The second staged output, tensor 3, is the storage with handle 2. */
static void begin_and_break_off(struct rig *rig, bool fails)
{
	struct remote_traffic traffic;

	pthread_mutex_lock(&node.lock);
	node.breaks_at = 2;
	node.fails = fails;
	pthread_mutex_unlock(&node.lock);
	rig->child->ops->start(rig->child, &rig->task);
	do {
		(void)sched_yield();
		remote_count(rig->child, &traffic);
	} while (traffic.stream.received < BYTES + HALF);
}

static void assert_broken_off(const struct rig *rig)
{
	assert_int_equal(rig->task.fate, EXEC_ENDED);
	assert_true(rig->task.unfetched);
	assert_int_equal(rig->task.half_written, 1u << 1 | 1u << 3);
	assert_bytes(rig->bytes[0], BYTES, OLD);
	assert_bytes(rig->bytes[1], BYTES, 1);
	assert_bytes(rig->bytes[3], HALF, 2);
	assert_bytes(rig->bytes[3] + HALF, BYTES - HALF, OLD);
	assert_bytes(rig->bytes[4], BYTES, OLD);
}

static void what_comes_with_the_answer_and_what_is_fetched_are_there_at_the_end(void **state)
{
	struct rig *rig = *state;

	rig->child->ops->start(rig->child, &rig->task);
	assert_int_equal(end(), SIMPLER_OK);
	assert_false(rig->task.unfetched);
	assert_bytes(rig->bytes[0], BYTES, INLINE);
	assert_bytes(rig->bytes[1], BYTES, 1);
	assert_bytes(rig->bytes[2], BYTES, OLD);
	assert_bytes(rig->bytes[3], BYTES, 2);
	assert_bytes(rig->bytes[4], BYTES, 3);
}

static void a_fetch_that_fails_tells_which_buffers_may_be_half_written(void **state)
{
	begin_and_break_off(*state, true);
	assert_int_equal(end(), SIMPLER_EPROTOCOL);
	assert_non_null(strstr(error_step(&node.error, 0), "the memory is gone"));
	assert_string_equal(error_step(&node.error, 1), "fetching tensor 3");
	assert_broken_off(*state);
}

static void a_stop_in_a_fetch_tells_them(void **state)
{
	struct rig *rig = *state;

	begin_and_break_off(rig, false);
	atomic_store(&rig->task.stop_at, clock_after_ms(SOON_MS));
	rig->child->ops->stop(rig->child, rig->task.id, rig->task.stop_at);
	assert_int_equal(end(), SIMPLER_ECANCELLED);
	assert_broken_off(rig);
}

static void a_node_that_is_lost_in_a_fetch_tells_them(void **state)
{
	struct rig *rig = *state;

	begin_and_break_off(rig, false);
	remote_lose((struct remote_child *)rig->child, "nobody answers");
	assert_int_equal(end(), SIMPLER_EUNAVAILABLE);
	assert_non_null(strstr(error_step(&node.error, 0), "is lost: nobody answers"));
	assert_broken_off(rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_comes_with_the_answer_and_what_is_fetched_are_there_at_the_end),
		TEST(a_fetch_that_fails_tells_which_buffers_may_be_half_written),
		TEST(a_stop_in_a_fetch_tells_them),
		TEST(a_node_that_is_lost_in_a_fetch_tells_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
