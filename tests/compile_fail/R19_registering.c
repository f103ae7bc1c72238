/*
 * R19: registering a callable into a handle of another kind. C calls a pointer to the wrong handle
 * a constraint violation and C++ an error; compilers that only warn are made to refuse it by
 * -pedantic-errors. See R19_handles.c.
 *
 * flags: -pedantic-errors
 */
#include <simpler/module.h>
#include <simpler/simpler.h>

simpler_status look_up(simpler_orch *orch, simpler_module *module);

simpler_status look_up(simpler_orch *orch, simpler_module *module)
{
	simpler_sub sub;
	simpler_orch_fn orch_fn;
	simpler_chip chip;
	simpler_status status = simpler_module_sub(module, "f", simpler_no_state(), &sub);

	if (status == SIMPLER_OK)
		status = simpler_module_orch_fn(module, "f", simpler_no_state(), &orch_fn);
	if (status == SIMPLER_OK)
		status = simpler_module_chip(module, "f", simpler_no_state(), &chip);
	if (status == SIMPLER_OK)
		status = simpler_orch_sub(orch, "f", simpler_no_state(), &sub);
	if (status == SIMPLER_OK)
		status = simpler_orch_orch_fn(orch, "f", simpler_no_state(), &orch_fn);
	if (status == SIMPLER_OK)
		status = simpler_orch_chip(orch, "f", simpler_no_state(), &chip);
#if defined(WRONG_MODULE_SUB_TO_ORCH_FN)
	status = simpler_module_sub(module, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_MODULE_SUB_TO_CHIP)
	status = simpler_module_sub(module, "f", simpler_no_state(), &chip);
#elif defined(WRONG_MODULE_ORCH_FN_TO_SUB)
	status = simpler_module_orch_fn(module, "f", simpler_no_state(), &sub);
#elif defined(WRONG_MODULE_ORCH_FN_TO_CHIP)
	status = simpler_module_orch_fn(module, "f", simpler_no_state(), &chip);
#elif defined(WRONG_MODULE_CHIP_TO_SUB)
	status = simpler_module_chip(module, "f", simpler_no_state(), &sub);
#elif defined(WRONG_MODULE_CHIP_TO_ORCH_FN)
	status = simpler_module_chip(module, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_ORCH_SUB_TO_ORCH_FN)
	status = simpler_orch_sub(orch, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_ORCH_SUB_TO_CHIP)
	status = simpler_orch_sub(orch, "f", simpler_no_state(), &chip);
#elif defined(WRONG_ORCH_ORCH_FN_TO_SUB)
	status = simpler_orch_orch_fn(orch, "f", simpler_no_state(), &sub);
#elif defined(WRONG_ORCH_ORCH_FN_TO_CHIP)
	status = simpler_orch_orch_fn(orch, "f", simpler_no_state(), &chip);
#elif defined(WRONG_ORCH_CHIP_TO_SUB)
	status = simpler_orch_chip(orch, "f", simpler_no_state(), &sub);
#elif defined(WRONG_ORCH_CHIP_TO_ORCH_FN)
	status = simpler_orch_chip(orch, "f", simpler_no_state(), &orch_fn);
#endif
	(void)sub;
	(void)orch_fn;
	(void)chip;
	return status;
}
