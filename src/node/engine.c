/*
 * The engine of a node: a level-3 worker behind two rings.
 *
 * Threads:
 *   main            reads the control socket: installs callables; ends the process at its close
 *   orchestrators   take requests off the ring, run orchestration functions, push outcomes; there
 *                   is always one more than are busy, up to a limit, so that a request never waits
 *                   behind a running one
 *   the local group's own two (exec/local.c)
 *
 * Idle orchestrators wait for requests themselves, so the front end's ring wakes the very thread
 * that will run the task. One of them, the last to have had work, waits in front, as the visitor of
 * the ring's bells (ipc/doorbell_pair.h); the others are its residents. So requests that come one
 * by one are all served by one warm thread, which may find it worth its while to spin for the next.
 */
#include "node/engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "exec/local.h"
#include "ipc/install.h"
#include "ipc/loader.h"
#include "ipc/ring.h"
#include "node/engine_link.h"
#include "os/memory.h"
#include "os/process.h"
#include "os/socket.h"
#include "wire/args.h"
#include "worker/core.h"

#define MAX_ORCHESTRATORS 256u
#define MAX_UNLINKS       4
#define PATH_BYTES        4096

struct engine {
	/* Set before there are threads. */
	pid_t pid;
	uint32_t sub_workers;
	uint64_t arena_bytes;
	const char *node_id;
	const char *unlinks[MAX_UNLINKS];
	size_t unlink_count;
	struct memory_segment arena;
	struct worker_core *core;
	struct local_group *group;
	struct loader *loader;

	pthread_mutex_t requests_lock; /* guards `requests` */
	struct ring requests;
	pthread_mutex_t outcomes_lock; /* guards `outcomes` */
	struct ring outcomes;
	_Atomic uint32_t orchestrators, idle;
	_Atomic bool front_taken;
	struct spin_budget front_spin; /* of whoever waits in front */
};

/* --- outcomes --- */

/* The ring of outcomes is full only while the front end lags far behind: wait for it. */
static void push_outcome(struct engine *engine, const struct record_outcome *outcome)
{
	const struct timespec moment = { 0, 50000 };
	uint8_t bytes[RECORD_OUTCOME_MAX];
	size_t size = record_outcome_encode(outcome, bytes, sizeof(bytes));
	simpler_status status;

	for (;;) {
		pthread_mutex_lock(&engine->outcomes_lock);
		status = ring_push(&engine->outcomes, bytes, size);
		pthread_mutex_unlock(&engine->outcomes_lock);
		if (status != SIMPLER_ENOSPACE)
			break;
		(void)nanosleep(&moment, NULL);
	}
	if (status != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_ERROR, "an outcome is lost: %s", simpler_last_error());
}

/* --- orchestrators --- */

static simpler_config config_from_record(const struct record_config *record)
{
	simpler_config config = SIMPLER_CONFIG_INIT;

	config.block_dim = record->block_dim;
	config.aicpu_thread_num = record->aicpu_thread_num;
	config.enable_l2_swimlane = record->enable_l2_swimlane;
	config.enable_dump_tensor = record->enable_dump_tensor;
	config.enable_pmu = record->enable_pmu;
	config.output_prefix = record->output_prefix[0] ? record->output_prefix : NULL;
	return config;
}

static simpler_status run_task(struct engine *engine, const struct record_task *task)
{
	const struct loaded_callable *callable = loader_find(engine->loader, task->callable);
	struct digest digest;
	struct simpler_args args;
	simpler_config config;
	struct module *module;
	simpler_status status;

	if (!callable)
		return error_raise(SIMPLER_ENOTFOUND, "the engine was never told of callable %llu",
		                   (unsigned long long)task->callable);
	if (callable->kind != SIMPLER_KIND_ORCH)
		return error_raise(SIMPLER_EKIND, "'%s' is a %s, and an engine runs %ss",
		                   callable->name, simpler_kind_name(callable->kind),
		                   simpler_kind_name(SIMPLER_KIND_ORCH));
	memcpy(digest.bytes, callable->module_digest, sizeof(digest.bytes));
	status = callables_adopt_module(engine->core->callables, &digest, callable->module_fd,
	                                &module);
	if (status == SIMPLER_OK)
		status = args_from_record(&args, task, &engine->arena, 1);
	if (status != SIMPLER_OK)
		return status;
	config = config_from_record(&task->config);
	status = core_run(engine->core, callable->run.orch, callable->name, module, &args, &config,
	                  callable->state);
	/* It forked and returned twice: this is the copy, and not an engine. */
	if (getpid() != engine->pid)
		_exit(EXIT_SUCCESS);
	return status;
}

