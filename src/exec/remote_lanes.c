/*
 * Which lane dispatches go by.
 *
 *   NONE --open--> OPENING --opened--> OPEN --lost--> NONE     and from each: CLOSED
 *     ^---refused, lost----'
 *
 * While none is open, dispatches go by the unary lane. One that is wanted and not there is opened
 * again with a later heartbeat, one kind after the other, the best first. Only connecting and
 * heartbeats open one, so that none is on the way when the node is closed.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/inject.h"
#include "base/log.h"
#include "exec/lane_shm.h"
#include "exec/node_session.h"
#include "exec/remote_node.h"

static const simpler_lane best_first[] = { SIMPLER_LANE_SHM, SIMPLER_LANE_FABRIC,
	                                   SIMPLER_LANE_STREAM };
#define KINDS (sizeof(best_first) / sizeof(best_first[0]))
/* How long one may take to open that has another one behind it. */
#define OPEN_MS 3000

/* What this side needs for it. */
static bool is_here(const struct remote_child *node, simpler_lane lane)
{
	if (lane == SIMPLER_LANE_SHM)
		return node->lanes.shm != NULL;
	return lane != SIMPLER_LANE_FABRIC || node->fabric;
}

static bool is_wanted(const struct remote_child *node, simpler_lane lane)
{
	const struct remote_lanes *lanes = &node->lanes;

	return (lanes->wanted == SIMPLER_LANE_AUTO || lanes->wanted == lane) &&
	       (lanes->offered >> lane & 1) != 0 && is_here(node, lane);
}

/* --- what its owner hears --- */

static void on_opened(void *context, struct lane *lane)
{
	struct remote_child *node = context;
	struct remote_lanes *lanes = &node->lanes;

	pthread_mutex_lock(&node->lock);
	if (lanes->state == REMOTE_LANE_OPENING) {
		lanes->state = REMOTE_LANE_OPEN;
		lanes->fast = lane;
		lanes->failed = 0;
		simpler_log(SIMPLER_LOG_DEBUG, "dispatches go to %s by the lane '%s'",
		            node->child.name, simpler_lane_name(lanes->is));
	}
	(void)pthread_cond_broadcast(&node->lane_changed);
	pthread_mutex_unlock(&node->lock);
}

/* With the lock. */
static void count_gone(struct remote_lanes *lanes, const struct lane *lane)
{
	lanes->dispatches += atomic_load(&lane->dispatches);
	lanes->batches += atomic_load(&lane->batches);
}

/* With the lock: it could not be opened; `expected` is nothing to tell of. */
static void fail(struct remote_child *node, const char *why, bool expected)
{
	struct remote_lanes *lanes = &node->lanes;
	uint32_t bit = UINT32_C(1) << lanes->is;

	(void)snprintf(lanes->why, sizeof(lanes->why), "%s", why);
	lanes->state = REMOTE_LANE_NONE;
	lanes->failed |= bit;
	if (expected)
		return;
	if (lanes->wanted == SIMPLER_LANE_AUTO && (lanes->told_failure & bit) == 0)
		simpler_log(SIMPLER_LOG_WARN,
		            "the lane '%s' to %s cannot be opened, and dispatches go another way "
		            "until it can: %s",
		            simpler_lane_name(lanes->is), node->child.name, why);
	lanes->told_failure |= bit;
}

/* With the lock. The end of the session is that of its lanes, and so is the end of the node. */
static void lose(struct remote_child *node, const char *why, bool expected)
{
	struct remote_lanes *lanes = &node->lanes;

	lanes->state = REMOTE_LANE_NONE;
	if (expected)
		return;
	lanes->losses++;
	if (!lanes->told_loss)
		simpler_log(SIMPLER_LOG_WARN,
		            "the lane '%s' to %s is lost, and dispatches go by calls until it is "
		            "there again: %s",
		            simpler_lane_name(lanes->is), node->child.name, why);
	lanes->told_loss = true;
}

static void on_ending(void *context)
{
	struct remote_child *node = context;

	node_session_note_end(node->attachment);
}

