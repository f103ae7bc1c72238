#include "front_end.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/process.h"
#include "simpler/version.h"
#include "test_modules.h"

#define HEALTH_WATCH "/grpc.health.v1.Health/Watch"
#define MAX_OPTIONS  16

/* --- readiness --- */

/* HealthCheckResponse { status = 1 }: SERVING is 1. */
static void health_message(void *context, struct rpc_client_call *call, const uint8_t *data,
                           size_t size)
{
	struct front_end *front_end = context;

	(void)call;
	pthread_mutex_lock(&front_end->lock);
	front_end->serving = size == 2 && data[0] == 8 && data[1] == 1;
	front_end->times_serving += front_end->serving;
	pthread_cond_broadcast(&front_end->changed);
	pthread_mutex_unlock(&front_end->lock);
}

static void health_sent(void *context, struct rpc_client_call *call)
{
	(void)context;
	rpc_stream_close_send(call);
}

static void health_end(void *context, enum rpc_code code, const char *text)
{
	struct front_end *front_end = context;

	(void)code;
	(void)text;
	pthread_mutex_lock(&front_end->lock);
	front_end->watch_ended = true;
	front_end->serving = false;
	pthread_cond_broadcast(&front_end->changed);
	pthread_mutex_unlock(&front_end->lock);
}

static void watch_health(struct front_end *front_end)
{
	static const struct rpc_stream_handlers handlers = { .on_message = health_message,
		                                             .on_sent = health_sent,
		                                             .on_end = health_end };
	struct rpc_buffer request = bytes_buffer("", 0);
	struct rpc_client_call *watch;

	watch = stream_open(front_end->channel, HEALTH_WATCH, CLOCK_NEVER, &handlers, front_end);
	rpc_stream_send(watch, &request);
	front_end_wait_serving(front_end, 1);
}

void front_end_wait_serving(struct front_end *front_end, unsigned times)
{
	pthread_mutex_lock(&front_end->lock);
	while (front_end->times_serving < times && !front_end->watch_ended)
		pthread_cond_wait(&front_end->changed, &front_end->lock);
	assert_false(front_end->watch_ended);
	pthread_mutex_unlock(&front_end->lock);
}

void front_end_wait_not_serving(struct front_end *front_end)
{
	pthread_mutex_lock(&front_end->lock);
	while (front_end->serving)
		pthread_cond_wait(&front_end->changed, &front_end->lock);
	pthread_mutex_unlock(&front_end->lock);
}

static void check_health(struct front_end *front_end, const char *service, struct outcome *outcome)
{
	char name[80] = "";
	uint8_t bytes[2 + sizeof(name)];
	struct rpc_buffer request;
	size_t size;

	if (service[0])
		(void)snprintf(name, sizeof(name), "simpler.distributed.v1.%s", service);
	size = strlen(name);
	bytes[0] = 1 << 3 | 2; /* HealthCheckRequest { service = 1 } */
	bytes[1] = (uint8_t)size;
	memcpy(bytes + 2, name, size);
	request = bytes_buffer(bytes, 2 + size);
	call(front_end, "/grpc.health.v1.Health/Check", &request, outcome);
	expect(outcome, RPC_OK, "");
}

bool serves(struct front_end *front_end, const char *service)
{
	struct outcome outcome;
	bool serving;

	check_health(front_end, service, &outcome);
	serving = outcome.size == 2 && outcome.data[0] == 8 && outcome.data[1] == 1;
	outcome_destroy(&outcome);
	return serving;
}

void ask_status(struct front_end *front_end, struct bump *bump, struct msg_status *status)
{
	struct rpc_buffer empty;
	struct outcome outcome;
	uint8_t *bytes;

	assert_int_equal(msg_empty_encode(&empty), SIMPLER_OK);
	call(front_end, MSG_STATUS, &empty, &outcome);
	expect(&outcome, RPC_OK, "");
	/* What is decoded may point into the bytes. */
	bump_init(bump, MSG_BUMP_LIMIT(2 * outcome.size));
	bytes = bump_alloc(bump, outcome.size + 1);
	assert_non_null(bytes);
	memcpy(bytes, outcome.data, outcome.size);
	assert_int_equal(msg_status_decode(bytes, outcome.size, bump, status), SIMPLER_OK);
	outcome_destroy(&outcome);
}

