/* R19: unregistering a handle as one of another kind. See R19_handles.c. */
#include <simpler/simpler.h>

simpler_status unregister(simpler_worker *worker, simpler_sub sub, simpler_orch_fn orch_fn,
                          simpler_chip chip);

simpler_status unregister(simpler_worker *worker, simpler_sub sub, simpler_orch_fn orch_fn,
                          simpler_chip chip)
{
	simpler_status status = simpler_unregister_sub(worker, sub, SIMPLER_FOREVER);

	if (status == SIMPLER_OK)
		status = simpler_unregister_orch_fn(worker, orch_fn, SIMPLER_FOREVER);
	if (status == SIMPLER_OK)
		status = simpler_unregister_chip(worker, chip, SIMPLER_FOREVER);
#if defined(WRONG_ORCH_FN_AS_SUB)
	status = simpler_unregister_sub(worker, orch_fn, SIMPLER_FOREVER);
#elif defined(WRONG_CHIP_AS_SUB)
	status = simpler_unregister_sub(worker, chip, SIMPLER_FOREVER);
#elif defined(WRONG_SUB_AS_ORCH_FN)
	status = simpler_unregister_orch_fn(worker, sub, SIMPLER_FOREVER);
#elif defined(WRONG_CHIP_AS_ORCH_FN)
	status = simpler_unregister_orch_fn(worker, chip, SIMPLER_FOREVER);
#elif defined(WRONG_SUB_AS_CHIP)
	status = simpler_unregister_chip(worker, sub, SIMPLER_FOREVER);
#elif defined(WRONG_ORCH_FN_AS_CHIP)
	status = simpler_unregister_chip(worker, orch_fn, SIMPLER_FOREVER);
#elif defined(WRONG_NUMBER_AS_SUB)
	status = simpler_unregister_sub(worker, sub.id, SIMPLER_FOREVER);
#elif defined(WRONG_NUMBER_AS_ORCH_FN)
	status = simpler_unregister_orch_fn(worker, orch_fn.id, SIMPLER_FOREVER);
#elif defined(WRONG_NUMBER_AS_CHIP)
	status = simpler_unregister_chip(worker, chip.id, SIMPLER_FOREVER);
#endif
	return status;
}
