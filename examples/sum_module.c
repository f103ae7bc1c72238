/*
 * What runs on the node: an orchestration function that hands the work to a sub task, and the sub
 * task that does it. Build: cc -shared -fPIC -o sum_module.so sum_module.c
 */
#include <simpler/module.h>

/* total[0] += the scalar. */
static simpler_status add(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor total;
	uint64_t addend;
	int64_t *value;

	(void)state;
	if (simpler_args_tensor(args, 0, &total) != SIMPLER_OK ||
	    simpler_args_scalar(args, 0, &addend) != SIMPLER_OK)
		return simpler_last_status();
	if (total.dtype != SIMPLER_INT64 || simpler_tensor_count(&total) != 1)
		return simpler_fail(SIMPLER_EINVAL, "'add' wants one int64 element, not %llu of %s",
		                    (unsigned long long)simpler_tensor_count(&total),
		                    simpler_dtype_name(total.dtype));
	value = (int64_t *)total.data;
	simpler_log(SIMPLER_LOG_INFO, "sub task add: %lld + %lld = %lld", (long long)*value,
	            (long long)addend, (long long)*value + (long long)addend);
	*value += (int64_t)addend;
	return SIMPLER_OK;
}
SIMPLER_SUB(add);

/* Passes its own tensor and scalar on: the sub task works on the very same bytes. */
static simpler_status accumulate(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	simpler_args *passed_on = simpler_args_create();
	simpler_tensor total;
	uint64_t addend;
	simpler_sub sub;
	simpler_status status;

	(void)config;
	(void)state;
	status = simpler_args_tensor(args, 0, &total);
	if (status == SIMPLER_OK)
		status = simpler_args_scalar(args, 0, &addend);
	if (status == SIMPLER_OK)
		status = simpler_orch_sub(orch, "add", simpler_no_state(), &sub);
	if (status == SIMPLER_OK) {
		simpler_log(SIMPLER_LOG_INFO,
		            "orchestration function accumulate: submits add(%lld)",
		            (long long)addend);
		(void)simpler_args_add_tensor(passed_on, &total, SIMPLER_INOUT, SIMPLER_SHARED);
		(void)simpler_args_add_scalar(passed_on, addend);
		status = simpler_submit_sub(orch, sub, passed_on, NULL, NULL);
	}
	simpler_args_destroy(passed_on);
	return status;
}
SIMPLER_ORCH(accumulate);
