/*
 * A tensor that stays on a node: it goes there once, twenty tasks of two runs change it there, and
 * only what the program wants to know comes back.
 *
 *     resident_heat ADDRESS [MODULE]
 */
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>

#include <simpler/simpler.h>

#define POINTS 100001
#define MIDDLE (POINTS / 2)
#define HEAT   1000.0
#define TASKS  10u
#define STEPS  20u /* of each task */

struct work {
	simpler_worker *worker;
	simpler_orch_fn spread, total;
	simpler_tensor_handle rod;
	double sum;
};

/* A view of all of it; a part would have an offset and fewer elements. */
static simpler_status add_rod(const struct work *work, simpler_args *args, simpler_tag tag)
{
	const int64_t points = POINTS;

	return simpler_args_add_handle(args, work->rod, 0, SIMPLER_FLOAT64, 1, &points, tag);
}

static simpler_status submit_spread(simpler_orch *orch, const struct work *work)
{
	simpler_args *args = simpler_args_create();
	simpler_status status = add_rod(work, args, SIMPLER_INOUT);

	if (status == SIMPLER_OK)
		status = simpler_args_add_scalar(args, STEPS);
	if (status == SIMPLER_OK)
		status = simpler_submit_next_level(orch, work->spread, args, NULL, NULL);
	simpler_args_destroy(args);
	return status;
}

static simpler_status submit_total(simpler_orch *orch, struct work *work)
{
	simpler_args *args = simpler_args_create();
	simpler_status status = add_rod(work, args, SIMPLER_INPUT);
	simpler_tensor sum;

	(void)simpler_tensor_init_1d(&sum, &work->sum, SIMPLER_FLOAT64, 1);
	if (status == SIMPLER_OK)
		status = simpler_args_add_tensor(args, &sum, SIMPLER_OUTPUT, SIMPLER_INLINE);
	if (status == SIMPLER_OK)
		status = simpler_submit_next_level(orch, work->total, args, NULL, NULL);
	simpler_args_destroy(args);
	return status;
}

/* Each task waits for the one before, as both use the rod's bytes. */
static simpler_status simulate(simpler_orch *orch, const simpler_args *args,
                               const simpler_config *config, simpler_bytes state)
{
	struct work *work = *(struct work *const *)state.data;
	simpler_status status = SIMPLER_OK;

	(void)args;
	(void)config;
	for (unsigned i = 0; i < TASKS && status == SIMPLER_OK; i++)
		status = submit_spread(orch, work);
	return status == SIMPLER_OK ? submit_total(orch, work) : status;
}

static simpler_status connect_node(struct work *work, const char *address, const char *path)
{
	simpler_module *module;

	if (simpler_worker_create(NULL, &work->worker) != SIMPLER_OK ||
	    simpler_worker_add_remote(work->worker, address, NULL) != SIMPLER_OK ||
	    simpler_module_load(work->worker, path, &module) != SIMPLER_OK ||
	    simpler_module_orch_fn(module, "spread", simpler_no_state(), &work->spread) !=
	            SIMPLER_OK ||
	    simpler_module_orch_fn(module, "total", simpler_no_state(), &work->total) != SIMPLER_OK)
		return simpler_last_status();
	return simpler_worker_init(work->worker);
}

/* The node's storage reads as zero, so one element of it is all that has to be written. */
static simpler_status make_rod(struct work *work)
{
	const simpler_span middle = { .offset = MIDDLE * sizeof(double),
		                      .run_bytes = sizeof(double),
		                      .runs = 1 };
	const int64_t points = POINTS;
	double heat = HEAT;
	simpler_tensor local;

	(void)simpler_tensor_init_1d(&local, &heat, SIMPLER_FLOAT64, 1);
	if (simpler_tensor_alloc(work->worker, 0, SIMPLER_FLOAT64, 1, &points, NULL, &work->rod) !=
	    SIMPLER_OK)
		return simpler_last_status();
	return simpler_tensor_write(work->worker, work->rod, &middle, &local, NULL);
}

static simpler_status print_middle(struct work *work)
{
	const simpler_span middle = { .offset = (MIDDLE - 1) * sizeof(double),
		                      .run_bytes = 3 * sizeof(double),
		                      .runs = 1 };
	simpler_tensor local;
	double heat[3];

	(void)simpler_tensor_init_1d(&local, heat, SIMPLER_FLOAT64, 3);
	if (simpler_tensor_read(work->worker, work->rod, &middle, &local, NULL) != SIMPLER_OK)
		return simpler_last_status();
	printf("in the middle %.2f %.2f %.2f, in all %.2f\n", heat[0], heat[1], heat[2], work->sum);
	return SIMPLER_OK;
}

static simpler_status print_traffic(struct work *work)
{
	simpler_traffic traffic = SIMPLER_TRAFFIC_INIT;
	uint64_t sent, received;

	if (simpler_worker_traffic(work->worker, 0, &traffic) != SIMPLER_OK)
		return simpler_last_status();
	sent = traffic.stream.sent + traffic.shm.sent + traffic.inlined.sent;
	received = traffic.stream.received + traffic.shm.received + traffic.inlined.received;
	printf("of a tensor of %zu bytes %" PRIu64 " went to the node and %" PRIu64 " came back\n",
	       POINTS * sizeof(double), sent, received);
	return SIMPLER_OK;
}

static simpler_status run(struct work *work, const char *address, const char *path)
{
	simpler_bytes state = { &work, sizeof(work) };

	if (connect_node(work, address, path) != SIMPLER_OK || make_rod(work) != SIMPLER_OK)
		return simpler_last_status();
	for (int i = 0; i < 2; i++) {
		if (simpler_run(work->worker, simulate, NULL, NULL, state) != SIMPLER_OK ||
		    print_middle(work) != SIMPLER_OK)
			return simpler_last_status();
	}
	if (print_traffic(work) != SIMPLER_OK)
		return simpler_last_status();
	return simpler_tensor_free(work->worker, work->rod, NULL);
}

int main(int argc, char **argv)
{
	struct work work = { .worker = NULL };
	char beside[4096];
	simpler_status status;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: resident_heat ADDRESS [MODULE]\n");
		return 2;
	}
	(void)snprintf(beside, sizeof(beside), "%s/resident_heat_module.so", dirname(argv[0]));
	status = run(&work, argv[1], argc == 3 ? argv[2] : beside);
	if (status != SIMPLER_OK)
		fprintf(stderr, "%s\n", simpler_last_error());
	simpler_worker_close(work.worker);
	return status == SIMPLER_OK ? 0 : 1;
}
