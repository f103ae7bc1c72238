/*
 * Nodes that are killed, frozen, cut off and started anew, and what becomes of tasks. How often a
 * task ran is counted in a tensor on the node, which this process sees by shared memory; results
 * are read from tensors of this process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon.h"
#include "os/process.h"
#include "simpler/simpler.h"
#include "test_modules.h"

#define SOON  (60 * CLOCK_S)
#define NODES 3

enum { STARTS, ENDS, GO, ELEMENTS };

/* --- a link that can be cut --- */

#define LINKS 16

struct proxy {
	int listener, wake[2];
	uint16_t to;
	char address[64];
	pthread_t thread;
	/* Drop what goes that way instead of passing it on, and count it. */
	atomic_bool swallow_requests, swallow_answers;
	_Atomic uint64_t swallowed, accepted; /* bytes; connections */
	atomic_bool cut, ending;
	/* The thread's own: */
	struct {
		int client, server;
	} links[LINKS];
};

static int loopback(uint16_t port, struct sockaddr_in *address)
{
	*address = (struct sockaddr_in){ .sin_family = AF_INET,
		                         .sin_port = htons(port),
		                         .sin_addr = { htonl(INADDR_LOOPBACK) } };
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void close_link(struct proxy *proxy, size_t i)
{
	(void)close(proxy->links[i].client);
	(void)close(proxy->links[i].server);
	proxy->links[i].client = proxy->links[i].server = -1;
}

static void accept_link(struct proxy *proxy)
{
	int client = accept(proxy->listener, NULL, NULL);
	struct sockaddr_in address;
	int server = loopback(proxy->to, &address);
	size_t i = 0;

	while (i < LINKS && proxy->links[i].client >= 0)
		i++;
	if (client < 0 || i == LINKS ||
	    connect(server, (struct sockaddr *)&address, sizeof(address)) != 0) {
		(void)close(client);
		(void)close(server);
		return;
	}
	proxy->links[i].client = client;
	proxy->links[i].server = server;
	atomic_fetch_add(&proxy->accepted, 1);
}

/* False at the end. */
static bool pass_on(struct proxy *proxy, int from, int to, bool swallow)
{
	char bytes[65536];
	ssize_t size = recv(from, bytes, sizeof(bytes), 0), sent = 0;

	if (size <= 0)
		return false;
	if (swallow) {
		atomic_fetch_add(&proxy->swallowed, (uint64_t)size);
		return true;
	}
	while (sent < size) {
		ssize_t more = send(to, bytes + sent, (size_t)(size - sent), MSG_NOSIGNAL);

		if (more <= 0)
			return false;
		sent += more;
	}
	return true;
}

static void serve_link(struct proxy *proxy, size_t i, bool requests, bool answers)
{
	int client = proxy->links[i].client, server = proxy->links[i].server;

	if ((requests && !pass_on(proxy, client, server, atomic_load(&proxy->swallow_requests))) ||
	    (answers && !pass_on(proxy, server, client, atomic_load(&proxy->swallow_answers))))
		close_link(proxy, i);
}

static void *proxy_main(void *context)
{
	struct proxy *proxy = context;

	while (!atomic_load(&proxy->ending)) {
		struct pollfd fds[2 + 2 * LINKS] = { { proxy->listener, POLLIN, 0 },
			                             { proxy->wake[0], POLLIN, 0 } };
		char byte;

		for (size_t i = 0; i < LINKS; i++) {
			fds[2 + 2 * i] = (struct pollfd){ proxy->links[i].client, POLLIN, 0 };
			fds[3 + 2 * i] = (struct pollfd){ proxy->links[i].server, POLLIN, 0 };
		}
		(void)poll(fds, 2 + 2 * LINKS, -1);
		if (fds[1].revents)
			(void)!read(proxy->wake[0], &byte, 1);
		for (size_t i = 0; i < LINKS; i++) {
			if (proxy->links[i].client >= 0)
				serve_link(proxy, i, fds[2 + 2 * i].revents != 0,
				           fds[3 + 2 * i].revents != 0);
		}
		if (fds[0].revents)
			accept_link(proxy);
		if (!atomic_exchange(&proxy->cut, false))
			continue;
		for (size_t i = 0; i < LINKS; i++) {
			if (proxy->links[i].client >= 0)
				close_link(proxy, i);
		}
		atomic_store(&proxy->swallow_requests, false);
		atomic_store(&proxy->swallow_answers, false);
	}
	return NULL;
}

static void proxy_start(struct proxy *proxy, const char *address)
{
	struct sockaddr_in own;
	socklen_t size = sizeof(own);

	memset(proxy, 0, sizeof(*proxy));
	proxy->to = (uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10);
	proxy->listener = loopback(0, &own);
	assert_int_equal(bind(proxy->listener, (struct sockaddr *)&own, sizeof(own)), 0);
	assert_int_equal(listen(proxy->listener, LINKS), 0);
	assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&own, &size), 0);
	(void)snprintf(proxy->address, sizeof(proxy->address), "127.0.0.1:%u", ntohs(own.sin_port));
	assert_int_equal(pipe(proxy->wake), 0);
	for (size_t i = 0; i < LINKS; i++)
		proxy->links[i].client = proxy->links[i].server = -1;
	assert_int_equal(pthread_create(&proxy->thread, NULL, proxy_main, proxy), 0);
}

