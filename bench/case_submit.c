/*
 * What it costs to put a task into the graph: a submit of two tensors, one read and one written,
 * of a handful of buffers, on a core whose only child keeps what it is given. So each task waits
 * for a few others, is placed if it waits for none, and nothing is executed.
 *
 * The floor allocates and frees memory of about the size that a task takes, as many pieces live
 * at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cases.h"
#include "simpler/simpler.h"
#include "stats.h"
#include "worker/core.h"

#define MANY        10000u
#define MOST        50000u /* for the memory, of which small change is not to matter */
#define BUFFERS     5u
#define FLOOR_BYTES 768

struct keeper {
	struct exec_child child; /* first */
	struct exec_task *kept[MOST];
	size_t count;
};

struct rig {
	struct worker_core *core;
	struct keeper *keeper;
	simpler_sub noop;
	unsigned tasks;
	/* Of the last run: */
	int64_t nanoseconds;
	size_t grown; /* bytes of memory in use more */
};

/* --- a child that executes nothing --- */

static void keep(struct exec_child *child, struct exec_task *task)
{
	struct keeper *keeper = (struct keeper *)child;

	keeper->kept[keeper->count++] = task;
}

/* The end of one starts others. */
static void finish_all(struct keeper *keeper)
{
	for (size_t i = 0; i < keeper->count; i++)
		keeper->kept[i]->done(keeper->kept[i], NULL);
	keeper->count = 0;
}

static void do_nothing(struct exec_child *child)
{
	(void)child;
}

static struct keeper *make_keeper(void)
{
	static const struct exec_child_ops ops = { .start = keep,
		                                   .close = do_nothing,
		                                   .release = do_nothing };
	struct keeper *keeper = malloc(sizeof(*keeper));

	if (!keeper)
		bench_give_up("memory");
	/* All of it is touched, not to count as a task's. */
	memset(keeper, 0xff, sizeof(*keeper));
	keeper->child = (struct exec_child){ .ops = &ops,
		                             .runs = SIMPLER_KIND_SUB,
		                             .local = true,
		                             .capacity = MOST,
		                             .width = MOST,
		                             .name = "keeper" };
	keeper->count = 0;
	return keeper;
}

/* --- the core --- */

static void set_up(const struct bench *bench, struct rig *rig)
{
	const struct core_options options = {
		.level = 3, .max_tasks = 65536, .heap_bytes = 1 << 20, .grace_ms = 1000
	};
	uint32_t index;

	rig->keeper = make_keeper();
	if (core_create(&options, &rig->core) != SIMPLER_OK ||
	    core_add_child(rig->core, &rig->keeper->child, &index) != SIMPLER_OK)
		bench_give_up("making a core");
	rig->noop.id = bench_callable(bench, rig->core->modules, rig->core->callables)->key;
}

static void tear_down(struct rig *rig)
{
	core_close_children(rig->core);
	core_destroy(rig->core);
	free(rig->keeper);
}

/* --- a run --- */

static size_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	char line[128] = "", *pages = line;

	if (!file || !fgets(line, sizeof(line), file))
		bench_give_up("reading /proc/self/statm");
	(void)fclose(file);
	(void)strtoul(line, &pages, 10); /* of its addresses */
	return strtoul(pages, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* As a program does it: the arguments are filled anew for each task. */
static simpler_status submit_one(simpler_orch *orch, const struct rig *rig, simpler_args *args,
                                 const simpler_tensor *buffers, unsigned i)
{
	simpler_args_reset(args);
	(void)simpler_args_add_tensor(args, &buffers[i % BUFFERS], SIMPLER_INPUT, SIMPLER_SHARED);
	(void)simpler_args_add_tensor(args, &buffers[(i + 1) % BUFFERS], SIMPLER_INOUT,
	                              SIMPLER_SHARED);
	return simpler_submit_sub(orch, rig->noop, args, NULL, NULL);
}

static simpler_status submit_all(simpler_orch *orch, const simpler_args *none,
                                 const simpler_config *config, simpler_bytes state)
{
	const int64_t cells = 128;
	struct rig *rig = *(struct rig *const *)state.data;
	simpler_args *args = simpler_args_create();
	simpler_tensor buffers[BUFFERS];
	size_t before;
	simpler_status status = args ? SIMPLER_OK : simpler_last_status();
	int64_t began;

	(void)none;
	(void)config;
	for (unsigned i = 0; i < BUFFERS && status == SIMPLER_OK; i++)
		status = simpler_orch_alloc(orch, SIMPLER_INT64, 1, &cells, &buffers[i]);
	before = resident_bytes();
	began = clock_now();
	for (unsigned i = 0; i < rig->tasks && status == SIMPLER_OK; i++)
		status = submit_one(orch, rig, args, buffers, i);
	rig->nanoseconds = clock_now() - began;
	rig->grown = resident_bytes() - before;
	simpler_args_destroy(args);
	finish_all(rig->keeper);
	return status;
}

static void run(struct rig *rig, unsigned tasks)
{
	const struct run_call call = { .fn = submit_all,
		                       .name = "submit_all",
		                       .state = { &rig, sizeof(rig) },
		                       .timeout_ms = SIMPLER_FOREVER };

	rig->tasks = tasks;
	if (core_run(rig->core, &call) != SIMPLER_OK)
		bench_give_up("a run");
}

static void run_often(struct rig *rig, double *samples, unsigned runs)
{
	for (unsigned i = 0; i < runs; i++) {
		run(rig, MANY);
		samples[i] = (double)rig->nanoseconds / MANY;
	}
}

/* --- the floor --- */

static void allocate_often(double *samples, unsigned runs)
{
	static void *volatile pieces[MANY];

	for (unsigned i = 0; i < runs; i++) {
		int64_t began = clock_now();

		for (unsigned k = 0; k < MANY; k++)
			pieces[k] = malloc(FLOOR_BYTES);
		for (unsigned k = 0; k < MANY; k++)
			free(pieces[k]);
		samples[i] = (double)(clock_now() - began) / MANY;
	}
}

void case_submit(const char *name, const struct bench *bench)
{
	struct stats_rounds rounds = { .unit = "ns" };
	unsigned runs = bench->iterations < 500 ? 5 : bench->iterations / 100;
	struct rig rig;

	set_up(bench, &rig);
	/* First of all, so that no memory is left of other tasks. */
	run(&rig, MOST);
	printf("%s memory_per_task=%zu\n", name, rig.grown / MOST);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		allocate_often(bench->samples, runs);
		stats_floor(&rounds, bench->samples, runs);
		bench_stir();
		run_often(&rig, bench->samples, runs);
		stats_value(&rounds, bench->samples, runs);
	}
	stats_report(name, &rounds);
	tear_down(&rig);
}
