/*
 * One parent and more and more nodes, all on this machine: what a task costs the parent, in time of
 * its processors, which is to stay what it is with one node. How many there are a second is told,
 * too; with more daemons than cores that says little.
 */
#include <stdio.h>

#include "base/clock.h"
#include "cpu_time.h"
#include "dispatching.h"
#include "stats.h"

#define MOST_NODES  8u
#define STEPS       4u /* 1, 2, 4 and 8 nodes */
#define OUTSTANDING 64 /* on each */
/* Times `iterations`. */
#define MANY 20u

struct step {
	unsigned nodes;
	struct dispatching work;
	struct stats_rounds costs, rates;
};

static void connect_step(const struct bench *bench, const struct daemon *nodes, struct step *step)
{
	const struct dispatching_options options = { nodes, step->nodes, "noop", SIMPLER_LANE_AUTO,
		                                     OUTSTANDING };

	dispatching_connect(bench, &options, &step->work);
	(void)dispatching_many(&step->work, bench->iterations);
}

static void measure(struct step *step, unsigned tasks)
{
	double before, cost;
	int64_t took;

	bench_stir();
	before = cpu_time_of(0);
	took = dispatching_many(&step->work, tasks);
	cost = (cpu_time_of(0) - before) / tasks;
	stats_floor(&step->costs, &cost, 1);
	stats_floor_rate(&step->rates, tasks, took);
}

static void report(const char *name, struct step *steps)
{
	double one = stats_floor_median(&steps[0].costs), most = one;

	for (unsigned i = 0; i < STEPS; i++) {
		most = stats_floor_median(&steps[i].costs);
		printf("%s nodes=%u cost=%.0f unit=ns rate=%.0f unit=per_s batch=%.1f\n", name,
		       steps[i].nodes, most, stats_floor_median(&steps[i].rates),
		       dispatching_batch(&steps[i].work));
	}
	printf("%s ratio=%.3f value=%.1f floor=%.1f unit=ns\n", name, most / one, most, one);
}

void case_scale_nodes(const char *name, const struct bench *bench)
{
	struct daemon nodes[MOST_NODES] = { bench->node };
	struct step steps[STEPS];

	for (unsigned i = 1; i < MOST_NODES; i++)
		bench_start_node(&nodes[i]);
	for (unsigned i = 0; i < STEPS; i++) {
		steps[i] = (struct step){ .nodes = 1u << i,
			                  .costs = { .unit = "ns" },
			                  .rates = { .unit = "per_s" } };
		connect_step(bench, nodes, &steps[i]);
	}
	for (unsigned round = 0; round < bench->rounds; round++) {
		for (unsigned i = 0; i < STEPS; i++)
			measure(&steps[i], MANY * bench->iterations);
	}
	report(name, steps);
	for (unsigned i = 0; i < STEPS; i++)
		dispatching_close(&steps[i].work);
	for (unsigned i = 1; i < MOST_NODES; i++)
		(void)daemon_stop(&nodes[i]);
}
