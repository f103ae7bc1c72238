/*
 * A task from a front end to its engine and the outcome back, without gRPC before it, beside a
 * cache line that goes between two bare processes with the same waiting: one after the other, and
 * with many under way.
 *
 * This process is the front end: it has the daemon's own client of an engine, with a thread that
 * supervises it as the daemon's does.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bare_bell.h"
#include "base/clock.h"
#include "callable.h"
#include "catalog/catalog.h"
#include "cpu_time.h"
#include "ipc/host_program.h"
#include "node/engine_client.h"
#include "os/events.h"
#include "os/memory.h"
#include "stats.h"

#define ARENA_BYTES ((uint64_t)1 << 20)
#define UNDER_WAY   1000u
#define FLOOR_MOST  20000u /* round trips beside those */

/* Of which there is one. */
static struct rig {
	char program[4096];
	struct engine_options options;
	struct policy *policy;
	struct catalog *catalog;
	struct engine_client *client;
	pthread_t supervisor;
	_Atomic bool stopping;

	struct record_task task;
	struct doorbell done; /* this process's own */
	struct spin_budget spin;
	_Atomic uint32_t ended; /* of many */
} rig;

static void *supervise(void *unused)
{
	struct pollfd fds[1 + ENGINE_CLIENT_FDS] = { { .fd = rig.options.wakeup,
		                                       .events = POLLIN } };

	(void)unused;
	while (!atomic_load(&rig.stopping)) {
		int64_t left = engine_client_step(rig.client) - clock_now();

		engine_client_fds(rig.client, fds + 1);
		(void)poll(fds, 1 + ENGINE_CLIENT_FDS,
		           left <= 0        ? 0
		           : left > CLOCK_S ? 1000
		                            : (int)(left / CLOCK_MS) + 1);
		events_clear(rig.options.wakeup);
	}
	return NULL;
}

static void start_engine(void)
{
	const struct catalog_options catalog = CATALOG_OPTIONS_INIT;

	rig.options = (struct engine_options){
		.program = rig.program,
		.node_id = "bench",
		.sub_workers = 1,
		.device = "sim",
		.heap_bytes = ARENA_BYTES,
		.stop_grace_ms = 1000,
		.arena_bytes = ARENA_BYTES,
		.log_level = SIMPLER_LOG_ERROR,
		.install_ms = ENGINE_INSTALL_MS,
	};
	if (host_program_find(rig.program, sizeof(rig.program)) != SIMPLER_OK ||
	    events_wakeup(&rig.options.wakeup) != SIMPLER_OK ||
	    memory_create("bench-arena", ARENA_BYTES, &rig.options.arena_fd) != SIMPLER_OK ||
	    policy_create(POLICY_ANY, NULL, &rig.policy) != SIMPLER_OK)
		bench_give_up("preparing an engine");
	rig.catalog = catalog_create(&catalog, rig.policy);
	if (!rig.catalog ||
	    engine_client_create(&rig.options, rig.catalog, &rig.client) != SIMPLER_OK ||
	    engine_client_start(rig.client) != SIMPLER_OK ||
	    pthread_create(&rig.supervisor, NULL, supervise, NULL) != 0)
		bench_give_up("starting an engine");
	while (engine_client_state(rig.client) != ENGINE_READY)
		bench_pause();
}

static void on_done(void *context, bool lost, const struct error *error)
{
	(void)context;
	if (lost || error->status != SIMPLER_OK)
		bench_give_up("a task");
	(void)doorbell_ring(&rig.done);
}

static void wait_from(uint32_t ticket)
{
	while (doorbell_ticket(&rig.done) == ticket)
		(void)doorbell_wait(&rig.done, ticket, &rig.spin, CLOCK_NEVER);
}

static void install(const struct bench *bench)
{
	struct catalog_offering offering = { .commit = true };
	uint32_t ticket = doorbell_ticket(&rig.done);
	struct bench_payload payload;
	struct catalog_entry entry;
	bool fresh;

	bench_payload_make(bench, "noop", &payload);
	offering.callable_id = payload.id;
	offering.payload = payload.payload;
	if (catalog_offer(rig.catalog, &offering, &entry, &fresh) != SIMPLER_OK ||
	    engine_client_install(rig.client, entry.key, on_done, NULL) != SIMPLER_OK)
		bench_give_up("installing a callable");
	wait_from(ticket);
	rig.task.callable = entry.key;
	rig.task.config.block_dim = rig.task.config.aicpu_thread_num = 1;
	bench_payload_release(&payload);
}

