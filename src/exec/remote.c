/*
 * A task on a remote node, step by step:
 *
 *   ALLOCATE  storage for each staged tensor, and for each that is to stay on the node; and BRING
 *             what is on other nodes
 *   SEND      the bytes of a staged tensor whose tag reads them; with some transports that
 *             allocates, too
 *   DISPATCH  (exec/remote_dispatch.c)
 *   FETCH     each staged tensor that the task wrote, if it succeeded
 *   FREE      what was allocated for staged tensors, whatever happened; after a success some of it
 *             is left to other tasks instead (exec/staging_cache.h)
 *
 * One step's call is in progress at a time and its completion begins the next, on the RPC client's
 * thread; the first step begins in the thread that starts the task. A task without staged tensors
 * is a DISPATCH alone. Storage whose FREE fails goes when its lease ends.
 *
 * A dispatch whose answer does not come, because the connection or the lane broke, is sent once
 * more as soon as there is a connection again, as `repeated` and for the same life of the session:
 * so the node runs it once, and answers with what it has recorded. It waits for that no longer than
 * until the session's watch calls the node lost, which ends all tasks there.
 *
 * Results are written to the caller's memory only after the task has succeeded: staged ones are
 * fetched into their place, one after the other, and then the inline ones, which came with the
 * answer, are copied. A fetch that fails, or does not come about, is the task's failure, which
 * tells the tensors that may be half-written. When all is there the task has succeeded, whatever
 * stops it or its node then.
 *
 * A task that is stopped has its present call cancelled, and begins no other but those that FREE.
 * The node hears of a cancelled dispatch, and keeps its tensors until the code that ran has ended,
 * so freeing them meanwhile is safe. A call that ALLOCATEs is waited for, unless the node is lost:
 * the session would keep storage whose handle did not arrive for as long as it lasts. So is a SEND
 * that allocates, once all of it is written: until then the node frees what it has made. stop()
 * comes at any moment: each call is created and noted under the child's lock, with a look at
 * `stopped`, before it is begun, and forgotten under it in the callback that ends it; stop()
 * cancels under the lock what it finds noted. So a call is cancelled by the one or by the other,
 * and never after its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/bump.h"
#include "base/clock.h"
#include "exec/node_session.h"
#include "exec/remote_staging.h"
#include "exec/remote_storage.h"
#include "exec/remote_task.h"
#include "rpc/messages.h"
#include "rpc/rpc.h"

/* A task that was stopped waits no longer than this until its storage is free; the leases do it. */
#define STOPPED_FREE_MS 1000u

/* A tensor of another node on its way to this one. */
struct bringing {
	struct remote_op op; /* first */
	struct remote_task *run;
};

/* --- calls that a stop cancels, and a loss --- */

/* NULL, with the failure noted, when memory is out. To be begun by the caller in any case. */
static struct rpc_client_call *open_call(struct remote_task *run, const char *path)
{
	struct remote_child *node = run->node;
	struct rpc_client_call *call = rpc_client_call_create(node->channel, path, CLOCK_NEVER);

	if (!call)
		return NULL;
	pthread_mutex_lock(&node->lock);
	run->call = call;
	run->makes = run->step == STEP_ALLOCATE;
	if (run->makes ? atomic_load(&run->lost) : remote_task_is_given_up(run))
		rpc_client_call_cancel(call);
	pthread_mutex_unlock(&node->lock);
	return call;
}

static void call_ended(struct remote_task *run)
{
	pthread_mutex_lock(&run->node->lock);
	run->call = NULL;
	pthread_mutex_unlock(&run->node->lock);
}

/* With the lock. What is linked to `cut` has no call any more, and goes on without the lock. */
static void cancel_present(struct remote_task *run, bool lost, struct remote_task **cut)
{
	if (run->lane && lane_cancel(&run->dispatch))
		LL_PREPEND2(*cut, run, cut_next);
	if (run->call)
		rpc_client_call_cancel(run->call);
	if (run->moving)
		transport_cancel(run->moving, &run->move, lost);
	if (run->bringing)
		remote_op_cancel(run->bringing);
}

static void cut_all(struct remote_task *cut)
{
	struct remote_task *next;

	for (; cut; cut = next) {
		next = cut->cut_next;
		remote_task_cut(cut);
	}
}

