/* The step of a task on a remote node that has it run there, and takes what came of it. */
#include <stdlib.h>
#include <string.h>

#include "base/bump.h"
#include "exec/remote_task.h"
#include "rpc/messages.h"

/* Dispatches of one task. Each but the first follows the end of a connection. */
#define MAX_SENT 16u

/* What the node itself said of how its bytes are reached it needs not be told. */
static struct msg_handle named(const struct msg_handle *handle)
{
	struct msg_handle named = *handle;

	named.transport_desc.size = 0;
	named.also[0] = '\0';
	return named;
}

static void describe_tensor(const struct remote_task *run, uint32_t index,
                            struct msg_tensor_ref *out)
{
	const struct exec_tensor *tensor = &run->task->tensors[index];

	memset(out, 0, sizeof(*out));
	remote_task_describe_shape(tensor, &out->shape);
	out->is_handle = remote_is_staged(tensor) || tensor->storage;
	out->offset = tensor->storage ? tensor->offset : 0;
	if (tensor->storage && !remote_is_elsewhere(run, tensor)) {
		out->handle = named(&remote_storage_of(tensor->storage)->place.handle);
	} else if (out->is_handle) {
		out->handle = named(&run->places[index].handle);
		out->landed = run->places[index].landed;
	} else if (exec_tag_reads(tensor->tag)) {
		out->inline_data.data = tensor->data;
		out->inline_data.size = (size_t)tensor->nbytes;
		atomic_fetch_add(&run->node->inline_sent, tensor->nbytes);
	}
}

static void take_error(struct remote_task *run, const struct msg_outcome *outcome)
{
	int32_t code = outcome->error_code;

	run->failed = true;
	error_init_untrusted(&run->error, code > 0 ? (simpler_status)code : SIMPLER_EUSER,
	                     outcome->error_msg, strlen(outcome->error_msg));
	/* The traceback is outermost first and ends with the cause, which error_msg is already. */
	for (uint32_t i = outcome->line_count; i-- > 0;) {
		const char *line = outcome->lines[i];

		if (i + 1 < outcome->line_count || strcmp(line, outcome->error_msg) != 0)
			error_add_untrusted(&run->error, line, strlen(line));
	}
}

/* The outputs come in argument order, one for each tensor the task wrote. */
static void take_outputs(struct remote_task *run, const struct msg_outcome *outcome)
{
	const struct exec_task *task = run->task;
	uint32_t written = 0, next = 0;

	for (uint32_t i = 0; i < task->tensor_count; i++)
		written += exec_tag_writes(task->tensors[i].tag);
	if (written != outcome->output_count) {
		remote_task_fail(run, RPC_DATA_LOSS,
		                 "the node answered with another number of outputs");
		return;
	}
	for (uint32_t i = 0; i < task->tensor_count; i++) {
		const struct exec_tensor *tensor = &task->tensors[i];
		const struct msg_tensor_ref *output = &outcome->outputs[next];

		if (!exec_tag_writes(tensor->tag))
			continue;
		next++;
		if (remote_is_inline(tensor) &&
		    (output->is_handle || output->inline_data.size != tensor->nbytes)) {
			remote_task_fail(run, RPC_DATA_LOSS,
			                 "the node answered with an output of another size");
			return;
		}
	}
}

static bool comes_with_answer(const struct exec_tensor *tensor)
{
	return remote_is_inline(tensor) && exec_tag_writes(tensor->tag) && tensor->nbytes > 0;
}

/* To the caller's memory, or one behind the other to `kept`. */
static void copy_inline_outputs(const struct remote_task *run, const struct msg_outcome *outcome,
                                uint8_t *kept)
{
	const struct exec_task *task = run->task;
	uint32_t next = 0;

	for (uint32_t i = 0; i < task->tensor_count; i++) {
		const struct exec_tensor *tensor = &task->tensors[i];

		if (comes_with_answer(tensor)) {
			memcpy(kept ? kept : tensor->data, outcome->outputs[next].inline_data.data,
			       (size_t)tensor->nbytes);
			if (kept)
				kept += tensor->nbytes;
			atomic_fetch_add(&run->node->inline_received, tensor->nbytes);
		}
		next += exec_tag_writes(tensor->tag);
	}
}

