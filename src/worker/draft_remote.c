/*
 * Tensors on nodes as arguments.
 *
 * A task goes to where its tensors are, so what it names decides its node here, at the submit, and
 * the scheduler finds it directed there. An output that is to stay on a node gets its handle here
 * and its storage when the task starts: a submit never waits for a node.
 */
#include "worker/draft.h"

#include "wire/tensor.h"
#include "worker/tensor_table.h"

/* --- taking --- */

static simpler_status check_view(const struct exec_storage *storage, const struct exec_tensor *view)
{
	if (view->offset > storage->nbytes || view->nbytes > storage->nbytes - view->offset)
		return error_raise(SIMPLER_EINVAL,
		                   "it takes %llu bytes from offset %llu on, and the storage has "
		                   "%llu",
		                   (unsigned long long)view->nbytes,
		                   (unsigned long long)view->offset,
		                   (unsigned long long)storage->nbytes);
	if (exec_tag_writes(view->tag) && !storage->writable)
		return error_raise(SIMPLER_EPERM,
		                   "%s writes it, and its handle is for reading only",
		                   simpler_tag_name((simpler_tag)view->tag));
	return SIMPLER_OK;
}

static void note_use(struct draft *draft, simpler_tensor_handle handle,
                     const struct exec_tensor *tensor)
{
	if (tensor->tag == SIMPLER_NO_DEP || tensor->nbytes == 0)
		return;
	draft->uses[draft->use_count++] = (struct dag_use){ .store = tensor_handle_store(handle),
		                                            .offset = tensor->offset,
		                                            .nbytes = tensor->nbytes,
		                                            .access = draft_access(tensor->tag) };
}

simpler_status draft_take_remote(struct draft *draft, const simpler_args *args, uint32_t index,
                                 struct exec_tensor *out)
{
	const struct args_remote *remote = &args->remotes[index];
	const simpler_tensor *view = &args->tensors[index];
	simpler_tensor described;
	simpler_status status =
		tensor_describe(&described, view->dtype, view->ndim, view->shape, &out->nbytes);

	out->strides = NULL;
	out->segment = EXEC_NO_SEGMENT;
	out->offset = remote->offset;
	draft->task->has_storage = true;
	if (status != SIMPLER_OK || remote->made)
		return status;
	status = tensor_table_find(draft->run->core->tensors, remote->handle, &out->storage);
	if (status == SIMPLER_OK)
		status = check_view(out->storage, out);
	if (status == SIMPLER_OK)
		note_use(draft, remote->handle, out);
	return status;
}

/* --- aiming --- */

static simpler_status refuse_kind(const struct draft *draft, uint32_t index, const char *node)
{
	const struct exec_callable *callable = draft->call->callable;

	return error_raise(
		SIMPLER_EINVAL,
		"tensor %u is on %s, and the %s '%s' runs on this machine: read the tensor "
		"into memory that is shared here, or submit an orchestration function to "
		"the node",
		index, node, simpler_kind_name(callable->kind), callable->name);
}

static simpler_status refuse_target(const struct worker_core *core, uint32_t index,
                                    const struct exec_child *home, simpler_worker_id target)
{
	const struct exec_child *child = core->children[target].child;

	return error_raise(
		SIMPLER_EINVAL,
		"tensor %u is on %s, and the task is to run on %s%s: bring the tensor "
		"there with simpler_tensor_bring(), ask for auto_import if the task only "
		"reads it, or name its own node",
		index, home->name, child->name, child->local ? ", a process of this machine" : "");
}

static bool names_tensor(const simpler_args *args, uint32_t index)
{
	return args->backings[index] == SIMPLER_REMOTE && !args->remotes[index].made;
}

static simpler_status aim_tensor(struct draft *draft, struct member *member, uint32_t index,
                                 simpler_tensor_handle handle)
{
	const struct worker_core *core = draft->run->core;
	simpler_worker_id home = tensor_handle_child(handle);
	const struct exec_child *node = core->children[home].child;

	if (draft->call->callable->kind != SIMPLER_KIND_ORCH)
		return refuse_kind(draft, index, node->name);
	if (member->target == SIMPLER_ANY_WORKER)
		member->target = home;
	if (member->target == home || member->target >= core->child_count)
		return SIMPLER_OK; /* check_target() tells of the latter */
	return refuse_target(core, index, node, member->target);
}

/* For a task that makes tensors and has none yet. */
static simpler_worker_id least_loaded(const struct draft *draft)
{
	struct worker_core *core = draft->run->core;
	const struct crew *crew = &core->crews[draft->call->callable->kind];
	simpler_worker_id best = SIMPLER_ANY_WORKER;

	pthread_mutex_lock(&core->lock);
	for (uint32_t i = 0; i < crew->child_count; i++) {
		const struct exec_child *child = core->children[crew->children[i]].child;

		if (child->make_storage &&
		    (best == SIMPLER_ANY_WORKER ||
		     child->in_progress < core->children[best].child->in_progress))
			best = crew->children[i];
	}
	pthread_mutex_unlock(&core->lock);
	return best;
}

