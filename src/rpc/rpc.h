/*
 * RPC for the rest of the project: gRPC's C core behind callbacks and byte ranges. No gRPC header
 * is included outside this folder.
 *
 * Threads: a server and a client each own threads that sit in a completion queue and run all the
 * callbacks; a callback must not block, unless its method is slow. The functions here may be called
 * from any thread, callbacks included, and do not block unless they say so. Callbacks of one call
 * never overlap.
 */
#ifndef RPC_RPC_H
#define RPC_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/status.h"

/* gRPC's numbers. */
enum rpc_code {
	RPC_OK = 0,
	RPC_CANCELLED = 1,
	RPC_UNKNOWN = 2,
	RPC_INVALID_ARGUMENT = 3,
	RPC_DEADLINE_EXCEEDED = 4,
	RPC_NOT_FOUND = 5,
	RPC_ALREADY_EXISTS = 6,
	RPC_PERMISSION_DENIED = 7,
	RPC_RESOURCE_EXHAUSTED = 8,
	RPC_FAILED_PRECONDITION = 9,
	RPC_ABORTED = 10,
	RPC_OUT_OF_RANGE = 11,
	RPC_UNIMPLEMENTED = 12,
	RPC_INTERNAL = 13,
	RPC_UNAVAILABLE = 14,
	RPC_DATA_LOSS = 15,
	RPC_UNAUTHENTICATED = 16,
};
const char *rpc_code_name(enum rpc_code code); /* "NOT_FOUND" */
/* Both ways, so that a status survives the trip where it can. Several share FAILED_PRECONDITION;
 * back it is SIMPLER_ESTALE, the one that programs branch on. */
enum rpc_code rpc_code_of(simpler_status status);
simpler_status rpc_status_of(enum rpc_code code);

#define RPC_MAX_MESSAGE ((size_t)64 << 20)

/* What the server says about a task beside a code that others use, too: the one who asked can tell
 * by it whether the task has run, and an answer from an end of the connection. It travels in the
 * trailing metadata, "simpler-task". */
enum rpc_note {
	RPC_NOTE_NONE,
	RPC_NOTE_NOT_RUN, /* "not-run": it has not, and may be tried again, here or elsewhere */
	RPC_NOTE_LOST,    /* "lost": it had begun, or may have, or may yet */
};

/* Bytes on their way out. Fill `data`; whoever is handed the buffer owns it. */
struct rpc_buffer {
	uint8_t *data;
	size_t size;
	uint64_t slice[4], tail[4]; /* private */
	bool has_tail;
};
/* SIMPLER_ENOMEM. A message over RPC_MAX_MESSAGE fails its call with RESOURCE_EXHAUSTED. */
simpler_status rpc_buffer_alloc(struct rpc_buffer *buffer, size_t size);
void rpc_buffer_release(struct rpc_buffer *buffer); /* only if it was not handed on */
/*
 * Have `size` bytes at `data` follow the buffer's own, without a copy. They stay readable and as
 * they are until `let_go` is called, once, whatever becomes of the buffer; by any thread, which may
 * be one of gRPC's own in the midst of something, so it does no more than note that. Once a buffer.
 */
void rpc_buffer_attach(struct rpc_buffer *buffer, const void *data, size_t size,
                       void (*let_go)(void *context), void *context);

/* A message as it came in: parts that follow one another. Valid during a callback only. */
struct rpc_part {
	const uint8_t *data;
	size_t size;
};

/* --- server --- */

struct rpc_server;
struct rpc_call; /* one call at the server */

/*
 * A unary call sees on_message once, and answers with rpc_finish(). A streaming call sees on_open,
 * asks for each message with rpc_receive(), gets it by on_message, or on_half_close when the client
 * has sent all; it sends with rpc_send(), one at a time, the next after on_sent; and answers with
 * rpc_finish(). Every call ends with on_end, once, after which it is gone; not before
 * rpc_finish(), and after that nothing else comes.
 *
 * on_cancel says that the client cancelled, is lost, or that the deadline passed. What was asked
 * for or being sent will not be reported any more; the call is still to be answered, with any code.
 * Another thread may be answering it at the same moment.
 *
 * A streaming call that has waited for idle_ms without a break for what it asked for, or for what
 * it sends to go out, is cancelled like that; its client gets DEADLINE_EXCEEDED.
 *
 * Callbacks of a slow method may take long. A thread of the server's runs them, one after the other
 * with those of its other slow methods, and nothing else waits for them.
 *
 * A lasting method's calls are open for as long as their clients like: they are none of
 * max_streams, and idle_ms holds for what they send alone.
 *
 * A unary method with on_cancel is not shown calls whose deadline has passed when their turn comes.
 *
 * Required: on_message (unary); on_open and on_cancel (streaming). `data` is valid during
 * on_message only. A unary method that can do without on_cancel is a little faster.
 */
