#include "bare_grpc.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define METHOD "/bare.Echo/Echo"

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

#define OFF(name)                                                                                  \
	{                                                                                          \
		.type = GRPC_ARG_INTEGER, .key = (char *)(name)                                    \
	}

/* Left out because src/rpc leaves it out: a floor must not carry more than what stands on it. */
static grpc_channel_args lean(void)
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

struct served {
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
	void *method;
};

static void request(struct echo *echo)
{
	struct served *served = calloc(1, sizeof(*served));

	grpc_metadata_array_init(&served->metadata);
	grpc_server_request_registered_call(echo->server, echo->method, &served->call,
	                                    &served->deadline, &served->metadata, &served->payload,
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

static void drop(struct served *served)
{
	grpc_byte_buffer_destroy(served->payload);
	grpc_metadata_array_destroy(&served->metadata);
	grpc_call_unref(served->call);
	free(served);
}

static _Noreturn void *exit_with_parent(void *lifeline)
{
	char byte;

	while (read(*(int *)lifeline, &byte, 1) > 0)
		;
	_exit(0);
}

static _Noreturn void serve(int port_pipe, int lifeline)
{
	grpc_channel_args arguments = lean();
	grpc_server_credentials *credentials;
	struct echo echo;
	pthread_t watch;
	int port;

	pthread_create(&watch, NULL, exit_with_parent, &lifeline);
	grpc_init();
	echo.server = grpc_server_create(&arguments, NULL);
	echo.queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(echo.server, echo.queue, NULL);
	echo.method = grpc_server_register_method(echo.server, METHOD, NULL,
	                                          GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
	credentials = grpc_insecure_server_credentials_create();
	port = grpc_server_add_http2_port(echo.server, "127.0.0.1:0", credentials);
	grpc_server_start(echo.server);
	for (int i = 0; i < 64; i++)
		request(&echo);
	if (write(port_pipe, &port, sizeof(port)) != sizeof(port))
		_exit(1);
	for (;;) {
		struct served *served = next_event(echo.queue).tag;

		if (served->answered) {
			drop(served);
		} else {
			answer(served);
			request(&echo);
		}
	}
}

static void close_pair(const int pair[2])
{
	close(pair[0]);
	close(pair[1]);
}

bool bare_grpc_server_start(struct bare_grpc_server *server)
{
	int port_pipe[2], lifeline[2], port = 0;
	bool started;

	if (pipe(port_pipe) != 0)
		return false;
	if (pipe(lifeline) != 0) {
		close_pair(port_pipe);
		return false;
	}
	server->pid = fork();
	if (server->pid == 0) {
		close(lifeline[1]);
		serve(port_pipe[1], lifeline[0]);
	}
	close(port_pipe[1]);
	close(lifeline[0]);
	server->lifeline = lifeline[1];
	started = server->pid > 0 && read(port_pipe[0], &port, sizeof(port)) == sizeof(port) &&
	          port > 0;
	close(port_pipe[0]);
	snprintf(server->address, sizeof(server->address), "127.0.0.1:%d", port);
	if (!started)
		bare_grpc_server_stop(server);
	return started;
}

void bare_grpc_server_stop(struct bare_grpc_server *server)
{
	close(server->lifeline);
	if (server->pid <= 0)
		return;
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
}

/* --- client --- */

struct bare_grpc_client {
	grpc_channel *channel;
	grpc_completion_queue *queue;
};

struct asked {
	grpc_call *call;
	grpc_metadata_array initial, trailing;
	grpc_status_code code;
	grpc_slice details;
	grpc_byte_buffer *answer;
	double start;
};

struct bare_grpc_client *bare_grpc_connect(const char *address)
{
	grpc_channel_args arguments = lean();
	struct bare_grpc_client *client = calloc(1, sizeof(*client));
	grpc_channel_credentials *credentials;

	if (!client)
		return NULL;
	grpc_init();
	credentials = grpc_insecure_credentials_create();
	client->channel = grpc_channel_create(address, credentials, &arguments);
	client->queue = grpc_completion_queue_create_for_next(NULL);
	grpc_channel_credentials_release(credentials);
	return client;
}

void bare_grpc_close(struct bare_grpc_client *client)
{
	grpc_channel_destroy(client->channel);
	grpc_completion_queue_shutdown(client->queue);
	while (next_event(client->queue).type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(client->queue);
	free(client);
	grpc_shutdown_blocking();
}

static void ask(struct bare_grpc_client *client, struct asked *asked, size_t size)
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
	asked->start = now();
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

bool bare_grpc_run(struct bare_grpc_client *client, size_t size, size_t outstanding, size_t count,
                   double *nanoseconds)
{
	struct asked *all = calloc(outstanding, sizeof(*all));
	size_t asked = 0, taken = 0;
	bool good = all != NULL;

	for (; good && asked < outstanding && asked < count; asked++)
		ask(client, &all[asked], size);
	for (; taken < asked; taken++) {
		struct asked *one = next_event(client->queue).tag;

		nanoseconds[taken] = now() - one->start;
		good = take(one, size) && good;
		if (good && asked < count) {
			asked++;
			ask(client, one, size);
		}
	}
	free(all);
	return good;
}

bool bare_grpc_ping(struct bare_grpc_client *client, size_t size)
{
	double nanoseconds;

	return bare_grpc_run(client, size, 1, 1, &nanoseconds);
}
