/*
 * What goes over a lane: records of one size or another, one behind the other in a batch, each
 * padded to a multiple of 8 bytes. All numbers are little-endian.
 *
 *   u32 size      of the record, with this head and its padding
 *   u8  kind      enum lane_record_kind
 *   u8  flags
 *   u16           0
 *   u64 tag       the client's choice for a dispatch; comes back with its outcome
 *
 *   HELLO     node to client, first of all: u32 version, u32 credits
 *   DISPATCH  client to node: what DispatchReq says, in a form that is cheap to read
 *   OUTCOME   node to client: a code of rpc_code, a note, and behind them the bytes of a
 *             DispatchResp when the code is RPC_OK, or else the text. No bytes with RPC_OK is a
 *             task that succeeded and wrote no tensor.
 *   GOODBYE   node to client, last of all, without a body: the node ends, has answered for what it
 *             took, and takes nothing more. So what has no outcome then has not run. The
 *             client closes the lane then.
 *
 * A client has at most `credits` dispatches in flight: dispatched, and their outcome not there.
 *
 * The decoders are pure, and trust nothing. They raise SIMPLER_EINVAL for what is malformed.
 */
#ifndef RPC_LANE_RECORD_H
#define RPC_LANE_RECORD_H

#include "rpc/messages.h"

#define LANE_VERSION     1u
#define LANE_HEAD_BYTES  16u
#define LANE_CREDITS_MAX 65536u /* what a client believes at the most */

enum lane_record_kind { LANE_HELLO = 1, LANE_DISPATCH = 2, LANE_OUTCOME = 3, LANE_GOODBYE = 4 };

/* The outcome does not fit the lane: ask for it by a call of its own. Beside RPC_UNAVAILABLE. */
#define LANE_FLAG_ASK_ELSEWHERE 1u

struct lane_hello {
	uint32_t credits;
};

struct lane_outcome {
	enum rpc_code code;
	enum rpc_note note;
	bool ask_elsewhere;
	const uint8_t *bytes; /* a text has no zero byte at its end */
	size_t size;
};

/* One record of a batch. */
struct lane_record {
	enum lane_record_kind kind;
	uint8_t flags;
	uint64_t tag;
	const uint8_t *body;
	size_t size; /* of the body, with its padding */
};

/* The next record of a batch of `*size` bytes at `*bytes`, both of which move on behind it. Not for
 * an empty one. */
simpler_status lane_next_record(const uint8_t **bytes, size_t *size, struct lane_record *out);

/* Bytes that the record takes. */
size_t lane_hello_bytes(void);
size_t lane_dispatch_bytes(const struct msg_dispatch *dispatch);
size_t lane_outcome_bytes(const struct lane_outcome *outcome);
size_t lane_goodbye_bytes(void);

/* Write it to `bytes`, which has room for as many as the function above says. `timeout_us` is how
 * long the task may take from now on, 0 for ever. */
void lane_hello_encode(const struct lane_hello *hello, uint8_t *bytes);
void lane_dispatch_encode(const struct msg_dispatch *dispatch, uint64_t tag, uint64_t timeout_us,
                          uint8_t *bytes);
void lane_outcome_encode(const struct lane_outcome *outcome, uint64_t tag, uint8_t *bytes);
void lane_goodbye_encode(uint8_t *bytes);
/* Give another tag and time to a dispatch that was written before its turn came. */
void lane_dispatch_stamp(uint8_t *bytes, uint64_t tag, uint64_t timeout_us);

simpler_status lane_hello_decode(const struct lane_record *record, struct lane_hello *out);
/* The same checks as msg_dispatch_decode(). Handles have no node id, lease or transport. What it
 * returns points into the record. */
simpler_status lane_dispatch_decode(const struct lane_record *record, struct msg_dispatch *out,
                                    uint64_t *timeout_us);
simpler_status lane_outcome_decode(const struct lane_record *record, struct lane_outcome *out);
simpler_status lane_goodbye_decode(const struct lane_record *record);

#endif
