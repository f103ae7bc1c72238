/*
 * One bidirectional stream of gRPC's C core, one completion queue at each end, with switched off
 * what src/rpc switches off. An end that has sent a message waits for the next in the same batch,
 * which makes one event a message, where it need not do both at once: a server that echoes, and a
 * client with one outstanding.
 */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bare_echo.h"
#include "bare_grpc_arguments.h"

#define METHOD "/bare.Echo/Stream"

static grpc_event next_event(grpc_completion_queue *queue)
{
	return grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

static bool do_batch(grpc_call *call, const grpc_op *ops, size_t count, void *tag)
{
	return grpc_call_start_batch(call, ops, count, tag, NULL) == GRPC_CALL_OK;
}

static grpc_op op_send(grpc_byte_buffer *message)
{
	return (grpc_op){ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message };
}

static grpc_op op_receive(grpc_byte_buffer **message)
{
	return (grpc_op){ .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = message };
}

/* --- server --- */

static void echo(grpc_completion_queue *queue, grpc_call *call)
{
	const grpc_op opening = { .op = GRPC_OP_SEND_INITIAL_METADATA };
	grpc_byte_buffer *message = NULL, *old;
	grpc_op ops[2] = { opening, op_receive(&message) };

	(void)do_batch(call, ops, 2, call);
	while (next_event(queue).success && message) {
		old = message;
		ops[0] = op_send(old);
		if (!do_batch(call, ops, 2, call))
			return;
		grpc_byte_buffer_destroy(old);
	}
}

static void serve(int out)
{
	grpc_channel_args arguments = bare_grpc_arguments();
	char address[BARE_ADDRESS] = { 0 };
	grpc_metadata_array metadata;
	grpc_completion_queue *queue;
	gpr_timespec deadline;
	grpc_server *server;
	grpc_call *call;
	void *method;

	grpc_init();
	server = grpc_server_create(&arguments, NULL);
	queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(server, queue, NULL);
	method = grpc_server_register_method(server, METHOD, NULL, GRPC_SRM_PAYLOAD_NONE, 0);
	(void)snprintf(address, sizeof(address), "127.0.0.1:%d",
	               grpc_server_add_http2_port(server, "127.0.0.1:0",
	                                          grpc_insecure_server_credentials_create()));
	grpc_server_start(server);
	grpc_metadata_array_init(&metadata);
	grpc_server_request_registered_call(server, method, &call, &deadline, &metadata, NULL,
	                                    queue, queue, NULL);
	if (bare_process_write(out, address, sizeof(address)) && next_event(queue).success)
		echo(queue, call);
}

/* --- client --- */

struct client {
	grpc_completion_queue *queue;
	grpc_call *call;
	grpc_metadata_array initial;
	grpc_byte_buffer *received;
};

static void *connect_to(const char address[BARE_ADDRESS])
{
	grpc_channel_args arguments = bare_grpc_arguments();
	struct client *client = calloc(1, sizeof(*client));
	grpc_channel *channel;

	grpc_init();
	channel = grpc_channel_create(address, grpc_insecure_credentials_create(), &arguments);
	client->queue = grpc_completion_queue_create_for_next(NULL);
	client->call = grpc_channel_create_call(channel, NULL, 0, client->queue,
	                                        grpc_slice_from_static_string(METHOD), NULL,
	                                        gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	grpc_metadata_array_init(&client->initial);
	const grpc_op ops[2] = {
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_RECV_INITIAL_METADATA,
		  .data.recv_initial_metadata.recv_initial_metadata = &client->initial },
	};

	return do_batch(client->call, ops, 2, client) && next_event(client->queue).success ? client
	                                                                                   : NULL;
}

/* Allocated and filled anew, as a message is. */
static grpc_byte_buffer *make_message(size_t size)
{
	grpc_slice slice = grpc_slice_malloc(size);
	grpc_byte_buffer *message;

	memset(GRPC_SLICE_START_PTR(slice), 0, size);
	message = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	return message;
}

static bool take(struct client *client, size_t size)
{
	bool good = client->received && grpc_byte_buffer_length(client->received) == size;

	grpc_byte_buffer_destroy(client->received);
	return good;
}

static bool one(void *context, size_t size)
{
	struct client *client = context;
	grpc_byte_buffer *message = make_message(size);
	const grpc_op ops[2] = { op_send(message), op_receive(&client->received) };
	bool good = do_batch(client->call, ops, 2, client);

	grpc_byte_buffer_destroy(message);
	return good && next_event(client->queue).success && take(client, size);
}

static bool send_message(struct client *client, size_t size, void *tag)
{
	grpc_byte_buffer *message = make_message(size);
	const grpc_op op = op_send(message);
	bool good = do_batch(client->call, &op, 1, tag);

	grpc_byte_buffer_destroy(message);
	return good;
}

static bool receive(struct client *client, void *tag)
{
	const grpc_op op = op_receive(&client->received);

	return do_batch(client->call, &op, 1, tag);
}

/* One send and one receive in progress at a time, which is what gRPC allows. */
static bool many(void *context, const struct bare_load *load)
{
	struct client *client = context;
	const size_t all = load->count / load->batch, window = load->outstanding / load->batch;
	const size_t size = load->size * load->batch;
	size_t sent = 0, received = 0;
	bool sending = false, good = receive(client, &received);

	while (good && received < all) {
		grpc_event event;

		if (!sending && sent < all && sent - received < window) {
			good = send_message(client, size, &sent);
			sending = true;
			sent++;
		}
		event = next_event(client->queue);
		good = good && event.success;
		if (event.tag == &sent) {
			sending = false;
			continue;
		}
		good = good && take(client, size);
		if (good && ++received < all)
			good = receive(client, &received);
	}
	/* The last one's own completion may be left. */
	return good && (!sending || next_event(client->queue).success);
}

static const struct bare_kind kind = { "gRPC stream", serve, connect_to, one, many };
const struct bare_kind *const echo_grpc = &kind;