static void proxy_wake(struct proxy *proxy)
{
	assert_int_equal(write(proxy->wake[1], "", 1), 1);
}

/* All connections there are end, and from then on all goes through. */
static void proxy_cut(struct proxy *proxy)
{
	atomic_store(&proxy->cut, true);
	proxy_wake(proxy);
	while (atomic_load(&proxy->cut))
		(void)sched_yield();
}

static void proxy_stop(struct proxy *proxy)
{
	atomic_store(&proxy->ending, true);
	proxy_wake(proxy);
	(void)pthread_join(proxy->thread, NULL);
	for (size_t i = 0; i < LINKS; i++) {
		if (proxy->links[i].client >= 0)
			close_link(proxy, i);
	}
	(void)close(proxy->listener);
	(void)close(proxy->wake[0]);
	(void)close(proxy->wake[1]);
}

/* --- nodes and a parent --- */

struct fixture {
	struct daemon nodes[NODES];
	unsigned count;
	struct proxy proxy; /* of the only node, when there is one */
	bool has_proxy;
	simpler_worker *worker;
	simpler_module *module;
};

static void node_start(struct daemon *node, const char *listen)
{
	const char *options[] = { "--sub-workers", "1", "--pool-bytes", "64M", "--listen",
		                  "127.0.0.1:0",   NULL };

	if (listen)
		options[5] = listen;
	daemon_start(node, options);
}

static void node_kill(struct daemon *node)
{
	int wait_status;

	process_signal(node->pidfd, SIGKILL);
	assert_true(process_wait(node->pidfd, CLOCK_NEVER, &wait_status));
	(void)close(node->pidfd);
	(void)close(node->output);
}

static void node_restart(struct daemon *node)
{
	char address[sizeof(node->address)];

	memcpy(address, node->address, sizeof(address));
	node_start(node, address);
}

static void parent_start(struct fixture *fixture, simpler_worker_options *options)
{
	simpler_node_options node = SIMPLER_NODE_OPTIONS_INIT;

	/* Shared memory would lead past the proxy. */
	if (fixture->has_proxy)
		node.lane = SIMPLER_LANE_STREAM;
	assert_int_equal(simpler_worker_create(options, &fixture->worker), SIMPLER_OK);
	for (unsigned i = 0; i < fixture->count; i++)
		assert_int_equal(simpler_worker_add_remote_with(fixture->worker,
		                                                fixture->has_proxy
		                                                        ? fixture->proxy.address
		                                                        : fixture->nodes[i].address,
		                                                &node, NULL),
		                 SIMPLER_OK);
	assert_int_equal(simpler_module_load(fixture->worker, TEST_MODULES_DIR "/recovery_cases.so",
	                                     &fixture->module),
	                 SIMPLER_OK);
	assert_int_equal(simpler_worker_init(fixture->worker), SIMPLER_OK);
}

