/* One task to a sub worker and its outcome back, without graph and scheduler, beside a cache line
 * that goes the same way. */
#include "bare_bell.h"
#include "base/clock.h"
#include "cases.h"
#include "exec/local.h"
#include "ipc/host_program.h"
#include "stats.h"
#include "worker/callables.h"

/* Each task's end starts the next, so that the thread that collects does it all. */
struct rig {
	struct local_group *group;
	struct exec_child *child;
	struct exec_progress progress;
	struct modules *modules;
	struct callables *callables;
	struct record_config config;
	struct exec_task task;
	double *samples;
	unsigned count, wanted;
	int64_t began;
	_Atomic bool finished;
};

/* Of which there is one. */
static struct rig rig;

static void on_helper_lost(void *context)
{
	(void)context;
	bench_give_up("the spawn helper");
}

static void start_group(void)
{
	const struct local_child_options sub = { .kind = SIMPLER_KIND_SUB };
	char program[4096];
	struct local_options options = { .host_program = program, .lost = on_helper_lost };

	if (host_program_find(program, sizeof(program)) != SIMPLER_OK ||
	    local_group_create(&options, &rig.group) != SIMPLER_OK ||
	    local_group_add(rig.group, &sub, &rig.child) != SIMPLER_OK ||
	    local_group_start(rig.group) != SIMPLER_OK)
		bench_give_up("starting a sub worker");
	rig.progress = local_progress(rig.group);
}

static void next(void)
{
	rig.task.id++;
	rig.began = clock_now();
	rig.child->ops->start(rig.child, &rig.task);
}

static void on_done(struct exec_task *task, const struct error *error)
{
	(void)task;
	if (error)
		bench_give_up("a task");
	rig.samples[rig.count++] = (double)(clock_now() - rig.began);
	if (rig.count < rig.wanted) {
		next();
		return;
	}
	atomic_store(&rig.finished, true);
	rig.progress.wake(rig.progress.context);
}

static void go_often(double *samples, unsigned count)
{
	rig.samples = samples;
	rig.count = 0;
	rig.wanted = count;
	atomic_store(&rig.finished, false);
	next();
	while (!atomic_load(&rig.finished))
		(void)rig.progress.attend(rig.progress.context, false, &rig.finished);
}

static void set_up(const struct bench *bench)
{
	start_group();
	rig.modules = modules_create();
	rig.callables = callables_create();
	if (!rig.modules || !rig.callables)
		bench_give_up("making a table");
	rig.config.block_dim = rig.config.aicpu_thread_num = 1;
	rig.task =
		(struct exec_task){ .callable = bench_callable(bench, rig.modules, rig.callables),
		                    .config = &rig.config,
		                    .deadline = CLOCK_NEVER,
		                    .done = on_done };
}

static void tear_down(void)
{
	rig.child->ops->close(rig.child);
	local_group_destroy(rig.group);
	callables_destroy(rig.callables);
	modules_destroy(rig.modules);
}

void case_mailbox(const char *name, const struct bench *bench)
{
	struct stats_rounds rounds = { .unit = "ns" };
	struct bare_bell bare;

	if (!bare_bell_start(&bare))
		bench_give_up("starting the bare process");
	set_up(bench);
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
	tear_down();
	bare_bell_stop(&bare);
}
