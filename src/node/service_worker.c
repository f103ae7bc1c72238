/*
 * L3Worker: dispatches; sessions are in node/service_session.c, and what the node says of itself in
 * node/service_status.c.
 *
 * A dispatch is decoded, bound and pushed onto the engine's ring by the thread that received it,
 * and answered by the thread that takes outcomes: no other thread is woken. Its state comes from a
 * table of as many as the engine takes, so that nothing is allocated on the way.
 *
 * A client that cancels, whose deadline passes or that is lost has its task stopped. The call is
 * answered when the engine has answered for the task, which nobody reads; tensors stay pinned until
 * then, since code that runs may use them. Which task is a call's is its state: the engine's token
 * and no pointer, since the answer may be on its way in another thread, and the dispatch be another
 * call's by then.
 *
 * What fails before the task runs fails the RPC. A task that ran and failed is an RPC that
 * succeeded, with error_code; a lost engine is UNAVAILABLE.
 */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "node/dispatch.h"
#include "node/engine_link.h"
#include "os/events.h"

struct dispatch {
	struct node *node;
	struct rpc_call *call;
	uint64_t session; /* which the call has entered */
	uint64_t task_id;
	uint64_t callable; /* its key, pinned */
	struct digest digest;
	char name[sizeof(((struct payload *)NULL)->name)];
	struct bound_tensors bound;
	struct dispatch *next_free;
};

/* As many are free as the options allow. */
struct dispatch_table {
	pthread_mutex_t lock; /* guards `first_free` and the links behind it */
	struct dispatch *first_free;
	struct dispatch all[ENGINE_MAX_IN_FLIGHT];
};

struct dispatch_table *dispatch_table_create(struct node *node)
{
	struct dispatch_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	(void)pthread_mutex_init(&table->lock, NULL);
	for (size_t i = node->options->max_tasks; i-- > 0;) {
		table->all[i].node = node;
		table->all[i].next_free = table->first_free;
		table->first_free = &table->all[i];
	}
	return table;
}

void dispatch_table_destroy(struct dispatch_table *table)
{
	if (!table)
		return;
	(void)pthread_mutex_destroy(&table->lock);
	free(table);
}

static simpler_status take(struct node *node, struct dispatch **out)
{
	struct dispatch_table *table = node->dispatches;

	pthread_mutex_lock(&table->lock);
	*out = table->first_free;
	if (*out)
		table->first_free = (*out)->next_free;
	pthread_mutex_unlock(&table->lock);
	if (*out)
		return SIMPLER_OK;
	return error_raise(SIMPLER_ENOSPACE,
	                   "%u tasks are in flight at this node, which is the limit; wait for "
	                   "some of them",
	                   node->options->max_tasks);
}

static void give_back(struct dispatch_table *table, struct dispatch *dispatch)
{
	pthread_mutex_lock(&table->lock);
	dispatch->next_free = table->first_free;
	table->first_free = dispatch;
	pthread_mutex_unlock(&table->lock);
}

/* --- a drain waits for what has begun --- */

static void leave(struct node *node)
{
	if (atomic_fetch_sub(&node->running, 1) == 1 && atomic_load(&node->draining))
		events_wake(node->wakeup);
}

/* Count first, look then: who drains sets the flag first and looks at the count then. */
static simpler_status enter(struct node *node)
{
	atomic_fetch_add(&node->running, 1);
	if (!atomic_load(&node->draining))
		return SIMPLER_OK;
	leave(node);
	return error_raise(SIMPLER_EUNAVAILABLE,
	                   "node '%s' is draining and takes no more tasks; use another", node->id);
}

/* --- the answer --- */

static void encode_failure(const struct error *error, struct msg_outcome *out)
{
	uint32_t count = 0;

	out->error_code = (int32_t)error->status;
	out->error_msg = error_step(error, 0);
	if (!out->error_msg)
		out->error_msg = simpler_status_text(error->status);
	for (size_t i = error->steps; i-- > 0 && count < MSG_MAX_LINES;)
		out->lines[count++] = error_step(error, i);
	out->line_count = count;
}