static void on_stop_told(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                         size_t size)
{
	/* A node that did not hear of it stops what nobody waits for. */
	(void)context;
	(void)code;
	(void)text;
	(void)data;
	(void)size;
}

/* The end of a call alone could be one of the connection, and the node would wait for another. */
static void tell_stop(struct remote_child *node, uint64_t task)
{
	const struct msg_stop_task message = { task };
	struct rpc_buffer buffer;

	if (msg_stop_task_encode(&message, &buffer) == SIMPLER_OK)
		rpc_unary(node->channel, MSG_STOP_TASK, clock_after_ms(STOPPED_FREE_MS), false,
		          &buffer, on_stop_told, NULL);
}

void remote_stop(struct exec_child *child, uint64_t task, int64_t kill_at)
{
	struct remote_child *node = (struct remote_child *)child;
	struct remote_task *run, *cut = NULL;
	bool stops;

	(void)kill_at; /* the node has a grace period of its own */
	pthread_mutex_lock(&node->lock);
	DL_SEARCH_SCALAR(node->running, run, id, task);
	stops = run && !atomic_load(&run->stopped);
	if (stops) {
		atomic_store(&run->stopped, true);
		if (!run->call || !run->makes)
			cancel_present(run, false, &cut);
	}
	pthread_mutex_unlock(&node->lock);
	if (stops)
		tell_stop(node, task);
	cut_all(cut);
}

void remote_lose(struct remote_child *node, const char *why)
{
	struct remote_task *run, *cut = NULL;

	pthread_mutex_lock(&node->lock);
	(void)snprintf(node->lost_why, sizeof(node->lost_why), "%s", why);
	DL_FOREACH (node->running, run) {
		atomic_store(&run->lost, true);
		cancel_present(run, true, &cut);
	}
	pthread_mutex_unlock(&node->lock);
	cut_all(cut);
}

/* A dispatch is the node's from its first call on. */
struct exec_task *remote_retract(struct exec_child *child, uint64_t task_or_0)
{
	(void)child;
	(void)task_or_0;
	return NULL;
}

/* --- failing --- */

void remote_task_fail(struct remote_task *run, enum rpc_code code, const char *text)
{
	if (run->failed)
		return;
	run->failed = true;
	if (!text || text[0] == '\0')
		text = rpc_code_name(code);
	error_init_untrusted(&run->error, rpc_status_of(code), text, strlen(text));
}

void remote_task_fail_here(struct remote_task *run)
{
	if (run->failed)
		return;
	run->failed = true;
	error_save(&run->error);
}

static void begin_freeing(struct remote_task *run)
{
	run->step = STEP_FREE;
	run->tensor = 0;
}

bool remote_task_give_up(struct remote_task *run)
{
	remote_task_fail_here(run);
	begin_freeing(run);
	return false;
}

static bool give_up_for_memory(struct remote_task *run)
{
	(void)error_raise(SIMPLER_ENOMEM, "out of memory for a call");
	return remote_task_give_up(run);
}

/* The message is handed over. */
static bool begin_unary(struct remote_task *run, const char *path, struct rpc_buffer *message,
                        rpc_done *done)
{
	struct rpc_client_call *call = open_call(run, path);

	if (!call) {
		rpc_buffer_release(message);
		return give_up_for_memory(run);
	}
	rpc_unary_begin(call, false, message, done, run);
	return true;
}

static void on_moved(struct transport_move *move, const struct error *error);

/* The present tensor's bytes. */
static bool begin_move(struct remote_task *run, struct transport *transport, bool write)
{
	struct remote_child *node = run->node;
	const struct exec_tensor *tensor = &run->task->tensors[run->tensor];

	run->move.write = write;
	run->move.storage = &run->places[run->tensor];
	run->move.span = (struct span){ .run_bytes = tensor->nbytes, .runs = 1 };
	run->move.local = (struct layout){ .data = tensor->data,
		                           .bytes = tensor->nbytes,
		                           .run = tensor->nbytes };
	run->move.lands = write; /* the dispatch says what has to land before it */
	run->move.attended = false;
	run->move.deadline = CLOCK_NEVER;
	run->move.done = on_moved;
	transport_move_init(&run->move);
	pthread_mutex_lock(&node->lock);
	run->moving = transport;
	if (remote_task_is_given_up(run))
		transport_cancel(transport, &run->move, true);
	pthread_mutex_unlock(&node->lock);
	transport_start(transport, &run->move);
	return true;
}

