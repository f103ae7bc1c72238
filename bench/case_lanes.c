/*
 * Tasks that do nothing to a node and back, by each lane, beside bare records of their size that go
 * to another process and back by what is below the lane.
 *
 * The floor of many under way has a message for each record; what it does with as many records in
 * one message as a lane may well find ready is printed beside it.
 */
#include <stdio.h>
#include <string.h>

#include "bare_echo.h"
#include "cpu_time.h"
#include "dispatching.h"
#include "stats.h"

/* About what a dispatch of a task without arguments has. */
#define RECORD_BYTES 100
/* Times `iterations`, for a rate. */
#define MANY 20u

static const struct lane {
	simpler_lane lane;
	const struct bare_kind *const *floor;
} lanes[] = {
	{ SIMPLER_LANE_UNARY, &echo_grpc },
	{ SIMPLER_LANE_STREAM, &echo_grpc },
	{ SIMPLER_LANE_SHM, &echo_tcp },
	{ SIMPLER_LANE_FABRIC, &echo_fabric },
};

static const struct lane *lane_of(const char *case_name)
{
	const char *name = case_name + strlen("lane_");

	for (size_t i = 0; i < sizeof(lanes) / sizeof(lanes[0]); i++) {
		const char *each = simpler_lane_name(lanes[i].lane);

		if (strncmp(name, each, strlen(each)) == 0)
			return &lanes[i];
	}
	return NULL;
}

static void start_floor(const struct bare_kind *kind, struct bare_echo *echo)
{
	if (!kind || !bare_echo_start(kind, echo))
		bench_give_up("starting the floor");
}

static void run_floor(struct bare_echo *echo, const struct bare_load *load, double *samples)
{
	if (!bare_echo_run(echo, load, samples))
		bench_give_up("the floor");
}

static void connect_node(const struct bench *bench, const struct lane *lane, unsigned outstanding,
                         struct dispatching *work)
{
	const struct dispatching_options options = { &bench->node, 1, "noop", lane->lane,
		                                     outstanding };

	dispatching_connect(bench, &options, work);
}

/* --- one outstanding --- */

void case_lane(const char *name, const struct bench *bench)
{
	const struct bare_load load = { RECORD_BYTES, 1, 1, bench->iterations };
	struct stats_rounds rounds = { .unit = "us", .tail = true };
	const struct lane *lane = lane_of(name);
	struct dispatching work;
	struct bare_echo echo;

	start_floor(*lane->floor, &echo);
	connect_node(bench, lane, 64, &work);
	dispatching_one_by_one(&work, bench->samples, bench->iterations / 10 + 1);
	run_floor(&echo, &load, bench->samples);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		run_floor(&echo, &load, bench->samples);
		stats_floor(&rounds, bench->samples, bench->iterations);
		bench_stir();
		dispatching_one_by_one(&work, bench->samples, bench->iterations);
		stats_value(&rounds, bench->samples, bench->iterations);
	}
	stats_report(name, &rounds);
	dispatching_close(&work);
	bare_echo_stop(&echo);
}

/* --- many --- */

/* Of the parent, the daemon and the engine. */
struct costs {
	pid_t pids[3];
	double spent[3];
};

static void add_costs(struct costs *costs, double sign)
{
	for (size_t i = 0; i < 3; i++)
		costs->spent[i] += sign * cpu_time_of(costs->pids[i]);
}

static void print_costs(const char *name, const struct costs *costs, double tasks)
{
	printf("%s cpu_parent=%.0f cpu_daemon=%.0f cpu_engine=%.0f unit=ns\n", name,
	       costs->spent[0] / tasks, costs->spent[1] / tasks, costs->spent[2] / tasks);
}

static void measure_many(const char *name, const struct bench *bench, unsigned outstanding,
                         unsigned batch)
{
	unsigned tasks = MANY * bench->iterations / batch * batch;
	const struct bare_load singly = { RECORD_BYTES, outstanding, 1, tasks };
	const struct bare_load batched = { RECORD_BYTES, outstanding, batch, tasks };
	struct stats_rounds rounds = { .unit = "per_s" }, of_batches = { .unit = "per_s" };
	const struct lane *lane = lane_of(name);
	struct costs costs = { .pids = { 0, bench->node.pid, cpu_time_child(bench->node.pid) } };
	struct dispatching work;
	struct bare_echo echo;
	double nanoseconds;

	start_floor(*lane->floor, &echo);
	connect_node(bench, lane, outstanding, &work);
	(void)dispatching_many(&work, outstanding);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		run_floor(&echo, &singly, &nanoseconds);
		stats_floor_rate(&rounds, tasks, (int64_t)nanoseconds);
		run_floor(&echo, &batched, &nanoseconds);
		stats_floor_rate(&of_batches, tasks, (int64_t)nanoseconds);
		bench_stir();
		add_costs(&costs, -1);
		stats_value_rate(&rounds, tasks, dispatching_many(&work, tasks));
		add_costs(&costs, 1);
	}
	print_costs(name, &costs, (double)tasks * bench->rounds);
	printf("%s_floor batch=%u value=%.0f unit=per_s\n", name, batch,
	       stats_floor_median(&of_batches));
	printf("%s batch=%.1f\n", name, dispatching_batch(&work));
	stats_report(name, &rounds);
	dispatching_close(&work);
	bare_echo_stop(&echo);
}

void case_lane_64(const char *name, const struct bench *bench)
{
	measure_many(name, bench, 64, 16);
}

void case_lane_1000(const char *name, const struct bench *bench)
{
	measure_many(name, bench, 1000, 100);
}

/* --- the floors alone --- */

static double floor_latency(struct bare_echo *echo, const struct bench *bench)
{
	const struct bare_load load = { RECORD_BYTES, 1, 1, bench->iterations };
	struct stats_rounds rounds = { .unit = "us" };

	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		run_floor(echo, &load, bench->samples);
		stats_floor(&rounds, bench->samples, bench->iterations);
	}
	return stats_floor_median(&rounds);
}

static double floor_rate(struct bare_echo *echo, const struct bench *bench, unsigned outstanding,
                         unsigned batch)
{
	unsigned count = MANY * bench->iterations / batch * batch;
	const struct bare_load load = { RECORD_BYTES, outstanding, batch, count };
	struct stats_rounds rounds = { .unit = "per_s" };
	double nanoseconds;

	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		run_floor(echo, &load, &nanoseconds);
		stats_floor_rate(&rounds, count, (int64_t)nanoseconds);
	}
	return stats_floor_median(&rounds);
}

static void measure_floor(const struct bare_kind *kind, const struct bench *bench)
{
	struct bare_echo echo;

	start_floor(kind, &echo);
	printf("floor %-12s one=%.1f us, 64: %.0f/s, 1000: %.0f/s, 64 by 16: %.0f/s, "
	       "1000 by 100: %.0f/s\n",
	       kind->name, floor_latency(&echo, bench), floor_rate(&echo, bench, 64, 1),
	       floor_rate(&echo, bench, 1000, 1), floor_rate(&echo, bench, 64, 16),
	       floor_rate(&echo, bench, 1000, 100));
	bare_echo_stop(&echo);
}

void case_floors(const char *name, const struct bench *bench)
{
	(void)name;
	for (size_t i = 1; i < sizeof(lanes) / sizeof(lanes[0]); i++) {
		if (*lanes[i].floor)
			measure_floor(*lanes[i].floor, bench);
		else
			printf("floor %-12s not here\n", simpler_lane_name(lanes[i].lane));
	}
}
