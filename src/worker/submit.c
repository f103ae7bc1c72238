/*
 * Building a task. All is checked before anything is reserved: first the arguments, then where the
 * task could run, then the outputs are allocated, and then it goes into the graph.
 *
 * A task is one piece of memory: struct task, its members, then for all members their tensors, the
 * tensors' dimensions, the scalars, and a config if the submit gave one.
 */
#include "worker/draft.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "wire/tensor.h"
#include "worker/storage.h"

/* Memory of this process that is no shared segment: its addresses are its offsets. */
#define STORE_OF_CALLER UINT64_MAX

static int64_t give_up_at(const simpler_submit_options *options)
{
	return options->room_timeout_ms == SIMPLER_FOREVER
	               ? CLOCK_NEVER
	               : clock_after_ms(options->room_timeout_ms);
}

/* --- memory --- */

struct sizes {
	size_t tensors, dimensions, scalars;
};

static void measure(const struct submit_call *call, struct sizes *sizes)
{
	*sizes = (struct sizes){ 0 };
	for (size_t i = 0; i < call->count; i++) {
		const simpler_args *args = call->args[i];

		if (!args)
			continue;
		sizes->tensors += args->tensor_count;
		sizes->scalars += args->scalar_count;
		for (uint32_t j = 0; j < args->tensor_count; j++)
			sizes->dimensions += 2 * (size_t)args->tensors[j].ndim;
	}
}

static simpler_status allocate(struct draft *draft, const struct sizes *sizes)
{
	const struct submit_call *call = draft->call;
	size_t members = call->count * sizeof(struct member);
	size_t tensors = sizes->tensors * sizeof(struct exec_tensor);
	size_t numbers = (sizes->dimensions + sizes->scalars + call->options->after_count) *
	                 sizeof(uint64_t);
	struct record_config *config;
	struct task *task = malloc(sizeof(*task) + members + tensors + numbers +
	                           (call->options->config ? sizeof(*config) : 0));
	uint8_t *behind;

	if (!task)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a task");
	memset(task, 0, sizeof(*task) + members);
	behind = (uint8_t *)task + sizeof(*task) + members;
	draft->task = task;
	draft->tensors = (struct exec_tensor *)(void *)behind;
	draft->dimensions = (int64_t *)(void *)(behind + tensors);
	draft->scalars = (uint64_t *)(void *)(draft->dimensions + sizes->dimensions);
	draft->after = draft->scalars + sizes->scalars;
	task->run = draft->run;
	task->kind = call->callable->kind;
	task->member_count = task->members_left = (uint32_t)call->count;
	task->timeout_ms = call->options->timeout_ms;
	if (!call->options->config)
		return SIMPLER_OK;
	config = (struct record_config *)(void *)(draft->after + call->options->after_count);
	for (size_t i = 0; i < call->count; i++)
		task->members[i].exec.config = config;
	return run_take_config(call->options->config, config);
}

/* --- tensors --- */

static bool lies_in(const struct memory_segment *segment, uintptr_t low, uint64_t span)
{
	uintptr_t base = (uintptr_t)segment->base;

	return low >= base && low - base <= segment->bytes && span <= segment->bytes - (low - base);
}

static bool find_segment(struct worker_core *core, uintptr_t low, uint64_t span,
                         struct memory_segment *out)
{
	for (uint32_t i = 0; i < core->segment_count; i++) {
		if (lies_in(&core->segments[i], low, span)) {
			*out = core->segments[i];
			return true;
		}
	}
	return segments_at(&core->later, low, span, out);
}

/* The heap's own storage is kept for the task. */
static simpler_status hold(struct draft *draft, const void *low, uint64_t span)
{
	if (!heap_find(draft->run->core->heap, low, span, &draft->holds[draft->hold_count]))
		return error_raise(SIMPLER_EINVAL,
		                   "its bytes are in the shared heap, but not within one live "
		                   "allocation: it was freed, its scope has ended, or it is larger "
		                   "than what was allocated");
	draft->hold_count++;
	return SIMPLER_OK;
}