void remote_task_describe_shape(const struct exec_tensor *tensor, struct msg_shape *out)
{
	out->ndim = tensor->ndim;
	memcpy(out->shape, tensor->shape, tensor->ndim * sizeof(out->shape[0]));
	out->dtype = (simpler_dtype)tensor->dtype;
	out->tag = (simpler_tag)tensor->tag;
}

/* --- ALLOCATE and SEND --- */

/* A handle came back from AllocTensor, for the present tensor. */
static void take_handle(struct remote_task *run, const uint8_t *data, size_t size)
{
	const struct exec_tensor *tensor = &run->task->tensors[run->tensor];
	struct remote_storage *remote = remote_storage_of(tensor->storage);
	uint64_t nbytes = remote ? remote->storage.nbytes : tensor->nbytes;
	struct msg_handle answer;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_handle_decode(data, size, &bump, &answer) != SIMPLER_OK)
		remote_task_fail_here(run);
	else if (answer.handle_id == 0 || answer.nbytes != nbytes)
		remote_task_fail(run, RPC_DATA_LOSS,
		                 "the node allocated storage of another size than asked");
	else if (remote)
		remote_storage_store(remote, &answer);
	else
		transport_storage_take(&run->places[run->tensor], &answer);
	bump_release(&bump);
}

static void ask_again(void *context)
{
	remote_task_advance(context);
}

/* The present tensor's storage was refused for want of room, and is asked for once more: the step
 * is the same still. */
static bool asks_again(struct remote_task *run, enum rpc_code code)
{
	return !remote_task_is_given_up(run) &&
	       remote_staging_make_room(run->node, run->mark, code, ask_again, run);
}

/* The present tensor has storage, and is through unless its bytes are to be sent. */
static void on_allocated(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                         size_t size)
{
	struct remote_task *run = context;
	const struct exec_tensor *tensor = &run->task->tensors[run->tensor];

	call_ended(run);
	if (asks_again(run, code))
		return;
	if (code != RPC_OK)
		remote_task_fail(run, code, text);
	else
		take_handle(run, data, size);
	if (run->failed)
		begin_freeing(run);
	else if (remote_is_staged(tensor) && exec_tag_reads(tensor->tag))
		run->step = STEP_SEND;
	else
		run->tensor++;
	remote_task_advance(run);
}

static bool allocate(struct remote_task *run, const struct exec_tensor *tensor)
{
	const struct remote_storage *remote = remote_storage_of(tensor->storage);
	struct msg_alloc message = { .nbytes = tensor->nbytes };
	struct rpc_buffer buffer;

	remote_task_describe_shape(tensor, &message.shape);
	if (remote) {
		message.nbytes = remote->storage.nbytes;
		message.ttl_ms = remote->ttl_ms;
	}
	if (msg_alloc_encode(&message, &buffer) != SIMPLER_OK)
		return remote_task_give_up(run);
	run->mark = staging_cache_mark(&run->node->staging);
	return begin_unary(run, MSG_ALLOC_TENSOR, &buffer, on_allocated);
}

/* A tensor that could not be sent to storage that another task left has some of its own: the node
 * may have forgotten the other. */
static bool sends_afresh(struct remote_task *run)
{
	struct transport_storage *place = &run->places[run->tensor];

	if (!run->move.write || !run->reused || remote_task_is_given_up(run))
		return false;
	remote_staging_free(run->node, place);
	memset(place, 0, sizeof(*place));
	run->fresh = true;
	run->step = STEP_ALLOCATE;
	remote_task_advance(run);
	return true;
}

/* By a fabric, and goes once more by another transport. What was written may come to rest on the
 * node even now, so that is not the storage for it any more. */
static bool falls_back(struct remote_task *run, const struct error *error)
{
	struct transport_storage *place = &run->places[run->tensor];
	simpler_transport choice = (simpler_transport)run->task->tensors[run->tensor].transport;

	if (remote_task_is_given_up(run) ||
	    !remote_fell_back(run->node, choice, run->move.transport, error))
		return false;
	if (run->move.write) {
		remote_staging_free(run->node, place);
		memset(place, 0, sizeof(*place));
		run->step = STEP_ALLOCATE;
	}
	remote_task_advance(run);
	return true;
}

