#include "rpc/utf8.h"

#include <string.h>

/* How many bytes follow `first`, and the range that the second one must be in: the ranges exclude
 * overlong forms, surrogates and what lies above U+10FFFF. */
static bool describe(uint8_t first, size_t *following, uint8_t *low, uint8_t *high)
{
	*low = 0x80;
	*high = 0xbf;
	*following = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
	if (first == 0xe0)
		*low = 0xa0;
	else if (first == 0xed)
		*high = 0x9f;
	else if (first == 0xf0)
		*low = 0x90;
	else if (first == 0xf4)
		*high = 0x8f;
	return first < 0x80 || (first >= 0xc2 && first <= 0xf4);
}

size_t utf8_sequence(const uint8_t *bytes, size_t left)
{
	size_t following;
	uint8_t low, high;

	if (left == 0 || !describe(bytes[0], &following, &low, &high) || following >= left)
		return 0;
	for (size_t i = 1; i <= following; i++) {
		if (bytes[i] < low || bytes[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return following + 1;
}

bool utf8_valid(const char *text)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + strlen(text);

	while (at < end) {
		size_t size = utf8_sequence(at, (size_t)(end - at));

		if (size == 0)
			return false;
		at += size;
	}
	return true;
}

void utf8_clean(char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		unsigned char byte = (unsigned char)*text;
		size_t size = utf8_sequence((const uint8_t *)text, left);

		if (size == 0)
			*text = '?';
		else if ((byte < ' ' && byte != '\t' && byte != '\n') || byte == 0x7f)
			*text = ' ';
		size = size > 0 ? size : 1;
		text += size;
		left -= size;
	}
}