static void on_lost(void *context, struct lane *lane, const char *why)
{
	struct remote_child *node = context;
	struct remote_lanes *lanes = &node->lanes;
	bool ending = node_session_is_ending(node->session) ||
	              node_session_is_draining(node->attachment),
	     ours;

	pthread_mutex_lock(&node->lock);
	ours = lanes->state != REMOTE_LANE_CLOSED;
	if (lanes->state == REMOTE_LANE_OPEN)
		lose(node, why, ending);
	else if (lanes->state == REMOTE_LANE_OPENING)
		fail(node, why, ending);
	if (ours) {
		lanes->fast = NULL;
		count_gone(lanes, lane);
	}
	(void)pthread_cond_broadcast(&node->lane_changed);
	pthread_mutex_unlock(&node->lock);
	if (ours)
		lane_drop(lane);
}

/* --- opening --- */

static simpler_status begin(struct remote_child *node, simpler_lane kind, struct lane **out)
{
	const struct lane_owner owner = { node, on_opened, on_lost, on_ending };
	char address[NODE_SESSION_SHM_MAX + 1];

	if (INJECT("lane.opening"))
		return error_raise(SIMPLER_ENOSPACE, "it is not begun, for a test");
	if (kind == SIMPLER_LANE_STREAM)
		return lane_stream_open(node->channel, &owner, out);
	if (kind == SIMPLER_LANE_FABRIC)
		return lane_fabric_open(node->fabric, node->channel, &owner, out);
	node_session_shm_address(node->attachment, address);
	return lane_shm_open(node->lanes.shm, address, node_session_id(node->session), &owner, out);
}

/* With the lock. False when there is none; those that failed have their turn again then. */
static bool next_to_open(struct remote_child *node, simpler_lane *out)
{
	struct remote_lanes *lanes = &node->lanes;

	for (size_t i = 0; i < KINDS; i++) {
		simpler_lane lane = best_first[i];

		if (is_wanted(node, lane) && (lanes->failed >> lane & 1) == 0) {
			*out = lane;
			return true;
		}
	}
	lanes->failed = 0;
	return false;
}

/* The node is on another machine. */
static bool is_elsewhere(simpler_lane kind, simpler_status status)
{
	return kind == SIMPLER_LANE_SHM && status == SIMPLER_EUNAVAILABLE;
}

/*
 * The next one, unless one is open or being opened: connecting and a heartbeat may look at the same
 * moment. False when no kind is left. It may have been opened, or lost, when this returns, and
 * another one begun.
 */
static bool open_next(struct remote_child *node)
{
	struct remote_lanes *lanes = &node->lanes;
	bool begins, any = true;
	simpler_status status;
	uint32_t attempt = 0;
	simpler_lane kind;
	struct lane *lane;

	pthread_mutex_lock(&node->lock);
	begins = lanes->state == REMOTE_LANE_NONE && (any = next_to_open(node, &kind));
	if (begins) {
		lanes->state = REMOTE_LANE_OPENING;
		lanes->is = kind;
		attempt = ++lanes->attempt;
	}
	pthread_mutex_unlock(&node->lock);
	if (!begins)
		return any;
	status = begin(node, kind, &lane);
	pthread_mutex_lock(&node->lock);
	if (lanes->attempt == attempt && lanes->state == REMOTE_LANE_OPENING) {
		if (status == SIMPLER_OK)
			lanes->fast = lane;
		else
			fail(node, simpler_last_error_step(0), is_elsewhere(kind, status));
	}
	pthread_mutex_unlock(&node->lock);
	return true;
}

/* Until it is open; false when it was refused, or there is no time left. */
static bool await_open(struct remote_child *node, int64_t deadline)
{
	struct remote_lanes *lanes = &node->lanes;
	bool open;

	pthread_mutex_lock(&node->lock);
	while (lanes->state == REMOTE_LANE_OPENING &&
	       condition_wait(&node->lane_changed, &node->lock, deadline))
		;
	open = lanes->state == REMOTE_LANE_OPEN;
	pthread_mutex_unlock(&node->lock);
	return open;
}

/* With a reference; NULL when there is none, or none that is known yet. */
static struct lane *hold_fast(struct remote_child *node, bool but_opening)
{
	struct remote_lanes *lanes = &node->lanes;
	struct lane *lane;

	pthread_mutex_lock(&node->lock);
	lane = !but_opening || lanes->state == REMOTE_LANE_OPENING ? lanes->fast : NULL;
	if (lane)
		lane_hold(lane);
	pthread_mutex_unlock(&node->lock);
	return lane;
}

