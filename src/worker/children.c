/* Children of this machine, as a program adds them. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ipc/host_program.h"
#include "wire/tree.h"
#include "worker/worker.h"

#define PATH_BYTES 4096

/* What is in progress would never end. It ends in the only way left: with its program's knowledge.
 */
static void on_helper_lost(void *context)
{
	(void)context;
	simpler_log(SIMPLER_LOG_ERROR,
	            "the spawn helper died, and all children on this machine with it; close the "
	            "worker and make another");
}

/* Such a process would have children that have children, without an end. */
static simpler_status check_not_unserved(void)
{
	bool is_helper;

	/* What cannot be told is no helper: such a process would not have been started. */
	if (host_program_is_own() || spawn_is_own_helper(&is_helper) != SIMPLER_OK || !is_helper)
		return SIMPLER_OK;
	return error_raise(
		SIMPLER_ESTATE,
		"this process was started to run tasks of its program's, and that has not "
		"said so; make simpler_program_serve() the first statement of main()");
}

/* The group, made when it is first needed. */
static simpler_status get_group(simpler_worker *worker, struct local_group **out)
{
	struct worker_core *core = worker->core;
	const struct memory_segment *heap = &core->segments[0];
	char program[PATH_BYTES];
	struct local_options options = {
		.host_program = program,
		.segments = { { heap_fd(core->heap), heap->id, heap->bytes } },
		.segment_count = 1,
		.lost = on_helper_lost,
		.context = worker,
	};
	simpler_status status = SIMPLER_OK;

	if (!worker->group)
		status = check_not_unserved();
	if (status == SIMPLER_OK && !worker->group) {
		status = host_program_find(program, sizeof(program));
		if (status == SIMPLER_OK)
			status = local_group_create(&options, &worker->group);
	}
	*out = worker->group;
	return status;
}

static simpler_status make_child(simpler_worker *worker, const struct local_child_options *options)
{
	struct exec_child *child;
	uint32_t index;
	simpler_status status = local_group_add(worker->group, options, &child);

	return status == SIMPLER_OK ? core_add_child(worker->core, child, &index) : status;
}

static simpler_status add_children(simpler_worker *worker, uint32_t count,
                                   const struct local_child_options *options,
                                   simpler_worker_id *first)
{
	struct local_group *group;
	simpler_status status = get_group(worker, &group);
	uint32_t index = worker->core->child_count;

	if (status == SIMPLER_OK)
		status = local_group_check_places(group, count);
	if (status == SIMPLER_OK)
		status = core_check_places(worker->core, count);
	for (uint32_t i = 0; i < count && status == SIMPLER_OK; i++) {
		struct local_child_options one = *options;

		one.device_index = i;
		status = make_child(worker, &one);
	}
	if (status == SIMPLER_OK && first)
		*first = index;
	return status;
}

simpler_status simpler_worker_add_subs(simpler_worker *worker, uint32_t count,
                                       simpler_worker_id *first)
{
	const struct local_child_options options = { .kind = SIMPLER_KIND_SUB };
	simpler_status status = worker_check_new(worker, "sub workers");

	if (status == SIMPLER_OK && count == 0)
		status = error_raise(SIMPLER_EINVAL, "0 sub workers were added; give at least 1");
	return status == SIMPLER_OK ? add_children(worker, count, &options, first) : status;
}

simpler_status simpler_worker_add_chips(simpler_worker *worker, uint32_t count, const char *device,
                                        simpler_worker_id *first)
{
	const struct local_child_options options = { .kind = SIMPLER_KIND_CHIP, .device = device };
	simpler_status status = worker_check_new(worker, "chips");

	if (status != SIMPLER_OK)
		return status;
	if (worker->core->level != 3)
		return error_raise(SIMPLER_EINVAL,
		                   "chips are children of a worker of level 3, and this is one of "
		                   "level %u; add a local worker with chips below it",
		                   worker->core->level);
	if (count == 0 || !device || strlen(device) >= TREE_DEVICE_BYTES)
		return error_raise(
			SIMPLER_EINVAL,
			"%u chips of device '%.40s'; give at least 1 and a name, such as "
			"\"sim\"",
			count, device ? device : "");
	return add_children(worker, count, &options, first);
}