uint32_t lanes_open(struct front_end *front_end)
{
	struct msg_status status;
	uint32_t open = 0;
	struct bump bump;

	ask_status(front_end, &bump, &status);
	for (uint32_t i = 0; i < status.lane_count; i++)
		open += status.lanes[i].open;
	bump_release(&bump);
	return open;
}

const struct msg_reason *reason_of(const struct msg_status *status, const char *what)
{
	for (uint32_t i = 0; i < status->reason_count; i++) {
		if (strcmp(status->reasons[i].what, what) == 0)
			return &status->reasons[i];
	}
	return NULL;
}

void wait_reason(struct front_end *front_end, const char *what, bool holds)
{
	struct msg_status status;
	struct bump bump;
	bool found;

	do {
		ask_status(front_end, &bump, &status);
		found = reason_of(&status, what) != NULL;
		bump_release(&bump);
	} while (found != holds);
}

/* --- the daemon --- */

static int running_pidfd = -1;

/* A test that failed did not get to stop its daemon. */
static void kill_running(void)
{
	if (running_pidfd >= 0)
		process_signal(running_pidfd, SIGKILL);
}

struct front_end *front_end_start(const char *const *options)
{
	static bool registered;

	const char *all[MAX_OPTIONS] = { "--node-id", NODE_ID, "--pool-bytes", "64M" };
	struct front_end *front_end = calloc(1, sizeof(*front_end));
	struct outcome outcome;
	size_t count = 4;