static void note_use(struct draft *draft, const struct exec_tensor *tensor,
                     const struct tensor_footprint *print)
{
	bool shared = tensor->segment != EXEC_NO_SEGMENT;
	struct dag_use *use = &draft->uses[draft->use_count];

	if (tensor->tag == SIMPLER_NO_DEP || print->span == 0)
		return;
	use->store = shared ? tensor->segment : STORE_OF_CALLER;
	use->offset = (shared ? tensor->offset : (uintptr_t)tensor->data) - print->before;
	use->nbytes = print->span;
	use->pitch = print->pitch;
	use->width = print->width;
	use->access = draft_access(tensor->tag);
	draft->use_count++;
}

static simpler_status locate(struct draft *draft, uint32_t index, struct exec_tensor *tensor,
                             const struct tensor_footprint *print)
{
	struct worker_core *core = draft->run->core;
	uintptr_t low = (uintptr_t)tensor->data - print->before;
	struct memory_segment segment;
	bool found;

	tensor->segment = EXEC_NO_SEGMENT;
	tensor->offset = 0;
	if (print->span == 0) { /* an empty tensor lies nowhere and goes everywhere */
		tensor->segment = core->segments[core->segment_count - 1].id;
		return SIMPLER_OK;
	}
	found = find_segment(core, low, print->span, &segment);
	if (!found && tensor->backing == SIMPLER_SHARED)
		return error_raise(
			SIMPLER_EINVAL,
			"it is SIMPLER_SHARED and its bytes are not in memory shared with the "
			"children; allocate it with simpler_alloc() or simpler_orch_alloc(), pass "
			"on a tensor that this function was handed, or use SIMPLER_INLINE or "
			"SIMPLER_STAGED towards a remote node");
	if (tensor->backing == SIMPLER_SHARED)
		draft->shared_tensor = index;
	if (!found) {
		draft->private_tensor = index;
		return SIMPLER_OK;
	}
	tensor->segment = segment.id;
	tensor->offset = (uintptr_t)tensor->data - (uintptr_t)segment.base;
	draft->task->shared_bytes += tensor->nbytes;
	return segment.id == core->segments[core->segment_count - 1].id
	               ? hold(draft, (const void *)low, print->span)
	               : SIMPLER_OK;
}

static int64_t *copy_dimensions(struct draft *draft, const int64_t *from, uint32_t count)
{
	int64_t *to = draft->dimensions;

	memcpy(to, from, count * sizeof(*to));
	draft->dimensions += count;
	return to;
}

/* What a submit is to allocate gets its place later; see make_outputs(). */
static simpler_status take_unplaced(struct draft *draft, const simpler_tensor *view, uint32_t index,
                                    struct exec_tensor *out)
{
	simpler_tensor described;

	draft->shared_tensor = index;
	out->strides = NULL;
	return tensor_describe(&described, view->dtype, view->ndim, view->shape, &out->nbytes);
}

static simpler_status take_placed(struct draft *draft, const simpler_tensor *view, uint32_t index,
                                  struct exec_tensor *out)
{
	struct tensor_footprint print;
	simpler_status status = tensor_footprint(view, &print);

	out->nbytes = simpler_tensor_bytes(view);
	out->strides = simpler_tensor_is_contiguous(view)
	                       ? NULL
	                       : copy_dimensions(draft, view->strides, view->ndim);
	if (status == SIMPLER_OK)
		status = locate(draft, index, out, &print);
	if (status == SIMPLER_OK)
		note_use(draft, out, &print);
	return status;
}

static simpler_status take_tensor(struct draft *draft, const simpler_args *args, uint32_t index,
                                  struct exec_tensor *out)
{
	const simpler_tensor *view = &args->tensors[index];

	out->data = view->data;
	out->dtype = (uint8_t)view->dtype;
	out->tag = (uint8_t)args->tags[index];
	out->backing = (uint8_t)args->backings[index];
	out->ndim = (uint8_t)view->ndim;
	out->shape = copy_dimensions(draft, view->shape, view->ndim);
	out->storage = NULL;
	out->makes = false;
	out->transport = (uint8_t)args->remotes[index].transport;
	if (args->backings[index] == SIMPLER_REMOTE)
		return draft_take_remote(draft, args, index, out);
	return args->made[index] ? take_unplaced(draft, view, index, out)
	                         : take_placed(draft, view, index, out);
}