static void answer(struct dispatch *dispatch, const struct error *error)
{
	struct msg_outcome outcome;
	struct rpc_buffer buffer;

	outcome.task_id = dispatch->task_id;
	outcome.error_code = 0;
	outcome.error_msg = "";
	outcome.line_count = outcome.output_count = 0;
	if (error->status == SIMPLER_OK)
		bound_outputs(dispatch->node, &dispatch->bound, &outcome);
	else
		encode_failure(error, &outcome);
	reply(dispatch->call, msg_outcome_encode(&outcome, &buffer), &buffer);
}

static void answer_lost(const struct dispatch *dispatch, const struct error *error)
{
	char text[ERROR_STEP_BYTES], digest[17];

	digest_short(&dispatch->digest, digest);
	(void)snprintf(text, sizeof(text),
	               "node '%s': %s while it had task %llu, orchestration function '%s' (%s); "
	               "dispatch it again if it may run twice",
	               dispatch->node->id, error_step(error, 0),
	               (unsigned long long)dispatch->task_id, dispatch->name, digest);
	rpc_finish(dispatch->call, RPC_UNAVAILABLE, text, NULL);
}

static void dispatch_done(void *context, bool lost, const struct error *error)
{
	struct dispatch *dispatch = context;
	struct node *node = dispatch->node;

	if (lost)
		answer_lost(dispatch, error);
	else
		answer(dispatch, error);
	unbind_tensors(node, &dispatch->bound);
	catalog_unpin(node->catalog, dispatch->callable);
	sessions_leave_task(node->sessions, dispatch->session);
	give_back(node->dispatches, dispatch);
	leave(node);
}

/* --- the request --- */

static simpler_status check_digest(const struct msg_dispatch *request,
                                   const struct catalog_entry *entry)
{
	char here[17], there[17];
	struct digest asked;

	if (request->digest.size != sizeof(asked.bytes))
		return SIMPLER_OK; /* the decoder lets pass a whole one or none */
	memcpy(asked.bytes, request->digest.data, sizeof(asked.bytes));
	if (memcmp(asked.bytes, entry->digest.bytes, sizeof(asked.bytes)) == 0)
		return SIMPLER_OK;
	digest_short(&entry->digest, here);
	digest_short(&asked, there);
	return error_raise(SIMPLER_EVERSION,
	                   "'%s' has digest %s here, and the dispatch asks for %s; push the "
	                   "callable again",
	                   entry->payload.name, here, there);
}

static simpler_status check_kind(const struct msg_dispatch *request,
                                 const struct catalog_entry *entry)
{
	simpler_kind kind = entry->payload.kind;

	if (request->kind != 0 && request->kind != (uint32_t)kind)
		return error_raise(SIMPLER_EKIND,
		                   "'%s' is of kind '%s' here, and the dispatch wants '%s'",
		                   entry->payload.name, simpler_kind_name(kind),
		                   simpler_kind_name((simpler_kind)request->kind));
	if (kind != SIMPLER_KIND_ORCH)
		return error_raise(SIMPLER_EKIND,
		                   "'%s' is a %s; only an orchestration function can be dispatched "
		                   "to a node, and may submit it there",
		                   entry->payload.name, simpler_kind_name(kind));
	return SIMPLER_OK;
}

/* After SIMPLER_OK it is pinned. */
static simpler_status find_callable(struct dispatch *dispatch, const struct msg_dispatch *request,
                                    struct record_task *task)
{
	struct catalog *catalog = dispatch->node->catalog;
	struct catalog_entry entry;
	simpler_status status =
		catalog_find(catalog, request->callable_id, request->callable_version, &entry);

	if (status != SIMPLER_OK)
		return status;
	status = check_digest(request, &entry);
	if (status == SIMPLER_OK)
		status = check_kind(request, &entry);
	if (status != SIMPLER_OK) {
		catalog_unpin(catalog, entry.key);
		return status;
	}
	dispatch->callable = entry.key;
	dispatch->digest = entry.digest;
	memcpy(dispatch->name, entry.payload.name, sizeof(dispatch->name));
	task->callable = entry.key;
	return SIMPLER_OK;
}