struct rpc_method {
	const char *path; /* "/package.Service/Method" */
	bool streaming;   /* in either direction */
	bool slow;
	bool lasting;     /* of a streaming one, and: */
	unsigned idle_ms; /* 0: no limit */
	void (*on_open)(struct rpc_call *call);
	void (*on_message)(struct rpc_call *call, const uint8_t *data, size_t size);
	/* Instead of on_message, in a streaming call, for who can do without a copy that joins the
	 * parts of a large message. */
	void (*on_parts)(struct rpc_call *call, const struct rpc_part *parts, size_t count);
	void (*on_half_close)(struct rpc_call *call);
	void (*on_sent)(struct rpc_call *call);
	void (*on_cancel)(struct rpc_call *call);
	void (*on_end)(struct rpc_call *call, bool cancelled);
};

/* Methods with what rpc_call_context() gives to their calls. Borrowed, with everything in it. */
struct rpc_service {
	const struct rpc_method *methods;
	size_t method_count;
	void *context;
};

struct rpc_server_options {
	const char *address;              /* "127.0.0.1:5050", "[::1]:0", "unix:/path" */
	const struct rpc_method *methods; /* borrowed, with everything in it */
	size_t method_count;
	void *context;                      /* for rpc_call_context() */
	const struct rpc_service *services; /* more of the same, such as health; borrowed */
	size_t service_count;
	unsigned threads;     /* at least 1 */
	unsigned max_streams; /* streaming calls at once; more are RESOURCE_EXHAUSTED. 0: any number
	                       */
	uint64_t memory_bytes; /* of connections, and messages that come in. 0: any amount */
	uint64_t idle_ms; /* a connection that has had no call for so long is closed. 0: never */
};

/* Binds and serves. A path no method has is answered UNIMPLEMENTED. A port or socket somebody else
 * listens on is SIMPLER_EEXIST naming the address, never shared; the file of a unix socket that
 * nobody answers is replaced. */
simpler_status rpc_server_start(const struct rpc_server_options *options, struct rpc_server **out);
/* What it listens on, with the port that was picked; valid as long as the server. */
const char *rpc_server_address(const struct rpc_server *server);
/* Refuse new calls and wait for those in progress, at most until `deadline`; then cancel them, and
 * wait until each has been answered by rpc_finish(). Blocks. The server is gone afterwards. */
void rpc_server_stop(struct rpc_server *server, int64_t deadline);

void *rpc_call_context(const struct rpc_call *call);
/* The session that the client names in the call's metadata, "simpler-session" with 1 to 16
 * hexadecimal digits; 0 when it names none, as clients of no session do. SIMPLER_EINVAL for what is
 * no such number, or 0. */
simpler_status rpc_call_session(const struct rpc_call *call, uint64_t *session);
/* Whether the client is on this machine: it came over a unix socket, or from a loopback address. */
bool rpc_call_is_local(const struct rpc_call *call);
/* Goes with a rpc_finish() whose code is not RPC_OK. */
void rpc_call_set_note(struct rpc_call *call, enum rpc_note note);
/* When the client gives up (base/clock.h). */
int64_t rpc_call_deadline(const struct rpc_call *call);
void rpc_call_set_state(struct rpc_call *call, void *state);
void *rpc_call_state(const struct rpc_call *call);
void rpc_receive(struct rpc_call *call);
void rpc_send(struct rpc_call *call, struct rpc_buffer *message);
/* Exactly once a call. `message` NULL sends none; required for a unary RPC_OK. `text` may be NULL.
 */
void rpc_finish(struct rpc_call *call, enum rpc_code code, const char *text,
                struct rpc_buffer *message);

/* --- client --- */

struct rpc_client;      /* the queue and its thread; one a process is enough */
struct rpc_channel;     /* a connection to one address; reconnects by itself */
struct rpc_client_call; /* one call */

simpler_status rpc_client_create(struct rpc_client **out);
/* All channels must be closed before. Blocks until calls in progress have ended. */
void rpc_client_destroy(struct rpc_client *client);
/*
 * Run callbacks in the calling thread until `*finished` is true, which one of them makes it: a
 * thread that waits for an answer then needs no other to wake it. Returns false at once where that
 * cannot be, because another thread is at it; the answer comes by that one. A `finished` that is
 * set otherwise is noticed within 100 ms.
 */