/* The node that has most of the bytes that a member names; SIMPLER_ANY_WORKER when it names none.
 */
static simpler_worker_id richest(const struct member *member, const simpler_args *args)
{
	simpler_worker_id best = SIMPLER_ANY_WORKER;
	uint64_t most = 0;

	for (uint32_t i = 0; i < args->tensor_count; i++) {
		simpler_worker_id node = tensor_handle_child(args->remotes[i].handle);
		uint64_t bytes = 0;

		if (!names_tensor(args, i))
			continue;
		for (uint32_t j = 0; j < args->tensor_count; j++) {
			if (names_tensor(args, j) &&
			    tensor_handle_child(args->remotes[j].handle) == node)
				bytes += member->exec.tensors[j].nbytes;
		}
		if (best == SIMPLER_ANY_WORKER || bytes > most) {
			best = node;
			most = bytes;
		}
	}
	return best;
}

static simpler_status aim_member(struct draft *draft, struct member *member,
                                 const simpler_args *args)
{
	bool imports = draft->call->options->auto_import || draft->run->call.auto_import;
	simpler_status status = SIMPLER_OK;
	bool makes = false;

	for (uint32_t i = 0; args && i < args->tensor_count && status == SIMPLER_OK; i++) {
		makes |= args->backings[i] == SIMPLER_REMOTE && args->remotes[i].made;
		if (names_tensor(args, i) &&
		    !(imports && !exec_tag_writes((uint8_t)args->tags[i]) &&
		      draft->call->callable->kind == SIMPLER_KIND_ORCH))
			status = aim_tensor(draft, member, i, args->remotes[i].handle);
	}
	if (args && member->target == SIMPLER_ANY_WORKER)
		member->target = richest(member, args);
	if (makes && member->target == SIMPLER_ANY_WORKER)
		member->target = least_loaded(draft);
	return status;
}

simpler_status draft_aim(struct draft *draft)
{
	struct task *task = draft->task;
	simpler_status status = SIMPLER_OK;

	for (uint32_t i = 0; i < task->member_count && status == SIMPLER_OK; i++) {
		struct member *member = &task->members[i];

		if (task->has_storage)
			status = aim_member(draft, member, draft->call->args[i]);
		member->exec.bound = task->member_count > 1 || member->target != SIMPLER_ANY_WORKER;
	}
	return status;
}

/* --- outputs --- */

static simpler_status make_output(struct draft *draft, const struct member *member,
                                  struct exec_tensor *tensor, simpler_tensor_handle *made)
{
	struct worker_core *core = draft->run->core;
	struct exec_child *child;
	simpler_status status;

	if (member->target == SIMPLER_ANY_WORKER ||
	    !core->children[member->target].child->make_storage)
		return error_raise(
			SIMPLER_EINVAL,
			"it is to stay on a node, and the task runs on none; give it a node "
			"to go to, or use simpler_args_add_output()");
	child = core->children[member->target].child;
	status = child->make_storage(child, tensor->nbytes, &tensor->storage);
	if (status != SIMPLER_OK)
		return status;
	exec_storage_hold(tensor->storage); /* the table's, besides the task's */
	status = tensor_table_add(core->tensors, tensor->storage, member->target, made);
	if (status != SIMPLER_OK) {
		exec_storage_drop(tensor->storage);
		return status;
	}
	tensor->makes = true;
	note_use(draft, *made, tensor);
	return SIMPLER_OK;
}

simpler_status draft_make_remote_outputs(struct draft *draft)
{
	for (uint32_t i = 0; draft->task->has_storage && i < draft->task->member_count; i++) {
		const struct member *member = &draft->task->members[i];
		const simpler_args *args = draft->call->args[i];

		for (uint32_t j = 0; args && j < args->tensor_count; j++) {
			/* The draft's own memory, const for others. */
			struct exec_tensor *tensor = (struct exec_tensor *)&member->exec.tensors[j];
			simpler_tensor_handle *made = args->remotes[j].made;

			if (args->backings[j] == SIMPLER_REMOTE && made &&
			    make_output(draft, member, tensor, made) != SIMPLER_OK) {
				*made = (simpler_tensor_handle){ .node = 0 };
				return error_context("output %u", j);
			}
		}
	}
	return SIMPLER_OK;
}

void draft_discard_remote_outputs(struct draft *draft)
{
	struct tensor_table *table = draft->run->core->tensors;
	struct exec_storage *storage;

	for (size_t i = 0; i < draft->call->count; i++) {
		const simpler_args *args = draft->call->args[i];

		for (uint32_t j = 0; args && j < args->tensor_count; j++) {
			simpler_tensor_handle *made = args->remotes[j].made;

			if (args->backings[j] != SIMPLER_REMOTE || !made)
				continue;
			if (tensor_table_remove(table, *made, &storage) == SIMPLER_OK)
				exec_storage_drop(storage);
			*made = (simpler_tensor_handle){ .node = 0 };
		}
	}
}