	assert_non_null(front_end);
	while (options && *options && count < MAX_OPTIONS - 1)
		all[count++] = *options++;
	if (!registered)
		assert_int_equal(atexit(kill_running), 0);
	registered = true;
	kill_running();
	daemon_start(&front_end->daemon, all);
	running_pidfd = front_end->daemon.pidfd;
	(void)pthread_mutex_init(&front_end->lock, NULL);
	(void)pthread_cond_init(&front_end->changed, NULL);
	assert_int_equal(rpc_client_create(&front_end->client), SIMPLER_OK);
	assert_int_equal(
		rpc_channel_open(front_end->client, front_end->daemon.address, &front_end->channel),
		SIMPLER_OK);
	watch_health(front_end);
	callable_make(&front_end->orch, SIMPLER_KIND_ORCH, "who", "");
	callable_make(&front_end->sub, SIMPLER_KIND_SUB, "who_sub", "");
	push_callable(front_end, &front_end->orch, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
	push_callable(front_end, &front_end->sub, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
	return front_end;
}

void front_end_finish(struct front_end *front_end)
{
	int wait_status = -1;

	assert_true(process_wait(front_end->daemon.pidfd, clock_after_ms(20000), &wait_status));
	running_pidfd = -1;
	assert_int_equal(wait_status, 0);
	rpc_channel_close(front_end->channel);
	rpc_client_destroy(front_end->client);
	callable_release(&front_end->orch);
	callable_release(&front_end->sub);
	(void)close(front_end->daemon.pidfd);
	(void)close(front_end->daemon.output);
	(void)pthread_mutex_destroy(&front_end->lock);
	(void)pthread_cond_destroy(&front_end->changed);
	free(front_end);
}

void front_end_stop(struct front_end *front_end)
{
	process_signal(front_end->daemon.pidfd, SIGTERM);
	front_end_finish(front_end);
}

/* --- callables --- */

static uint8_t *read_module(size_t *size)
{
	FILE *file = fopen(TEST_MODULES_DIR "/remote_cases.so", "rb");
	size_t capacity = (size_t)4 << 20;
	uint8_t *bytes = malloc(capacity);

	assert_non_null(file);
	assert_non_null(bytes);
	*size = fread(bytes, 1, capacity, file);
	assert_true(*size > 0 && *size < capacity);
	(void)fclose(file);
	return bytes;
}

void callable_make(struct callable *callable, simpler_kind kind, const char *name,
                   const char *state)
{
	struct payload payload = { .kind = kind,
		                   .abi = SIMPLER_CALLABLE_ABI,
		                   .origin = { .source = ORIGIN_MODULE },
		                   .state = { state, strlen(state) } };
	size_t size;
	uint8_t *module = read_module(&size);

	(void)snprintf(payload.name, sizeof(payload.name), "%s", name);
	assert_int_equal(digest_compute(module, size, &payload.origin.module), SIMPLER_OK);
	assert_int_equal(digest_callable(kind, payload.abi, &payload.origin, name, payload.state,
	                                 &callable->digest),
	                 SIMPLER_OK);
	payload.module_bytes = (simpler_bytes){ module, size };
	callable->id = digest_id(&callable->digest);
	callable->version = digest_version(&callable->digest);
	callable->payload_size = payload_size(&payload);
	callable->payload = malloc(callable->payload_size);
	assert_non_null(callable->payload);
	payload_encode(&payload, callable->payload);
	free(module);
}

void callable_release(struct callable *callable)
{
	free(callable->payload);
}

/* --- calls --- */

void call_begin(struct front_end *front_end, const char *path, struct rpc_buffer *message,
                struct outcome *outcome)
{
	outcome_init(outcome);
	rpc_unary(front_end->channel, path, clock_after_ms(60000), false, message, outcome_done,
	          outcome);
}

void call(struct front_end *front_end, const char *path, struct rpc_buffer *message,
          struct outcome *outcome)
{
	call_begin(front_end, path, message, outcome);
	outcome_wait(outcome, &outcome->ended, 1);
}

void expect(const struct outcome *outcome, enum rpc_code code, const char *text)
{
	if (outcome->code != code || !strstr(outcome->text, text))
		fail_msg("want %s with '%s', have %s: %s", rpc_code_name(code), text,
		         rpc_code_name(outcome->code), outcome->text);
}

void push_callable(struct front_end *front_end, const struct callable *callable,
                   struct outcome *outcome)
{
	const struct msg_callable message = { .callable_id = callable->id,
		                              .version = callable->version,
		                              .payload = { callable->payload,
		                                           callable->payload_size } };
	struct rpc_buffer buffer;

	assert_int_equal(msg_callable_encode(&message, &buffer), SIMPLER_OK);
	call(front_end, MSG_PUSH_CALLABLE, &buffer, outcome);
}

/* --- dispatches --- */

struct msg_dispatch make_dispatch(const struct callable *callable, uint64_t task_id,
                                  enum fake_command command, uint64_t value)
{
	return (struct msg_dispatch){
		.task_id = task_id,
		.callable_id = callable->id,
		.callable_version = callable->version,
		.scalar_count = 2,
		.scalars = { command, value },
		.digest = { callable->digest.bytes, sizeof(callable->digest.bytes) },
		.kind = SIMPLER_KIND_ORCH,
	};
}

static struct msg_tensor_ref *add_ref(struct msg_dispatch *request, simpler_tag tag, int64_t count)
{
	struct msg_tensor_ref *ref = &request->tensors[request->tensor_count++];

	ref->shape =
		(struct msg_shape){ .ndim = 1, .shape = { count }, .dtype = SIMPLER_INT64, tag };
	return ref;
}

struct msg_tensor_ref *add_inline(struct msg_dispatch *request, simpler_tag tag,
                                  const int64_t *elements, int64_t count)
{
	struct msg_tensor_ref *ref = add_ref(request, tag, count);

	if (elements)
		ref->inline_data = (simpler_bytes){ elements, (size_t)count * sizeof(*elements) };
	return ref;
}

void add_handle(struct msg_dispatch *request, simpler_tag tag, const struct msg_handle *handle,
                int64_t count)
{
	struct msg_tensor_ref *ref = add_ref(request, tag, count);

	ref->is_handle = true;
	ref->handle = *handle;
}

void dispatch_begin(struct front_end *front_end, const struct msg_dispatch *request,
                    struct outcome *outcome)
{
	struct rpc_buffer buffer;

	assert_int_equal(msg_dispatch_encode(request, &buffer), SIMPLER_OK);
	call_begin(front_end, MSG_DISPATCH, &buffer, outcome);
}

struct rpc_client_call *dispatch_open(struct front_end *front_end,
                                      const struct msg_dispatch *request, int64_t deadline,
                                      struct outcome *outcome)
{
	struct rpc_client_call *opened =
		rpc_client_call_create(front_end->channel, MSG_DISPATCH, deadline);
	struct rpc_buffer buffer;

	assert_non_null(opened);
	assert_int_equal(msg_dispatch_encode(request, &buffer), SIMPLER_OK);
	outcome_init(outcome);
	rpc_unary_begin(opened, false, &buffer, outcome_done, outcome);
	return opened;
}

void wait_taken(struct front_end *front_end)
{
	struct rpc_buffer empty;
	struct outcome outcome;

	assert_int_equal(msg_empty_encode(&empty), SIMPLER_OK);
	call(front_end, MSG_HEARTBEAT, &empty, &outcome);
	expect(&outcome, RPC_OK, "");
	outcome_destroy(&outcome);
}

void dispatch(struct front_end *front_end, const struct msg_dispatch *request,
              struct outcome *outcome)
{
	dispatch_begin(front_end, request, outcome);
	outcome_wait(outcome, &outcome->ended, 1);
}

void expect_response(struct outcome *outcome, struct bump *bump, struct msg_outcome *response)
{
	outcome_wait(outcome, &outcome->ended, 1);
	expect(outcome, RPC_OK, "");
	bump_init(bump, MSG_BUMP_LIMIT(outcome->size));
	assert_int_equal(msg_outcome_decode(outcome->data, outcome->size, bump, response),
	                 SIMPLER_OK);
}

int64_t element(const struct msg_tensor_ref *ref, size_t index)
{
	int64_t value;

	assert_false(ref->is_handle);
	assert_true((index + 1) * sizeof(value) <= ref->inline_data.size);
	memcpy(&value, (const uint8_t *)ref->inline_data.data + index * sizeof(value),
	       sizeof(value));
	return value;
}

struct engine_facts ask_engine(struct front_end *front_end)
{
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1, FAKE_ANSWER, 0);
	struct engine_facts facts;
	struct msg_outcome response;
	struct outcome outcome;
	struct bump bump;

	add_inline(&request, SIMPLER_OUTPUT, NULL, 4);
	dispatch(front_end, &request, &outcome);
	expect_response(&outcome, &bump, &response);
	assert_int_equal(response.output_count, 1);
	facts.pid = (pid_t)element(&response.outputs[0], 0);
	facts.installs = element(&response.outputs[0], 1);
	facts.held = element(&response.outputs[0], 3);
	bump_release(&bump);
	outcome_destroy(&outcome);
	return facts;
}

/* What the fake engine fills an output of `count` elements with. */
static void ask(struct front_end *front_end, enum fake_command command, int64_t *out, size_t count)
{
	struct msg_dispatch request = make_dispatch(&front_end->orch, 1, command, 0);
	struct msg_outcome response;
	struct outcome outcome;
	struct bump bump;

	add_inline(&request, SIMPLER_OUTPUT, NULL, (int64_t)count);
	dispatch(front_end, &request, &outcome);
	expect_response(&outcome, &bump, &response);
	for (size_t i = 0; i < count; i++)
		out[i] = element(&response.outputs[0], i);
	bump_release(&bump);
	outcome_destroy(&outcome);
}

struct stop_facts ask_stops(struct front_end *front_end)
{
	int64_t told[3];

