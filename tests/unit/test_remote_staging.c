/* A task with a staged tensor on a node of the test's own, which says when it has no room, and
 * forgets storage: what it is asked then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "exec/node_session.h"
#include "exec/remote.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"

#define SOON_MS 10000
#define LOG_MAX 512

/* The node. One thread serves, so calls do not overlap; tests look when it has answered. */
static struct {
	uint64_t last_id;     /* that it gave to storage */
	uint64_t forgotten;   /* a handle that is stale, or 0 */
	unsigned room;        /* for so many pieces */
	char log[LOG_MAX];    /* what it was asked, in order */
	pthread_mutex_t lock; /* guards all of it */
	pthread_cond_t changed;
	bool ended;         /* the task of the test */
	struct error error; /* of it */
} node = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void note(const char *what, uint64_t id)
{
	size_t at = strlen(node.log);

	(void)snprintf(node.log + at, sizeof(node.log) - at, "%s %llu; ", what,
	               (unsigned long long)id);
}

static void answer_push(struct rpc_call *call, const struct msg_handle *asked)
{
	struct msg_handle answer = *asked;
	struct rpc_buffer buffer;

	note("push", asked->handle_id);
	if (asked->handle_id == 0 && node.room == 0) {
		rpc_finish(call, RPC_RESOURCE_EXHAUSTED, "no room", NULL);
		return;
	}
	if (asked->handle_id != 0 && asked->handle_id == node.forgotten) {
		rpc_finish(call, RPC_FAILED_PRECONDITION, "no such handle", NULL);
		return;
	}
	if (asked->handle_id == 0) {
		node.room--;
		answer.handle_id = ++node.last_id;
	}
	assert_int_equal(msg_handle_encode(&answer, &buffer), SIMPLER_OK);
	rpc_finish(call, RPC_OK, NULL, &buffer);
}

static void push_parts(struct rpc_call *call, const struct rpc_part *parts, size_t count)
{
	struct msg_parts data;
	struct msg_chunk chunk;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(0));
	assert_int_equal(msg_chunk_decode_parts(parts, count, &bump, &chunk, &data), SIMPLER_OK);
	pthread_mutex_lock(&node.lock);
	answer_push(call, &chunk.handle);
	pthread_mutex_unlock(&node.lock);
	bump_release(&bump);
}

static void give_up(struct rpc_call *call)
{
	rpc_finish(call, RPC_CANCELLED, "gone", NULL);
}

static void answer_free(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct msg_handle handle;
	struct rpc_buffer buffer;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_free_decode(data, size, &bump, &handle), SIMPLER_OK);
	bump_release(&bump);
	pthread_mutex_lock(&node.lock);
	note("free", handle.handle_id);
	node.room++;
	pthread_cond_broadcast(&node.changed);
	pthread_mutex_unlock(&node.lock);
	assert_int_equal(msg_empty_encode(&buffer), SIMPLER_OK);
	rpc_finish(call, RPC_OK, NULL, &buffer);
}

static void answer_dispatch(struct rpc_call *call, const uint8_t *data, size_t size)
{
	static struct msg_dispatch message; /* large */
	static struct msg_outcome outcome;
	struct rpc_buffer buffer;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_dispatch_decode(data, size, &bump, &message), SIMPLER_OK);
	pthread_mutex_lock(&node.lock);
	note("dispatch", message.tensors[0].handle.handle_id);
	pthread_mutex_unlock(&node.lock);
	outcome = (struct msg_outcome){ .task_id = message.task_id, .error_msg = "" };
	assert_int_equal(msg_outcome_encode(&outcome, &buffer), SIMPLER_OK);
	bump_release(&bump);
	rpc_finish(call, RPC_OK, NULL, &buffer);
}

