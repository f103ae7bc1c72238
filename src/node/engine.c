/*
 * The engine of a node: a level-3 worker behind two rings.
 *
 * Threads:
 *   main            reads the control socket: installs callables, takes memory; ends the process at
 *                   its close
 *   orchestrators   take requests off the ring, run orchestration functions, push outcomes; there
 *                   is always one more than are busy, so that a request never waits behind a
 *                   running one, and a stop is heard; beyond a limit it puts requests by
 *   vitals          publishes how the engine is, four times a second
 *   the local group's own two (exec/local.c)
 *
 * Idle orchestrators wait for requests themselves, so the front end's ring wakes the very thread
 * that will run the task. One of them, the last to have had work, waits in front, as the visitor of
 * the ring's bells (ipc/doorbell_pair.h); the others are its residents. So requests that come one
 * by one are all served by one warm thread, which may find it worth its while to spin for the next.
 *
 * Whoever takes a request and leaves others behind calls a resident for them. Were that one to take
 * the next at once, and call another, all threads there are would soon take turns on a few cores,
 * where tasks are over before a thread is awake. So while they are, the one that was called stands
 * by: it looks now and then whether requests are being taken, and takes one itself when none has
 * been since it looked last, as whoever was at it has found a long one.
 *
 *   helper:  NONE -request left behind-> CALLED -a resident is awake-> STANDING -none left, or one
 *            that nobody takes-> NONE
 */
#include "node/engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/inject.h"
#include "base/log.h"
#include "ipc/install.h"
#include "ipc/ring.h"
#include "node/engine_link.h"
#include "os/descriptor.h"
#include "os/memory.h"
#include "os/socket.h"
#include "worker/orchestrators.h"

#define MAX_ORCHESTRATORS 256u
#define MAX_TASKS         65536u /* of all orchestration functions at once */
#define MAX_UNLINKS       4
/* Between two looks of the one that stands by: so much later does a request begin that is behind a
 * long one. */
#define LOOK_NS 50000

#define DEFAULT_HEAP_BYTES (UINT64_C(1) << 30)
#define DEFAULT_GRACE_MS   1000u

struct engine {
	/* Set before there are threads. */
	struct tree tree; /* one node: what the arguments say */
	uint64_t arena_bytes;
	const char *node_id;
	const char *unlinks[MAX_UNLINKS];
	size_t unlink_count;
	struct memory_segment arena;
	struct hosted *hosted;
	struct orchestrators orchestrators;

	pthread_mutex_t control_lock; /* guards reading control, and: */
	uint8_t record[RECORD_INSTALL_MAX];

	pthread_mutex_t requests_lock; /* guards `requests` */
	struct ring requests;
	pthread_mutex_t outcomes_lock; /* guards `outcomes` */
	struct ring outcomes;
	_Atomic int helper; /* enum helper_state */
	_Atomic bool front_taken;
	struct spin_budget front_spin; /* of whoever waits in front */
	struct bulletin *bulletin;     /* the vitals thread's */
};

enum helper_state { HELPER_NONE, HELPER_CALLED, HELPER_STANDING };

/* --- outcomes --- */

