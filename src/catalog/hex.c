#include "catalog/hex.h"

static const char digits_of[] = "0123456789abcdef";

void hex_write(const uint8_t *bytes, size_t size, char *out)
{
	for (size_t i = 0; i < size; i++) {
		out[2 * i] = digits_of[bytes[i] >> 4];
		out[2 * i + 1] = digits_of[bytes[i] & 15];
	}
}

static bool read_digit(char digit, uint8_t *out)
{
	if (digit >= '0' && digit <= '9')
		*out = (uint8_t)(digit - '0');
	else if (digit >= 'a' && digit <= 'f')
		*out = (uint8_t)(digit - 'a' + 10);
	else
		return false;
	return true;
}

bool hex_read(const char *digits, size_t size, uint8_t *out)
{
	for (size_t i = 0; i < size; i++) {
		uint8_t high, low;

		if (!read_digit(digits[2 * i], &high) || !read_digit(digits[2 * i + 1], &low))
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
