#include "node/lane.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/error.h"
#include "base/inject.h"
#include "node/task_log.h"
#include "rpc/lane_record.h"

struct node_lanes {
	pthread_mutex_t lock;   /* guards: */
	struct node_lane *open; /* in the order in which they were opened */
	bool over;              /* none is opened any more */
	pthread_cond_t fewer;   /* one was closed */
};

struct node_lanes *node_lanes_create(void)
{
	struct node_lanes *lanes = calloc(1, sizeof(*lanes));

	if (!lanes)
		return NULL;
	(void)pthread_mutex_init(&lanes->lock, NULL);
	condition_init(&lanes->fewer);
	return lanes;
}

void node_lanes_destroy(struct node_lanes *lanes)
{
	if (!lanes)
		return;
	(void)pthread_cond_destroy(&lanes->fewer);
	(void)pthread_mutex_destroy(&lanes->lock);
	free(lanes);
}

uint32_t node_lanes_count(struct node_lanes *lanes, simpler_lane kind)
{
	struct node_lane *lane;
	uint32_t count = 0;

	pthread_mutex_lock(&lanes->lock);
	DL_FOREACH (lanes->open, lane)
		count += lane->carrier->kind == kind;
	pthread_mutex_unlock(&lanes->lock);
	return count;
}

/* --- life --- */

void node_lane_hold(struct node_lane *lane)
{
	atomic_fetch_add(&lane->references, 1);
}

static void drop(struct node_lane *lane, uint32_t count)
{
	if (atomic_fetch_sub(&lane->references, count) == count)
		lane->carrier->release(lane);
}

void node_lane_drop(struct node_lane *lane)
{
	drop(lane, 1);
}

void node_lane_destroy(struct node_lane *lane)
{
	lane_bytes_release(&lane->out);
	lane_bytes_release(&lane->under_way);
	(void)pthread_mutex_destroy(&lane->lock);
}

void node_lane_close(struct node_lane *lane, enum rpc_code code, const char *why)
{
	struct node *node = lane->node;
	uint32_t references = 0;
	int64_t until;
	bool closes;

	node_lane_hold(lane);
	pthread_mutex_lock(&lane->lock);
	closes = !atomic_exchange(&lane->closed, true);
	lane_bytes_release(&lane->out);
	pthread_mutex_unlock(&lane->lock);
	if (closes) {
		(void)INJECT("node_lane.closed");
		pthread_mutex_lock(&node->lanes->lock);
		DL_DELETE(node->lanes->open, lane);
		pthread_mutex_unlock(&node->lanes->lock);
		references = 1 + task_log_leave_lane(node->tasks, lane, &until);
		node_look_at(node, until);
		lane->carrier->close(lane, code, why);
		(void)pthread_cond_broadcast(&node->lanes->fewer);
	}
	drop(lane, 1 + references);
}

/* The first that is to be closed, up to `but`, with a reference; NULL: none. */
static struct node_lane *find_open(struct node_lanes *lanes, uint64_t session,
                                   const struct node_lane *but)
{
	struct node_lane *lane;

	pthread_mutex_lock(&lanes->lock);
	DL_FOREACH (lanes->open, lane) {
		if (lane == but || lane->session == session)
			break;
	}
	if (lane == but)
		lane = NULL;
	if (lane)
		node_lane_hold(lane);
	pthread_mutex_unlock(&lanes->lock);
	return lane;
}

/* Those that were opened before `but`: of two that are opened at once one stays. */
static void close_others(struct node *node, uint64_t session, const struct node_lane *but,
                         enum rpc_code code, const char *why)
{
	struct node_lane *lane;

	while ((lane = find_open(node->lanes, session, but)) != NULL) {
		node_lane_close(lane, code, why);
		node_lane_drop(lane);
	}
}

void node_lanes_close(struct node *node, uint64_t session, const char *why)
{
	close_others(node, session, NULL, RPC_UNAVAILABLE, why);
}

/* --- the end of the node --- */

static void flush(struct node_lane *lane);

/* With the lock. */
static bool has_sent_all(const struct node_lane *lane)
{
	return !lane->sending && lane->out.size == 0 && lane->sent == lane->under_way.size;
}

/* With the lock, which it releases. */
static void say_goodbye(struct node_lane *lane)
{
	uint8_t *room = lane_bytes_room(&lane->out, lane_goodbye_bytes());

	lane->said_goodbye = true;
	if (!room) /* it does without */
		return;
	lane_goodbye_encode(room);
	lane->out.size += lane_goodbye_bytes();
	flush(lane);
}