static simpler_status take_args(struct draft *draft, struct member *member,
                                const simpler_args *args)
{
	struct exec_task *exec = &member->exec;
	simpler_status status = SIMPLER_OK;

	exec->callable = draft->call->callable;
	if (!exec->config)
		exec->config = &draft->run->config;
	exec->tensors = draft->tensors;
	exec->scalars = draft->scalars;
	if (!args)
		return SIMPLER_OK;
	exec->scalar_count = args->scalar_count;
	memcpy(draft->scalars, args->scalars, args->scalar_count * sizeof(uint64_t));
	draft->scalars += args->scalar_count;
	for (uint32_t i = 0; i < args->tensor_count && status == SIMPLER_OK; i++) {
		exec->tensor_count++; /* so that those taken are known if one is refused */
		status = take_tensor(draft, args, i, draft->tensors++);
		if (status != SIMPLER_OK)
			(void)error_context("tensor %u", i);
	}
	return status;
}

static bool is_of_program(const struct draft *draft)
{
	return draft->call->callable->source == RECORD_FROM_PROGRAM;
}

/* The library it is from, if that is not on this machine. */
static const char *library_of_nodes(const struct draft *draft)
{
	const struct exec_module *module = draft->call->callable->module;

	return module && module->fd < 0 ? module->origin.library : NULL;
}

static simpler_status take_all_args(struct draft *draft)
{
	const struct submit_call *call = draft->call;
	bool group = call->count > 1;
	simpler_status status = SIMPLER_OK;

	for (size_t i = 0; i < call->count && status == SIMPLER_OK; i++) {
		struct member *member = &draft->task->members[i];

		member->task = draft->task;
		member->target = call->targets ? call->targets[i] : SIMPLER_ANY_WORKER;
		status = take_args(draft, member, call->args[i]);
		if (status != SIMPLER_OK && group)
			(void)error_context("member %zu of the group", i);
	}
	draft->task->local_only = draft->shared_tensor != NO_TENSOR || is_of_program(draft);
	draft->task->remote_only = draft->private_tensor != NO_TENSOR || library_of_nodes(draft);
	return status;
}

/* An id tells by itself whose it is, also when its task has ended and left no trace. */
static simpler_status take_after(struct draft *draft)
{
	const simpler_submit_options *options = draft->call->options;

	for (size_t i = 0; i < options->after_count; i++) {
		const simpler_task *task = &options->after[i];

		if (task->id == 0 || task->run != draft->run->number)
			return error_raise(SIMPLER_EINVAL,
			                   "after[%zu] is no task of this run; give what a submit "
			                   "of this run has returned",
			                   i);
		draft->after[i] = task->id;
	}
	return SIMPLER_OK;
}

/* --- where it can run --- */

/* Why a child of the right kind cannot take it. */
static simpler_status refuse_child(const struct draft *draft, const struct exec_child *child)
{
	if (child->local && library_of_nodes(draft))
		return error_raise(
			SIMPLER_EINVAL,
			"'%s' is of library '%s', which is for nodes: this worker has no "
			"library_dir to find it in for %s",
			draft->call->callable->name, library_of_nodes(draft), child->name);
	if (child->local)
		return error_raise(SIMPLER_EINVAL,
		                   "tensor %u is in memory of this process alone, and %s works on "
		                   "shared memory in place; allocate it with simpler_alloc() or "
		                   "simpler_orch_alloc()",
		                   draft->private_tensor, child->name);
	if (is_of_program(draft))
		return error_raise(SIMPLER_EINVAL,
		                   "'%s' is a function of this program, which exists on this "
		                   "machine only, and %s is another; put it into a module",
		                   draft->call->callable->name, child->name);
	return error_raise(SIMPLER_EINVAL,
	                   "tensor %u is SIMPLER_SHARED, and %s shares no memory with this "
	                   "process; pass it as SIMPLER_INLINE or SIMPLER_STAGED",
	                   draft->shared_tensor, child->name);
}

static simpler_status check_target(const struct draft *draft, simpler_worker_id target)
{
	const struct worker_core *core = draft->run->core;
	const struct exec_callable *callable = draft->call->callable;
	const struct exec_child *child;

	if (target >= core->child_count)
		return error_raise(SIMPLER_EINVAL, "worker %u is not a child here; there are %u",
		                   target, core->child_count);
	child = core->children[target].child;
	if (child->runs != callable->kind)
		return error_raise(SIMPLER_EINVAL, "%s runs no %s, so '%s' cannot go there",
		                   child->name, simpler_kind_name(callable->kind), callable->name);
	return place_is_eligible(draft->task, child) ? SIMPLER_OK : refuse_child(draft, child);
}