/* A push allocates, too. */
static bool pushes_again(struct remote_task *run, const struct error *error)
{
	return run->move.write && run->places[run->tensor].handle.handle_id == 0 &&
	       error->status == SIMPLER_ENOSPACE && asks_again(run, RPC_RESOURCE_EXHAUSTED);
}

static void on_moved(struct transport_move *move, const struct error *error)
{
	struct remote_task *run =
		(struct remote_task *)((char *)move - offsetof(struct remote_task, move));

	pthread_mutex_lock(&run->node->lock);
	run->moving = NULL;
	pthread_mutex_unlock(&run->node->lock);
	if (error && (falls_back(run, error) || sends_afresh(run) || pushes_again(run, error)))
		return;
	if (error && !run->failed) {
		run->failed = true;
		run->way_failed =
			move->transport == run->node->transports[SIMPLER_TRANSPORT_FABRIC];
		run->error = *error;
		error_add(&run->error, move->write ? "sending tensor %u" : "fetching tensor %u",
		          run->tensor);
	}
	if (run->failed) {
		begin_freeing(run);
	} else {
		run->step = move->write ? STEP_ALLOCATE : STEP_FETCH;
		run->tensor++;
	}
	remote_task_advance(run);
}

static bool move_tensor(struct remote_task *run, bool write)
{
	simpler_transport choice = (simpler_transport)run->task->tensors[run->tensor].transport;
	struct transport *transport;

	if (remote_choose(run->node, choice, &run->places[run->tensor], &transport) != SIMPLER_OK)
		return remote_task_give_up(run);
	if (!write)
		run->half_written |= UINT32_C(1) << run->tensor;
	return begin_move(run, transport, write);
}

/* What was brought is the task's, as if it were staged. */
static void on_brought(struct remote_op *op, const struct error *error)
{
	struct bringing *bringing = (struct bringing *)op;
	struct remote_task *run = bringing->run;
	struct remote_storage *brought = op->storage;

	pthread_mutex_lock(&run->node->lock);
	run->bringing = NULL;
	pthread_mutex_unlock(&run->node->lock);
	if (error && !run->failed) {
		run->failed = true;
		run->error = *error;
		error_add(&run->error, "bringing tensor %u to %s", run->tensor,
		          run->node->child.name);
	}
	if (!error) {
		transport_storage_take(&run->places[run->tensor], &brought->place.handle);
		brought->storage.abandoned = true; /* the task frees it */
	}
	remote_op_release(op);
	exec_storage_drop(&brought->storage);
	free(bringing);
	if (run->failed)
		begin_freeing(run);
	else
		run->tensor++;
	remote_task_advance(run);
}

static bool bring(struct remote_task *run, const struct exec_tensor *tensor)
{
	struct remote_child *node = run->node;
	struct bringing *bringing = malloc(sizeof(*bringing));
	struct exec_storage *storage;

	if (!bringing)
		return give_up_for_memory(run);
	if (remote_make_storage(&node->child, tensor->storage->nbytes, &storage) != SIMPLER_OK) {
		free(bringing);
		return remote_task_give_up(run);
	}
	bringing->run = run;
	bringing->op.done = on_brought;
	bringing->op.storage = remote_storage_of(storage);
	bringing->op.deadline = run->task->deadline;
	remote_op_init(&bringing->op);
	pthread_mutex_lock(&node->lock);
	run->bringing = &bringing->op;
	if (remote_task_is_given_up(run))
		remote_op_cancel(&bringing->op);
	pthread_mutex_unlock(&node->lock);
	remote_begin_bring(&bringing->op, tensor->storage);
	return true;
}

/* The graph has the others that use an output wait for the task that makes it, unless they said
 * that they need not, or are of another run, which goes on when that task failed. */
static bool prepare_remote(struct remote_task *run, const struct exec_tensor *tensor)
{
	const struct remote_storage *remote = remote_storage_of(tensor->storage);

	if (remote_is_elsewhere(run, tensor))
		return bring(run, tensor);
	if (atomic_load(&remote->stored)) {
		if (remote_storage_check(remote) != SIMPLER_OK)
			return remote_task_give_up(run);
		run->tensor++;
		return false;
	}
	if (tensor->makes)
		return allocate(run, tensor);
	(void)error_raise(SIMPLER_ESTATE,
	                  "tensor %u is not on the node: the task that is to make it has not run, "
	                  "or has failed",
	                  run->tensor);
	return remote_task_give_up(run);
}

