#include "bare_grpc.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bare_grpc_arguments.h"
#include "bare_process.h"

#define METHOD      "/bare.Echo/Echo"
#define METHOD_PUSH "/bare.Echo/Push"
#define METHOD_PULL "/bare.Echo/Pull"

static const char *const methods[] = { METHOD, METHOD_PUSH, METHOD_PULL };

#define OFF(name)                                                                                  \
	{                                                                                          \
		.type = GRPC_ARG_INTEGER, .key = (char *)(name)                                    \
	}

/* Left out because src/rpc leaves it out: a floor must not carry more than what stands on it. */
grpc_channel_args bare_grpc_arguments(void)
{
	static grpc_arg arguments[] = {
		OFF(GRPC_ARG_ENABLE_HTTP_PROXY),
		OFF(GRPC_ARG_ENABLE_RETRIES),
		OFF(GRPC_ARG_ENABLE_CHANNELZ),
		OFF(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION),
		OFF(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION),
	};

	return (grpc_channel_args){ sizeof(arguments) / sizeof(arguments[0]), arguments };
}

static grpc_event next_event(grpc_completion_queue *queue)
{
	return grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

/* --- server --- */

enum served_kind { SERVED_ECHO, SERVED_PUSH, SERVED_PULL, SERVED_KINDS };

struct served {
	enum served_kind kind;
	bool accepted;
	size_t chunk_size, chunks; /* that a pull is still to send */
	grpc_call *call;
	gpr_timespec deadline;
	grpc_metadata_array metadata;
	grpc_byte_buffer *payload;
	int cancelled;
	bool answered;
};

struct echo {
	grpc_server *server;
	grpc_completion_queue *queue;
	void *methods[SERVED_KINDS];
	uint8_t *tensor; /* NULL until a pull has come */
};

/* What a stream sends. Each chunk has a place of its own, as in a tensor: one that is sent again
 * and again would come out of the cache. */
static uint8_t *make_tensor(void)
{
	uint8_t *tensor = malloc(BARE_GRPC_TENSOR);

	if (tensor)
		memset(tensor, 1, BARE_GRPC_TENSOR);
	return tensor;
}

static grpc_slice chunk_of(const uint8_t *tensor, size_t index, size_t size)
{
	return grpc_slice_from_static_buffer(tensor + index * size, size);
}

static void request(struct echo *echo, enum served_kind kind)
{
	struct served *served = calloc(1, sizeof(*served));

	served->kind = kind;
	served->accepted = kind == SERVED_ECHO; /* with its message */
	grpc_metadata_array_init(&served->metadata);
	grpc_server_request_registered_call(echo->server, echo->methods[kind], &served->call,
	                                    &served->deadline, &served->metadata,
	                                    kind == SERVED_ECHO ? &served->payload : NULL,
	                                    echo->queue, echo->queue, served);
}

static void answer(struct served *served)
{
	grpc_op ops[4] = {
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = served->payload },
		{ .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
		  .data.send_status_from_server.status = GRPC_STATUS_OK },
		{ .op = GRPC_OP_RECV_CLOSE_ON_SERVER,
		  .data.recv_close_on_server.cancelled = &served->cancelled },
	};

	served->answered = true;
	grpc_call_start_batch(served->call, ops, 4, served, NULL);
}

static void receive(struct served *served)
{
	const grpc_op op = { .op = GRPC_OP_RECV_MESSAGE,
		             .data.recv_message.recv_message = &served->payload };

	grpc_call_start_batch(served->call, &op, 1, served, NULL);
}

static void send_chunk(struct echo *echo, struct served *served, bool first)
{
	grpc_slice slice = chunk_of(echo->tensor, served->chunks - 1, served->chunk_size);
	grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
	const grpc_op ops[2] = {
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message },
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
	};

	served->chunks--;
	grpc_call_start_batch(served->call, ops, first ? 2 : 1, served, NULL);
	grpc_byte_buffer_destroy(message);
	grpc_slice_unref(slice);
}