/* The ring of outcomes is full only while the front end lags far behind: wait for it. */
static void push_outcome(void *context, const struct assignment *assignment,
                         const struct record_outcome *outcome)
{
	struct engine *engine = context;
	const struct timespec moment = { 0, 50000 };
	uint8_t bytes[RECORD_OUTCOME_MAX];
	size_t size = record_outcome_encode(outcome, bytes, sizeof(bytes));
	simpler_status status;

	(void)assignment;
	(void)INJECT("engine.answer");
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

/* --- requests --- */

/* A record of the ring that makes no sense has no token to answer with: the front end wrote it, and
 * would wait for ever. */
static void give_up_if_failed(simpler_status status)
{
	if (status == SIMPLER_OK)
		return;
	simpler_log(SIMPLER_LOG_ERROR, "the ring of requests: %s", simpler_last_error());
	_exit(EXIT_FAILURE);
}

/* Under the lock, so that a task is expected before the next record, which may stop it, is taken by
 * another thread. Returns what was taken. */
static enum record_kind take_record(struct engine *engine, struct assignment *out,
                                    uint64_t *stopped)
{
	uint8_t bytes[RECORD_TASK_MAX];
	struct record_forget forget;
	struct record_stop stop;
	enum record_kind kind;
	size_t size;

	give_up_if_failed(ring_pop(&engine->requests, bytes, sizeof(bytes), &size));
	if (size == 0)
		return RECORD_NONE;
	kind = record_kind_of(bytes, size);
	if (kind == RECORD_STOP) {
		give_up_if_failed(record_stop_decode(bytes, size, &stop));
		*stopped = stop.token;
		return kind;
	}
	if (kind == RECORD_FORGET) {
		give_up_if_failed(record_forget_decode(bytes, size, &forget));
		hosted_forget(engine->hosted, forget.callable);
		return kind;
	}
	give_up_if_failed(record_task_decode(bytes, size, &out->record));
	hosted_expect(engine->hosted, &out->task, out->record.token);
	return RECORD_TASK;
}

static bool call_resident(struct engine *engine)
{
	return doorbell_ring(&ring_bells(&engine->requests)->resident);
}

/* If no resident sleeps, one is on its way here and finds what was left. */
static void call_helper(struct engine *engine)
{
	int expected = HELPER_NONE;

	if (!orchestrators_are_quick(&engine->orchestrators))
		(void)call_resident(engine);
	else if (atomic_load_explicit(&engine->helper, memory_order_relaxed) == HELPER_NONE &&
	         atomic_compare_exchange_strong(&engine->helper, &expected, HELPER_CALLED) &&
	         !call_resident(engine))
		atomic_store(&engine->helper, HELPER_NONE);
}

/* Whoever leaves more behind calls another. */
static bool take_request(void *context, struct assignment *out)
{
	struct engine *engine = context;
	enum record_kind kind;
	uint64_t stopped;
	bool more;

	do {
		pthread_mutex_lock(&engine->requests_lock);
		kind = take_record(engine, out, &stopped);
		more = ring_has_record(&engine->requests);
		pthread_mutex_unlock(&engine->requests_lock);
		if (more)
			call_helper(engine);
		if (kind == RECORD_STOP) {
			hosted_stop(engine->hosted, stopped);
			orchestrators_stop(&engine->orchestrators, stopped);
		}
		if (kind == RECORD_TASK)
			(void)INJECT("engine.run");
	} while (kind == RECORD_STOP || kind == RECORD_FORGET);
	return kind == RECORD_TASK;
}

/* `*taken` is another number when one was taken meanwhile. */
static bool has_request(struct engine *engine, uint64_t *taken)
{
	bool has;

	pthread_mutex_lock(&engine->requests_lock);
	has = ring_has_record(&engine->requests);
	*taken = engine->requests.position;
	pthread_mutex_unlock(&engine->requests_lock);
	return has;
}

static void wait_in_front(struct engine *engine)
{
	struct doorbell_pair *bells = ring_bells(&engine->requests);
	uint64_t taken;
	uint32_t ticket;

	doorbell_pair_enter(bells);
	ticket = doorbell_ticket(&bells->visitor);
	if (!has_request(engine, &taken))
		(void)doorbell_wait(&bells->visitor, ticket, &engine->front_spin, CLOCK_NEVER);
	doorbell_pair_leave(bells);
	atomic_store(&engine->front_taken, false);
}

/* Until there is no request, or one that is this thread's to take. */
static void watch(struct engine *engine)
{
	const struct timespec moment = { 0, LOOK_NS };
	uint64_t before, now;

	while (has_request(engine, &before)) {
		(void)nanosleep(&moment, NULL);
		if (has_request(engine, &now) && now == before) {
			orchestrators_note_slow(&engine->orchestrators);
			return;
		}
	}
}

/* False when another one stands by, and all is left to that one. */
static bool stand_by(struct engine *engine)
{
	bool quick = orchestrators_are_quick(&engine->orchestrators);

	if (atomic_exchange(&engine->helper, HELPER_STANDING) == HELPER_STANDING)
		return !quick;
	if (quick)
		watch(engine);
	atomic_store(&engine->helper, HELPER_NONE);
	return true;
}

static void wait_as_resident(struct engine *engine, uint32_t ticket, struct spin_budget *spin)
{
	struct doorbell *bell = &ring_bells(&engine->requests)->resident;

	(void)doorbell_wait(bell, ticket, spin, CLOCK_NEVER);
	while (!stand_by(engine)) {
		ticket = doorbell_ticket(bell);
		(void)doorbell_wait(bell, ticket, spin, CLOCK_NEVER);
	}
}

static uint32_t request_ticket(void *context)
{
	struct engine *engine = context;

	return doorbell_ticket(&ring_bells(&engine->requests)->resident);
}

static void wait_for_request(void *context, uint32_t ticket, struct spin_budget *spin)
{
	struct engine *engine = context;

	if (!atomic_exchange(&engine->front_taken, true))
		wait_in_front(engine);
	else
		wait_as_resident(engine, ticket, spin);
}

static const struct carrier carrier = { request_ticket, take_request, wait_for_request,
	                                push_outcome };

/* --- vitals --- */

static void publish_vitals(struct engine *engine)
{
	uint32_t threads = atomic_load(&engine->orchestrators.threads);
	uint32_t idle = atomic_load(&engine->orchestrators.idle);
	uint8_t bytes[BULLETIN_BYTES];
	struct vitals vitals;

	hosted_vitals(engine->hosted, &vitals);
	vitals.runs = threads > idle ? threads - idle : 0;
	bulletin_publish(engine->bulletin, bytes, vitals_encode(&vitals, bytes, sizeof(bytes)));
}

static void *vitals_main(void *argument)
{
	const struct timespec beat = { 0, ENGINE_BEAT_MS * CLOCK_MS };

	for (;;) {
		publish_vitals(argument);
		(void)nanosleep(&beat, NULL);
	}
	return NULL;
}

static simpler_status start_vitals(struct engine *engine)
{
	pthread_t thread;
	int failure = pthread_create(&thread, NULL, vitals_main, engine);

	if (failure != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, failure, "starting a thread");
	(void)pthread_detach(thread);
	return SIMPLER_OK;
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

/* Under the lock: read one record. SIMPLER_EUNAVAILABLE when the front end has closed control. */
static simpler_status read_record(struct engine *engine)
{
	struct control_message message;
	simpler_status status = control_receive(ENGINE_CONTROL_FD, engine->record, &message);

	if (status != SIMPLER_OK)
		return status;
	if (message.kind == RECORD_SEGMENT) {
		/* Without it, tasks that name it fail, and no others. */
		if (hosted_take_segment(engine->hosted, &message.segment, message.fd) != SIMPLER_OK)
			simpler_log(SIMPLER_LOG_ERROR, "%s", simpler_last_error());
		return SIMPLER_OK;
	}
	if (message.kind == RECORD_FORGET) {
		hosted_forget(engine->hosted, message.forget.callable);
		return SIMPLER_OK;
	}
	(void)INJECT("engine.install");
	status = hosted_install(engine->hosted, &message.install, message.fd);
	return answer(message.install.callable, status) == SIMPLER_OK ? SIMPLER_OK
	                                                              : SIMPLER_EUNAVAILABLE;
}

/* Read what is there now. */
static simpler_status read_control(struct engine *engine)
{
	simpler_status status = SIMPLER_OK;

	pthread_mutex_lock(&engine->control_lock);
	while (status == SIMPLER_OK && descriptor_wait_readable(ENGINE_CONTROL_FD, 0))
		status = read_record(engine);
	pthread_mutex_unlock(&engine->control_lock);
	return status;
}

/* An orchestrator, whose task names memory that was sent before the task. What is wrong with
 * control shows in the main thread, too. */
static void catch_up(void *context)
{
	(void)read_control(context);
}

/* Until the front end closes control, which it does when it ends, however it ends: true. False when
 * something else is wrong, and the front end still there. */
static bool serve_control(struct engine *engine)
{
	simpler_status status;

	do {
		(void)descriptor_wait_readable(ENGINE_CONTROL_FD, CLOCK_NEVER);
		status = read_control(engine);
	} while (status == SIMPLER_OK);
	if (status != SIMPLER_EUNAVAILABLE)
		simpler_log(SIMPLER_LOG_ERROR, "control: %s", simpler_last_error());
	return status == SIMPLER_EUNAVAILABLE;
}

/* --- birth --- */

static bool parse_number(struct engine *engine, const char *name, const char *value)
{
	struct tree_node *node = &engine->tree.nodes[0];
	uint64_t number = strtoull(value, NULL, 10);

	if (strcmp(name, "--sub-workers") == 0)
		node->sub_workers = (uint32_t)number;
	else if (strcmp(name, "--chips") == 0)
		node->chips = (uint32_t)number;
	else if (strcmp(name, "--arena-bytes") == 0)
		engine->arena_bytes = number;
	else if (strcmp(name, "--heap-bytes") == 0)
		node->heap_bytes = number;
	else if (strcmp(name, "--stop-grace") == 0)
		node->grace_ms = number;
	else
		return false;
	return true;
}

static bool parse_text(struct engine *engine, const char *name, const char *value)
{
	struct tree_node *node = &engine->tree.nodes[0];
	simpler_log_level level;

	if (strcmp(name, "--node-id") == 0)
		engine->node_id = value;
	else if (strcmp(name, "--device") == 0 && strlen(value) < sizeof(node->device))
		memcpy(node->device, value, strlen(value) + 1);
	else if (strcmp(name, "--log-level") == 0 && log_parse_level(value, &level))
		simpler_log_set_level(level);
	else if (strcmp(name, "--unlink") == 0 && engine->unlink_count < MAX_UNLINKS)
		engine->unlinks[engine->unlink_count++] = value;
	else
		return false;
	return true;
}

static bool has_children(const struct tree_node *node)
{
	uint64_t count = (uint64_t)node->sub_workers + node->chips;

	return count > 0 && count <= TREE_MAX_CHILDREN;
}

static bool parse_arguments(struct engine *engine, int count, char **arguments)
{
	for (int i = 0; i + 1 < count; i += 2) {
		if (!parse_number(engine, arguments[i], arguments[i + 1]) &&
		    !parse_text(engine, arguments[i], arguments[i + 1]))
			return false;
	}
	return count % 2 == 0 && engine->arena_bytes > 0 && engine->node_id &&
	       has_children(&engine->tree.nodes[0]);
}

static simpler_status attach_memory(struct engine *engine)
{
	size_t ring = ring_bytes(ENGINE_RING_BYTES);
	void *arena, *rings;
	simpler_status status = memory_map(ENGINE_ARENA_FD, engine->arena_bytes, &arena);

	if (status == SIMPLER_OK)
		status = memory_map(ENGINE_RINGS_FD, engine_memory_bytes(), &rings);
	if (status != SIMPLER_OK)
		return status;
	engine->arena.id = ENGINE_ARENA_SEGMENT;
	engine->arena.base = arena;
	engine->arena.bytes = engine->arena_bytes;
	ring_attach(&engine->requests, rings, ENGINE_RING_BYTES);
	ring_attach(&engine->outcomes, (uint8_t *)rings + ring, ENGINE_RING_BYTES);
	engine->bulletin = (struct bulletin *)(void *)((uint8_t *)rings + engine_bulletin_at());
	return SIMPLER_OK;
}

/* What is in progress is lost with the workers; the front end answers for it and starts another
 * engine. */
static void on_helper_lost(void *context)
{
	(void)context;
	simpler_log(SIMPLER_LOG_ERROR, "the spawn helper died, and the sub workers with it");
	_exit(EXIT_FAILURE);
}

static simpler_status start(struct engine *engine)
{
	struct hosted_options options = {
		.tree = &engine->tree,
		.above_fds = { ENGINE_ARENA_FD },
		.above_count = 1,
		.catch_up = catch_up,
		.lost = on_helper_lost,
		.context = engine,
	};
	simpler_status status = attach_memory(engine);

	(void)pthread_mutex_init(&engine->control_lock, NULL);
	options.above[0] = engine->arena;
	if (status == SIMPLER_OK)
		status = hosted_create(&options, &engine->hosted);
	if (status != SIMPLER_OK)
		return status;
	engine->front_spin.most = DOORBELL_REQUEST_SPIN_NS;
	(void)pthread_mutex_init(&engine->requests_lock, NULL);
	(void)pthread_mutex_init(&engine->outcomes_lock, NULL);
	engine->orchestrators.carrier = &carrier;
	engine->orchestrators.context = engine;
	engine->orchestrators.hosted = engine->hosted;
	engine->orchestrators.most = MAX_ORCHESTRATORS;
	status = orchestrators_start(&engine->orchestrators);
	return status == SIMPLER_OK ? start_vitals(engine) : status;
}

int engine_main(int count, char **arguments)
{
	/* Outlives main's frame: orchestrators never end. */
	static struct engine engine = {
		.tree = { .count = 1,
		          .nodes = { { .level = 3,
		                       .device = "sim",
		                       .heap_bytes = DEFAULT_HEAP_BYTES,
		                       .max_tasks = MAX_TASKS,
		                       .grace_ms = DEFAULT_GRACE_MS } } },
	};
	bool orphaned = false;
	simpler_status status;

	if (!parse_arguments(&engine, count, arguments)) {
		fprintf(stderr, "simpler-host engine: started by simpler-l3d, not by hand\n");
		return 2;
	}
	log_set_role("engine");
	(void)INJECT("engine.start");
	status = start(&engine);
	(void)INJECT("engine.started");
	if (status != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_ERROR, "the engine does not start: %s",
		            simpler_last_error());
	if (answer(0, status) == SIMPLER_OK && status == SIMPLER_OK)
		orphaned = serve_control(&engine);
	if (engine.hosted)
		hosted_stop_children(engine.hosted);
	for (size_t i = 0; orphaned && i < engine.unlink_count; i++)
		(void)unlink(engine.unlinks[i]);
	/* Orchestrators may be in the middle of user code: no clean-up that they could run into. */
	_exit(status == SIMPLER_OK ? EXIT_SUCCESS : EXIT_FAILURE);
}
