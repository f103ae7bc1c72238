/* Dispatching a task to a node and hearing of its end, beside bare calls of about the same size. */
#include <stdio.h>

#include "base/clock.h"
#include "cases.h"
#include "simpler/simpler.h"
#include "stats.h"

/* About what a dispatch of a task without arguments has. */
#define ECHO_BYTES  100
#define OUTSTANDING 64

struct work {
	simpler_worker *worker;
	simpler_orch_fn fn;
	unsigned tasks; /* a run */
};

static void connect_node(const struct bench *bench, const char *function, struct work *work)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_module *module;

	options.node_tasks = OUTSTANDING;
	if (simpler_worker_create(&options, &work->worker) != SIMPLER_OK ||
	    simpler_worker_add_remote(work->worker, bench->node.address, NULL) != SIMPLER_OK ||
	    simpler_module_load(work->worker, bench->module, &module) != SIMPLER_OK ||
	    simpler_module_orch_fn(module, function, simpler_no_state(), &work->fn) != SIMPLER_OK ||
	    simpler_worker_init(work->worker) != SIMPLER_OK)
		bench_give_up("connecting");
}

static simpler_status submit_tasks(simpler_orch *orch, const simpler_args *args,
                                   const simpler_config *config, simpler_bytes state)
{
	const struct work *work = state.data;
	simpler_status status = SIMPLER_OK;

	(void)args;
	(void)config;
	for (unsigned i = 0; i < work->tasks && status == SIMPLER_OK; i++)
		status = simpler_submit_next_level(orch, work->fn, NULL, NULL, NULL);
	return status;
}

static void run_tasks(const struct work *work)
{
	simpler_bytes state = { work, sizeof(*work) };

	if (simpler_run(work->worker, submit_tasks, NULL, NULL, state) != SIMPLER_OK)
		bench_give_up("a run");
}

static void run_one_by_one(const struct work *work, double *samples, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		int64_t began = clock_now();

		run_tasks(work);
		samples[i] = (double)(clock_now() - began);
	}
}

static void measure_latency(const char *name, const struct bench *bench, const char *function)
{
	struct stats_rounds rounds = { .unit = "us" };
	struct work work = { .tasks = 1 };

	connect_node(bench, function, &work);
	run_one_by_one(&work, bench->samples, bench->iterations / 10 + 1);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		if (!bare_grpc_run(bench->bare, ECHO_BYTES, 1, bench->iterations, bench->samples))
			bench_give_up("the bare echo");
		stats_floor(&rounds, bench->samples, bench->iterations);
		bench_stir();
		run_one_by_one(&work, bench->samples, bench->iterations);
		stats_value(&rounds, bench->samples, bench->iterations);
	}
	stats_report(name, &rounds);
	simpler_worker_close(work.worker);
}

void case_dispatch(const char *name, const struct bench *bench)
{
	measure_latency(name, bench, "noop");
}

void case_dispatch_sub(const char *name, const struct bench *bench)
{
	measure_latency(name, bench, "one_sub");
}

void case_dispatch_many(const char *name, const struct bench *bench)
{
	struct stats_rounds rounds = { .unit = "per_s" };
	struct work work = { .tasks = bench->iterations / 10 + 1 };

	connect_node(bench, "noop", &work);
	run_tasks(&work);
	work.tasks = bench->iterations * 4;
	for (unsigned i = 0; i < bench->rounds; i++) {
		int64_t began;

		bench_stir();
		began = clock_now();
		for (unsigned k = 0; k < 4; k++) {
			if (!bare_grpc_run(bench->bare, ECHO_BYTES, OUTSTANDING, bench->iterations,
			                   bench->samples))
				bench_give_up("the bare echo");
		}
		stats_floor_rate(&rounds, work.tasks, clock_now() - began);
		bench_stir();
		began = clock_now();
		run_tasks(&work);
		stats_value_rate(&rounds, work.tasks, clock_now() - began);
	}
	stats_report(name, &rounds);
	simpler_worker_close(work.worker);
}
