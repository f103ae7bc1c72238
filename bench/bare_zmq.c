/* ZeroMQ over TCP: a request and its reply, and messages both ways without taking turns. */
#include <string.h>
#include <zmq.h>

#include "bare_echo.h"

#define ENDPOINT "tcp://127.0.0.1:*"

static void serve(int out, int type)
{
	char address[BARE_ADDRESS] = { 0 }, buffer[BARE_RECORD_MAX];
	void *socket = zmq_socket(zmq_ctx_new(), type);
	size_t size = sizeof(address);

	if (!socket || zmq_bind(socket, ENDPOINT) != 0 ||
	    zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, address, &size) != 0 ||
	    !bare_process_write(out, address, sizeof(address)))
		return;
	for (;;) {
		int got = zmq_recv(socket, buffer, sizeof(buffer), 0);

		if (got < 0 || zmq_send(socket, buffer, (size_t)got, 0) != got)
			return;
	}
}

static void serve_request(int out)
{
	serve(out, ZMQ_REP);
}

static void serve_many(int out)
{
	serve(out, ZMQ_DEALER);
}

static void *connect_with(const char *address, int type)
{
	void *socket = zmq_socket(zmq_ctx_new(), type);

	return socket && zmq_connect(socket, address) == 0 ? socket : NULL;
}

static void *connect_request(const char address[BARE_ADDRESS])
{
	return connect_with(address, ZMQ_REQ);
}

static void *connect_many(const char address[BARE_ADDRESS])
{
	return connect_with(address, ZMQ_DEALER);
}

static bool one(void *socket, size_t size)
{
	char record[BARE_RECORD_MAX] = { 0 };

	return zmq_send(socket, record, size, 0) == (int)size &&
	       zmq_recv(socket, record, size, 0) == (int)size;
}

/* A record a message: what goes into one write is ZeroMQ's to see to. */
static bool many(void *socket, const struct bare_load *load)
{
	char record[BARE_RECORD_MAX] = { 0 };
	size_t sent = 0;

	for (size_t received = 0; received < load->count; received++) {
		for (; sent < load->count && sent - received < load->outstanding; sent++) {
			if (zmq_send(socket, record, load->size, 0) < 0)
				return false;
		}
		if (zmq_recv(socket, record, load->size, 0) != (int)load->size)
			return false;
	}
	return true;
}

static const struct bare_kind request = { "ZeroMQ REQ/REP", serve_request, connect_request, one,
	                                  many };
static const struct bare_kind dealer = { "ZeroMQ DEALER", serve_many, connect_many, one, many };
const struct bare_kind *const echo_zmq_request = &request;
const struct bare_kind *const echo_zmq_many = &dealer;
