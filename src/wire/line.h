/*
 * What processes say to each other by a line: messages of a fabric (libfabric) that belong
 * together. Each begins with a head, all fields little-endian, and the rest is its body:
 *
 *   u64 line, u32 number, u8 kind, u8 0, u16 0
 *
 * `line` is what whoever is to get the message calls its end of the line, a random number that it
 * told by other means. `number` counts the messages of one direction, from 0 on, so that one that
 * is missing is noticed; that of a CLOSE says nothing.
 *
 * The decoder is pure, and returns SIMPLER_EPROTOCOL for what is malformed.
 */
#ifndef WIRE_LINE_H
#define WIRE_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define LINE_HEAD_BYTES 16u

enum line_kind {
	LINE_HELLO = 1, /* the first one, from who joins the line second */
	LINE_DATA = 2,
	LINE_PING = 3, /* is answered by a PONG, as a HELLO is; these three have no body */
	LINE_PONG = 4,
	LINE_CLOSE = 5 /* the body says why, for people */
};

struct line_head {
	uint64_t line;
	uint32_t number;
	enum line_kind kind;
};

void line_head_encode(const struct line_head *head, uint8_t bytes[LINE_HEAD_BYTES]);
/* Of a message of `size` bytes. */
simpler_status line_head_decode(const uint8_t *bytes, size_t size, struct line_head *out);

#endif
