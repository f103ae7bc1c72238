/*
 * Registering on real daemons: on all or on none, unregistering, modules that are too large for a
 * message, and libraries by name. What a node has is asked of it with PullCallable, by a client of
 * no session; what runs there is read from tensors (R08).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "catalog/digest.h"
#include "catalog/module_read.h"
#include "daemon.h"
#include "os/process.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"
#include "simpler/simpler.h"
#include "test_modules.h"

#define NODES   2
#define LARGE   ((uint64_t)64 << 20)
#define SECONDS 30
/* One byte more than there may be. */
#define LONG_NAME "a234567890123456789012345678901234567890123456789012345678901234"

struct node {
	struct daemon daemon;
	struct rpc_channel *channel;
	bool killed;
};

struct fixture {
	struct node nodes[NODES];
	struct rpc_client *client;
	struct digest module; /* remote_cases.so */
};

/* --- what nodes have --- */

/* Never pushed; a session's client would see the same. */
static enum rpc_code pull(struct rpc_channel *channel, const struct digest *callable)
{
	const struct msg_callable_ref ref = { digest_id(callable), digest_version(callable) };
	struct rpc_buffer buffer;
	uint8_t *answer;
	size_t size;

	assert_int_equal(msg_callable_ref_encode(&ref, &buffer), SIMPLER_OK);
	if (rpc_unary_wait(channel, MSG_PULL_CALLABLE, clock_after_ms(SECONDS * 1000), true,
	                   &buffer, &answer, &size) == SIMPLER_OK) {
		free(answer);
		return RPC_OK;
	}
	return rpc_code_of(simpler_last_status());
}

static bool is_visible(const struct fixture *fixture, int node, const struct digest *callable)
{
	return pull(fixture->nodes[node].channel, callable) == RPC_OK;
}

static struct digest identity(const struct fixture *fixture, const char *name, simpler_bytes state)
{
	const struct origin origin = { .source = ORIGIN_MODULE, .module = fixture->module };
	struct digest digest;

	assert_int_equal(digest_callable(SIMPLER_KIND_ORCH, SIMPLER_CALLABLE_ABI, &origin, name,
	                                 state, &digest),
	                 SIMPLER_OK);
	return digest;
}

static void assert_error_says(const char *text)
{
	if (!strstr(simpler_last_error(), text))
		fail_msg("the error is: %s\nand does not say: %s", simpler_last_error(), text);
}

static void assert_ok(simpler_status status)
{
	if (status != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
}

/* --- the fixture --- */

static void start_node(struct fixture *fixture, int at, const char *const *options)
{
	struct node *node = &fixture->nodes[at];

	daemon_start(&node->daemon, options);
	assert_ok(rpc_channel_open(fixture->client, node->daemon.address, &node->channel));
}

static struct fixture *start(const char *const *first, const char *const *second)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	int fd;

	assert_non_null(fixture);
	assert_ok(rpc_client_create(&fixture->client));
	start_node(fixture, 0, first);
	start_node(fixture, 1, second);
	assert_ok(module_read_image(TEST_MODULES_DIR "/remote_cases.so", &fixture->module, &fd));
	close(fd);
	return fixture;
}

static const char *const plain[] = { "--sub-workers", "1", NULL };
static const char *const with_libraries[] = {
	"--sub-workers", "1", "--code", "named", "--library-dir", TEST_MODULES_DIR, NULL
};

static int set_up(void **state)
{
	*state = start(plain, plain);
	return 0;
}

static int set_up_second_takes_no_modules(void **state)
{
	static const char *const named[] = { "--sub-workers", "1", "--code", "named", NULL };

	*state = start(plain, named);
	return 0;
}

static int set_up_libraries(void **state)
{
	*state = start(with_libraries, with_libraries);
	return 0;
}