static void serve_request(struct engine *engine, const uint8_t *bytes, size_t size)
{
	struct record_outcome outcome;
	struct record_task task;
	simpler_status status = record_task_decode(bytes, size, &task);

	if (status != SIMPLER_OK) {
		/* No token to answer with: the front end wrote nonsense, and would wait for ever.
		 */
		simpler_log(SIMPLER_LOG_ERROR, "a bad request: %s", simpler_last_error());
		_exit(EXIT_FAILURE);
	}
	status = run_task(engine, &task);
	record_outcome_fill(&outcome, task.token, status);
	push_outcome(engine, &outcome);
}

static bool has_request(struct engine *engine)
{
	bool has;

	pthread_mutex_lock(&engine->requests_lock);
	has = ring_has_record(&engine->requests);
	pthread_mutex_unlock(&engine->requests_lock);
	return has;
}

/* A request, or 0 when there is none now. Whoever leaves more behind rings for another. */
static size_t take_request(struct engine *engine, uint8_t *bytes)
{
	size_t size = 0;
	simpler_status status;
	bool more;

	pthread_mutex_lock(&engine->requests_lock);
	status = ring_pop(&engine->requests, bytes, RECORD_TASK_MAX, &size);
	more = ring_has_record(&engine->requests);
	pthread_mutex_unlock(&engine->requests_lock);
	if (more)
		doorbell_ring(&ring_bells(&engine->requests)->resident);
	if (status != SIMPLER_OK) {
		simpler_log(SIMPLER_LOG_ERROR, "the ring of requests: %s", simpler_last_error());
		_exit(EXIT_FAILURE);
	}
	return size;
}

static simpler_status add_orchestrator(struct engine *engine);

static void wait_in_front(struct engine *engine)
{
	struct doorbell_pair *bells = ring_bells(&engine->requests);
	uint32_t ticket;

	doorbell_pair_enter(bells);
	ticket = doorbell_ticket(&bells->visitor);
	if (!has_request(engine))
		(void)doorbell_wait(&bells->visitor, ticket, &engine->front_spin, CLOCK_NEVER);
	doorbell_pair_leave(bells);
	atomic_store(&engine->front_taken, false);
}

/* Returns when there may be a request. */
static void wait_for_request(struct engine *engine, uint32_t ticket, struct spin_budget *spin)
{
	if (!atomic_exchange(&engine->front_taken, true))
		wait_in_front(engine);
	else
		(void)doorbell_wait(&ring_bells(&engine->requests)->resident, ticket, spin,
		                    CLOCK_NEVER);
}

static void *orchestrator_main(void *argument)
{
	struct engine *engine = argument;
	struct spin_budget spin = { 0 };
	uint8_t bytes[RECORD_TASK_MAX];

	for (;;) {
		uint32_t ticket = doorbell_ticket(&ring_bells(&engine->requests)->resident);
		size_t size = take_request(engine, bytes);

		if (size == 0) {
			wait_for_request(engine, ticket, &spin);
			continue;
		}
		/* The last idle one sees to it that the next request finds somebody. */
		if (atomic_fetch_sub(&engine->idle, 1) == 1 &&
		    atomic_load(&engine->orchestrators) < MAX_ORCHESTRATORS)
			(void)add_orchestrator(engine);
		serve_request(engine, bytes, size);
		atomic_fetch_add(&engine->idle, 1);
	}
	return NULL;
}

static simpler_status add_orchestrator(struct engine *engine)
{
	pthread_t thread;
	int failure;

	atomic_fetch_add(&engine->orchestrators, 1);
	atomic_fetch_add(&engine->idle, 1);
	failure = pthread_create(&thread, NULL, orchestrator_main, engine);
	if (failure == 0) {
		(void)pthread_detach(thread);
		return SIMPLER_OK;
	}
	atomic_fetch_sub(&engine->orchestrators, 1);
	atomic_fetch_sub(&engine->idle, 1);
	return error_raise_errno(SIMPLER_ESYSTEM, failure, "starting an orchestrator thread");
}

/* --- control --- */

static simpler_status answer(uint64_t token, simpler_status status)
{
	struct record_outcome outcome;
	uint8_t bytes[RECORD_OUTCOME_MAX];

	record_outcome_fill(&outcome, token, status);
	return socket_send(ENGINE_CONTROL_FD, bytes,
	                   record_outcome_encode(&outcome, bytes, sizeof(bytes)), NULL, 0);
}

/* Until the front end closes control, which it does when it ends, however it ends: true. False when
 * something else is wrong, and the front end still there. */
static bool serve_control(struct engine *engine)
{
	static uint8_t buffer[RECORD_INSTALL_MAX];
	struct record_install install;
	simpler_status status;
	int module_fd;

	for (;;) {
		status = install_receive(ENGINE_CONTROL_FD, buffer, &install, &module_fd);
		if (status == SIMPLER_EUNAVAILABLE)
			return true;
		if (status != SIMPLER_OK) {
			simpler_log(SIMPLER_LOG_ERROR, "control: %s", simpler_last_error());
			return false;
		}
		status = loader_install(engine->loader, &install, module_fd);
		if (answer(install.callable, status) != SIMPLER_OK)
			return true;
	}
}