static simpler_status submit(struct dispatch *dispatch, const struct msg_dispatch *request,
                             struct record_task *task)
{
	struct node *node = dispatch->node;
	struct rpc_call *call = dispatch->call;
	simpler_status status =
		bind_tensors(node, dispatch->session, request, &dispatch->bound, task);

	if (status != SIMPLER_OK)
		return status;
	task->config = request->config;
	task->scalar_count = request->scalar_count;
	memcpy(task->scalars, request->scalars, request->scalar_count * sizeof(task->scalars[0]));
	status = engine_client_submit(node->engine, task, dispatch_done, dispatch);
	/* The call lives on at least until on_message has returned, and the dispatch may not. */
	if (status == SIMPLER_OK)
		rpc_call_set_state(call, (void *)(uintptr_t)task->token);
	else
		unbind_tensors(node, &dispatch->bound);
	return status;
}

static simpler_status run(struct dispatch *dispatch, const struct msg_dispatch *request)
{
	struct node *node = dispatch->node;
	struct record_task task;
	simpler_status status = find_callable(dispatch, request, &task);

	if (status != SIMPLER_OK)
		return status;
	status = submit(dispatch, request, &task);
	if (status != SIMPLER_OK)
		catalog_unpin(node->catalog, dispatch->callable);
	return status;
}

/* In its session. After SIMPLER_OK the dispatch is no longer ours. */
static simpler_status begin_in(struct dispatch *dispatch, const struct msg_dispatch *request)
{
	struct node *node = dispatch->node;
	struct rpc_call *call = dispatch->call;
	uint64_t session;
	simpler_status status = rpc_call_session(call, &session);

	if (status == SIMPLER_OK)
		status = sessions_enter_task(node->sessions, session);
	if (status != SIMPLER_OK)
		return status;
	dispatch->session = session;
	status = run(dispatch, request);
	if (status == SIMPLER_OK)
		return SIMPLER_OK;
	sessions_leave_task(node->sessions, session);
	return error_context("node '%s' did not run task %llu", node->id,
	                     (unsigned long long)request->task_id);
}

/* After SIMPLER_OK the dispatch is no longer ours. */
static simpler_status begin(struct node *node, struct rpc_call *call, const uint8_t *data,
                            size_t size)
{
	struct dispatch *dispatch;
	struct msg_dispatch request;
	simpler_status status;
	struct bump bump;

	status = take(node, &dispatch);
	if (status != SIMPLER_OK)
		return error_context("node '%s' is full", node->id);
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_dispatch_decode(data, size, &bump, &request);
	if (status == SIMPLER_OK) {
		dispatch->call = call;
		dispatch->task_id = request.task_id;
		status = begin_in(dispatch, &request);
	}
	bump_release(&bump);
	if (status != SIMPLER_OK)
		give_back(node->dispatches, dispatch);
	return status;
}

static void dispatch(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct node *node = node_of(call);
	simpler_status status = enter(node);

	if (status == SIMPLER_OK) {
		status = begin(node, call, data, size);
		if (status != SIMPLER_OK)
			leave(node);
	}
	if (status != SIMPLER_OK)
		reply_error(call);
}

static_assert(sizeof(void *) >= sizeof(uint64_t), "a token fits a call's state");

static void dispatch_cancelled(struct rpc_call *call)
{
	engine_client_cancel(node_of(call)->engine, (uintptr_t)rpc_call_state(call));
}

const struct rpc_method node_worker_methods[NODE_WORKER_METHODS] = {
	{ .path = MSG_DISPATCH, .on_message = dispatch, .on_cancel = dispatch_cancelled },
	{ .path = MSG_HEARTBEAT, .on_message = node_heartbeat },
	{ .path = MSG_ATTACH, .on_message = node_attach },
	{ .path = MSG_DETACH, .on_message = node_detach },
	{ .path = MSG_STATUS, .on_message = node_status },
	{ .path = MSG_DRAIN, .on_message = node_drain },
};