/* --- trees --- */

/* Breadth first, so that the children of a worker are one range of nodes. */
struct planting {
	struct tree tree;
	const simpler_local_options *options[TREE_MAX_NODES];
};

static simpler_status plant(struct planting *planting, const simpler_local_options *options,
                            uint32_t level)
{
	struct tree_node *node = &planting->tree.nodes[planting->tree.count];

	if (!options)
		return error_raise(SIMPLER_EINVAL, "the options of a worker are NULL");
	if (options->struct_size != sizeof(*options))
		return error_raise(
			SIMPLER_EINVAL,
			"the options of a local worker have size %zu instead of %zu; begin "
			"them with SIMPLER_LOCAL_OPTIONS_INIT",
			options->struct_size, sizeof(*options));
	if (options->sub_workers == 0 && options->chips == 0 && options->worker_count == 0)
		return error_raise(SIMPLER_EINVAL,
		                   "a local worker of level %u has nothing below it; give it sub "
		                   "workers, chips or workers",
		                   level);
	if (planting->tree.count == TREE_MAX_NODES)
		return error_raise(SIMPLER_ENOSPACE, "a tree has at most %d workers",
		                   TREE_MAX_NODES);
	if (options->chips > 0 &&
	    (!options->device || strlen(options->device) >= sizeof(node->device)))
		return error_raise(SIMPLER_EINVAL,
		                   "the device of chips has a name of 1 to %zu bytes",
		                   sizeof(node->device) - 1);
	if (options->worker_count > 0 && !options->workers)
		return error_raise(SIMPLER_EINVAL, "worker_count is %u and workers is NULL",
		                   options->worker_count);
	*node = (struct tree_node){ .level = level,
		                    .sub_workers = options->sub_workers,
		                    .chips = options->chips,
		                    .child_count = options->worker_count,
		                    .heap_bytes = options->heap_bytes };
	if (options->chips > 0)
		memcpy(node->device, options->device, strlen(options->device) + 1);
	planting->options[planting->tree.count++] = options;
	return SIMPLER_OK;
}

static simpler_status plant_all(struct planting *planting, const simpler_worker *worker,
                                const simpler_local_options *options)
{
	simpler_status status = plant(planting, options, worker->core->level - 1);

	for (uint32_t i = 0; status == SIMPLER_OK && i < planting->tree.count; i++) {
		struct tree_node *node = &planting->tree.nodes[i];

		node->max_tasks = worker->max_tasks;
		node->grace_ms = worker->core->grace_ms;
		node->first_child = planting->tree.count;
		for (uint32_t j = 0; j < node->child_count && status == SIMPLER_OK; j++)
			status =
				plant(planting, &planting->options[i]->workers[j], node->level - 1);
	}
	return status == SIMPLER_OK ? tree_check(&planting->tree) : status;
}

simpler_status simpler_worker_add_local(simpler_worker *worker,
                                        const simpler_local_options *options,
                                        simpler_worker_id *out)
{
	struct local_child_options child = { .kind = SIMPLER_KIND_ORCH };
	struct planting *planting;
	simpler_status status = worker_check_new(worker, "local workers");

	if (status != SIMPLER_OK)
		return status;
	if (worker->core->level == 3)
		return error_raise(SIMPLER_EINVAL,
		                   "below a worker of level 3 there are sub workers and chips, no "
		                   "workers; make it level 4");
	planting = calloc(1, sizeof(*planting));
	if (!planting)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a tree of workers");
	child.tree = &planting->tree;
	status = plant_all(planting, worker, options);
	if (status == SIMPLER_OK)
		status = add_children(worker, 1, &child, out);
	free(planting);
	return status;
}
