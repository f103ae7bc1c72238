#include "worker/core.h"

#include <stdlib.h>

simpler_status core_create(unsigned level, struct worker_core **out)
{
	const struct dag_options graph = { .max_tasks = WORKER_MAX_TASKS };
	struct worker_core *core = calloc(1, sizeof(*core));

	if (!core)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a worker");
	core->level = level;
	(void)pthread_mutex_init(&core->lock, NULL);
	(void)pthread_cond_init(&core->room, NULL);
	core->callables = callables_create();
	core->graph = dag_create(&graph);
	if (!core->callables || !core->graph) {
		core_destroy(core);
		return error_raise(SIMPLER_ENOMEM, "out of memory for a worker");
	}
	*out = core;
	return SIMPLER_OK;
}

void core_close_children(struct worker_core *core)
{
	while (core->child_count > 0) {
		struct exec_child *child = core->children[--core->child_count];

		child->ops->close(child);
	}
}

void core_destroy(struct worker_core *core)
{
	dag_destroy(core->graph);
	if (core->callables)
		callables_destroy(core->callables);
	(void)pthread_cond_destroy(&core->room);
	(void)pthread_mutex_destroy(&core->lock);
	free(core);
}

simpler_status core_add_child(struct worker_core *core, struct exec_child *child, uint32_t *index)
{
	if (core->child_count == WORKER_MAX_CHILDREN)
		return error_raise(SIMPLER_ENOSPACE, "a worker has at most %u children",
		                   WORKER_MAX_CHILDREN);
	*index = core->child_count;
	core->children[core->child_count++] = child;
	if (child->runs == SIMPLER_KIND_SUB)
		core->idle_subs += child->capacity;
	else
		core->idle_next_level += child->capacity;
	return SIMPLER_OK;
}

simpler_status core_run(struct worker_core *core, simpler_orch_function *fn, const char *name,
                        const struct module *module, const simpler_args *args,
                        const simpler_config *config, simpler_bytes state)
{
	static const simpler_config defaults = SIMPLER_CONFIG_INIT;
	struct run run = { .core = core, .module = module };
	simpler_status status;

	(void)pthread_cond_init(&run.ended, NULL);
	/* So that an error found after the call is the function's own. */
	error_clear();
	run.announced = core->progress.announce && core->progress.announce(core->progress.context);
	status = fn((simpler_orch *)&run, args, config ? config : &defaults, state);
	status = schedule_wait(&run, name, status);
	(void)pthread_cond_destroy(&run.ended);
	return status;
}
