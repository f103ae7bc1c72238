#include "ask.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

unsigned ask_timeout(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits > 0 && digits <= 9 && text[digits] == '\0' ? (unsigned)strtoul(text, NULL, 10)
	                                                         : 0;
}

static simpler_status call(struct rpc_client *client, const char *address, const char *path,
                           int64_t deadline, uint8_t **answer, size_t *size)
{
	struct rpc_channel *channel;
	struct rpc_buffer buffer;
	simpler_status status = rpc_channel_open(client, address, &channel);

	if (status != SIMPLER_OK)
		return status;
	status = msg_empty_encode(&buffer);
	if (status == SIMPLER_OK)
		status = rpc_unary_wait(channel, path, deadline, false, &buffer, answer, size);
	rpc_channel_close(channel);
	if (status == SIMPLER_EUNAVAILABLE)
		return error_context("UNAVAILABLE: nothing serves at %s; is simpler-l3d running "
		                     "there, and is the address right?",
		                     address);
	if (status == SIMPLER_EDEADLINE)
		return error_context("no answer from %s in time; see --timeout", address);
	return status;
}

simpler_status ask(const char *address, const char *path, unsigned timeout_ms, uint8_t **answer,
                   size_t *size)
{
	int64_t deadline = clock_after_ms(timeout_ms);
	struct rpc_client *client;
	simpler_status status = rpc_client_create(&client);

	if (status != SIMPLER_OK)
		return status;
	status = call(client, address, path, deadline, answer, size);
	rpc_client_destroy(client);
	return status;
}
