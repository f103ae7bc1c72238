/*
 * R19: a function of the program that is of another kind than it is registered as, or of none, does
 * not compile, and neither does a place for a handle of another kind; with plain cc and no flags.
 * See R19_handles.c.
 */
#include <simpler/simpler.h>

static simpler_status a_sub(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return SIMPLER_OK;
}

static simpler_status an_orch_fn(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)config;
	return a_sub(args, state);
}

static simpler_status a_chip(const simpler_block *block, const simpler_args *args,
                             simpler_bytes state)
{
	(void)block;
	return a_sub(args, state);
}

simpler_status no_state(const simpler_args *args);
simpler_status writable_args(simpler_args *args, simpler_bytes state);
void no_result(const simpler_args *args, simpler_bytes state);
simpler_status state_by_pointer(const simpler_args *args, const simpler_bytes *state);

simpler_status add_all(simpler_worker *worker, simpler_orch *orch);

simpler_status add_all(simpler_worker *worker, simpler_orch *orch)
{
	simpler_sub sub;
	simpler_orch_fn orch_fn;
	simpler_chip chip;
	simpler_status status = simpler_program_sub(worker, a_sub, "f", simpler_no_state(), &sub);

	if (status == SIMPLER_OK)
		status = simpler_program_orch_fn(worker, &an_orch_fn, "f", simpler_no_state(),
		                                 &orch_fn);
	if (status == SIMPLER_OK)
		status = simpler_program_chip(worker, a_chip, "f", simpler_no_state(), &chip);
	if (status == SIMPLER_OK)
		status = simpler_orch_program_sub(orch, a_sub, "f", simpler_no_state(), &sub);
	if (status == SIMPLER_OK)
		status = simpler_orch_program_orch_fn(orch, an_orch_fn, "f", simpler_no_state(),
		                                      &orch_fn);
	if (status == SIMPLER_OK)
		status = simpler_orch_program_chip(orch, a_chip, "f", simpler_no_state(), &chip);
#if defined(WRONG_ORCH_FN_FUNCTION_AS_SUB_OF_WORKER)
	status = simpler_program_sub(worker, an_orch_fn, "f", simpler_no_state(), &sub);
#elif defined(WRONG_SUB_FUNCTION_TO_ORCH_FN_HANDLE_OF_WORKER)
	status = simpler_program_sub(worker, a_sub, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_ORCH_FN_FUNCTION_AS_SUB_OF_RUN)
	status = simpler_orch_program_sub(orch, an_orch_fn, "f", simpler_no_state(), &sub);
#elif defined(WRONG_SUB_FUNCTION_TO_ORCH_FN_HANDLE_OF_RUN)
	status = simpler_orch_program_sub(orch, a_sub, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_CHIP_FUNCTION_AS_SUB_OF_WORKER)
	status = simpler_program_sub(worker, a_chip, "f", simpler_no_state(), &sub);
#elif defined(WRONG_SUB_FUNCTION_TO_CHIP_HANDLE_OF_WORKER)
	status = simpler_program_sub(worker, a_sub, "f", simpler_no_state(), &chip);
#elif defined(WRONG_CHIP_FUNCTION_AS_SUB_OF_RUN)
	status = simpler_orch_program_sub(orch, a_chip, "f", simpler_no_state(), &sub);
#elif defined(WRONG_SUB_FUNCTION_TO_CHIP_HANDLE_OF_RUN)
	status = simpler_orch_program_sub(orch, a_sub, "f", simpler_no_state(), &chip);
#elif defined(WRONG_SUB_FUNCTION_AS_ORCH_FN_OF_WORKER)
	status = simpler_program_orch_fn(worker, a_sub, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_ORCH_FN_FUNCTION_TO_SUB_HANDLE_OF_WORKER)
	status = simpler_program_orch_fn(worker, an_orch_fn, "f", simpler_no_state(), &sub);
#elif defined(WRONG_SUB_FUNCTION_AS_ORCH_FN_OF_RUN)
	status = simpler_orch_program_orch_fn(orch, a_sub, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_ORCH_FN_FUNCTION_TO_SUB_HANDLE_OF_RUN)
	status = simpler_orch_program_orch_fn(orch, an_orch_fn, "f", simpler_no_state(), &sub);
#elif defined(WRONG_CHIP_FUNCTION_AS_ORCH_FN_OF_WORKER)
	status = simpler_program_orch_fn(worker, a_chip, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_ORCH_FN_FUNCTION_TO_CHIP_HANDLE_OF_WORKER)
	status = simpler_program_orch_fn(worker, an_orch_fn, "f", simpler_no_state(), &chip);
#elif defined(WRONG_CHIP_FUNCTION_AS_ORCH_FN_OF_RUN)
	status = simpler_orch_program_orch_fn(orch, a_chip, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_ORCH_FN_FUNCTION_TO_CHIP_HANDLE_OF_RUN)
	status = simpler_orch_program_orch_fn(orch, an_orch_fn, "f", simpler_no_state(), &chip);
#elif defined(WRONG_SUB_FUNCTION_AS_CHIP_OF_WORKER)
	status = simpler_program_chip(worker, a_sub, "f", simpler_no_state(), &chip);
#elif defined(WRONG_CHIP_FUNCTION_TO_SUB_HANDLE_OF_WORKER)
	status = simpler_program_chip(worker, a_chip, "f", simpler_no_state(), &sub);
#elif defined(WRONG_SUB_FUNCTION_AS_CHIP_OF_RUN)
	status = simpler_orch_program_chip(orch, a_sub, "f", simpler_no_state(), &chip);
#elif defined(WRONG_CHIP_FUNCTION_TO_SUB_HANDLE_OF_RUN)
	status = simpler_orch_program_chip(orch, a_chip, "f", simpler_no_state(), &sub);
#elif defined(WRONG_ORCH_FN_FUNCTION_AS_CHIP_OF_WORKER)
	status = simpler_program_chip(worker, an_orch_fn, "f", simpler_no_state(), &chip);
#elif defined(WRONG_CHIP_FUNCTION_TO_ORCH_FN_HANDLE_OF_WORKER)
	status = simpler_program_chip(worker, a_chip, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_ORCH_FN_FUNCTION_AS_CHIP_OF_RUN)
	status = simpler_orch_program_chip(orch, an_orch_fn, "f", simpler_no_state(), &chip);
#elif defined(WRONG_CHIP_FUNCTION_TO_ORCH_FN_HANDLE_OF_RUN)
	status = simpler_orch_program_chip(orch, a_chip, "f", simpler_no_state(), &orch_fn);
#elif defined(WRONG_NO_STATE)
	status = simpler_program_sub(worker, no_state, "f", simpler_no_state(), &sub);
#elif defined(WRONG_WRITABLE_ARGS)
	status = simpler_program_sub(worker, writable_args, "f", simpler_no_state(), &sub);
#elif defined(WRONG_NO_RESULT)
	status = simpler_program_sub(worker, no_result, "f", simpler_no_state(), &sub);
#elif defined(WRONG_STATE_BY_POINTER)
	status = simpler_program_sub(worker, state_by_pointer, "f", simpler_no_state(), &sub);
#elif defined(WRONG_A_NUMBER)
	status = simpler_program_sub(worker, 4096, "f", simpler_no_state(), &sub);
#endif
	return status;
}