/* The end of a stream: of a push with a message, of a pull without one. */
static void end_stream(struct served *served)
{
	grpc_slice nothing = grpc_empty_slice();
	grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&nothing, 1);
	const grpc_op ops[4] = {
		{ .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
		  .data.send_status_from_server.status = GRPC_STATUS_OK },
		{ .op = GRPC_OP_RECV_CLOSE_ON_SERVER,
		  .data.recv_close_on_server.cancelled = &served->cancelled },
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message },
	};

	served->answered = true;
	grpc_call_start_batch(served->call, ops, served->kind == SERVED_PUSH ? 4 : 2, served, NULL);
	grpc_byte_buffer_destroy(message);
}

static void push_on(struct served *served)
{
	bool more = served->payload != NULL;

	grpc_byte_buffer_destroy(served->payload);
	served->payload = NULL;
	if (more)
		receive(served);
	else
		end_stream(served);
}

/* The request has the size of a chunk and their number. */
static void pull_on(struct echo *echo, struct served *served)
{
	grpc_byte_buffer_reader reader;
	bool first = served->payload != NULL;
	size_t numbers[2];
	grpc_slice all;

	if (first) {
		grpc_byte_buffer_reader_init(&reader, served->payload);
		all = grpc_byte_buffer_reader_readall(&reader);
		grpc_byte_buffer_reader_destroy(&reader);
		memcpy(numbers, GRPC_SLICE_START_PTR(all), sizeof(numbers));
		grpc_slice_unref(all);
		grpc_byte_buffer_destroy(served->payload);
		served->payload = NULL;
		served->chunk_size = numbers[0];
		served->chunks = numbers[1];
		if (!echo->tensor)
			echo->tensor = make_tensor();
	}
	if (served->chunks > 0 && echo->tensor)
		send_chunk(echo, served, first);
	else
		end_stream(served);
}

static void drop(struct served *served)
{
	grpc_byte_buffer_destroy(served->payload);
	grpc_metadata_array_destroy(&served->metadata);
	grpc_call_unref(served->call);
	free(served);
}

static _Noreturn void serve(int port_pipe, int lifeline)
{
	grpc_channel_args arguments = bare_grpc_arguments();
	grpc_server_credentials *credentials;
	struct echo echo;
	int port;

	bare_process_end_with(lifeline);
	grpc_init();
	echo.server = grpc_server_create(&arguments, NULL);
	echo.queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(echo.server, echo.queue, NULL);
	for (unsigned i = 0; i < SERVED_KINDS; i++)
		echo.methods[i] = grpc_server_register_method(
			echo.server, methods[i], NULL,
			i == SERVED_ECHO ? GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER
					 : GRPC_SRM_PAYLOAD_NONE,
			0);
	echo.tensor = NULL;
	credentials = grpc_insecure_server_credentials_create();
	port = grpc_server_add_http2_port(echo.server, "127.0.0.1:0", credentials);
	grpc_server_start(echo.server);
	for (int i = 0; i < 64; i++)
		request(&echo, SERVED_ECHO);
	request(&echo, SERVED_PUSH);
	request(&echo, SERVED_PULL);
	if (write(port_pipe, &port, sizeof(port)) != sizeof(port))
		_exit(1);
	for (;;) {
		struct served *served = next_event(echo.queue).tag;

		if (served->answered) {
			drop(served);
		} else if (!served->accepted) {
			served->accepted = true;
			request(&echo, served->kind);
			receive(served);
		} else if (served->kind == SERVED_PUSH) {
			push_on(served);
		} else if (served->kind == SERVED_PULL) {
			pull_on(&echo, served);
		} else {
			answer(served);
			request(&echo, SERVED_ECHO);
		}
	}
}

/* --- client --- */

struct client {
	grpc_channel *channel;
	grpc_completion_queue *queue;
	uint8_t *tensor; /* NULL until it has pushed */
};

struct asked {
	grpc_call *call;
	grpc_metadata_array initial, trailing;
	grpc_status_code code;
	grpc_slice details;
	grpc_byte_buffer *answer;
	double start;
};

static void connect_to(struct client *client, const char *address)
{
	grpc_channel_args arguments = bare_grpc_arguments();
	grpc_channel_credentials *credentials;

	grpc_init();
	credentials = grpc_insecure_credentials_create();
	client->channel = grpc_channel_create(address, credentials, &arguments);
	client->queue = grpc_completion_queue_create_for_next(NULL);
	client->tensor = NULL;
}