bool rpc_client_attend(struct rpc_client *client, const _Atomic bool *finished);
simpler_status rpc_channel_open(struct rpc_client *client, const char *address,
                                struct rpc_channel **out);
/* Every call from now on tells the server this session, which is not 0; see rpc_call_session().
 * Before the first call. */
void rpc_channel_set_session(struct rpc_channel *channel, uint64_t session);
/* Cancels what is in progress on it. */
void rpc_channel_close(struct rpc_channel *channel);

/* `data` is valid during the callback only; NULL unless `code` is RPC_OK. */
typedef void rpc_done(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                      size_t size);
/* A unary call; `done` runs once, on the client's thread, or in here when memory is out. `deadline`
 * as in base/clock.h. `message` is handed over, whatever happens. `wait_for_ready`: queue while
 * there is no connection, instead of failing with UNAVAILABLE. */
void rpc_unary(struct rpc_channel *channel, const char *path, int64_t deadline, bool wait_for_ready,
               struct rpc_buffer *message, rpc_done *done, void *context);
/* The same, blocking. `*response` is set on RPC_OK only: malloc'd, the caller frees it. On failure
 * raises the error, with the server's text as its cause. */
simpler_status rpc_unary_wait(struct rpc_channel *channel, const char *path, int64_t deadline,
                              bool wait_for_ready, struct rpc_buffer *message, uint8_t **response,
                              size_t *response_size);

/*
 * A call that others may cancel is created first, which begins nothing, then begun, which must
 * follow. From its creation until its end is reported any thread may cancel it, once begun or not;
 * who does must know that the callback that reports the end has not returned.
 */
/* NULL when memory is out. */
struct rpc_client_call *rpc_client_call_create(struct rpc_channel *channel, const char *path,
                                               int64_t deadline);
/* As rpc_unary(); the call is gone when `done` has returned. */
void rpc_unary_begin(struct rpc_client_call *call, bool wait_for_ready, struct rpc_buffer *message,
                     rpc_done *done, void *context);
/* What the server noted, within the callback that reports the end. */
enum rpc_note rpc_client_call_note(const struct rpc_client_call *call);
/* It ends in any case, with RPC_CANCELLED if it had not ended already. */
void rpc_client_call_cancel(struct rpc_client_call *call);

/* The client's end of a streaming call. on_message comes for each message, unasked, one at a time,
 * and may come before rpc_stream_begin() has returned; after on_end, once, the call is gone. Who
 * uses the call from other threads must see to it that none does after on_end. */
struct rpc_stream_handlers {
	void (*on_message)(void *context, struct rpc_client_call *call, const uint8_t *data,
	                   size_t size);
	void (*on_sent)(void *context, struct rpc_client_call *call);
	void (*on_end)(void *context, enum rpc_code code, const char *text);
	/* Instead of on_message, when it is not NULL; see rpc_method.on_parts. */
	void (*on_parts)(void *context, struct rpc_client_call *call, const struct rpc_part *parts,
	                 size_t count);
	/* After on_message, once or several times: nothing else is to be handled at once, so what
	 * was made ready to be sent is best sent now. May be NULL. */
	void (*on_settled)(void *context);
};
/* `handlers` is borrowed. `first` is a message to begin with, handed over, or NULL; on_sent comes
 * for it, too. What goes wrong is reported by on_end. */
void rpc_stream_begin(struct rpc_client_call *call, struct rpc_buffer *first,
                      const struct rpc_stream_handlers *handlers, void *context);
void rpc_stream_send(struct rpc_client_call *call, struct rpc_buffer *message); /* then on_sent */
/* Whether the server is to send something soon, which it is from the beginning. While it is on no
 * call, a thread that waits for the answer to the next one gets it by itself; see
 * rpc_client_attend(). What comes all the same may wait for the next rpc_stream_send(). Who
 * ever says so sends, from then on, under a lock that the on_end of the call takes. */
void rpc_stream_await(struct rpc_client_call *call, bool awaited);
/* Take what comes next all the same, though nothing is awaited, or what comes behind that which is
 * awaited. Likewise under that lock. */
void rpc_stream_look(struct rpc_client_call *call);
void rpc_stream_close_send(
	struct rpc_client_call *call); /* nothing more to send; after the last on_sent */
/* Have a message of this streaming call end with bytes that are the caller's until on_end, which
 * does not come before gRPC has let go of them. The message is sent afterwards, or released. A call
 * that is lent anything sends from its callbacks alone, and what it begins with. */
void rpc_stream_lend(struct rpc_client_call *call, struct rpc_buffer *message, const void *data,
                     size_t size);

#endif