	ask(front_end, FAKE_STOPS, told, 3);
	return (struct stop_facts){ told[0], told[1], told[2] };
}

struct forget_facts ask_forgets(struct front_end *front_end)
{
	int64_t told[2];

	ask(front_end, FAKE_FORGETS, told, 2);
	return (struct forget_facts){ told[0], told[1] };
}

void wait_held(struct front_end *front_end, int64_t count)
{
	while (ask_engine(front_end).held != count)
		;
}

/* --- storage --- */

void expect_handle(struct outcome *outcome, struct msg_handle *handle)
{
	struct bump bump;

	outcome_wait(outcome, &outcome->ended, 1);
	expect(outcome, RPC_OK, "");
	bump_init(&bump, MSG_BUMP_LIMIT(outcome->size));
	assert_int_equal(msg_handle_decode(outcome->data, outcome->size, &bump, handle),
	                 SIMPLER_OK);
	bump_release(&bump);
	assert_string_equal(handle->node_id, NODE_ID);
	assert_string_equal(handle->transport, "grpc");
	assert_true(handle->handle_id != 0);
	assert_true(handle->lease_deadline_unix_ms > clock_unix_ms());
}

struct msg_handle alloc_tensor(struct front_end *front_end, uint64_t nbytes)
{
	const struct msg_alloc alloc = { .nbytes = nbytes };
	struct rpc_buffer buffer;
	struct msg_handle handle;
	struct outcome outcome;