static void ask(struct client *client, struct asked *asked, size_t size)
{
	grpc_slice slice = grpc_slice_malloc(size);
	grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
	const grpc_op ops[6] = {
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message },
		{ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
		{ .op = GRPC_OP_RECV_INITIAL_METADATA,
		  .data.recv_initial_metadata.recv_initial_metadata = &asked->initial },
		{ .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &asked->answer },
		{ .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
		  .data.recv_status_on_client = { .trailing_metadata = &asked->trailing,
		                                  .status = &asked->code,
		                                  .status_details = &asked->details } },
	};

	memset(GRPC_SLICE_START_PTR(slice), 0, size);
	asked->start = bare_now();
	grpc_metadata_array_init(&asked->initial);
	grpc_metadata_array_init(&asked->trailing);
	asked->answer = NULL;
	asked->call = grpc_channel_create_call(client->channel, NULL, 0, client->queue,
	                                       grpc_slice_from_static_string(METHOD), NULL,
	                                       gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	grpc_call_start_batch(asked->call, ops, 6, asked, NULL);
	grpc_byte_buffer_destroy(message);
	grpc_slice_unref(slice);
}

static bool take(struct asked *asked, size_t size)
{
	bool good = asked->code == GRPC_STATUS_OK && asked->answer &&
	            grpc_byte_buffer_length(asked->answer) == size;

	grpc_byte_buffer_destroy(asked->answer);
	grpc_metadata_array_destroy(&asked->initial);
	grpc_metadata_array_destroy(&asked->trailing);
	grpc_slice_unref(asked->details);
	grpc_call_unref(asked->call);
	return good;
}

/* --- streams --- */

static void wait_batch(struct client *client, grpc_call *call, const grpc_op *ops, size_t count)
{
	grpc_call_start_batch(call, ops, count, call, NULL);
	(void)next_event(client->queue);
}

static void send_slice(struct client *client, grpc_call *call, grpc_slice slice)
{
	grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
	const grpc_op op = { .op = GRPC_OP_SEND_MESSAGE,
		             .data.send_message.send_message = message };

	wait_batch(client, call, &op, 1);
	grpc_byte_buffer_destroy(message);
}

/* The size of a chunk and their number for a pull, or the chunks of a push. */
static void send_all(struct client *client, grpc_call *call, bool pull, const size_t numbers[2])
{
	grpc_slice slice;

	if (pull) {
		slice = grpc_slice_from_copied_buffer((const char *)numbers,
		                                      2 * sizeof(numbers[0]));
		send_slice(client, call, slice);
		grpc_slice_unref(slice);
		return;
	}
	for (size_t i = 0; i < numbers[1]; i++)
		send_slice(client, call, chunk_of(client->tensor, i, numbers[0]));
}

static size_t receive_all(struct client *client, grpc_call *call)
{
	size_t bytes = 0;

	for (;;) {
		grpc_byte_buffer *message = NULL;
		const grpc_op op = { .op = GRPC_OP_RECV_MESSAGE,
			             .data.recv_message.recv_message = &message };

		wait_batch(client, call, &op, 1);
		if (!message)
			return bytes;
		bytes += grpc_byte_buffer_length(message);
		grpc_byte_buffer_destroy(message);
	}
}

/* Chunks one way, of memory that gRPC reads where it is; what comes is looked at no more than it
 * has to be. */
static bool run_stream(struct client *client, bool pull, size_t size, size_t count, double *taken)
{
	const size_t numbers[2] = { size, count };
	struct asked one = { .code = GRPC_STATUS_UNKNOWN };
	const grpc_op opening = { .op = GRPC_OP_SEND_INITIAL_METADATA };
	const grpc_op closing = { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT };
	const grpc_op ending[2] = {
		{ .op = GRPC_OP_RECV_INITIAL_METADATA,
		  .data.recv_initial_metadata.recv_initial_metadata = &one.initial },
		{ .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
		  .data.recv_status_on_client = { .trailing_metadata = &one.trailing,
		                                  .status = &one.code,
		                                  .status_details = &one.details } },
	};
	size_t received;

	if (!pull && !client->tensor)
		client->tensor = make_tensor();
	if (!pull && !client->tensor)
		return false;
	one.start = bare_now();
	grpc_metadata_array_init(&one.initial);
	grpc_metadata_array_init(&one.trailing);
	one.call = grpc_channel_create_call(
		client->channel, NULL, 0, client->queue,
		grpc_slice_from_static_string(pull ? METHOD_PULL : METHOD_PUSH), NULL,
		gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	wait_batch(client, one.call, &opening, 1);
	send_all(client, one.call, pull, numbers);
	wait_batch(client, one.call, &closing, 1);
	wait_batch(client, one.call, &ending[0], 1); /* before it there are no messages */
	received = receive_all(client, one.call);
	wait_batch(client, one.call, &ending[1], 1);
	*taken = bare_now() - one.start;
	grpc_metadata_array_destroy(&one.initial);
	grpc_metadata_array_destroy(&one.trailing);
	grpc_slice_unref(one.details);
	grpc_call_unref(one.call);
	return one.code == GRPC_STATUS_OK && (!pull || received == size * count);
}

struct command {
	enum served_kind kind;
	size_t size, outstanding, count;
};

static bool run(struct client *client, const struct command *command, double *nanoseconds)
{
	struct asked *all = calloc(command->outstanding, sizeof(*all));
	size_t asked = 0, taken = 0;
	bool good = all != NULL;

	for (; good && asked < command->outstanding && asked < command->count; asked++)
		ask(client, &all[asked], command->size);
	for (; taken < asked; taken++) {
		struct asked *one = next_event(client->queue).tag;

		nanoseconds[taken] = bare_now() - one->start;
		good = take(one, command->size) && good;
		if (good && asked < command->count) {
			asked++;
			ask(client, one, command->size);
		}
	}
	free(all);
	return good;
}

/* --- processes --- */

/* Run what comes until nothing does. */
static _Noreturn void obey(const char *address, int commands, int results)
{
	struct command command;
	struct client client;

	connect_to(&client, address);
	while (bare_process_read(commands, &command, sizeof(command))) {
		double *times = calloc(command.count, sizeof(*times));
		size_t results_count = command.kind == SERVED_ECHO ? command.count : 1;

		if (!times ||
		    !(command.kind == SERVED_ECHO
		              ? run(&client, &command, times)
		              : run_stream(&client, command.kind == SERVED_PULL, command.size,
		                           command.count, times)) ||
		    !bare_process_write(results, times, results_count * sizeof(*times)))
			_exit(1);
		free(times);
	}
	_exit(0);
}

bool bare_grpc_server_start(struct bare_grpc_server *server)
{
	int port = 0;

	if (!bare_process_split(&server->process))
		return false;
	if (server->process.pid == 0)
		serve(server->process.out, server->process.in);
	if (!bare_process_read(server->process.in, &port, sizeof(port)))
		bare_grpc_server_stop(server);
	snprintf(server->address, sizeof(server->address), "127.0.0.1:%d", port);
	return port != 0;
}

void bare_grpc_server_stop(struct bare_grpc_server *server)
{
	bare_process_stop(&server->process);
}

struct bare_grpc_client {
	struct bare_process process;
};

struct bare_grpc_client *bare_grpc_connect(const char *address)
{
	struct bare_grpc_client *client = calloc(1, sizeof(*client));

	if (!client || !bare_process_split(&client->process)) {
		free(client);
		return NULL;
	}
	if (client->process.pid == 0)
		obey(address, client->process.in, client->process.out);
	return client;
}

void bare_grpc_close(struct bare_grpc_client *client)
{
	bare_process_stop(&client->process);
	free(client);
}

bool bare_grpc_run(struct bare_grpc_client *client, size_t size, size_t outstanding, size_t count,
                   double *nanoseconds)
{
	const struct command command = { SERVED_ECHO, size, outstanding, count };

	return bare_process_write(client->process.out, &command, sizeof(command)) &&
	       bare_process_read(client->process.in, nanoseconds, count * sizeof(*nanoseconds));
}

bool bare_grpc_stream(struct bare_grpc_client *client, bool pull, size_t size, size_t count,
                      double *nanoseconds)
{
	const struct command command = { pull ? SERVED_PULL : SERVED_PUSH, size, 1, count };

	return bare_process_write(client->process.out, &command, sizeof(command)) &&
	       bare_process_read(client->process.in, nanoseconds, sizeof(*nanoseconds));
}
