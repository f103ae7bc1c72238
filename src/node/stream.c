#include "node/stream.h"

#include <stdlib.h>

#include "base/error.h"

void stream_open(struct rpc_call *call, size_t size)
{
	struct stream *stream = calloc(1, size);

	rpc_call_set_state(call, stream);
	if (!stream) {
		error_raise(SIMPLER_ENOMEM, "out of memory for a transfer");
		reply_error(call);
		return;
	}
	stream->entered = node_enter(call, &stream->session) == SIMPLER_OK;
	if (stream->entered)
		rpc_receive(call);
	else
		reply_error(call);
}

void stream_close(struct rpc_call *call)
{
	struct stream *stream = rpc_call_state(call);

	if (stream && stream->entered)
		node_leave(node_of(call), stream->session);
	free(stream);
}

void stream_give_up(struct rpc_call *call)
{
	rpc_finish(call, RPC_CANCELLED, "the client is gone", NULL);
}
