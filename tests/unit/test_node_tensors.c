/*
 * A worker and the tensor services of two nodes in one process, so that whatever watches threads
 * sees both sides: the calls of a program, the transports, and the pool under them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "node/node.h"
#include "node/shm_server.h"
#include "os/events.h"
#include "os/memory.h"
#include "random.h"
#include "simpler/simpler.h"
#include "temporary_directory.h"

#define NODES      2
#define POOL_BYTES ((uint64_t)16 << 20)
#define THREADS    4
#define ROUNDS     60
#define MOST       40000 /* elements */

/* The nodes' sessions have a clock that a test may put on. */
static _Atomic int64_t ahead;

static int64_t session_clock(void)
{
	return clock_now() + atomic_load(&ahead);
}

/* A front end without an engine: nothing runs tasks. */
struct served {
	struct node node;
	struct session_owner owner;
	struct shm_server *shm;
	struct rpc_server *server;
	int memfd;
	void *base;
	struct rpc_service services[4];
	pthread_t pump;
	atomic_bool ending;
	char id[16], address[512];
};

struct rig {
	struct temporary_directory directory;
	struct served nodes[NODES];
	simpler_worker *worker;
};

static void renewed(void *context, uint64_t session)
{
	pool_renew_session(((struct node *)context)->pool, session);
}

static void ended(void *context, uint64_t session, bool detached)
{
	(void)detached;
	pool_end_session(((struct node *)context)->pool, session);
}

static simpler_status give_segment(void *context, uint64_t session, struct segment_view *out)
{
	struct node *node = context;
	simpler_status status = pool_open_segment(node->pool, session, out);

	if (status == SIMPLER_OK)
		pool_begin_segment(node->pool, session);
	return status;
}

static void make_pool(struct served *served)
{
	struct pool_options options = {
		.capacity = POOL_BYTES, .max_handles = 1000, .first_generation = 1, .now = clock_now
	};

	assert_int_equal(memory_create("test-arena", POOL_BYTES, &served->memfd), SIMPLER_OK);
	assert_int_equal(memory_map(served->memfd, POOL_BYTES, &served->base), SIMPLER_OK);
	options.memfd = served->memfd;
	options.base = served->base;
	assert_int_equal(pool_create(&options, &served->node.pool), SIMPLER_OK);
}

/* What the daemon's thread does for who asks for memory. */
static void *pump_main(void *context)
{
	struct served *served = context;

	while (!atomic_load(&served->ending)) {
		struct pollfd fds[SHM_SERVER_FDS + 1] = { { served->node.wakeup, POLLIN, 0 } };

		shm_server_fds(served->shm, &fds[1]);
		if (poll(fds, SHM_SERVER_FDS + 1, -1) > 0 && fds[0].revents)
			events_clear(served->node.wakeup);
		(void)shm_server_step(served->shm);
	}
	return NULL;
}

static void make_node(struct served *served, unsigned number)
{
	struct sessions_options sessions = { .owners = &served->owner,
		                             .owner_count = 1,
		                             .most = 10,
		                             .most_tasks = 10,
		                             .now = session_clock };
	static const struct options options = { .max_session_tasks = 1, .import_timeout = 60 };
	struct node *node = &served->node;

	(void)snprintf(served->id, sizeof(served->id), "node-%u", number);
	served->owner = (struct session_owner){ renewed, ended, node, NULL };
	make_pool(served);
	node->id = served->id;
	node->options = &options;
	node->boot_id = number + 1;
	atomic_init(&node->looks_at, CLOCK_NEVER);
	assert_int_equal(events_wakeup(&node->wakeup), SIMPLER_OK);
	assert_int_equal(sessions_create(&sessions, &node->sessions), SIMPLER_OK);
	node->peers = peers_create(address_classify(served->address));
	node->imports = node_imports_create();
	assert_non_null(node->peers);
	assert_non_null(node->imports);
	/* The second node is reached by streams alone. */
	node->shm_address = "";
	if (number > 0)
		return;
	assert_int_equal(shm_server_create(&(const struct shm_server_owner){ .open = give_segment,
	                                                                     .context = node },
	                                   &served->shm),
	                 SIMPLER_OK);
	node->shm_address = shm_server_address(served->shm);
	assert_int_equal(pthread_create(&served->pump, NULL, pump_main, served), 0);
}

static void serve(struct served *served)
{
	static const struct rpc_method session_methods[] = {
		{ .path = MSG_ATTACH, .on_message = node_attach },
		{ .path = MSG_DETACH, .on_message = node_detach },
	};
	const struct rpc_service services[4] = {
		{ session_methods, 2, &served->node },
		{ node_pool_methods, NODE_POOL_METHODS, &served->node },
		{ node_stream_methods, NODE_STREAM_METHODS, &served->node },
		{ node_import_methods, NODE_IMPORT_METHODS, &served->node },
	};
	const struct rpc_server_options options = { .address = served->address,
		                                    .services = served->services,
		                                    .service_count = 4,
		                                    .threads = 2 };

	memcpy(served->services, services, sizeof(services));
	assert_int_equal(rpc_server_start(&options, &served->server), SIMPLER_OK);
}

