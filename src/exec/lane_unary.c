/* The unary lane: a call of L3Worker.Dispatch for each. */
#include <stdlib.h>

#include "base/error.h"
#include "exec/lane.h"

struct unary {
	struct lane lane;
	struct rpc_channel *channel;
};

static void on_outcome(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                       size_t size)
{
	struct lane_dispatch *dispatch = context;
	struct lane *lane = dispatch->lane;
	struct lane_answer answer = { .code = code, .text = text, .data = data, .size = size };

	pthread_mutex_lock(&lane->lock);
	answer.note = rpc_client_call_note(dispatch->call);
	dispatch->call = NULL;
	pthread_mutex_unlock(&lane->lock);
	dispatch->done(dispatch, &answer);
	lane_drop(lane);
}

static simpler_status unary_submit(struct lane *lane, struct lane_dispatch *dispatch,
                                   const struct msg_dispatch *message)
{
	struct unary *unary = (struct unary *)lane;
	struct rpc_client_call *call;
	struct rpc_buffer buffer;
	simpler_status status = msg_dispatch_encode(message, &buffer);

	if (status != SIMPLER_OK)
		return status;
	call = rpc_client_call_create(unary->channel, MSG_DISPATCH, dispatch->deadline);
	if (!call) {
		rpc_buffer_release(&buffer);
		return error_raise(SIMPLER_ENOMEM, "out of memory for a call");
	}
	lane_hold(lane);
	atomic_fetch_add_explicit(&lane->dispatches, 1, memory_order_relaxed);
	pthread_mutex_lock(&lane->lock);
	dispatch->call = call;
	if (dispatch->cancelled)
		rpc_client_call_cancel(call);
	pthread_mutex_unlock(&lane->lock);
	rpc_unary_begin(call, dispatch->waits, &buffer, on_outcome, dispatch);
	return SIMPLER_OK;
}

/* gRPC's own thread reports it. */
static bool unary_cancel(struct lane *lane, struct lane_dispatch *dispatch)
{
	pthread_mutex_lock(&lane->lock);
	dispatch->cancelled = true;
	if (dispatch->call)
		rpc_client_call_cancel(dispatch->call);
	pthread_mutex_unlock(&lane->lock);
	return false;
}

/* The channel's end is that of what is in flight. */
static void unary_close(struct lane *lane)
{
	(void)lane;
}

static void unary_release(struct lane *lane)
{
	(void)pthread_mutex_destroy(&lane->lock);
	free(lane);
}

static const struct lane_ops unary_ops = {
	.submit = unary_submit,
	.cancel = unary_cancel,
	.close = unary_close,
	.release = unary_release,
};

simpler_status lane_unary_create(struct rpc_channel *channel, struct lane **out)
{
	struct unary *unary = calloc(1, sizeof(*unary));

	if (!unary)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a lane");
	unary->lane.ops = &unary_ops;
	unary->lane.name = "unary";
	atomic_init(&unary->lane.references, 1);
	(void)pthread_mutex_init(&unary->lane.lock, NULL);
	unary->channel = channel;
	*out = &unary->lane;
	return SIMPLER_OK;
}
