/* What an orchestration function calls: submits, and the callables of its own module. */
#include <stdlib.h>
#include <string.h>

#include "worker/core.h"

static struct run *run_of(simpler_orch *orch)
{
	return (struct run *)orch;
}

/* --- checking a submit --- */

static simpler_status check_target(const struct worker_core *core,
                                   const struct exec_callable *callable, simpler_worker_id target)
{
	const struct exec_child *child;

	if (target == SIMPLER_ANY_WORKER) {
		for (uint32_t i = 0; i < core->child_count; i++) {
			if (core->children[i]->runs == callable->kind)
				return SIMPLER_OK;
		}
		return error_raise(
			SIMPLER_EINVAL,
			"no child of this level %u worker runs %ss; '%s' has nowhere to go",
			core->level, simpler_kind_name(callable->kind), callable->name);
	}
	if (target >= core->child_count)
		return error_raise(SIMPLER_EINVAL, "worker %u is not a child here; there are %u",
		                   target, core->child_count);
	child = core->children[target];
	if (child->runs != callable->kind)
		return error_raise(SIMPLER_EINVAL, "%s runs no %s, so '%s' cannot go there",
		                   child->name, simpler_kind_name(callable->kind), callable->name);
	return SIMPLER_OK;
}

static simpler_status take_config(const simpler_config *config, struct record_config *out)
{
	static const simpler_config defaults = SIMPLER_CONFIG_INIT;
	const char *prefix;

	if (!config)
		config = &defaults;
	if (config->struct_size != sizeof(*config))
		return error_raise(SIMPLER_EINVAL,
		                   "a config has size %zu instead of %zu; begin it with "
		                   "SIMPLER_CONFIG_INIT",
		                   config->struct_size, sizeof(*config));
	prefix = config->output_prefix ? config->output_prefix : "";
	if (config->block_dim < 1 || config->aicpu_thread_num < 1)
		return error_raise(SIMPLER_EINVAL,
		                   "block_dim is %d and aicpu_thread_num %d; both are at least 1",
		                   config->block_dim, config->aicpu_thread_num);
	if (strlen(prefix) > RECORD_PREFIX_MAX)
		return error_raise(SIMPLER_EINVAL, "output_prefix has %zu bytes; at most %d can be",
		                   strlen(prefix), RECORD_PREFIX_MAX);
	if (prefix[0] == '\0' &&
	    (config->enable_l2_swimlane || config->enable_dump_tensor || config->enable_pmu != 0))
		return error_raise(SIMPLER_EINVAL,
		                   "a diagnostic flag is set and output_prefix is not; "
		                   "say where the output goes");
	out->block_dim = config->block_dim;
	out->aicpu_thread_num = config->aicpu_thread_num;
	out->enable_pmu = config->enable_pmu;
	out->enable_l2_swimlane = config->enable_l2_swimlane;
	out->enable_dump_tensor = config->enable_dump_tensor;
	memcpy(out->output_prefix, prefix, strlen(prefix) + 1);
	return SIMPLER_OK;
}

/* Where a shared tensor lies; every child below has that memory. */
static simpler_status locate(const struct worker_core *core, uint32_t index,
                             struct exec_tensor *tensor)
{
	const struct memory_segment *memory = &core->memory;
	uintptr_t at = (uintptr_t)tensor->view.data, base = (uintptr_t)memory->base;

	tensor->segment = memory->id;
	if (tensor->nbytes == 0) {
		tensor->offset = 0;
		return SIMPLER_OK;
	}
	if (memory->bytes == 0 || at < base || at - base > memory->bytes ||
	    tensor->nbytes > memory->bytes - (at - base))
		return error_raise(
			SIMPLER_EINVAL,
			"tensor %u is SIMPLER_SHARED and its bytes are not in memory shared "
			"with the children; pass on a tensor this function was handed, or "
			"use SIMPLER_INLINE or SIMPLER_STAGED towards a remote node",
			index);
	tensor->offset = at - base;
	return SIMPLER_OK;
}

static simpler_status take_tensor(const struct worker_core *core, simpler_kind kind,
                                  const simpler_args *args, uint32_t index, struct exec_tensor *out)
{
	out->view = args->tensors[index];
	out->tag = args->tags[index];
	out->backing = args->backings[index];
	out->nbytes = simpler_tensor_bytes(&out->view);
	if (kind == SIMPLER_KIND_SUB && out->backing != SIMPLER_SHARED)
		return error_raise(SIMPLER_EINVAL,
		                   "tensor %u is inline or staged, and a sub task works on shared "
		                   "memory in place; pass it as SIMPLER_SHARED",
		                   index);
	if (kind != SIMPLER_KIND_SUB && out->backing == SIMPLER_SHARED)
		return error_raise(
			SIMPLER_EINVAL,
			"tensor %u is SIMPLER_SHARED, and a remote node shares no memory "
			"with this process; pass it as SIMPLER_INLINE or SIMPLER_STAGED",
			index);
	return out->backing == SIMPLER_SHARED ? locate(core, index, out) : SIMPLER_OK;
}