static int set_up_libraries_on_the_first(void **state)
{
	*state = start(with_libraries, plain);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < NODES; i++) {
		rpc_channel_close(fixture->nodes[i].channel);
		if (fixture->nodes[i].killed)
			(void)daemon_stop(&fixture->nodes[i].daemon);
		else
			assert_int_equal(daemon_stop(&fixture->nodes[i].daemon), 0);
	}
	rpc_client_destroy(fixture->client);
	free(fixture);
	return 0;
}

static simpler_worker *make_parent(const struct fixture *fixture)
{
	simpler_worker *worker;

	assert_ok(simpler_worker_create(NULL, &worker));
	for (int i = 0; i < NODES; i++)
		assert_ok(
			simpler_worker_add_remote(worker, fixture->nodes[i].daemon.address, NULL));
	return worker;
}

static simpler_module *load(simpler_worker *worker, const char *path)
{
	simpler_module *module;

	assert_ok(simpler_module_load(worker, path, &module));
	return module;
}

static uint64_t module_bytes_to(const simpler_worker *worker, simpler_worker_id node)
{
	simpler_traffic traffic = SIMPLER_TRAFFIC_INIT;

	assert_ok(simpler_worker_traffic(worker, node, &traffic));
	return traffic.module_bytes_sent;
}

/* --- running --- */

struct task {
	simpler_orch_fn fn;
	const simpler_args *args;
	simpler_worker_id node;
};

static simpler_status submit_task(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	const struct task *task = state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

	(void)args;
	(void)config;
	options.worker = task->node;
	return simpler_submit_next_level(orch, task->fn, task->args, &options, NULL);
}

static void add_tensor(simpler_args *args, void *data, simpler_dtype dtype, int64_t count,
                       simpler_tag tag)
{
	simpler_tensor tensor;

	assert_ok(simpler_tensor_init_1d(&tensor, data, dtype, count));
	assert_ok(simpler_args_add_tensor(args, &tensor, tag, SIMPLER_INLINE));
}

/* What `fn` makes of a cell of 7, with 10 as a scalar. */
static int64_t run_on(simpler_worker *worker, simpler_orch_fn fn, simpler_worker_id node)
{
	simpler_args *args = simpler_args_create();
	struct task task = { fn, args, node };
	int64_t cell = 7;

	add_tensor(args, &cell, SIMPLER_INT64, 1, SIMPLER_INOUT);
	assert_ok(simpler_args_add_scalar(args, 10));
	assert_ok(simpler_run(worker, submit_task, NULL, NULL,
	                      (simpler_bytes){ &task, sizeof(task) }));
	simpler_args_destroy(args);
	return cell;
}

/* --- on all or on none --- */

static void R03_before_init_or_after_it_is_on_all_nodes_until_the_last_unregisters(void **state)
{
	struct fixture *fixture = *state;
	const simpler_bytes later = { "later", 5 };
	const struct digest first = identity(fixture, "shift", simpler_no_state());
	const struct digest second = identity(fixture, "shift", later);
	simpler_worker *worker = make_parent(fixture);
	simpler_module *module = load(worker, TEST_MODULES_DIR "/remote_cases.so");
	simpler_orch_fn before, after, again;

	assert_ok(simpler_module_orch_fn(module, "shift", simpler_no_state(), &before));
	assert_false(is_visible(fixture, 0, &first));
	assert_ok(simpler_worker_init(worker));
	assert_ok(simpler_module_orch_fn(module, "shift", later, &after));
	assert_ok(simpler_module_orch_fn(module, "shift", later, &again));
	assert_int_equal(after.id, again.id);
	for (int i = 0; i < NODES; i++) {
		assert_true(is_visible(fixture, i, &first));
		assert_true(is_visible(fixture, i, &second));
		assert_int_equal(run_on(worker, before, (simpler_worker_id)i), 17);
		assert_int_equal(run_on(worker, after, (simpler_worker_id)i), 17);
	}
	assert_ok(simpler_unregister_orch_fn(worker, after, SIMPLER_FOREVER));
	assert_true(is_visible(fixture, 0, &second));
	assert_ok(simpler_unregister_orch_fn(worker, again, SIMPLER_FOREVER));
	for (int i = 0; i < NODES; i++) {
		assert_false(is_visible(fixture, i, &second));
		assert_true(is_visible(fixture, i, &first));
	}
	assert_int_equal(simpler_unregister_orch_fn(worker, again, SIMPLER_FOREVER),
	                 SIMPLER_ESTALE);
	assert_ok(simpler_module_orch_fn(module, "shift", later, &again));
	assert_int_not_equal(after.id, again.id);
	assert_int_equal(run_on(worker, again, 1), 17);
	simpler_worker_close(worker);
	for (int i = 0; i < NODES; i++)
		assert_false(is_visible(fixture, i, &first));
}