static void attentive_parent_start(struct fixture *fixture)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;

	options.heartbeat_interval_ms = 100;
	options.heartbeat_timeout_ms = 1000;
	options.node_tasks = 4;
	parent_start(fixture, &options);
}

static int start_nodes(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->count = NODES;
	for (unsigned i = 0; i < NODES; i++)
		node_start(&fixture->nodes[i], NULL);
	attentive_parent_start(fixture);
	*state = fixture;
	return 0;
}

static int start_behind_proxy(void **state)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	/* So that all that goes through the link is the task's. */
	options.heartbeat_interval_ms = 3600000;
	options.session_ttl_ms = 86400000;
	fixture->count = 1;
	fixture->has_proxy = true;
	node_start(&fixture->nodes[0], NULL);
	proxy_start(&fixture->proxy, fixture->nodes[0].address);
	parent_start(fixture, &options);
	*state = fixture;
	return 0;
}

static int stop(void **state)
{
	struct fixture *fixture = *state;

	simpler_worker_close(fixture->worker);
	if (fixture->has_proxy)
		proxy_stop(&fixture->proxy);
	for (unsigned i = 0; i < fixture->count; i++)
		assert_int_equal(daemon_stop(&fixture->nodes[i]), 0);
	free(fixture);
	return 0;
}

/* --- runs --- */

static simpler_orch_fn find(struct fixture *fixture, const char *name, bool idempotent)
{
	simpler_callable_options options = SIMPLER_CALLABLE_OPTIONS_INIT;
	simpler_orch_fn fn;

	options.idempotent = idempotent;
	assert_int_equal(simpler_module_orch_fn_with(fixture->module, name, simpler_no_state(),
	                                             &options, &fn),
	                 SIMPLER_OK);
	return fn;
}

struct one {
	simpler_orch_fn fn;
	simpler_worker_id node;
	const simpler_args *args;
};

static simpler_status submit_one(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	const struct one *one = state.data;

	(void)args;
	(void)config;
	options.worker = one->node;
	return simpler_submit_next_level(orch, one->fn, one->args, &options, NULL);
}

static simpler_status run_one(struct fixture *fixture, const struct one *one)
{
	return simpler_run(fixture->worker, submit_one, NULL, NULL,
	                   (simpler_bytes){ one, sizeof(*one) });
}

static simpler_completion *begin_one(struct fixture *fixture, const struct one *one)
{
	simpler_completion *run;

	assert_int_equal(simpler_run_async(fixture->worker, submit_one, NULL, NULL,
	                                   (simpler_bytes){ one, sizeof(*one) }, &run),
	                 SIMPLER_OK);
	return run;
}

static simpler_status end(simpler_completion *run)
{
	simpler_status status;

	assert_true(simpler_completion_wait(run, SOON / CLOCK_MS));
	status = simpler_completion_result(run);
	assert_int_equal(simpler_completion_destroy(run), SIMPLER_OK);
	return status;
}

static void assert_ends_well(simpler_completion *run)
{
	if (end(run) != SIMPLER_OK)
		fail_msg("the run failed: %s", simpler_last_error());
}

static void assert_error_says(const char *text)
{
	if (!strstr(simpler_last_error(), text))
		fail_msg("the error is: %s\nand does not say: %s", simpler_last_error(), text);
}

/* --- counters on a node --- */

struct counter {
	simpler_tensor_handle handle;
	simpler_args *args;
	volatile int64_t *at; /* by shared memory */
};

static void counter_make(struct counter *counter, struct fixture *fixture, simpler_worker_id node)
{
	const int64_t shape = ELEMENTS;
	void *mapped;

	assert_int_equal(simpler_tensor_alloc(fixture->worker, node, SIMPLER_INT64, 1, &shape, NULL,
	                                      &counter->handle),
	                 SIMPLER_OK);
	assert_int_equal(simpler_tensor_map(fixture->worker, counter->handle, &mapped), SIMPLER_OK);
	counter->at = mapped;
	counter->args = simpler_args_create();
	assert_int_equal(simpler_args_add_handle(counter->args, counter->handle, 0, SIMPLER_INT64,
	                                         1, &shape, SIMPLER_INOUT),
	                 SIMPLER_OK);
}

