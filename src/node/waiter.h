/* Who waits for what becomes of a dispatch: a unary call, or a lane, which knows it by a tag. One
 * of the two, or nobody any more. */
#ifndef NODE_WAITER_H
#define NODE_WAITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/rpc.h"

struct node_lane;

struct waiter {
	struct rpc_call *call;
	struct node_lane *lane; /* with a reference */
	uint64_t tag;
};

/* An answer: the message when `code` is RPC_OK, else the text, which ends in a zero byte. */
struct task_answer {
	enum rpc_code code;
	enum rpc_note note;
	const uint8_t *bytes;
	size_t size;
};

static inline bool waiter_is_nobody(const struct waiter *waiter)
{
	return !waiter->call && !waiter->lane;
}

/* Once; nobody waits then. Both in node/waiter.c. */
void waiter_answer(const struct waiter *waiter, const struct task_answer *answer);
/* With the thread's last error. */
void waiter_fail(const struct waiter *waiter, enum rpc_note note);

#endif