static void what_one_node_refuses_is_on_none(void **state)
{
	struct fixture *fixture = *state;
	const struct digest shift = identity(fixture, "shift", simpler_no_state());
	simpler_worker *worker = make_parent(fixture);
	simpler_module *module = load(worker, TEST_MODULES_DIR "/remote_cases.so");
	simpler_orch_fn fn;

	assert_ok(simpler_worker_init(worker));
	for (int round = 0; round < 2; round++) {
		assert_int_equal(simpler_module_orch_fn(module, "shift", simpler_no_state(), &fn),
		                 SIMPLER_EPERM);
		assert_error_says("registering orchestration function 'shift'");
		assert_error_says(fixture->nodes[1].daemon.address);
		assert_false(is_visible(fixture, 0, &shift));
		assert_false(is_visible(fixture, 1, &shift));
	}
	simpler_worker_close(worker);
}

static void what_one_node_refuses_at_init_is_on_none(void **state)
{
	struct fixture *fixture = *state;
	const struct digest shift = identity(fixture, "shift", simpler_no_state());
	simpler_worker *worker = make_parent(fixture);
	simpler_module *module = load(worker, TEST_MODULES_DIR "/remote_cases.so");
	simpler_orch_fn fn;

	assert_ok(simpler_module_orch_fn(module, "shift", simpler_no_state(), &fn));
	assert_int_equal(simpler_worker_init(worker), SIMPLER_EPERM);
	assert_error_says(fixture->nodes[1].daemon.address);
	assert_false(is_visible(fixture, 0, &shift));
	simpler_worker_close(worker);
}

/* --- a node that dies in the middle --- */

/* A node that says yes to everything, and to a prepare when the test lets it. */
struct yes_node {
	struct rpc_server *server;
	sem_t asked; /* to prepare */
	struct rpc_call *prepare;
	atomic_uint commits, aborts, withdrawals;
};

static void say_yes(struct rpc_call *call)
{
	struct rpc_buffer empty;

	assert_ok(msg_empty_encode(&empty));
	rpc_finish(call, RPC_OK, NULL, &empty);
}

static void on_attach(struct rpc_call *call, const uint8_t *data, size_t size)
{
	const struct msg_attached attached = { .node_id = "yes", .boot_id = 1, .ttl_ms = 60000 };
	struct rpc_buffer buffer;

	(void)data;
	(void)size;
	assert_ok(msg_attached_encode(&attached, &buffer));
	rpc_finish(call, RPC_OK, NULL, &buffer);
}

static void on_detach(struct rpc_call *call, const uint8_t *data, size_t size)
{
	(void)data;
	(void)size;
	say_yes(call);
}

static void on_prepare(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct yes_node *node = rpc_call_context(call);

	(void)data;
	(void)size;
	node->prepare = call;
	sem_post(&node->asked);
}

static void on_commit(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct yes_node *node = rpc_call_context(call);

	atomic_fetch_add(&node->commits, 1);
	on_detach(call, data, size);
}