static simpler_status check_any(const struct draft *draft)
{
	const struct worker_core *core = draft->run->core;
	const struct exec_callable *callable = draft->call->callable;
	const struct crew *crew = &core->crews[callable->kind];
	uint32_t eligible = 0;

	if (crew->child_count == 0)
		return error_raise(
			SIMPLER_EINVAL,
			"no child of this level %u worker runs %ss; '%s' has nowhere to go",
			core->level, simpler_kind_name(callable->kind), callable->name);
	for (uint32_t i = 0; i < crew->child_count; i++)
		eligible += place_is_eligible(draft->task, core->children[crew->children[i]].child);
	if (eligible == 0)
		return refuse_child(draft, core->children[crew->children[0]].child);
	if (eligible < draft->call->count)
		return error_raise(SIMPLER_EINVAL,
		                   "a group of %zu needs as many workers, and %u can run '%s'",
		                   draft->call->count, eligible, callable->name);
	return SIMPLER_OK;
}

static simpler_status check_distinct(const struct task *task)
{
	for (uint32_t i = 1; i < task->member_count; i++) {
		uint32_t target = task->members[i].target;

		for (uint32_t j = 0; j < i; j++) {
			if (target != SIMPLER_ANY_WORKER && target == task->members[j].target)
				return error_raise(SIMPLER_EINVAL,
				                   "members %u and %u of the group name the same "
				                   "worker, %u, or tensors of it; name distinct "
				                   "ones",
				                   j, i, target);
		}
	}
	return SIMPLER_OK;
}

/* A task that neither a worker of this machine can take nor a node. */
static simpler_status refuse_both(const struct draft *draft)
{
	if (library_of_nodes(draft))
		return error_raise(
			SIMPLER_EINVAL,
			"'%s' is of library '%s', which is for nodes: this worker has no "
			"library_dir; and tensor %u is SIMPLER_SHARED, for workers of "
			"this machine",
			draft->call->callable->name, library_of_nodes(draft), draft->shared_tensor);
	if (is_of_program(draft))
		return error_raise(SIMPLER_EINVAL,
		                   "'%s' is a function of this program, for workers of this "
		                   "machine, and tensor %u is in memory of this process alone, "
		                   "for remote nodes; allocate it with simpler_alloc() or "
		                   "simpler_orch_alloc()",
		                   draft->call->callable->name, draft->private_tensor);
	return error_raise(SIMPLER_EINVAL,
	                   "tensor %u is SIMPLER_SHARED, for workers of this machine, and "
	                   "tensor %u is in memory of this process alone, for remote nodes; "
	                   "no worker can take both",
	                   draft->shared_tensor, draft->private_tensor);
}

static simpler_status check_targets(const struct draft *draft)
{
	const struct task *task = draft->task;
	simpler_status status = SIMPLER_OK;
	bool any = false;

	if (task->local_only && task->remote_only)
		return refuse_both(draft);
	for (uint32_t i = 0; i < task->member_count && status == SIMPLER_OK; i++) {
		any |= task->members[i].target == SIMPLER_ANY_WORKER;
		if (task->members[i].target != SIMPLER_ANY_WORKER)
			status = check_target(draft, task->members[i].target);
	}
	if (status == SIMPLER_OK && any)
		status = check_any(draft);
	return status == SIMPLER_OK ? check_distinct(task) : status;
}

/* --- outputs --- */

static simpler_status make_output(struct draft *draft, struct exec_tensor *tensor,
                                  const simpler_tensor *view, simpler_tensor *made)
{
	const struct worker_core *core = draft->run->core;
	const struct memory_segment *heap = &core->segments[core->segment_count - 1];
	const struct tensor_footprint print = { .span = tensor->nbytes };
	simpler_status status =
		storage_alloc(draft->run, tensor->nbytes, give_up_at(draft->call->options),
	                      &tensor->data, &draft->holds[draft->hold_count]);

	if (status != SIMPLER_OK)
		return status;
	draft->hold_count++;
	tensor->segment = heap->id;
	tensor->offset = (uintptr_t)tensor->data - (uintptr_t)heap->base;
	note_use(draft, tensor, &print);
	*made = *view;
	made->data = tensor->data;
	return SIMPLER_OK;
}