/* As fetching may fail, and this does not, it is for afterwards. */
static void keep_inline_outputs(struct remote_task *run, const struct msg_outcome *outcome)
{
	const struct exec_task *task = run->task;
	size_t size = 0;

	for (uint32_t i = 0; i < task->tensor_count; i++) {
		if (comes_with_answer(&task->tensors[i]))
			size += (size_t)task->tensors[i].nbytes;
	}
	if (size == 0)
		return;
	run->kept = malloc(size);
	if (run->kept) {
		copy_inline_outputs(run, outcome, run->kept);
		return;
	}
	(void)error_raise(SIMPLER_ENOMEM, "out of memory for results");
	remote_task_fail_here(run);
}

void remote_task_deliver(struct remote_task *run)
{
	const struct exec_task *task = run->task;
	const uint8_t *from = run->kept;

	for (uint32_t i = 0; from && i < task->tensor_count; i++) {
		const struct exec_tensor *tensor = &task->tensors[i];

		if (!comes_with_answer(tensor))
			continue;
		memcpy(tensor->data, from, (size_t)tensor->nbytes);
		from += tensor->nbytes;
	}
}

static void take_results(struct remote_task *run, const struct msg_outcome *outcome)
{
	const struct exec_task *task = run->task;
	bool fetches = false;

	for (uint32_t i = 0; i < task->tensor_count; i++)
		fetches = fetches || remote_is_fetched(&task->tensors[i]);
	if (fetches)
		keep_inline_outputs(run, outcome);
	else
		copy_inline_outputs(run, outcome, NULL);
}

static void take_outcome(struct remote_task *run, const uint8_t *data, size_t size)
{
	struct msg_outcome outcome;
	struct bump bump;

	run->answered = true;
	memset(&outcome, 0, offsetof(struct msg_outcome, lines));
	outcome.task_id = run->task->id;
	outcome.output_count = 0;
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	/* No bytes say that it succeeded, and wrote no tensor. */
	if (size > 0 && msg_outcome_decode(data, size, &bump, &outcome) != SIMPLER_OK)
		remote_task_fail_here(run);
	else if (outcome.task_id != run->task->id)
		remote_task_fail(run, RPC_DATA_LOSS, "the node answered for another task");
	else if (outcome.error_code != 0)
		take_error(run, &outcome);
	else
		take_outputs(run, &outcome);
	run->succeeded = !run->failed;
	if (run->succeeded)
		take_results(run, &outcome);
	bump_release(&bump);
}

/* Nobody has answered, so it may run there, or have run. Or a dispatch that was sent before came
 * only after this one, and has taken its place at the node. */
static bool is_cut_off(const struct remote_task *run, enum rpc_code code)
{
	return (code == RPC_UNAVAILABLE || code == RPC_ABORTED) && run->note == RPC_NOTE_NONE &&
	       !remote_task_is_given_up(run) && run->sent < MAX_SENT;
}

/* It goes on with the next step, or this one again. */
static void end_dispatch(struct remote_task *run)
{
	struct lane *lane = run->lane;

	pthread_mutex_lock(&run->node->lock);
	run->lane = NULL;
	pthread_mutex_unlock(&run->node->lock);
	run->tensor = 0;
	lane_drop(lane);
}

static void take_answer(struct remote_task *run, const struct lane_answer *answer)
{
	if (answer->code != RPC_OK)
		remote_task_fail(run, answer->code, answer->text);
	else
		take_outcome(run, answer->data, answer->size);
	/* Drains, or has forgotten the session: others are to know soon. */
	if (run->note == RPC_NOTE_NOT_RUN)
		node_session_hurry(run->node->session);
	run->step = run->failed ? STEP_FREE : STEP_FETCH;
}

