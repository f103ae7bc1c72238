/* Sub tasks that do nothing, through the public interface: a worker of level 3 with two sub
 * workers, beside a cache line handed to another process and back. */
#include <stdio.h>

#include "bare_bell.h"
#include "base/clock.h"
#include "cases.h"
#include "simpler/simpler.h"
#include "stats.h"

#define SUB_WORKERS 2
#define MANY        10000u
#define FAN         1000u

struct work {
	struct bare_bell bare;
	simpler_worker *worker;
	simpler_sub noop;
	simpler_tensor tensor; /* small, in the shared heap */
	/* The ways to use it. */
	simpler_args *reads, *writes;
};

typedef simpler_status submitter(simpler_orch *orch, const struct work *work);

static simpler_args *use(const simpler_tensor *tensor, simpler_tag tag)
{
	simpler_args *args = simpler_args_create();

	if (!args || simpler_args_add_tensor(args, tensor, tag, SIMPLER_SHARED) != SIMPLER_OK)
		bench_give_up("arguments");
	return args;
}

static void start_worker(const struct bench *bench, struct work *work)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_module *module;

	options.level = 3;
	if (simpler_worker_create(&options, &work->worker) != SIMPLER_OK ||
	    simpler_worker_add_subs(work->worker, SUB_WORKERS, NULL) != SIMPLER_OK ||
	    simpler_module_load(work->worker, bench->module, &module) != SIMPLER_OK ||
	    simpler_module_sub(module, "noop_sub", simpler_no_state(), &work->noop) != SIMPLER_OK ||
	    simpler_worker_init(work->worker) != SIMPLER_OK)
		bench_give_up("starting a worker");
}

static void set_up(const struct bench *bench, struct work *work)
{
	const int64_t cells = 8;

	if (!bare_bell_start(&work->bare))
		bench_give_up("starting the bare process");
	start_worker(bench, work);
	if (simpler_alloc(work->worker, SIMPLER_INT64, 1, &cells, &work->tensor) != SIMPLER_OK)
		bench_give_up("allocating a tensor");
	work->reads = use(&work->tensor, SIMPLER_INPUT);
	work->writes = use(&work->tensor, SIMPLER_INOUT);
}

static void tear_down(struct work *work)
{
	simpler_args_destroy(work->reads);
	simpler_args_destroy(work->writes);
	simpler_worker_close(work->worker);
	bare_bell_stop(&work->bare);
}

/* --- what is submitted --- */

static simpler_status submit(simpler_orch *orch, const struct work *work, const simpler_args *args,
                             unsigned count)
{
	simpler_status status = SIMPLER_OK;

	for (unsigned i = 0; i < count && status == SIMPLER_OK; i++)
		status = simpler_submit_sub(orch, work->noop, args, NULL, NULL);
	return status;
}

static simpler_status one(simpler_orch *orch, const struct work *work)
{
	return submit(orch, work, NULL, 1);
}

static simpler_status independent(simpler_orch *orch, const struct work *work)
{
	return submit(orch, work, NULL, MANY);
}

static simpler_status chain(simpler_orch *orch, const struct work *work)
{
	return submit(orch, work, work->writes, MANY);
}

static simpler_status fan(simpler_orch *orch, const struct work *work)
{
	simpler_status status = submit(orch, work, work->writes, 1);

	if (status == SIMPLER_OK)
		status = submit(orch, work, work->reads, FAN);
	return status == SIMPLER_OK ? submit(orch, work, work->writes, 1) : status;
}

/* --- measuring it --- */

struct call {
	const struct work *work;
	submitter *submit_all;
};

static simpler_status orchestrate(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	const struct call *call = state.data;

	(void)args;
	(void)config;
	return call->submit_all(orch, call->work);
}

/* Runs of `tasks` each; a sample is a run's time for each of its tasks. */
static void run_often(const struct work *work, submitter *submit_all, unsigned tasks,
                      double *samples, unsigned runs)
{
	const struct call call = { work, submit_all };
	simpler_bytes state = { &call, sizeof(call) };

	for (unsigned i = 0; i < runs; i++) {
		int64_t began = clock_now();

		if (simpler_run(work->worker, orchestrate, NULL, NULL, state) != SIMPLER_OK)
			bench_give_up("a run");
		samples[i] = (double)(clock_now() - began) / tasks;
	}
}

static void measure(const char *name, const struct bench *bench, submitter *submit_all,
                    unsigned tasks, unsigned runs)
{
	struct stats_rounds rounds = { .unit = "ns", .many = tasks > 1, .tail = tasks == 1 };
	struct work work;

	set_up(bench, &work);
	run_often(&work, submit_all, tasks, bench->samples, runs);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		bare_bell_run(&work.bare, bench->samples, bench->round_trips);
		stats_floor(&rounds, bench->samples, bench->round_trips);
		bench_stir();
		run_often(&work, submit_all, tasks, bench->samples, runs);
		stats_value(&rounds, bench->samples, runs);
	}
	stats_report(name, &rounds);
	tear_down(&work);
}

/* Runs of many tasks are long: a hundredth of what is asked for, but at least a few. */
static unsigned few(const struct bench *bench)
{
	return bench->iterations < 500 ? 5 : bench->iterations / 100;
}

void case_tasks_independent(const char *name, const struct bench *bench)
{
	measure(name, bench, independent, MANY, few(bench));
}

void case_tasks_chain(const char *name, const struct bench *bench)
{
	measure(name, bench, chain, MANY, few(bench));
}

void case_fan(const char *name, const struct bench *bench)
{
	measure(name, bench, fan, FAN + 2, few(bench));
}

void case_task_latency(const char *name, const struct bench *bench)
{
	measure(name, bench, one, 1, bench->round_trips);
}