static void end_node(struct served *served)
{
	rpc_server_stop(served->server, 0);
	if (served->shm) {
		atomic_store(&served->ending, true);
		events_wake(served->node.wakeup);
		assert_int_equal(pthread_join(served->pump, NULL), 0);
	}
	shm_server_destroy(served->shm);
	peers_destroy(served->node.peers);
	node_imports_destroy(served->node.imports);
	sessions_destroy(served->node.sessions);
	pool_destroy(served->node.pool);
	memory_unmap(served->base, POOL_BYTES);
	(void)close(served->memfd);
	(void)close(served->node.wakeup);
}

static int set_up(void **state)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	assert_true(temporary_directory_make(&rig->directory));
	options.heartbeat_interval_ms = 20;
	assert_int_equal(simpler_worker_create(&options, &rig->worker), SIMPLER_OK);
	for (unsigned i = 0; i < NODES; i++) {
		struct served *served = &rig->nodes[i];

		(void)snprintf(served->address, sizeof(served->address), "unix:%s",
		               temporary_path(&rig->directory, i == 0 ? "first" : "second"));
		make_node(served, i);
		serve(served);
		assert_int_equal(simpler_worker_add_remote(rig->worker, served->address, NULL),
		                 SIMPLER_OK);
	}
	assert_int_equal(simpler_worker_init(rig->worker), SIMPLER_OK);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	simpler_worker_close(rig->worker);
	for (unsigned i = 0; i < NODES; i++)
		end_node(&rig->nodes[i]);
	temporary_directory_remove(&rig->directory);
	free(rig);
	return 0;
}

/* --- one tensor's life, as each of several threads leads many --- */

struct program {
	struct rig *rig;
	simpler_tensor_handle shared;
	uint64_t random;
	int64_t *out, *in;
	pthread_t thread;
};

static uint64_t draw(struct program *program, uint64_t limit)
{
	return random_from(&program->random) % limit;
}

static void must(simpler_status status)
{
	if (status != SIMPLER_OK) {
		fprintf(stderr, "%s\n", simpler_last_error());
		abort(); /* cmocka's failures are for one thread */
	}
}

static void end_well(simpler_completion *completion)
{
	must(simpler_completion_wait(completion, 60000) ? SIMPLER_OK : SIMPLER_EDEADLINE);
	must(simpler_completion_result(completion));
	must(simpler_completion_destroy(completion));
}

static void check(struct program *program, simpler_tensor_handle handle, int64_t count)
{
	simpler_tensor local;

	must(simpler_tensor_init_1d(&local, program->in, SIMPLER_INT64, count));
	memset(program->in, 0, (size_t)count * sizeof(*program->in));
	must(simpler_tensor_read(program->rig->worker, handle, NULL, &local, NULL));
	if (memcmp(program->in, program->out, (size_t)count * sizeof(*program->in)) != 0)
		abort();
}

static simpler_tensor_handle make(struct program *program, simpler_worker_id node, int64_t count)
{
	simpler_worker *worker = program->rig->worker;
	simpler_tensor_handle handle;
	simpler_completion *made;

	if (draw(program, 2) == 0) {
		must(simpler_tensor_alloc(worker, node, SIMPLER_INT64, 1, &count, NULL, &handle));
	} else {
		must(simpler_tensor_alloc_async(worker, node, SIMPLER_INT64, 1, &count, NULL,
		                                &handle, &made));
		end_well(made);
	}
	return handle;
}

static void fill(struct program *program, simpler_tensor_handle handle, int64_t count)
{
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_completion *written;
	simpler_tensor local;

	if (draw(program, 2) == 0)
		options.transport = SIMPLER_TRANSPORT_STREAM;
	for (int64_t i = 0; i < count; i++)
		program->out[i] = (int64_t)draw(program, 1000);
	must(simpler_tensor_init_1d(&local, program->out, SIMPLER_INT64, count));
	must(simpler_tensor_write_async(program->rig->worker, handle, NULL, &local, &options,
	                                &written));
	end_well(written);
}

static void let_go(struct program *program, simpler_tensor_handle handle)
{
	simpler_completion *freed;

	must(simpler_tensor_free_async(program->rig->worker, handle, NULL, &freed));
	end_well(freed);
}

static void lead_a_life(struct program *program)
{
	simpler_worker *worker = program->rig->worker;
	int64_t count = (int64_t)draw(program, MOST) + 1;
	simpler_worker_id node = (simpler_worker_id)draw(program, NODES);
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_tensor_handle handle = make(program, node, count), copy, same;
	simpler_tensor_grant grant;

	fill(program, handle, count);
	check(program, handle, count);
	must(simpler_tensor_refresh(worker, handle, NULL));
	options.ttl_ms = 60000;
	must(simpler_tensor_export(worker, handle, false, &options, &grant));
	must(simpler_tensor_import(worker, node, &grant, NULL, &same));
	must(simpler_tensor_bring(worker, handle, 1 - node, NULL, &copy));
	must(simpler_tensor_release_grant(worker, handle, &grant, NULL));
	let_go(program, handle);
	check(program, same, count);
	check(program, copy, count);
	let_go(program, same);
	must(simpler_tensor_free(worker, copy, NULL));
}

