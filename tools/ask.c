#include "ask.h"

#include "base/clock.h"
#include "base/error.h"

static simpler_status call(struct rpc_channel *channel, const char *address, const char *path,
                           struct rpc_buffer *message, unsigned timeout_ms, uint8_t **answer,
                           size_t *size)
{
	simpler_status status = rpc_unary_wait(channel, path, clock_after_ms(timeout_ms), false,
	                                       message, answer, size);

	if (status == SIMPLER_EUNAVAILABLE)
		return error_context("UNAVAILABLE: nothing serves at %s; is simpler-l3d running "
		                     "there, and is the address right?",
		                     address);
	if (status == SIMPLER_EDEADLINE)
		return error_context("no answer from %s in time; see --timeout", address);
	return status;
}

simpler_status ask(const char *address, const char *path, struct rpc_buffer *message,
                   unsigned timeout_ms, uint8_t **answer, size_t *size)
{
	struct rpc_channel *channel = NULL;
	struct rpc_client *client;
	simpler_status status = rpc_client_create(&client);

	if (status != SIMPLER_OK) {
		rpc_buffer_release(message);
		return status;
	}
	status = rpc_channel_open(client, address, &channel);
	if (status == SIMPLER_OK)
		status = call(channel, address, path, message, timeout_ms, answer, size);
	else
		rpc_buffer_release(message);
	if (channel)
		rpc_channel_close(channel);
	rpc_client_destroy(client);
	return status;
}