static void on_abort(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct yes_node *node = rpc_call_context(call);

	atomic_fetch_add(&node->aborts, 1);
	on_detach(call, data, size);
}

static void on_withdraw(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct yes_node *node = rpc_call_context(call);

	atomic_fetch_add(&node->withdrawals, 1);
	on_detach(call, data, size);
}

static void yes_node_start(struct yes_node *node)
{
	static const struct rpc_method methods[] = {
		{ .path = MSG_ATTACH, .on_message = on_attach },
		{ .path = MSG_DETACH, .on_message = on_detach },
		{ .path = MSG_PREPARE, .on_message = on_prepare },
		{ .path = MSG_COMMIT, .on_message = on_commit },
		{ .path = MSG_ABORT, .on_message = on_abort },
		{ .path = MSG_UNREGISTER, .on_message = on_withdraw },
	};
	const struct rpc_server_options options = {
		.address = "127.0.0.1:0",
		.methods = methods,
		.method_count = sizeof(methods) / sizeof(methods[0]),
		.context = node,
		.threads = 1,
	};

	memset(node, 0, sizeof(*node));
	sem_init(&node->asked, 0, 0);
	assert_ok(rpc_server_start(&options, &node->server));
}

struct registering {
	pthread_t thread;
	simpler_module *module;
	simpler_status status;
	char text[4096];
};

static void *register_shift(void *argument)
{
	struct registering *registering = argument;
	simpler_orch_fn fn;

	registering->status =
		simpler_module_orch_fn(registering->module, "shift", simpler_no_state(), &fn);
	(void)snprintf(registering->text, sizeof(registering->text), "%s", simpler_last_error());
	return NULL;
}

static void wait_prepared(const struct fixture *fixture, int node, const struct digest *callable)
{
	while (pull(fixture->nodes[node].channel, callable) != RPC_FAILED_PRECONDITION ||
	       !strstr(simpler_last_error(), "is prepared and not committed"))
		;
}

static void kill_node(struct fixture *fixture, int at)
{
	int wait_status;

	fixture->nodes[at].killed = true;
	process_signal(fixture->nodes[at].daemon.pidfd, SIGKILL);
	assert_true(process_wait(fixture->nodes[at].daemon.pidfd, CLOCK_NEVER, &wait_status));
}

static void R03_a_node_killed_between_prepare_and_commit_leaves_nothing_anywhere(void **state)
{
	struct fixture *fixture = *state;
	const struct digest shift = identity(fixture, "shift", simpler_no_state());
	simpler_worker *worker = make_parent(fixture);
	struct registering registering;
	struct yes_node yes;

	yes_node_start(&yes);
	assert_ok(simpler_worker_add_remote(worker, rpc_server_address(yes.server), NULL));
	registering.module = load(worker, TEST_MODULES_DIR "/remote_cases.so");
	assert_ok(simpler_worker_init(worker));
	assert_int_equal(pthread_create(&registering.thread, NULL, register_shift, &registering),
	                 0);
	/* While this one thinks it over, the other two get prepared, and one of them is killed. */
	sem_wait(&yes.asked);
	wait_prepared(fixture, 0, &shift);
	wait_prepared(fixture, 1, &shift);
	kill_node(fixture, 1);
	say_yes(yes.prepare);
	assert_int_equal(pthread_join(registering.thread, NULL), 0);
	assert_int_equal(registering.status, SIMPLER_EUNAVAILABLE);
	assert_non_null(strstr(registering.text, fixture->nodes[1].daemon.address));
	/* None where the killed one was prepared, and its answer had not come. */
	assert_in_range(atomic_load(&yes.commits), 0, 1);
	assert_int_equal(atomic_load(&yes.aborts), 1);
	assert_int_equal(atomic_load(&yes.withdrawals), atomic_load(&yes.commits));
	assert_false(is_visible(fixture, 0, &shift));
	simpler_worker_close(worker);
	rpc_server_stop(yes.server, CLOCK_NEVER);
	sem_destroy(&yes.asked);
}

