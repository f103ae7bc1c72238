/* A small dispatch while a node takes in a large tensor, beside the same alone. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cases.h"
#include "simpler/simpler.h"
#include "stats.h"

#define PUSHED ((size_t)64 << 20)

struct work {
	simpler_worker *worker;
	simpler_orch_fn fn;
	simpler_tensor_handle handle;
	simpler_tensor local;
	atomic_bool over;
};

static void connect_node(const struct bench *bench, struct work *work)
{
	int64_t count = (int64_t)PUSHED;
	simpler_module *module;
	void *bytes = malloc(PUSHED);

	if (!bytes ||
	    simpler_tensor_init_1d(&work->local, bytes, SIMPLER_UINT8, count) != SIMPLER_OK)
		bench_give_up("memory");
	memset(bytes, 1, PUSHED);
	if (simpler_worker_create(NULL, &work->worker) != SIMPLER_OK ||
	    simpler_worker_add_remote(work->worker, bench->node.address, NULL) != SIMPLER_OK ||
	    simpler_module_load(work->worker, bench->module, &module) != SIMPLER_OK ||
	    simpler_module_orch_fn(module, "noop", simpler_no_state(), &work->fn) != SIMPLER_OK ||
	    simpler_worker_init(work->worker) != SIMPLER_OK ||
	    simpler_tensor_alloc(work->worker, 0, SIMPLER_UINT8, 1, &count, NULL, &work->handle) !=
	            SIMPLER_OK)
		bench_give_up("connecting");
}

static simpler_status submit_one(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct work *work = *(struct work *const *)state.data;

	(void)args;
	(void)config;
	return simpler_submit_next_level(orch, work->fn, NULL, NULL, NULL);
}

static void dispatch(struct work *work, double *samples, unsigned count)
{
	simpler_bytes state = { &work, sizeof(work) };

	for (unsigned i = 0; i < count; i++) {
		int64_t began = clock_now();

		if (simpler_run(work->worker, submit_one, NULL, NULL, state) != SIMPLER_OK)
			bench_give_up("a run");
		samples[i] = (double)(clock_now() - began);
	}
}

/* One push after the other. */
static void *push(void *context)
{
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	struct work *work = context;

	options.transport = SIMPLER_TRANSPORT_STREAM;
	while (!atomic_load(&work->over)) {
		if (simpler_tensor_write(work->worker, work->handle, NULL, &work->local,
		                         &options) != SIMPLER_OK)
			bench_give_up("a push");
	}
	return NULL;
}

static void dispatch_beside_pushes(struct work *work, double *samples, unsigned count)
{
	pthread_t thread;

	atomic_store(&work->over, false);
	if (pthread_create(&thread, NULL, push, work) != 0)
		bench_give_up("a thread");
	dispatch(work, samples, count);
	atomic_store(&work->over, true);
	(void)pthread_join(thread, NULL);
}

void case_interference(const char *name, const struct bench *bench)
{
	struct stats_rounds rounds = { .unit = "us", .of_tails = true };
	struct work work = { .worker = NULL };

	connect_node(bench, &work);
	dispatch_beside_pushes(&work, bench->samples, bench->iterations / 10 + 1);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		dispatch(&work, bench->samples, bench->iterations);
		stats_floor(&rounds, bench->samples, bench->iterations);
		bench_stir();
		dispatch_beside_pushes(&work, bench->samples, bench->iterations);
		stats_value(&rounds, bench->samples, bench->iterations);
	}
	stats_report(name, &rounds);
	simpler_worker_close(work.worker);
	free(work.local.data);
}