/* All threads write the one that they share, each its own element, and give up some calls. */
static void use_shared(struct program *program, unsigned index)
{
	const simpler_span span = { .offset = index * sizeof(int64_t),
		                    .run_bytes = sizeof(int64_t),
		                    .runs = 1 };
	simpler_worker *worker = program->rig->worker;
	simpler_completion *moved;
	simpler_tensor local;

	must(simpler_tensor_init_1d(&local, program->out, SIMPLER_INT64, 1));
	must(simpler_tensor_write(worker, program->shared, &span, &local, NULL));
	must(simpler_tensor_init_1d(&local, program->in, SIMPLER_INT64, 1));
	must(simpler_tensor_read_async(worker, program->shared, &span, &local, NULL, &moved));
	simpler_completion_cancel(moved);
	must(simpler_completion_destroy(moved));
	must(simpler_tensor_read(worker, program->shared, &span, &local, NULL));
	if (program->in[0] != program->out[0])
		abort();
}

static struct program programs[THREADS];

static void *program_main(void *argument)
{
	struct program *program = argument;

	for (unsigned i = 0; i < ROUNDS; i++) {
		lead_a_life(program);
		use_shared(program, (unsigned)(program - programs));
	}
	return NULL;
}

static void many_threads_make_use_and_free_tensors_of_two_nodes(void **state)
{
	struct rig *rig = *state;
	int64_t count = THREADS;
	simpler_tensor_handle shared;

	must(simpler_tensor_alloc(rig->worker, 1, SIMPLER_INT64, 1, &count, NULL, &shared));
	for (unsigned i = 0; i < THREADS; i++) {
		programs[i] = (struct program){ .rig = rig,
			                        .shared = shared,
			                        .random = i + 1,
			                        .out = calloc(MOST, sizeof(int64_t)),
			                        .in = calloc(MOST, sizeof(int64_t)) };
		assert_true(programs[i].out && programs[i].in);
		assert_int_equal(
			pthread_create(&programs[i].thread, NULL, program_main, &programs[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(programs[i].thread, NULL), 0);
		free(programs[i].out);
		free(programs[i].in);
	}
	must(simpler_tensor_free(rig->worker, shared, NULL));
}

/* --- a node that forgets --- */

static simpler_tensor_handle store(struct rig *rig, simpler_worker_id node, int64_t value)
{
	const int64_t count = 1;
	simpler_tensor_handle handle;
	simpler_tensor local;

	must(simpler_tensor_alloc(rig->worker, node, SIMPLER_INT64, 1, &count, NULL, &handle));
	must(simpler_tensor_init_1d(&local, &value, SIMPLER_INT64, 1));
	must(simpler_tensor_write(rig->worker, handle, NULL, &local, NULL));
	return handle;
}

static void expect_stale(simpler_status status)
{
	assert_int_equal(status, SIMPLER_ESTALE);
	assert_non_null(strstr(simpler_last_error(), "the tensor is gone"));
}

/* Until the next heartbeat has said so, this process cannot know. */
static void wait_until_known(struct rig *rig, simpler_tensor_handle handle)
{
	void *address;

	while (simpler_tensor_map(rig->worker, handle, &address) == SIMPLER_OK)
		(void)sched_yield();
}

static void what_a_node_forgot_is_stale_also_where_its_memory_is_mapped(void **state)
{
	struct rig *rig = *state;
	simpler_tensor_handle handle = store(rig, 0, 7), again;
	int64_t value = 0;
	simpler_tensor local;
	void *address;

	must(simpler_tensor_map(rig->worker, handle, &address));
	assert_int_equal(*(int64_t *)address, 7);
	atomic_fetch_add(&ahead, 3600 * CLOCK_S);
	(void)sessions_expire(rig->nodes[0].node.sessions);
	wait_until_known(rig, handle);
	expect_stale(simpler_tensor_map(rig->worker, handle, &address));
	must(simpler_tensor_init_1d(&local, &value, SIMPLER_INT64, 1));
	expect_stale(simpler_tensor_read(rig->worker, handle, NULL, &local, NULL));
	expect_stale(simpler_tensor_write(rig->worker, handle, NULL, &local, NULL));
	expect_stale(simpler_tensor_refresh(rig->worker, handle, NULL));
	assert_int_equal(value, 0);
	must(simpler_tensor_free(rig->worker, handle, NULL));
	/* What is stored from now on is there, wherever its memory is. */
	again = store(rig, 0, 8);
	must(simpler_tensor_read(rig->worker, again, NULL, &local, NULL));
	assert_int_equal(value, 8);
	must(simpler_tensor_free(rig->worker, again, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_threads_make_use_and_free_tensors_of_two_nodes),
		cmocka_unit_test(what_a_node_forgot_is_stale_also_where_its_memory_is_mapped),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
