#include "worker/core.h"

#include <stdlib.h>

#include "base/condition.h"
#include "worker/schedule.h"
#include "worker/tensor_table.h"

static simpler_status make_heap(struct worker_core *core, const struct core_options *options)
{
	struct memory_segment *own = &core->segments[options->above_count];
	simpler_status status = heap_create("simpler-heap", options->heap_bytes, &core->heap);

	if (status != SIMPLER_OK)
		return status;
	for (uint32_t i = 0; i < options->above_count; i++)
		core->segments[i] = options->above[i];
	own->id = options->above_count + 1;
	own->base = heap_base(core->heap);
	own->bytes = heap_capacity(core->heap);
	core->segment_count = options->above_count + 1;
	return SIMPLER_OK;
}

static simpler_status make_parts(struct worker_core *core, const struct core_options *options)
{
	const struct dag_options graph = { .max_tasks = options->max_tasks };

	core->modules = modules_create();
	core->callables = callables_create();
	core->tensors = tensor_table_create();
	core->graph = dag_create(&graph);
	if (!core->modules || !core->callables || !core->graph || !core->tensors)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a worker");
	if (dag_scope_open(core->graph, &core->worker_scope) != SIMPLER_OK)
		return simpler_last_status();
	return make_heap(core, options);
}

simpler_status core_create(const struct core_options *options, struct worker_core **out)
{
	struct worker_core *core = calloc(1, sizeof(*core));

	if (!core)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a worker");
	core->level = options->level;
	core->grace_ms = options->grace_ms;
	(void)pthread_mutex_init(&core->lock, NULL);
	segments_init(&core->later);
	condition_init(&core->room);
	condition_init(&core->timer.changed);
	if (make_parts(core, options) != SIMPLER_OK) {
		core_destroy(core);
		return simpler_last_status();
	}
	*out = core;
	return SIMPLER_OK;
}

void core_close_children(struct worker_core *core)
{
	deadlines_stop(core);
	for (uint32_t i = core->child_count; i-- > 0;)
		core->children[i].child->ops->close(core->children[i].child);
}

static void release_children(struct worker_core *core)
{
	while (core->child_count > 0) {
		struct exec_child *child = core->children[--core->child_count].child;

		child->ops->release(child);
	}
}

void core_destroy(struct worker_core *core)
{
	deadlines_stop(core);
	release_children(core);
	timers_release(&core->timers);
	dag_destroy(core->graph);
	heap_destroy(core->heap);
	segments_release(&core->later);
	if (core->tensors)
		tensor_table_destroy(core->tensors);
	if (core->callables)
		callables_destroy(core->callables);
	if (core->modules)
		modules_destroy(core->modules);
	(void)pthread_cond_destroy(&core->timer.changed);
	(void)pthread_cond_destroy(&core->room);
	(void)pthread_mutex_destroy(&core->lock);
	free(core);
}

simpler_status core_check_places(const struct worker_core *core, uint32_t count)
{
	if (count <= WORKER_MAX_CHILDREN - core->child_count)
		return SIMPLER_OK;
	return error_raise(
		SIMPLER_ENOSPACE,
		"%u more children were asked for, and there are %u; a worker has at most %u", count,
		core->child_count, WORKER_MAX_CHILDREN);
}

simpler_status core_add_child(struct worker_core *core, struct exec_child *child, uint32_t *index)
{
	struct crew *crew = &core->crews[child->runs];
	simpler_status status = core_check_places(core, 1);

	if (status != SIMPLER_OK)
		return status;
	*index = core->child_count++;
	core->children[*index].child = child;
	crew->children[crew->child_count++] = *index;
	crew->free += child->capacity;
	crew->idle++;
	return SIMPLER_OK;
}

uint64_t core_queued(struct worker_core *core, simpler_kind kind)
{
	const struct crew *crew = &core->crews[kind];
	uint64_t queued;

	pthread_mutex_lock(&core->lock);
	queued = (uint64_t)crew->any.count + crew->groups.count + crew->directed;
	pthread_mutex_unlock(&core->lock);
	return queued;
}
