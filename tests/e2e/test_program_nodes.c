/*
 * A program that serves itself and has a node as well: its own functions run here, what is in a
 * module runs there, and nothing of the one goes to the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "daemon.h"
#include "simpler/simpler.h"
#include "test_modules.h"

#define CELLS 4

/* Adds 100 to cell 0, with no task of its own: the tensor is shared with the worker that it runs
 * in.
 */
static simpler_status add_hundred(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	simpler_tensor tensor;

	(void)orch;
	(void)config;
	(void)state;
	if (simpler_args_tensor(args, 0, &tensor) != SIMPLER_OK)
		return simpler_last_status();
	((int64_t *)tensor.data)[0] += 100;
	return SIMPLER_OK;
}

struct plan {
	simpler_orch_fn own, of_module;
	simpler_worker_id node;
	simpler_tensor tensor;
};

static void assert_refused(simpler_status status)
{
	assert_int_equal(status, SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(),
	                       "'add_hundred' is a function of this program, which exists on this "
	                       "machine only, and node "));
	assert_non_null(strstr(simpler_last_error(), "put it into a module"));
}

static simpler_status submit_both(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	const struct plan *plan = state.data;
	simpler_args *built = simpler_args_create();
	const simpler_args *two[] = { built, built };
	simpler_submit_options there = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_status status =
		simpler_args_add_tensor(built, &plan->tensor, SIMPLER_INOUT, SIMPLER_STAGED);

	(void)args;
	(void)config;
	there.worker = plan->node;
	assert_refused(simpler_submit_next_level(orch, plan->own, built, &there, NULL));
	assert_int_equal(simpler_submit_next_level_group(orch, plan->own, two, 2, NULL, NULL),
	                 SIMPLER_EINVAL);
	for (int i = 0; i < 8 && status == SIMPLER_OK; i++) {
		status = simpler_submit_next_level(orch, plan->own, built, NULL, NULL);
		if (status == SIMPLER_OK)
			status = simpler_submit_next_level(orch, plan->of_module, built, &there,
			                                   NULL);
	}
	simpler_args_destroy(built);
	return status;
}

static void R08_own_functions_run_here_and_modules_there_in_one_graph(void **state)
{
	static const char *const options[] = { "--sub-workers", "1", NULL };
	simpler_local_options local = SIMPLER_LOCAL_OPTIONS_INIT;
	const int64_t shape[] = { CELLS };
	struct plan plan;
	struct daemon node;
	simpler_worker *worker;
	simpler_module *module;
	const int64_t *cells;

	(void)state;
	daemon_start(&node, options);
	local.sub_workers = 1;
	assert_int_equal(simpler_worker_create(NULL, &worker), SIMPLER_OK);
	assert_int_equal(simpler_worker_add_local(worker, &local, NULL), SIMPLER_OK);
	assert_int_equal(simpler_worker_add_remote(worker, node.address, &plan.node), SIMPLER_OK);
	assert_int_equal(simpler_module_load(worker, TEST_MODULES_DIR "/worker_cases.so", &module),
	                 SIMPLER_OK);
	/* One before init, which ships to the node what is for it, one after. */
	assert_int_equal(simpler_program_orch_fn(worker, add_hundred, "add_hundred",
	                                         simpler_no_state(), &plan.own),
	                 SIMPLER_OK);
	if (simpler_worker_init(worker) != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
	assert_int_equal(simpler_module_orch_fn(module, "node_adds_one", simpler_no_state(),
	                                        &plan.of_module),
	                 SIMPLER_OK);
	assert_int_equal(simpler_alloc(worker, SIMPLER_INT64, 1, shape, &plan.tensor), SIMPLER_OK);
	memset(plan.tensor.data, 0, CELLS * sizeof(int64_t));
	if (simpler_run(worker, submit_both, NULL, NULL, (simpler_bytes){ &plan, sizeof(plan) }) !=
	    SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
	cells = plan.tensor.data;
	assert_int_equal(cells[0], 808);
	assert_int_equal(cells[CELLS - 1], 8);
	simpler_worker_close(worker);
	assert_int_equal(daemon_stop(&node), 0);
}

static simpler_status submit_own(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const simpler_orch_fn *own = state.data;

	(void)args;
	(void)config;
	return simpler_submit_next_level(orch, *own, NULL, NULL, NULL);
}

static void with_only_nodes_a_function_of_the_program_has_nowhere_to_go(void **state)
{
	static const char *const options[] = { "--sub-workers", "1", NULL };
	struct daemon node;
	simpler_worker *worker;
	simpler_orch_fn own;

	(void)state;
	daemon_start(&node, options);
	assert_int_equal(simpler_worker_create(NULL, &worker), SIMPLER_OK);
	assert_int_equal(simpler_worker_add_remote(worker, node.address, NULL), SIMPLER_OK);
	if (simpler_worker_init(worker) != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
	assert_int_equal(simpler_program_orch_fn(worker, add_hundred, "add_hundred",
	                                         simpler_no_state(), &own),
	                 SIMPLER_OK);
	assert_refused(
		simpler_run(worker, submit_own, NULL, NULL, (simpler_bytes){ &own, sizeof(own) }));
	simpler_worker_close(worker);
	assert_int_equal(daemon_stop(&node), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(R08_own_functions_run_here_and_modules_there_in_one_graph),
		cmocka_unit_test(with_only_nodes_a_function_of_the_program_has_nowhere_to_go),
	};

	simpler_program_serve();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