/* --- a submit --- */

static simpler_status make_task(struct run *run, const struct exec_callable *callable,
                                const simpler_args *args, const simpler_submit_options *options,
                                struct task **out)
{
	size_t tensors = args ? args->tensor_count : 0, scalars = args ? args->scalar_count : 0;
	struct task *task = malloc(sizeof(*task) + tensors * sizeof(struct exec_tensor) +
	                           scalars * sizeof(uint64_t));
	uint64_t *scalar_copy;
	simpler_status status;

	if (!task)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a task");
	scalar_copy = (uint64_t *)(void *)(task->tensors + tensors);
	task->core = run->core;
	task->run = run;
	task->target = options->worker;
	task->exec.callable = callable;
	task->exec.config = &task->config;
	task->exec.tensors = task->tensors;
	task->exec.scalars = scalar_copy;
	task->exec.tensor_count = (uint32_t)tensors;
	task->exec.scalar_count = (uint32_t)scalars;
	if (scalars > 0)
		memcpy(scalar_copy, args->scalars, scalars * sizeof(uint64_t));
	status = take_config(options->config, &task->config);
	for (uint32_t i = 0; i < tensors && status == SIMPLER_OK; i++)
		status = take_tensor(run->core, callable->kind, args, i, &task->tensors[i]);
	if (status != SIMPLER_OK) {
		free(task);
		return status;
	}
	*out = task;
	return SIMPLER_OK;
}

static simpler_status submit(simpler_orch *orch, uint64_t handle, simpler_kind kind,
                             const simpler_args *args, const simpler_submit_options *options,
                             simpler_task *out)
{
	static const simpler_submit_options defaults = SIMPLER_SUBMIT_OPTIONS_INIT;
	struct run *run = run_of(orch);
	const struct exec_callable *callable;
	struct task *task;
	simpler_status status;

	if (!orch)
		return error_raise(SIMPLER_EINVAL, "a submit without a run; call it from an "
		                                   "orchestration function, with its own orch");
	if (!options)
		options = &defaults;
	if (options->struct_size != sizeof(*options))
		return error_raise(SIMPLER_EINVAL,
		                   "submit options have size %zu instead of %zu; begin them with "
		                   "SIMPLER_SUBMIT_OPTIONS_INIT",
		                   options->struct_size, sizeof(*options));
	if (args && args->error.status != SIMPLER_OK)
		return error_restore(&args->error);
	status = callables_find(run->core->callables, handle, kind, &callable);
	if (status == SIMPLER_OK)
		status = check_target(run->core, callable, options->worker);
	if (status == SIMPLER_OK)
		status = make_task(run, callable, args, options, &task);
	if (status == SIMPLER_OK)
		status = schedule_submit(task, out);
	return status;
}

simpler_status simpler_submit_next_level(simpler_orch *orch, simpler_orch_fn callable,
                                         const simpler_args *args,
                                         const simpler_submit_options *options, simpler_task *out)
{
	return submit(orch, callable.id, SIMPLER_KIND_ORCH, args, options, out);
}

simpler_status simpler_submit_sub(simpler_orch *orch, simpler_sub callable,
                                  const simpler_args *args, const simpler_submit_options *options,
                                  simpler_task *out)
{
	return submit(orch, callable.id, SIMPLER_KIND_SUB, args, options, out);
}

/* --- callables of the function's own module --- */

static simpler_status own_callable(simpler_orch *orch, const char *name, simpler_kind kind,
                                   simpler_bytes state, uint64_t *out)
{
	struct run *run = run_of(orch);
	const struct exec_callable *callable;
	simpler_status status;

	if (!out)
		return error_raise(SIMPLER_EINVAL, "a place for the handle is needed, not NULL");
	if (!orch || !run->module)
		return error_raise(SIMPLER_ESTATE,
		                   "this orchestration function came from no module; load one with "
		                   "simpler_module_load() and take handles from it");
	status = callables_add(run->core->callables, run->module, name, kind, state, &callable);
	if (status == SIMPLER_OK)
		*out = callable->key;
	return status;
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