static void go_often(double *samples, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint32_t ticket = doorbell_ticket(&rig.done);
		int64_t began = clock_now();

		if (engine_client_submit(rig.client, &rig.task, true, on_done, NULL) != SIMPLER_OK)
			bench_give_up("a submit");
		wait_from(ticket);
		samples[i] = (double)(clock_now() - began);
	}
}

/* --- many under way --- */

static void on_one_done(void *context, bool lost, const struct error *error)
{
	(void)context;
	if (lost || error->status != SIMPLER_OK)
		bench_give_up("a task");
	(void)atomic_fetch_add(&rig.ended, 1);
	doorbell_wake(&rig.done);
}

static bool has_room(void *submitted)
{
	return *(const uint32_t *)submitted - atomic_load(&rig.ended) < UNDER_WAY;
}

static bool have_ended(void *submitted)
{
	return atomic_load(&rig.ended) == *(const uint32_t *)submitted;
}

static void wait_until(bool (*there)(void *context), void *context)
{
	while (!there(context))
		(void)doorbell_wait_for(&rig.done, doorbell_ticket(&rig.done), &rig.spin,
		                        CLOCK_NEVER, there, context);
}

static void go_many(uint32_t count)
{
	uint32_t submitted;

	atomic_store(&rig.ended, 0);
	for (submitted = 0; submitted < count; submitted++) {
		wait_until(has_room, &submitted);
		if (engine_client_submit(rig.client, &rig.task, false, on_one_done, NULL) !=
		    SIMPLER_OK)
			bench_give_up("a submit");
	}
	wait_until(have_ended, &submitted);
}

/* --- the end --- */

static void stop_engine(void)
{
	atomic_store(&rig.stopping, true);
	events_wake(rig.options.wakeup);
	(void)pthread_join(rig.supervisor, NULL);
	engine_client_stop(rig.client);
	engine_client_destroy(rig.client);
	catalog_destroy(rig.catalog);
	policy_destroy(rig.policy);
	(void)close(rig.options.arena_fd);
	(void)close(rig.options.wakeup);
}

void case_hop(const char *name, const struct bench *bench)
{
	struct stats_rounds rounds = { .unit = "ns" };
	struct bare_bell bare;

	if (!bare_bell_start(&bare))
		bench_give_up("starting the bare process");
	start_engine();
	install(bench);
	go_often(bench->samples, bench->round_trips);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		bare_bell_run(&bare, bench->samples, bench->round_trips);
		stats_floor(&rounds, bench->samples, bench->round_trips);
		bench_stir();
		go_often(bench->samples, bench->round_trips);
		stats_value(&rounds, bench->samples, bench->round_trips);
	}
	stats_report(name, &rounds);
	/* First, as the engine's end waits for all children of this process. */
	bare_bell_stop(&bare);
	stop_engine();
}

static pid_t engine_pid(void)
{
	struct engine_report report;

	engine_client_report(rig.client, &report);
	return report.pid;
}

void case_hop_many(const char *name, const struct bench *bench)
{
	struct stats_rounds rounds = { .unit = "ns", .many = true };
	unsigned floor_count = bench->round_trips < FLOOR_MOST ? bench->round_trips : FLOOR_MOST;
	double front = 0, engine = 0;
	struct bare_bell bare;

	if (!bare_bell_start(&bare))
		bench_give_up("starting the bare process");
	start_engine();
	install(bench);
	go_many(bench->round_trips);
	for (unsigned i = 0; i < bench->rounds; i++) {
		int64_t began;

		bench_stir();
		bare_bell_run(&bare, bench->samples, floor_count);
		stats_floor(&rounds, bench->samples, floor_count);
		bench_stir();
		front -= cpu_time_of(0);
		engine -= cpu_time_of(engine_pid());
		began = clock_now();
		go_many(bench->round_trips);
		bench->samples[0] = (double)(clock_now() - began) / bench->round_trips;
		front += cpu_time_of(0);
		engine += cpu_time_of(engine_pid());
		stats_value(&rounds, bench->samples, 1);
	}
	printf("%s cpu_front_end=%.0f cpu_engine=%.0f unit=ns\n", name,
	       front / bench->round_trips / bench->rounds,
	       engine / bench->round_trips / bench->rounds);
	stats_report(name, &rounds);
	bare_bell_stop(&bare);
	stop_engine();
}
