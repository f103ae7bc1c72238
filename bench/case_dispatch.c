/* Dispatching a task to a node and hearing of its end, beside bare calls of about the same size. */
#include "base/clock.h"
#include "dispatching.h"
#include "stats.h"

/* About what a dispatch of a task without arguments has. */
#define ECHO_BYTES  100
#define OUTSTANDING 64

static void connect_node(const struct bench *bench, const char *function, struct dispatching *work)
{
	const struct dispatching_options options = { &bench->node, 1, function, SIMPLER_LANE_AUTO,
		                                     OUTSTANDING };

	dispatching_connect(bench, &options, work);
}

static void measure_latency(const char *name, const struct bench *bench, const char *function)
{
	struct stats_rounds rounds = { .unit = "us" };
	struct dispatching work;

	connect_node(bench, function, &work);
	dispatching_one_by_one(&work, bench->samples, bench->iterations / 10 + 1);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		if (!bare_grpc_run(bench->bare, ECHO_BYTES, 1, bench->iterations, bench->samples))
			bench_give_up("the bare echo");
		stats_floor(&rounds, bench->samples, bench->iterations);
		bench_stir();
		dispatching_one_by_one(&work, bench->samples, bench->iterations);
		stats_value(&rounds, bench->samples, bench->iterations);
	}
	stats_report(name, &rounds);
	dispatching_close(&work);
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
	unsigned tasks = bench->iterations * 4;
	struct dispatching work;

	connect_node(bench, "noop", &work);
	(void)dispatching_many(&work, bench->iterations / 10 + 1);
	for (unsigned i = 0; i < bench->rounds; i++) {
		int64_t began;

		bench_stir();
		began = clock_now();
		for (unsigned k = 0; k < 4; k++) {
			if (!bare_grpc_run(bench->bare, ECHO_BYTES, OUTSTANDING, bench->iterations,
			                   bench->samples))
				bench_give_up("the bare echo");
		}
		stats_floor_rate(&rounds, tasks, clock_now() - began);
		bench_stir();
		stats_value_rate(&rounds, tasks, dispatching_many(&work, tasks));
	}
	stats_report(name, &rounds);
	dispatching_close(&work);
}
