/* Integers in little-endian, for what leaves the machine. */
#ifndef WIRE_LITTLE_H
#define WIRE_LITTLE_H

#include <stddef.h>
#include <stdint.h>

static inline void put_le(uint8_t *bytes, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
}

static inline uint64_t get_le(const uint8_t *bytes, size_t size)
{
	uint64_t value = 0;

	for (size_t i = size; i-- > 0;)
		value = value << 8 | bytes[i];
	return value;
}

#endif
