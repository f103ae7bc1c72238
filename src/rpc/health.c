/*
 * Check answers at once. Watch is a stream that gets the present state and then every change of it.
 *
 * A watcher has at most one message on its way. What changes meanwhile is looked up when that one
 * has been sent, so a slow watcher sees the latest state and costs no queue.
 *
 * A watcher is listed from its request until its call is answered, which on_cancel and
 * rpc_health_close() both may want to do: whoever sets `answered` does. rpc_send() and rpc_finish()
 * are called with the lock held, so that nothing is sent after the answer; neither runs callbacks.
 */
#include "rpc/health.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/error.h"
#include "rpc/codec.h"

#include "health.pb-c.h"

typedef Grpc__Health__V1__HealthCheckRequest pb_request;
typedef Grpc__Health__V1__HealthCheckResponse pb_response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus pb_status;

struct watcher {
	struct watcher *prev, *next;
	struct rpc_call *call;
	char service[RPC_HEALTH_NAME_MAX + 1];
	bool listed, answered, sending, has_told;
	pb_status told; /* when has_told */
};

struct rpc_health {
	rpc_health_ask *ask;
	void *context;
	pthread_mutex_t lock; /* guards all below, the watchers' fields included */
	struct watcher *watchers;
	bool closed;
};

bool rpc_health_decode(const uint8_t *data, size_t size, char service[RPC_HEALTH_NAME_MAX + 1])
{
	struct bump bump;
	pb_request *request;
	size_t length;

	bump_init(&bump, sizeof(bump.first));
	request = codec_unpack(&grpc__health__v1__health_check_request__descriptor, data, size,
	                       &bump);
	length = request ? strlen(request->service) : SIZE_MAX;
	if (length <= RPC_HEALTH_NAME_MAX)
		memcpy(service, request->service, length + 1);
	bump_release(&bump);
	return length <= RPC_HEALTH_NAME_MAX;
}

static simpler_status write_status(pb_status status, struct rpc_buffer *out)
{
	pb_response response;

	grpc__health__v1__health_check_response__init(&response);
	response.status = status;
	return codec_pack(&response.base, out);
}

static pb_status status_of(enum rpc_health_state state)
{
	return state == RPC_HEALTH_SERVING
	               ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
	       : state == RPC_HEALTH_NOT_SERVING
	               ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
	               : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
}

/* --- Check --- */

static void check_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_health *health = rpc_call_context(call);
	char service[RPC_HEALTH_NAME_MAX + 1];
	enum rpc_health_state state;
	struct rpc_buffer answer;

	if (!rpc_health_decode(data, size, service)) {
		rpc_finish(call, RPC_INVALID_ARGUMENT, "this is no HealthCheckRequest", NULL);
		return;
	}
	pthread_mutex_lock(&health->lock);
	state = health->ask(health->context, service);
	pthread_mutex_unlock(&health->lock);
	if (state == RPC_HEALTH_UNKNOWN)
		rpc_finish(call, RPC_NOT_FOUND, "there is no such service here", NULL);
	else if (write_status(status_of(state), &answer) != SIMPLER_OK)
		rpc_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory", NULL);
	else
		rpc_finish(call, RPC_OK, NULL, &answer);
}

/* --- Watch; with the lock held --- */

static void tell(struct rpc_health *health, struct watcher *watcher)
{
	pb_status status;
	struct rpc_buffer message;

	if (watcher->sending)
		return;
	status = status_of(health->ask(health->context, watcher->service));
	if ((watcher->has_told && status == watcher->told) ||
	    write_status(status, &message) != SIMPLER_OK)
		return;
	watcher->told = status;
	watcher->has_told = true;
	watcher->sending = true;
	rpc_send(watcher->call, &message);
}

/* --- Watch --- */

static void watch_open(struct rpc_call *call)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));

	rpc_call_set_state(call, watcher);
	if (!watcher) {
		rpc_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory", NULL);
		return;
	}
	watcher->call = call;
	rpc_receive(call);
}