static void counter_release(struct counter *counter, struct fixture *fixture)
{
	simpler_args_destroy(counter->args);
	(void)simpler_tensor_free(fixture->worker, counter->handle, NULL);
}

static void wait_for(const volatile int64_t *value, int64_t least)
{
	int64_t until = clock_now() + SOON;

	while (*value < least) {
		assert_true(clock_now() < until);
		(void)sched_yield();
	}
}

/* --- connections that break --- */

static const struct {
	const char *name;
	bool swallow_requests, swallow_answers;
	const char *function;
	bool until_started, until_ended; /* before the cut */
} moments[] = {
	{ "before the request arrives", true, false, "count", false, false },
	{ "while the task runs", false, false, "count_and_wait", true, false },
	{ "before the answer arrives", false, true, "count", true, true },
};

static void R05_a_connection_that_breaks_at_any_moment_has_a_task_run_once(void **state)
{
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		struct proxy *proxy = &fixture->proxy;
		struct counter counter;
		simpler_completion *run;
		struct one one;

		print_message("  %s\n", moments[i].name);
		counter_make(&counter, fixture, 0);
		one = (struct one){ find(fixture, moments[i].function, false), 0, counter.args };
		atomic_store(&proxy->swallowed, 0);
		atomic_store(&proxy->swallow_requests, moments[i].swallow_requests);
		atomic_store(&proxy->swallow_answers, moments[i].swallow_answers);
		run = begin_one(fixture, &one);
		if (moments[i].until_started)
			wait_for(&counter.at[STARTS], 1);
		if (moments[i].until_ended)
			wait_for(&counter.at[ENDS], 1);
		while ((moments[i].swallow_requests || moments[i].swallow_answers) &&
		       atomic_load(&proxy->swallowed) == 0)
			(void)sched_yield();
		proxy_cut(proxy);
		counter.at[GO] = 1;
		assert_ends_well(run);
		assert_int_equal(counter.at[STARTS], 1);
		assert_int_equal(counter.at[ENDS], 1);
		assert_int_equal(run_one(fixture, &one), SIMPLER_OK);
		assert_int_equal(counter.at[ENDS], 2);
		counter_release(&counter, fixture);
	}
}

static void a_task_survives_connections_that_break_over_and_over(void **state)
{
	struct fixture *fixture = *state;
	struct counter counter;
	simpler_completion *run;
	struct one one;

	counter_make(&counter, fixture, 0);
	one = (struct one){ find(fixture, "count_and_wait", false), 0, counter.args };
	run = begin_one(fixture, &one);
	wait_for(&counter.at[STARTS], 1);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t before = atomic_load(&fixture->proxy.accepted);

		proxy_cut(&fixture->proxy);
		while (atomic_load(&fixture->proxy.accepted) == before)
			(void)sched_yield();
	}
	counter.at[GO] = 1;
	assert_ends_well(run);
	assert_int_equal(counter.at[STARTS], 1);
	counter_release(&counter, fixture);
}

/* --- nodes that go and come back --- */

static void add_out(simpler_args *args, int64_t *out, int64_t count, simpler_tag tag)
{
	simpler_tensor tensor;

	assert_int_equal(simpler_tensor_init_1d(&tensor, out, SIMPLER_INT64, count), SIMPLER_OK);
	assert_int_equal(simpler_args_add_tensor(args, &tensor, tag, SIMPLER_INLINE), SIMPLER_OK);
}

