#include "wire/line.h"

#include "wire/little_endian.h"

void line_head_encode(const struct line_head *head, uint8_t bytes[LINE_HEAD_BYTES])
{
	store_le64(bytes, head->line);
	store_le32(bytes + 8, head->number);
	bytes[12] = (uint8_t)head->kind;
	bytes[13] = 0;
	store_le16(bytes + 14, 0);
}

simpler_status line_head_decode(const uint8_t *bytes, size_t size, struct line_head *out)
{
	if (size < LINE_HEAD_BYTES)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a message of a line has %zu bytes, and its head %u", size,
		                   LINE_HEAD_BYTES);
	if (bytes[12] < LINE_HELLO || bytes[12] > LINE_CLOSE)
		return error_raise(SIMPLER_EPROTOCOL, "a message of a line is of kind %u",
		                   bytes[12]);
	if (bytes[13] != 0 || load_le16(bytes + 14) != 0)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "what is reserved of a line's message is not 0");
	*out = (struct line_head){ .line = load_le64(bytes),
		                   .number = load_le32(bytes + 8),
		                   .kind = (enum line_kind)bytes[12] };
	if (size > LINE_HEAD_BYTES && out->kind != LINE_DATA && out->kind != LINE_CLOSE)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a message of a line of kind %u has %zu bytes too many",
		                   bytes[12], size - LINE_HEAD_BYTES);
	return SIMPLER_OK;
}
