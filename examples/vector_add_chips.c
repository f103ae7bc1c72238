/*
 * A vector addition on two chips, here or on a node.
 *
 *     vector_add_chips               two simulated chips below this program, a level-3 worker
 *     vector_add_chips HOST:PORT     two chips of that node, which this program is the parent of
 *
 * Either way the work is cut in halves, each chip gets one, and its kernel runs on copies in the
 * chip's own memory. A node needs chips: simpler-l3d --chips 2 --device sim.
 */
#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include <simpler/simpler.h>

#include "vector_add_chips.h"

#define COUNT 1000

struct vectors {
	simpler_tensor x, y, z;
	simpler_tensor ran_in; /* the process of each chip */
};

/* Level 3: this program's own chips. */
static simpler_status add_here(simpler_orch *orch, const simpler_args *args,
                               const simpler_config *config, simpler_bytes state)
{
	const simpler_chip *kernel = state.data;

	(void)config;
	return add_on_two_chips(orch, *kernel, args);
}

/* Level 4: the node's orchestration function does the same over there. */
static simpler_status add_there(simpler_orch *orch, const simpler_args *args,
                                const simpler_config *config, simpler_bytes state)
{
	const simpler_orch_fn *add_on_chips = state.data;

	(void)config;
	return simpler_submit_next_level(orch, *add_on_chips, args, NULL, NULL);
}

static simpler_status make_vectors(simpler_worker *worker, struct vectors *vectors)
{
	const int64_t count = COUNT, chips = CHIPS;

	if (simpler_alloc(worker, SIMPLER_FLOAT32, 1, &count, &vectors->x) != SIMPLER_OK ||
	    simpler_alloc(worker, SIMPLER_FLOAT32, 1, &count, &vectors->y) != SIMPLER_OK ||
	    simpler_alloc(worker, SIMPLER_FLOAT32, 1, &count, &vectors->z) != SIMPLER_OK ||
	    simpler_alloc(worker, SIMPLER_INT64, 1, &chips, &vectors->ran_in) != SIMPLER_OK)
		return simpler_last_status();
	for (int i = 0; i < COUNT; i++) {
		((float *)vectors->x.data)[i] = (float)i;
		((float *)vectors->y.data)[i] = (float)(2 * i);
		((float *)vectors->z.data)[i] = -1;
	}
	return SIMPLER_OK;
}

/* Run `fn` on the vectors, which lie in memory that this worker's own children share; to a node
 * they are copied. */
static simpler_status run(simpler_worker *worker, simpler_orch_function *fn, simpler_bytes state,
                          simpler_backing backing, struct vectors *vectors)
{
	simpler_args *args = simpler_args_create();
	simpler_status status = make_vectors(worker, vectors);

	(void)simpler_args_add_tensor(args, &vectors->x, SIMPLER_INPUT, backing);
	(void)simpler_args_add_tensor(args, &vectors->y, SIMPLER_INPUT, backing);
	(void)simpler_args_add_tensor(args, &vectors->z, SIMPLER_OUTPUT, backing);
	(void)simpler_args_add_tensor(args, &vectors->ran_in, SIMPLER_OUTPUT, backing);
	if (status == SIMPLER_OK)
		status = simpler_run(worker, fn, args, NULL, state);
	simpler_args_destroy(args);
	return status;
}

static simpler_status run_here(simpler_worker *worker, const char *module_path,
                               struct vectors *vectors)
{
	simpler_module *module;
	simpler_chip kernel;
	simpler_bytes state = { &kernel, sizeof(kernel) };
	simpler_status status;

	status = simpler_worker_add_chips(worker, CHIPS, "sim", NULL);
	if (status == SIMPLER_OK)
		status = simpler_module_load(worker, module_path, &module);
	if (status == SIMPLER_OK)
		status = simpler_module_chip(module, "add_vectors", simpler_no_state(), &kernel);
	if (status == SIMPLER_OK)
		status = simpler_worker_init(worker);
	return status == SIMPLER_OK ? run(worker, add_here, state, SIMPLER_SHARED, vectors)
	                            : status;
}

static simpler_status run_there(simpler_worker *worker, const char *address,
                                const char *module_path, struct vectors *vectors)
{
	simpler_module *module;
	simpler_orch_fn add_on_chips;
	simpler_bytes state = { &add_on_chips, sizeof(add_on_chips) };
	simpler_status status;

	status = simpler_worker_add_remote(worker, address, NULL);
	if (status == SIMPLER_OK)
		status = simpler_module_load(worker, module_path, &module);
	if (status == SIMPLER_OK)
		status = simpler_module_orch_fn(module, "add_on_chips", simpler_no_state(),
		                                &add_on_chips);
	if (status == SIMPLER_OK)
		status = simpler_worker_init(worker);
	return status == SIMPLER_OK ? run(worker, add_there, state, SIMPLER_STAGED, vectors)
	                            : status;
}

/* Whether all is right; tell it. */
static bool check(const struct vectors *vectors)
{
	const int64_t *ran_in = vectors->ran_in.data;
	int wrong = 0;

	for (int i = 0; i < COUNT; i++)
		wrong += ((float *)vectors->z.data)[i] != (float)(3 * i);
	for (int chip = 0; chip < CHIPS; chip++)
		printf("elements %d to %d: the chip of process %lld\n", COUNT * chip / CHIPS,
		       COUNT * (chip + 1) / CHIPS - 1, (long long)ran_in[chip]);
	printf("%d of %d sums are right\n", COUNT - wrong, COUNT);
	return wrong == 0 && ran_in[0] != ran_in[1];
}

/* vector_add_chips_module.so beside this program. */
static const char *module_of(char *program)
{
	static char path[4096];

	(void)snprintf(path, sizeof(path), "%s/vector_add_chips_module.so", dirname(program));
	return path;
}

int main(int argc, char **argv)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_worker *worker = NULL;
	struct vectors vectors = { 0 };
	simpler_status status;
	bool right = false;

	if (argc > 2) {
		fprintf(stderr, "usage: vector_add_chips [HOST:PORT]\n");
		return 2;
	}
	simpler_log_set_level(SIMPLER_LOG_INFO);
	options.level = argc == 2 ? 4 : 3;
	status = simpler_worker_create(&options, &worker);
	if (status == SIMPLER_OK)
		status = argc == 2 ? run_there(worker, argv[1], module_of(argv[0]), &vectors)
		                   : run_here(worker, module_of(argv[0]), &vectors);
	if (status == SIMPLER_OK)
		right = check(&vectors);
	else
		fprintf(stderr, "%s\n", simpler_last_error());
	simpler_worker_close(worker);
	return right ? 0 : 1;
}