/* --- unregistering while it runs --- */

static void unregistering_waits_for_a_task_that_runs(void **state)
{
	struct fixture *fixture = *state;
	const struct digest hold = identity(fixture, "hold", simpler_no_state());
	simpler_worker *worker = make_parent(fixture);
	simpler_args *args = simpler_args_create();
	char folder[] = "/tmp/simpler-registration-XXXXXX", path[64];
	struct task task = { .args = args };
	simpler_bytes call = { &task, sizeof(task) };
	simpler_completion *completion;
	int64_t out = 7;
	int fifo;

	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/fifo", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_ok(simpler_worker_init(worker));
	assert_ok(simpler_module_orch_fn(load(worker, TEST_MODULES_DIR "/remote_cases.so"), "hold",
	                                 simpler_no_state(), &task.fn));
	add_tensor(args, path, SIMPLER_UINT8, (int64_t)strlen(path) + 1, SIMPLER_INPUT);
	add_tensor(args, &out, SIMPLER_INT64, 1, SIMPLER_INOUT);
	assert_ok(simpler_run_async(worker, submit_task, NULL, NULL, call, &completion));
	fifo = open(path, O_WRONLY); /* which waits for the task to open it */
	assert_int_equal(simpler_unregister_orch_fn(worker, task.fn, 0), SIMPLER_EDEADLINE);
	assert_true(is_visible(fixture, 0, &hold));
	assert_int_equal(simpler_run(worker, submit_task, NULL, NULL, call), SIMPLER_ESTALE);
	assert_error_says("'hold' was unregistered");
	assert_int_equal(write(fifo, "x", 1), 1);
	simpler_completion_wait(completion, SIMPLER_FOREVER);
	assert_ok(simpler_completion_result(completion));
	assert_int_equal(out, 8);
	for (int i = 0; i < NODES; i++) {
		while (is_visible(fixture, i, &hold))
			;
	}
	simpler_completion_destroy(completion);
	simpler_worker_close(worker);
	simpler_args_destroy(args);
	close(fifo);
	unlink(path);
	rmdir(folder);
}

/* --- modules --- */

static void R03_a_module_over_64_MiB_goes_to_each_node_once_whoever_offers_it(void **state)
{
	struct fixture *fixture = *state;

	for (int parent = 0; parent < 2; parent++) {
		simpler_worker *worker = make_parent(fixture);
		simpler_module *module = load(worker, TEST_MODULES_DIR "/large.so");
		simpler_orch_fn fn;

		assert_ok(simpler_worker_init(worker));
		assert_ok(simpler_module_orch_fn(module, "large_below", simpler_no_state(), &fn));
		for (simpler_worker_id i = 0; i < NODES; i++) {
			if (parent == 0)
				assert_true(module_bytes_to(worker, i) > LARGE);
			else
				assert_int_equal(module_bytes_to(worker, i), 0);
			assert_int_equal(run_on(worker, fn, i), 42);
		}
		simpler_worker_close(worker);
	}
}

static void a_module_goes_once_however_many_of_its_callables_do(void **state)
{
	struct fixture *fixture = *state;
	simpler_worker *worker = make_parent(fixture);
	simpler_module *module = load(worker, TEST_MODULES_DIR "/remote_cases.so");
	simpler_orch_fn fn;
	uint64_t bytes;

	assert_ok(simpler_worker_init(worker));
	assert_int_equal(module_bytes_to(worker, 0), 0);
	assert_ok(simpler_module_orch_fn(module, "shift", simpler_no_state(), &fn));
	bytes = module_bytes_to(worker, 0);
	assert_true(bytes > 0);
	assert_ok(simpler_module_orch_fn(module, "who", simpler_no_state(), &fn));
	assert_int_equal(module_bytes_to(worker, 0), bytes);
	simpler_worker_close(worker);
}

/* --- libraries --- */

