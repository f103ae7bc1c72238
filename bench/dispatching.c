#include "dispatching.h"

#include "base/clock.h"

static simpler_status add_nodes(const struct dispatching_options *options, struct dispatching *work)
{
	simpler_node_options node = SIMPLER_NODE_OPTIONS_INIT;
	simpler_status status = SIMPLER_OK;

	node.lane = options->lane;
	for (unsigned i = 0; i < options->node_count && status == SIMPLER_OK; i++)
		status = simpler_worker_add_remote_with(work->worker, options->nodes[i].address,
		                                        &node, &work->node);
	return status;
}

bool dispatching_try(const struct bench *bench, const struct dispatching_options *options,
                     struct dispatching *out)
{
	simpler_worker_options worker = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_module *module;

	worker.node_tasks = options->outstanding;
	if (options->lane == SIMPLER_LANE_FABRIC)
		worker.fabric = SIMPLER_FABRIC_TCP;
	out->tasks = 1;
	out->local = false;
	if (simpler_worker_create(&worker, &out->worker) != SIMPLER_OK)
		bench_give_up("making a worker");
	if (add_nodes(options, out) == SIMPLER_OK &&
	    simpler_module_load(out->worker, bench->module, &module) == SIMPLER_OK &&
	    simpler_module_orch_fn(module, options->function, simpler_no_state(), &out->fn) ==
	            SIMPLER_OK &&
	    simpler_worker_init(out->worker) == SIMPLER_OK)
		return true;
	simpler_worker_close(out->worker);
	return false;
}

void dispatching_connect(const struct bench *bench, const struct dispatching_options *options,
                         struct dispatching *out)
{
	if (!dispatching_try(bench, options, out))
		bench_give_up("connecting");
}

void dispatching_start_local(const struct bench *bench, unsigned sub_workers,
                             struct dispatching *out)
{
	simpler_worker_options worker = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_module *module;

	worker.level = 3;
	out->tasks = 1;
	out->local = true;
	if (simpler_worker_create(&worker, &out->worker) != SIMPLER_OK ||
	    simpler_worker_add_subs(out->worker, sub_workers, NULL) != SIMPLER_OK ||
	    simpler_module_load(out->worker, bench->module, &module) != SIMPLER_OK ||
	    simpler_module_sub(module, "noop_sub", simpler_no_state(), &out->sub) != SIMPLER_OK ||
	    simpler_worker_init(out->worker) != SIMPLER_OK)
		bench_give_up("starting sub workers");
}

void dispatching_close(struct dispatching *work)
{
	simpler_worker_close(work->worker);
}

static simpler_status submit_tasks(simpler_orch *orch, const simpler_args *args,
                                   const simpler_config *config, simpler_bytes state)
{
	const struct dispatching *work = state.data;
	simpler_status status = SIMPLER_OK;

	(void)args;
	(void)config;
	for (unsigned i = 0; i < work->tasks && status == SIMPLER_OK; i++)
		status = work->local ? simpler_submit_sub(orch, work->sub, NULL, NULL, NULL)
		                     : simpler_submit_next_level(orch, work->fn, NULL, NULL, NULL);
	return status;
}

void dispatching_run(const struct dispatching *work)
{
	simpler_bytes state = { work, sizeof(*work) };

	if (simpler_run(work->worker, submit_tasks, NULL, NULL, state) != SIMPLER_OK)
		bench_give_up("a run");
}

void dispatching_one_by_one(const struct dispatching *work, double *samples, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		int64_t began = clock_now();

		dispatching_run(work);
		samples[i] = (double)(clock_now() - began);
	}
}

double dispatching_batch(const struct dispatching *work)
{
	simpler_traffic traffic = SIMPLER_TRAFFIC_INIT;

	if (simpler_worker_traffic(work->worker, work->node, &traffic) != SIMPLER_OK)
		bench_give_up("reading what was sent");
	return traffic.lane_batches == 0
	               ? 1
	               : (double)traffic.lane_dispatches / (double)traffic.lane_batches;
}

int64_t dispatching_many(struct dispatching *work, unsigned tasks)
{
	int64_t began = clock_now();

	work->tasks = tasks;
	dispatching_run(work);
	return clock_now() - began;
}