static void on_done(struct lane_dispatch *dispatch, const struct lane_answer *answer)
{
	struct remote_task *run =
		(struct remote_task *)((char *)dispatch - offsetof(struct remote_task, dispatch));

	run->note = answer->note;
	/* The end of a lane says so of what it was given, and knows of no other. */
	if (run->note == RPC_NOTE_NOT_RUN && run->sent > 1)
		run->note = RPC_NOTE_LOST;
	run->by_call = run->by_call || answer->ask_elsewhere;
	if (!is_cut_off(run, answer->code))
		take_answer(run, answer);
	end_dispatch(run);
	remote_task_advance(run);
}

void remote_task_cut(struct remote_task *run)
{
	remote_task_fail(run, RPC_CANCELLED, "it was stopped");
	run->step = STEP_FREE;
	end_dispatch(run);
	remote_task_advance(run);
}

static void fill(const struct remote_task *run, struct msg_dispatch *message)
{
	const struct exec_task *task = run->task;

	message->task_id = task->id;
	message->callable_id = digest_id(&task->callable->digest);
	message->callable_version = digest_version(&task->callable->digest);
	message->config = *task->config;
	message->scalar_count = task->scalar_count;
	message->tensor_count = task->tensor_count;
	if (task->scalar_count > 0)
		memcpy(message->scalars, task->scalars, task->scalar_count * sizeof(uint64_t));
	for (uint32_t i = 0; i < task->tensor_count; i++)
		describe_tensor(run, i, &message->tensors[i]);
	message->digest.data = task->callable->digest.bytes;
	message->digest.size = DIGEST_BYTES;
	message->kind = task->callable->kind;
	message->session_life = run->life;
	message->repeated = run->sent > 0;
}

/* With the lane's reference, which goes with the dispatch. */
static simpler_status submit(struct remote_task *run, struct lane *lane,
                             const struct msg_dispatch *message)
{
	struct remote_child *node = run->node;
	simpler_status status;

	run->dispatch.deadline = run->task->deadline;
	run->dispatch.waits = message->repeated;
	run->dispatch.done = on_done;
	lane_dispatch_init(&run->dispatch, lane);
	pthread_mutex_lock(&node->lock);
	run->lane = lane;
	if (remote_task_is_given_up(run))
		(void)lane_cancel(&run->dispatch);
	pthread_mutex_unlock(&node->lock);
	run->sent++;
	status = lane_submit(&run->dispatch, message);
	if (status == SIMPLER_OK)
		return SIMPLER_OK;
	run->sent--;
	end_dispatch(run);
	return status;
}

/* Its daemon may be gone before it hears of another, and then nobody knows whether that has run. */
static bool is_in_vain(const struct remote_task *run)
{
	const struct remote_child *node = run->node;

	return run->sent == 0 && node->attachment && node_session_is_draining(node->attachment);
}

bool remote_task_dispatch(struct remote_task *run)
{
	struct lane *unary = run->node->lanes.unary;
	struct msg_dispatch message;
	struct lane *lane;
	simpler_status status;

	if (is_in_vain(run)) {
		(void)error_raise(SIMPLER_EUNAVAILABLE, "%s is draining and takes no more tasks",
		                  run->node->child.name);
		return remote_task_give_up(run);
	}
	lane = run->by_call ? NULL : remote_hold_lane(run->node);
	if (!lane) {
		lane_hold(unary);
		lane = unary;
	}
	fill(run, &message);
	status = submit(run, lane, &message);
	if ((status == SIMPLER_EUNAVAILABLE || status == SIMPLER_EINVAL) && lane != unary) {
		lane_hold(unary);
		status = submit(run, unary, &message);
	}
	return status == SIMPLER_OK || remote_task_give_up(run);
}