static struct rpc_server *serve(void)
{
	static const struct rpc_method methods[] = {
		{ .path = MSG_PUSH_TENSOR,
		  .streaming = true,
		  .on_open = rpc_receive,
		  .on_parts = push_parts,
		  .on_cancel = give_up },
		{ .path = MSG_FREE_TENSOR, .on_message = answer_free },
		{ .path = MSG_DISPATCH, .on_message = answer_dispatch },
	};
	const struct rpc_server_options options = {
		.address = "127.0.0.1:0", .methods = methods, .method_count = 3, .threads = 1
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
};

static int set_up(void **state)
{
	static const struct node_heartbeat heartbeat = { 1000, SOON_MS, 3 };
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	node.last_id = node.forgotten = 0;
	node.room = 10;
	node.log[0] = '\0';
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

/* A task that reads so many staged bytes; what it ended with. */
static simpler_status run(struct rig *rig, uint32_t nbytes)
{
	static uint8_t bytes[1000];
	static const struct record_config config;
	static const struct exec_callable callable = { .kind = SIMPLER_KIND_ORCH };
	const int64_t count = nbytes;
	const struct exec_tensor tensor = { .data = bytes,
		                            .nbytes = nbytes,
		                            .dtype = SIMPLER_UINT8,
		                            .tag = SIMPLER_INPUT,
		                            .backing = SIMPLER_STAGED,
		                            .transport = SIMPLER_TRANSPORT_STREAM,
		                            .ndim = 1,
		                            .shape = &count };
	struct exec_task task = { .callable = &callable,
		                  .id = 1,
		                  .config = &config,
		                  .tensors = &tensor,
		                  .tensor_count = 1,
		                  .deadline = clock_after_ms(SOON_MS),
		                  .done = on_done };

	pthread_mutex_lock(&node.lock);
	node.ended = false;
	pthread_mutex_unlock(&node.lock);
	rig->child->ops->start(rig->child, &task);
	pthread_mutex_lock(&node.lock);
	while (!node.ended)
		pthread_cond_wait(&node.changed, &node.lock);
	pthread_mutex_unlock(&node.lock);
	return node.error.status;
}

/* Until it was asked this, which nobody waits for. */
static void wait_asked(const char *what)
{
	pthread_mutex_lock(&node.lock);
	while (!strstr(node.log, what))
		pthread_cond_wait(&node.changed, &node.lock);
	pthread_mutex_unlock(&node.lock);
}

static void a_second_tensor_of_the_size_is_sent_to_the_storage_of_the_first(void **state)
{
	assert_int_equal(run(*state, 100), SIMPLER_OK);
	assert_int_equal(run(*state, 100), SIMPLER_OK);
	assert_string_equal(node.log, "push 0; dispatch 1; push 1; dispatch 1; ");
}

static void one_whose_storage_the_node_has_forgotten_gets_its_own(void **state)
{
	assert_int_equal(run(*state, 100), SIMPLER_OK);
	node.forgotten = 1;
	assert_int_equal(run(*state, 100), SIMPLER_OK);
	wait_asked("free 1; ");
	assert_non_null(strstr(node.log, "push 0; dispatch 1; push 1; "));
	assert_non_null(strstr(node.log, "dispatch 2; "));
	/* And leaves that to the next. */
	node.log[0] = '\0';
	assert_int_equal(run(*state, 100), SIMPLER_OK);
	assert_string_equal(node.log, "push 2; dispatch 2; ");
}

static void a_node_without_room_is_asked_again_after_each_piece_that_it_frees(void **state)
{
	node.room = 1;
	assert_int_equal(run(*state, 100), SIMPLER_OK);
	assert_int_equal(run(*state, 200), SIMPLER_OK);
	assert_string_equal(node.log, "push 0; dispatch 1; push 0; free 1; push 0; dispatch 2; ");
}

static void a_node_without_room_where_nothing_is_left_fails_the_task(void **state)
{
	node.room = 0;
	assert_int_equal(run(*state, 100), SIMPLER_ENOSPACE);
	assert_string_equal(node.log, "push 0; ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_second_tensor_of_the_size_is_sent_to_the_storage_of_the_first),
		TEST(one_whose_storage_the_node_has_forgotten_gets_its_own),
		TEST(a_node_without_room_is_asked_again_after_each_piece_that_it_frees),
		TEST(a_node_without_room_where_nothing_is_left_fails_the_task),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