/* Without the lock, of one that is ending. */
static void close_if_ended(struct node_lane *lane)
{
	bool ends;

	pthread_mutex_lock(&lane->lock);
	if (!lane->closed && !lane->said_goodbye && has_sent_all(lane))
		say_goodbye(lane);
	ends = !lane->closed && lane->said_goodbye && has_sent_all(lane) &&
	       lane->carrier->keeps_what_was_sent;
	pthread_mutex_unlock(&lane->lock);
	if (ends)
		node_lane_close(lane, RPC_UNAVAILABLE, "the node is ending");
}

/* The first that is not ending yet, with a reference; NULL: none. */
static struct node_lane *next_to_end(struct node_lanes *lanes)
{
	struct node_lane *lane;

	pthread_mutex_lock(&lanes->lock);
	lanes->over = true;
	DL_FOREACH (lanes->open, lane) {
		if (!atomic_exchange(&lane->ending, true))
			break;
	}
	if (lane)
		node_lane_hold(lane);
	pthread_mutex_unlock(&lanes->lock);
	return lane;
}

/* Until none is open, or the deadline. The first that is then, with a reference; NULL: none. */
static struct node_lane *await_none(struct node_lanes *lanes, int64_t deadline)
{
	struct node_lane *lane;

	pthread_mutex_lock(&lanes->lock);
	while (lanes->open && condition_wait(&lanes->fewer, &lanes->lock, deadline))
		;
	lane = lanes->open;
	if (lane)
		node_lane_hold(lane);
	pthread_mutex_unlock(&lanes->lock);
	return lane;
}

void node_lanes_end(struct node *node, int64_t deadline)
{
	struct node_lane *lane;

	while ((lane = next_to_end(node->lanes)) != NULL) {
		close_if_ended(lane);
		node_lane_drop(lane);
	}
	while ((lane = await_none(node->lanes, deadline)) != NULL) {
		node_lane_close(lane, RPC_UNAVAILABLE, "the node is ending");
		node_lane_drop(lane);
	}
}

/* --- opening --- */

/* Into the list. */
static simpler_status list(struct node_lane *lane)
{
	struct node_lanes *lanes = lane->node->lanes;
	bool over;

	pthread_mutex_lock(&lanes->lock);
	over = lanes->over;
	if (!over)
		DL_APPEND(lanes->open, lane);
	pthread_mutex_unlock(&lanes->lock);
	return over ? error_raise(SIMPLER_EUNAVAILABLE, "node '%s' is ending", lane->node->id)
	            : SIMPLER_OK;
}

simpler_status node_lane_open(struct node_lane *lane, const struct node_lane_carrier *carrier,
                              struct node *node, uint64_t session)
{
	/* It may end at any moment from here on, and then closes the lane, if it is in the list. */
	simpler_status status = sessions_enter(node->sessions, session);

	if (status == SIMPLER_OK && INJECT("node_lane.opening")) {
		node_leave(node, session);
		status = error_raise(SIMPLER_ENOSPACE, "a lane is refused for a test");
	}
	if (status != SIMPLER_OK)
		return status;
	lane->carrier = carrier;
	lane->node = node;
	lane->session = session;
	atomic_init(&lane->references, 2);
	(void)pthread_mutex_init(&lane->lock, NULL);
	status = list(lane);
	if (status == SIMPLER_OK)
		close_others(node, session, lane, RPC_ABORTED, "the session has another lane now");
	else
		(void)pthread_mutex_destroy(&lane->lock);
	(void)INJECT("node_lane.open");
	node_leave(node, session);
	return status;
}

uint32_t node_lane_credits(const struct node *node)
{
	unsigned all = node->options->max_tasks, own = node->options->max_session_tasks;

	return own < all ? own : all;
}

/* --- what goes out --- */

/* With the lock: the next batch, of those that are under way. */
static size_t next_batch(struct node_lane *lane)
{
	struct lane_bytes empty;

	if (lane->sent == lane->under_way.size) {
		lane_bytes_clear(&lane->under_way);
		lane->sent = 0;
		empty = lane->under_way;
		lane->under_way = lane->out;
		lane->out = empty;
	}
	if (lane->under_way.size == 0)
		return 0;
	return lane_bytes_cut(lane->under_way.bytes + lane->sent, lane->under_way.size - lane->sent,
	                      lane->carrier->batch_bytes);
}

/* With the lock, which it releases while it sends; nobody else does then. */
static void flush(struct node_lane *lane)
{
	size_t size;
	bool more;

	while (!lane->sending && !lane->closed && (size = next_batch(lane)) > 0) {
		lane->sending = true;
		pthread_mutex_unlock(&lane->lock);
		lane->sent += size;
		more = lane->carrier->send(lane, lane->under_way.bytes + lane->sent - size, size);
		pthread_mutex_lock(&lane->lock);
		if (!more)
			return;
		lane->sending = false;
	}
}