static bool prepare_staged(struct remote_task *run, const struct exec_tensor *tensor)
{
	struct transport *transport;

	if (remote_choose(run->node, (simpler_transport)tensor->transport, NULL, &transport) !=
	    SIMPLER_OK)
		return remote_task_give_up(run);
	run->reused = !run->fresh && exec_tag_reads(tensor->tag) &&
	              staging_cache_take(&run->node->staging, run->life, tensor->nbytes,
	                                 &run->places[run->tensor]);
	if (run->reused) {
		atomic_fetch_add(&run->node->staging_reused, 1);
		run->step = STEP_SEND;
		return false;
	}
	if (!exec_tag_reads(tensor->tag) || !transport->allocates)
		return allocate(run, tensor);
	run->mark = staging_cache_mark(&run->node->staging);
	run->places[run->tensor].handle.nbytes = tensor->nbytes;
	return begin_move(run, transport, true);
}

static bool allocate_next(struct remote_task *run)
{
	const struct exec_tensor *tensor = &run->task->tensors[run->tensor];

	if (tensor->storage)
		return prepare_remote(run, tensor);
	if (remote_is_staged(tensor))
		return prepare_staged(run, tensor);
	run->tensor++;
	return false;
}

/* --- FETCH --- */

/* The next one to fetch; behind the last, all results are there. */
static void find_fetched(struct remote_task *run)
{
	const struct exec_task *task = run->task;

	while (run->tensor < task->tensor_count && !remote_is_fetched(&task->tensors[run->tensor]))
		run->tensor++;
	if (run->tensor < task->tensor_count)
		return;
	remote_task_deliver(run);
	begin_freeing(run);
}

/* --- FREE, and the end --- */

static void on_freed(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                     size_t size)
{
	struct remote_task *run = context;

	/* Freeing is a kindness to the node; if it failed, the lease ends what is left. */
	(void)code;
	(void)text;
	(void)data;
	(void)size;
	run->tensor++;
	remote_task_advance(run);
}

/* What the tags that do not read find in storage is zeroes, so that needs fresh storage. What a
 * task failed with, or was stopped in, may be in use there for longer. */
static bool leave_to_others(const struct remote_task *run)
{
	const struct exec_tensor *tensor = &run->task->tensors[run->tensor];

	return !run->failed && !remote_task_is_given_up(run) && remote_is_staged(tensor) &&
	       exec_tag_reads(tensor->tag) &&
	       staging_cache_put(&run->node->staging, run->life, &run->places[run->tensor]);
}

/* Not cancelled by a stop; but what was stopped ends soon, also when the node does not answer. */
static bool free_next(struct remote_task *run)
{
	int64_t deadline =
		remote_task_is_given_up(run) ? clock_after_ms(STOPPED_FREE_MS) : CLOCK_NEVER;
	struct rpc_buffer buffer;

	if (run->places[run->tensor].handle.handle_id == 0 || leave_to_others(run) ||
	    msg_free_encode(&run->places[run->tensor].handle, &buffer) != SIMPLER_OK) {
		run->tensor++;
		return false;
	}
	rpc_unary(run->node->channel, MSG_FREE_TENSOR, deadline, false, &buffer, on_freed, run);
	return true;
}

/* In a step before the dispatch: of what is the program's, nothing has been touched. But the way to
 * the node that the program named, and that fails, is no other in a moment. */
static bool may_be_elsewhere(const struct remote_task *run)
{
	simpler_status status = run->error.status;

	if (run->sent > 0)
		return false;
	return atomic_load(&run->lost) || (status == SIMPLER_EUNAVAILABLE && !run->way_failed);
}

static enum exec_fate fate_of(const struct remote_task *run)
{
	if (run->answered)
		return EXEC_ENDED;
	if (may_be_elsewhere(run) || run->note == RPC_NOTE_NOT_RUN)
		return EXEC_NOT_RUN;
	if (atomic_load(&run->lost) || run->note == RPC_NOTE_LOST ||
	    run->error.status == SIMPLER_EUNAVAILABLE)
		return EXEC_LOST;
	return EXEC_ENDED;
}