static simpler_module *open_library(simpler_worker *worker, const char *name)
{
	simpler_module *library;

	assert_ok(simpler_library_open(worker, name, &library));
	return library;
}

static void a_library_of_the_nodes_runs_there_and_none_of_it_travels(void **state)
{
	struct fixture *fixture = *state;
	simpler_worker *worker = make_parent(fixture);
	simpler_module *library = open_library(worker, "remote_cases");
	simpler_orch_fn before, after;

	assert_ok(simpler_module_orch_fn(library, "shift", simpler_no_state(), &before));
	assert_ok(simpler_worker_init(worker));
	assert_ok(simpler_module_orch_fn(library, "shift", (simpler_bytes){ "x", 1 }, &after));
	for (simpler_worker_id i = 0; i < NODES; i++) {
		assert_int_equal(run_on(worker, before, i), 17);
		assert_int_equal(run_on(worker, after, i), 17);
		assert_int_equal(module_bytes_to(worker, i), 0);
	}
	assert_ok(simpler_unregister_orch_fn(worker, after, SIMPLER_FOREVER));
	simpler_worker_close(worker);
}

static void R22_what_a_library_is_the_node_says_and_names_itself(void **state)
{
	static const struct {
		const char *library, *name;
		simpler_status status;
		const char *says;
	} cases[] = {
		{ "absent", "shift", SIMPLER_ENOTFOUND,
		  "there is no library 'absent' on this node" },
		{ "remote_cases", "shuft", SIMPLER_ENOTFOUND, "it declares: " },
		/* FAILED_PRECONDITION, as it comes back. */
		{ "remote_cases", "shift_sub", SIMPLER_ESTALE, "sub task" },
		{ "no_callables", "shift", SIMPLER_EINVAL, "no_callables" },
	};
	struct fixture *fixture = *state;
	simpler_worker *worker = make_parent(fixture);
	simpler_orch_fn fn;

	assert_ok(simpler_worker_init(worker));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(simpler_module_orch_fn(open_library(worker, cases[i].library),
		                                        cases[i].name, simpler_no_state(), &fn),
		                 cases[i].status);
		assert_error_says(cases[i].says);
		assert_error_says(fixture->nodes[0].daemon.address);
	}
	simpler_worker_close(worker);
}

static void a_library_that_one_node_lacks_is_registered_on_none(void **state)
{
	struct fixture *fixture = *state;
	const struct origin origin = { .source = ORIGIN_LIBRARY, .library = "remote_cases" };
	simpler_worker *worker = make_parent(fixture);
	struct digest shift;
	simpler_orch_fn fn;

	assert_ok(digest_callable(SIMPLER_KIND_ORCH, SIMPLER_CALLABLE_ABI, &origin, "shift",
	                          simpler_no_state(), &shift));
	assert_ok(simpler_worker_init(worker));
	assert_int_equal(simpler_module_orch_fn(open_library(worker, "remote_cases"), "shift",
	                                        simpler_no_state(), &fn),
	                 SIMPLER_ENOTFOUND);
	assert_error_says(fixture->nodes[1].daemon.address);
	assert_false(is_visible(fixture, 0, &shift));
	simpler_worker_close(worker);
}

static void a_name_that_is_a_path_is_no_librarys(void **state)
{
	static const char *const names[] = { "",    ".",    "..",  ".hidden", "/lib/x",
		                             "a/b", "../a", "a b", LONG_NAME };
	simpler_worker *worker;
	simpler_module *library;

	(void)state;
	assert_ok(simpler_worker_create(NULL, &worker));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(simpler_library_open(worker, names[i], &library), SIMPLER_EINVAL);
	simpler_worker_close(worker);
}

static simpler_status submit_sub(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const simpler_sub *sub = state.data;

	(void)config;
	return simpler_submit_sub(orch, *sub, args, NULL, NULL);
}

