/*
 * A task without tensors all the way through the graph: submitted, placed, started on a child that
 * has room for a thousand, and ended, which makes room for another. The child is no process but a
 * thread, which ends what it was given as soon as it sees it: what is left is what graph and
 * scheduler take of a dispatch. The floor allocates and frees memory of about the size of a task.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cases.h"
#include "cpu_time.h"
#include "ipc/doorbell.h"
#include "simpler/simpler.h"
#include "stats.h"
#include "worker/core.h"

#define UNDER_WAY   1000u
#define FLOOR_BYTES 768

struct answerer {
	struct exec_child child; /* first */
	pthread_t thread;
	pthread_mutex_t lock; /* guards `given` and `count` */
	struct exec_task *given[UNDER_WAY];
	uint32_t count;
	struct doorbell bell;
	_Atomic bool stopping;
};

struct rig {
	struct worker_core *core;
	struct answerer *answerer;
	simpler_sub noop;
	unsigned tasks; /* a run */
};

/* --- the child --- */

static void start(struct exec_child *child, struct exec_task *task)
{
	struct answerer *answerer = (struct answerer *)child;

	pthread_mutex_lock(&answerer->lock);
	answerer->given[answerer->count++] = task;
	pthread_mutex_unlock(&answerer->lock);
	(void)doorbell_ring(&answerer->bell);
}

static uint32_t take_all(struct answerer *answerer, struct exec_task **out)
{
	uint32_t count;

	pthread_mutex_lock(&answerer->lock);
	count = answerer->count;
	for (uint32_t i = 0; i < count; i++)
		out[i] = answerer->given[i];
	answerer->count = 0;
	pthread_mutex_unlock(&answerer->lock);
	return count;
}

static void *answer(void *context)
{
	static struct exec_task *taken[UNDER_WAY];
	struct answerer *answerer = context;
	struct spin_budget spin = { 0 };

	while (!atomic_load(&answerer->stopping)) {
		uint32_t ticket = doorbell_ticket(&answerer->bell);
		uint32_t count = take_all(answerer, taken);

		for (uint32_t i = 0; i < count; i++)
			taken[i]->done(taken[i], NULL);
		if (count == 0)
			(void)doorbell_wait(&answerer->bell, ticket, &spin, CLOCK_NEVER);
	}
	return NULL;
}

static void do_nothing(struct exec_child *child)
{
	(void)child;
}

static struct answerer *make_answerer(void)
{
	static const struct exec_child_ops ops = { .start = start,
		                                   .close = do_nothing,
		                                   .release = do_nothing };
	struct answerer *answerer = calloc(1, sizeof(*answerer));

	if (!answerer)
		bench_give_up("memory");
	answerer->child = (struct exec_child){ .ops = &ops,
		                               .runs = SIMPLER_KIND_SUB,
		                               .local = true,
		                               .capacity = UNDER_WAY,
		                               .width = UNDER_WAY,
		                               .name = "answerer" };
	(void)pthread_mutex_init(&answerer->lock, NULL);
	if (pthread_create(&answerer->thread, NULL, answer, answerer) != 0)
		bench_give_up("starting a thread");
	return answerer;
}

/* --- the core --- */

static void set_up(const struct bench *bench, struct rig *rig)
{
	const struct core_options options = {
		.level = 3, .max_tasks = 65536, .heap_bytes = 1 << 20, .grace_ms = 1000
	};
	uint32_t index;

	rig->answerer = make_answerer();
	if (core_create(&options, &rig->core) != SIMPLER_OK ||
	    core_add_child(rig->core, &rig->answerer->child, &index) != SIMPLER_OK)
		bench_give_up("making a core");
	rig->noop.id = bench_callable(bench, rig->core->modules, rig->core->callables)->key;
}

static void tear_down(struct rig *rig)
{
	core_close_children(rig->core);
	atomic_store(&rig->answerer->stopping, true);
	(void)doorbell_ring(&rig->answerer->bell);
	(void)pthread_join(rig->answerer->thread, NULL);
	core_destroy(rig->core);
	free(rig->answerer);
}

static simpler_status submit_all(simpler_orch *orch, const simpler_args *none,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct rig *rig = *(struct rig *const *)state.data;
	simpler_status status = SIMPLER_OK;

	(void)none;
	(void)config;
	for (unsigned i = 0; i < rig->tasks && status == SIMPLER_OK; i++)
		status = simpler_submit_sub(orch, rig->noop, NULL, NULL, NULL);
	return status;
}

/* Nanoseconds a task. */
static double run(struct rig *rig)
{
	const struct run_call call = { .fn = submit_all,
		                       .name = "submit_all",
		                       .state = { &rig, sizeof(rig) },
		                       .timeout_ms = SIMPLER_FOREVER };
	int64_t began = clock_now();

	if (core_run(rig->core, &call) != SIMPLER_OK)
		bench_give_up("a run");
	return (double)(clock_now() - began) / rig->tasks;
}

/* --- the floor --- */

static double allocate(unsigned count)
{
	static void *volatile pieces[UNDER_WAY];
	int64_t began = clock_now();

	for (unsigned i = 0; i < count; i++) {
		free(pieces[i % UNDER_WAY]);
		pieces[i % UNDER_WAY] = malloc(FLOOR_BYTES);
	}
	return (double)(clock_now() - began) / count;
}

void case_turn(const char *name, const struct bench *bench)
{
	struct stats_rounds rounds = { .unit = "ns", .many = true };
	struct rig rig = { .tasks = bench->round_trips };
	double spent = 0;

	set_up(bench, &rig);
	(void)run(&rig);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		bench->samples[0] = allocate(rig.tasks);
		stats_floor(&rounds, bench->samples, 1);
		bench_stir();
		spent -= cpu_time_of(0);
		bench->samples[0] = run(&rig);
		spent += cpu_time_of(0);
		stats_value(&rounds, bench->samples, 1);
	}
	printf("%s cpu=%.0f unit=ns\n", name, spent / rig.tasks / bench->rounds);
	stats_report(name, &rounds);
	tear_down(&rig);
}