/* What is told instead of how a call was cancelled. Under the lock. */
static void tell_loss(struct remote_task *run)
{
	simpler_status status = run->error.status;

	if (!run->failed || !atomic_load(&run->lost) || atomic_load(&run->stopped) ||
	    (run->answered && !run->succeeded) ||
	    (status != SIMPLER_ECANCELLED && status != SIMPLER_EUNAVAILABLE))
		return;
	error_init(&run->error, SIMPLER_EUNAVAILABLE, "%s is lost: %s%s", run->node->child.name,
	           run->node->lost_why,
	           run->sent > 0 && !run->answered ? "; the task may have run or not" : "");
}

static void finish(struct remote_task *run)
{
	struct remote_child *node = run->node;
	struct exec_task *task = run->task;
	struct error error;
	bool failed = run->failed;

	pthread_mutex_lock(&node->lock);
	tell_loss(run);
	DL_DELETE(node->running, run);
	pthread_mutex_unlock(&node->lock);
	if (failed) {
		error = run->error;
		task->fate = fate_of(run);
		task->unfetched = run->succeeded;
		task->half_written = run->half_written;
	}
	free(run->kept);
	free(run);
	task->done(task, failed ? &error : NULL);
}

/* True when somebody else goes on, or nobody has to. */
static bool next(struct remote_task *run)
{
	bool more;

	if (run->step == STEP_FETCH)
		find_fetched(run);
	if (run->step != STEP_FREE && remote_task_is_given_up(run)) {
		remote_task_fail(run, RPC_CANCELLED, "it was stopped");
		begin_freeing(run);
	}
	/* What is there goes with the session, or by its lease. */
	if (run->step == STEP_FREE && atomic_load(&run->lost))
		run->tensor = run->task->tensor_count;
	more = run->tensor < run->task->tensor_count;
	switch (run->step) {
	case STEP_ALLOCATE:
		if (more)
			return allocate_next(run);
		run->step = STEP_DISPATCH;
		return false;
	case STEP_SEND:
		return move_tensor(run, true);
	case STEP_DISPATCH:
		return remote_task_dispatch(run);
	case STEP_FETCH:
		return move_tensor(run, false);
	case STEP_FREE:
		if (more)
			return free_next(run);
		break;
	}
	finish(run);
	return true;
}

void remote_task_advance(struct remote_task *run)
{
	while (!next(run))
		;
}

static bool any_stored(const struct exec_task *task)
{
	for (uint32_t i = 0; i < task->tensor_count; i++) {
		if (!remote_is_inline(&task->tensors[i]))
			return true;
	}
	return false;
}

/* Who loses it later finds the task among those that run. */
static void give_up_if_lost(struct remote_task *run)
{
	struct remote_child *node = run->node;
	char why[NODE_WHY_BYTES];

	if (!node->attachment || !node_session_is_lost(node->attachment, why))
		return;
	pthread_mutex_lock(&node->lock);
	memcpy(node->lost_why, why, sizeof(why));
	atomic_store(&run->lost, true);
	pthread_mutex_unlock(&node->lock);
}

void remote_start(struct exec_child *child, struct exec_task *task)
{
	struct remote_child *node = (struct remote_child *)child;
	struct remote_task *run;
	size_t places = task->tensor_count * sizeof(run->places[0]);
	struct error error;

	run = malloc(sizeof(*run) + places);

	if (!run) {
		error_init(&error, SIMPLER_ENOMEM, "out of memory for a dispatch");
		task->done(task, &error);
		return;
	}
	run->node = node;
	run->task = task;
	run->tensor = 0;
	run->failed = false;
	memset(run->places, 0, places);
	run->life = remote_life(child);
	run->sent = 0;
	run->by_call = false;
	run->lane = NULL;
	run->note = RPC_NOTE_NONE;
	run->answered = run->succeeded = false;
	run->half_written = 0;
	run->kept = NULL;
	run->reused = run->fresh = run->way_failed = false;
	run->step = any_stored(task) ? STEP_ALLOCATE : STEP_DISPATCH;
	run->id = task->id;
	run->call = NULL;
	run->moving = NULL;
	run->bringing = NULL;
	pthread_mutex_lock(&node->lock);
	atomic_init(&run->stopped, atomic_load(&task->stop_at) != 0);
	atomic_init(&run->lost, false);
	DL_PREPEND(node->running, run);
	pthread_mutex_unlock(&node->lock);
	give_up_if_lost(run);
	remote_task_advance(run);
}