	assert_int_equal(msg_alloc_encode(&alloc, &buffer), SIMPLER_OK);
	call(front_end, MSG_ALLOC_TENSOR, &buffer, &outcome);
	expect_handle(&outcome, &handle);
	assert_int_equal(handle.nbytes, nbytes);
	outcome_destroy(&outcome);
	return handle;
}

struct pushing {
	struct outcome *outcome;
	const struct msg_chunk *chunks;
	size_t count, sent;
};

static void push_next(struct pushing *pushing, struct rpc_client_call *stream)
{
	struct rpc_buffer buffer;

	if (pushing->sent == pushing->count) {
		rpc_stream_close_send(stream);
		return;
	}
	if (msg_chunk_encode(&pushing->chunks[pushing->sent++], &buffer) != SIMPLER_OK)
		abort(); /* not the test's thread */
	rpc_stream_send(stream, &buffer);
}

static void pushing_message(void *context, struct rpc_client_call *stream, const uint8_t *data,
                            size_t size)
{
	struct pushing *pushing = context;

	outcome_message(pushing->outcome, stream, data, size);
}

/* From here and not from the test's thread, since the stream may end at any moment. */
static void pushing_sent(void *context, struct rpc_client_call *stream)
{
	push_next(context, stream);
}

static void pushing_end(void *context, enum rpc_code code, const char *text)
{
	struct pushing *pushing = context;

	outcome_end(pushing->outcome, code, text);
}

void push_chunks(struct front_end *front_end, const struct msg_chunk *chunks, size_t count,
                 struct outcome *outcome)
{
	static const struct rpc_stream_handlers handlers = { .on_message = pushing_message,
		                                             .on_sent = pushing_sent,
		                                             .on_end = pushing_end };
	struct pushing pushing = { .outcome = outcome, .chunks = chunks, .count = count };
	struct rpc_client_call *stream;

	outcome_init(outcome);
	stream = stream_open(front_end->channel, MSG_PUSH_TENSOR, clock_after_ms(60000), &handlers,
	                     &pushing);
	push_next(&pushing, stream);
	outcome_wait(outcome, &outcome->ended, 1);
}

struct pulled {
	struct outcome *outcome;
	uint8_t *bytes;
	size_t capacity, size;
	unsigned chunks;
	bool last;
};

static void pulled_message(void *context, struct rpc_client_call *call, const uint8_t *data,
                           size_t size)
{
	struct pulled *pulled = context;
	struct msg_chunk chunk;
	struct bump bump;

	(void)call;
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_chunk_decode(data, size, &bump, &chunk) != SIMPLER_OK || pulled->last ||
	    chunk.offset != pulled->size || chunk.data.size > pulled->capacity - pulled->size)
		abort(); /* not the test's thread */
	if (chunk.data.size > 0)
		memcpy(pulled->bytes + pulled->size, chunk.data.data, chunk.data.size);
	pulled->size += chunk.data.size;
	pulled->chunks++;
	pulled->last = chunk.last;
	bump_release(&bump);
}

static void pulled_sent(void *context, struct rpc_client_call *call)
{
	(void)context;
	rpc_stream_close_send(call);
}

static void pulled_end(void *context, enum rpc_code code, const char *text)
{
	struct pulled *pulled = context;

	if (code == RPC_OK && !pulled->last)
		abort();
	outcome_end(pulled->outcome, code, text);
}

void pull_tensor(struct front_end *front_end, const struct msg_handle *handle, uint8_t *bytes,
                 size_t capacity, size_t *size, unsigned *chunks, struct outcome *outcome)
{
	static const struct rpc_stream_handlers handlers = { .on_message = pulled_message,
		                                             .on_sent = pulled_sent,
		                                             .on_end = pulled_end };
	struct pulled pulled = { .outcome = outcome, .capacity = capacity };
	struct rpc_client_call *stream;
	struct rpc_buffer buffer;

	pulled.bytes = bytes;
	outcome_init(outcome);
	stream = stream_open(front_end->channel, MSG_PULL_TENSOR, clock_after_ms(60000), &handlers,
	                     &pulled);
	assert_int_equal(msg_handle_encode(handle, &buffer), SIMPLER_OK);
	rpc_stream_send(stream, &buffer);
	outcome_wait(outcome, &outcome->ended, 1);
	*size = pulled.size;
	*chunks = pulled.chunks;
}