/* A task on that node. */
static simpler_status try_square(struct fixture *fixture, simpler_worker_id node, int64_t value)
{
	simpler_args *args = simpler_args_create();
	struct one one = { find(fixture, "square", false), node, args };
	int64_t out[2] = { 0 };
	simpler_status status;

	add_out(args, out, 2, SIMPLER_OUTPUT);
	assert_int_equal(simpler_args_add_scalar(args, (uint64_t)value), SIMPLER_OK);
	assert_int_equal(simpler_args_add_scalar(args, 0), SIMPLER_OK);
	status = run_one(fixture, &one);
	if (status == SIMPLER_OK)
		assert_int_equal(out[0], value * value);
	simpler_args_destroy(args);
	return status;
}

static void wait_until_used_again(struct fixture *fixture, simpler_worker_id node)
{
	int64_t until = clock_now() + SOON;

	while (try_square(fixture, node, 3) != SIMPLER_OK)
		assert_true(clock_now() < until);
}

/* With a task in progress on node 0. */
static void lose_node(struct fixture *fixture, void (*lose)(struct daemon *node),
                      struct counter *counter)
{
	simpler_completion *run;
	struct one one;

	counter_make(counter, fixture, 0);
	one = (struct one){ find(fixture, "count_and_wait", false), 0, counter->args };
	run = begin_one(fixture, &one);
	wait_for(&counter->at[STARTS], 1);
	lose(&fixture->nodes[0]);
	assert_int_equal(end(run), SIMPLER_EUNAVAILABLE);
	assert_error_says("is lost: ");
	assert_error_says(fixture->nodes[0].address);
	assert_error_says("task 1");
	assert_error_says("'count_and_wait'");
	assert_error_says("may have run or not");
}

static void expect_others_go_on(struct fixture *fixture)
{
	assert_int_equal(try_square(fixture, 0, 2), SIMPLER_EUNAVAILABLE);
	assert_error_says("is lost: ");
	for (int64_t i = 0; i < 20; i++)
		assert_int_equal(try_square(fixture, SIMPLER_ANY_WORKER, i), SIMPLER_OK);
}

static void R05_a_killed_node_fails_its_tasks_and_is_used_again_when_it_is_back(void **state)
{
	struct fixture *fixture = *state;
	struct counter counter;
	int64_t value = 0;
	simpler_tensor tensor;
	struct one one;

	lose_node(fixture, node_kill, &counter);
	expect_others_go_on(fixture);
	node_restart(&fixture->nodes[0]);
	wait_until_used_again(fixture, 0);
	/* What was stored there is gone, and says so. */
	one = (struct one){ find(fixture, "count", false), 0, counter.args };
	assert_int_equal(run_one(fixture, &one), SIMPLER_ESTALE);
	assert_error_says("was started anew");
	assert_int_equal(simpler_tensor_init_1d(&tensor, &value, SIMPLER_INT64, 1), SIMPLER_OK);
	assert_int_equal(simpler_tensor_read(fixture->worker, counter.handle, NULL, &tensor, NULL),
	                 SIMPLER_ESTALE);
	assert_error_says("was started anew");
	counter_release(&counter, fixture);
}

static void a_node_that_is_back_shares_its_memory_again(void **state)
{
	struct fixture *fixture = *state;
	struct counter old, fresh;
	struct one one;

	lose_node(fixture, node_kill, &old);
	node_restart(&fixture->nodes[0]);
	wait_until_used_again(fixture, 0);
	counter_make(&fresh, fixture, 0);
	old.at[GO] = 5; /* which is nobody's memory */
	assert_int_equal(old.at[GO], 5);
	assert_int_equal(fresh.at[GO], 0);
	one = (struct one){ find(fixture, "count", false), 0, fresh.args };
	assert_int_equal(run_one(fixture, &one), SIMPLER_OK);
	assert_int_equal(fresh.at[STARTS], 1);
	assert_int_equal(old.at[STARTS], 0);
	counter_release(&fresh, fixture);
	counter_release(&old, fixture);
}

