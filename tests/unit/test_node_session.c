/* Attaching to a node that is not there yet, or not well yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "exec/node_session.h"
#include "rpc/messages.h"
#include "rpc_test.h"
#include "temporary_directory.h"

#define SOON_MS 20000

/* What the node answers first, `refusals` times; then that the session is attached. */
static enum rpc_code refusal;
static atomic_uint refusals, asked;

static void answer_attach(struct rpc_call *call, const uint8_t *data, size_t size)
{
	const struct msg_attached attached = { .boot_id = 7, .ttl_ms = 60000 };
	struct rpc_buffer answer;

	(void)data;
	(void)size;
	if (atomic_fetch_add(&asked, 1) < atomic_load(&refusals)) {
		rpc_finish(call, refusal, "not now", NULL);
	} else {
		assert_int_equal(msg_attached_encode(&attached, &answer), SIMPLER_OK);
		rpc_finish(call, RPC_OK, NULL, &answer);
	}
}

static void answer_detach(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_buffer answer;

	(void)data;
	(void)size;
	assert_int_equal(msg_empty_encode(&answer), SIMPLER_OK);
	rpc_finish(call, RPC_OK, NULL, &answer);
}

static struct rpc_server *serve(const char *address)
{
	static const struct rpc_method methods[] = {
		{ .path = MSG_ATTACH, .on_message = answer_attach },
		{ .path = MSG_DETACH, .on_message = answer_detach },
	};
	const struct rpc_server_options options = {
		.address = address, .methods = methods, .method_count = 2, .threads = 1
	};
	struct rpc_server *server;

	assert_int_equal(rpc_server_start(&options, &server), SIMPLER_OK);
	return server;
}

/* A program that attaches to the node at an address. */
struct parent {
	struct node_session *session;
	struct rpc_client *client;
	struct rpc_channel *channel;
	uint64_t timeout_ms;
	pthread_t thread;
	simpler_status status;
};

static void parent_open(struct parent *parent, const char *address)
{
	assert_int_equal(node_session_create(60000, &parent->session), SIMPLER_OK);
	assert_int_equal(rpc_client_create(&parent->client), SIMPLER_OK);
	assert_int_equal(rpc_channel_open(parent->client, address, &parent->channel), SIMPLER_OK);
	rpc_channel_set_session(parent->channel, node_session_id(parent->session));
}

static void *parent_attach(void *argument)
{
	struct parent *parent = argument;
	char shm_address[NODE_SESSION_SHM_MAX + 1];

	parent->status = node_session_attach(parent->session, parent->channel, "the node",
	                                     clock_after_ms(parent->timeout_ms), shm_address);
	return NULL;
}

static void parent_close(struct parent *parent)
{
	node_session_end(parent->session);
	rpc_channel_close(parent->channel);
	rpc_client_destroy(parent->client);
}

static const struct {
	const char *name;
	enum rpc_code refusal;
	unsigned refusals;
	uint64_t timeout_ms;
	simpler_status status;
	unsigned asked_least, asked_most;
} answers[] = {
	{ "at once", RPC_OK, 0, SOON_MS, SIMPLER_OK, 1, 1 },
	{ "not available at first", RPC_UNAVAILABLE, 2, SOON_MS, SIMPLER_OK, 3, 3 },
	{ "not available all the time", RPC_UNAVAILABLE, 1000, 1000, SIMPLER_EUNAVAILABLE, 2, 10 },
	{ "no place for another session", RPC_RESOURCE_EXHAUSTED, 1000, SOON_MS, SIMPLER_ENOSPACE,
	  1, 1 },
};

static void a_node_is_asked_again_while_it_is_not_available(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct rpc_server *server = serve("127.0.0.1:0");
		struct parent parent = { .timeout_ms = answers[i].timeout_ms };

		print_message("  %s\n", answers[i].name);
		refusal = answers[i].refusal;
		atomic_store(&refusals, answers[i].refusals);
		atomic_store(&asked, 0);
		parent_open(&parent, rpc_server_address(server));
		(void)parent_attach(&parent);
		assert_int_equal(parent.status, answers[i].status);
		assert_in_range(atomic_load(&asked), answers[i].asked_least, answers[i].asked_most);
		parent_close(&parent);
		rpc_server_stop(server, clock_after_ms(SOON_MS));
	}
}

static void a_node_that_is_yet_to_start_is_waited_for(void **state)
{
	struct parent parent = { .timeout_ms = 50 };
	struct temporary_directory directory;
	struct rpc_server *server;
	char address[512];

	(void)state;
	assert_true(temporary_directory_make(&directory));
	(void)snprintf(address, sizeof(address), "unix:%s", temporary_path(&directory, "node"));
	atomic_store(&refusals, 0);
	atomic_store(&asked, 0);
	parent_open(&parent, address);
	/* The connection has found nobody by then. */
	(void)parent_attach(&parent);
	assert_int_equal(parent.status, SIMPLER_EDEADLINE);
	parent.timeout_ms = SOON_MS;
	assert_int_equal(pthread_create(&parent.thread, NULL, parent_attach, &parent), 0);
	server = serve(address);
	assert_int_equal(pthread_join(parent.thread, NULL), 0);
	assert_int_equal(parent.status, SIMPLER_OK);
	parent_close(&parent);
	rpc_server_stop(server, clock_after_ms(SOON_MS));
	temporary_directory_remove(&directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_is_asked_again_while_it_is_not_available),
		cmocka_unit_test(a_node_that_is_yet_to_start_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