/* When the one that is being opened is not waited for any longer. */
static int64_t patient_until(struct remote_child *node, int64_t deadline)
{
	int64_t soon = clock_after_ms(OPEN_MS);
	bool is_last;

	pthread_mutex_lock(&node->lock);
	is_last =
		node->lanes.wanted != SIMPLER_LANE_AUTO || node->lanes.is == best_first[KINDS - 1];
	pthread_mutex_unlock(&node->lock);
	return is_last || deadline < soon ? deadline : soon;
}

static void stop_opening(struct remote_child *node)
{
	struct lane *lane = hold_fast(node, true);

	if (!lane)
		return;
	lane->ops->lose(lane, "no answer");
	lane_drop(lane);
}

/* Each kind that is wanted once, until one is open. */
static bool open_best(struct remote_child *node, int64_t deadline)
{
	do {
		if (!open_next(node))
			return false;
		if (await_open(node, patient_until(node, deadline)))
			return true;
		stop_opening(node);
	} while (clock_now() < deadline);
	return false;
}

simpler_status remote_open_lane(struct remote_child *node, int64_t deadline)
{
	struct remote_lanes *lanes = &node->lanes;
	const char *name = simpler_lane_name(lanes->wanted);

	if (lanes->wanted == SIMPLER_LANE_UNARY)
		return SIMPLER_OK;
	if (lanes->wanted == SIMPLER_LANE_FABRIC && !node->fabric)
		return error_raise(SIMPLER_EUNAVAILABLE,
		                   "the lane 'fabric' was named for %s, and this worker has no "
		                   "fabric: see simpler_worker_options.fabric",
		                   node->child.name);
	if (lanes->wanted != SIMPLER_LANE_AUTO && !is_wanted(node, lanes->wanted))
		return error_raise(SIMPLER_EUNAVAILABLE,
		                   "the lane '%s' was named, and %s does not offer it; name "
		                   "another or leave it to 'auto'",
		                   name, node->child.name);
	if (open_best(node, deadline) || lanes->wanted == SIMPLER_LANE_AUTO)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EUNAVAILABLE,
	                   "the lane '%s' was named, and cannot be opened to %s: %s", name,
	                   node->child.name, lanes->why[0] != '\0' ? lanes->why : "no answer");
}

void remote_check_lane(struct remote_child *node)
{
	struct lane *lane = hold_fast(node, false);

	if (!lane)
		return;
	lane->ops->check(lane);
	lane_drop(lane);
}

void remote_look_for_lane(struct remote_child *node)
{
	remote_check_lane(node);
	if (node->lanes.wanted != SIMPLER_LANE_UNARY && !node_session_is_draining(node->attachment))
		(void)open_next(node);
}

void remote_lose_lane(struct remote_child *node, const char *why)
{
	struct lane *lane = hold_fast(node, false);

	if (!lane)
		return;
	lane->ops->lose(lane, why);
	lane_drop(lane);
}

/* --- using --- */

struct lane *remote_hold_lane(struct remote_child *node)
{
	struct lane *lane = node->lanes.unary;

	pthread_mutex_lock(&node->lock);
	if (node->lanes.state == REMOTE_LANE_OPEN)
		lane = node->lanes.fast;
	lane_hold(lane);
	pthread_mutex_unlock(&node->lock);
	return lane;
}

void remote_count_lanes(struct remote_child *node, struct remote_traffic *out)
{
	struct remote_lanes *lanes = &node->lanes;
	bool open;

	pthread_mutex_lock(&node->lock);
	open = lanes->state == REMOTE_LANE_OPEN;
	out->lane = open ? lanes->is : SIMPLER_LANE_UNARY;
	out->lane_losses = lanes->losses;
	out->lane_dispatches =
		lanes->dispatches + (open ? atomic_load(&lanes->fast->dispatches) : 0);
	out->lane_batches = lanes->batches + (open ? atomic_load(&lanes->fast->batches) : 0);
	out->dispatches = out->lane_dispatches + atomic_load(&lanes->unary->dispatches);
	pthread_mutex_unlock(&node->lock);
}

void remote_close_lanes(struct remote_child *node)
{
	struct remote_lanes *lanes = &node->lanes;
	struct lane *lane;

	pthread_mutex_lock(&node->lock);
	lane = lanes->fast;
	lanes->fast = NULL;
	lanes->state = REMOTE_LANE_CLOSED;
	pthread_mutex_unlock(&node->lock);
	if (!lane)
		return;
	lane->ops->close(lane);
	lane_drop(lane);
}