/* One cell of 7, added to by a sub worker of this machine. */
static simpler_status run_here(const char *library_dir, int64_t *cell)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	const int64_t one = 1;
	simpler_args *args = simpler_args_create();
	simpler_worker *worker;
	simpler_tensor tensor;
	simpler_status status;
	simpler_sub sub;

	options.level = 3;
	options.library_dir = library_dir;
	assert_ok(simpler_worker_create(&options, &worker));
	assert_ok(simpler_worker_add_subs(worker, 1, NULL));
	assert_ok(simpler_worker_init(worker));
	assert_ok(simpler_module_sub(open_library(worker, "worker_cases"), "add_one",
	                             simpler_no_state(), &sub));
	assert_ok(simpler_alloc(worker, SIMPLER_INT64, 1, &one, &tensor));
	*(int64_t *)tensor.data = 7;
	assert_ok(simpler_args_add_tensor(args, &tensor, SIMPLER_INOUT, SIMPLER_SHARED));
	status = simpler_run(worker, submit_sub, args, NULL, (simpler_bytes){ &sub, sizeof(sub) });
	*cell = *(int64_t *)tensor.data;
	if (status == SIMPLER_OK)
		assert_ok(simpler_unregister_sub(worker, sub, SIMPLER_FOREVER));
	simpler_worker_close(worker);
	simpler_args_destroy(args);
	return status;
}

static void a_library_of_this_machine_runs_in_its_children(void **state)
{
	int64_t cell;

	(void)state;
	assert_ok(run_here(TEST_MODULES_DIR, &cell));
	assert_int_equal(cell, 8);
}

static void without_a_directory_a_library_is_for_nodes_only(void **state)
{
	int64_t cell;

	(void)state;
	assert_int_equal(run_here(NULL, &cell), SIMPLER_EINVAL);
	assert_error_says("'add_one' is of library 'worker_cases', which is for nodes: this worker "
	                  "has no library_dir");
	assert_int_equal(cell, 7);
}

static void a_library_that_is_not_in_the_directory_is_named_with_it(void **state)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_worker *worker;
	simpler_module *library;

	(void)state;
	options.library_dir = TEST_MODULES_DIR;
	assert_ok(simpler_worker_create(&options, &worker));
	assert_int_equal(simpler_library_open(worker, "absent", &library), SIMPLER_ENOTFOUND);
	assert_error_says("there is no library 'absent' in library_dir, '" TEST_MODULES_DIR "'");
	assert_int_equal(simpler_library_open(worker, "no_callables", &library), SIMPLER_EINVAL);
	simpler_worker_close(worker);
}

#define CASE(name, set_up) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(R03_before_init_or_after_it_is_on_all_nodes_until_the_last_unregisters,
		     set_up),
		CASE(what_one_node_refuses_is_on_none, set_up_second_takes_no_modules),
		CASE(what_one_node_refuses_at_init_is_on_none, set_up_second_takes_no_modules),
		CASE(R03_a_node_killed_between_prepare_and_commit_leaves_nothing_anywhere, set_up),
		CASE(unregistering_waits_for_a_task_that_runs, set_up),
		CASE(R03_a_module_over_64_MiB_goes_to_each_node_once_whoever_offers_it, set_up),
		CASE(a_module_goes_once_however_many_of_its_callables_do, set_up),
		CASE(a_library_of_the_nodes_runs_there_and_none_of_it_travels, set_up_libraries),
		CASE(R22_what_a_library_is_the_node_says_and_names_itself, set_up_libraries),
		CASE(a_library_that_one_node_lacks_is_registered_on_none,
		     set_up_libraries_on_the_first),
		cmocka_unit_test(a_name_that_is_a_path_is_no_librarys),
		cmocka_unit_test(a_library_of_this_machine_runs_in_its_children),
		cmocka_unit_test(without_a_directory_a_library_is_for_nodes_only),
		cmocka_unit_test(a_library_that_is_not_in_the_directory_is_named_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