/* --- birth --- */

static bool parse_arguments(struct engine *engine, int count, char **arguments)
{
	simpler_log_level level = SIMPLER_LOG_WARN;

	for (int i = 0; i + 1 < count; i += 2) {
		const char *name = arguments[i], *value = arguments[i + 1];

		if (strcmp(name, "--sub-workers") == 0)
			engine->sub_workers = (uint32_t)strtoul(value, NULL, 10);
		else if (strcmp(name, "--arena-bytes") == 0)
			engine->arena_bytes = strtoull(value, NULL, 10);
		else if (strcmp(name, "--node-id") == 0)
			engine->node_id = value;
		else if (strcmp(name, "--log-level") == 0 && log_parse_level(value, &level))
			simpler_log_set_level(level);
		else if (strcmp(name, "--unlink") == 0 && engine->unlink_count < MAX_UNLINKS)
			engine->unlinks[engine->unlink_count++] = value;
		else
			return false;
	}
	return count % 2 == 0 && engine->sub_workers > 0 && engine->arena_bytes > 0 &&
	       engine->node_id;
}

static simpler_status attach_memory(struct engine *engine)
{
	size_t ring = ring_bytes(ENGINE_RING_BYTES);
	void *arena, *rings;
	simpler_status status = memory_map(ENGINE_ARENA_FD, engine->arena_bytes, &arena);

	if (status == SIMPLER_OK)
		status = memory_map(ENGINE_RINGS_FD, 2 * ring, &rings);
	if (status != SIMPLER_OK)
		return status;
	engine->arena.id = ENGINE_ARENA_SEGMENT;
	engine->arena.base = arena;
	engine->arena.bytes = engine->arena_bytes;
	ring_attach(&engine->requests, rings, ENGINE_RING_BYTES);
	ring_attach(&engine->outcomes, (uint8_t *)rings + ring, ENGINE_RING_BYTES);
	return SIMPLER_OK;
}

/* What is in progress is lost with the workers; the front end answers for it and starts another
 * engine. */
static void on_helper_lost(void)
{
	simpler_log(SIMPLER_LOG_ERROR, "the spawn helper died, and the sub workers with it");
	_exit(EXIT_FAILURE);
}

static simpler_status add_sub_workers(struct engine *engine)
{
	char host_program[PATH_BYTES];
	const struct local_options options = {
		.host_program = host_program,
		.workers = engine->sub_workers,
		.memory_fd = ENGINE_ARENA_FD,
		.memory_segment = ENGINE_ARENA_SEGMENT,
		.memory_bytes = engine->arena_bytes,
		.lost = on_helper_lost,
	};
	simpler_status status = process_executable(host_program, sizeof(host_program));
	uint32_t index;

	if (status == SIMPLER_OK)
		status = local_group_create(&options, &engine->group);
	for (uint32_t i = 0; i < engine->sub_workers && status == SIMPLER_OK; i++)
		status = core_add_child(engine->core, local_group_child(engine->group, i), &index);
	return status;
}

static simpler_status start(struct engine *engine)
{
	simpler_status status = attach_memory(engine);

	if (status == SIMPLER_OK)
		status = core_create(3, &engine->core);
	if (status == SIMPLER_OK)
		status = add_sub_workers(engine);
	if (status != SIMPLER_OK)
		return status;
	engine->front_spin.most = DOORBELL_REQUEST_SPIN_NS;
	engine->core->progress = local_progress(engine->group);
	engine->core->memory = engine->arena;
	engine->loader = loader_create();
	if (!engine->loader)
		return error_raise(SIMPLER_ENOMEM, "out of memory for an engine");
	(void)pthread_mutex_init(&engine->requests_lock, NULL);
	(void)pthread_mutex_init(&engine->outcomes_lock, NULL);
	return add_orchestrator(engine);
}

int engine_main(int count, char **arguments)
{
	static struct engine engine; /* outlives main's frame: orchestrators never end */
	bool orphaned = false;
	simpler_status status;

	if (!parse_arguments(&engine, count, arguments)) {
		fprintf(stderr, "simpler-host engine: started by simpler-l3d, not by hand\n");
		return 2;
	}
	log_set_role("engine");
	engine.pid = getpid();
	status = start(&engine);
	if (status != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_ERROR, "the engine does not start: %s",
		            simpler_last_error());
	if (answer(0, status) == SIMPLER_OK && status == SIMPLER_OK)
		orphaned = serve_control(&engine);
	if (engine.group)
		local_group_stop(engine.group);
	for (size_t i = 0; orphaned && i < engine.unlink_count; i++)
		(void)unlink(engine.unlinks[i]);
	/* Orchestrators may be in the middle of user code: no clean-up that they could run into. */
	_exit(status == SIMPLER_OK ? EXIT_SUCCESS : EXIT_FAILURE);
}
