/* What an orchestration function calls: submits, and the callables of its own module. */
#include "simpler/orch.h"

#include "worker/submit.h"

/* --- submits --- */

static simpler_status check_options(const simpler_submit_options *options)
{
	if (options->struct_size != sizeof(*options))
		return error_raise(SIMPLER_EINVAL,
		                   "submit options have size %zu instead of %zu; begin them with "
		                   "SIMPLER_SUBMIT_OPTIONS_INIT",
		                   options->struct_size, sizeof(*options));
	if (!options->after && options->after_count > 0)
		return error_raise(SIMPLER_EINVAL, "after_count is %zu and after is NULL",
		                   options->after_count);
	return SIMPLER_OK;
}

/* `call` lacks the callable. */
static simpler_status submit(simpler_orch *orch, uint64_t handle, simpler_kind kind,
                             struct submit_call *call, simpler_task *out)
{
	struct run *run = run_of(orch);
	struct exec_callable *callable;
	simpler_status status;

	if (!orch)
		return error_raise(SIMPLER_EINVAL, "a submit without a run; call it from an "
		                                   "orchestration function, with its own orch");
	status = check_options(call->options);
	for (size_t i = 0; i < call->count && status == SIMPLER_OK; i++) {
		if (call->args[i] && call->args[i]->error.status != SIMPLER_OK)
			status = error_restore(&call->args[i]->error);
	}
	if (status == SIMPLER_OK)
		status = callables_find(run->core->callables, handle, kind, &callable);
	if (status != SIMPLER_OK)
		return status;
	call->callable = callable;
	status = submit_task(run, call, out);
	/* A task that was submitted uses it until it is released. */
	if (status != SIMPLER_OK)
		callables_release(run->core->callables, callable);
	return status;
}

static const simpler_submit_options default_options = SIMPLER_SUBMIT_OPTIONS_INIT;

static simpler_status submit_one(simpler_orch *orch, uint64_t handle, simpler_kind kind,
                                 const simpler_args *args, const simpler_submit_options *options,
                                 simpler_task *out)
{
	struct submit_call call = { .args = &args, .count = 1 };

	call.options = options ? options : &default_options;
	if (call.options->worker != SIMPLER_ANY_WORKER)
		call.targets = &call.options->worker;
	return submit(orch, handle, kind, &call, out);
}

static simpler_status submit_group(simpler_orch *orch, uint64_t handle, simpler_kind kind,
                                   const simpler_args *const *args, size_t count,
                                   const simpler_submit_options *options, simpler_task *out)
{
	struct submit_call call = { .args = args, .count = count };

	if (count < 1 || count > SIMPLER_MAX_GROUP || !args)
		return error_raise(
			SIMPLER_EINVAL,
			"a group has 1 to %d members with their arguments, and this one %zu",
			SIMPLER_MAX_GROUP, args ? count : 0);
	call.options = options ? options : &default_options;
	call.targets = call.options->group_workers;
	return submit(orch, handle, kind, &call, out);
}

simpler_status simpler_submit_next_level(simpler_orch *orch, simpler_orch_fn callable,
                                         const simpler_args *args,
                                         const simpler_submit_options *options, simpler_task *out)
{
	return submit_one(orch, callable.id, SIMPLER_KIND_ORCH, args, options, out);
}

simpler_status simpler_submit_sub(simpler_orch *orch, simpler_sub callable,
                                  const simpler_args *args, const simpler_submit_options *options,
                                  simpler_task *out)
{
	return submit_one(orch, callable.id, SIMPLER_KIND_SUB, args, options, out);
}

simpler_status simpler_submit_chip(simpler_orch *orch, simpler_chip callable,
                                   const simpler_args *args, const simpler_submit_options *options,
                                   simpler_task *out)
{
	return submit_one(orch, callable.id, SIMPLER_KIND_CHIP, args, options, out);
}

simpler_status simpler_submit_next_level_group(simpler_orch *orch, simpler_orch_fn callable,
                                               const simpler_args *const *args, size_t count,
                                               const simpler_submit_options *options,
                                               simpler_task *out)
{
	return submit_group(orch, callable.id, SIMPLER_KIND_ORCH, args, count, options, out);
}

simpler_status simpler_submit_sub_group(simpler_orch *orch, simpler_sub callable,
                                        const simpler_args *const *args, size_t count,
                                        const simpler_submit_options *options, simpler_task *out)
{
	return submit_group(orch, callable.id, SIMPLER_KIND_SUB, args, count, options, out);
}

simpler_status simpler_submit_chip_group(simpler_orch *orch, simpler_chip callable,
                                         const simpler_args *const *args, size_t count,
                                         const simpler_submit_options *options, simpler_task *out)
{
	return submit_group(orch, callable.id, SIMPLER_KIND_CHIP, args, count, options, out);
}

/* --- callables of the function's own module --- */

static simpler_status own_callable(simpler_orch *orch, const char *name, simpler_kind kind,
                                   simpler_bytes state, uint64_t *out)
{
	struct run *run = run_of(orch);

	if (!out)
		return error_raise(SIMPLER_EINVAL, "a place for the handle is needed, not NULL");
	if (!orch || !run->call.module)
		return error_raise(
			SIMPLER_ESTATE,
			"this orchestration function came from no module; take handles of "
			"functions of the program with simpler_orch_program_sub() and its "
			"like, or load a module with simpler_module_load() before the run");
	return run_register(
		run,
		&(struct callable_spec){
			.module = run->call.module, .name = name, .kind = kind, .state = state },
		out);
}

simpler_status simpler_orch_sub(simpler_orch *orch, const char *name, simpler_bytes state,
                                simpler_sub *out)
{
	return own_callable(orch, name, SIMPLER_KIND_SUB, state, out ? &out->id : NULL);
}

simpler_status simpler_orch_orch_fn(simpler_orch *orch, const char *name, simpler_bytes state,
                                    simpler_orch_fn *out)
{
	return own_callable(orch, name, SIMPLER_KIND_ORCH, state, out ? &out->id : NULL);
}

simpler_status simpler_orch_chip(simpler_orch *orch, const char *name, simpler_bytes state,
                                 simpler_chip *out)
{
	return own_callable(orch, name, SIMPLER_KIND_CHIP, state, out ? &out->id : NULL);
}