/* Those made before one fails are discarded with the others: see submit_draft(). */
static simpler_status make_outputs(struct draft *draft)
{
	const struct submit_call *call = draft->call;

	for (size_t i = 0; i < call->count; i++) {
		const simpler_args *args = call->args[i];
		const struct exec_task *exec = &draft->task->members[i].exec;

		for (uint32_t j = 0; args && j < args->tensor_count; j++) {
			/* The draft's own memory, const for others. */
			struct exec_tensor *tensor = (struct exec_tensor *)&exec->tensors[j];

			if (args->made[j] && make_output(draft, tensor, &args->tensors[j],
			                                 args->made[j]) != SIMPLER_OK)
				return error_context("output %u", j);
		}
	}
	return SIMPLER_OK;
}

static simpler_status make_all_outputs(struct draft *draft)
{
	simpler_status status = make_outputs(draft);

	return status == SIMPLER_OK ? draft_make_remote_outputs(draft) : status;
}

static void discard_outputs(struct draft *draft, size_t first_made)
{
	for (size_t i = first_made; i < draft->hold_count; i++)
		storage_discard(draft->run->core, draft->holds[i]);
	for (size_t i = 0; i < draft->call->count; i++) {
		const simpler_args *args = draft->call->args[i];

		for (uint32_t j = 0; args && j < args->tensor_count; j++) {
			if (args->made[j])
				args->made[j]->data = NULL;
		}
	}
}

/* --- all of it --- */

/* The draft's task is the graph's afterwards, or gone. */
static simpler_status submit_draft(struct draft *draft, simpler_task *out)
{
	const simpler_submit_options *options = draft->call->options;
	size_t first_made = draft->hold_count;
	bool has_storage = draft->task->has_storage;
	simpler_status status = make_all_outputs(draft);
	const struct submission submission = {
		.uses = draft->uses,
		.use_count = draft->use_count,
		.holds = draft->holds,
		.hold_count = draft->hold_count,
		.after = draft->after,
		.after_count = options->after_count,
		.give_up = give_up_at(options),
	};

	if (status == SIMPLER_OK)
		status = schedule_submit(draft->task, &submission, out);
	else
		schedule_discard(draft->task);
	if (status != SIMPLER_OK && has_storage)
		draft_discard_remote_outputs(draft);
	if (status != SIMPLER_OK && draft->hold_count > first_made)
		discard_outputs(draft, first_made);
	return status;
}

static simpler_status build(struct draft *draft, const struct sizes *sizes, simpler_task *out)
{
	simpler_status status = allocate(draft, sizes);

	if (!draft->task)
		return status;
	if (status == SIMPLER_OK)
		status = take_all_args(draft);
	if (status == SIMPLER_OK)
		status = take_after(draft);
	if (status == SIMPLER_OK)
		status = draft_aim(draft);
	if (status == SIMPLER_OK)
		status = check_targets(draft);
	if (status != SIMPLER_OK) {
		schedule_discard(draft->task);
		return status;
	}
	return submit_draft(draft, out);
}

simpler_status submit_task(struct run *run, const struct submit_call *call, simpler_task *out)
{
	struct dag_use uses[SIMPLER_MAX_TENSORS];
	dag_storage_id holds[SIMPLER_MAX_TENSORS];
	struct draft draft = {
		.run = run,
		.call = call,
		.uses = uses,
		.holds = holds,
		.shared_tensor = NO_TENSOR,
		.private_tensor = NO_TENSOR,
	};
	struct sizes sizes;
	simpler_status status;

	measure(call, &sizes);
	if (sizes.tensors <= SIMPLER_MAX_TENSORS)
		return build(&draft, &sizes, out);
	draft.uses = malloc(sizes.tensors * sizeof(*draft.uses));
	draft.holds = malloc(sizes.tensors * sizeof(*draft.holds));
	status = draft.uses && draft.holds
	                 ? build(&draft, &sizes, out)
	                 : error_raise(SIMPLER_ENOMEM, "out of memory for a task");
	free(draft.uses);
	free(draft.holds);
	return status;
}
