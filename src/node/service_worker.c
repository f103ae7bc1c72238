/*
 * L3Worker: dispatches; sessions are in node/service_session.c, and what the node says of itself in
 * node/service_status.c.
 *
 * A dispatch is decoded, bound and pushed onto the engine's ring by the thread that received it,
 * and answered by the thread that takes outcomes: no other thread is woken. Its state comes from a
 * table of as many as the engine takes, so that nothing is allocated on the way.
 *
 * A client of no session that cancels, whose deadline passes or that is lost has its task stopped.
 * The call is answered when the engine has answered for the task, which nobody reads; tensors stay
 * pinned until then, since code that runs may use them. Which task is a call's is its state: the
 * engine's token and no pointer, since the answer may be on its way in another thread, and the
 * dispatch be another call's by then.
 *
 * A task of a session does not depend on one call: node/task_log.h knows which one waits for it, if
 * any, and what became of it. A call that ends early leaves it running for a while, so that its
 * client can ask again; StopTask stops it at once.
 *
 * What fails before the task runs fails the RPC. A task that ran and failed is an RPC that
 * succeeded, with error_code; a lost engine is UNAVAILABLE.
 */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "node/dispatch.h"
#include "node/engine_link.h"
#include "node/fabric_ports.h"
#include "node/lane.h"
#include "node/stream.h"
#include "node/task_log.h"
#include "os/events.h"

struct dispatch {
	struct node *node;
	struct waiter waiter; /* of a task that is not logged; else the log has it */
	int64_t deadline;
	uint64_t session; /* which it has entered */
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

static struct task_key key_of(const struct dispatch *dispatch)
{
	return (struct task_key){ dispatch->session, dispatch->task_id };
}

/* Without a session, or an id within it, nobody could ask again. */
static bool is_logged(struct task_key key)
{
	return key.session != 0 && key.task != 0;
}

/* What who waits is told. It is sent after all that the dispatch held has been given back: a client
 * that sends its next task upon an answer finds room for it. */
struct reply {
	struct waiter waiter;
	enum rpc_code code;
	enum rpc_note note;
	struct rpc_buffer message;   /* with RPC_OK */
	char text[ERROR_STEP_BYTES]; /* else */
};

static struct task_answer answer_of(const struct reply *reply)
{
	struct task_answer answer = { .code = reply->code, .note = reply->note };