/* At moments of its return that differ. */
static void a_worker_may_be_closed_while_a_node_returns(void **state)
{
	enum { TIMES = 10, STEP_MS = 12 };
	struct fixture *fixture = *state;

	for (long i = 0; i < TIMES; i++) {
		const struct timespec moment = { .tv_nsec = i * STEP_MS * CLOCK_MS };

		node_kill(&fixture->nodes[0]);
		node_restart(&fixture->nodes[0]);
		(void)nanosleep(&moment, NULL);
		simpler_worker_close(fixture->worker);
		attentive_parent_start(fixture);
	}
}

static void node_freeze(struct daemon *node)
{
	process_signal(node->pidfd, SIGSTOP);
}

static void a_frozen_node_holds_nobody_up_and_is_used_again_when_it_thaws(void **state)
{
	struct fixture *fixture = *state;
	struct counter counter;
	int64_t began = clock_now();

	lose_node(fixture, node_freeze, &counter);
	assert_true(clock_now() - began < 20 * CLOCK_S);
	expect_others_go_on(fixture);
	process_signal(fixture->nodes[0].pidfd, SIGCONT);
	wait_until_used_again(fixture, 0);
	/* It kept what it had: the session's time to live is longer. */
	counter.at[GO] = 1;
	struct one one = { find(fixture, "count", false), 0, counter.args };
	assert_int_equal(run_one(fixture, &one), SIMPLER_OK);
	counter_release(&counter, fixture);
}

static void what_was_registered_while_a_node_was_away_is_there_when_it_is_back(void **state)
{
	struct fixture *fixture = *state;
	struct counter counter;

	lose_node(fixture, node_kill, &counter);
	counter_release(&counter, fixture);
	assert_int_equal(try_square(fixture, SIMPLER_ANY_WORKER, 5), SIMPLER_OK);
	node_restart(&fixture->nodes[0]);
	wait_until_used_again(fixture, 0);
}

/* --- tasks that may run twice --- */

struct twice {
	bool idempotent;
	simpler_status status;
};

static void a_lost_task_runs_again_elsewhere_only_if_it_may(void **state)
{
	static const struct twice cases[] = { { false, SIMPLER_EUNAVAILABLE },
		                              { true, SIMPLER_OK } };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < 2; i++) {
		simpler_args *args = simpler_args_create();
		struct one one = { find(fixture, "wait_below", cases[i].idempotent),
			           SIMPLER_ANY_WORKER, args };
		struct daemon *node = &fixture->nodes[0];
		int64_t out = 0;
		simpler_completion *run;

		print_message("  %s\n", cases[i].idempotent ? "it may" : "it may not");
		add_out(args, &out, 1, SIMPLER_OUTPUT);
		assert_int_equal(simpler_args_add_scalar(args, (uint64_t)node->pid), SIMPLER_OK);
		/* All nodes are idle, and the first of the best is taken. */
		run = begin_one(fixture, &one);
		assert_false(simpler_completion_wait(run, 500));
		node_kill(node);
		assert_int_equal(end(run), cases[i].status);
		assert_int_equal(out, cases[i].status == SIMPLER_OK);
		if (!cases[i].idempotent)
			assert_error_says("may have run or not");
		node_restart(node);
		wait_until_used_again(fixture, 0);
		simpler_args_destroy(args);
	}
}

/* --- many --- */

#define MANY 400

struct many {
	simpler_orch_fn fn;
	simpler_args *args[MANY];
	int64_t out[MANY][2];
};

static void many_make(struct many *many, struct fixture *fixture, bool idempotent)
{
	many->fn = find(fixture, "square", idempotent);
	for (unsigned i = 0; i < MANY; i++) {
		many->args[i] = simpler_args_create();
		add_out(many->args[i], many->out[i], 2, SIMPLER_OUTPUT);
		assert_int_equal(simpler_args_add_scalar(many->args[i], i), SIMPLER_OK);
		assert_int_equal(simpler_args_add_scalar(many->args[i], 2000), SIMPLER_OK);
	}
}

static void many_check(struct many *many)
{
	for (int64_t i = 0; i < MANY; i++) {
		assert_int_equal(many->out[i][0], i * i);
		simpler_args_destroy(many->args[i]);
	}
	free(many);
}

