/*
 * R19: a handle of the wrong kind does not compile. R23: nor does a number, such as a worker's, in
 * place of one. Without any WRONG_ macro this file does; with any one of them it must not. Run by
 * scripts/check-headers.
 */
#include <simpler/simpler.h>

static simpler_status submit(simpler_orch *orch, simpler_sub sub, simpler_orch_fn orch_fn,
                             simpler_chip chip)
{
	simpler_status status = simpler_submit_sub(orch, sub, NULL, NULL, NULL);

	if (status == SIMPLER_OK)
		status = simpler_submit_next_level(orch, orch_fn, NULL, NULL, NULL);
	if (status == SIMPLER_OK)
		status = simpler_submit_chip(orch, chip, NULL, NULL, NULL);
	if (status == SIMPLER_OK)
		status = simpler_submit_sub_group(orch, sub, NULL, 0, NULL, NULL);
	if (status == SIMPLER_OK)
		status = simpler_submit_next_level_group(orch, orch_fn, NULL, 0, NULL, NULL);
	if (status == SIMPLER_OK)
		status = simpler_submit_chip_group(orch, chip, NULL, 0, NULL, NULL);
#if defined(WRONG_ORCH_FN_AS_SUB)
	status = simpler_submit_sub(orch, orch_fn, NULL, NULL, NULL);
#elif defined(WRONG_CHIP_AS_SUB)
	status = simpler_submit_sub(orch, chip, NULL, NULL, NULL);
#elif defined(WRONG_SUB_AS_ORCH_FN)
	status = simpler_submit_next_level(orch, sub, NULL, NULL, NULL);
#elif defined(WRONG_CHIP_AS_ORCH_FN)
	status = simpler_submit_next_level(orch, chip, NULL, NULL, NULL);
#elif defined(WRONG_SUB_AS_CHIP)
	status = simpler_submit_chip(orch, sub, NULL, NULL, NULL);
#elif defined(WRONG_ORCH_FN_AS_CHIP)
	status = simpler_submit_chip(orch, orch_fn, NULL, NULL, NULL);
#elif defined(WRONG_ORCH_FN_AS_SUB_GROUP)
	status = simpler_submit_sub_group(orch, orch_fn, NULL, 0, NULL, NULL);
#elif defined(WRONG_CHIP_AS_SUB_GROUP)
	status = simpler_submit_sub_group(orch, chip, NULL, 0, NULL, NULL);
#elif defined(WRONG_SUB_AS_ORCH_FN_GROUP)
	status = simpler_submit_next_level_group(orch, sub, NULL, 0, NULL, NULL);
#elif defined(WRONG_CHIP_AS_ORCH_FN_GROUP)
	status = simpler_submit_next_level_group(orch, chip, NULL, 0, NULL, NULL);
#elif defined(WRONG_SUB_AS_CHIP_GROUP)
	status = simpler_submit_chip_group(orch, sub, NULL, 0, NULL, NULL);
#elif defined(WRONG_ORCH_FN_AS_CHIP_GROUP)
	status = simpler_submit_chip_group(orch, orch_fn, NULL, 0, NULL, NULL);
#elif defined(WRONG_NUMBER_AS_SUB)
	status = simpler_submit_sub(orch, sub.id, NULL, NULL, NULL);
#elif defined(WRONG_NUMBER_AS_ORCH_FN)
	status = simpler_submit_next_level(orch, 1, NULL, NULL, NULL);
#elif defined(WRONG_NUMBER_AS_CHIP)
	status = simpler_submit_chip(orch, 1, NULL, NULL, NULL);
#elif defined(WRONG_NUMBER_AS_CHIP_GROUP)
	status = simpler_submit_chip_group(orch, chip.id, NULL, 0, NULL, NULL);
#elif defined(WRONG_WORKER_ID_AS_SUB)
	simpler_worker_id worker = 1;

	status = simpler_submit_sub(orch, worker, NULL, NULL, NULL);
#elif defined(WRONG_NUMBER_ASSIGNED_TO_CHIP)
	chip = 1;
#elif defined(WRONG_CHIP_AS_WORKER_ID)
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;

	options.worker = chip;
	status = simpler_submit_sub(orch, sub, NULL, &options, NULL);
#elif defined(WRONG_TASK_AS_SUB)
	simpler_task task = { 1 };

	status = simpler_submit_sub(orch, task, NULL, NULL, NULL);
#elif defined(WRONG_SUB_ASSIGNED_TO_ORCH_FN)
	orch_fn = sub;
#elif defined(WRONG_ORCH_FN_ASSIGNED_TO_SUB)
	sub = orch_fn;
#elif defined(WRONG_SUB_ASSIGNED_TO_CHIP)
	chip = sub;
#elif defined(WRONG_CHIP_ASSIGNED_TO_SUB)
	sub = chip;
#elif defined(WRONG_ORCH_FN_ASSIGNED_TO_CHIP)
	chip = orch_fn;
#elif defined(WRONG_CHIP_ASSIGNED_TO_ORCH_FN)
	orch_fn = chip;
#endif
	return status;
}

simpler_status keep_it_used(simpler_orch *orch, simpler_sub sub, simpler_orch_fn orch_fn,
                            simpler_chip chip);

simpler_status keep_it_used(simpler_orch *orch, simpler_sub sub, simpler_orch_fn orch_fn,
                            simpler_chip chip)
{
	return submit(orch, sub, orch_fn, chip);
}
