#include "dispatching.h"

#include "base/clock.h"

void dispatching_connect(const struct bench *bench, const struct dispatching_options *options,
                         struct dispatching *out)
{
	simpler_worker_options worker = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_node_options node = SIMPLER_NODE_OPTIONS_INIT;
	simpler_module *module;

	worker.node_tasks = options->outstanding;
	node.lane = options->lane;
	out->tasks = 1;
	if (simpler_worker_create(&worker, &out->worker) != SIMPLER_OK)
		bench_give_up("making a worker");
	for (unsigned i = 0; i < options->node_count; i++) {
		if (simpler_worker_add_remote_with(out->worker, options->nodes[i].address, &node,
		                                   &out->node) != SIMPLER_OK)
			bench_give_up("adding a node");
	}
	if (simpler_module_load(out->worker, bench->module, &module) != SIMPLER_OK ||
	    simpler_module_orch_fn(module, options->function, simpler_no_state(), &out->fn) !=
	            SIMPLER_OK ||
	    simpler_worker_init(out->worker) != SIMPLER_OK)
		bench_give_up("connecting");
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
		status = simpler_submit_next_level(orch, work->fn, NULL, NULL, NULL);
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