	answer.bytes = reply->code == RPC_OK ? reply->message.data : (const uint8_t *)reply->text;
	answer.size = reply->code == RPC_OK ? reply->message.size : strlen(reply->text) + 1;
	return answer;
}

static void send_reply(struct reply *reply)
{
	const struct task_answer answer = answer_of(reply);

	if (reply->waiter.call && reply->code == RPC_OK) {
		rpc_finish(reply->waiter.call, RPC_OK, NULL, &reply->message);
		return;
	}
	waiter_answer(&reply->waiter, &answer);
	if (reply->code == RPC_OK)
		rpc_buffer_release(&reply->message);
}

/* The task has ended with what the reply says, which has everything but who waits. */
static void end_task(struct dispatch *dispatch, struct reply *reply)
{
	const struct task_answer answer = answer_of(reply);

	reply->waiter = dispatch->waiter;
	if (is_logged(key_of(dispatch)))
		reply->waiter = task_log_end(dispatch->node->tasks, key_of(dispatch), &answer);
}

static void make_answer(struct dispatch *dispatch, const struct error *error, struct reply *reply)
{
	struct msg_outcome outcome;

	outcome.task_id = dispatch->task_id;
	outcome.error_code = 0;
	outcome.error_msg = "";
	outcome.line_count = outcome.output_count = 0;
	if (error->status == SIMPLER_OK)
		bound_outputs(dispatch->node, &dispatch->bound, &outcome);
	else
		encode_failure(error, &outcome);
	reply->code = RPC_OK;
	reply->note = RPC_NOTE_NONE;
	if (msg_outcome_encode(&outcome, &reply->message) == SIMPLER_OK)
		return;
	reply->code = rpc_code_of(simpler_last_status());
	reply->note = RPC_NOTE_LOST;
	(void)snprintf(reply->text, sizeof(reply->text), "%s", simpler_last_error_step(0));
}

static void make_lost(const struct dispatch *dispatch, const char *how, struct reply *reply)
{
	char digest[17];

	digest_short(&dispatch->digest, digest);
	reply->code = RPC_UNAVAILABLE;
	reply->note = RPC_NOTE_LOST;
	(void)snprintf(reply->text, sizeof(reply->text),
	               "node '%s': %s while it had task %llu, orchestration function '%s' (%s); "
	               "dispatch it again if it may run twice",
	               dispatch->node->id, how, (unsigned long long)dispatch->task_id,
	               dispatch->name, digest);
}

static void make_abandoned(const struct dispatch *dispatch, struct reply *reply)
{
	make_lost(dispatch, "nobody asked for it any more, and it was stopped,", reply);
	if (dispatch->deadline > clock_now())
		return;
	/* As gRPC tells it of a call. */
	reply->code = RPC_DEADLINE_EXCEEDED;
	reply->note = RPC_NOTE_NONE;
	(void)snprintf(reply->text, sizeof(reply->text),
	               "the deadline of task %llu has passed, and it was stopped",
	               (unsigned long long)dispatch->task_id);
}

static void dispatch_done(void *context, bool lost, const struct error *error)
{
	struct dispatch *dispatch = context;
	struct node *node = dispatch->node;
	struct reply reply;

	if (is_logged(key_of(dispatch)) && task_log_is_abandoned(node->tasks, key_of(dispatch)))
		make_abandoned(dispatch, &reply);
	else if (lost)
		make_lost(dispatch, error_step(error, 0), &reply);
	else
		make_answer(dispatch, error, &reply);
	end_task(dispatch, &reply);
	unbind_tensors(node, &dispatch->bound);
	catalog_unpin(node->catalog, dispatch->callable);
	sessions_leave_task(node->sessions, dispatch->session);
	give_back(node->dispatches, dispatch);
	send_reply(&reply);
	leave(node); /* a drain waits for answers, too */
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

/*
 * This message has not begun it, and the client may try again. But one that was sent before may
 * still come, when its connection broke while nobody here read it, and begin it then. Returns
 * `status`.
 */
static simpler_status may_retry(struct incoming *in, simpler_status status)
{
	if (status == SIMPLER_EUNAVAILABLE || status == SIMPLER_ENOSPACE)
		in->note = in->request->repeated ? RPC_NOTE_LOST : RPC_NOTE_NOT_RUN;
	return status;
}

static void note_token(struct node *node, const struct incoming *in, struct task_key key,
                       uint64_t token)
{
	/* The call lives on at least until on_message has returned, and the dispatch may not. */
	if (!is_logged(key))
		rpc_call_set_state(in->waiter.call, (void *)(uintptr_t)token);
	else if (task_log_running(node->tasks, key, token))
		engine_client_cancel(node->engine, token);
}

/* --- a task whose bytes are on their way by a fabric --- */

struct parked {
	struct fabric_wait wait; /* first */
	struct dispatch *dispatch;
	struct record_task task;
};

static void end_parked(struct dispatch *dispatch)
{
	struct node *node = dispatch->node;
	struct task_key key = key_of(dispatch);
	struct waiter waiting;
	struct error error;

	(void)error_context("node '%s' did not run task %llu", node->id,
	                    (unsigned long long)dispatch->task_id);
	error_save(&error);
	unbind_tensors(node, &dispatch->bound);
	catalog_unpin(node->catalog, dispatch->callable);
	sessions_leave_task(node->sessions, dispatch->session);
	give_back(node->dispatches, dispatch);
	waiting = task_log_drop(node->tasks, key);
	(void)error_restore(&error);
	/* What has not landed will not do so for another dispatch either. */
	waiter_fail(&waiting, RPC_NOTE_LOST);
	leave(node);
}

/* By a fabric's loop, or by the daemon's thread. */
static void go_on(struct fabric_wait *wait, const struct error *error)
{
	struct parked *parked = (struct parked *)wait;
	struct dispatch *dispatch = parked->dispatch;
	struct node *node = dispatch->node;
	struct task_key key = key_of(dispatch);
	simpler_status status = error ? error_restore(error)
	                              : engine_client_submit(node->engine, &parked->task, false,
	                                                     dispatch_done, dispatch);

	if (status != SIMPLER_OK)
		end_parked(dispatch);
	else if (task_log_running(node->tasks, key, parked->task.token))
		engine_client_cancel(node->engine, parked->task.token);
	free(parked);
}

static void list_landings(const struct msg_dispatch *request, struct fabric_wait *out)
{
	out->count = 0;
	for (uint32_t i = 0; i < request->tensor_count; i++) {
		const struct msg_tensor_ref *ref = &request->tensors[i];

		if (!ref->is_handle || ref->landed == 0)
			continue;
		out->needs[out->count].handle = ref->handle.handle_id;
		out->needs[out->count++].landed = ref->landed;
	}
}

/* Whether it waits for bytes to land: then it is submitted when they have. Not for long: its client
 * has sent them before the dispatch. */
static simpler_status park(struct dispatch *dispatch, const struct incoming *in,
                           const struct record_task *task, bool *parks)
{
	int64_t until = clock_after_ms(FABRIC_STALL_MS);
	struct node *node = dispatch->node;
	struct fabric_wait wanted;
	struct parked *parked;
	simpler_status status;

	*parks = false;
	list_landings(in->request, &wanted);
	if (wanted.count == 0)
		return SIMPLER_OK;
	if (!node->fabric || !is_logged(key_of(dispatch)))
		return error_raise(
			SIMPLER_EINVAL, "a tensor of it is to land by a fabric, %s",
			node->fabric ? "which only tasks of sessions, with an id, may wait for"
				     : "which there is none of");
	parked = malloc(sizeof(*parked));
	if (!parked)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a dispatch");
	parked->wait = wanted;
	parked->wait.go = go_on;
	parked->wait.until = in->deadline < until ? in->deadline : until;
	parked->wait.error.status = SIMPLER_OK;
	parked->dispatch = dispatch;
	parked->task = *task;
	until = parked->wait.until;
	status = fabric_ports_wait(node->fabric, &parked->wait, parks);
	if (*parks)
		node_look_at(node, until);
	else
		free(parked);
	return status;
}

static simpler_status submit(struct dispatch *dispatch, struct incoming *in,
                             struct record_task *task)
{
	const struct msg_dispatch *request = in->request;
	struct node *node = dispatch->node;
	struct task_key key = key_of(dispatch);
	bool parks;
	simpler_status status =
		bind_tensors(node, dispatch->session, request, &dispatch->bound, task);

	if (status != SIMPLER_OK)
		return status;
	task->config = request->config;
	task->scalar_count = request->scalar_count;
	memcpy(task->scalars, request->scalars, request->scalar_count * sizeof(task->scalars[0]));
	status = park(dispatch, in, task, &parks);
	if (status == SIMPLER_OK && parks)
		return SIMPLER_OK;
	if (status == SIMPLER_OK)
		status = may_retry(in, engine_client_submit(node->engine, task, !in->more,
		                                            dispatch_done, dispatch));
	if (status == SIMPLER_OK)
		note_token(node, in, key, task->token);
	else
		unbind_tensors(node, &dispatch->bound);
	return status;
}

static simpler_status run(struct dispatch *dispatch, struct incoming *in)
{
	struct node *node = dispatch->node;
	struct record_task task;
	simpler_status status = find_callable(dispatch, in->request, &task);

	if (status != SIMPLER_OK)
		return status;
	status = submit(dispatch, in, &task);
	if (status != SIMPLER_OK)
		catalog_unpin(node->catalog, dispatch->callable);
	return status;
}

/* In the session, as one of its tasks. */
static simpler_status begin_with(struct dispatch *dispatch, struct incoming *in)
{
	struct node *node = dispatch->node;
	simpler_status status = may_retry(in, sessions_enter_task(node->sessions, in->session));

	if (status != SIMPLER_OK)
		return status;
	dispatch->session = in->session;
	dispatch->task_id = in->request->task_id;
	dispatch->waiter = in->waiter;
	dispatch->deadline = in->deadline;
	status = run(dispatch, in);
	if (status == SIMPLER_OK)
		return SIMPLER_OK;
	sessions_leave_task(node->sessions, in->session);
	return error_context("node '%s' did not run task %llu", node->id,
	                     (unsigned long long)in->request->task_id);
}

static simpler_status begin(struct incoming *in)
{
	struct node *node = in->node;
	struct dispatch *dispatch;
	simpler_status status = may_retry(in, take(node, &dispatch));

	if (status != SIMPLER_OK)
		return error_context("node '%s' is full", node->id);
	status = begin_with(dispatch, in);
	if (status != SIMPLER_OK)
		give_back(node->dispatches, dispatch);
	return status;
}

/* The same, unless the node drains. */
static simpler_status begin_unless_draining(struct incoming *in)
{
	simpler_status status = may_retry(in, enter(in->node));

	if (status != SIMPLER_OK)
		return status;
	status = begin(in);
	if (status != SIMPLER_OK)
		leave(in->node);
	return status;
}

/* --- tasks that are the session's, whichever dispatch asks for them --- */

static void begin_logged(struct incoming *in, struct task_key key)
{
	struct waiter waiting;
	struct error error;

	if (begin_unless_draining(in) == SIMPLER_OK)
		return;
	error_save(&error);
	waiting = task_log_drop(in->node->tasks, key);
	(void)error_restore(&error);
	waiter_fail(&waiting, in->note);
}

static void serve_logged(struct incoming *in)
{
	static const char again[] = "the same dispatch came again";
	static const struct task_answer aborted = { RPC_ABORTED, RPC_NOTE_NONE,
		                                    (const uint8_t *)again, sizeof(again) };
	const struct task_request request = { .key = { in->session, in->request->task_id },
		                              .callable = in->request->callable_id,
		                              .repeated = in->request->repeated,
		                              .deadline = in->deadline,
		                              .waiter = in->waiter };
	struct task_arrival arrival;
	simpler_status status = task_log_begin(in->node->tasks, &request, &arrival);

	if (status != SIMPLER_OK) {
		waiter_fail(&in->waiter, RPC_NOTE_LOST);
	} else if (arrival.known == TASK_NEW) {
		begin_logged(in, request.key);
	} else if (arrival.known == TASK_ENDED) {
		waiter_answer(&in->waiter, &arrival.answer);
		free((void *)(uintptr_t)arrival.answer.bytes);
	} else {
		waiter_answer(&arrival.other, &aborted);
	}
}

static simpler_status check_life(struct incoming *in)
{
	if (in->session == 0 || in->request->session_life == 0)
		return SIMPLER_OK;
	return sessions_check_life(in->node->sessions, in->session, in->request->session_life);
}

void node_dispatch(struct incoming *in)
{
	struct node *node = in->node;
	simpler_status status = sessions_enter(node->sessions, in->session);

	in->note = RPC_NOTE_NONE;
	if (status == SIMPLER_OK) {
		status = check_life(in);
		if (status != SIMPLER_OK)
			node_leave(node, in->session);
	}
	if (status != SIMPLER_OK) {
		/* In the life before it may have run. */
		waiter_fail(&in->waiter, in->request->repeated ? RPC_NOTE_LOST : RPC_NOTE_NOT_RUN);
		return;
	}
	if (is_logged((struct task_key){ in->session, in->request->task_id }))
		serve_logged(in);
	else if (begin_unless_draining(in) != SIMPLER_OK)
		waiter_fail(&in->waiter, in->note);
	node_leave(node, in->session); /* a task has entered for itself */
}

static void dispatch(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct incoming in = { .node = node_of(call),
		               .waiter = { .call = call },
		               .deadline = rpc_call_deadline(call) };
	struct msg_dispatch request;
	struct bump bump;
	simpler_status status;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_dispatch_decode(data, size, &bump, &request);
	if (status == SIMPLER_OK)
		status = rpc_call_session(call, &in.session);
	in.request = &request;
	if (status == SIMPLER_OK)
		node_dispatch(&in);
	else
		reply_error(call);
	bump_release(&bump);
}

/* --- stops --- */

static_assert(sizeof(void *) >= sizeof(uint64_t), "a token fits a call's state");

static void dispatch_cancelled(struct rpc_call *call)
{
	struct node *node = node_of(call);
	int64_t until;

	if (!task_log_leave_call(node->tasks, call, &until)) {
		engine_client_cancel(node->engine, (uintptr_t)rpc_call_state(call));
		return;
	}
	rpc_finish(call, RPC_CANCELLED, "the client has gone", NULL);
	node_look_at(node, until);
}

static void stop_task(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct node *node = node_of(call);
	struct msg_stop_task stop;
	struct rpc_buffer buffer;
	simpler_status status;
	uint64_t session;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_stop_task_decode(data, size, &bump, &stop);
	bump_release(&bump);
	if (status == SIMPLER_OK)
		status = node_need_session(call, &session);
	if (status == SIMPLER_OK) {
		engine_client_cancel(
			node->engine,
			task_log_stop(node->tasks, (struct task_key){ session, stop.task_id }));
		status = msg_empty_encode(&buffer);
	}
	reply(call, status, &buffer);
}

int64_t node_expire_tasks(struct node *node)
{
	uint64_t token;
	int64_t next;

	while ((token = task_log_next_due(node->tasks, &next)) != 0)
		engine_client_cancel(node->engine, token);
	return next;
}

const struct rpc_method node_worker_methods[NODE_WORKER_METHODS] = {
	{ .path = MSG_DISPATCH, .on_message = dispatch, .on_cancel = dispatch_cancelled },
	{ .path = MSG_HEARTBEAT, .on_message = node_heartbeat },
	{ .path = MSG_ATTACH, .on_message = node_attach },
	{ .path = MSG_DETACH, .on_message = node_detach },
	{ .path = MSG_STATUS, .on_message = node_status },
	{ .path = MSG_DRAIN, .on_message = node_drain },
	{ .path = MSG_STOP_TASK, .on_message = stop_task },
	{ .path = MSG_FABRIC_LANE, .on_message = node_open_fabric_lane },
	{ .path = MSG_LANE,
	  .streaming = true,
	  .lasting = true,
	  .idle_ms = STREAM_IDLE_MS,
	  .on_open = node_lane_opened,
	  .on_message = node_lane_message,
	  .on_half_close = node_lane_half_closed,
	  .on_sent = node_lane_sent,
	  .on_cancel = node_lane_cancelled,
	  .on_end = node_lane_ended },
};