void node_lane_continue(struct node_lane *lane)
{
	pthread_mutex_lock(&lane->lock);
	lane->sending = false;
	flush(lane);
	pthread_mutex_unlock(&lane->lock);
	if (atomic_load(&lane->ending))
		close_if_ended(lane);
}

/* With the lock. False when there is no room, of which there may be `most` bytes; for one record
 * alone there is. */
static bool put(struct node_lane *lane, const struct lane_outcome *outcome, uint64_t tag,
                size_t most)
{
	size_t size = lane_outcome_bytes(outcome), used = lane->out.size;
	uint8_t *room = NULL;

	if (used == 0 || (used < most && size <= most - used))
		room = lane_bytes_room(&lane->out, size);
	if (!room)
		return false;
	lane_outcome_encode(outcome, tag, room);
	lane->out.size += size;
	return true;
}

void node_lane_answer(struct node_lane *lane, uint64_t tag, const struct task_answer *answer)
{
	static const struct lane_outcome ask_elsewhere = { .code = RPC_UNAVAILABLE,
		                                           .ask_elsewhere = true };
	const struct lane_outcome outcome = {
		.code = answer->code,
		.note = answer->note,
		.bytes = answer->bytes,
		.size = answer->size - (answer->code == RPC_OK ? 0 : 1),
	};
	bool fits = lane_outcome_bytes(&outcome) <= lane->carrier->record_bytes, put_in = true;

	pthread_mutex_lock(&lane->lock);
	if (!lane->closed && !lane->said_goodbye) {
		put_in = (fits && put(lane, &outcome, tag, NODE_LANE_MOST_UNSENT)) ||
		         put(lane, &ask_elsewhere, tag,
		             NODE_LANE_MOST_UNSENT + NODE_LANE_MOST_ASKED);
		flush(lane);
	}
	pthread_mutex_unlock(&lane->lock);
	if (!put_in || INJECT("node_lane.answer"))
		node_lane_close(lane, RPC_RESOURCE_EXHAUSTED, "nobody takes the lane's outcomes");
	else if (atomic_load(&lane->ending))
		close_if_ended(lane);
	node_lane_drop(lane);
}

/* --- what comes in --- */

static simpler_status take_dispatch(struct node_lane *lane, const struct lane_record *record,
                                    bool more)
{
	struct incoming in = { .node = lane->node,
		               .session = lane->session,
		               .waiter = { .lane = lane, .tag = record->tag },
		               .deadline = CLOCK_NEVER,
		               .more = more };
	struct msg_dispatch request;
	uint64_t timeout_us;
	simpler_status status;

	in.request = &request;
	if (record->kind != LANE_DISPATCH)
		return error_raise(SIMPLER_EINVAL, "a client sends dispatches by a lane, and no "
		                                   "other records");
	node_lane_hold(lane);
	status = lane_dispatch_decode(record, &request, &timeout_us);
	if (status == SIMPLER_OK && request.task_id == 0)
		status = error_raise(SIMPLER_EINVAL, "a dispatch by a lane has a task id, not 0");
	if (status != SIMPLER_OK) {
		waiter_fail(&in.waiter, RPC_NOTE_NONE);
		return SIMPLER_OK;
	}
	/* It names handles of this node, and no others. */
	for (uint32_t i = 0; i < request.tensor_count; i++) {
		if (request.tensors[i].is_handle)
			memcpy(request.tensors[i].handle.node_id, lane->node->id,
			       strlen(lane->node->id) + 1);
	}
	if (timeout_us != 0)
		in.deadline = clock_after_ms(timeout_us / 1000 + 1);
	node_dispatch(&in);
	/* Not before it is known: who is woken looks through those that are. */
	if (timeout_us != 0)
		node_look_at(lane->node, in.deadline);
	return SIMPLER_OK;
}

/* Another thread has closed it, perhaps before the log knew of what this one has just taken. */
static void leave_again(struct node_lane *lane)
{
	uint32_t references;
	int64_t until;

	references = task_log_leave_lane(lane->node->tasks, lane, &until);
	node_look_at(lane->node, until);
	if (references > 0)
		drop(lane, references);
}

void node_lane_take(struct node_lane *lane, const uint8_t *bytes, size_t size)
{
	simpler_status status = SIMPLER_OK;
	struct lane_record record;

	while (size > 0 && status == SIMPLER_OK && !atomic_load(&lane->closed)) {
		status = lane_next_record(&bytes, &size, &record);
		if (status == SIMPLER_OK)
			status = take_dispatch(lane, &record, size > 0);
		if (INJECT("node_lane.taken"))
			status = error_raise(SIMPLER_EUNAVAILABLE, "a lane fails for a test");
	}
	if (status != SIMPLER_OK)
		node_lane_close(lane, rpc_code_of(status), simpler_last_error_step(0));
	else if (atomic_load(&lane->closed))
		leave_again(lane);
}