static simpler_status submit_many(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	struct many *many = *(struct many *const *)state.data;
	simpler_status status = SIMPLER_OK;

	(void)args;
	(void)config;
	for (unsigned i = 0; i < MANY && status == SIMPLER_OK; i++)
		status = simpler_submit_next_level(orch, many->fn, many->args[i], NULL, NULL);
	return status;
}

static simpler_completion *many_begin(struct many *many, struct fixture *fixture)
{
	simpler_completion *run;

	assert_int_equal(simpler_run_async(fixture->worker, submit_many, NULL, NULL,
	                                   (simpler_bytes){ &many, sizeof(many) }, &run),
	                 SIMPLER_OK);
	wait_for(&many->out[MANY / 10][1], 1);
	return run;
}

static void many_tasks_go_on_while_a_node_dies_and_comes_back(void **state)
{
	struct fixture *fixture = *state;
	struct many *many = calloc(1, sizeof(*many));
	simpler_completion *run;

	many_make(many, fixture, true);
	run = many_begin(many, fixture);
	node_kill(&fixture->nodes[1]);
	node_restart(&fixture->nodes[1]);
	assert_ends_well(run);
	many_check(many);
	wait_until_used_again(fixture, 1);
}

static void tasks_go_elsewhere_when_a_node_drains_and_none_fails(void **state)
{
	struct fixture *fixture = *state;
	struct many *many = calloc(1, sizeof(*many));
	simpler_completion *run;

	many_make(many, fixture, false);
	run = many_begin(many, fixture);
	assert_int_equal(daemon_stop(&fixture->nodes[1]), 0);
	assert_ends_well(run);
	many_check(many);
	node_restart(&fixture->nodes[1]);
}

static void a_task_that_only_lost_nodes_could_run_fails_with_the_reason(void **state)
{
	struct fixture *fixture = *state;

	/* Registered with all, before one that is gone and not yet lost would refuse that. */
	(void)find(fixture, "square", false);
	for (unsigned i = 0; i < NODES; i++)
		node_kill(&fixture->nodes[i]);
	while (try_square(fixture, SIMPLER_ANY_WORKER, 2) == SIMPLER_OK)
		;
	while (!strstr(simpler_last_error(), "no other could run the task")) {
		int64_t until = clock_now() + SOON;

		assert_int_equal(try_square(fixture, SIMPLER_ANY_WORKER, 2), SIMPLER_EUNAVAILABLE);
		assert_true(clock_now() < until);
	}
	for (unsigned i = 0; i < NODES; i++)
		node_restart(&fixture->nodes[i]);
	for (unsigned i = 0; i < NODES; i++)
		wait_until_used_again(fixture, i);
}

int main(void)
{
#define WITH_NODES(test)   cmocka_unit_test_setup_teardown(test, start_nodes, stop)
#define BEHIND_PROXY(test) cmocka_unit_test_setup_teardown(test, start_behind_proxy, stop)
	const struct CMUnitTest tests[] = {
		BEHIND_PROXY(R05_a_connection_that_breaks_at_any_moment_has_a_task_run_once),
		BEHIND_PROXY(a_task_survives_connections_that_break_over_and_over),
		WITH_NODES(R05_a_killed_node_fails_its_tasks_and_is_used_again_when_it_is_back),
		WITH_NODES(a_node_that_is_back_shares_its_memory_again),
		WITH_NODES(a_worker_may_be_closed_while_a_node_returns),
		WITH_NODES(a_frozen_node_holds_nobody_up_and_is_used_again_when_it_thaws),
		WITH_NODES(what_was_registered_while_a_node_was_away_is_there_when_it_is_back),
		WITH_NODES(a_lost_task_runs_again_elsewhere_only_if_it_may),
		WITH_NODES(many_tasks_go_on_while_a_node_dies_and_comes_back),
		WITH_NODES(tasks_go_elsewhere_when_a_node_drains_and_none_fails),
		WITH_NODES(a_task_that_only_lost_nodes_could_run_fails_with_the_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
