#include "node/waiter.h"

#include <string.h>

#include "base/error.h"
#include "node/lane.h"

static void answer_call(struct rpc_call *call, const struct task_answer *answer)
{
	struct rpc_buffer buffer;

	if (answer->code != RPC_OK) {
		rpc_call_set_note(call, answer->note);
		rpc_finish(call, answer->code, (const char *)answer->bytes, NULL);
	} else if (rpc_buffer_alloc(&buffer, answer->size) == SIMPLER_OK) {
		memcpy(buffer.data, answer->bytes, answer->size);
		rpc_finish(call, RPC_OK, NULL, &buffer);
	} else {
		reply_error(call);
	}
}

void waiter_answer(const struct waiter *waiter, const struct task_answer *answer)
{
	if (waiter->call)
		answer_call(waiter->call, answer);
	else if (waiter->lane)
		node_lane_answer(waiter->lane, waiter->tag, answer);
}

void waiter_fail(const struct waiter *waiter, enum rpc_note note)
{
	char text[REPLY_TEXT_MAX];
	struct task_answer answer = { .note = note, .bytes = (const uint8_t *)text };

	if (waiter_is_nobody(waiter))
		return;
	answer.code = reply_text(text);
	answer.size = strlen(text) + 1;
	waiter_answer(waiter, &answer);
}