static void watch_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_health *health = rpc_call_context(call);
	struct watcher *watcher = rpc_call_state(call);
	bool closed;

	if (!rpc_health_decode(data, size, watcher->service)) {
		rpc_finish(call, RPC_INVALID_ARGUMENT, "this is no HealthCheckRequest", NULL);
		return;
	}
	pthread_mutex_lock(&health->lock);
	closed = health->closed;
	if (!closed) {
		DL_APPEND(health->watchers, watcher);
		watcher->listed = true;
		tell(health, watcher);
	}
	pthread_mutex_unlock(&health->lock);
	if (closed)
		rpc_finish(call, RPC_UNAVAILABLE, "the server stops", NULL);
}

static void watch_half_close(struct rpc_call *call)
{
	rpc_finish(call, RPC_INVALID_ARGUMENT, "the call came without a message", NULL);
}

static void watch_sent(struct rpc_call *call)
{
	struct rpc_health *health = rpc_call_context(call);
	struct watcher *watcher = rpc_call_state(call);

	pthread_mutex_lock(&health->lock);
	watcher->sending = false;
	if (watcher->listed)
		tell(health, watcher);
	pthread_mutex_unlock(&health->lock);
}

static void watch_cancel(struct rpc_call *call)
{
	struct rpc_health *health = rpc_call_context(call);
	struct watcher *watcher = rpc_call_state(call);
	bool answered;

	pthread_mutex_lock(&health->lock);
	answered = watcher->answered;
	watcher->answered = true;
	if (watcher->listed)
		DL_DELETE(health->watchers, watcher);
	watcher->listed = false;
	pthread_mutex_unlock(&health->lock);
	if (!answered)
		rpc_finish(call, RPC_CANCELLED, NULL, NULL);
}

static void watch_end(struct rpc_call *call, bool cancelled)
{
	(void)cancelled;
	free(rpc_call_state(call));
}

static const struct rpc_method methods[] = {
	{ .path = "/grpc.health.v1.Health/Check", .on_message = check_message },
	{
		.path = "/grpc.health.v1.Health/Watch",
		.streaming = true,
		.on_open = watch_open,
		.on_message = watch_message,
		.on_half_close = watch_half_close,
		.on_sent = watch_sent,
		.on_cancel = watch_cancel,
		.on_end = watch_end,
	},
};

struct rpc_service rpc_health_service(struct rpc_health *health)
{
	return (struct rpc_service){ methods, sizeof(methods) / sizeof(methods[0]), health };
}

/* --- the object --- */

simpler_status rpc_health_create(rpc_health_ask *ask, void *context, struct rpc_health **out)
{
	struct rpc_health *health = calloc(1, sizeof(*health));

	if (!health)
		return error_raise(SIMPLER_ENOMEM, "no memory for the health service");
	health->ask = ask;
	health->context = context;
	pthread_mutex_init(&health->lock, NULL);
	*out = health;
	return SIMPLER_OK;
}

void rpc_health_changed(struct rpc_health *health)
{
	struct watcher *watcher;

	pthread_mutex_lock(&health->lock);
	DL_FOREACH (health->watchers, watcher)
		tell(health, watcher);
	pthread_mutex_unlock(&health->lock);
}

void rpc_health_close(struct rpc_health *health)
{
	struct watcher *watcher;

	pthread_mutex_lock(&health->lock);
	health->closed = true;
	while ((watcher = health->watchers) != NULL) {
		DL_DELETE(health->watchers, watcher);
		watcher->listed = false;
		watcher->answered = true;
		rpc_finish(watcher->call, RPC_UNAVAILABLE, "the server stops", NULL);
	}
	pthread_mutex_unlock(&health->lock);
}

void rpc_health_destroy(struct rpc_health *health)
{
	if (!health)
		return;
	pthread_mutex_destroy(&health->lock);
	free(health);
}
