/*
 * A daemon with the fake engine, and a client in C that sees codes and texts as they come.
 *
 * Everything asserts: a helper that returns has succeeded.
 */
#ifndef TESTS_NODE_FRONT_END_H
#define TESTS_NODE_FRONT_END_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalog/payload.h"
#include "daemon.h"
#include "fake_engine.h"
#include "rpc/messages.h"
#include "rpc_test.h"

#define NODE_ID "node-under-test"

struct callable {
	struct digest digest;
	uint64_t id, version;
	uint8_t *payload;
	size_t payload_size;
};

struct front_end {
	struct daemon daemon;
	struct rpc_client *client;
	struct rpc_channel *channel;
	struct callable orch, sub; /* "who" and "who_sub" of remote_cases.so, both pushed */

	/* What grpc.health.v1 told, by a watch. */
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	bool serving, watch_ended;
	unsigned times_serving;
};

/* `options` is NULL-terminated and may be NULL. */
struct front_end *front_end_start(const char *const *options);
/* Stop the daemon, which must exit 0, and let go of everything. */
void front_end_stop(struct front_end *front_end);
/* The same for one that has been told to stop already. */
void front_end_finish(struct front_end *front_end);

/* Until readiness has turned true `times` times since the start, or is false now. */
void front_end_wait_serving(struct front_end *front_end, unsigned times);
void front_end_wait_not_serving(struct front_end *front_end);

/* Whether grpc.health.v1 says that a service serves, such as "L3Worker"; "" is the whole node. */
bool serves(struct front_end *front_end, const char *service);
/* What L3Worker.Status answers; its texts last until the bump is released, which the caller does.
 */
void ask_status(struct front_end *front_end, struct bump *bump, struct msg_status *status);
/* Of sessions. */
uint32_t lanes_open(struct front_end *front_end);
/* NULL when it is not a reason why the node is not ready. */
const struct msg_reason *reason_of(const struct msg_status *status, const char *what);
/* Until it is one, or is none any more. */
void wait_reason(struct front_end *front_end, const char *what, bool holds);

/* A callable of remote_cases.so, with a text as captured state; not pushed yet. */
void callable_make(struct callable *callable, simpler_kind kind, const char *name,
                   const char *state);
void callable_release(struct callable *callable);

/* One call; `outcome` is initialized here, and the caller destroys it after it has ended. */
void call_begin(struct front_end *front_end, const char *path, struct rpc_buffer *message,
                struct outcome *outcome);
void call(struct front_end *front_end, const char *path, struct rpc_buffer *message,
          struct outcome *outcome);
void push_callable(struct front_end *front_end, const struct callable *callable,
                   struct outcome *outcome);

/* A request to run `callable` with a command for the fake engine and its value. */
struct msg_dispatch make_dispatch(const struct callable *callable, uint64_t task_id,
                                  enum fake_command command, uint64_t value);
/* Add a tensor of int64; `elements` NULL sends no bytes. */
struct msg_tensor_ref *add_inline(struct msg_dispatch *request, simpler_tag tag,
                                  const int64_t *elements, int64_t count);
void add_handle(struct msg_dispatch *request, simpler_tag tag, const struct msg_handle *handle,
                int64_t count);
void dispatch_begin(struct front_end *front_end, const struct msg_dispatch *request,
                    struct outcome *outcome);
/* One that the test may cancel, until it has ended; at the latest at `deadline`. */
struct rpc_client_call *dispatch_open(struct front_end *front_end,
                                      const struct msg_dispatch *request, int64_t deadline,
                                      struct outcome *outcome);
/* Returns when the node has taken in all that was sent before. */
void wait_taken(struct front_end *front_end);
void dispatch(struct front_end *front_end, const struct msg_dispatch *request,
              struct outcome *outcome);
/* A dispatch that ends well. `response` lasts as long as `outcome`; `bump` is the caller's. */
void expect_response(struct outcome *outcome, struct bump *bump, struct msg_outcome *response);
int64_t element(const struct msg_tensor_ref *ref, size_t index);

/* What the fake engine tells of itself. */
struct engine_facts {
	pid_t pid;
	int64_t installs, held;
};
struct engine_facts ask_engine(struct front_end *front_end);
/* What it was told to stop; see FAKE_STOPS. */
struct stop_facts {
	int64_t stops, last, unknown;
};
struct stop_facts ask_stops(struct front_end *front_end);
/* What it was told to forget; see FAKE_FORGETS. */
struct forget_facts {
	int64_t count, last;
};
struct forget_facts ask_forgets(struct front_end *front_end);
/* Until it holds so many: requests that were begun at the same time arrive in any order. */
void wait_held(struct front_end *front_end, int64_t count);

void expect(const struct outcome *outcome, enum rpc_code code, const char *text);

/* Storage on the node. */
struct msg_handle alloc_tensor(struct front_end *front_end, uint64_t nbytes);
/* Push chunks until one fails; ends the stream after the last. */
void push_chunks(struct front_end *front_end, const struct msg_chunk *chunks, size_t count,
                 struct outcome *outcome);
void expect_handle(struct outcome *outcome, struct msg_handle *handle);
/* Pull all of it into `bytes`, which has room for `capacity`. */
void pull_tensor(struct front_end *front_end, const struct msg_handle *handle, uint8_t *bytes,
                 size_t capacity, size_t *size, unsigned *chunks, struct outcome *outcome);

#endif
